"""What the browser side of the blind test (quiz.js) asks the server; nothing it sends is trusted.

Every function takes one JSON value and answers with an object, {"error": a sentence} where a
person can put something right. None of them computes with a network, so none waits in a queue.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

from gendiff.errors import GendiffError, whole
from gendiff.studio import Studio, bank, quiz
from gendiff.studio.bank import KINDS
from gendiff.studio.contestants import TITLES, data_sets, in_words
from gendiff.studio.quiz import ROUND, Question, Score, score
from gendiff.studio.rooms import Room, Rooms
from gendiff.ui.api import data_url

Answer = dict[str, Any]


def functions(studio: Studio, rooms: Rooms) -> list[Callable[[Any], Answer]]:
    """begin, answer, finish, open_room, next_round, join_room and tally_room, as gr.HTML takes
    them."""

    def told(room: Room) -> Answer:
        title = _title(studio, room.data, room.seed)
        return {
            "code": room.code,
            "round": room.round,
            "data": room.data,
            "seed": room.seed,
            "title": title,
        }

    def begin(ask: Any) -> Answer:
        """{data, seed} -> the ten pictures, without the truth."""
        return _told(lambda: _begin(studio, *_which(ask)))

    def answer(ask: Any) -> Answer:
        """{data, seed, place, said} -> the truth about one picture, and its nearest training
        picture. In a room {code, token, round}, too: the answer is counted there if it is the
        first, and of this round and its quiz."""

        def work() -> Answer:
            truth = _reveal(studio, *_which(ask), _place(ask))
            if "code" not in ask:
                return truth
            voted = _told(lambda: {"counted": _vote(rooms, ask)})
            return {**truth, "counted": voted.get("counted", False), "room": voted.get("error")}

        return _told(work)

    def finish(ask: Any) -> Answer:
        """{data, seed, answers: ten kinds} -> the confusion matrix and its interval."""
        return _told(lambda: _finish(ask))

    def open_room(ask: Any) -> Answer:
        """{data, seed} -> a new room, and its host's key."""

        def work() -> Answer:
            room, key = rooms.open(*_which(ask))
            return {**told(room), "key": key}

        return _told(work)

    def next_round(ask: Any) -> Answer:
        """{code, key, data, seed} -> the room, which now plays that quiz."""

        def work() -> Answer:
            asked = _object(ask)
            return told(rooms.next_round(asked.get("code"), asked.get("key"), *_which(ask)))

        return _told(work)

    def join_room(ask: Any) -> Answer:
        """{code, token or null} -> the visitor's token, the room's quiz, what was answered; asked
        again, it tells whether the round is still the same."""

        def work() -> Answer:
            asked = _object(ask)
            room, token = rooms.join(asked.get("code"), asked.get("token"))
            done = rooms.answered(room.code, token)
            answered = {str(place): said for place, said in done.items()}
            return {**told(room), "token": token, "answered": answered}

        return _told(work)

    def tally_room(ask: Any) -> Answer:
        """{code} -> what the room has answered so far; earlier rounds' scores. With the host's
        {key, truth: true} the truth, too, and this round's score, which tells it."""

        def work() -> Answer:
            asked = _object(ask)
            tally, truth = rooms.tally(asked.get("code")), {}
            if asked.get("truth"):
                rooms.check_host(tally.room.code, asked.get("key"), "show the truth")
                questions = quiz.quiz(tally.room.data, tally.room.seed)
                truth = {"truths": [one.kind for one in questions], **_score(tally.score)}
            return {
                **told(tally.room),
                "visitors": tally.visitors,
                "finished": tally.finished,
                "minutes": max(1, round(tally.room.seconds_left / 60)),
                "said": tally.said,
                "answers": tally.score.answers,
                "past": [
                    {
                        "title": _title(studio, one.data, one.seed),
                        "right": one.score.right,
                        "answers": one.score.answers,
                    }
                    for one in tally.past
                ],
                **truth,
            }

        return _told(work)

    return [begin, answer, finish, open_room, next_round, join_room, tally_room]


def _told(work: Callable[[], Answer]) -> Answer:
    """Errors of a person as an answer: a server function has no other way to say them."""
    try:
        return work()
    except GendiffError as error:
        return {"error": str(error)}


def _object(ask: Any) -> dict[str, Any]:
    if not isinstance(ask, dict):
        raise GendiffError("This quiz was asked in an unknown way; reload the page.")
    return ask


def _which(ask: Any) -> tuple[str, int]:
    asked = _object(ask)
    data = asked.get("data")
    if not isinstance(data, str) or data not in bank.banks():
        raise GendiffError("There is no quiz on these pictures; choose others.")
    return data, whole("The number of a quiz", asked.get("seed"), 0, quiz.SEED_MAX)


def _title(studio: Studio, data: str, seed: int) -> str:
    return f"quiz {seed}, {data_sets(studio).get(data, data)}"


def _vote(rooms: Rooms, ask: Answer) -> bool:
    code, token, number, said = (ask.get(name) for name in ("code", "token", "round", "said"))
    return rooms.answer(code, token, (number, *_which(ask)), _place(ask), said)


def _place(ask: Any) -> int:
    return whole("The place of a picture", _object(ask).get("place"), 0, ROUND - 1)


@lru_cache(maxsize=64)
def _begin(studio: Studio, data: str, seed: int) -> Answer:
    questions = quiz.quiz(data, seed)
    stale = bank.read(data).stale(studio)
    note = (
        f"Made beforehand with earlier weights ({' and '.join(stale)})"
        if stale
        else "Made beforehand with the weights that are here"
    )
    return {
        "pictures": [data_url(one.picture) for one in questions],
        "side": questions[0].picture.shape[0],
        "title": _title(studio, data, seed),
        "note": f"{note}: {TITLES[bank.SAMPLER]}, {bank.STEPS} steps for the diffusion model.",
    }


@lru_cache(maxsize=256)
def _reveal(studio: Studio, data: str, seed: int, place: int) -> Answer:
    one = quiz.quiz(data, seed)[place]
    return {
        "kind": one.kind,
        "what": _what(studio, data, one),
        "nearest": data_url(one.nearest),
        "rms": round(one.rms, 3),
        "usual": round(quiz.usual_rms(bank.read(data)), 3),
    }


def _what(studio: Studio, data: str, one: Question) -> str:
    names = next((card.classes for card in studio.cards() if card.data == data), ())
    label = f", class {names[one.label]}" if 0 <= one.label < len(names) else ""
    if one.kind == "real":
        return f"a test picture that no network was trained on{label}"
    return f"{in_words(one.source)}, seed {one.seed}{label}"


def _finish(ask: Any) -> Answer:
    data, seed = _which(ask)
    answers = _object(ask).get("answers")
    if (
        not isinstance(answers, list)
        or len(answers) != ROUND
        or not all(a in KINDS for a in answers)
    ):
        raise GendiffError("A quiz is over when all ten pictures are answered.")
    truths = [one.kind for one in quiz.quiz(data, seed)]
    return _score(score(list(zip(truths, answers, strict=True))))


def _score(made: Score) -> Answer:
    low, high = made.interval
    return {
        "confusion": made.confusion,
        "right": made.right,
        "answers": made.answers,
        "low": round(low, 4),
        "high": round(high, 4),
        "better": made.better_than_guessing,
    }
