"""The Denoise tab's handlers, called as the page calls them, and its formulas."""

from __future__ import annotations

import base64
import json
import re
from importlib.resources import files

import gradio as gr
import numpy as np
import pytest
import torch

from gendiff import schedule
from gendiff.denoise import Denoiser
from gendiff.errors import GendiffError
from gendiff.studio import Studio, denoising
from gendiff.studio.denoising import Settings, prepare
from gendiff.ui import denoise, denoise_runs, examples, formulas
from gendiff.ui.parts import Page

NAME = "tiny-diffusion"
DEFAULTS = (NAME, "any", "0-3", "ddim", 6, 1, 0, "posterior", "auto")
SAMPLERS = [value for _, value in denoise.SAMPLERS]


@pytest.fixture
def studio(saved):
    return Studio(saved, "cpu", "float32")


@pytest.fixture
def page():
    return Page()


def built(studio, page):
    """The function behind the Denoise button, cache and all."""
    with gr.Blocks() as demo, gr.Tabs() as tabs:
        with page.tab("denoise", "Denoise"):
            denoise.build(studio, page)
        page.wire(demo, tabs)
    return {block.fn.__name__: block.fn for block in demo.fns.values() if block.fn}["denoise"]


@pytest.fixture
def handler(studio, page):
    return built(studio, page)


@pytest.fixture(scope="module")
def shared(saved):
    """The same, for tests that do not count its calls: one for all of them."""
    return built(Studio(saved, "cpu", "float32"), Page())


@pytest.fixture
def count_calls(studio):
    calls = []
    net = studio.model(NAME).denoiser.net
    net.register_forward_hook(lambda *_: calls.append(1))
    return calls


def ops(messages):
    """All ops of a run, from what the handler yields or from one message."""
    batches = [messages] if isinstance(messages, dict) else [m for m, _ in messages]
    return [op for one in batches if "ops" in one for op in one["ops"]]


def frames(messages):
    return [frame for op in ops(messages) if op["op"] == "frames" for frame in op["frames"]]


def pixels(frame):
    return np.frombuffer(base64.b64decode(frame["pixels"]), np.uint8)


def changed(**changes):
    names = ("model", "label", "seeds", "sampler", "steps", "guidance", "eta", "variance")
    values = dict(zip((*names, "precision"), DEFAULTS, strict=True))
    return tuple({**values, **changes}.values())


def test_a_run_sends_every_step(handler, studio):
    *messages, (last, said) = handler(*DEFAULTS)
    start, *_, end = ops(messages)
    assert start["n"] == 7 and (end["state"], end["n"]) == ("done", 7)
    assert [pane["count"] for pane in start["panes"]] == [4] * 4
    assert [pane["previous"] for pane in start["panes"]] == ["x_s", None, None, None]
    assert (start["noun"], start["first"]) == ("step", 0)
    assert start["note"] == "CPU, 1 thread, float32, batch 4"
    assert (last, said) == (gr.skip(), "Done: 6 steps.")
    moments = prepare(studio, Settings(NAME, (0, 1, 2, 3), steps=6)).moments()
    for frame, moment in zip(frames(messages), moments, strict=True):
        sent = [picture.ravel() for picture in moment.pictures[1:]]
        assert np.array_equal(pixels(frame), np.concatenate(sent))
        facts = frame["facts"]
        assert (facts["t"], facts["s"], facts["nfe"]) == (moment.t, moment.s, moment.nfe)
        assert facts["alpha_bar_t"] == moment.alpha_bar_t
        assert facts["log_snr_t"] == moment.log_snr_t


def test_the_algorithms_current_lines_are_marked(shared):
    for sampler in SAMPLERS:
        messages = list(shared(*changed(sampler=sampler, steps=3)))
        start = ops(messages)[0]
        code = start["code"]
        drawn, *steps, last = [frame["line"] for frame in frames(messages)]
        assert code[drawn].startswith("x_T ~ ") and start["lines"][drawn] == "x_s"
        for step in steps:
            names = [code[line].split(" = ")[0].strip() for line in step]
            assert names == ["v", "x̂₀", "ε", "xₛ"]  # the tiny network predicts v, as ours do
            assert [start["lines"][line] for line in step] == [None, "x0", "eps", "x_s"]
        assert last[:-1] == steps[0] and code[last[-1]] == "return x₀"


