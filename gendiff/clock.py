"""Seconds of work, not of waiting.

A GPU answers before it has worked; a clock that does not wait for it measures nothing. A generator
that is read slowly is not slow. This clock runs only while something is being produced.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

import torch

T = TypeVar("T")


def now(device: torch.device | str = "cpu") -> float:
    """Seconds of a monotonic clock, read after the device has finished what it was given."""
    if torch.device(device).type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


def timed(items: Iterable[T], device: torch.device | str = "cpu") -> Iterator[tuple[T, float]]:
    """Each item with the seconds spent producing all items so far, without the consumer's time.

    Closing this iterator closes `items`.
    """
    iterator = iter(items)
    seconds = 0.0
    try:
        while True:
            start = now(device)
            try:
                item = next(iterator)
            except StopIteration:
                return
            seconds += now(device) - start
            yield item, seconds
    finally:
        close = getattr(iterator, "close", None)
        if close is not None:
            close()
