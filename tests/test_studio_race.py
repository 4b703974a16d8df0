"""The race: who may take part, what the clock counts, and that a lame lane stops nobody else."""

from __future__ import annotations

import csv
import gc
import io
import json
import shlex
import shutil
import time
import weakref
from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import CARDS

from gendiff.__main__ import main
from gendiff.assembly import build
from gendiff.errors import GendiffError
from gendiff.images import to_uint8
from gendiff.studio import Studio, race, records
from gendiff.studio.contestants import Contestant, contestant, contestants, data_sets
from gendiff.studio.race import Lap, Ready, Result, prepare
from gendiff.studio.timeline import Timeline
from gendiff.weights import load, save

DATA = "shapes"


@pytest.fixture
def studio(saved):
    return Studio(saved, "cpu", "float32")


def slowed(model, seconds):
    """Every call of the network takes that much longer."""
    net = getattr(model, "generator", None) or model.denoiser.net
    return net.register_forward_pre_hook(lambda *_: time.sleep(seconds))


# ---- Who takes part -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("word", "found", "nfe"),
    [
        ("gan", Contestant("tiny-gan"), 1),
        (" tiny-gan ", Contestant("tiny-gan"), 1),
        ("ddim-50", Contestant("tiny-diffusion", "ddim", 50), 50),
        ("tiny-diffusion", Contestant("tiny-diffusion", "ddim", 50), 50),
        ("tiny-diffusion:dpmpp_2m-7", Contestant("tiny-diffusion", "dpmpp_2m", 7), 7),
        ("HEUN-5", Contestant("tiny-diffusion", "heun", 5), 9),
        ("ddpm-100", Contestant("tiny-diffusion", "ddpm", 100), 100),
    ],
)
def test_a_word_names_a_contestant(studio, word, found, nfe):
    made = contestant(studio, word, DATA)
    assert made == found and made.nfe == nfe
    assert contestant(studio, made.spec, "no matter which") == found


def test_nfe_is_what_the_model_says(studio):
    model = studio.model("tiny-diffusion")
    for sampler in ("ddpm", "ddim", "renoise", "dpmpp_2m", "heun"):
        made = contestant(studio, f"{sampler}-6", DATA)
        assert made.nfe == model.network_calls(sampler, 6)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["gan"], "2 to 4"),
        ([], "2 to 4"),
        (["gan", "ddim-1", "ddim-2", "ddim-3", "ddim-4"], "2 to 4"),
        (["gan", "tiny-gan"], "the same"),
        (["gan", "ddim-0"], "from 1 to 100"),
        (["gan", "ddim-1000000"], "from 1 to 100"),
        (["gan", "ddim--5"], "from 1 to 100"),
        (["gan", f"ddim-{10**30}"], "no contestant"),
        (["gan", "magic-5"], "no contestant"),
        (["gan", "ddim"], "no contestant"),
        (["gan", "<b>x</b>"], "no contestant"),
        (["gan", "nobody:ddim-5"], "no model 'nobody'"),
        (["gan", "tiny-gan:ddim-5"], "one call"),
    ],
)
def test_what_is_no_race_is_refused(studio, words, said):
    with pytest.raises(GendiffError, match=said):
        contestants(studio, words, DATA)


def test_contestants_of_different_data_are_refused_with_the_reason(saved, tmp_path):
    folder = shutil.copytree(saved, tmp_path / "two")
    card = replace(CARDS["tiny-gan"], name="dots-gan", data="dots")
    save({part: net.state_dict() for part, net in build(card).items()}, card, folder / card.name)
    studio = Studio(folder, "cpu", "float32")
    assert set(data_sets(studio)) == {"shapes"}  # the other one has only one family
    with pytest.raises(GendiffError, match="the same data set.*tiny-gan has learned shapes.*dots"):
        contestants(studio, ["tiny-gan", "dots-gan"])


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"seeds": range(65)}, "1 to 64"),
        ({"seeds": []}, "at least one seed"),
        ({"seeds": [-1]}, "seed"),
        ({"batch": 0}, "batch"),
        ({"batch": 65}, "batch"),
        ({"label": 3}, "class"),
    ],
)
def test_bad_settings_are_refused(studio, options, said):
    with pytest.raises(GendiffError, match=said):
        prepare(studio, ["gan", "ddim-2"], **{"seeds": range(4), **options})


# ---- The clock ------------------------------------------------------------------------------


