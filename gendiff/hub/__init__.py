"""Models from the Hugging Face Hub: looked at, fetched, checked, and read from the cache.

    offer = look("google/ddpm-cifar10-32", settings)     what it is, how large, its licence
    for progress in fetch(offer, settings): ...          then it is here: find(name, settings)

What is in the cache is used without asking anybody; the network comes second. huggingface_hub is
imported where it is needed, nothing here needs it before.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from gendiff.cards import Card
from gendiff.errors import GendiffError
from gendiff.hub import catalogue, formats, remote, store
from gendiff.hub.formats import Facts, Format
from gendiff.hub.names import Name, looks_like_one
from gendiff.hub.remote import File, Progress, deadline
from gendiff.hub.settings import Settings
from gendiff.hub.store import Note, forget, notes
from gendiff.hub.store import write as keep

__all__ = [
    "Name",
    "Note",
    "Offer",
    "Progress",
    "Settings",
    "deadline",
    "fetch",
    "find",
    "forget",
    "keep",
    "look",
    "looks_like_one",
    "notes",
]
_SMALL = 200_000  # bytes that are read before a download: of a README, of a configuration


@dataclass(frozen=True)
class Offer:
    """A model that could be fetched: what a person should know before it is.

    note: it is here already. size: bytes to come, all its files together.
    """

    name: Name
    form: Format
    files: tuple[File, ...]
    facts: Facts
    note: Note | None = None

    @property
    def size(self) -> int:
        return sum(file.size for file in self.files)

    @property
    def exactly(self) -> Name:
        """The name with the commit that was looked at."""
        return replace(self.name, revision=self.facts.sha)


def find(name: Name, settings: Settings) -> Note | None:
    """The model if it is in the cache, at that revision (None: the list's, or any); no request.

    Raises:
        GendiffError: it is there, but damaged.
    """
    wanted = _pinned(name)
    note = store.find(wanted, settings) or (
        store.find(name, settings) if name.revision is None else None
    )
    return note or _in_cache(wanted, settings)


def look(text: str, settings: Settings, until: float | None = None) -> Offer:
    """What a person's id means, from the cache or from the Hub; nothing large is fetched.

    until: the `deadline` for all that is asked, if it has begun already.

    Raises:
        GendiffError: no id; not allowed here; what `remote.listing` raises; a format that is not
            known; larger than the setting allows.
    """
    name = _pinned(allowed(text, settings))
    if name.revision != "main" and (note := find(name, settings)) is not None:
        return Offer(name, note.form, (), note.facts, note)
    until = until or deadline()
    listing = remote.listing(name, settings, until)
    inside = name.path("")
    files = {
        path[len(inside) :]: f for path, f in listing.files.items() if path.startswith(inside)
    }
    form = formats.recognise(files, name.id)
    if form is None:
        raise formats.refusal(files, name.id)
    chosen = tuple(files[path] for path in form.files)
    size = sum(file.size for file in chosen)
    if size > settings.most:
        raise GendiffError(
            f"{name.id} has {size / 1e9:.2f} GB, and at most {settings.most / 1e9:.2f} GB are "
            "fetched here (GENDIFF_HUB_MAX_GB)."
        )
    _as_listed(name, listing.sha, form, chosen)
    _understood(name, listing.sha, form, chosen, settings, until)
    readme = listing.files.get("README.md")
    text = ""
    if catalogue.entry(name) is None and readme is not None and readme.size <= _SMALL:
        text = remote.text(name, listing.sha, readme, settings, until)
    return Offer(name, form, chosen, _facts(name, listing.sha, text))


def _as_listed(name: Name, sha: str, form: Format, files: tuple[File, ...]) -> None:
    """GendiffError where the Hub tells another hash than our list: no other try will help."""
    entry = catalogue.entry(name)
    if entry is None or entry.revision != sha:
        return
    for path, file in zip(form.files, files, strict=True):
        if file.sha256 and file.sha256 != entry.sha256.get(path, file.sha256):
            raise GendiffError(
                f"{path} of {name.id} on the Hub is not the file that our list names; nothing is "
                "fetched, choose another model."
            )


def _understood(
    name: Name,
    sha: str,
    form: Format,
    files: tuple[File, ...],
    settings: Settings,
    until: float,
) -> None:
    """GendiffError where the configuration shows that the weights would be of no use."""
    small = dict(zip(form.small, files, strict=False))
    if any(file.size > _SMALL for file in small.values()):
        raise GendiffError(f"{name.id} has no configuration that is known here; choose another.")
    with TemporaryDirectory(prefix="gendiff-look-") as folder:
        for path, file in small.items():
            where = Path(folder) / path
            where.parent.mkdir(exist_ok=True)
            where.write_text(remote.text(name, sha, file, settings, until), encoding="utf-8")
        formats.check(Path(folder), form)


def fetch(
    offer: Offer,
    settings: Settings,
    cancelled: Callable[[], bool] = lambda: False,
    until: float | None = None,
) -> Iterator[Progress]:
    """Fetch what was offered, small files first: they may show that it is of no use.

    until: the `deadline` of the first byte, if it has begun already.

    Raises:
        GendiffError: as `remote.download`; no room on the disk; a file that arrives damaged; a
            configuration that is not understood. Nothing is then used of what has come.
    """
    if offer.note is not None:
        return
    _room(offer, settings)
    done, kept, folder = 0, [], settings.cache
    entry = catalogue.entry(offer.name)
    for path, file in zip(offer.form.files, offer.files, strict=True):
        for step in remote.download(offer.exactly, file, settings, cancelled, until):
            if isinstance(step, Path):
                folder = step.parents[path.count("/")]
                told = file.sha256 or file.git
                if entry is not None and offer.facts.sha == entry.revision:
                    told = entry.sha256.get(path, told)
                kept.append(store.checked(step, path, file.size, told))
                done += file.size
            yield Progress(done + (step if isinstance(step, int) else 0), offer.size)
        until = None
        if len(kept) == len(offer.form.small):
            formats.check(folder, offer.form)
    store.write(_note(offer.facts, offer.form, folder, tuple(kept)), settings)


def allowed(text: str, settings: Settings) -> Name:
    """The id as a name; GendiffError for what is none, or is not to be fetched here."""
    name = Name.parse(text)
    if settings.access == "closed":
        raise GendiffError("Models from the Hub are switched off here; use a bundled one.")
    entry = catalogue.entry(name)
    listed = entry is not None and _pinned(name).revision == entry.revision
    if settings.access == "list" and not listed:
        raise GendiffError("Only the models of the list can be fetched here; choose one of them.")
    return name


def _pinned(name: Name) -> Name:
    """The name with the list's revision where it says none."""
    entry = catalogue.entry(name)
    return replace(name, revision=entry.revision) if entry and name.revision is None else name


def _in_cache(name: Name, settings: Settings) -> Note | None:
    """A model that another program has put into the cache; its files' names there are hashes."""
    place = settings.folder(name.repo)
    sha = name.revision
    if not name.pinned:
        try:
            sha = (place / "refs" / (name.revision or "main")).read_text().strip()
        except (OSError, ValueError):
            return None
    folder = place / "snapshots" / str(sha) / name.folder
    form = formats.local(folder)
    if form is None or not Name.parse(f"{name.id}@{sha}").pinned:
        return None
    formats.check(folder, form)
    entry = catalogue.entry(name)
    pins = entry.sha256 if entry is not None and entry.revision == sha else {}
    kept = []
    for path in form.files:
        blob = (folder / path).resolve()
        told = pins.get(path, blob.name)
        kept.append(store.checked(folder / path, path, blob.stat().st_size, told))
    readme = place / "snapshots" / str(sha) / "README.md"
    text = readme.read_text("utf-8", errors="replace") if readme.is_file() else ""
    note = _note(_facts(name, str(sha), text), form, folder, tuple(kept))
    store.write(note, settings)
    return note


def _note(facts: Facts, form: Format, folder: Path, kept: tuple[store.Kept, ...]) -> Note:
    families = {"unet": "diffusion", "simple": "gan", "five": "gan"}
    family = families.get(form.kind) or Card.read(folder).family
    return Note(facts, form, family, folder, kept)


def _facts(name: Name, sha: str, readme: str) -> Facts:
    """What a card will say: the list's words, else what the repository's README says."""
    entry = catalogue.entry(name)
    if entry is not None:
        licence = entry.licence or "none stated"
        return Facts(name.id, entry.title, entry.data, licence, entry.credit, entry.classes, sha)
    header = re.match(r"---\s*\n(.*?)\n---", readme, re.DOTALL)
    found = re.search(r"^license:\s*(\S{1,60})\s*$", header[1] if header else "", re.MULTILINE)
    licence = found[1] if found else "none stated"
    return Facts(
        name.id, name.id, name.id, licence, f"{name.repo} on the Hugging Face Hub", (), sha
    )


def _room(offer: Offer, settings: Settings) -> None:
    place = settings.cache
    while not place.exists():
        place = place.parent
    try:
        free = shutil.disk_usage(place).free
    except OSError:  # then the download itself will say what is wrong
        return
    if free < offer.size:
        raise GendiffError(
            f"The disk is full: {offer.name.id} needs {offer.size / 1e6:.0f} MB and "
            f"{settings.cache} has {free / 1e6:.0f} MB left."
        )
