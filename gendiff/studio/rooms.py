"""Rooms: many visitors, one quiz at a time, one tally. Kept in SQLite, in memory; nothing outlives
its room.

A room plays one quiz, until its host starts another: that is the next round. The rounds before it
are closed, and kept. The host is whoever has the key that came with the room.

A visitor is a random token; no name, no address is asked for or kept. The first answer to a
question counts: a second one, one to a question that is not there, one to an earlier round, or one
from a token that the room did not give changes nothing. A room is gone two hours after it was
opened.
"""

from __future__ import annotations

import secrets
import sqlite3
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from gendiff.errors import GendiffError
from gendiff.studio import quiz
from gendiff.studio.bank import KINDS
from gendiff.studio.quiz import ROUND, Score, score

LIFE = 2 * 3600.0  # seconds
ROOMS_MAX = 200
VISITORS_MAX = 500
ROUNDS_MAX = 50
LETTERS = "ABCDEFGHJKMNPQRSTUVWXYZ23456789"  # none that is taken for another one
CODE = 6
_TABLES = """
create table rooms (code text primary key, key text, opened real);
create table rounds (room text, round integer, data text, seed integer,
                     primary key (room, round));
create table visitors (room text, token text primary key);
create table answers (room text, round integer, token text, place integer, said text,
                      primary key (token, round, place));
create index by_room on answers (room);
create index visitors_by_room on visitors (room);
"""


@dataclass(frozen=True)
class Room:
    """A room as everybody may see it: the quiz of its round, counted from 1. seconds_left: until
    it is gone."""

    code: str
    data: str
    seed: int
    round: int
    seconds_left: float


@dataclass(frozen=True)
class Past:
    """A round that is over."""

    data: str
    seed: int
    score: Score


@dataclass(frozen=True)
class Tally:
    """What a room has answered in its round: said[place][kind], and as one confusion matrix.

    finished: visitors who have answered all questions. past: the rounds before, the first first.
    """

    room: Room
    visitors: int
    finished: int
    said: tuple[tuple[int, ...], ...]
    score: Score
    past: tuple[Past, ...]


