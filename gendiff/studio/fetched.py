"""Models from the Hub in the application: offered, looked at, fetched; then they are models here.

What one visitor fetches is there for all.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from gendiff import hub, weights
from gendiff.cards import Card
from gendiff.hub import catalogue


@dataclass(frozen=True)
class Looked:
    """What a person should know before a download. size: bytes; here: nothing is to be fetched.

    exactly: the id with the commit that was looked at. checked: when our list's
    entry was compared with the Hub, in words.
    """

    id: str
    exactly: str
    title: str
    size: int
    licence: str
    resolution: str
    pace: str
    here: bool
    checked: str = ""


class Fetched:
    """The models that have been fetched, those of earlier sessions included."""

    def __init__(self, settings: hub.Settings) -> None:
        self.settings = settings
        self._guard = threading.Lock()
        self._notes: dict[str, hub.Note] = {}
        self.look_again()

    def look_again(self) -> None:
        """Models that another process has fetched since are here, too."""
        notes = {note.facts.name: note for note in hub.notes(self.settings) if note.card}
        with self._guard:
            self._notes = notes

    @property
    def open(self) -> bool:
        """Whether any id can be asked for, or only those of `offers`."""
        return self.settings.access == "open"

    def cards(self) -> list[Card]:
        """Cheapest first."""
        with self._guard:
            cards = [note.card for note in self._notes.values() if note.card is not None]
        return sorted(cards, key=lambda card: card.cost)

    def note(self, name: str) -> hub.Note | None:
        with self._guard:
            return self._notes.get(name)

    def offers(self) -> list[tuple[str, str]]:
        """(for people, id) of the models of our list that state a licence."""
        return [
            (f"{one.title}: {one.bytes / 1e6:.0f} MB, {one.licence}", one.id)
            for one in catalogue.offered()
        ]

    def look(self, text: str) -> Looked:
        """Ask the Hub about a model, or the cache; GendiffError as `gendiff.hub.look`."""
        return self._looked(hub.look(text, self.settings))

    def _looked(self, offer: hub.Offer) -> Looked:
        entry = catalogue.entry(offer.name)
        return Looked(
            id=offer.name.id,
            exactly=str(offer.exactly),
            title=offer.facts.title,
            size=offer.note.size if offer.note else offer.size,
            licence=offer.facts.licence,
            resolution=entry.resolution if entry else "",
            pace=entry.pace if entry else "",
            here=offer.note is not None and offer.name.id in self._notes,
            checked=_checked(entry.checked) if entry else "",
        )

    def pull(
        self, text: str, cancelled: Callable[[], bool] = lambda: False
    ) -> Iterator[Looked | hub.Progress | Card]:
        """Fetch a model: what it is; how far it is; at last its card, and it is in `cards`.

        Whoever takes no more than the first has fetched nothing.
        """
        for step in weights.pull(text, self.settings, cancelled):
            if isinstance(step, hub.Offer):
                yield self._looked(step)
            elif isinstance(step, hub.Note):
                with self._guard:
                    self._notes[step.facts.name] = step
                if step.card is not None:
                    yield step.card
            else:
                yield step


def _checked(day: str | None) -> str:
    return f"our list's entry was checked on {day}" if day else "our list's entry: not yet checked"
