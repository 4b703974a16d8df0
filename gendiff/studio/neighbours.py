"""The nearest training picture of a picture: has the network copied?

Distances are RMS differences of pixels in [-1, 1]. For Fashion-MNIST all 60,000 training pictures
are compared. The cats' training set has 1.9 million: there the parts are searched one after the
other, from the nearest of some random cats on, so what is found is near but not proved nearest.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from gendiff.data import (
    BACKGROUNDS,
    PARTS,
    cat_picture,
    combination_index,
    is_held_out,
    open_data,
)
from gendiff.errors import GendiffError
from gendiff.images import from_uint8, to_uint8

STARTS = 4096  # random training cats from which the search starts
SWEEPS = 3
_CHUNK = 2048


def nearest(data: str, pictures: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The nearest training pictures found (N, H, W, C) uint8, and RMS distances (N,) to them.

    Raises:
        GendiffError: the data set is not installed, or has no pictures.
    """
    x = from_uint8(pictures)
    if data == "cats":
        found = _nearest_cats(x)
    elif data == "fashion":
        found = _nearest_of_all(data, x)
    else:
        raise GendiffError(f"There is no search for the nearest training picture of {data!r}.")
    return to_uint8(found), _rms(x, found).numpy()


def _rms(a: Tensor, b: Tensor) -> Tensor:
    return (a - b).square().flatten(1).mean(1).sqrt()


def _nearest_of_all(data: str, x: Tensor) -> Tensor:
    """The exact nearest of the whole training split, in chunks."""
    train = open_data(data, "train")
    flat = x.flatten(1)
    best = torch.full((len(x),), math.inf)
    index = torch.zeros(len(x), dtype=torch.int64)
    for start in range(0, len(train), _CHUNK):
        part = torch.arange(start, min(start + _CHUNK, len(train)))
        distance = torch.cdist(flat, train.batch(part)[0].flatten(1))
        least, where = distance.min(1)
        index = torch.where(least < best, where + start, index)
        best = torch.minimum(best, least)
    return train.batch(index)[0]


def _nearest_cats(x: Tensor) -> Tensor:
    """Coordinate descent over the five parts and the background, within the training set."""
    train = open_data("cats", "train")
    starts = torch.arange(STARTS)
    begun = torch.cdist(x.flatten(1), train.batch(starts)[0].flatten(1)).argmin(1)
    codes = train.attributes(begun)  # (N, 6)
    for _ in range(SWEEPS):
        before = codes.clone()
        for place, kinds in enumerate([*PARTS.values(), len(BACKGROUNDS)]):
            codes = _best_of(x, codes, place, kinds)
        if torch.equal(before, codes):
            break
    return cat_picture(codes[:, :5], codes[:, 5])


def _best_of(x: Tensor, codes: Tensor, place: int, kinds: int) -> Tensor:
    """For each picture, the value of one place that brings its cat nearest."""
    chosen = []
    for one, code in zip(x, codes, strict=True):
        tries = code.repeat(kinds, 1)
        tries[:, place] = torch.arange(kinds)
        tries = tries[~is_held_out(combination_index(tries[:, :5]))]
        distance = _rms(one[None], cat_picture(tries[:, :5], tries[:, 5]))
        chosen.append(tries[distance.argmin()])
    return torch.stack(chosen)
