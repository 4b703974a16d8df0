"""How a checkpoint learned: pictures of the same seeds along its training, and its losses.

A checkpoint folder may hold

    milestones.webp   a row of pictures for each milestone, lossless; the seeds side by side
    learning.json     which milestones, which seeds and classes, and the losses

They are made from a training run's folder, see `gendiff.fit`; what was measured at each milestone
is in metrics.json (`gendiff.results.Learned`).
"""

from __future__ import annotations

import io
import json
import os
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from gendiff.cards import Card
from gendiff.errors import GendiffError
from gendiff.images import tile, to_pil, untile
from gendiff.results import write_json

PICTURES, INDEX = "milestones.webp", "learning.json"
FORMAT = 1
MILESTONES_MAX = 12
POINTS_MAX = 200  # of a loss curve


@dataclass(frozen=True)
class Learning:
    """A training run in pictures and curves.

    Attributes:
        model: whose. images: seen at each of M milestones.
        pictures: (M, N, H, W, C) uint8. seeds, labels: of the N pictures.
        how: how they were sampled, in words.
        losses: "images" and the name of each loss -> equally many numbers.
    """

    model: str
    images: tuple[int, ...]
    pictures: np.ndarray
    seeds: tuple[int, ...]
    labels: tuple[int, ...]
    how: str
    losses: Mapping[str, Sequence[float]]

    def write(self, folder: Path) -> None:
        """Write both files, each whole or not at all; GendiffError if that cannot be."""
        rows, count, height, width, channels = self.pictures.shape
        flat = self.pictures.reshape(rows * count, height, width, channels)
        buffer = io.BytesIO()
        sheet = to_pil(tile(flat, columns=count))
        sheet.convert("RGB").save(buffer, "WEBP", lossless=True, quality=80, method=4)
        partial = folder / f"{PICTURES}.partial"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            partial.write_bytes(buffer.getvalue())
            os.replace(partial, folder / PICTURES)
        except OSError as error:
            with suppress(OSError):
                partial.unlink()
            raise GendiffError(
                f"{folder / PICTURES} cannot be written ({error}); is the disk full?"
            ) from error
        index = {
            "format": FORMAT,
            "model": self.model,
            "size": [height, width, channels],
            "seeds": self.seeds,
            "labels": self.labels,
            "how": self.how,
            "milestones": [{"images": images} for images in self.images],
            "losses": {name: _short(values) for name, values in self.losses.items()},
        }
        write_json(index, folder / INDEX)


def _short(values: Sequence[float]) -> list[float]:
    """Five digits are more than a curve shows."""
    return [float(f"{value:.5g}") for value in values]


def read(folder: Path) -> Learning | None:
    """What a checkpoint folder tells of its training; None where it tells nothing.

    Raises:
        GendiffError: a file is missing or damaged, or the two do not fit.
    """
    if not (folder / INDEX).is_file():
        return None
    try:
        index = json.loads((folder / INDEX).read_text(encoding="utf-8"))
        height, width, channels = index["size"]
        images = tuple(one["images"] for one in index["milestones"])
        with Image.open(folder / PICTURES) as image:
            sheet = np.asarray(image.convert("L" if channels == 1 else "RGB"))
        shape = (len(images), len(index["seeds"]), height, width, channels)
        pictures = untile(sheet.reshape(*sheet.shape[:2], channels), height).reshape(shape)
        return Learning(
            model=index["model"],
            images=images,
            pictures=pictures,
            seeds=tuple(index["seeds"]),
            labels=tuple(index["labels"]),
            how=index["how"],
            losses=dict(index["losses"]),
        )
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise GendiffError(
            f"{folder / INDEX} or its pictures are damaged ({error}); get the checkpoint again."
        ) from error


def of_run(
    folder: Path, card: Card, images: int, history: Sequence[Mapping[str, Any]]
) -> Learning | None:
    """From a run's folder: its milestones' sheets and, last, what it gives now.

    At most twelve: where there are more, every so many are left out, never the first or the last.
    None where the folder holds no sheet.

    Args:
        card: of its checkpoint. images: seen so far.
        history: the run's losses, an entry for some images each.
    """
    channels, size, _ = card.shape
    found = {
        int(path.stem): path
        for path in (folder / "milestones").glob("*.png")
        if re.fullmatch(r"\d+", path.stem)
    }
    if (now := folder / "sheet.png").is_file():
        found[images] = now
    if not found:
        return None
    keep = _thinned(sorted(found))
    pictures = []
    for images in keep:
        with Image.open(found[images]) as image:
            sheet = np.asarray(image).reshape(image.height, image.width, channels)
        pictures.append(untile(sheet, size))
    count = len(pictures[0])
    return Learning(
        model=card.name,
        images=tuple(keep),
        pictures=np.stack(pictures),
        seeds=tuple(range(count)),
        labels=tuple(seed % max(len(card.classes), 1) for seed in range(count)),
        how="one call" if card.family == "gan" else "dpmpp_2m, 20 steps",
        losses=losses(history),
    )


def joined(before: Learning, later: Learning, start: int) -> Learning:
    """A run's learning after that of the checkpoint from which it began at `start` images.

    `later` alone where the two do not show the same seeds and classes in the same way.
    """
    same = ("model", "seeds", "labels", "how")
    alike = all(getattr(before, name) == getattr(later, name) for name in same)
    if not alike or before.pictures.shape[1:] != later.pictures.shape[1:]:
        return later
    found = {
        images: pictures
        for one, kept in ((before, lambda images: images <= start), (later, lambda images: True))
        for images, pictures in zip(one.images, one.pictures, strict=True)
        if kept(images)
    }
    keep = _thinned(sorted(found))
    begin = min(later.losses.get("images", ()), default=0)
    early = sum(images < begin for images in before.losses.get("images", ()))
    return replace(
        later,
        images=tuple(keep),
        pictures=np.stack([found[images] for images in keep]),
        losses={
            name: [*before.losses.get(name, ())[:early], *values]
            for name, values in later.losses.items()
        },
    )


def _thinned(milestones: Sequence[int]) -> list[int]:
    """At most twelve of them, evenly left out, never the first or the last."""
    count = min(len(milestones), MILESTONES_MAX)
    return [
        milestones[place]
        for place in np.linspace(0, len(milestones) - 1, count).round().astype(int)
    ]


def losses(history: Sequence[Mapping[str, Any]]) -> dict[str, list[float]]:
    """A run's history as curves of at most 200 points: means of neighbours, by their steps."""
    if not history:
        return {}
    names = [name for name in history[0] if name not in ("images", "steps")]
    groups = np.array_split(np.arange(len(history)), min(len(history), POINTS_MAX))
    curves: dict[str, list[float]] = {"images": [], **{name: [] for name in names}}
    for group in groups:
        entries = [history[k] for k in group]
        steps = [entry["steps"] for entry in entries]
        curves["images"].append(entries[-1]["images"])
        for name in names:
            curves[name].append(float(np.average([e[name] for e in entries], weights=steps)))
    return curves
