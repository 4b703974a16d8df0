"""The Interpolate tab without a browser: messages, exports, and what its handlers answer."""

import base64
import io
import re

import gradio as gr
import numpy as np
import pytest
from PIL import Image

from gendiff.errors import GendiffError
from gendiff.images import encode
from gendiff.studio import Studio, decoding
from gendiff.studio import walk as walks
from gendiff.ui import interpolate, walk_runs
from gendiff.ui.exports import sheet
from gendiff.ui.parts import Page
from gendiff.ui.walk_runs import stream_grid, stream_walk, whole_walk

DATA = "shapes"


@pytest.fixture
def studio(saved):
    return Studio(saved, "cpu", "float32")


def ops(updates):
    """The player's messages, flat; what only changes the status line is left out."""
    messages = [message for message, _ in updates if "op" in message]
    return [op for m in messages for op in m.get("ops", [m])]


def pictures(start, frame):
    """The two panes (count, h, w, c) of a frame as it was sent."""
    flat = np.frombuffer(base64.b64decode(frame["pixels"]), np.uint8)
    return flat.reshape(2, *(start["panes"][0][name] for name in ("count", "h", "w", "c")))


# ---- Messages -------------------------------------------------------------------------------


@pytest.mark.parametrize("interval", [0, 3600])
def test_a_walk_arrives_whole_and_in_order(studio, monkeypatch, interval):
    monkeypatch.setattr(walk_runs, "NEWS", interval)
    walk = walks.walk(studio, DATA, "5, 2", frames=11, steps=3, label=0)
    updates = list(stream_walk(walk, "CPU"))
    start, *parts, end = ops(updates)
    assert (start["op"], start["n"], start["loop"]) == ("start", 11, False)
    assert (end["op"], end["state"], end["n"]) == ("end", "done", 11)
    assert [(p["k"], len(p["frames"])) for p in parts] == [(0, 8), (8, 3)]
    assert {op["run"] for op in (start, *parts, end)} == {start["run"]}
    gan = decoding.gan_pictures(walk.pair).pictures
    made = [p.pictures for p in decoding.diffusion_pictures(walk.pair) if p.pictures is not None]
    sent = np.stack([pictures(start, frame)[:, 0] for p in parts for frame in p["frames"]])
    np.testing.assert_array_equal(sent[:, 0], gan)
    np.testing.assert_array_equal(sent[:, 1], np.concatenate(made))
    signs = [text for message, text in updates if "op" not in message]
    assert len(signs) == (4 if interval == 0 else 1)  # of two calls a batch without a picture
    assert updates[-1][1].startswith("Done: GAN ")


def test_an_example_is_what_a_live_run_sends(studio):
    walk = walks.walk(studio, DATA, "5, 2", frames=9, steps=2, loop=True)
    start, frames, end = whole_walk(walk, "Pre-computed")["ops"]
    live_start, *live, _ = ops(stream_walk(walk, "CPU"))
    said = {"run", "note"}
    assert {k: v for k, v in start.items() if k not in said} == {
        k: v for k, v in live_start.items() if k not in said
    }
    same = ("pixels", "html")
    assert [[f[key] for key in same] for f in frames["frames"]] == [
        [f[key] for key in same] for part in live for f in part["frames"]
    ]
    assert start["note"].startswith("Pre-computed, batch 9 (GAN), 8 (diffusion); class ")
    assert (end["state"], end["n"]) == ("done", 9)


