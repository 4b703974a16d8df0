"""Who takes part in a comparison: a checkpoint and, where it needs one, a sampler and its steps.

A contestant is written `gan`, `ddim-50` (the data set's own checkpoints) or, with the checkpoint,
`fashion-gan`, `fashion-diffusion:ddim-50`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from gendiff.errors import GendiffError, whole
from gendiff.sample import SAMPLERS
from gendiff.studio.models import Studio
from gendiff.weights import Card

LANES_MAX = 4
TITLES = {
    "ddpm": "DDPM",
    "ddim": "DDIM",
    "renoise": "Guess and noise again",
    "dpmpp_2m": "DPM-Solver++",
    "heun": "Heun",
}


@dataclass(frozen=True)
class Contestant:
    """A checkpoint's name; sampler and steps of its runs, None where one call makes a picture."""

    model: str
    sampler: str | None = None
    steps: int | None = None

    @property
    def spec(self) -> str:
        """As a person writes it, with its checkpoint."""
        return f"{self.model}:{self.sampler}-{self.steps}" if self.sampler else self.model

    @property
    def nfe(self) -> int:
        """Network calls for one picture."""
        if self.steps is None:
            return 1
        return 2 * self.steps - 1 if self.sampler == "heun" else self.steps

    def title(self) -> str:
        """`DDIM-50`, `GAN`: short enough for the head of a lane."""
        if self.sampler:
            return f"{TITLES[self.sampler]}, {self.steps} step{'s' * (self.steps != 1)}"
        return self.model.rpartition("-")[2].upper()


def data_sets(studio: Studio) -> dict[str, str]:
    """The data sets that at least two families have learned: name -> title, cheapest first."""
    families: dict[str, set[str]] = {}
    titles: dict[str, str] = {}
    for card in studio.cards():
        families.setdefault(card.data, set()).add(card.family)
        titles.setdefault(card.data, card.title.rsplit(",", 1)[0])
    return {data: titles[data] for data, known in families.items() if len(known) > 1}


def in_words(source: str) -> str:
    """A bank's source with the sampler's title: `cats-diffusion, DPM-Solver++, 20 steps`."""
    return ", ".join(TITLES.get(word, word) for word in source.split(", "))


def contestants(
    studio: Studio, texts: Sequence[str], data: str | None = None, least: int = 2
) -> tuple[Contestant, ...]:
    """The contestants that these words name.

    Args:
        data: the data set of words without a checkpoint; None: that of the first checkpoint named.
        least: how many there must be.

    Raises:
        GendiffError: a word that names none, the same one twice, another number than `least` to 4,
            or contestants that have learned different data sets.
    """
    words = [word for text in texts if (word := str(text).strip())]
    if not least <= len(words) <= LANES_MAX:
        raise GendiffError(
            f"Choose {least} to {LANES_MAX} contestants, like gan and ddim-50; you gave "
            f"{len(words)}."
        )
    named = (card for word in words if (card := _card(studio, word.partition(":")[0])))
    data = data or next((card.data for card in named), None) or next(iter(data_sets(studio)), "")
    found = tuple(contestant(studio, word, data) for word in words)
    if len(set(found)) < len(found):
        raise GendiffError("Two contestants are the same; choose different ones.")
    _check_same_data(studio, found, data)
    return found


def contestant(studio: Studio, word: str, data: str) -> Contestant:
    """The contestant that one word names; raises as `contestants`."""
    name, _, way = word.strip().partition(":")
    card = _card(studio, name)
    if card is None:
        if ":" in word:
            studio.card(name)  # says which there are
        way = word.strip().lower()
        card = _own(studio, way, data)
    if card.family != "diffusion":
        if way and way != card.family:
            raise GendiffError(f"{card.name} makes a picture in one call: it takes no sampler.")
        return Contestant(card.name)
    match = re.fullmatch(r"([a-z_0-9+]+?)-(-?\d{1,12})", way or "ddim-50")
    if match is None or match[1] not in SAMPLERS:
        raise GendiffError(
            f"There is no contestant {word[:40]!r}; write gan, or one of {', '.join(SAMPLERS)} "
            "with its steps, like ddim-50."
        )
    most = int((card.schedule or {}).get("T", 1000))
    steps = whole(f"The number of steps of {match[1]}", int(match[2]), 1, most)
    return Contestant(card.name, match[1], steps)


def _card(studio: Studio, name: str) -> Card | None:
    return next((card for card in studio.cards() if card.name == name.strip()), None)


def _own(studio: Studio, way: str, data: str) -> Card:
    """The data set's checkpoint for a word without one: a family's name, or a sampler's."""
    cards = [card for card in studio.cards() if card.data == data]
    family = way if way in {card.family for card in studio.cards()} else "diffusion"
    card = next((card for card in cards if card.family == family), None)
    if card is None:
        raise GendiffError(f"No checkpoint of the family {family} has learned {data!r}.")
    return card


def _check_same_data(studio: Studio, found: Sequence[Contestant], data: str) -> None:
    learned = {one.model: studio.card(one.model).data for one in found}
    if len(set(learned.values())) > 1:
        list_ = ", ".join(f"{name} has learned {what}" for name, what in learned.items())
        raise GendiffError(
            f"Contestants must have learned the same data set, or their pictures and times say "
            f"nothing about each other: {list_}."
        )
    if data not in learned.values():
        raise GendiffError(f"{next(iter(learned))} has not learned {data!r}.")
