"""The commands that fetch from the Hub and publish to it."""

from __future__ import annotations

import argparse
import sys
import tempfile
import textwrap
from collections.abc import Sequence
from pathlib import Path

from tqdm import tqdm

from gendiff import hub, publish, weights
from gendiff.errors import GendiffError
from gendiff.hub import catalogue, remote
from gendiff.hub.sentences import Unreachable
from gendiff.report import table

_WIDTH = 120  # columns of a terminal


def pull(arguments: argparse.Namespace) -> None:
    """Fetch a model, list those that are offered, or remove one."""
    settings = hub.Settings.here()
    if arguments.forget:
        name = hub.Name.parse(_id(arguments)).id
        if not hub.forget(name, settings):
            raise GendiffError(f"{name} is not here; python -m gendiff pull lists what is.")
        print(f"{name} is removed")
        return
    if arguments.id is None:
        print(_offers(settings))
        return
    steps = weights.pull(arguments.id, settings)
    offer = next(steps)
    if offer.note is None:
        print(f"{offer.name}: {offer.size / 1e6:.1f} MB, licence: {offer.facts.licence}")
    elif offer.name.revision is None:
        print(
            f"already here; python -m gendiff pull {offer.name.id}@main fetches its newest commit"
        )
    with tqdm(total=offer.size, unit="B", unit_scale=True, disable=None, leave=False) as bar:
        for step in steps:
            if isinstance(step, hub.Note):
                break
            bar.update(step.done - bar.n)
    print(f'{step.facts.name} is here ({step.size / 1e6:.1f} MB): gendiff.load("{offer.exactly}")')


def push(arguments: argparse.Namespace) -> None:
    """Publish a checkpoint, or the app as a Space."""
    if (arguments.repo is None) == (arguments.space is None):
        raise GendiffError("Say --repo OWNER/NAME for a model, or --space OWNER/NAME for the app.")
    if (arguments.name is None) != (arguments.repo is None):
        raise GendiffError("A model is pushed by NAME and --repo, the app by --space alone.")
    repo = publish.place(arguments.repo or arguments.space)
    kind = "model" if arguments.repo else "space"
    with tempfile.TemporaryDirectory(prefix="gendiff-push-") as folder:
        if kind == "model":
            where = weights.find(arguments.name)
            items = publish.checkpoint(where, Path(folder), repo)
        else:
            items = publish.space()
        rows = [(item.name, f"{item.size:,}") for item in items]
        total = sum(item.size for item in items)
        print(table(("file", "bytes"), rows))
        print(f"{len(items)} files, {total / 1e6:.1f} MB, for the {kind} {repo}")
        if arguments.dry_run:
            print("a dry run: nothing was sent")
            return
        message = f"gendiff: {arguments.name}" if kind == "model" else "gendiff: the app"
        print(publish.upload(items, repo, kind, message))


def check(arguments: argparse.Namespace) -> int:
    """Compare the list of models with the Hub; 0 if all is as the list says."""
    settings, rows, notes, wrong = hub.Settings.here(), [], [], 0
    for entry in tqdm(catalogue.entries(), desc="asking the Hub", disable=None, leave=False):
        said = _compared(entry, settings)
        wrong += said != "as listed"
        notes.append("" if said == "as listed" else said)
        today = "not as listed" if notes[-1] else said
        rows.append((entry.id, entry.revision[:8], today, entry.checked or "not yet checked"))
    print(_annotated(("model", "revision", "today", "checked on"), rows, notes))
    if wrong:
        print(f"{wrong} of {len(rows)} are not as listed", file=sys.stderr)
    return 1 if wrong else 0


def _compared(entry: catalogue.Entry, settings: hub.Settings) -> str:
    try:
        found = remote.listing(entry.name, settings)
    except Unreachable:  # then the others are not there either
        raise
    except GendiffError as error:
        return str(error)
    form = hub.formats.recognise(_inside(found, entry))
    if form is None:
        return "has no format that is known here"
    files = {path: found.files[entry.name.path(path)] for path in form.files}
    size = sum(file.size for file in files.values())
    if abs(size - entry.bytes) > max(1e5, 0.02 * entry.bytes):
        return f"has {size:,} bytes, listed are {entry.bytes:,}"
    for path, expected in entry.sha256.items():
        if path not in files or files[path].sha256 != expected:
            return f"{path} has another sha256"
    return "as listed"


def _inside(found: remote.Listing, entry: catalogue.Entry) -> list[str]:
    start = entry.name.path("")
    return [path[len(start) :] for path in found.files if path.startswith(start)]


def _offers(settings: hub.Settings) -> str:
    here = {note.facts.name: note for note in hub.notes(settings)}
    listed = [
        (
            entry.id,
            entry.family,
            entry.resolution,
            f"{entry.bytes / 1e6:.0f} MB",
            entry.licence or "none stated",
            entry.checked or "not yet checked",
        )
        for entry in catalogue.offered()
    ]
    own = [
        (
            note.facts.name,
            note.family,
            "",
            f"{note.size / 1e6:.0f} MB",
            note.facts.licence,
            "",
        )
        for name, note in here.items()
        if catalogue.entry(hub.Name.parse(name)) is None
    ]
    notes = ["here; " * (entry.id in here) + entry.pace for entry in catalogue.offered()]
    header = ("python -m gendiff pull", "family", "pictures", "size", "licence", "checked on")
    return _annotated(header, [*listed, *own], [*notes, *["here"] * len(own)])


def _annotated(header: Sequence[str], rows: list[Sequence[str]], notes: list[str]) -> str:
    """A table with a note under each row that has one: beside it, it would be too wide."""
    head, *lines = table(header, rows).splitlines()
    below = (textwrap.indent(textwrap.fill(note, _WIDTH - 4), "    ") for note in notes)
    made = zip(lines, below, strict=True)
    return "\n".join([head, *(text for pair in made for text in pair if text)])


def _id(arguments: argparse.Namespace) -> str:
    if arguments.id is None:
        raise GendiffError("Say which model: python -m gendiff pull --forget OWNER/NAME.")
    return arguments.id