def test_a_frame_says_where_it_lies_and_what_it_costs(studio):
    walk = walks.walk(studio, DATA, "5, 2", frames=3, steps=4)
    frames = ops(stream_walk(walk, "CPU"))[1]["frames"]
    facts = [frame["facts"] for frame in frames]
    assert [(f["seeds"], f["u"]) for f in facts] == [("5", 0), ("5 → 2", 0.5), ("5 → 2", 1)]
    assert {(f["GAN NFE"], f["diffusion NFE"]) for f in facts} == {(1, 4)}
    assert all(f["GAN ms"] > 0 and f["diffusion ms"] > 0 for f in facts)
    for index, frame in enumerate(frames):
        numbers = [float(x) for x in re.findall(r"<mn>(\d+\.\d+)</mn>", frame["html"])]
        gan, diffusion = walk.pair.gan, walk.pair.diffusion
        expected = [*gan.weights[index], gan.norms[index]]
        expected += [*diffusion.weights[index], diffusion.norms[index]]
        np.testing.assert_allclose(numbers, expected, atol=5.1e-4)
        assert frame["html"].count("<mn>5</mn>") == frame["html"].count("<mn>2</mn>") == 2


@pytest.mark.parametrize(("path", "other"), [("slerp", "lerp"), ("lerp", "slerp")])
def test_the_chart_compares_both_paths_with_the_shell(studio, path, other):
    walk = walks.walk(studio, DATA, "5, 2, 9", frames=9, steps=2, path=path, loop=True)
    start = ops(stream_walk(walk, "CPU"))[0]
    curves = {curve["label"]: curve for curve in start["curves"]}
    assert list(curves) == [f"z, {path}", f"x_T, {path}", f"x_T, {other}", "shell"]
    assert {curve["unit"] for curve in curves.values()} == {"√dim"}
    np.testing.assert_allclose(curves[f"z, {path}"]["y"], walk.pair.gan.norms)
    np.testing.assert_allclose(curves[f"x_T, {other}"]["y"], walk.other.diffusion.norms)
    assert curves["shell"]["y"] == [1] * 9
    assert all(curve["x"] == start["axis"] for curve in curves.values())
    np.testing.assert_allclose(start["axis"], np.arange(9) / 3)
    assert start["axis_label"] == "seeds 5 → 2 → 9 → 5"


def test_a_grid_shows_x_T_first_and_then_both_grids(studio):
    grid = walks.grid(studio, DATA, "4-7", side=3, steps=2, label=1)
    updates = list(stream_grid(grid, "CPU"))
    start, frames, last_start, last_frames, end = ops(updates)
    assert start["run"] != last_start["run"] == end["run"] and end["state"] == "done"
    first, last = (
        pictures(a, b["frames"][0]) for a, b in ((start, frames), (last_start, last_frames))
    )
    gan = decoding.gan_pictures(grid.pair).pictures
    np.testing.assert_array_equal(first[0], gan)
    np.testing.assert_array_equal(last[0], gan)
    np.testing.assert_array_equal(first[1], decoding.noise_pictures(grid.pair))
    made = [p.pictures for p in decoding.diffusion_pictures(grid.pair) if p.pictures is not None]
    np.testing.assert_array_equal(last[1], np.concatenate(made))
    captions = last_start["captions"]
    assert [captions[k] for k in (0, 2, 6, 8)] == ["seed 4", "seed 5", "seed 6", "seed 7"]
    assert captions[5] == "1.00 across, 0.50 down"
    assert (last_start["pick"], last_start["n"]) == ("zoom", 1)
    assert start["note"].startswith("Diffusion: still x_T; CPU")
    assert last_start["note"] == "CPU, batch 9 (GAN), 8 (diffusion); class square"
    assert "diffusion ms" not in frames["frames"][0]["facts"]
    assert last_frames["frames"][0]["facts"]["diffusion NFE"] == 2


# ---- The tab --------------------------------------------------------------------------------


@pytest.fixture
def built(studio):
    """The tab's page and its handlers by name."""
    page = Page()
    with gr.Blocks() as demo, gr.Tabs() as tabs:
        with page.tab("interpolate", "Interpolate"):
            interpolate.build(studio, page)
        page.wire(demo, tabs)
    return page, {fn.fn.__name__: fn.fn for fn in demo.fns.values() if fn.fn}


def asked(**changes):
    settings = {
        **{"data": DATA, "view": "walk", "seeds": "1, 2", "frames": 3, "side": 2},
        **{"path": "slerp", "loop": False, "label": "any", "steps": 2},
    }
    return {**settings, **changes}.values()