@pytest.mark.parametrize("target", ["eps", "x0", "v"])
@pytest.mark.parametrize("clipped", [True, False])
def test_the_algorithms_conversion_is_the_denoisers(target, clipped):
    """The guess and the noise, computed as the lines on the page say."""
    levels = schedule.cosine(100)
    x_t, said = (torch.full((1, 1, 1, 1), x, dtype=torch.float64) for x in (0.7, -0.9))
    denoiser = Denoiser(lambda x, t: said, levels, target, clipped)
    alpha_bar = float(levels.alpha_bar(60))
    code = formulas.algorithm("ddim", target, clipped)
    text = code[3].split(" = ")[1].replace("−", "-")
    for symbol, python in (
        ("√ᾱₜ xₜ", "a * x_t"), ("√(1-ᾱₜ) v", "b * said"), ("√(1-ᾱₜ) ε", "b * said"),
        ("√ᾱₜ", "a"), ("xₜ", "x_t"), ("clip(x)", "clip(said)"),
    ):  # fmt: skip
        text = text.replace(symbol, python)
    names = {"a": alpha_bar**0.5, "b": (1 - alpha_bar) ** 0.5, "x_t": 0.7, "said": -0.9}
    guess = eval(
        "said" if text == "x" else text, {"clip": lambda x: max(-1.0, min(1.0, x)), **names}
    )
    eps = (names["x_t"] - names["a"] * guess) / names["b"]
    assert code[4] == "  ε = (xₜ − √ᾱₜ x̂₀) / √(1−ᾱₜ)"
    prediction = denoiser(x_t, 60)
    assert float(prediction.x0) == pytest.approx(guess, abs=1e-9)
    assert float(prediction.eps) == pytest.approx(eps, abs=1e-9)


def test_the_page_says_what_the_network_predicts(shared):
    html = frames(shared(*changed(steps=3)))[1]["html"]
    assert "trained to predict v = √ᾱₜ ε − √(1−ᾱₜ) x₀" in html
    guided = ops(list(shared(*changed(steps=3, guidance=2))))[0]["code"]
    assert guided[2] == "  v = guided network(xₜ, t)"


def test_frames_stand_on_the_curve_at_their_level(shared):
    messages = list(shared(*DEFAULTS))
    start = ops(messages)[0]
    assert start["axis"] == [frame["facts"]["t"] for frame in frames(messages)]
    curve = start["curves"][0]
    for frame in frames(messages):
        at = curve["x"].index(frame["facts"]["t"])
        assert curve["y"][at] == pytest.approx(frame["facts"]["log_snr_t"])


def test_the_output_is_called_x_t_1_only_where_every_level_is_visited(studio):
    titles = [
        denoise_runs.show(prepare(studio, Settings(NAME, (0,), steps=steps)))[0].panes[3].title
        for steps in (99, 100)
    ]
    assert titles == ["Output x_s", "Output x_{t−1}"]


def test_a_thinned_run_says_so(studio, monkeypatch):
    monkeypatch.setattr(denoising, "SHOWN_MAX", 5)
    run, shown = denoise_runs.show(prepare(studio, Settings(NAME, (0,), steps=20)))
    assert run.n == 6 and "; 5 of the 20 steps are shown" in run.note
    assert run.note.startswith("seed 0, ")
    assert (run.noun, run.first) == ("frame", 1)
    # Its inputs are no frame's outputs, so they are sent.
    assert len(run.sent) == 4
    made = list(shown)
    assert [len(frame.panes) for frame in made] == [4] * 6
    assert (
        made[3].facts["step"]
        == f"{prepare(studio, Settings(NAME, (0,), steps=20)).shown[2] + 1} of 20"
    )


def sums(html):
    """The last row of the table: what stands left of "=", and the products on the right."""
    row = html.split("</tr>")[-2].replace("−", "-")
    left = float(re.search(r"<b>(-?[\d.]+)</b>", row)[1])
    found = re.findall(r"<td>([+-])</td><td>\((.+?) · (.+?)\)</td>", row.replace("=<", "+<"))
    return left, [float(f"{sign}{weight}") * float(value) for sign, weight, value in found]


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("eta", [0, 0.5])
def test_the_formula_on_the_page_adds_up(shared, sampler, eta):
    moments = frames(shared(*changed(sampler=sampler, eta=eta, steps=5)))
    assert "Pure noise" in moments[0]["html"]
    for frame in moments[1:]:
        left, products = sums(frame["html"])
        assert 1 <= len(products) <= 3
        # Four decimals each: half a unit of error for the weight, the value and the sum.
        assert left == pytest.approx(sum(products), abs=5e-4)


def test_the_formula_says_which_pixel(studio):
    _, shown = denoise_runs.show(prepare(studio, Settings(NAME, (9, 2), steps=2)))
    assert "<th>Middle pixel, seed 9</th>" in list(shown)[1].html


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_the_player_draws_all_of_the_formulas_markup(shared, sampler):
    script = files("gendiff.ui").joinpath("drawing.js").read_text("utf-8")
    allowed = set(re.search(r"new Set\(`(.+?)`", script, re.S)[1].lower().split())
    for frame in frames(shared(*changed(sampler=sampler, eta=0.5, steps=3))):
        assert set(re.findall(r"</?([a-z]+)", frame["html"])) <= allowed


