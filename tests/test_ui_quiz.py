"""The blind test's server side: what a browser may ask, forged asking, and a whole class."""

from __future__ import annotations

import base64
import io
import json
import socket
import statistics
import threading
import time

import gradio as gr
import httpx
import numpy as np
import pytest
from PIL import Image

from gendiff.studio import Studio, quiz
from gendiff.studio.bank import KINDS
from gendiff.studio.quiz import ROUND
from gendiff.studio.rooms import Rooms
from gendiff.ui import compare_quiz, quiz_service
from gendiff.ui.parts import Page

EVIL = "<img src=x onerror=alert(1)>"
LONE = "\ud800"  # half of a surrogate pair: JSON can carry it, no encoding can
ASK = {"data": "fashion", "seed": 7}


@pytest.fixture(scope="module")
def studio():
    return Studio(device="cpu")


@pytest.fixture
def ask(studio):
    rooms = Rooms()
    return {fn.__name__: fn for fn in quiz_service.functions(studio, rooms)}


def pixels(url):
    with Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2]))) as image:
        return np.asarray(image)


def test_a_quiz_is_sent_without_its_truth(ask):
    sent, questions = ask["begin"](ASK), quiz.quiz("fashion", 7)
    assert len(sent["pictures"]) == ROUND and sent["side"] == 32
    for url, one in zip(sent["pictures"], questions, strict=True):
        np.testing.assert_array_equal(pixels(url), one.picture[..., 0])
    assert set(sent) == {"pictures", "side", "note", "title"}
    assert "beforehand" in sent["note"] and "DPM-Solver++, 20 steps" in sent["note"]
    assert json.loads(json.dumps(sent)) == sent


def test_the_truth_comes_with_the_nearest_training_picture(ask):
    for place, one in enumerate(quiz.quiz("fashion", 7)):
        told = ask["answer"]({**ASK, "place": place})
        assert told["kind"] == one.kind and told["rms"] == pytest.approx(one.rms, abs=1e-3)
        np.testing.assert_array_equal(pixels(told["nearest"]), one.nearest[..., 0])
        assert ("test picture" in told["what"]) == (one.kind == "real")
        assert one.kind == "real" or f"seed {one.seed}" in told["what"]
        assert ("DPM-Solver++, 20 steps" in told["what"]) == (one.kind == "diffusion")


def test_the_end_counts_what_was_right(ask):
    truths = [one.kind for one in quiz.quiz("fashion", 7)]
    told = ask["finish"]({**ASK, "answers": truths})
    assert (told["right"], told["answers"], told["better"]) == (10, 10, True)
    assert (told["low"], told["high"]) == (0.7225, 1.0)
    told = ask["finish"]({**ASK, "answers": ["real"] * ROUND})
    assert told["right"] == truths.count("real")
    assert [row[0] for row in told["confusion"]] == [truths.count(kind) for kind in KINDS]


def test_a_room_from_opening_to_tally(ask):
    opened = ask["open_room"](ASK)
    code = opened["code"]
    joined = ask["join_room"]({"code": code.lower(), "token": None})
    assert (joined["data"], joined["seed"], joined["answered"]) == ("fashion", 7, {})
    assert "key" not in joined and joined["title"] == "quiz 7, Fashion-MNIST"
    me = {"code": code, "token": joined["token"], "round": joined["round"]}
    first = ask["answer"]({**ASK, **me, "place": 0, "said": "gan"})
    again = ask["answer"]({**ASK, **me, "place": 0, "said": "real"})
    assert (first["counted"], again["counted"]) == (True, False) and first["room"] is None
    assert first["kind"] == again["kind"] == quiz.quiz("fashion", 7)[0].kind
    assert ask["join_room"](me)["answered"] == {"0": "gan"}
    tally = ask["tally_room"]({"code": code})
    assert (tally["visitors"], tally["answers"], tally["finished"]) == (1, 1, 0)
    assert tally["said"][0] == (0, 1, 0)
    assert not {"truths", "right", "confusion", "low", "high", "better"} & set(tally)
    assert tally["past"] == [] and not {"key", "token"} & set(tally) and json.dumps(tally)

    other = {"data": "cats", "seed": 2}
    moved = ask["next_round"]({**other, "code": code, "key": opened["key"]})
    assert (moved["round"], moved["data"], moved["seed"]) == (2, "cats", 2)
    late = ask["answer"]({**ASK, **me, "place": 1, "said": "gan"})
    assert late["counted"] is False and late["room"] is None and late["kind"]
    again = ask["join_room"](me)
    assert (again["round"], again["data"], again["answered"]) == (2, "cats", {})
    tally = ask["tally_room"]({"code": code, "key": opened["key"], "truth": True})
    assert (tally["data"], tally["seed"], tally["answers"], tally["round"]) == ("cats", 2, 0, 2)
    assert [one.kind for one in quiz.quiz("cats", 2)] == tally["truths"]
    (past,) = tally["past"]
    right = int(quiz.quiz("fashion", 7)[0].kind == "gan")
    assert past == {"title": "quiz 7, Fashion-MNIST", "right": right, "answers": 1}


@pytest.mark.parametrize("junk", [None, 7, "x", [], {}, [ASK], {"data": EVIL, "seed": 1}])
def test_what_makes_no_sense_gets_one_sentence(ask, junk):
    for name, function in ask.items():
        told = function(junk)
        assert list(told) == ["error"], name
        assert EVIL not in told["error"] and told["error"].count(". ") == 0


