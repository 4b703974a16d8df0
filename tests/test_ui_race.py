"""The Compare tab's race without a browser: what the player is sent, the table, the address."""

from __future__ import annotations

import base64
import json
import re
import time

import gradio as gr
import numpy as np
import pytest
from test_studio_quality import metrics, scored

from gendiff.errors import GendiffError
from gendiff.images import to_uint8
from gendiff.studio import Studio, race, records
from gendiff.studio.race import prepare
from gendiff.studio.timeline import Timeline, blank
from gendiff.ui import compare, compare_race, examples, race_runs
from gendiff.ui.parts import Page
from gendiff.ui.player import Player, RunStore, idle
from gendiff.ui.race_runs import about, forecast, snapshots, stream_race
from gendiff.ui.standings import standings

EVIL = "<img src=x onerror=alert(1)>"


@pytest.fixture
def studio(saved):
    return Studio(saved, "cpu", "float32")


@pytest.fixture
def built(studio):
    """The tab's page and its handlers by name."""
    page = Page()
    with gr.Blocks() as demo, gr.Tabs() as tabs:
        with page.tab("compare", "Compare"):
            compare.build(studio, page)
        page.wire(demo, tabs)
    return page, {fn.fn.__name__: fn.fn for fn in demo.fns.values() if fn.fn}


def ops(messages):
    return [op for m in messages if "op" in (m or {}) for op in m.get("ops", [m])]


def asked(**changes):
    settings = {"data": "shapes", "lanes": ["gan", "ddim-3"], "seeds": "1-5"}
    return {**settings, "batch": 2, "label": "any", **changes}.values()


def test_the_race_is_shown_live_and_then_replayed(studio, monkeypatch):
    monkeypatch.setattr(race_runs, "PACE", 0)
    plan, results = prepare(studio, ["gan", "ddim-4", "ddpm-6"], range(5), batch=3), []
    updates = list(stream_race(studio, Timeline(plan, 40), "CPU", results))
    sent = ops(message for message, _ in updates)
    live, again = (op for op in sent if op["op"] == "start")
    assert [pane["title"] for pane in live["panes"]] == ["GAN", "DDIM, 4 steps", "DDPM, 6 steps"]
    frames = [f for op in sent if op["op"] == "frames" for f in op["frames"]]
    assert [op["k"] for op in sent if op["op"] == "frames"][: 1 + 2 + 8 + 12] == [*range(23)]
    assert [len(f["kept"]) for f in frames[:23]] == [0] + [2] * 22  # only the lane at work
    said = [text for _, text in updates if text.startswith("Lane ")]
    assert said[0].startswith("Lane 1 of 3: GAN, about ") and updates[-1][1].startswith("Done: ")
    assert len(results) == 3 and again["run"] != live["run"]


def test_the_replay_is_the_measured_race_in_true_time(studio):
    plan, results = prepare(studio, ["gan", "ddim-6"], [7, 8, 9]), []
    messages = [message for message, _ in stream_race(studio, Timeline(plan, 40), "CPU", results)]
    start, frames, end = messages[-1]["ops"]
    seconds = max(one.seconds for one in results)
    assert start["axis"][-1] == pytest.approx(seconds)
    assert (start["n"] - 1) / start["fps"] == pytest.approx(seconds)  # 1x is true time
    assert min(start["speeds"]) < 1 in start["speeds"]
    assert (end["state"], end["n"]) == ("done", start["n"])
    store = RunStore()
    store.add(messages[-1])
    shown = store.pictures(start["run"])
    empty = blank(plan.shape, 3)
    for lane, model in enumerate(("tiny-gan", "tiny-diffusion")):
        np.testing.assert_array_equal(shown[0][lane], empty)
        options = {"steps": 6} if lane else {}
        made = to_uint8(studio.model(model).sample(plan.seeds, **options))
        assert np.abs(shown[-1][lane].astype(int) - made).max() <= 1
        ends = next(k for k, x in enumerate(start["axis"]) if x >= results[lane].seconds - 1e-12)
        np.testing.assert_array_equal(shown[ends][lane], shown[-1][lane])
        if ends:
            assert "0 of 3" in frames["frames"][ends - 1]["html"]
    # Bars to scale, on one time axis: the slowest ends at its end, the others where they ended.
    ends = re.findall(r'value="([\d.]+)"', frames["frames"][-1]["html"])
    slowest = max(one.seconds for one in results)
    assert list(map(float, ends)) == pytest.approx(
        [one.seconds / slowest for one in results], abs=1e-3
    )
    assert f"<span>{slowest:.3g} s</span>" in frames["frames"][0]["html"]


def test_a_lane_that_fails_is_said_and_the_others_are_shown(checkpoints):
    (checkpoints / "tiny-diffusion" / "model.safetensors").write_bytes(b"broken")
    studio = Studio(checkpoints, "cpu", "float32")
    plan, results = prepare(studio, ["ddim-3", "gan"], range(2)), []
    updates = list(stream_race(studio, Timeline(plan, 40), "CPU", results))
    assert any("could not race" in text and "altered" in text for _, text in updates)
    last = ops([updates[-1][0]])[1]["frames"][-1]
    assert "could not race" in last["html"] and "2 of 2" in last["html"]


