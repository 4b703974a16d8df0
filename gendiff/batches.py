"""Work on many items in batches that shrink when the device's memory is full."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from gendiff.errors import GendiffError

BATCH = 64


@contextmanager
def fitting(pictures: int) -> Iterator[None]:
    """Inside, running out of device memory is a GendiffError that says what to do about it."""
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise GendiffError(
            f"The device lacks the memory for {pictures} pictures at once; ask for fewer."
        ) from error


def in_batches(
    work: Callable[[Tensor, Tensor | None], Tensor],
    inputs: Tensor,
    labels: Tensor | None,
    batch: int = BATCH,
) -> Tensor:
    """work(inputs, labels) for (N, ...) inputs, at most `batch` at once, results joined.

    When the device runs out of memory the batch is halved and tried again.

    Raises:
        GendiffError: not even one item fits.
    """
    results: list[Tensor] = []
    start = 0
    while start < len(inputs):
        part = slice(start, start + batch)
        try:
            results.append(work(inputs[part], None if labels is None else labels[part]))
        except torch.OutOfMemoryError as error:
            if batch == 1:
                raise GendiffError(
                    "The device has too little free memory for even one picture."
                ) from error
            batch //= 2
            continue
        start += batch
    return torch.cat(results)
