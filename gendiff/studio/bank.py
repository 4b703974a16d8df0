"""Samples that were made beforehand, so that nobody waits for a quiz or a map.

A bank holds, for one data set, real test pictures and each family's samples, with their nearest
training pictures. It says which weights made them. `python -m gendiff.studio.bank [DATA ...]`
makes the banks again with the weights that are here now; it needs the data sets.
"""

from __future__ import annotations

import json
import os
import sys
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch

from gendiff.errors import GendiffError
from gendiff.images import to_uint8
from gendiff.noise import resolve_labels
from gendiff.studio.models import ASSETS, Studio
from gendiff.studio.neighbours import nearest
from gendiff.weights import Model

FOLDER = ASSETS / "banks"
KINDS = ("real", "gan", "diffusion")
COUNT = 60  # pictures of each kind
SAMPLER, STEPS = "dpmpp_2m", 20  # of the diffusion model
BATCH = 15
_FORMAT = 1
_DAMAGES = (OSError, ValueError, KeyError, EOFError, TypeError, zipfile.BadZipFile, zlib.error)


@dataclass(frozen=True, eq=False)
class Shelf:
    """Pictures of one kind (N, H, W, C) uint8.

    Attributes:
        labels: classes (N,), -1 where the model knows none. seeds: (N,); of real pictures their
            numbers on the bundled sheet. nearest: the nearest training pictures found, like
            `pictures`; rms: distances (N,) to them, pixels in [-1, 1].
        source: what made them: a checkpoint with its sampler, or the test split.
        sha256: of the checkpoint's weights; "" for real pictures.
    """

    kind: str
    pictures: np.ndarray
    labels: np.ndarray
    seeds: np.ndarray
    nearest: np.ndarray
    rms: np.ndarray
    source: str
    sha256: str

    def __len__(self) -> int:
        return len(self.pictures)


@dataclass(frozen=True, eq=False)
class Bank:
    """The shelves of a data set: kind -> pictures of that kind."""

    data: str
    shelves: dict[str, Shelf]

    def stale(self, studio: Studio) -> list[str]:
        """The kinds whose weights have changed since, or are not here."""
        here = {card.sha256 for card in studio.cards() if card.data == self.data}
        return [s.kind for s in self.shelves.values() if s.sha256 and s.sha256 not in here]


def banks() -> list[str]:
    """The data sets that have a bank."""
    return sorted(path.stem for path in FOLDER.glob("*.npz") if path.stem.isidentifier())


@lru_cache(maxsize=8)
def read(data: str) -> Bank:
    """A data set's bank; GendiffError where there is none, or a damaged one."""
    path = FOLDER / f"{data}.npz"
    if data not in banks():
        raise GendiffError(f"No samples of {str(data)[:40]!r} were made beforehand.")
    try:
        with np.load(path, allow_pickle=False) as file:
            about = json.loads(str(file["about"]))
            if about["format"] != _FORMAT:
                raise ValueError("another format")
            arrays = ("pictures", "labels", "seeds", "nearest", "rms")
            shelves = {
                kind: Shelf(
                    kind, *(file[f"{kind}_{name}"] for name in arrays), *about["kinds"][kind]
                )
                for kind in KINDS
            }
    except _DAMAGES as error:
        raise GendiffError(
            f"The samples in {path.name} are damaged; run python -m gendiff.studio.bank {data}."
        ) from error
    return Bank(data, shelves)


def make(studio: Studio, data: str, count: int = COUNT) -> Bank:
    """Sample both families and search the neighbours: minutes, for the person who trains."""
    cards = {card.family: card for card in reversed(studio.cards()) if card.data == data}
    if not {"gan", "diffusion"} <= cards.keys():
        raise GendiffError(f"A bank needs a GAN and a diffusion model of {data!r}.")
    real = studio.real(data)
    chosen = np.random.default_rng(0).permutation(len(real.pictures))[:count]
    shelves = {
        "real": _shelf("real", data, real.pictures[chosen], real.labels[chosen], chosen, "test")
    }
    for family in ("gan", "diffusion"):
        model, seeds = studio.model(cards[family].name), list(range(count))
        pictures, labels = samples(model, seeds)
        way = "" if family == "gan" else f", {SAMPLER}, {STEPS} steps"
        shelves[family] = _shelf(
            family,
            data,
            pictures,
            labels,
            np.array(seeds),
            f"{model.card.name}{way}",
            model.card.sha256,
        )
    return Bank(data, shelves)


def samples(
    model: Model, seeds: Sequence[int], label: int | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Pictures (N, H, W, C) uint8 and their classes (N,), as the banks hold them."""
    labels = resolve_labels(label, seeds, model.classes, model.device)
    options = {"sampler": SAMPLER, "steps": STEPS} if model.card.family == "diffusion" else {}
    parts = []
    for part in torch.arange(len(seeds)).split(BATCH):
        own = None if labels is None else labels[part]
        parts.append(to_uint8(model.sample([seeds[i] for i in part], labels=own, **options)))
    known = np.full(len(seeds), -1) if labels is None else labels.cpu().numpy()
    return np.concatenate(parts), known


def write(bank: Bank) -> Path:
    """Keep a bank, atomically."""
    about = {
        "format": _FORMAT,
        "kinds": {kind: [shelf.source, shelf.sha256] for kind, shelf in bank.shelves.items()},
    }
    arrays = {
        f"{kind}_{name}": getattr(shelf, name)
        for kind, shelf in bank.shelves.items()
        for name in ("pictures", "labels", "seeds", "nearest", "rms")
    }
    FOLDER.mkdir(parents=True, exist_ok=True)
    path, partial = FOLDER / f"{bank.data}.npz", FOLDER / f"{bank.data}.partial"
    with partial.open("wb") as file:
        np.savez_compressed(file, about=np.array(json.dumps(about)), **arrays)
    os.replace(partial, path)
    read.cache_clear()
    return path


def _shelf(
    kind: str,
    data: str,
    pictures: np.ndarray,
    labels: np.ndarray,
    seeds: np.ndarray,
    source: str,
    sha256: str = "",
) -> Shelf:
    near, rms = nearest(data, pictures)
    small = {"labels": labels.astype(np.int16), "seeds": seeds.astype(np.int32)}
    return Shelf(kind, pictures, *small.values(), near, rms.astype(np.float32), source, sha256)


def main(names: Sequence[str]) -> None:
    """Make the banks of these data sets; none named: of all that have both families."""
    studio = Studio()
    sets = {card.data for card in studio.cards("gan")}
    sets &= {card.data for card in studio.cards("diffusion")}
    for data in names or sorted(sets):
        try:
            path = write(make(studio, data))
        except GendiffError as error:
            raise SystemExit(str(error)) from error
        print(f"{path}: {path.stat().st_size:,} bytes")


if __name__ == "__main__":
    main(sys.argv[1:])
