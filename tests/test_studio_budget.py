"""Budgets are kept, and advice follows from the answers and cites what was measured."""

from __future__ import annotations

import itertools
import re
from dataclasses import replace
from html import unescape as html_unescape

import gradio as gr
import pytest
from test_studio_quality import metrics, scored

from gendiff.errors import GendiffError
from gendiff.studio import Studio, budget, race, records
from gendiff.studio.advice import QUESTIONS, Advice, Evidence, advise
from gendiff.studio.budget import Delivered, Spend, plans, spend
from gendiff.studio.contestants import Contestant
from gendiff.ui import compare, compare_advice, compare_budget
from gendiff.ui.compare_advice import page_of
from gendiff.ui.parts import Page

EVIL = "<img src=x onerror=alert(1)>"


@pytest.fixture
def studio(checkpoints):
    return Studio(checkpoints, "cpu", "float32")


@pytest.fixture
def timed(monkeypatch):
    """A call of n pictures takes 10 ms and 1 ms a picture; the GAN's a tenth."""

    def expected(model, one, pictures, batch):
        seconds = 0.01 + 0.001 * pictures
        return seconds / (10 if model.card.family == "gan" else 1)

    monkeypatch.setattr(race, "expected", expected)


# ---- The budget -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("seconds", "gan", "pictures", "steps"),
    [
        (0.03, 64, 1, 2),  # two calls of 11 ms
        (0.2, 64, 8, 11),  # 8 pictures: 18 ms a call; 16 would get 7 steps
        (10.0, 64, 64, 50),  # no more than 50 steps, no more than 64 pictures
    ],
)
def test_each_family_spends_in_its_way(studio, timed, seconds, gan, pictures, steps):
    of = {one.family: one for one in plans(studio, "shapes", seconds)}
    assert of["gan"].pictures == gan and of["gan"].fits
    assert of["diffusion"].pictures == pictures
    assert of["diffusion"].contestant == Contestant("tiny-diffusion", "dpmpp_2m", steps)
    assert all(one.fits and one.forecast <= seconds for one in of.values())


def test_a_call_that_is_dearer_than_the_budget_is_said(studio, timed):
    of = {one.family: one for one in plans(studio, "shapes", 0.0101)}
    assert not of["diffusion"].fits and of["diffusion"].contestant.steps == 1
    assert "not enough for one call" in of["diffusion"].why
    assert of["gan"].fits


def test_measured_quality_chooses_among_what_fits(studio, timed, checkpoints):
    runs = [scored("ddim", 30, 30, 9.0), scored("dpmpp_2m", 15, 15, 4.0)]
    runs += [scored("ddim", 50, 50, 1.0), scored("ddim", 10, 20, 0.5, guidance=3.0)]
    metrics(studio, "tiny-diffusion", *runs).write(checkpoints / "tiny-diffusion")
    one = next(p for p in plans(studio, "shapes", 0.65) if p.family == "diffusion")
    assert one.contestant == Contestant("tiny-diffusion", "dpmpp_2m", 15)
    assert "lowest measured FID" in one.why


def test_the_plan_at_measured_speeds_stands_there_before_anything_is_timed(
    studio, checkpoints, monkeypatch
):
    monkeypatch.setattr(race, "expected", None)
    assert set(map(len, budget.foreseen(studio, "shapes").values())) == {0}
    assert "was not measured beforehand" in compare_budget._foreseen(studio, "shapes")
    metrics(studio, "tiny-gan", scored(None, None, 1, 3.0, 100.0)).write(checkpoints / "tiny-gan")
    run = scored("dpmpp_2m", 10, 10, 4.0, 2.0)  # 50 ms a call and picture
    metrics(studio, "tiny-diffusion", run).write(checkpoints / "tiny-diffusion")
    said = {
        seconds: {one.family: (one.pictures, one.contestant.nfe, one.fits) for one in spends}
        for seconds, spends in budget.foreseen(studio, "shapes").items()
    }
    assert said[0.05] == {"gan": (4, 1, True), "diffusion": (1, 1, True)}
    assert said[1.0] == {"gan": (64, 1, True), "diffusion": (2, 10, True)}
    assert said[10.0] == {"gan": (64, 1, True), "diffusion": (16, 10, True)}
    html = compare_budget._foreseen(studio, "shapes")
    said = re.sub(r"<[^>]+>", " ", html)
    assert re.search(r" 2 +pictures +DPM-Solver\+\+, 10 steps", said)
    assert re.search(r" 1 +picture +DPM", said)
    # A hundred pictures fit into a second, of which 64 are made.
    assert re.search(r" about +100 +pictures +one call each; 64 made: 64.0 % of the time", said)
    assert re.search(r" about +1,000 +pictures +one call each; 64 made: 6.40 % of", said)
    assert html.count("<i></i>") == 4 + 1 + 64 + 2 + 64 + 16  # a square a picture
    assert "a test" in html  # the machine of metrics.json