def test_a_number_has_a_true_minus_and_no_negative_zero():
    assert [formulas.number(x) for x in (-0.25, -1e-9, 2)] == ["−0.2500", "0.0000", "2.0000"]


def test_the_same_request_is_played_again_without_work(handler, count_calls):
    first = list(handler(*DEFAULTS))
    assert len(count_calls) == 6
    assert list(handler(*DEFAULTS)) == first
    assert len(count_calls) == 6
    assert list(handler(*changed(seeds="4"))) != first
    assert len(count_calls) == 12


def test_a_visitor_who_leaves_stops_the_work_within_a_step(handler, count_calls):
    running = handler(*changed(steps=50))
    while len(count_calls) < 3:
        next(running)
    done = len(count_calls)
    running.close()
    assert len(count_calls) == done < 50
    assert len(list(handler(*changed(steps=50)))) > 1  # a run that was cut is not played again
    assert len(count_calls) == done + 50


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"seeds": "cat"}, "whole numbers"),
        ({"seeds": "1" + "0" * 30}, "whole numbers"),
        ({"seeds": "-1"}, "whole numbers"),
        ({"seeds": ""}, "whole numbers"),
        ({"seeds": "0-16"}, "at most 16"),
        ({"steps": 101}, "from 1 to 100"),
        ({"steps": 0}, "from 1 to 100"),
        ({"steps": 10**30}, "from 1 to 100"),
        ({"steps": float("inf")}, "Steps is no number"),
        ({"steps": None}, "Steps is no number"),
        ({"guidance": 21}, "from 0 to 20"),
        ({"guidance": float("nan")}, "Guidance scale is no number"),
        ({"eta": 2}, "eta goes from 0"),
        ({"label": "7"}, "from 0 to 2"),
        ({"model": None}, "no diffusion model"),
        ({"model": "tiny-gan"}, "diffusion model"),
        ({"sampler": "euler"}, "no sampler"),
    ],
    ids=str,
)
def test_bad_input_is_one_sentence_and_the_player_is_left_alone(shared, changes, said):
    running = shared(*changed(**changes))
    with pytest.raises(gr.Error, match=said):
        next(running)


def test_the_example_is_a_run_with_the_default_settings(studio, handler, monkeypatch):
    message = json.loads(json.dumps(denoise.example(studio)))
    live = list(handler(*changed(steps=50)))
    start, again = ops(message)[0], ops(live)[0]
    assert [pixels(f).tobytes() for f in frames(message)] == [
        pixels(f).tobytes() for f in frames(live)
    ]
    assert start["note"] == f"Pre-computed: Tiny diffusion, seeds 0-3; {again['note']}"
    differ = {"run", "note"}
    assert {k: v for k, v in start.items() if k not in differ} == {
        k: v for k, v in again.items() if k not in differ
    }


def test_the_bundled_example_says_what_it_is():
    start, sent, end = examples.read("denoise")["ops"]
    assert start["note"].startswith("Pre-computed: ")
    assert len(sent["frames"]) == start["n"] == end["n"]


def test_the_address_takes_only_what_the_controls_take(handler, page):
    kept = {name: reader for name, (_, reader) in page.settings["denoise"].items()}
    good = {
        "model": NAME,
        "label": "2",
        "seeds": "0-15",
        "sampler": "heun",
        "steps": "1000",
        "guidance": "2.5",
        "eta": "0.5",
        "variance": "beta",
        "precision": "bfloat16",
    }
    assert kept.keys() == good.keys()
    read = {name: kept[name](text) for name, text in good.items()}
    assert read == {**good, "steps": 1000, "guidance": 2.5, "eta": 0.5}
    bad = {
        "model": "tiny-gan",
        "label": "3",
        "seeds": "0-16",
        "sampler": "euler",
        "steps": "1001",
        "guidance": "nan",
        "eta": "-0.1",
        "variance": "learned",
        "precision": "int8",
    }
    for name, text in bad.items():
        with pytest.raises((ValueError, GendiffError)):
            kept[name](text)


def test_without_any_diffusion_model_the_tab_still_stands(tmp_path, page):
    with gr.Blocks(), gr.Tabs(), page.tab("denoise", "Denoise"):
        denoise.build(Studio(tmp_path, "cpu", "float32"), page)
    with pytest.raises(GendiffError, match="no diffusion model"):
        denoise.example(Studio(tmp_path, "cpu", "float32"))
