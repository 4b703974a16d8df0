"""The Forward tab's handlers, called as the page calls them."""

from __future__ import annotations

import base64
import io
import json
import re
from dataclasses import replace

import gradio as gr
import numpy as np
import pytest
from PIL import Image

from gendiff import schedule
from gendiff.errors import GendiffError
from gendiff.images import from_uint8, tile
from gendiff.studio import Studio, models, noising, pictures
from gendiff.ui import forward
from gendiff.ui.forward_runs import gauge, rounded, words
from gendiff.ui.pad import picture
from gendiff.ui.parts import Page

MODEL = "tiny-diffusion"
COSINE = ("cosine", 30, 0.008, None, None)


@pytest.fixture
def studio(saved, tmp_path, monkeypatch):
    """Tiny models and 32 real pictures."""
    real = np.random.default_rng(0).integers(0, 256, (32, 8, 8, 1), np.uint8)
    Image.fromarray(tile(real, columns=8)[..., 0]).save(tmp_path / "real-shapes.png")
    about = {"size": 8, "labels": [i % 3 for i in range(32)]}
    (tmp_path / "real-shapes.json").write_text(json.dumps(about))
    monkeypatch.setattr(models, "ASSETS", tmp_path)
    models._real.cache_clear()
    yield Studio(saved, "cpu", "float32")
    models._real.cache_clear()


@pytest.fixture
def page():
    return Page()


@pytest.fixture
def call(studio, page):
    """call(name, ...) runs the tab's handler of that name."""
    with gr.Blocks() as demo, gr.Tabs() as tabs:
        with page.tab("forward", "Forward"):
            forward.build(studio, page)
        page.wire(demo, tabs)
    handlers = {block.fn.__name__: block.fn for block in demo.fns.values() if block.fn}
    return lambda name, *values: handlers[name](*values)


def board(studio, number=4):
    pixels = pictures.bundled(studio.real("shapes"), number)
    return picture("shapes", pixels, "somewhere", number)


def parts(answer):
    """The start, and each frame's panes (3, 8, 8)."""
    message = answer if isinstance(answer, dict) else answer[0]
    start, frames, _ = message["ops"]
    flat = [
        np.frombuffer(base64.b64decode(frame["pixels"]), np.uint8) for frame in frames["frames"]
    ]
    return start, [one.reshape(3, 8, 8) for one in flat], frames["frames"]


def test_a_run_shows_every_level_as_the_studio_makes_it(call, studio):
    start, panes, frames = parts(call("play", MODEL, 4, board(studio), *COSINE, "9"))
    model = studio.model(MODEL)
    x0 = from_uint8(pictures.bundled(studio.real("shapes"), 4)[None])
    levels = noising.forward(model, x0, schedule.cosine(30), 9)
    assert start["n"] == len(panes) == 31
    assert start["axis"] == list(range(31)) and start["autoplay"] is True
    for level, (closed, chain, guess), frame in zip(levels, panes, frames, strict=True):
        assert np.array_equal(closed, level.closed[0, ..., 0])
        assert np.array_equal(chain, level.chain[0, ..., 0])
        assert np.array_equal(guess, level.guess[0, ..., 0])
        assert frame["hist"]["counts"] == list(level.counts)
        assert start["facts"]["signal √ᾱ_t"][level.t] == f"{level.signal:.1%}"
    assert "square, real picture 4, noise seed 9; 31 network calls" in start["note"]


def settled(run, t, here=False):
    event = gr.EventData(None, {"run": run, "frame": t, "here": here})
    return event