def test_every_clock_agrees_with_an_external_timer_within_two_percent(studio):
    """The external timer runs around each request for a lap; the consumer dawdles in between."""
    plan = prepare(studio, ["gan", "ddim-20", "heun-8"], range(8), batch=4)
    slow = {"tiny-gan": 0.03, "tiny-diffusion": 0.005}
    hooks = [slowed(studio.model(name), seconds) for name, seconds in slow.items()]
    events, outside, inside = race.run(studio, plan), {}, {}
    while True:
        start = time.perf_counter()
        event = next(events, None)
        passed = time.perf_counter() - start
        if event is None:
            break
        if isinstance(event, Lap):
            outside[event.lane] = outside.get(event.lane, 0) + passed
            inside[event.lane] = event.seconds
        elif isinstance(event, Result):
            assert event.seconds == inside[event.lane]
        time.sleep(0.002)
    for hook in hooks:
        hook.remove()
    assert set(inside) == {0, 1, 2}
    for lane, seconds in inside.items():
        assert seconds == pytest.approx(outside[lane], rel=0.02)
    assert inside[1] >= 2 * 20 * 0.005  # two batches of twenty calls


def test_loading_and_the_first_call_are_no_part_of_the_work(studio, monkeypatch):
    load = Studio.model
    called = []

    def slow(self, name, dtype=None):
        time.sleep(0.3)
        model = load(self, name, dtype)
        if not called:
            net = model.denoiser.net

            def first(*_):
                called.append(1)
                if len(called) == 1:
                    time.sleep(0.3)

            net.register_forward_pre_hook(first)
        return model

    monkeypatch.setattr(Studio, "model", slow)
    plan = prepare(studio, ["ddim-1", "ddim-2"], range(3), batch=3)
    start = time.perf_counter()
    results = [one for one in race.run(studio, plan) if isinstance(one, Result)]
    assert time.perf_counter() - start > 0.9 and len(called) == 2 + 1 + 2
    assert sum(one.seconds for one in results) < 0.3


def test_a_timed_call_keeps_no_model_in_memory(saved):
    model = load(saved / "tiny-gan", "cpu", "float32")
    first = race.expected(model, Contestant("tiny-gan"), 2, 2)
    assert race.expected(model, Contestant("tiny-gan"), 2, 2) == first  # timed once
    gone = weakref.ref(model)
    del model
    gc.collect()
    assert gone() is None


def test_the_expected_time_is_said_before_the_lane_starts(studio):
    plan = prepare(studio, ["ddim-30", "ddim-3"], range(2))
    with_hook = slowed(studio.model("tiny-diffusion"), 0.004)
    race._CALLS.clear()
    events = list(race.run(studio, plan))
    with_hook.remove()
    race._CALLS.clear()
    long, short = (one for one in events if isinstance(one, Ready))
    assert events[0] is long and long.seconds == pytest.approx(10 * short.seconds)
    took = next(one.seconds for one in events if isinstance(one, Result))
    assert 0.3 * took < long.seconds < 3 * took


# ---- What is made ---------------------------------------------------------------------------


def test_a_lane_makes_what_its_model_makes_from_these_seeds(studio):
    plan = prepare(studio, ["gan", "ddim-3", "ddpm-5"], [5, 2, 9, 4, 7], batch=2, label=1)
    timeline, results = Timeline(plan), []
    for event in race.run(studio, plan):
        if isinstance(event, Lap):
            timeline.add(event)
        elif isinstance(event, Result):
            results.append(event)
    gan, diffusion = studio.model("tiny-gan"), studio.model("tiny-diffusion")
    expected = [
        gan.sample(plan.seeds, labels=1),
        diffusion.sample(plan.seeds, labels=1, steps=3),
        diffusion.sample(plan.seeds, labels=1, sampler="ddpm", steps=5),
    ]
    for lane, pictures in enumerate(expected):
        shown = timeline.at(lane, timeline.seconds)[3].astype(int)
        assert np.abs(shown - to_uint8(pictures)).max() <= 1  # rounding in another batch
    assert [(one.nfe, one.images, one.batch) for one in results] == [(n, 5, 2) for n in (1, 3, 5)]
    for one in results:
        assert one.images_per_second == pytest.approx(5 / one.seconds)


def test_laps_count_up(studio):
    plan = prepare(studio, ["ddim-3", "gan"], range(5), batch=2)
    laps = [one for one in race.run(studio, plan) if isinstance(one, Lap)]
    first = [(one.first, one.done, one.nfe, one.complete) for one in laps if one.lane == 0]
    assert first == [
        *[(0, 0, 1, False), (0, 0, 2, False), (0, 2, 3, True)],
        *[(2, 2, 1, False), (2, 2, 2, False), (2, 4, 3, True)],
        *[(4, 4, 1, False), (4, 4, 2, False), (4, 5, 3, True)],
    ]
    seconds = [one.seconds for one in laps if one.lane == 0]
    assert seconds == sorted(seconds) and seconds[0] > 0


def test_a_model_that_fails_leaves_the_others_racing(checkpoints):
    (checkpoints / "tiny-diffusion" / "model.safetensors").write_bytes(b"broken")
    studio = Studio(checkpoints, "cpu", "float32")
    plan = prepare(studio, ["ddim-3", "gan"], range(2))
    lame, well = (one for one in race.run(studio, plan) if isinstance(one, Result))
    assert "altered" in lame.failed and lame.seconds is None
    assert well.failed == "" and well.seconds > 0
    record = records.record(studio, plan, [lame, well])
    assert [row["times_the_fastest"] for row in record["results"]] == [None, 1.0]