def test_pictures_of_the_way_stay_within_a_line_s_reach(studio):
    plan = prepare(studio, ["ddpm-100", "ddim-100", "gan"], range(64))
    object.__setattr__(plan, "shape", (3, 64, 64))
    assert 2 * snapshots(plan) * 64 * 3 * 64 * 64 <= race_runs.BYTES
    object.__setattr__(plan, "shape", (1, 8, 8))
    assert snapshots(plan) == 60


def test_showing_a_race_costs_at_most_five_percent_of_the_work(monkeypatch):
    """Of the processor's time; with fewer steps than the default race, whose share is smaller."""
    studio = Studio(device="cpu", dtype="float32")
    plan = prepare(studio, ["fashion-gan", "ddim-10"], range(16))
    list(race.forecast(studio, plan))
    work, run = [0.0], race.run

    def watched(*args):
        events = run(*args)
        while True:
            start = time.thread_time()
            event = next(events, None)
            work[0] += time.thread_time() - start
            if event is None:
                return
            yield event

    monkeypatch.setattr(race, "run", watched)
    with gr.Blocks():
        player = Player(store=RunStore())
    start = time.thread_time()
    for message, _ in stream_race(studio, Timeline(plan, snapshots(plan)), "CPU", []):
        player.postprocess(message)
    shown = time.thread_time() - start - work[0]
    assert work[0] > 0.3 and shown < 0.05 * work[0]


# ---- The tab --------------------------------------------------------------------------------


def test_the_handler_ends_with_the_table_and_the_record(built):
    updates = list(built[1]["racing"](*asked(label="1")))
    record, pictures = updates[-1][3]["record"], updates[-1][3]["pictures"]
    assert [one.shape for one in pictures] == [(5, 8, 8, 1)] * 2
    assert record["class"] == 1 and record["seeds"] == [1, 2, 3, 4, 5]
    assert json.loads(json.dumps(record)) == record
    assert "DDIM, 3 steps" in updates[-1][2]
    start = ops(m for m, *_ in updates)[0]
    assert [pane["count"] for pane in start["panes"]] == [5, 5]
    assert len(base64.b64decode(ops(m for m, *_ in updates)[1]["frames"][0]["pixels"])) == 640


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"lanes": []}, "2 to 4"),
        ({"lanes": None}, "2 to 4"),
        ({"lanes": ["gan", "ddim-0"]}, "from 1 to 100"),
        ({"lanes": ["gan", "ddim-1000000"]}, "from 1 to 100"),
        ({"lanes": ["gan", EVIL]}, "no contestant"),
        ({"seeds": "0-64"}, "more than 64"),
        ({"seeds": ""}, "whole numbers"),
        ({"batch": 0}, "batch"),
        ({"label": "dragon"}, "choose one from the list"),
        ({"label": "3"}, "class"),
    ],
    ids=str,
)
def test_bad_input_is_one_sentence(built, wrong, said):
    updates = []
    with pytest.raises(gr.Error, match=said):
        for update in built[1]["racing"](*asked(**wrong)):
            updates.append(update[0])
    # What waits for a link's run is told that it will not come, and why.
    assert [one["op"] for one in updates] in ([], ["refused"])
    assert all(re.search(said, one["message"]) for one in updates)


def test_contestants_of_two_data_sets_are_refused_in_the_place_of_a_link_s_race():
    page = Page()
    with gr.Blocks() as demo, gr.Tabs(), page.tab("compare", "Compare"):
        compare.build(Studio(device="cpu"), page)
    run = next(fn.fn for fn in demo.fns.values() if fn.fn and fn.fn.__name__ == "racing")
    updates = run("fashion", ["fashion-gan", "cats-diffusion:ddim-2"], "0", 1, "any")
    said = next(updates)[0]
    assert said["op"] == "refused" and "same data set" in said["message"]
    assert "cats-diffusion has learned cats" in said["message"]
    with pytest.raises(gr.Error, match="same data set"):
        next(updates)


def test_settings_of_a_link_are_read_or_refused(built):
    readers = {name: reader for name, (_, reader) in built[0].settings["compare"].items()}
    assert readers["lanes"]("gan,ddim-25") == ["gan", "ddim-25"]
    assert readers["view"]("race") == "race" and readers["batch"]("8") == 8
    bad = [("lanes", "gan"), ("lanes", "gan,x-3"), ("lanes", "gan,ddim-0"), ("view", "x")]
    bad += [("data", "dogs"), ("seeds", "0-64"), ("batch", "65"), ("label", "round")]
    for name, text in bad:
        with pytest.raises((ValueError, GendiffError)):
            readers[name](text)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.03, "0.03 seconds"), (1.2, "1 second"), (12.4, "12 seconds"), (290, "5 minutes")],
)
def test_a_forecast_is_no_more_exact_than_it_is(seconds, text):
    assert about(seconds) == text
    assert forecast([("GAN", seconds)]) == f"This race takes about {text}: GAN {text}."


