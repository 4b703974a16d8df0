"""The messages, their pace, the store, and the component that carries them."""

from __future__ import annotations

import base64
import json
import math
import re
import threading
from pathlib import Path

import numpy as np
import pytest

from gendiff.ui import player as module
from gendiff.ui.player import (
    Curve,
    Fade,
    Frame,
    Histogram,
    Pane,
    Player,
    Run,
    RunStore,
    stopped,
)
from gendiff.ui.streaming import stream

PANES = (Pane("x", "x_t", 4, 5, 3, 2), Pane("e", "eps", 3, 2, 1, 4))


def panes(k: int, shapes=((2, 4, 5, 3), (4, 3, 2, 1))) -> list[np.ndarray]:
    draw = np.random.default_rng(k)
    return [draw.integers(0, 256, shape, dtype=np.uint8) for shape in shapes]


def a_run(n: int, **options) -> Run:
    return Run(n, PANES, "test", **options)


def ops(messages) -> list[dict]:
    return [op for message in messages for op in message.get("ops", [message])]


def indices(messages) -> list[int]:
    sent = [op for op in ops(messages) if op["op"] == "frames"]
    return [op["k"] + i for op in sent for i in range(len(op["frames"]))]


class Clock:
    """Time that passes only when it is told to, or slept."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        assert seconds > 0
        self.now += seconds


# ---- messages


def test_pixels_are_the_panes_bytes_in_order():
    arrays = panes(1)
    arrays[0] = arrays[0][:, :, ::-1]  # not contiguous: what is sent is what it shows
    sent = a_run(1).frames(0, [Frame(arrays)])["frames"][0]["pixels"]
    assert base64.b64decode(sent) == arrays[0].tobytes() + arrays[1].tobytes()


def test_every_message_is_strict_json_whatever_numpy_and_infinity_do():
    frame = Frame(
        panes(0),
        {"t": np.int64(3), "log_snr": np.float64("inf"), "name": "ddim"},
        "<b>1</b>",
        2,
        Histogram(np.array([1, 2]), -1, 1),
    )
    curves = (Curve("log-SNR", np.array([np.inf, 1.0, np.nan]), range(3), "nats"),)
    message = a_run(3, curves=curves, axis=np.arange(3)).whole([frame])
    start, frames, end = json.loads(json.dumps(message, allow_nan=False))["ops"]
    assert start["curves"][0]["y"] == [None, 1.0, None]
    assert start["axis"] == [0, 1, 2]
    assert start["panes"][1] == {
        "id": "e", "title": "eps", "h": 3, "w": 2, "c": 1, "count": 4, "columns": None,
        "previous": None,
    }  # fmt: skip
    assert frames["frames"][0]["facts"] == {"t": 3, "log_snr": None, "name": "ddim"}
    assert frames["frames"][0]["hist"]["counts"] == [1, 2]
    assert (frames["k"], end["state"], end["n"]) == (0, "done", 1)
    assert start["run"] == frames["run"] == end["run"]


def test_runs_have_names_of_their_own():
    assert len({a_run(1).run for _ in range(100)}) == 100


@pytest.mark.parametrize(
    "bad",
    [
        {"n": 0},
        {"panes": ()},
        {"panes": (Pane("x", "", 4, 4, c=2),)},
        {"panes": (Pane("x", "", 4, 4, count=0),)},
        {"panes": (Pane("x", "", 0, 4),)},
        {"axis": (1.0,)},
        {"curves": (Curve("y", (1, 2), (1,)),)},
        {"panes": (Pane("x", "", 4, 4, previous="y"),)},
        {"panes": (Pane("x", "", 4, 4), Pane("y", "", 4, 4, previous="x")), "keys": (0,)},
        {"panes": (Pane("x", "", 4, 4, previous="x"),)},
        {"facts": {"t": (1,)}},
    ],
)
def test_a_run_that_contradicts_itself_is_refused(bad):
    with pytest.raises(ValueError):
        Run(**{"n": 2, "panes": PANES, "label": "", **bad})


@pytest.mark.parametrize(
    "arrays",
    [
        panes(0)[:1],
        panes(0)[::-1],
        [a.astype(np.float32) for a in panes(0)],
        [a[:1] for a in panes(0)],
    ],
)
def test_a_frame_that_does_not_fit_the_run_is_refused(arrays):
    with pytest.raises(ValueError, match="uint8"):
        a_run(1).frames(0, [Frame(arrays)])


@pytest.mark.parametrize("k", [-1, 2])
def test_frames_outside_the_run_are_refused(k):
    with pytest.raises(ValueError, match="do not fit"):
        a_run(2).frames(k, [Frame(panes(0))])


def test_a_pane_that_repeats_another_does_not_travel():
    shown = Pane("b", "", 4, 5, 3, 2)
    run = Run(3, (Pane("a", "", 4, 5, 3, 2, previous="b"), shown), "")
    made = [Frame(panes(k)[:1]) for k in range(3)]
    message, store = run.whole(made), RunStore()
    sent = message["ops"][1]["frames"]
    assert [base64.b64decode(frame["pixels"]) for frame in sent] == [
        frame.panes[0].tobytes() for frame in made
    ]
    store.add(message)
    before = np.full((2, 4, 5, 3), 128, np.uint8)
    for k, (a, b) in enumerate(store.pictures(run.run)):
        assert np.array_equal(a, before) and np.array_equal(b, panes(k)[0])
        before = b
    with pytest.raises(ValueError, match="uint8"):
        run.frames(0, [Frame([*panes(0)[:1]] * 2)])


def in_part(n=40, keys=(0, 9, 20, 39)) -> tuple[Run, dict]:
    run = a_run(n, keys=keys, facts={"t": range(n)})
    return run, run.whole([Frame(panes(k)) for k in keys])


def test_a_run_that_is_sent_in_part_says_which_frames_it_has():
    run, message = in_part()
    start, frames, end = json.loads(json.dumps(message))["ops"]
    assert start["keys"] == frames["k"] == [0, 9, 20, 39]
    assert end["n"] == start["n"] == 40 and start["facts"]["t"][7] == 7
    with pytest.raises(ValueError, match="do not fit"):
        run.frames([3, 4], [Frame(panes(3))])
    with pytest.raises(ValueError, match="do not fit"):
        run.frames([40], [Frame(panes(3))])


def test_the_store_refills_a_run_in_part_from_any_place():
    (run, message), store = in_part(), RunStore()
    store.add(message)
    store.add(run.frames([13], [Frame(panes(13))]))
    start, frames, end = store.refill(run.run)["ops"]
    assert frames["k"] == [0, 9, 13, 20, 39] and end["op"] == "end"
    start, frames = store.refill(run.run, 9, max_bytes=1)["ops"]
    assert frames["k"] == [9]
    for picture, k in zip(store.pictures(run.run), (0, 9, 13, 20, 39), strict=True):
        assert np.array_equal(picture[0], panes(k)[0])


def test_a_fade_travels_as_it_was_computed():
    x0, eps = np.random.default_rng(0).normal(size=(2, 4, 5, 3)).astype(np.float32)
    fade = Fade("x", x0, eps[:, ::-1], [1.0, 0.6], [0.0, 0.8])
    sent = json.loads(json.dumps(a_run(2, fade=fade).start()))["fade"]
    for name, array in (("x0", x0), ("eps", eps[:, ::-1])):
        got = np.frombuffer(base64.b64decode(sent[name]), "<f4").reshape(4, 5, 3)
        assert np.array_equal(got, array)
    assert (sent["signal"], sent["noise"]) == ([1.0, 0.6], [0.0, 0.8])


# ---- pace


def timed(run: Run, made, clock: Clock, **options) -> list[tuple[float, dict]]:
    sender = stream(run, made, clock=clock, sleep=clock.sleep, **options)
    return [(clock.now, message) for message in sender]


@pytest.mark.parametrize("seconds", [0.0, 0.001, 0.01, 0.05, 0.2])
def test_first_at_once_then_paced_and_every_frame_once_and_last_always(seconds):
    clock, n = Clock(), 120

    def work():
        for k in range(n):
            clock.now += seconds
            yield Frame(panes(k))

    sent = timed(a_run(n), work(), clock)
    times, messages = [at for at, _ in sent], [message for _, message in sent]
    assert [op["op"] for op in messages[0]["ops"]] == ["start", "frames"]
    assert times[0] == 100.0 + seconds
    assert indices(messages) == list(range(n))
    assert messages[-1]["ops"][-1] == {**a_run(n).end(n=n), "run": messages[-1]["ops"][-1]["run"]}
    gaps = np.diff(times[:-1])  # the end itself does not wait
    assert (gaps >= 1 / 16 - 1e-9).all()
    assert (gaps <= 1 / 4 + seconds + 1e-9).all() or seconds == 0


def test_a_long_run_is_few_messages_and_one_step_at_a_time_at_first():
    """A message costs a browser more than a step costs the network: 1,000 steps in 20 s."""
    clock, n = Clock(), 1000

    def work():
        for k in range(n):
            clock.now += 0.02
            yield Frame(panes(k))

    sent = timed(a_run(n), work(), clock)
    assert len([at for at, _ in sent if at <= 101]) >= 12
    assert len(sent) <= 16 + 4 * 19 + 2


def test_full_messages_do_not_wait():
    clock, n = Clock(), 100
    run = Run(n, (Pane("x", "", 64, 64, 3, 16),), "")  # 256 KiB of base64 a frame

    def work():
        for _ in range(n):
            clock.now += 0.1
            yield Frame([np.zeros((16, 64, 64, 3), np.uint8)])

    timed(run, work(), clock)
    assert clock.now - 100 == pytest.approx(10)


def test_messages_stay_small_and_fast_frames_are_slowed_down():
    clock, n = Clock(), 200
    run = Run(n, (Pane("x", "", 32, 32, 3, 4),), "")  # 16 KiB of base64 a frame
    made = (Frame(panes(k, ((4, 32, 32, 3),)), {"t": k}) for k in range(n))
    sent = timed(run, made, clock)
    assert max(len(json.dumps(message)) for _, message in sent) <= 256 * 1024
    assert indices([message for _, message in sent]) == list(range(n))
    assert clock.now - 100 >= (len(sent) - 2) / 16


def test_a_frame_larger_than_a_message_goes_alone():
    run = Run(3, (Pane("x", "", 64, 64, 3, 64),), "")
    big = np.zeros((64, 64, 64, 3), np.uint8)
    sent = list(stream(run, (Frame([big]) for _ in range(3)), quick=0.0, slow=0.0))
    assert [len(op["frames"]) for op in ops(sent) if op["op"] == "frames"] == [1, 1, 1]


def test_closing_stops_the_work():
    made = []

    def work():
        try:
            for k in range(100):
                made.append(k)
                yield Frame(panes(k))
        finally:
            made.append("closed")

    sender = stream(a_run(100), work(), quick=0.0, slow=0.0)
    next(sender)
    next(sender)
    sender.close()
    assert made == [0, 1, "closed"]


def test_an_error_ends_the_run_for_the_player_and_goes_on():
    clock = Clock()

    def work():
        yield Frame(panes(0))
        yield Frame(panes(1))
        raise RuntimeError("no memory")

    got = []
    with pytest.raises(RuntimeError, match="no memory"):
        for message in stream(a_run(5), work(), clock=clock, sleep=clock.sleep):
            got.append(message)
    assert indices(got) == [0, 1]
    assert (ops(got)[-1]["state"], ops(got)[-1]["n"]) == ("stopped", 2)


@pytest.mark.parametrize("count", [0, 1, 3])
def test_a_run_that_ends_early_says_how_many_it_has(count):
    sent = list(stream(a_run(5), (Frame(panes(k)) for k in range(count)), quick=0.0, slow=0.0))
    assert indices(sent) == list(range(count))
    assert (ops(sent)[0]["op"], ops(sent)[-1]["n"]) == ("start", count)


def test_more_frames_than_promised_is_an_error():
    with pytest.raises(ValueError, match="do not fit"):
        list(stream(a_run(2), (Frame(panes(k)) for k in range(3)), quick=0.0, slow=0.0))


# ---- store


def stored(n: int, store: RunStore, run: Run | None = None) -> Run:
    run = run or a_run(n)
    for message in stream(run, (Frame(panes(k)) for k in range(n)), quick=0.0, slow=0.0):
        store.add(message)
    return run


def test_refill_gives_back_what_was_sent():
    store = RunStore()
    run = stored(20, store)
    start, frames, end = store.refill(run.run, 5)["ops"]
    assert start == run.start()
    assert frames == run.frames(5, [Frame(panes(k)) for k in range(5, 20)])
    assert end == run.end(n=20)
    assert store.refill("unknown", 0) is None


def test_refill_comes_in_pieces_and_the_end_with_the_last():
    store, got, first, replies = RunStore(), [], 0, 0
    run = stored(20, store)
    while not got or got[-1]["op"] != "end":
        got += store.refill(run.run, first, max_bytes=1000)["ops"]
        first, replies = max(indices(got)) + 1, replies + 1
        assert replies <= 20
    assert indices(got) == list(range(20))
    assert replies > 2


@pytest.mark.parametrize("first", [-(10**30), -1, 20, 10**30])
def test_refill_outside_the_run_is_clamped(first):
    store = RunStore()
    run = stored(20, store)
    got = indices([store.refill(run.run, first)])
    assert got == (list(range(20)) if first < 0 else [])


def test_refill_stops_at_a_hole():
    store, run = RunStore(), a_run(5)
    store.add(run.start())
    for k in (0, 1, 3):
        store.add(run.frames(k, [Frame(panes(k))]))
    store.add(run.end())
    assert [op["op"] for op in store.refill(run.run)["ops"]] == ["start", "frames"]
    assert indices([store.refill(run.run)]) == [0, 1]


def test_the_store_forgets_the_run_used_longest_ago():
    size = len(a_run(1).frames(0, [Frame(panes(0))])["frames"][0]["pixels"])
    store = RunStore(limit=30 * size)
    old, used = stored(10, store), stored(10, store)
    store.refill(old.run)  # now `used` is the one that was used longest ago
    new = stored(15, store)
    assert store.refill(used.run) is None
    assert store.refill(old.run) and store.refill(new.run)
    assert store.size == 25 * size


def test_a_run_larger_than_the_store_is_not_kept_and_the_bound_holds():
    store = RunStore(limit=1000)
    run = a_run(50)
    for message in stream(run, (Frame(panes(k)) for k in range(50)), quick=0.0, slow=0.0):
        store.add(message)
        assert 0 <= store.size <= 1000
    assert store.refill(run.run) is None
    assert store.size == 0


def test_a_repeated_run_replaces_itself():
    store = RunStore()
    run = stored(10, store)
    size = store.size
    store.add(run.frames(3, [Frame(panes(3))]))
    assert store.size == size
    store.add(run.start())
    assert store.size == 0
    assert indices([store.refill(run.run)]) == []


def test_pictures_are_the_arrays_that_were_sent():
    store = RunStore()
    run = stored(3, store)
    for k, arrays in enumerate(store.pictures(run.run)):
        for got, want in zip(arrays, panes(k), strict=True):
            assert np.array_equal(got, want)
    assert store.pictures("unknown") is None


def test_the_store_counts_right_under_many_threads():
    store, failed = RunStore(limit=20_000), []

    def work(seed: int) -> None:
        try:
            for _ in range(20):
                run = stored(10, store)
                store.refill(run.run, seed % 12)
        except Exception as error:  # a thread's error would go unseen
            failed.append(error)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed
    kept = store._runs.values()
    assert store.size == sum(len(f["pixels"]) for run in kept for f in run.frames.values())
    assert 0 < store.size <= 20_000


# ---- component


def test_every_message_is_kept_and_named_on_its_way_out():
    store, run = RunStore(), a_run(1)
    player = Player(store=store)
    whole = run.whole([Frame(panes(0))])
    first, again = (json.loads(player.postprocess(whole)) for _ in range(2))
    assert {k: v for k, v in first.items() if k != "id"} == whole
    assert first["id"] != again["id"]
    assert "id" not in whole
    assert json.loads(player.postprocess(stopped()))["state"] == "stopped"
    assert indices([store.refill(run.run)]) == [0]
    assert player.postprocess(None) is None


@pytest.mark.parametrize(
    "ask",
    [None, [], "x", 3, {}, {"run": None}, {"run": 3}, {"run": ["a"]}, {"run": "?", "from": "0"}]
    + [{"run": "?", "from": value} for value in (None, 1.5, math.inf, [], {})],
)
def test_refill_does_not_trust_what_it_is_asked(ask):
    assert Player(store=RunStore()).refill(ask) is None


def test_refill_answers_the_browser():
    store = RunStore()
    run = stored(4, store)
    player = Player(store=store)
    assert indices([player.refill({"run": run.run, "from": 2})]) == [2, 3]
    assert indices([player.refill({"run": run.run, "from": -5})]) == [0, 1, 2, 3]
    assert "refill" in player.get_config()["server_fns"]


def test_players_share_one_store_and_take_no_input():
    player = Player()
    assert player._store is Player()._store
    assert player._store.limit == 96 * 2**20
    assert player.preprocess({"op": "start"}) is None


def test_the_events_exist_and_no_others():
    player = Player(exports=["gif"])
    for event in ("settle", "pick", "export"):
        assert callable(getattr(player, event))
    with pytest.raises(AttributeError):
        player.explode  # noqa: B018


def test_its_config_is_json_and_holds_the_browser_side():
    config = Player(placeholder="Press it", exports=["gif", "mp4"]).get_config()
    json.dumps(config, allow_nan=False)
    given = (
        '{"label": "Player", "placeholder": "Press it", "exports": ["gif", "mp4"], '
        '"beside": false}'
    )
    assert f"const GIVEN = {given};" in config["js_on_load"]
    here = Path(module.__file__).parent
    for name in ("drawing.js", "player.js"):
        assert (here / name).read_text("utf-8") in config["js_on_load"]
    assert (here / "player.css").read_text("utf-8") in config["head"]


def test_files_are_read_when_a_player_is_made_and_no_stub_is_written(monkeypatch):
    read = []
    monkeypatch.setattr(module, "_read", lambda name: read.append(name) or "'pick'")
    Player()
    assert sorted(read) == ["drawing.js", "player.css", "player.js"]
    assert not Path(module.__file__).with_suffix(".pyi").exists()


@pytest.mark.parametrize("name", ["drawing.js", "player.js", "player.css"])
def test_the_browser_side_loads_nothing(name):
    text = Path(module.__file__).with_name(name).read_text("utf-8")
    allowed = {"http://www.w3.org/2000/svg"}
    assert set(re.findall(r"https?://[^\s\"'`)]+", text)) <= allowed
    assert not re.search(r"@import|url\(|import\(|</style", text)


# ---- Panes that stay as they are ------------------------------------------------------------


def test_a_pane_that_stays_is_not_sent_again_and_is_there_in_an_export():
    run = Run(3, [Pane("a", "", 2, 2, 1), Pane("b", "", 2, 2, 3, 2)], "Lanes")
    a = [np.full((1, 2, 2, 1), k, np.uint8) for k in range(3)]
    b = [np.full((2, 2, 2, 3), 10 + k, np.uint8) for k in range(3)]
    frames = [Frame([a[0], b[0]]), Frame([None, b[1]]), Frame([a[2], None])]
    message = run.whole(frames)
    sent = message["ops"][1]["frames"]
    assert [frame["kept"] for frame in sent] == [[], [0], [1]]
    assert [len(base64.b64decode(frame["pixels"])) for frame in sent] == [28, 24, 4]
    store = RunStore()
    store.add(message)
    kept = store.pictures(run.run)
    for got, want in zip(kept, [(a[0], b[0]), (a[0], b[1]), (a[2], b[1])], strict=True):
        for one, other in zip(got, want, strict=True):
            np.testing.assert_array_equal(one, other)


def test_the_first_frame_needs_all_panes():
    run = Run(2, [Pane("a", "", 2, 2, 1)], "Lanes")
    with pytest.raises(ValueError, match="needs all of its panes"):
        run.frames(0, [Frame([None])])
    with pytest.raises(ValueError, match="panes"):
        run.frames(1, [Frame([None, None])])
