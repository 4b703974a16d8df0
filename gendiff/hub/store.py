"""What has been fetched and checked: a note for each model, so that nothing is asked twice.

A note is written last, when every file is here and has the hash that the Hub tells; a model
without a note does not exist. It remembers size and time of each file as they were when they were
hashed: a file that still has both need not be hashed again, any other is.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from gendiff.cards import Card
from gendiff.errors import GendiffError
from gendiff.hub.formats import Facts, Format
from gendiff.hub.names import Name
from gendiff.hub.settings import Settings


@dataclass(frozen=True)
class Kept:
    """A file in the cache. hash: "sha256:...", "git:..." or
    "size:" where the Hub tells none; time: st_mtime_ns when checked."""

    path: str
    size: int
    time: int
    hash: str


@dataclass(frozen=True)
class Note:
    """A model that is here, whole and checked.

    folder: where its files are. card: what `Card` has of it, None until it has been loaded once.
    """

    facts: Facts
    form: Format
    family: str
    folder: Path
    files: tuple[Kept, ...]
    card: Card | None = None

    @property
    def size(self) -> int:
        return sum(file.size for file in self.files)

    def intact(self) -> None:
        """GendiffError unless the files are those that were checked."""
        for file in self.files:
            path = self.folder / file.path
            try:
                now = path.stat()
                if (now.st_size, now.st_mtime_ns) == (file.size, file.time):
                    continue
                same = now.st_size == file.size and _is(path, file.hash)
            except OSError:
                same = False
            if not same:
                raise GendiffError(
                    f"{self.facts.name}: {file.path} in the cache is damaged or gone; remove it "
                    f"with python -m gendiff pull --forget {self.facts.name}, then pull it again."
                )


def checked(path: Path, name: str, size: int, told: str | None) -> Kept:
    """A downloaded file with its hash; GendiffError, and the file is gone, if it is another's.

    huggingface_hub compares sizes only. told: a sha256, or the git hash of a small file.
    """
    expected = _expected(told)
    state = path.stat()
    if state.st_size != size or not _is(path, expected):
        for damaged in {path.resolve(), path}:  # the blob, and the link to it
            with suppress(OSError):
                damaged.unlink()
        raise GendiffError(
            f"{name} arrived damaged: its hash is not the one that the Hub tells; it has been "
            "removed, try again."
        )
    return Kept(name, size, state.st_mtime_ns, expected)


def write(note: Note, settings: Settings) -> None:
    """Keep a note, atomically."""
    path = _path(note.facts.name, settings)
    partial = path.with_suffix(".partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        values = {**asdict(note), "folder": str(note.folder)}
        partial.write_text(json.dumps(values, ensure_ascii=False, indent=1), encoding="utf-8")
        os.replace(partial, path)
    except OSError as error:
        raise GendiffError(f"{path} cannot be written ({error}); is the disk full?") from error


def find(name: Name, settings: Settings) -> Note | None:
    """The note of that model at that revision (None: whichever is here)."""
    note = _read(_path(name.id, settings))
    if note is None or name.revision not in (None, note.facts.sha):
        return None
    return note


def forget(name: str, settings: Settings) -> bool:
    """Remove a model's note and files; whether there was one."""
    path = _path(name, settings)
    note = _read(path)
    for file in note.files if note else ():
        for each in {(note.folder / file.path).resolve(), note.folder / file.path}:
            with suppress(OSError):
                each.unlink()
    with suppress(OSError):
        path.unlink()
        return True
    return False


def notes(settings: Settings) -> Iterator[Note]:
    """Every model that is here."""
    for path in sorted(settings.notes.glob("*.json")):
        if (note := _read(path)) is not None:
            yield note


def _path(name: str, settings: Settings) -> Path:
    return settings.notes / (name.replace("/", "--") + ".json")


def _read(path: Path) -> Note | None:
    """A note, or None where there is none that can be read: then the model is fetched again."""
    try:
        values: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        facts = values["facts"]
        return Note(
            Facts(**{**facts, "classes": tuple(facts["classes"])}),
            Format(**{**values["form"], "small": tuple(values["form"]["small"])}),
            values["family"],
            Path(values["folder"]),
            tuple(Kept(**file) for file in values["files"]),
            _card(values["card"]),
        )
    except (OSError, ValueError, KeyError, TypeError, GendiffError):
        return None


def _card(values: dict[str, Any] | None) -> Card | None:
    if values is None:
        return None
    lists = {key: tuple(values[key]) for key in ("shape", "classes")}
    return Card(**{**values, **lists})


def _expected(told: str | None) -> str:
    if told and re.fullmatch("[0-9a-f]{64}", told):
        return f"sha256:{told}"
    return f"git:{told}" if told and re.fullmatch("[0-9a-f]{40}", told) else "size:"


def _is(path: Path, expected: str) -> bool:
    """Whether a file has that hash. Git puts a header before the contents; not all servers do."""
    kind, _, value = expected.partition(":")
    if kind == "size":
        return True
    header = f"blob {path.stat().st_size}\0".encode()
    digests = [hashlib.sha256()] if kind == "sha256" else [hashlib.sha1(header), hashlib.sha1()]
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            for digest in digests:
                digest.update(block)
    return value in [digest.hexdigest() for digest in digests]