def test_the_table_escapes_what_is_not_ours(studio):
    plan, results = prepare(studio, ["gan", "ddim-2"], [1]), []
    for event in race.run(studio, plan):
        if isinstance(event, race.Result):
            results.append(event)
    record = records.record(studio, plan, results)
    record["results"][0] |= {"failed": EVIL, "title": EVIL}
    html = standings(record)
    assert EVIL not in html and "&lt;img" in html and "could not race" in html


def test_the_table_says_the_measured_quality_or_how_to_measure_it(checkpoints):
    studio = Studio(checkpoints, "cpu", "float32")
    run = scored("ddim", 2, 2, 4.25, valid=0.5)
    metrics(studio, "tiny-diffusion", run).write(checkpoints / "tiny-diffusion")
    plan = prepare(studio, ["gan", "ddim-2", "ddim-3"], [1])
    results = [one for one in race.run(studio, plan) if isinstance(one, race.Result)]
    record = records.record(studio, plan, results)
    assert [one["quality"] and one["quality"]["fid"] for one in record["results"]] == [
        None,
        4.25,
        None,
    ]
    html = standings(record)
    cells = re.sub(r" data-name=.*?>|</?span.*?>", lambda found: ">" * (found[0][0] == " "), html)
    assert "4.25 <small>(1,000)</small></td><td>90 %</td><td>50 %</td>" in cells
    assert cells.count("/s</td>") == 0 and cells.count("<td>–</td><td>–</td><td>–</td></tr>") == 2
    assert 'scope="row">Real pictures</th>' in html and "1.50 <small>(1,000)</small>" in html
    assert "evaluate tiny-gan<" in html
    assert "evaluate tiny-diffusion --sampler ddim --steps 3<" in html
    old = {**record, "results": [{**one, "quality": None} for one in record["results"]]}
    assert "valid" not in standings(old) and records.judged(studio, old) == record


def test_the_example_is_a_race_and_the_bundled_one_says_so(studio, monkeypatch):
    monkeypatch.setattr(compare_race, "DEFAULT", ["gan", "ddim-2"])
    made = compare.example(studio)
    assert made["message"]["ops"][0]["note"].startswith("Measured beforehand; 1× is true time")
    bundled = examples.read("compare")
    assert [one["nfe"] for one in bundled["record"]["results"]] == [1, 50]
    bundled_studio = Studio(device="cpu")
    _, table, kept = compare_race._opened(bundled_studio, bundled)
    assert "run beforehand" in table
    judged = records.judged(bundled_studio, bundled["record"])
    assert kept["record"] == {**judged, "beforehand": True}  # a sheet of it says so
    assert [one.shape for one in kept["pictures"]] == [(16, 32, 32, 1)] * 2


def test_without_models_the_tab_still_stands(tmp_path):
    page = Page()
    with gr.Blocks(), gr.Tabs(), page.tab("compare", "Compare"):
        compare.build(Studio(tmp_path, "cpu", "float32"), page)


def test_a_view_follows_the_pictures_when_it_is_open(studio):
    """Others keep what they show until they are opened, and what a person made stays."""
    page = Page()
    with gr.Blocks() as demo, gr.Tabs(), page.tab("compare", "Compare"):
        compare.build(Studio(device="cpu"), page)
    (event,) = (fn for fn in demo.fns.values() if fn.fn and fn.fn.__name__ == "show")
    values = [getattr(part, "value", None) for part in event.inputs[3:]]
    places = {getattr(part, "elem_id", None): k for k, part in enumerate(event.outputs)}
    board = places["compare-diversity"]
    shown = {name: "fashion" for name in compare.VIEWS}
    told = event.fn("diversity", "cats", shown, *values)
    assert "ginger" in told[board] and len(told) == len(event.outputs)
    assert told[0] == {**shown, "diversity": "cats"}
    assert [one["visible"] for one in told[1 : 1 + len(compare.VIEWS)]] == [
        name == "diversity" for name in compare.VIEWS
    ]
    again = event.fn("diversity", "cats", told[0], *values)
    assert again[board] == gr.skip()  # it shows these pictures already
    quiz = event.fn("quiz", "cats", told[0], *values)
    assert json.loads(quiz[places["compare-quiz"]]) == {"data": "cats", "seed": 1}


def test_the_race_of_other_pictures_goes_when_these_are_chosen(studio):
    def shown(data, of):
        return compare_race._shown(studio, data, of and {"record": {"data": of}})

    assert shown("cats", "cats") == [gr.skip()] * 3  # what was raced stays
    assert shown("cats", "fashion") == [idle(ended=True), "", None]
    message, table, kept = shown("fashion", "cats")  # the one that was run beforehand
    assert message["op"] == "batch" and "fashion: " in table
    assert kept["record"]["data"] == "fashion"


def test_a_forecast_is_given_line_by_line(built):
    page = Page()
    with gr.Blocks() as demo, gr.Tabs(), page.tab("compare", "Compare"):
        compare.build(Studio(device="cpu"), page)
    (event,) = (fn for fn in demo.fns.values() if fn.name == "foresee_quietly")
    assert event.types_generator  # a lambda that returns a generator would be shown as one
