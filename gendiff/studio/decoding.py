"""The pictures along a walk or a grid, from both of its models.

The GAN's generator needs one network call for a picture, deterministic DDIM (Song et al. 2021,
arXiv:2010.02502, section 4.2) as many as it has steps, and so comes batch by batch.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from gendiff.batches import in_batches
from gendiff.clock import now, timed
from gendiff.errors import GendiffError
from gendiff.images import to_uint8
from gendiff.studio.walk import Pair

_BATCH = {"cpu": 8, "cuda": 64}  # on a CPU larger batches gain nothing and the first picture waits


@dataclass(frozen=True)
class Progress:
    """What a model has done with items first..first + count - 1.

    call: network calls of this batch so far. pictures: (count, H, W, C) uint8 once they are made,
    else None. seconds: of work on all batches so far.
    """

    first: int
    count: int
    call: int
    pictures: np.ndarray | None = None
    seconds: float = 0.0


def gan_pictures(pair: Pair) -> Progress:
    """All of the GAN's pictures at once."""
    model, z = pair.gan.model, pair.gan.latents
    start = now(model.device)
    pictures = to_uint8(in_batches(model.decode, z, _expanded(pair.gan.label, len(z))))
    return Progress(0, len(z), 1, pictures, now(model.device) - start)


def noise_pictures(pair: Pair) -> np.ndarray:
    """Where the diffusion model starts: x_T as pictures (N, H, W, C) uint8, cut off at [-1, 1]."""
    return to_uint8(pair.diffusion.latents)


def diffusion_pictures(pair: Pair, batch: int | None = None) -> Iterator[Progress]:
    """The diffusion model's pictures, batch by batch, with a sign of life after each network call.

    What it makes is `Diffusion.decode`'s. Closing the iterator stops after the call that runs.

    Raises:
        GendiffError: the device's memory is too small for one picture.
    """
    model = pair.diffusion.model
    batch = batch or batch_size(pair)
    if model.device.type == "cuda":  # the first call compiles and chooses kernels: it is not timed
        next(_one_batch(pair, 0, pair.diffusion.latents[:batch]))
    for progress, seconds in timed(_batches(pair, batch), model.device):
        yield replace(progress, seconds=seconds)


def batch_size(pair: Pair) -> int:
    """How many pictures the diffusion model makes at once where it is."""
    return _BATCH.get(pair.diffusion.model.device.type, 8)


def _batches(pair: Pair, batch: int) -> Iterator[Progress]:
    x_T, first = pair.diffusion.latents, 0
    while first < len(x_T):
        try:
            yield from _one_batch(pair, first, x_T[first : first + batch])
        except torch.OutOfMemoryError as error:
            if batch == 1:
                raise GendiffError(
                    "The device has too little free memory for one picture."
                ) from error
            batch //= 2
            continue
        first += batch


def _one_batch(pair: Pair, first: int, x_T: Tensor) -> Iterator[Progress]:
    """DDIM with eta 0 on a batch; its seeds do nothing, as nothing is drawn after x_T."""
    count, model = len(x_T), pair.diffusion.model
    labels = _expanded(pair.diffusion.label, count)
    for step in model.trajectory(range(count), steps=pair.steps, labels=labels, x_T=x_T):
        done = step.index == step.total - 1
        yield Progress(first, count, step.nfe, to_uint8(step.x_s) if done else None)


def _expanded(label: Tensor | None, count: int) -> Tensor | None:
    return None if label is None else label.expand(count)