def test_an_overrun_is_explained_in_a_sentence(studio, checkpoints):
    slow = Spend("diffusion", Contestant("tiny-diffusion", "ddim", 1), 1, 0.062, False, "")
    result = race.Result(0, "tiny-diffusion:ddim-1", "DDIM, 1 step", 1, 1, 1, seconds=0.0625)
    late = Delivered(slow, None, (), result).overrun(0.05)
    assert late == (
        "DDIM, 1 step overran: a single network call for one picture took 62.5 ms here, which is "
        "more than the whole budget of 50 ms, and nothing is faster."
    )
    assert Delivered(slow, None, (), result).overrun(0.1) is None
    record = records.budget(studio, "shapes", 0.05, [Delivered(slow, None, (), result)])
    assert late in html_unescape(compare_budget._table(record))
    fit = Delivered(replace(slow, fits=True, forecast=0.04), None, (), result)
    assert "had promised 40 ms" in fit.overrun(0.05)
    # The plan says it, too: 5 pictures a second cannot give one in 50 ms.
    run = scored("dpmpp_2m", 10, 10, 4.0, 0.5)
    metrics(studio, "tiny-diffusion", run).write(checkpoints / "tiny-diffusion")
    assert "One call alone takes about 200 ms" in compare_budget._foreseen(studio, "shapes")


def test_what_is_planned_is_delivered(studio):
    for one in plans(studio, "shapes", 0.3):
        *laps, made = spend(studio, one)
        assert isinstance(made, Delivered) and len(laps) >= 1
        assert sum(len(lap.x) for lap in made.laps) == one.pictures == made.result.images
        assert made.result.nfe == one.contestant.nfe and made.result.seconds > 0


def test_the_plan_and_the_result_say_how_many_fit(studio, timed):
    of = {one.family: one for one in plans(studio, "shapes", 0.2)}
    assert of["gan"].pictures == 64 and of["gan"].room == 1730  # 64 take 7.4 ms
    assert of["diffusion"].pictures == 8 and of["diffusion"].room == 8  # 11 calls of 18 ms
    result = race.Result(0, "tiny-gan", "GAN", 1, 64, 16, seconds=0.01)
    made = Delivered(of["gan"], None, (), result)
    record = records.budget(studio, "shapes", 0.2, [made])
    assert record["results"][0]["room"] == 1280
    html = compare_budget._table(record)
    assert "about 1,280" in html and "5.00 %" in html and ": shapes" in html
    slow = Spend("diffusion", Contestant("tiny-diffusion", "ddim", 1), 1, 0.3, False, "")
    result = race.Result(0, "tiny-diffusion:ddim-1", "DDIM, 1 step", 1, 1, 1, seconds=0.3)
    record = records.budget(studio, "shapes", 0.2, [Delivered(slow, None, (), result)])
    assert "not one" in compare_budget._table(record)


def test_the_budget_chooses_of_the_shared_number_of_pictures(studio, timed, checkpoints):
    runs = [scored("ddpm", 20, 20, 0.7, images=250), scored("dpmpp_2m", 20, 20, 0.9)]
    runs += [scored("dpmpp_2m", 10, 10, 0.8, images=250)]
    metrics(studio, "tiny-diffusion", *runs).write(checkpoints / "tiny-diffusion")
    metrics(studio, "tiny-gan", scored(None, None, 1, 9.0)).write(checkpoints / "tiny-gan")

    def best(calls):
        return budget._best(studio, studio.card("tiny-diffusion"), calls)

    assert best(20) == (
        Contestant("tiny-diffusion", "dpmpp_2m", 20),
        "its lowest measured FID within 20 calls (N = 1,000)",
    )
    assert best(12)[0] == Contestant("tiny-diffusion", "dpmpp_2m", 10)
    assert "with N = 250 only, not comparable with N = 1,000" in best(12)[1]
    assert "with so few (the fewest measured: 10)" in best(6)[1]


