"""The blind test: real, GAN or diffusion? The same seed is the same ten pictures.

Every picture's kind is drawn independently, each kind as likely as the others: who guesses is
right a third of the time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from zlib import crc32

import numpy as np

from gendiff.errors import GendiffError, whole
from gendiff.intervals import wilson
from gendiff.studio import bank
from gendiff.studio.bank import KINDS, Bank

ROUND = 10
SEED_MAX = 10**9


@dataclass(frozen=True, eq=False)
class Question:
    """One picture (H, W, C) uint8 and the truth about it.

    kind: real, gan or diffusion. label: its class, -1 for none. seed: of a generated picture, or a
    real one's number. nearest, rms: the nearest training picture found, and how far it is.
    """

    picture: np.ndarray
    kind: str
    label: int
    seed: int
    nearest: np.ndarray
    rms: float
    source: str


def quiz(data: str, seed: int) -> tuple[Question, ...]:
    """The ten questions of a seed, from the samples that were made beforehand.

    Raises:
        GendiffError: a seed that is none, or a data set without samples.
    """
    seed = whole("The number of a quiz", seed, 0, SEED_MAX)
    shelves = bank.read(data).shelves
    random = np.random.default_rng([seed, crc32(data.encode())])
    kinds = [KINDS[i] for i in random.integers(len(KINDS), size=ROUND)]
    order = {kind: random.permutation(len(shelves[kind])) for kind in KINDS}
    taken = dict.fromkeys(KINDS, 0)
    questions = []
    for kind in kinds:
        shelf, place = shelves[kind], order[kind][taken[kind]]
        taken[kind] += 1
        questions.append(
            Question(
                shelf.pictures[place],
                kind,
                int(shelf.labels[place]),
                int(shelf.seeds[place]),
                shelf.nearest[place],
                float(shelf.rms[place]),
                shelf.source,
            )
        )
    return tuple(questions)


def usual_rms(stored: Bank) -> float:
    """How far real test pictures are from their nearest training picture: the median. What is much
    nearer than that looks like a copy."""
    return float(np.median(stored.shelves["real"].rms))


@dataclass(frozen=True)
class Score:
    """What was answered: confusion[truth][answer], kinds in the order of KINDS."""

    confusion: tuple[tuple[int, ...], ...]

    @property
    def answers(self) -> int:
        return sum(map(sum, self.confusion))

    @property
    def right(self) -> int:
        return sum(self.confusion[i][i] for i in range(len(KINDS)))

    @property
    def interval(self) -> tuple[float, float]:
        """Where the share of right answers lies in truth, with 95 % confidence."""
        return wilson(self.right, self.answers)

    @property
    def better_than_guessing(self) -> bool | None:
        """Whether the interval lies above 1/3 (True), below it (False), or around it (None)."""
        low, high = self.interval
        return True if low > 1 / len(KINDS) else False if high < 1 / len(KINDS) else None


def score(pairs: Sequence[tuple[str, str]]) -> Score:
    """(truth, answer) pairs -> the confusion matrix; GendiffError for a kind that is none."""
    counts = np.zeros((len(KINDS), len(KINDS)), int)
    for truth, said in pairs:
        if truth not in KINDS or said not in KINDS:
            raise GendiffError(f"An answer is {', '.join(KINDS)}; got {str(said)[:20]!r}.")
        counts[KINDS.index(truth), KINDS.index(said)] += 1
    return Score(tuple(tuple(map(int, row)) for row in counts))