class Rooms:
    """All rooms of one server; thread-safe.

    Args:
        path: of the SQLite file; ":memory:" keeps nothing on disk. clock: seconds.
    """

    def __init__(
        self, path: str = ":memory:", clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._db = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        self._db.executescript(_TABLES)
        self._clock, self._lock = clock, threading.Lock()

    def open(self, data: str, seed: int) -> tuple[Room, str]:
        """A new room with the quiz of that seed, and its host's key.

        Raises:
            GendiffError: no such quiz, or too many rooms.
        """
        quiz.quiz(data, seed)
        with self._lock:
            self._expire()
            if self._one("select count(*) from rooms")[0] >= ROOMS_MAX:
                raise GendiffError("There are too many open rooms; try again later.")
            code = "".join(secrets.choice(LETTERS) for _ in range(CODE))
            key = secrets.token_urlsafe(16)
            self._db.execute("insert into rooms values (?, ?, ?)", (code, key, self._clock()))
            self._db.execute("insert into rounds values (?, 1, ?, ?)", (code, data, int(seed)))
            return self._room(code), key

    def next_round(self, code: str, key: str, data: str, seed: int) -> Room:
        """The room with another quiz, which all its visitors now have; the round before is closed.

        Raises:
            GendiffError: there is no such room or quiz, the key is not its host's, or it has had
                enough rounds.
        """
        quiz.quiz(data, seed)
        with self._lock:
            room = self._room(code)
            self._check_host(room, key, "start a quiz in it")
            if room.round >= ROUNDS_MAX:
                raise GendiffError(f"This room has had {ROUNDS_MAX} rounds; open another one.")
            self._db.execute(
                "insert into rounds values (?, ?, ?, ?)",
                (room.code, room.round + 1, data, int(seed)),
            )
            return self._room(code)

    def join(self, code: str, token: str | None = None) -> tuple[Room, str]:
        """The room of a code, and the visitor's token: the given one if it is of this room.

        Raises:
            GendiffError: there is no such room, or it is full.
        """
        with self._lock:
            room = self._room(code)
            if self._known(room, token):
                return room, token
            if self._visitors(room.code) >= VISITORS_MAX:
                raise GendiffError(f"This room is full: it has {VISITORS_MAX} visitors.")
            token = secrets.token_urlsafe(16)
            self._db.execute("insert into visitors values (?, ?)", (room.code, token))
        return room, token

    def answered(self, code: str, token: str) -> dict[int, str]:
        """What this visitor has answered so far in this round: place -> kind."""
        with self._lock:
            room = self._room(code)
            return dict(
                self._db.execute(
                    "select place, said from answers where token = ? and round = ? and room = ?",
                    (token, room.round, room.code),
                ).fetchall()
            )

    def answer(
        self, code: str, token: str, of: tuple[int, str, int], place: int, said: str
    ) -> bool:
        """Count an answer in the round `of`: its number, data and seed; whether it was counted.
        What is forged, sent twice, too late for its round, or about another quiz is not."""
        numbers = all(isinstance(n, int) and not isinstance(n, bool) for n in (of[0], place))
        if not numbers or not 0 <= place < ROUND or said not in KINDS:
            return False
        with self._lock:
            room = self._room(code)
            if of != (room.round, room.data, room.seed) or not self._known(room, token):
                return False
            done = self._db.execute(
                "insert or ignore into answers values (?, ?, ?, ?, ?)",
                (room.code, room.round, token, place, said),
            )
            return done.rowcount == 1

    def tally(self, code: str) -> Tally:
        """What the room has answered so far; GendiffError if there is no such room. Its score
        tells the truth about the pictures of a round that is still played: for the host alone."""
        with self._lock:
            room = self._room(code)
            rows = self._db.execute(
                "select round, place, said, count(*) from answers where room = ? "
                "group by round, place, said",
                (room.code,),
            ).fetchall()
            rounds = self._db.execute(
                "select round, data, seed from rounds where room = ? order by round", (room.code,)
            ).fetchall()
            visitors = self._visitors(room.code)
            finished = self._one(
                "select count(*) from (select token from answers where room = ? and round = ? "
                "group by token having count(*) = ?)",
                (room.code, room.round, ROUND),
            )[0]
        said = {number: [[0] * len(KINDS) for _ in range(ROUND)] for number, *_ in rounds}
        for number, place, kind, count in rows:
            said[number][place][KINDS.index(kind)] = count
        *past, now = (
            Past(data, seed, _score(data, seed, said[number])) for number, data, seed in rounds
        )
        votes = tuple(map(tuple, said[room.round]))
        return Tally(room, visitors, finished, votes, now.score, tuple(past))

    def check_host(self, code: str, key: str, to: str) -> None:
        """GendiffError unless there is such a room and the key is its host's. to: what only the
        host can do, in words."""
        with self._lock:
            self._check_host(self._room(code), key, to)

    def _check_host(self, room: Room, key: str, to: str) -> None:
        (known,) = self._one("select key from rooms where code = ?", (room.code,))
        if not _ascii(key) or not secrets.compare_digest(key, known):
            raise GendiffError(f"Only the browser that opened this room can {to}.")

    def _room(self, code: str) -> Room:
        self._expire()
        asked = code.strip().upper() if _ascii(code) else ""
        row = self._one(
            "select code, data, seed, round, opened from rooms join rounds on room = code "
            "where code = ? order by round desc",
            (asked,),
        )
        if row is None:
            raise GendiffError("There is no such room, or it has closed; check the code.")
        return Room(*row[:4], LIFE - (self._clock() - row[4]))

    def _known(self, room: Room, token: str | None) -> bool:
        asked = (token, room.code)
        found = "select 1 from visitors where token = ? and room = ?"
        return _ascii(token) and self._one(found, asked) is not None

    def _visitors(self, code: str) -> int:
        return self._one("select count(*) from visitors where room = ?", (code,))[0]

    def _one(self, query: str, values: tuple = ()) -> tuple | None:
        return self._db.execute(query, values).fetchone()

    def _expire(self) -> None:
        """Forget rooms that are over, with all that was answered in them."""
        over = self._clock() - LIFE
        for table in ("answers", "visitors", "rounds"):
            self._db.execute(
                f"delete from {table} where room in (select code from rooms where opened <= ?)",
                (over,),
            )
        self._db.execute("delete from rooms where opened <= ?", (over,))


def _ascii(text: object) -> bool:
    """Whether it may be a code, token or key: SQLite and secrets take no other text as it comes (a
    lone surrogate has no encoding)."""
    return isinstance(text, str) and text.isascii()


def _score(data: str, seed: int, said: list[list[int]]) -> Score:
    """What a room said about a quiz, said[place][kind], as a confusion matrix."""
    return score(
        [
            (question.kind, kind)
            for question, counts in zip(quiz.quiz(data, seed), said, strict=True)
            for kind, count in zip(KINDS, counts, strict=True)
            for _ in range(count)
        ]
    )