@pytest.mark.parametrize("seconds", [0, -1, 61, float("nan"), None, "1"])
def test_a_budget_out_of_range_is_refused(studio, seconds):
    with pytest.raises(GendiffError, match="0.01 to 60 seconds"):
        plans(studio, "shapes", seconds)


def test_an_unknown_data_set_is_refused(studio):
    with pytest.raises(GendiffError, match="No checkpoint"):
        plans(studio, "dogs", 1.0)


# ---- Advice ---------------------------------------------------------------------------------

ANSWERS = {"speed": "second", "aim": "both", "likelihood": "no", "training": "little"}


@pytest.mark.parametrize(
    ("changes", "pick"),
    [
        ({}, "diffusion"),
        ({"speed": "instant", "aim": "sharp", "training": "much"}, "gan"),
        ({"speed": "instant", "aim": "diverse", "likelihood": "bound"}, "diffusion"),
        ({"likelihood": "exact", "speed": "instant"}, "flow"),
        ({"speed": "any", "aim": "diverse"}, "diffusion"),
    ],
)
def test_the_answers_decide(studio, changes, pick):
    told = advise(studio, "shapes", {**ANSWERS, **changes})
    assert told.pick == pick and told.reasons
    assert (told.contestant is None) == (pick == "flow")  # there is no flow here


def test_every_combination_of_answers_gets_advice(studio):
    offered = [list(answers) for _, answers in QUESTIONS.values()]
    for answers in itertools.product(*offered):
        told = advise(studio, "shapes", dict(zip(QUESTIONS, answers, strict=True)))
        assert told.reasons and told.evidence and page_of(told)
        if "instant" in answers and told.pick == "diffusion":
            assert told.contestant.nfe <= 4


def test_advice_cites_measurements_and_says_where_there_are_none(studio, checkpoints):
    told = advise(studio, "shapes", ANSWERS)
    assert "tiny-gan: quality not measured yet" in [one.text for one in told.evidence]
    assert "Against it: nobody has measured it yet." in told.reasons
    run = scored("dpmpp_2m", 20, 20, 4.25)
    metrics(studio, "tiny-diffusion", run).write(checkpoints / "tiny-diffusion")
    told = advise(studio, "shapes", ANSWERS)
    assert told.contestant == Contestant("tiny-diffusion", "dpmpp_2m", 20)
    assert any("FID 4.25, precision 0.70" in one.text for one in told.evidence)


def test_advice_names_measured_ways_alone_of_one_number_of_pictures(studio, checkpoints):
    runs = [scored("dpmpp_2m", 20, 20, 4.25), scored("ddim", 8, 8, 6.0)]
    runs += [scored("ddim", 10, 10, 1.0, images=64)]  # of fewer pictures: no rival
    metrics(studio, "tiny-diffusion", *runs).write(checkpoints / "tiny-diffusion")
    metrics(studio, "tiny-gan", scored(None, None, 1, 9.0)).write(checkpoints / "tiny-gan")
    told = advise(studio, "shapes", ANSWERS)
    assert told.contestant == Contestant("tiny-diffusion", "dpmpp_2m", 20)
    fast = {**ANSWERS, "speed": "instant", "aim": "diverse", "likelihood": "bound"}
    told = advise(studio, "shapes", fast)  # four calls were not measured, so eight are named
    assert told.contestant == Contestant("tiny-diffusion", "ddim", 8)
    assert any("the fewest calls a picture are 8" in reason for reason in told.reasons)


def test_no_preference_outvotes_a_requirement(studio, checkpoints):
    runs = [scored("dpmpp_2m", 20, 20, 4.25), scored("ddim", 8, 8, 6.0)]
    metrics(studio, "tiny-diffusion", *runs).write(checkpoints / "tiny-diffusion")
    metrics(studio, "tiny-gan", scored(None, None, 1, 9.0)).write(checkpoints / "tiny-gan")
    offered = [list(answers) for _, answers in QUESTIONS.values()]
    for values in itertools.product(*offered):
        answers = dict(zip(QUESTIONS, values, strict=True))
        told = advise(studio, "shapes", answers)
        no_gan, no_diffusion = answers["likelihood"] == "bound", answers["speed"] == "instant"
        if answers["likelihood"] == "exact":
            assert told.pick == "flow"
        elif no_gan and no_diffusion:
            assert told.pick == "diffusion" and not told.meets
            assert "Nothing here meets all of it. The nearest: a diffusion" in page_of(told)
        elif no_gan or no_diffusion:
            assert told.meets and told.pick == ("diffusion" if no_gan else "gan")
            assert " is out: " in told.reasons[0]
        else:
            assert told.meets and "For you: " in page_of(told)


