"""Rooms: one quiz, many visitors, one tally. Kept in SQLite, in memory; nothing outlives its room.

A visitor is a random token; no name, no address is asked for or kept. The first answer to a
question counts: a second one, one to a question that is not there, or one from a token that the
room did not give changes nothing. A room is gone two hours after it was opened.
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
from gendiff.studio.quiz import ROUND, SEED_MAX, Score, score

LIFE = 2 * 3600.0  # seconds
ROOMS_MAX = 200
VISITORS_MAX = 500
LETTERS = "ABCDEFGHJKMNPQRSTUVWXYZ23456789"  # none that is taken for another one
CODE = 6
_TABLES = """
create table rooms (code text primary key, data text, seed integer, opened real);
create table visitors (room text, token text primary key);
create table answers (room text, token text, place integer, said text,
                      primary key (token, place));
create index by_room on answers (room);
create index visitors_by_room on visitors (room);
"""


@dataclass(frozen=True)
class Room:
    """A room as everybody may see it. seconds_left: until it is gone."""

    code: str
    data: str
    seed: int
    seconds_left: float


@dataclass(frozen=True)
class Tally:
    """What a room has answered: said[place][kind], and all of it as one confusion matrix.

    finished: visitors who have answered all questions.
    """

    room: Room
    visitors: int
    finished: int
    said: tuple[tuple[int, ...], ...]
    score: Score


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

    def open(self, data: str, seed: int | None = None) -> Room:
        """A new room with the quiz of that seed (None: a random one).

        Raises:
            GendiffError: no such quiz, or too many rooms.
        """
        seed = secrets.randbelow(SEED_MAX) if seed is None else seed
        quiz.quiz(data, seed)
        with self._lock:
            self._expire()
            if self._one("select count(*) from rooms")[0] >= ROOMS_MAX:
                raise GendiffError("There are too many open rooms; try again later.")
            code = "".join(secrets.choice(LETTERS) for _ in range(CODE))
            self._db.execute(
                "insert into rooms values (?, ?, ?, ?)", (code, data, int(seed), self._clock())
            )
        return Room(code, data, int(seed), LIFE)

    def join(self, code: str, token: str | None = None) -> tuple[Room, str]:
        """The room of a code, and the visitor's token: the given one if it is of this room.

        Raises:
            GendiffError: there is no such room, or it is full.
        """
        with self._lock:
            room = self._room(code)
            if isinstance(token, str) and self._known(room, token):
                return room, token
            if self._visitors(room.code) >= VISITORS_MAX:
                raise GendiffError(f"This room is full: it has {VISITORS_MAX} visitors.")
            token = secrets.token_urlsafe(16)
            self._db.execute("insert into visitors values (?, ?)", (room.code, token))
        return room, token

    def answered(self, code: str, token: str) -> dict[int, str]:
        """What this visitor has answered so far: place -> kind."""
        with self._lock:
            room = self._room(code)
            return dict(
                self._db.execute(
                    "select place, said from answers where room = ? and token = ?",
                    (room.code, token),
                ).fetchall()
            )

    def answer(self, code: str, token: str, place: int, said: str) -> bool:
        """Count an answer; whether it was counted. What is forged or sent twice is not."""
        valid = isinstance(place, int) and not isinstance(place, bool) and 0 <= place < ROUND
        if not valid or said not in KINDS or not isinstance(token, str):
            return False
        with self._lock:
            room = self._room(code)
            if not self._known(room, token):
                return False
            done = self._db.execute(
                "insert or ignore into answers values (?, ?, ?, ?)",
                (room.code, token, place, said),
            )
            return done.rowcount == 1

    def tally(self, code: str) -> Tally:
        """What the room has answered so far; GendiffError if there is no such room."""
        with self._lock:
            room = self._room(code)
            rows = self._db.execute(
                "select place, said, count(*) from answers where room = ? group by place, said",
                (room.code,),
            ).fetchall()
            visitors = self._visitors(room.code)
            finished = self._one(
                "select count(*) from (select token from answers where room = ? group by token "
                "having count(*) = ?)",
                (room.code, ROUND),
            )[0]
        truths = [question.kind for question in quiz.quiz(room.data, room.seed)]
        counts = {(place, said): count for place, said, count in rows}
        said = tuple(
            tuple(counts.get((place, kind), 0) for kind in KINDS) for place in range(ROUND)
        )
        pairs = [
            (truths[place], kind)
            for place in range(ROUND)
            for kind in KINDS
            for _ in range(counts.get((place, kind), 0))
        ]
        return Tally(room, visitors, finished, said, score(pairs))

    def _room(self, code: str) -> Room:
        self._expire()
        asked = str(code).strip().upper()[:20]
        row = self._one("select code, data, seed, opened from rooms where code = ?", (asked,))
        if row is None:
            raise GendiffError("There is no such room, or it has closed; check the code.")
        return Room(*row[:3], LIFE - (self._clock() - row[3]))

    def _known(self, room: Room, token: str) -> bool:
        found = self._one(
            "select 1 from visitors where token = ? and room = ?", (token, room.code)
        )
        return found is not None

    def _visitors(self, code: str) -> int:
        return self._one("select count(*) from visitors where room = ?", (code,))[0]

    def _one(self, query: str, values: tuple = ()) -> tuple | None:
        return self._db.execute(query, values).fetchone()

    def _expire(self) -> None:
        """Forget rooms that are over, with all that was answered in them."""
        over = self._clock() - LIFE
        for table in ("answers", "visitors"):
            self._db.execute(
                f"delete from {table} where room in (select code from rooms where opened <= ?)",
                (over,),
            )
        self._db.execute("delete from rooms where opened <= ?", (over,))
