"""What a data set is: whose work, under which licence, how to get it, how its items are asked."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import numpy as np
import torch
from torch import Tensor

from gendiff.errors import GendiffError

SPLITS = ("train", "test", "heldout")


@dataclass(frozen=True)
class Source:
    """What a data set is, whose work it is, and how to get it.

    `shape` is (C, H, W) of a picture or (2,) of a point; `install` is the command that fetches
    the data.
    """

    name: str
    title: str
    shape: tuple[int, ...]
    classes: tuple[str, ...]
    licence: str = "none needed"
    credit: str = "computed"
    source: str = "computed"
    install: str = "nothing to install"

    def credited(self) -> str:
        """Whose work it is, in one paragraph of Markdown, for the app and the README alike."""
        rest = self.credit.removeprefix(self.title)  # the name is not said twice
        licence = "" if self.licence in rest else f" Licence: {self.licence}."
        link = "" if self.source in self.credit else f" [Source]({self.source})."
        joint = ": " if rest == self.credit else ""
        return (
            f"**{self.title}**{joint}{rest}.{licence}{link} The weights trained on it carry the "
            "same licence."
        )


FASHION = Source(
    name="fashion",
    title="Fashion-MNIST",
    shape=(1, 32, 32),
    classes=(
        *("T-shirt", "trousers", "pullover", "dress", "coat"),
        *("sandal", "shirt", "sneaker", "bag", "ankle boot"),
    ),
    licence="MIT",
    credit="Fashion-MNIST (Xiao, Rasul and Vollgraf 2017, arXiv:1708.07747), (c) Zalando SE",
    source="https://github.com/zalandoresearch/fashion-mnist",
    install="apt install dataset-fashion-mnist",
)
CATS = Source(
    name="cats",
    title="Cartoon cats",
    shape=(3, 64, 64),
    classes=(
        *("maroon", "lime", "charcoal", "lilac", "red", "sand", "pink", "brown"),
        *("blue", "yellow", "mustard", "grey", "caramel", "cream", "ginger"),
    ),
    licence="CC BY 4.0",
    credit="Cat artwork by David Revoy (www.davidrevoy.com), CC BY 4.0; shrunk and recombined",
    source="https://www.peppercarrot.com/extras/html/2016_cat-generator/",
    install="pip install robohash==2.0",
)
RING = Source(
    name="ring",
    title="Eight Gaussians on a ring",
    shape=(2,),
    classes=tuple(f"{45 * k}°" for k in range(8)),
)
GRID = Source(
    name="grid",
    title="Twenty-five Gaussians on a grid",
    shape=(2,),
    classes=tuple(f"({i}, {j})" for i in range(-2, 3) for j in range(-2, 3)),
)
SOURCES: Mapping[str, Source] = MappingProxyType({s.name: s for s in (FASHION, CATS, RING, GRID)})


@dataclass(frozen=True, eq=False)
class DataSet:
    """`len(data)` items, made on demand; `labels`, int64 (N,), point into `source.classes`."""

    source: Source
    split: str
    labels: Tensor
    items: Callable[[Tensor], Tensor]  # int64 indices (B,) on the CPU -> float32 in [-1, 1]
    codes: Callable[[Tensor], Tensor] | None = None  # cats: indices (B,) -> (B, 6)

    def __len__(self) -> int:
        return len(self.labels)

    def batch(self, indices: Tensor) -> tuple[Tensor, Tensor]:
        """Items x (B, *source.shape) in [-1, 1] and labels (B,), on the device of `indices` (B,).

        Raises GendiffError if an index is not in 0..len(self) - 1.
        """
        i = self._checked(indices)
        return self.items(i).to(indices.device), self.labels[i].to(indices.device)

    def attributes(self, indices: Tensor) -> Tensor:
        """Body, fur, eyes, mouth, accessory and background (B, 6) of cats; else GendiffError."""
        if self.codes is None:
            raise GendiffError(
                f"{self.source.title} has no attributes; only the data set 'cats' has."
            )
        return self.codes(self._checked(indices)).to(indices.device)

    def _checked(self, indices: Tensor) -> Tensor:
        i = indices.to("cpu", torch.int64)
        if i.ndim != 1 or (i.numel() and not 0 <= int(i.min()) <= int(i.max()) < len(self)):
            raise GendiffError(
                f"Indices into {self.source.name} must be 1-D, in 0..{len(self) - 1}."
            )
        return i


def hashed(x: np.ndarray, stream: int = 0) -> np.ndarray:
    """64 well mixed bits per integer, uint64 of the shape of x.

    SplitMix64: Steele, Lea and Flood (2014), doi:10.1145/2660193.2660195, figure 16.
    """
    golden = 0x9E3779B97F4A7C15
    # The offset is reduced in Python: numpy wraps arrays silently, but warns about scalars.
    z = x.astype(np.uint64) * np.uint64(golden) + np.uint64(
        (stream * 0xD1342543DE82EF95 + golden) % 2**64
    )
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def cache_folder() -> Path:
    """Where what is made or downloaded once is kept."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "gendiff"