def test_what_is_measured_with_another_number_of_pictures_is_cited_as_such(studio, checkpoints):
    runs = [scored("dpmpp_2m", 20, 20, 4.25, images=500)]
    metrics(studio, "tiny-diffusion", *runs).write(checkpoints / "tiny-diffusion")
    metrics(studio, "tiny-gan", scored(None, None, 1, 9.0)).write(checkpoints / "tiny-gan")
    told = advise(studio, "shapes", ANSWERS)
    assert told.contestant == Contestant("tiny-diffusion", "dpmpp_2m", 20)
    (own,) = [one for one in told.evidence if "FID 4.25" in one.text]
    assert "with N = 500 only, not comparable with N = 1,000" in own.source
    assert not any("measured yet" in one.text for one in told.evidence)
    assert not any("nobody" in reason for reason in told.reasons)


def test_advice_cites_the_race_of_this_machine_where_there_was_one(studio, checkpoints):
    for name, run in (
        ("tiny-gan", scored(None, None, 1, 9.0, speed=250.0)),
        ("tiny-diffusion", scored("ddim", 2, 2, 4.0, speed=2.0)),
    ):
        metrics(studio, name, run).write(checkpoints / name)

    def speeds():
        return [one for one in advise(studio, "shapes", ANSWERS).evidence if " ms a" in one.text]

    before = speeds()
    assert [one.text.partition(": ")[2] for one in before] == [
        "4 ms a picture, 1 network call",
        "500 ms a picture, 2 network calls",
    ]
    assert all("beforehand, a test" in one.source for one in before)
    list(race.run(studio, race.prepare(studio, ["gan", "ddim-3"], range(2))))
    gan, diffusion = speeds()
    assert "raced here, 2 at once" in gan.source and diffusion == before[1]
    assert (
        f"{1000 / race.raced(studio, Contestant('tiny-gan')).images_per_second:,.3g} ms"
        in gan.text
    )


@pytest.mark.parametrize("wrong", [{"speed": None}, {"aim": EVIL}, {"training": ""}])
def test_what_is_no_answer_is_asked_again(studio, wrong):
    with pytest.raises(GendiffError, match="Answer this first"):
        advise(studio, "shapes", {**ANSWERS, **wrong})


def test_advice_escapes_what_is_not_ours():
    html = page_of(Advice("gan", Contestant(EVIL), (EVIL,), (Evidence(EVIL, EVIL),)))
    assert EVIL not in html and "&lt;img" in html


# ---- The views ------------------------------------------------------------------------------


@pytest.fixture
def handlers(studio):
    page = Page()
    with gr.Blocks() as demo, gr.Tabs(), page.tab("compare", "Compare"):
        compare.build(studio, page)
    return {fn.fn.__name__: fn.fn for fn in demo.fns.values() if fn.fn}


def test_the_budget_view_shows_what_was_delivered(handlers):
    updates = list(handlers["spend"]("shapes", "0.05"))
    start, frames, _ = updates[-1][0]["ops"]
    assert len(start["panes"]) == 2 and len(frames["frames"]) == 1
    table = updates[-1][2]
    assert table.count("<tr>") == 3 and "fit into it" in table and "not measured yet" in table
    assert f"{budget.GOOD} steps" not in table and "of the budget" in table
    with pytest.raises(gr.Error, match="No checkpoint"):
        list(handlers["spend"]("dogs", "1"))


def test_advice_opens_with_an_example_and_follows_the_answers(handlers, studio):
    with gr.Blocks(), gr.Tabs(), Page().tab("compare", "Compare"):
        view = compare_advice.build(studio, Page(), None, gr.Radio(["shapes"], value="shapes"))
    assert "For you: a diffusion model" in view.outputs[0].value
    assert "start with an example" in view.outputs[0].value
    assert view.follow("shapes", "any", "both", "exact", "little")[0].count("normalizing flow") > 0
    recommend = handlers["recommend"]
    assert "For you: a diffusion model" in recommend("shapes", "any", "both", "no", "little")
    with pytest.raises(gr.Error, match="Answer this first"):
        recommend("shapes", EVIL, "both", "no", "little")
