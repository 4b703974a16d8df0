"""Data sets: indices -> tensors in [-1, 1], with labels, licences and sources.

    data = open_data("cats", "train")
    x, labels = data.batch(torch.arange(64))        # (64, 3, 64, 64) in [-1, 1], (64,)

Every item is a function of its index alone: the same index gives the same item in any batch and
process. The cats (cats.py) and the two-dimensional mixtures (mixtures.py) are distributions that
are known exactly, so a model of them can be counted, not only scored.
"""

from __future__ import annotations

import gzip
import math
import os
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

from gendiff.cats import (
    BACKGROUNDS,
    COMBINATIONS,
    PARTS,
    cat_picture,
    combination,
    combination_index,
    is_held_out,
    open_cats,
    visible,
)
from gendiff.errors import GendiffError
from gendiff.mixtures import Mixture, mixture, open_points
from gendiff.sources import FASHION, SOURCES, SPLITS, DataSet, Source, cache_folder

__all__ = [
    "BACKGROUNDS",
    "COMBINATIONS",
    "PARTS",
    "SOURCES",
    "SPLITS",
    "DataSet",
    "Mixture",
    "Source",
    "cat_picture",
    "combination",
    "combination_index",
    "is_held_out",
    "mixture",
    "open_data",
    "visible",
]

_FASHION_FOLDER = Path("/usr/share/datasets/fashion-mnist")  # where Debian's package puts it


def open_data(name: str, split: str = "train", limit: int | None = None) -> DataSet:
    """The data set `name` ("fashion", "cats", "ring" or "grid").

    "heldout" and "test" are the same, what training never sees: for the cats a tenth of the
    combinations of parts. `limit` keeps the first items, a fair sample in every data set.

    Raises GendiffError on unknown names and on missing data, with the command that installs it.
    """
    if name not in SOURCES:
        raise GendiffError(f"There is no data set {name!r}; choose one of {', '.join(SOURCES)}.")
    if split not in SPLITS:
        raise GendiffError(f"There is no split {split!r}; choose one of {', '.join(SPLITS)}.")
    if limit is not None and limit < 1:
        raise GendiffError(f"A data set cannot be limited to {limit} items; ask for one or more.")
    if name == "fashion":
        return _fashion(split, limit)
    return open_cats(split, limit) if name == "cats" else open_points(name, split, limit)


def _fashion(split: str, limit: int | None) -> DataSet:
    named = os.environ.get("GENDIFF_DATA")
    folder = Path(named) if named else _FASHION_FOLDER
    if named or folder.is_dir():
        stem = "train" if split == "train" else "t10k"
        pixels = _read_idx(folder / f"{stem}-images-idx3-ubyte.gz", dimensions=3)
        labels = _read_idx(folder / f"{stem}-labels-idx1-ubyte.gz", dimensions=1)
    else:
        pixels, labels = _download_fashion(train=split == "train")
    # Two pixels of black on each side: 32 halves five times, 28 only twice.
    pixels = pad(pixels[:limit, None], (2, 2, 2, 2), value=0)
    return DataSet(FASHION, split, labels[:limit].long(), lambda i: pixels[i].float() / 127.5 - 1)


def _read_idx(path: Path, dimensions: int) -> Tensor:
    """A gzipped IDX file: bytes 0, 0, 8 (uint8), rank; big-endian int32 sizes; the values."""
    try:
        raw = gzip.decompress(path.read_bytes())
    except (OSError, EOFError) as error:
        raise GendiffError(f"Cannot read {path} ({error}); run: {FASHION.install}") from error
    head = 4 + 4 * dimensions
    sizes = np.frombuffer(raw[4:head], ">i4").tolist() if len(raw) >= head else []
    if raw[:4] != bytes((0, 0, 8, dimensions)) or len(raw) != head + math.prod(sizes):
        raise GendiffError(f"{path} is not the IDX file it should be; run: {FASHION.install}")
    values = np.frombuffer(raw, np.uint8, offset=head)
    return torch.from_numpy(values.copy()).reshape(sizes)


def _download_fashion(train: bool) -> tuple[Tensor, Tensor]:
    try:
        from torchvision.datasets import FashionMNIST

        data = FashionMNIST(cache_folder(), train=train, download=True)
    except (ImportError, OSError, RuntimeError) as error:
        # torchvision reports a dead network as either of the last two.
        raise GendiffError(
            f"Fashion-MNIST is not here and its download failed ({error}); run: {FASHION.install}"
        ) from error
    return data.data, data.targets