def test_of_a_long_run_the_keys_come_at_once_and_the_rest_on_request(call, studio):
    levels = ("linear", 1000, 1e-4, 0.02, None)
    message, shown = call("play", MODEL, 4, board(studio), *levels, "9")
    start, sent, end = message["ops"]
    assert start["n"] == end["n"] == 1001 and start["keys"] == sent["k"] == [*range(0, 1001, 10)]
    x0 = from_uint8(pictures.bundled(studio.real("shapes"), 4)[None])
    way = noising.journey(studio.model(MODEL), x0, schedule.linear(1000), 9)
    fade = start["fade"]
    picture, eps = (np.frombuffer(base64.b64decode(fade[name]), "<f4") for name in ("x0", "eps"))
    for t in (1, 777, 1000):
        op = call("fill", shown, settled(start["run"], t))
        assert (op["op"], op["run"], op["k"]) == ("frames", start["run"], [t])
        (level,) = way.levels([t])
        closed, chain, guess = np.frombuffer(
            base64.b64decode(op["frames"][0]["pixels"]), np.uint8
        ).reshape(3, 8, 8)
        assert np.array_equal(closed, level.closed[0, ..., 0])
        assert np.array_equal(chain, level.chain[0, ..., 0])
        assert np.array_equal(guess, level.guess[0, ..., 0])
        # The browser's rule (drawing.js, fade) gives the same bytes.
        own = fade["signal"][t] * picture.astype(float) + fade["noise"][t] * eps.astype(float)
        eight = np.rint((own.astype("f4") + np.float32(1)) * np.float32(127.5)).clip(0, 255)
        assert np.array_equal(eight.reshape(8, 8), closed)


@pytest.mark.parametrize(
    ("run", "t", "here"),
    [(None, 5, False), ("other", 5, False), (0, 5, True), (0, -1, False), (0, 31, False)]
    + [(0, t, False) for t in (None, 1.5, "5", [], True, 10**30)],
)
def test_a_rest_that_makes_no_sense_is_not_answered(call, studio, run, t, here):
    message, shown = call("play", MODEL, 4, board(studio), *COSINE, "9")
    run = message["ops"][0]["run"] if run == 0 else run
    assert call("fill", shown, settled(run, t, here)) == gr.skip()
    assert call("fill", None, settled(run, 5)) == gr.skip()


def test_the_curves_are_the_schedules(call, studio):
    start, *_ = parts(call("play", MODEL, 4, board(studio), *COSINE, "0"))
    levels = schedule.cosine(30)
    beta, alpha_bar, log_snr = (curve["y"] for curve in start["curves"])
    assert beta[0] is None and log_snr[0] is None
    assert beta[1:] == pytest.approx(levels.betas.tolist(), rel=1e-4)
    assert alpha_bar == pytest.approx(levels.alpha_bars.tolist(), rel=1e-4, abs=1e-12)
    assert log_snr[1:] == pytest.approx([float(levels.log_snr(t)) for t in range(1, 31)], rel=1e-4)
    assert all(curve["x"] == start["axis"] for curve in start["curves"])


def test_a_changed_setting_keeps_the_place(call, studio):
    start, *_ = parts(call("update", MODEL, 4, board(studio), *COSINE, "0"))
    assert start["autoplay"] is False


def test_the_number_decides_and_without_it_the_board(call, studio):
    drawing = {**board(studio, 7), "index": None}
    asked = [
        call("update", MODEL, number, sent, *COSINE, "0")
        for number, sent in ((7, board(studio, 4)), (None, drawing), (None, {"data": "other"}))
    ]
    (_, by_number, _), (own, by_board, _), (_, neither, _) = map(parts, asked)
    assert np.array_equal(by_number[0], by_board[0])
    assert "your own picture" in own["note"]
    assert not np.array_equal(neither[0][0], by_board[0][0])  # real picture 0


