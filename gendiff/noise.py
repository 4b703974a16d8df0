"""Seeds -> noise and classes. A picture depends on its seed, not on its batch, device or run.

Each image owns a CPU generator, seeded with that image's seed, and draws from it in turn; the
result moves to the device afterwards (CUDA's own generator would give other numbers). The idea is
Karras et al.'s (2022, arXiv:2206.00364) one-generator-per-seed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor

from gendiff.errors import GendiffError, whole

SEED_MAX = 2**32 - 1  # what fits every tool's seed box; torch itself would take 64 bits
_CLASS_STREAM = 0x5EED_C1A5  # keeps the class draw apart from the noise of the same seed


class Noise:
    """One stream of N(0, 1) numbers per seed.

    Args:
        seeds: whole numbers from 0 to 4,294,967,295, one per image.
        device: where the drawn tensors are put.
    """

    def __init__(self, seeds: Iterable[int], device: torch.device | str = "cpu") -> None:
        self.seeds = checked(seeds)
        self.device = torch.device(device)
        self._generators = [torch.Generator().manual_seed(seed) for seed in self.seeds]

    def randn(self, *shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
        """(len(seeds), *shape), each row the next numbers of its own stream. Drawn in float32."""
        rows = [torch.randn(shape, generator=generator) for generator in self._generators]
        return torch.stack(rows).to(self.device, dtype, non_blocking=True)

    def like(self, x: Tensor) -> Tensor:
        """The next draw, with the shape and dtype of x (B, ...)."""
        return self.randn(*x.shape[1:], dtype=x.dtype)


def classes(seeds: Iterable[int], count: int) -> Tensor:
    """A class for each seed, uniform in 0..count-1, int64 (B,): what "any class" means.

    Drawn from a stream of its own, so that naming the class that was drawn gives the same picture.
    """
    # xor, because a CPU generator takes no notice of bits above the lowest 32
    streams = (torch.Generator().manual_seed(seed ^ _CLASS_STREAM) for seed in checked(seeds))
    return torch.tensor([int(torch.randint(count, (), generator=stream)) for stream in streams])


def resolve_labels(
    labels: Any, seeds: Iterable[int], count: int, device: torch.device | str
) -> Tensor | None:
    """Classes (B,) int64 on the device: as given, one for all, or drawn from each seed.

    None for a model that knows no classes (count 0).

    Raises:
        GendiffError: a class that the model does not have, or not as many classes as seeds.
    """
    if count == 0:
        if labels is not None:
            raise GendiffError("This model knows no classes; leave labels out.")
        return None
    seeds = checked(seeds)
    if labels is None:
        return classes(seeds, count).to(device)
    try:
        chosen = torch.as_tensor(labels)
    except (TypeError, ValueError, RuntimeError, OverflowError):  # text, ragged lists, 10^30
        chosen = torch.tensor(-1)
    kind = chosen.dtype  # True is no class, though torch would take it for 1
    if kind.is_floating_point or kind.is_complex or kind == torch.bool or chosen.dim() > 1:
        chosen = torch.tensor(-1)
    if bool(((chosen < 0) | (chosen >= count)).any()):
        raise GendiffError(
            f"A class must be a whole number from 0 to {count - 1}; got {str(labels)[:40]}."
        )
    if chosen.dim() == 1 and len(chosen) != len(seeds):
        raise GendiffError(
            f"There are {len(seeds)} seeds but {len(chosen)} classes; give one, or one a seed."
        )
    return chosen.long().expand(len(seeds)).to(device)


def checked(seeds: Iterable[int]) -> list[int]:
    """The seeds as python ints; GendiffError if there is none or one is no number in range."""
    if not isinstance(seeds, Iterable) or isinstance(seeds, str):
        raise GendiffError("Seeds come as a list of whole numbers, like [7] or range(16).")
    seeds = [whole("A seed", seed, 0, SEED_MAX) for seed in seeds]
    if not seeds:
        raise GendiffError("Give at least one seed.")
    return seeds


def parse(text: str | int | Sequence[int], most: int = 64) -> list[int]:
    """Seeds as a person writes them: `7`, `0-63`, `1, 5, 9-12`.

    Raises:
        GendiffError: for text that is none of these, or more than `most` seeds.
    """
    if isinstance(text, Sequence) and not isinstance(text, str):
        text = ",".join(map(str, text))
    words = " ".join(str(text).split())  # one blank at most, or " *- *" takes quadratic time
    parts = re.split(r"[,; ]+", re.sub(r" ?- ?", "-", words.strip(" ,;[]()")))
    seeds: list[int] = []
    for part in parts:
        match = re.fullmatch(r"(\d{1,12})(?:-(\d{1,12}))?", part, re.ASCII)
        if match is None:
            raise GendiffError(
                f"Seeds are whole numbers from 0 to {SEED_MAX:,}, like 7, 0-63 or 1, 5, 9; "
                f"{part[:40]!r} is not."
            )
        first = int(match[1])
        last = int(match[2]) if match[2] else first
        if last < first:
            raise GendiffError(f"The range {part} runs backwards; write {last}-{first}.")
        if len(seeds) + last - first >= most:
            raise GendiffError(
                f"That is more than {most} seeds; ask for at most {most} pictures at once."
            )
        seeds.extend(range(first, last + 1))
    return checked(seeds)
