"""Diversity at a glance: one class, many seeds. How alike are they, and are they copies?

Distances are RMS differences of pixels in [-1, 1], because a copy is one of pixels. Near
neighbours among its own pictures are a sign of collapse, neighbours in the training set nearer
than those of real test pictures a sign of copying. The map is of features, because pixels lie far
apart where two pictures of the same thing are only shifted. One class of each data set was made
beforehand (`python -m gendiff.studio.diversity`).
"""

from __future__ import annotations

import json
import os
import sys
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
import torch

from gendiff.data import open_data
from gendiff.errors import GendiffError, whole
from gendiff.images import from_uint8, to_uint8
from gendiff.readers import load_reader
from gendiff.studio import bank
from gendiff.studio.bank import KINDS, SAMPLER, STEPS
from gendiff.studio.models import Studio
from gendiff.studio.neighbours import nearest

SEEDS = 64
CLOSEST = 6  # pictures of each kind that are shown beside their nearest training picture
BATCH = 16
DEFAULT = {"fashion": 7, "cats": 14}  # the class that was made beforehand: sneakers, ginger cats


@dataclass(frozen=True, eq=False)
class Group:
    """Pictures of one kind and class (N, H, W, C) uint8.

    Attributes:
        rms: distances (N,) to the nearest training pictures; None where the data set is not here.
        closest: indices of those that are nearest to theirs. nearest: those training pictures.
        source: what made them. sha256: of the weights; "" for real pictures.
    """

    kind: str
    pictures: np.ndarray
    rms: np.ndarray | None
    closest: np.ndarray
    nearest: np.ndarray
    source: str
    sha256: str = ""

    def among(self) -> np.ndarray:
        """The distance (N,) from each picture to the nearest other one of this group."""
        return self._apart.min(1)

    def pairs(self, most: int = CLOSEST) -> list[tuple[int, int, float]]:
        """The pairs that are nearest to each other, as (index, index, distance); no picture is in
        two of them, so that one of which there are many does not take all places."""
        found: list[tuple[int, int, float]] = []
        taken: set[int] = set()
        order = np.argsort(self._apart, axis=None, kind="stable")
        for a, b in zip(*np.unravel_index(order, self._apart.shape), strict=True):
            if len(found) == most or not np.isfinite(self._apart[a, b]):
                break
            if not taken & {a, b}:
                taken |= {a, b}
                found.append((int(a), int(b), float(self._apart[a, b])))
        return found

    @cached_property
    def _apart(self) -> np.ndarray:
        """Distances (N, N) of the group's pictures; infinite from each to itself."""
        x = torch.from_numpy(self.pictures.reshape(len(self.pictures), -1).astype(np.float32))
        apart = torch.cdist(x, x) / 127.5 / x.shape[1] ** 0.5
        return apart.fill_diagonal_(torch.inf).numpy()


@dataclass(frozen=True)
class Map:
    """Places (N_i, 2) of each group's pictures on one plane. shown: the share of the variance that
    it shows. of: what was mapped, in words."""

    places: list[np.ndarray]
    shown: float
    of: str


@dataclass(frozen=True, eq=False)
class Diversity:
    """The groups of one class: real, gan, diffusion; those that there are."""

    data: str
    label: int
    groups: tuple[Group, ...]

    @cached_property
    def map(self) -> Map:
        """All groups on one plane: the first two principal components of what the network that
        reads this data sees; of the pixels where there is none."""
        try:
            reader = load_reader(self.data)
        except GendiffError:  # of data from elsewhere; the map says what it shows
            places, shown = project([pixels(one.pictures) for one in self.groups])
            return Map(places, shown, "pixels")
        read = [reader(from_uint8(one.pictures), paint=False).features for one in self.groups]
        places, shown = project([features.numpy() for features in read])
        return Map(places, shown, f"features of {reader.name}")

    def stale(self, studio: Studio) -> list[str]:
        """The kinds whose weights have changed since, or are not here."""
        here = {card.sha256 for card in studio.cards() if card.data == self.data}
        return [one.kind for one in self.groups if one.sha256 and one.sha256 not in here]


def stored(data: str) -> Diversity | None:
    """What was made beforehand of a data set; None where there is nothing, or it is damaged."""
    return _stored(data) if data in bank.banks() else None


@lru_cache(maxsize=4)
def _stored(data: str) -> Diversity | None:
    try:
        with np.load(bank.FOLDER / f"{data}-class.npz", allow_pickle=False) as file:
            about = json.loads(str(file["about"]))
            names = ("pictures", "rms", "closest", "nearest")
            groups = tuple(
                Group(kind, *(file[f"{kind}_{name}"] for name in names), *about["kinds"][kind])
                for kind in KINDS
            )
            return Diversity(data, int(about["label"]), groups)
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None