@pytest.mark.parametrize(
    ("number", "sent", "levels", "seed", "says"),
    [
        (32, None, COSINE, "0", "numbered 0 to 31; got 32"),
        (-1, None, COSINE, "0", "numbered 0 to 31; got -1"),
        (None, {"data": "shapes", "pixels": "AAAA"}, COSINE, "0", "no picture of 8 x 8"),
        (None, {"data": "shapes", "pixels": None}, COSINE, "0", "no picture of 8 x 8"),
        (4, None, ("cosine", 0, 0.008, None, None), "0", "from 1 to 1,000"),
        (4, None, ("cosine", 5000, 0.008, None, None), "0", "from 1 to 1,000; got 5000."),
        (4, None, ("cosine", None, 0.008, None, None), "0", "the field is empty"),
        (4, None, ("cosine", 30, None, None, None), "0", "the field is empty"),
        (4, None, ("linear", 30, 0.01, 2, None), "0", "beta_T goes from"),
        (4, None, COSINE, "-1", "Seeds are whole numbers"),
        (4, None, COSINE, "1.5", "Seeds are whole numbers"),
        (4, None, COSINE, "", "Seeds are whole numbers"),
        (4, None, COSINE, "1, 2", "one seed; got 2"),
        (4, None, COSINE, "9" * 31, "Seeds are whole numbers"),
    ],
)
def test_bad_settings_are_one_sentence(call, number, sent, levels, seed, says):
    with pytest.raises(gr.Error, match=re.escape(says)):
        call("play", MODEL, number, sent, *levels, seed)


def test_an_upload_takes_the_board_and_a_bad_one_leaves_it(call):
    for data, says in ((b"text", "not a picture"), (b"", "empty"), (None, "empty")):
        with pytest.raises(gr.Error, match=says):
            call("receive", MODEL, data)
    buffer = io.BytesIO()
    Image.new("L", (30, 20), 255).save(buffer, "PNG")
    value, number = call("receive", MODEL, buffer.getvalue())
    assert number is None and value["index"] is None
    assert set(base64.b64decode(value["pixels"])) == {255}


def test_the_board_follows_the_number_and_keeps_a_drawing(call, studio):
    value, number = call("follow", MODEL, 6, None)
    assert number == value["index"] == 6
    assert value["name"] == "round, real picture 6"
    drawing = {**board(studio), "index": None}
    assert call("follow", MODEL, None, drawing) == [gr.skip(), gr.skip()]
    value, number = call("follow", MODEL, None, {**drawing, "data": "other"})
    assert number == value["index"] == 0


def test_the_shelf_answers_only_what_makes_sense(call, studio):
    with gr.Blocks():
        offer = forward.pad(studio, MODEL, 4, "pad").offer
    offered = offer("shapes")
    assert [value["index"] for value in offered][:3] == [0, 1, 2] and len(offered) == 16
    assert [offer(ask) for ask in ("other", None, 7, {}, ["shapes"])] == [None] * 5


def test_own_data_without_real_pictures_can_be_drawn(saved):
    studio, page = Studio(saved, "cpu", "float32"), Page()
    with gr.Blocks() as demo, gr.Tabs() as tabs:
        with page.tab("forward", "Forward"):
            forward.build(studio, page)
        page.wire(demo, tabs)
    with gr.Blocks():
        sent = forward.pad(studio, MODEL, 4, "pad")
    assert sent.value["name"] == "Draw or upload a picture" and sent.offer("shapes") == []
    handlers = {f.fn.__name__: f.fn for f in demo.fns.values() if f.fn}
    play, follow = handlers["play"], handlers["follow"]
    # Nothing is drawn yet, whatever number stands there, and whatever the board still shows.
    fashion = {**sent.value, "data": "fashion", "empty": False}
    for number, there in ((None, sent.value), (14, sent.value), (14, fashion), (14, None)):
        message, shown = play(MODEL, number, there, *COSINE, "0")
        assert message["op"] == "idle" and "draw or upload a picture" in message["message"]
        assert shown is None
    assert follow(MODEL, 14, fashion) == [sent.value, None]
    drawing = {**sent.value, "empty": False}
    assert follow(MODEL, 14, drawing) == [gr.skip(), None]
    for number in (None, 14):
        _, panes, _ = parts(play(MODEL, number, drawing, *COSINE, "0"))
        assert not panes[0][0].any()


def test_the_shelf_of_a_model_that_came_later_is_empty_and_not_another_one_s(call, studio):
    with gr.Blocks():
        offer = forward.pad(studio, MODEL, 4, "pad").offer
    later = replace(studio.card(MODEL), name="someone/tiny", data="someone/tiny")
    studio.cards = lambda family=None: [later]
    studio.card = lambda name: later
    assert offer("someone/tiny") == [] and offer("shapes") is None