@pytest.mark.parametrize(
    ("name", "asked", "said"),
    [
        ("begin", {"data": "fashion", "seed": -1}, "number of a quiz"),
        ("begin", {"data": "../fashion", "seed": 1}, "no quiz"),
        ("answer", {**ASK, "place": ROUND}, "place"),
        ("answer", {**ASK, "place": "0"}, "place"),
        ("finish", {**ASK, "answers": ["real"]}, "all ten"),
        ("finish", {**ASK, "answers": ["real"] * 9 + [EVIL]}, "all ten"),
        ("finish", {**ASK, "answers": [["real"]] * 10}, "all ten"),
        ("join_room", {"code": EVIL}, "no such room"),
        ("tally_room", {"code": "' or 1=1 --"}, "no such room"),
        ("join_room", {"code": LONE, "token": LONE}, "no such room"),
        ("tally_room", {"code": LONE}, "no such room"),
        ("next_round", {**ASK, "code": LONE, "key": LONE}, "no such room"),
        ("begin", {"data": LONE, "seed": 1}, "no quiz"),
        ("answer", {**ASK, "place": LONE}, "place"),
        ("next_round", {**ASK, "code": EVIL, "key": EVIL}, "no such room"),
        ("next_round", {"data": "dogs", "seed": 1, "code": EVIL}, "no quiz"),
    ],
)
def test_bad_asking_is_refused(ask, name, asked, said):
    told = ask[name](asked)["error"]
    assert said in told and told.encode()


def test_a_round_without_the_host_s_key_is_refused(ask):
    code = ask["open_room"](ASK)["code"]
    token = ask["join_room"]({"code": code})["token"]
    for key in (None, token, EVIL, 7, LONE):
        said = ask["next_round"]({"data": "cats", "seed": 2, "code": code, "key": key})["error"]
        assert "Only the browser that opened this room can start" in said
        said = ask["tally_room"]({"code": code, "key": key, "truth": True})
        assert list(said) == ["error"] and "can show the truth" in said["error"]
    assert ask["tally_room"]({"code": code})["data"] == "fashion"


@pytest.mark.parametrize(
    "forged",
    [
        {"token": "x"},
        {"token": None},
        {"token": LONE},
        {"said": EVIL},
        {"said": LONE},
        {"round": 2},
        {"round": None},
        {"data": "cats", "seed": 9},
        {"seed": 8},
        {},
    ],
)
def test_a_forged_answer_is_not_counted_and_a_room_that_is_gone_is_said(ask, forged):
    code = ask["open_room"](ASK)["code"]
    token = ask["join_room"]({"code": code})["token"]
    sent = {**ASK, "code": code, "token": token, "round": 1, "place": 1, "said": "gan", **forged}
    assert ask["answer"](sent)["counted"] is (forged == {})
    gone = ask["answer"]({**sent, "said": "gan", "token": token, "round": 1, "code": "AAAAAA"})
    assert gone["counted"] is False and "no such room" in gone["room"] and gone["kind"] in KINDS


def test_old_weights_are_said(ask, studio, tmp_path):
    other = {fn.__name__: fn for fn in quiz_service.functions(Studio(tmp_path), Rooms())}
    assert "earlier weights (gan and diffusion)" in other["begin"](ASK)["note"]


# ---- A class --------------------------------------------------------------------------------


@pytest.fixture
def server(studio):
    """The view alone, served; (address, id of the quiz component)."""
    with gr.Blocks() as demo:
        view, data = gr.Radio(["quiz"]), gr.Radio(["fashion", "cats"], value="fashion")
        compare_quiz.build(studio, Page(), view, data)
    game = next(b for b in demo.blocks.values() if getattr(b, "elem_id", "") == "compare-quiz")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    demo.queue().launch(
        server_name="127.0.0.1",
        server_port=port,
        prevent_thread_lock=True,
        quiet=True,
        ssr_mode=False,
    )
    yield f"http://127.0.0.1:{port}/gradio_api/component_server", game._id
    demo.close()


def call(client, server, session, name, data):
    address, component = server
    sent = {"session_hash": session, "component_id": component, "fn_name": name, "data": data}
    reply = client.post(address, json=sent)
    assert reply.status_code == 200
    return reply.json()


def visit(server, code, k, waits):
    """A client of its own with its own connection takes a second to look at each picture, and asks
    every third time whether the round is still the same, as a page does."""
    with httpx.Client(timeout=60) as client:
        joined = call(client, server, f"v{k}", "join_room", {"code": code, "token": None})
        call(client, server, f"v{k}", "begin", ASK)
        me = {"code": code, "token": joined["token"], "round": 1}
        for place in range(ROUND):
            time.sleep(0.5 + 0.1 * ((7 * k + 3 * place) % 10))
            if place % 3 == 0:
                assert call(client, server, f"v{k}", "join_room", me)["round"] == 1
            start = time.perf_counter()
            said = {**ASK, **me, "place": place, "said": KINDS[(k + place) % 3]}
            assert call(client, server, f"v{k}", "answer", said)["counted"]
            waits.append(time.perf_counter() - start)


def test_twenty_visitors_in_one_room_are_answered_at_once(server):
    """95 of 100 answers come within 300 ms; a second class is measured where another process had
    the machine while the first one played."""
    for _ in range(2):
        waits: list[float] = []
        with httpx.Client(timeout=60) as host:
            code = call(host, server, "host", "open_room", ASK)["code"]
            visitors = [
                threading.Thread(target=visit, args=(server, code, k, waits)) for k in range(20)
            ]
            for visitor in visitors:
                visitor.start()
            for visitor in visitors:
                visitor.join(120)
            tally = call(host, server, "host", "tally_room", {"code": code})
        assert (tally["visitors"], tally["finished"], tally["answers"]) == (20, 20, 200)
        p95 = statistics.quantiles(waits, n=20)[-1]
        print(f"p95 {1000 * p95:.0f} ms, median {1000 * statistics.median(waits):.0f} ms")
        if p95 < 0.3:
            break
    assert p95 < 0.3
