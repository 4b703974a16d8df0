"""Estimates of a few pictures: what they are of, what they hold, and what they cost at most."""

from __future__ import annotations

import json

import gradio as gr
import pytest
import torch

from gendiff import intervals
from gendiff.__main__ import main
from gendiff.data import open_data
from gendiff.errors import GendiffError
from gendiff.images import from_uint8
from gendiff.readers import load_reader
from gendiff.results import Metrics
from gendiff.studio import Studio, estimate, race
from gendiff.studio.estimate import Estimate, Working, prepare, run
from gendiff.ui import compare, compare_estimate
from gendiff.ui.parts import Page


@pytest.fixture(scope="module")
def studio():
    """The bundled models: only their pictures can be read."""
    return Studio(device="cpu", dtype="float32")


def estimates(studio, plan, **options):
    return [one for one in run(studio, plan, **options) if isinstance(one, Estimate)]


def test_an_estimate_is_of_the_pictures_that_it_says(studio):
    plan = prepare(studio, ["gan"], "fashion", 40, first=500)
    events = list(run(studio, plan))
    assert isinstance(events[0], Working)
    made = [one for one in events if isinstance(one, Estimate)]
    assert [one.images for one in made] == [16, 32, 40]
    assert [one.complete for one in made] == [False, False, True]
    last = made[-1]
    seeds = range(500, 540)
    model, reader = studio.model("fashion-gan"), load_reader("fashion")
    x = model.sample(seeds)
    reading = reader(x)
    real = reader(from_uint8(studio.real("fashion").pictures)).features
    assert last.kid.value == pytest.approx(
        intervals.kernel(real, reading.features).value, rel=1e-2
    )
    asked = torch.stack([label for label in estimate.resolve_labels(None, seeds, 10, "cpu")])
    right = int((asked == reading.kinds["label"]).sum())
    assert abs(last.obedience.value * 40 - right) <= 1 and last.valid is None
    assert (last.nfe, last.seconds > 0) == (1, True)
    widths = [one.kid.high - one.kid.low for one in made]
    assert widths[0] > widths[-1]


def test_real_pictures_are_estimated_as_real(studio):
    """The yardstick's own kind: other test pictures are at a distance of 0."""
    for data in ("fashion", "cats"):
        against = estimate.yardstick(studio, data)
        other = open_data(data, "test").batch(torch.arange(3000, 3128))[0]
        made = intervals.kernel(against.features, against.reader(other, paint=False).features)
        assert made.holds(0.0)


def test_cats_are_held_against_their_painting_where_the_parts_are_here(studio, monkeypatch):
    plan = prepare(studio, ["gan"], "cats", 16)
    one = estimates(studio, plan)[-1]
    x = studio.model("cats-gan").sample(range(estimate.FIRST, estimate.FIRST + 16))
    assert one.valid.value == pytest.approx(
        float(load_reader("cats")(x).valid.double().mean()), abs=1 / 16
    )
    monkeypatch.setattr(estimate, "open_data", not_installed)
    estimate.yardstick.cache_clear()
    without = estimates(studio, plan)[-1]
    assert without.valid is None and without.kid == one.kid and without.obedience == one.obedience
    html = compare_estimate.board_of(studio, plan, [without])
    assert "Valid cats are not counted: The 66 parts" in html
    estimate.yardstick.cache_clear()


def not_installed(*_):
    raise GendiffError("The 66 parts of the cats are not installed.")


def test_what_takes_too_long_is_refused_before_it_starts(studio, monkeypatch):
    plan = prepare(studio, ["gan", "ddpm-1000"], "fashion", 64)
    monkeypatch.setattr(race, "expected", lambda model, one, *_: 1.5 * one.nfe)
    with pytest.raises(GendiffError, match="25 minutes here, and 10 .*; choose 16 pictures"):
        next(run(studio, plan))
    with pytest.raises(GendiffError, match="choose contestants with fewer steps"):
        next(run(studio, plan, most=60))
    assert estimate.forecast(studio, plan) == 1.5 * 1001


@pytest.mark.parametrize(
    ("words", "options", "said"),
    [
        ([], {}, "1 to 4"),
        (["gan"] * 2, {}, "the same"),
        (["gan", "cats-gan"], {}, "same data set"),
        (["gan"], {"pictures": 0}, "from 16 to 256"),
        (["gan"], {"pictures": 10**6}, "from 16 to 256"),
        (["gan"], {"first": -1}, "first seed"),
        (["gan"], {"first": 10**30}, "first seed"),
        (["gan"], {"first": 0.5}, "first seed"),
    ],
    ids=str,
)
def test_bad_input_is_one_sentence(studio, words, options, said):
    with pytest.raises(GendiffError, match=said):
        prepare(studio, words, "fashion", **options)


