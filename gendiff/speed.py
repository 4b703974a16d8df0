"""How many pictures a second a way of sampling makes, told by its fastest rounds.

Every network call of a way costs the same, so a few calls tell what complete pictures take. A
pause or a busy neighbour only ever adds time: of several rounds the fastest tells what the way
costs, and the median beside it tells how much the machine was disturbed.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping
from contextlib import closing
from itertools import islice

import torch

from gendiff import clock
from gendiff.machine import describe
from gendiff.results import Speed
from gendiff.weights import Model

BATCH = 16
ROUNDS, SECONDS = 5, 1.0  # at least so many rounds, and at least so long in all
STEPS = 4  # of a round, at most


def measure(model: Model, nfe: int, options: Mapping[str, object]) -> tuple[float, Speed]:
    """Complete pictures a second, and how that was timed; a few seconds of work.

    nfe: network calls for a picture. options: of the model's `trajectory`; {} for a GAN.
    """
    _call(model, options)  # the first round also builds kernels and caches
    calls: list[float] = []
    start = clock.now()
    while len(calls) < ROUNDS or clock.now() - start < SECONDS:
        calls.append(_call(model, options))
    speeds = [BATCH / (nfe * seconds) for seconds in calls]
    return max(speeds), Speed(
        batch=BATCH,
        rounds=len(calls),
        median=statistics.median(speeds),
        threads=torch.get_num_threads(),
        machine=describe(model.device),
    )


def _call(model: Model, options: Mapping[str, object]) -> float:
    """Seconds of a network call of BATCH pictures with all that belongs to it: a round's mean."""
    with closing(clock.timed(_calls(model, options), model.device)) as run:
        for nfe, seconds in islice(run, STEPS):
            last = seconds / nfe
    return last


def _calls(model: Model, options: Mapping[str, object]) -> Iterator[int]:
    """Network calls so far, after each step of a run; of a GAN the one."""
    labels = [seed % model.classes for seed in range(BATCH)] if model.classes else None
    if not options:
        model.sample(range(BATCH), labels=labels)
        yield 1
        return
    with closing(model.trajectory(range(BATCH), labels=labels, **options)) as run:
        for step in run:
            yield step.nfe