def test_the_handler_makes_walks_and_grids(built):
    _, handlers = built
    assert ops(handlers["run"](*asked()))[0]["n"] == 3
    start = ops(handlers["run"](*asked(view="grid", seeds="1-4")))[0]
    assert start["panes"][1]["count"] == 4


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"seeds": "1"}, "2 to 4 seeds"),
        ({"view": "grid", "seeds": "1, 2"}, "exactly 4 seeds"),
        ({"label": "dragon"}, "choose one from the list"),
        ({"label": "7"}, "class"),
        ({"frames": 500}, "Frames must be"),
        ({"frames": None}, "Frames must be .* the field is empty"),
        ({"view": "grid", "seeds": "1-4", "side": 10**6}, "must be"),
        ({"steps": 5000}, "must be"),
    ],
)
def test_bad_input_is_one_sentence(built, wrong, said):
    _, handlers = built
    with pytest.raises(gr.Error, match=said) as told:
        list(handlers["run"](*asked(**wrong)))
    assert str(told.value.message).count(". ") == 0


def test_a_run_that_fails_tells_the_player(built, monkeypatch):
    def broken(*_):
        raise GendiffError("The device has too little free memory for one picture.")

    monkeypatch.setattr(decoding, "diffusion_pictures", broken)
    updates = built[1]["run"](*asked())
    assert next(updates)[0]["state"] == "stopped"
    with pytest.raises(gr.Error, match="too little"):
        next(updates)


def test_settings_of_a_link_are_read_or_refused(built):
    page, _ = built
    readers = {name: reader for name, (_, reader) in page.settings["interpolate"].items()}
    good = {"data": DATA, "view": "grid", "seeds": "1, 5-7", "path": "lerp", "label": "12"}
    assert {name: readers[name](text) for name, text in good.items()} == good
    assert [readers[n](t) for n, t in (("frames", "120"), ("side", "8"), ("steps", "2"))] == [
        *(120, 8, 2)
    ]
    assert [readers["loop"](text) for text in ("true", "false")] == [True, False]
    bad = [("data", "dogs"), ("view", "x"), ("seeds", "1"), ("seeds", "cat"), ("frames", "121")]
    bad += [("side", "9"), ("path", ""), ("loop", "1"), ("label", "round"), ("steps", "1.5")]
    for name, text in bad:
        with pytest.raises((ValueError, GendiffError)):
            readers[name](text)


@pytest.mark.parametrize(
    ("text", "filled"),
    [
        ("3, 12", "3, 12, 25, 40"),
        ("40, 3, 7", "40, 3, 7, 12"),
        ("1-4", "1-4"),
        ("cat", "cat"),
    ],
)
def test_a_grid_gets_the_corners_that_it_lacks(text, filled):
    assert interpolate._corners("grid", text) == filled
    assert interpolate._corners("walk", text) == text


# ---- The PNG strip --------------------------------------------------------------------------


def test_a_strip_keeps_every_pixel():
    rng = np.random.default_rng(0)
    frames = [rng.integers(0, 256, (2, 1, 64, 64, 3), np.uint8) for _ in range(12)]
    columns = [sheet(list(frame), strip=True) for frame in frames]
    strip = np.asarray(Image.open(io.BytesIO(encode(columns, "png"))))
    factor, gap, between = 3, 8 * 3, 2  # 64 pixels are shown as 192; panes, then columns apart
    tall = 2 * 64 * factor + gap
    for k, frame in enumerate(frames):
        left, top = (k % 10) * (64 * factor + between), (k // 10) * (tall + between)
        for row, picture in enumerate(frame[:, 0]):
            y = top + row * (64 * factor + gap)
            cut = strip[y : y + 64 * factor, left : left + 64 * factor]
            np.testing.assert_array_equal(cut, picture.repeat(factor, 0).repeat(factor, 1))