def make(studio: Studio, data: str, label: int) -> Iterator[str | Diversity]:
    """The three groups, made now: lines that say how far it is, and then the result.

    Raises:
        GendiffError: no such data set or class.
    """
    cards = {card.family: card for card in reversed(studio.cards()) if card.data == data}
    if not cards:
        raise GendiffError(f"No checkpoint has learned {str(data)[:40]!r}.")
    count = len(next(iter(cards.values())).classes)
    label = whole("A class", label, 0, max(count - 1, 0))
    real, source = _real(studio, data, label)
    groups = [_group("real", data, real, source)] if len(real) else []
    for family in ("gan", "diffusion"):
        if family not in cards:
            continue
        model = studio.model(cards[family].name)
        own = label if model.classes else None
        parts = []
        for first in range(0, SEEDS, BATCH):
            yield f"{family}: pictures {first + 1} to {first + BATCH} of {SEEDS}"
            parts.append(bank.samples(model, range(first, first + BATCH), own)[0])
        way = "" if family == "gan" else f", {SAMPLER}, {STEPS} steps"
        yield "Searching the training set …"
        made = f"{model.card.name}{way}"
        groups.append(_group(family, data, np.concatenate(parts), made, model.card.sha256))
    yield Diversity(data, label, tuple(groups))


def _real(studio: Studio, data: str, label: int) -> tuple[np.ndarray, str]:
    """Test pictures of the class: of the data set where it is installed, else the bundled ones."""
    try:
        test = open_data(data, "test")
        found = torch.nonzero(test.labels == label).flatten()[:SEEDS]
        return to_uint8(test.batch(found)[0]), "the test split"
    except GendiffError:
        pass
    try:
        real = studio.real(data)
    except GendiffError:
        return np.zeros((0,)), ""
    return real.pictures[real.labels == label][:SEEDS], "bundled test pictures"


@lru_cache(maxsize=4)
def recognized(studio: Studio, data: str) -> tuple[dict[str, float], int]:
    """What real pictures reach where a family's class coverage is counted: of each class the share
    of the bundled test pictures that is read as it, and how many pictures that is in all. Empty
    where there are none, or no network that reads them."""
    try:
        real, reader = studio.real(data), load_reader(data)
    except GendiffError:
        return {}, 0
    names = next((card.classes for card in studio.cards() if card.data == data), ())
    kinds = reader(from_uint8(real.pictures), paint=False).kinds
    read = kinds["body" if "body" in kinds else "label"].numpy()
    there = [(label, real.labels == label) for label in range(len(names))]
    shares = {
        names[label]: float((read[own] == label).mean()) for label, own in there if own.any()
    }
    return shares, len(read)


def _group(kind: str, data: str, pictures: np.ndarray, source: str, sha256: str = "") -> Group:
    try:
        near, rms = nearest(data, pictures)
    except GendiffError:  # the data set is not installed: nothing can be said about copies
        return Group(kind, pictures, None, np.zeros(0, int), pictures[:0], source, sha256)
    closest = np.argsort(rms)[:CLOSEST]
    return Group(kind, pictures, rms, closest, near[closest], source, sha256)


def project(groups: Sequence[np.ndarray]) -> tuple[list[np.ndarray], float]:
    """Features (N_i, D) of several groups -> their places (N_i, 2) on one map, and the share of
    the variance that it shows: the first two principal components of all of them together."""
    x = np.concatenate(groups).astype(np.float64)
    x = x - x.mean(0)
    _, sizes, axes = np.linalg.svd(x, full_matrices=False)
    flat = x @ axes[:2].T
    shown = float((sizes[:2] ** 2).sum() / max((sizes**2).sum(), 1e-12))
    return np.split(flat, np.cumsum([len(group) for group in groups])[:-1]), shown


def pixels(pictures: np.ndarray) -> np.ndarray:
    """Pictures as features (N, H W C) in [-1, 1]."""
    return pictures.reshape(len(pictures), -1) / 127.5 - 1


def write(made: Diversity) -> str:
    """Keep it beside the banks, atomically."""
    about = {
        "label": made.label,
        "kinds": {one.kind: [one.source, one.sha256] for one in made.groups},
    }
    arrays = {
        f"{one.kind}_{name}": getattr(one, name)
        for one in made.groups
        for name in ("pictures", "rms", "closest", "nearest")
    }
    path = bank.FOLDER / f"{made.data}-class.npz"
    partial = path.with_suffix(".partial")
    bank.FOLDER.mkdir(parents=True, exist_ok=True)
    with partial.open("wb") as file:
        np.savez_compressed(file, about=np.array(json.dumps(about)), **arrays)
    os.replace(partial, path)
    _stored.cache_clear()
    return f"{path}: {path.stat().st_size:,} bytes"


def main(names: Sequence[str]) -> None:
    """Make the stored class of these data sets again; none named: of all."""
    studio = Studio()
    for data in names or DEFAULT:
        try:
            *_, made = make(studio, data, DEFAULT.get(data, 0))
        except GendiffError as error:
            raise SystemExit(str(error)) from error
        if any(one.rms is None for one in made.groups):
            raise SystemExit(f"The data set {data} is not installed: nothing was written.")
        print(write(made))


if __name__ == "__main__":
    main(sys.argv[1:])