def test_abandoning_it_stops_the_work(studio):
    plan = prepare(studio, ["ddim-50", "gan"], range(2))
    calls = []
    net = studio.model("tiny-diffusion").denoiser.net
    events = race.run(studio, plan)
    next(events)
    hook = net.register_forward_pre_hook(lambda *_: calls.append(1))
    next(events)
    events.close()
    hook.remove()
    assert len(calls) == 1


def test_the_same_noise_is_claimed_only_where_it_is_the_same(studio):
    plan = prepare(studio, ["gan", "ddim-5", "ddpm-9"], [1])
    assert plan.same_noise.startswith("DDIM, 5 steps and DDPM, 9 steps start from the same noise")
    assert "GAN: the same seeds are other noise" in plan.same_noise


# ---- The timeline ---------------------------------------------------------------------------


def test_the_timeline_knows_every_lane_at_every_time(studio):
    plan = prepare(studio, ["ddim-60", "gan"], range(3), batch=2)
    timeline = Timeline(plan, most=10)
    for event in race.run(studio, plan):
        if isinstance(event, Lap):
            timeline.add(event)
    for own in timeline.snapshots:
        assert len(own) <= 10 + 1 + 2
        assert own[0][:3] == (0.0, 0, 0) and own[-1][1] == 3
        assert [one[0] for one in own] == sorted(one[0] for one in own)
    assert timeline.seconds == timeline.snapshots[0][-1][0]
    middle = timeline.snapshots[0][4]
    assert timeline.at(0, middle[0]) is middle
    assert timeline.at(0, middle[0] - 1e-9) is timeline.snapshots[0][3]
    assert timeline.at(1, timeline.seconds)[1] == 3 and timeline.at(1, 0)[1] == 0


# ---- Records --------------------------------------------------------------------------------


def test_a_record_is_json_and_csv_and_its_command_is_the_same_race(studio, saved, capsys):
    plan = prepare(studio, ["gan", "ddim-3"], [3, 4, 5], batch=2, label=2)
    results = [one for one in race.run(studio, plan) if isinstance(one, Result)]
    record = records.record(studio, plan, results)
    assert json.loads(json.dumps(record)) == record
    fastest = min(one.seconds for one in results)
    for row, one in zip(record["results"], results, strict=True):
        assert row["times_the_fastest"] == pytest.approx(one.seconds / fastest)
    rows = list(csv.DictReader(io.StringIO(records.to_csv(record))))
    assert [row["contestant"] for row in rows] == ["tiny-gan", "tiny-diffusion:ddim-3"]
    assert {row["seeds"] for row in rows} == {"3 4 5"} and rows[0]["threads"]

    words = shlex.split(record["command"])[3:]
    assert words[-2:] == ["--threads", str(record["threads"])]
    code = main([*words, "--checkpoints", str(saved), "--device", "cpu", "--json"])
    again = json.loads(capsys.readouterr().out)
    same = ("data", "seeds", "class", "same_noise", "device")
    assert code == 0 and [again[key] for key in same] == [record[key] for key in same]
    assert [row["contestant"] for row in again["results"]] == [one.contestant for one in results]


def test_the_command_prints_a_table(saved, capsys):
    words = ["compare", "gan", "ddim-2", "--seeds", "0-3", "--label", "star"]
    where = ["--checkpoints", str(saved), "--device", "cpu"]
    assert main([*words, *where]) == 0
    out = capsys.readouterr().out
    assert "times the fastest" in out and "tiny-diffusion:ddim-2" in out and "thread" in out
    before = torch.get_num_threads()
    try:
        assert main([*words, *where, "--json", "--threads", "1"]) == 0
    finally:
        torch.set_num_threads(before)
    record = json.loads(capsys.readouterr().out)
    assert record["threads"] == 1 and record["command"].endswith("--threads 1")
    with pytest.raises(SystemExit, match="0"):
        main(["compare", "--help"])
    assert "of one data set over the same seeds" in " ".join(capsys.readouterr().out.split())
    assert main([*words, *where, "--csv"]) == 0
    assert capsys.readouterr().out.count("\n") == 3


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("gan ddim-0", "from 1 to"),
        ("gan ddim-1000000", "from 1 to"),
        ("gan", "2 to 4"),
        ("gan ddim-2 --batch 0", "batch"),
        ("gan ddim-2 --threads 0", "--threads"),
        ("gan ddim-2 --seeds 0-64", "more than 64"),
        ("gan ddim-2 --label potato", "no class"),
        ("gan ddim-2 --json --csv", "not allowed"),
    ],
)
def test_misuse_of_the_command_is_one_sentence(saved, capsys, words, said):
    code = main(["compare", *words.split(), "--checkpoints", str(saved)])
    out, err = capsys.readouterr()
    assert code == 2 and out == "" and said in err and err.count("\n") == 1
