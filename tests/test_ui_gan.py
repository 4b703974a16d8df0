"""The GAN tab's handlers, called as the page calls them."""

from __future__ import annotations

import base64
import json
from types import SimpleNamespace

import gradio as gr
import numpy as np
import pytest
import torch
from PIL import Image

from gendiff.errors import GendiffError
from gendiff.images import tile
from gendiff.studio import Studio, models
from gendiff.studio.adversarial import Ask, draw
from gendiff.ui import gan, gan_runs
from gendiff.ui.parts import Page


@pytest.fixture
def studio(saved, tmp_path, monkeypatch):
    """Tiny models and 32 real pictures."""
    pictures = np.random.default_rng(0).integers(0, 256, (32, 8, 8, 1), np.uint8)
    Image.fromarray(tile(pictures, columns=8)[..., 0]).save(tmp_path / "real-shapes.png")
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
        with page.tab("gan", "GAN"):
            gan.build(studio, page)
        page.wire(demo, tabs)
    handlers = {block.fn.__name__: block.fn for block in demo.fns.values() if block.fn}
    return lambda name, *values: handlers[name](*values)


def pixels(message):
    return np.frombuffer(base64.b64decode(message["ops"][1]["frames"][0]["pixels"]), np.uint8)


def test_a_run_shows_the_grid_and_its_first_picture(call, studio):
    result = call("run", "generated", "tiny-gan", "4, 9-10", "any", 3.0)
    generated, message, detail, mixed, (run, ask), count = result
    sheet = draw(studio, Ask("tiny-gan", (4, 9, 10)))
    assert (generated["visible"], mixed["visible"]) == (True, False)
    assert ask == sheet.ask and count == 3
    assert np.array_equal(pixels(message), sheet.pictures.ravel())
    assert "Seed 4, " in detail
    start = message["ops"][0]
    assert start["run"] == run
    assert start["captions"] == ["seed 4", "seed 9", "seed 10"]
    assert "CPU, 1 thread, float32, batch 3, NFE 1" in start["note"]


def test_a_mixed_run_shows_the_mix_and_leaves_the_grid_as_it_is(call):
    generated, message, detail, mixed, ask, count = call(
        "run", "mixed", "tiny-gan", "0-3", "any", 3.0
    )
    assert (generated["visible"], mixed["visible"]) == (False, True)
    assert mixed["value"].count("<li ") == 8
    assert message == detail == ask == gr.skip()
    assert count == 4


def test_class_and_truncation_reach_the_model(call, studio):
    *_, (_, ask), _ = call("run", "generated", "tiny-gan", "0", "2", 1.5)
    assert ask == Ask("tiny-gan", (0,), 2, 1.5)


def test_a_class_of_another_model_is_any(call):
    *_, (_, ask), _ = call("run", "generated", "tiny-gan", "0", "12", 3.0)
    assert ask.label is None


def test_a_click_shows_the_picture_of_the_grid_that_is_there(call):
    shown = ("a run", Ask("tiny-gan", (20, 30, 40)))
    assert "Seed 40, " in call("pick", shown, SimpleNamespace(run="a run", tile=2))
    with pytest.raises(gr.Error, match="3 pictures"):
        call("pick", shown, SimpleNamespace(run="a run", tile=3))
    # A run that this page's memory does not know (any more) gets no other run's picture.
    assert call("pick", shown, SimpleNamespace(run="another", tile=2)) == gr.skip()
    assert call("pick", None, SimpleNamespace(run="a run", tile=2)) == gr.skip()


@pytest.mark.parametrize(
    ("name", "seeds", "said"),
    [
        ("tiny-gan", "1e30", "whole numbers"),
        ("tiny-gan", "-5", "whole numbers"),
        ("tiny-gan", "1.5", "whole numbers"),
        ("tiny-gan", "cat", "whole numbers"),
        ("tiny-gan", "", "whole numbers"),
        ("tiny-gan", "0-64", "at most 64"),
        ("tiny-gan", "0-999999", "at most 64"),
        ("nobody", "0", "no model"),
        ("tiny-diffusion", "0", "no GAN"),
        (None, "0", "no model"),
    ],
)
@pytest.mark.parametrize("view", ["generated", "mixed"])
def test_bad_input_is_one_sentence(call, view, name, seeds, said):
    with pytest.raises(gr.Error, match=said):
        call("run", view, name, seeds, "any", 3.0)


@pytest.mark.parametrize(
    ("bound", "said"), [(50, "got 50"), (0, "got 0"), (None, "the field is empty")]
)
def test_a_truncation_beyond_the_sliders_ends_is_one_sentence(call, bound, said):
    with pytest.raises(gr.Error, match=f"from 0.1 to 3, which is off; {said}"):
        call("run", "generated", "tiny-gan", "0", "any", bound)


