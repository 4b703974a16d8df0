"""ZeroGPU: a Hugging Face Space that has no GPU of its own borrows one for each run.

There (SPACES_ZERO_GPU is set, the `spaces` package is installed) a function is lent a GPU for as
many seconds as it asks for, in a process that was forked off when the page was already served:
arguments and results travel by pickle, and what the function remembers is lost. Anywhere else
nothing here does anything, and `spaces` is not even imported.
"""

from __future__ import annotations

import functools
import importlib
import inspect
import math
import os
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any, TypeVar

from gendiff.cards import Card

F = TypeVar("F", bound=Callable[..., Any])
MOST = 120  # seconds: all that a visitor without an account has in a day
START = 10.0  # seconds until the process has its GPU, the kernels, and the first call behind it
MARGIN = 1.5  # a run that outlives its time is cut off; one that ends earlier gives the rest back
CALL = 0.05  # seconds of one network call, 16 pictures of 32 x 32: generous; the runs correct it
_BATCH, _PIXELS = 16, 32 * 32
_REMEMBERED = 8  # runs


@functools.cache
def attached() -> Any:
    """The `spaces` package where this is a Space with ZeroGPU, else None.

    The first call must come before anything looks for a CUDA device: from then on there is one to
    see, for weights to be put on; it can compute only in functions that were lent it.
    """
    if os.environ.get("SPACES_ZERO_GPU", "").lower() not in ("1", "t", "true"):
        return None
    try:
        return importlib.import_module("spaces")
    except ModuleNotFoundError:
        return None


def seconds(card: Card, calls: int, pictures: int) -> float:
    """A first guess of what so many network calls for so many pictures each cost on a GPU."""
    size = max(1.0, math.prod(card.shape[1:]) / _PIXELS)
    return CALL * calls * math.ceil(pictures / _BATCH) * size


def on_gpu(task: F, estimate: Callable[..., float]) -> F:
    """The function, or generator, with a GPU on ZeroGPU; elsewhere the very same one.

    estimate: seconds, from the same arguments; what it raises is raised before a GPU is asked for.
    How long the runs with the same first argument, the model, really took corrects it.
    """
    spaces = attached()
    if spaces is None:
        return task
    cost, many = Cost(), inspect.isgeneratorfunction(task)

    @functools.wraps(task)
    def timed(*args: Any) -> Iterator[Any]:
        start = time.monotonic()
        if many:
            yield from task(*args)
        else:
            yield task(*args)
        yield _Took(time.monotonic() - start)  # told, not remembered: this process is not ours

    lent = spaces.GPU(timed, duration=lambda *args: cost.duration(args[0], estimate(*args)))

    @functools.wraps(task)
    def stream(*given: Any, **named: Any) -> Iterator[Any]:
        bound = inspect.signature(task).bind(*given, **named)  # gradio's cache names arguments
        bound.apply_defaults()
        args = bound.args
        with closing(lent(*args)) as items:
            for item in items:
                if isinstance(item, _Took):
                    cost.learn(args[0], estimate(*args), item)
                else:
                    yield item

    @functools.wraps(task)
    def call(*given: Any, **named: Any) -> Any:
        (result,) = stream(*given, **named)
        return result

    return stream if many else call  # type: ignore[return-value]


class Cost:
    """How far the runs of each model were from their estimates."""

    def __init__(self) -> None:
        self._ratios: dict[Any, deque[float]] = {}

    def learn(self, model: Any, estimate: float, took: float) -> None:
        """Seconds of a run; START on both sides, because a short run says little about a long."""
        ratios = self._ratios.setdefault(model, deque(maxlen=_REMEMBERED))
        ratios.append((START + took) / (START + estimate))

    def duration(self, model: Any, estimate: float) -> int:
        """Seconds to ask for: by the slowest of the last runs, or by the estimate alone."""
        ratio = max(self._ratios.get(model, [1.0]))
        return min(MOST, math.ceil(START + MARGIN * ratio * estimate))


class _Took(float):
    """The last item of a run: its seconds."""
