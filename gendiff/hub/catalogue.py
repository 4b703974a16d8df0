"""The models that this program offers by itself: catalogue.json, data and no code."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from gendiff.hub.names import Name


@dataclass(frozen=True)
class Entry:
    """A model of the list.

    Attributes:
        id: owner/name[/folder]. revision: a full commit hash.
        family, title, data, classes: as a card has them. resolution: for people.
        bytes: about, of what is downloaded. sha256: of its files, where known.
        licence: None where its author states none: then it is not offered, only known.
        pace: what to expect of a machine without a GPU.
        checked: the day when it was compared with the Hub, None for never.
    """

    id: str
    revision: str
    family: str
    title: str
    data: str
    resolution: str
    classes: tuple[str, ...]
    bytes: int
    sha256: Mapping[str, str]
    licence: str | None
    credit: str
    pace: str
    checked: str | None

    @property
    def name(self) -> Name:
        """The entry as an id with its revision."""
        return Name.parse(f"{self.id}@{self.revision}")


@cache
def entries() -> tuple[Entry, ...]:
    """All of them; the default pair comes first."""
    text = Path(__file__).with_name("catalogue.json").read_text(encoding="utf-8")
    rows = json.loads(text)["models"]
    return tuple(Entry(**{**row, "classes": tuple(row["classes"])}) for row in rows)


def offered() -> tuple[Entry, ...]:
    """Those with a licence."""
    return tuple(entry for entry in entries() if entry.licence)


def entry(name: Name) -> Entry | None:
    """The entry of that id, whatever the revision."""
    return next((one for one in entries() if one.id == name.id), None)