def test_the_precision_reaches_the_networks(call, studio):
    for dtype in ("float32", "bfloat16"):
        made = call("run", "generated", "tiny-gan", "0-3", "any", 3.0, dtype)
        assert made[-2][1].dtype == dtype
        assert f"{dtype}, batch 4" in made[1]["ops"][0]["note"]
    assert studio.model("tiny-gan", "bfloat16").dtype == torch.bfloat16


def test_how_many_makes_a_range_from_the_first_seed():
    assert gan._first_seeds("7, 9, 100", 4) == "7-10"
    assert gan._first_seeds("7", 1) == "7"
    assert gan._first_seeds("7", None) == gr.skip()
    for count in (-1, 0, 2.5, 65, 10**6):
        with pytest.raises(
            GendiffError, match="How many must be a whole number from 1 to 64; got"
        ):
            gan._first_seeds("7", count)
        with pytest.raises(GendiffError, match="How many"):
            gan._new_seeds(count)


def test_new_seeds_keep_the_count():
    drawn = {gan._new_seeds(10) for _ in range(8)}
    assert len(drawn) > 1
    for text in drawn:
        first, last = map(int, text.split("-"))
        assert last - first == 9


def test_many_pictures_say_their_seed_and_class_when_pointed_at(studio):
    few = gan_runs.grid(studio, draw(studio, Ask("tiny-gan", tuple(range(24)))))
    many = gan_runs.grid(studio, draw(studio, Ask("tiny-gan", tuple(range(25)), label=1)))
    assert (few.caption_mode, many.caption_mode) == ("always", "hover")
    assert many.captions[3] == "seed 3, square"


def test_the_example_is_a_run_with_the_default_settings(call, studio, monkeypatch):
    message = json.loads(json.dumps(gan.example(studio)))
    live = call("run", "generated", "tiny-gan", gan_runs.SEEDS, "any", gan.CUT_OFF)
    assert np.array_equal(pixels(message), pixels(live[1]))
    assert message["ops"][0]["note"].startswith("Pre-computed: Tiny GAN, seeds 0-23.")
    monkeypatch.setattr(gan_runs.examples, "read", lambda tab: {"gan": message}[tab])
    for _ in range(2):  # what is read is kept: opening the tab must not use it up
        shown, detail, grid, mix, known = gan_runs.opening(studio)
        assert known == (shown["ops"][0]["run"], Ask("tiny-gan", tuple(range(24))))
        assert shown["ops"] == message["ops"] and not {"picked", "mixed"} & shown.keys()
        assert detail == live[2] and grid == mix == gr.skip()


def test_a_link_to_the_mix_shows_one_before_it_has_run(call, studio, monkeypatch):
    message = json.loads(json.dumps(gan.example(studio)))
    monkeypatch.setattr(gan_runs.examples, "read", lambda tab: message)
    link = {"mode": "mixed", "seeds": "3"}
    shown, detail, grid, mix, known = gan_runs.opening(studio, link)
    assert known == gr.skip()
    assert shown == detail == gr.skip() and grid["visible"] is False and mix["visible"] is True
    live = call("run", "mixed", "tiny-gan", gan_runs.SEEDS, "any", gan.CUT_OFF)[3]["value"]
    assert mix["value"].split("<ol")[1] == live.split("<ol")[1]  # the same pictures and verdicts
    assert "pre-computed: Tiny GAN" in mix["value"]
    assert gan_runs.opening(studio, {"mode": "generated"})[0]["ops"] == message["ops"]


def test_the_address_takes_only_what_the_controls_take(call, page):
    kept = {name: reader for name, (_, reader) in page.settings["gan"].items()}
    assert kept["seeds"](" 0-63 ") == "0-63"
    assert kept["truncation"]("0.5") == 0.5
    assert kept["label"]("2") == "2" and kept["mode"]("mixed") == "mixed"
    bad = {
        "mode": "both",
        "model": "tiny-diffusion",
        "seeds": "0-64",
        "label": "3",
        "truncation": "0.05",
        "precision": "int8",
    }
    assert bad.keys() == kept.keys()
    for name, text in bad.items():
        with pytest.raises((ValueError, GendiffError)):
            kept[name](text)
    with pytest.raises(ValueError):
        kept["truncation"]("nan")


def test_without_any_gan_the_tab_still_stands(tmp_path, page):
    with gr.Blocks(), gr.Tabs(), page.tab("gan", "GAN"):
        gan.build(Studio(tmp_path, "cpu", "float32"), page)
    with pytest.raises(GendiffError, match="no GAN"):
        gan.example(Studio(tmp_path, "cpu", "float32"))