def test_pictures_that_nobody_reads_here_are_said(saved):
    with pytest.raises(GendiffError, match="bundled real pictures"):
        prepare(Studio(saved, "cpu", "float32"), ["gan"], "shapes")


def test_a_model_that_does_not_load_leaves_the_others(studio, monkeypatch):
    plan = prepare(studio, ["ddim-1", "gan"], "fashion", 16)
    load = studio.model

    def broken(name, *rest):
        if name == "fashion-diffusion":
            raise GendiffError("It is <b>damaged</b>.")
        return load(name, *rest)

    monkeypatch.setattr(studio, "model", broken)
    lame, well = estimates(studio, plan)
    assert lame.failed == "It is <b>damaged</b>." and lame.kid is None and well.kid
    html = compare_estimate.board_of(studio, plan, [lame, well])
    assert "could not be estimated: It is &lt;b&gt;" in html and "<b>damaged" not in html


def test_stopping_stops_the_work(studio, monkeypatch):
    plan = prepare(studio, ["gan"], "fashion", 64)
    list(run(studio, plan))
    model, calls = studio.model("fashion-gan"), []
    hook = model.generator.register_forward_pre_hook(lambda *_: calls.append(1))
    work = run(studio, plan)
    next(work)
    work.close()
    hook.remove()
    assert len(calls) == 1


# ---- The view and the command ---------------------------------------------------------------


def test_the_view_shows_each_interval_beside_what_was_measured(studio):
    page = Page()
    with gr.Blocks() as demo, gr.Tabs(), page.tab("compare", "Compare"):
        compare.build(studio, page)
    handler = {fn.fn.__name__: fn.fn for fn in demo.fns.values() if fn.fn}["estimate_here"]
    updates = list(handler("fashion", ["gan", "ddim-1"], "64", 7))
    said = [line for _, line, _ in updates if isinstance(line, str)]
    part = updates[-1][2]  # of the sheet
    assert part.name == "estimate" and [row[0] for row in part.rows] == ["GAN", "DDIM, 1 step"]
    assert said[1].startswith("This takes about ") and said[-1] == "Done."
    assert "GAN: 16 of 64." in said and "DDIM, 1 step: 64 of 64." in said
    html = [board for board, *_ in updates if isinstance(board, str)][-1]
    measured = Metrics.read(studio.folder / "fashion-gan").headline
    assert "GAN, N = 64" in html and f"beforehand {100 * measured.obedience:.0f} %" in html
    assert html.count("<s style") == 2 and html.count("cp-interval") == 4
    assert "seeds 7–70" in html and "small sample" in html and "--estimate 64 --first 7" in html
    assert "256 bundled pictures of the test split" in html and "float32" in html
    for wrong in (["gan", "ddim-0"], [], None):
        with pytest.raises(gr.Error):
            list(handler("fashion", wrong, "64", 7))
    readers = {name: reader for name, (_, reader) in page.settings["compare"].items()}
    assert readers["estimate"]("gan,ddim-5") == ["gan", "ddim-5"]
    for name, text in (("estimate", "x-1"), ("pictures", "65"), ("first", "-1")):
        with pytest.raises((ValueError, GendiffError)):
            readers[name](text)


def test_the_command_estimates_the_same(studio, capsys):
    words = ["compare", "fashion-gan", "--estimate", "16", "--first", "7", "--device", "cpu"]
    words += ["--dtype", "float32"]
    assert main([*words, "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    (row,) = record["estimates"]
    expected = estimates(studio, prepare(studio, ["fashion-gan"], None, 16, 7))[-1]
    assert row["kid"]["value"] == pytest.approx(expected.kid.value, abs=1e-3)
    assert row["obedience"]["low"] < row["obedience"]["value"] <= row["obedience"]["high"] <= 1
    assert (record["real"], record["first_seed"], row["images"]) == (256, 7, 16)
    assert main(words) == 0
    text = capsys.readouterr().out
    assert "95 % intervals" in text and "fashion-gan" in text
    for wrong in (["--csv"], ["--out", "x.html"]):
        assert main([*words, *wrong]) == 2
