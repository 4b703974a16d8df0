"""Mixtures of Gaussians in two dimensions: distributions whose density is known exactly."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from gendiff.errors import GendiffError
from gendiff.sources import SOURCES, DataSet, hashed

_STREAMS = {"train": 1, "test": 2, "heldout": 2}  # random streams
_POINTS = {"train": 60_000, "test": 10_000, "heldout": 10_000}


@dataclass(frozen=True, eq=False)
class Mixture:
    """Equally likely Gaussians: p(x) = mean over k of N(x; centres_k, std^2 I); centres (K, 2)."""

    centres: Tensor
    std: float

    def log_density(self, x: Tensor) -> Tensor:
        """Exact log p(x) in nats: (..., 2) -> (...)."""
        centres = self.centres.to(x)
        square = (x[..., None, :] - centres).square().sum(-1) / self.std**2
        norm = math.log(2 * math.pi * self.std**2) + math.log(len(centres))
        return torch.logsumexp(-square / 2, dim=-1) - norm

    def sample(self, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Points (count, 2) and their modes (count,), drawn from `generator` on its device."""
        where = {"generator": generator, "device": generator.device}
        modes = torch.randint(len(self.centres), (count,), **where)
        centres = self.centres.to(generator.device)
        return centres[modes] + self.std * torch.randn(count, 2, **where), modes


def mixture(name: str) -> Mixture:
    """The exact distribution of "ring" or "grid".

    They are the usual tests of mode collapse (Metz et al. 2017, arXiv:1611.02163; Srivastava et
    al. 2017, arXiv:1705.07761), scaled to reach 0.7. With std 0.03 even the farthest point that
    53-bit uniform numbers can give (8.6 std) lies in [-1, 1].
    """
    if name == "ring":
        angle = torch.arange(8) * (math.pi / 4)
        return Mixture(0.7 * torch.stack([angle.cos(), angle.sin()], dim=1), std=0.03)
    if name == "grid":
        axis = torch.arange(-2, 3) * 0.35
        return Mixture(torch.cartesian_prod(axis, axis), std=0.03)
    raise GendiffError(f"There is no mixture {name!r}; choose 'ring' or 'grid'.")


def open_points(name: str, split: str, limit: int | None) -> DataSet:
    law, stream, count = (
        mixture(name),
        4 * _STREAMS[split],
        min(limit or _POINTS[split], _POINTS[split]),
    )

    def uniform(i: Tensor, s: int) -> np.ndarray:
        """53-bit uniform numbers in (0, 1], a function of the index and the stream."""
        return ((hashed(i.numpy(), stream + s) >> np.uint64(11)) + np.uint64(1)).astype(
            np.float64
        ) / 2**53

    labels = torch.from_numpy(
        np.ceil(uniform(torch.arange(count), 0) * len(law.centres)).astype(np.int64) - 1
    )

    def items(i: Tensor) -> Tensor:
        # Box and Muller (1958): two uniform numbers make two independent normal ones.
        radius, angle = np.sqrt(-2 * np.log(uniform(i, 1))), 2 * np.pi * uniform(i, 2)
        z = np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)
        return law.centres[labels[i]] + law.std * torch.from_numpy(z).float()

    return DataSet(SOURCES[name], split, labels, items)
