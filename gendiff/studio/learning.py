"""How the bundled models learned: their milestones with what was measured at each."""

from __future__ import annotations

from dataclasses import dataclass

from gendiff import learning, readme
from gendiff.cards import Card
from gendiff.errors import GendiffError
from gendiff.learning import Learning
from gendiff.results import Learned
from gendiff.studio.models import Studio


@dataclass(frozen=True)
class Story:
    """A training run as it is told. measured: images -> what was measured there."""

    card: Card
    learning: Learning
    measured: dict[int, Learned]
    network: str  # whose features the distances are in; "" where nothing was measured


def told(studio: Studio) -> list[Card]:
    """The models whose checkpoint tells how they learned, cheapest first."""
    return [
        card for card in studio.cards() if (studio.folder / card.name / learning.INDEX).exists()
    ]


def story(studio: Studio, name: str) -> Story:
    """One of them; GendiffError where its files are missing or damaged."""
    card = studio.card(name)
    folder = studio.folder / name
    found = learning.read(folder)
    if found is None:
        raise GendiffError(f"{card.title}: nothing was kept of how it learned.")
    metrics = readme.measured(folder, card)
    measured = {one.images: one for one in metrics.learning} if metrics else {}
    return Story(card, found, measured, metrics.features.network if measured else "")