def test_the_example_is_what_a_run_with_the_defaults_sends(call, studio):
    example = forward.example(studio)
    values = forward._defaults(forward.KIND)
    assert example["asked"] == (MODEL, 14, "", "cosine", 1000, values, "0")
    asked = (MODEL, forward.PICTURE, None, forward.KIND, noising.T_MAX, *values, forward.SEED)
    (own, panes, frames), (start, live, same) = parts(example), parts(call("play", *asked))
    assert "Pre-computed" in own["note"] and "Pre-computed" not in start["note"]
    assert np.array_equal(panes, live)
    assert [frame["html"] for frame in frames] == [frame["html"] for frame in same]


def test_without_a_diffusion_model_it_builds_and_says_so(tmp_path):
    studio, page = Studio(tmp_path, "cpu"), Page()
    with gr.Blocks(), page.tab("forward", "Forward"):
        forward.build(studio, page)
    with pytest.raises(GendiffError, match="no diffusion model"):
        forward.example(studio)


# ---- Words ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("T", "share"), [(50, "76"), (200, "36.4 %"), (500, "28"), (1000, "0.6 %")]
)
def test_the_gauge_is_red_and_worded_above_five_percent(T, share):
    left = noising.signal_left(schedule.linear(T))
    html = gauge(schedule.linear(T))
    assert f'aria-valuenow="{100 * left:.2f}"' in html
    assert f"{100 * left:.1f} %" in html
    assert ("fw-high" in html) == ("Too much" in html) == (left > 0.05)
    assert ("Good" in html) == (left <= 0.05)


def test_the_gauge_says_what_is_wrong_with_the_settings():
    html = forward._gauge("linear", 30, 0.01, 2, None)
    assert "beta_T goes from" in html and "role" not in html
    assert "&lt;b&gt;" in gauge(None, "<b>")


def test_the_formulas_hold_this_levels_numbers(studio):
    x0 = from_uint8(studio.real("shapes").pictures[:1])
    levels = noising.forward(studio.model(MODEL), x0, schedule.linear(200), 0)
    level = next(level for level in levels if level.t == 100)
    html = words(level, schedule.cosine(100))
    a, b = (float(x) ** 0.5 for x in (level.alpha_bar, 1 - level.alpha_bar))
    assert f"<mn>{a:.3f}</mn>" in html and f"<mn>{b:.3f}</mn>" in html
    assert f"<mn>{(1 - level.beta) ** 0.5:.3f}</mn>" in html and "<mn>99</mn>" in html
    assert f"told t = {level.asked} of the cosine schedule" in html
    assert f"{rounded(level.chain_noise.variance, level.variance_error)}</td>" in html
    assert "the picture itself" in words(levels[0], schedule.cosine(100))


@pytest.mark.parametrize(
    ("value", "error", "text"),
    [
        (0.35312, 0.0156, "0.353"),
        (-0.00001, 0.004, "0.0000"),
        (-0.25, 0.1, "−0.250"),
        (0.000667, 0.0000279, "0.000667"),
        (0.0, 0.0, "0.000"),
    ],
)
def test_numbers_end_with_their_errors_second_digit(value, error, text):
    assert rounded(value, error) == text


def test_the_address_takes_only_what_the_controls_can_hold(call, page):
    settings = page.settings["forward"]
    good = {
        "model": MODEL,
        "picture": "7",
        "schedule": "sigmoid",
        "T": "50",
        "p1": "-3",
        "seed": "4",
    }
    assert {name: settings[name][1](text) for name, text in good.items()} == {
        "model": MODEL,
        "picture": 7,
        "schedule": "sigmoid",
        "T": 50,
        "p1": -3.0,
        "seed": "4",
    }
    bad = {"model": "x", "picture": "256", "schedule": "x", "T": "1e3", "p1": "nan", "seed": "1-2"}
    for name, text in bad.items():
        with pytest.raises((ValueError, GendiffError)):
            settings[name][1](text)
