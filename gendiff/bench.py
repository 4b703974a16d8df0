"""How fast, how heavy and how exact the checkpoints are on this machine.

Every timing is work alone: loading and warm-up are left out, the device is synchronized, and the
conditions stand beside the numbers. Medians, because other programs disturb single steps.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from gendiff.clock import now, timed
from gendiff.device import pick_device
from gendiff.machine import peak_mb, reset_peak
from gendiff.sample import SAMPLERS
from gendiff.weights import Model, load, weights_file

BATCHES = (1, 16)
CALLS = 20  # network calls for one picture of a diffusion model, with dpmpp_2m
LOADS = 3
PSNR_MAX = 120.0  # dB; stands for pictures that are equal


@dataclass(frozen=True)
class Pace:
    """Speed at one batch size.

    Attributes:
        batch: pictures at once.
        ms_per_step: median over the run's steps; a GAN's run has one step.
        images_per_second: complete pictures. nfe: network calls for each of them.
    """

    batch: int
    ms_per_step: float
    images_per_second: float
    nfe: int


@dataclass(frozen=True)
class Measures:
    """What was measured of one checkpoint.

    Attributes:
        load_seconds: from the folder to a model that can sample; read_seconds: of its weights'
            bytes alone. Of processor time, the file in the system's cache, the best of 3.
        paces: one for each batch size.
        overhead: sampler -> share of a step at 16 pictures that is not the network; {} for a GAN.
        peak_mb: the most memory while loading and running, MiB; None where the system tells none.
    """

    name: str
    family: str
    shape: tuple[int, int, int]
    parameters: int
    load_seconds: float
    read_seconds: float
    paces: tuple[Pace, ...]
    overhead: Mapping[str, float]
    peak_mb: float | None


@dataclass(frozen=True)
class Precision:
    """bfloat16 against float32 at the same seeds: PSNR of the pictures, dB, peak to peak 2.

    The median and the worst of `images` pictures; seconds for all of them in each dtype.
    """

    name: str
    psnr_median: float
    psnr_lowest: float
    images: int
    nfe: int
    float32_seconds: float
    bfloat16_seconds: float


def warm_up(model: Model, batch: int, guidance: float = 1.0) -> None:
    """One call of the network: the first one at a batch size also builds kernels and caches."""
    if model.card.family == "gan":
        model.sample(range(batch))
    else:
        model.sample(range(batch), steps=1, guidance=guidance)


def measure(
    where: str, device: str | None = None, dtype: str | None = None, quick: bool = False
) -> Measures:
    """Load a checkpoint and measure it. quick: 5 steps or calls instead of 20."""
    reset_peak(pick_device(device))
    load_seconds, read_seconds = loading(where, device, dtype)
    model = load(where, device, dtype)
    calls = 5 if quick else CALLS
    paces = tuple(pace(model, batch, calls) for batch in BATCHES)
    gan = model.card.family == "gan"
    overhead = (
        {} if gan else {name: sampler_overhead(model, name, calls // 2 + 2) for name in SAMPLERS}
    )
    return Measures(
        name=model.card.name,
        family=model.card.family,
        shape=model.shape,
        parameters=sum(model.card.parameters.values()),
        load_seconds=load_seconds,
        read_seconds=read_seconds,
        paces=paces,
        overhead=overhead,
        peak_mb=peak_mb(model.device),
    )


def pace(model: Model, batch: int, calls: int) -> Pace:
    """Time `calls` steps of one run (diffusion, dpmpp_2m) or `calls` runs of one step (GAN)."""
    warm_up(model, batch)
    if model.card.family == "gan":
        seconds = []
        for _ in range(calls):
            start = now(model.device)
            model.sample(range(batch))
            seconds.append(now(model.device) - start)
        median = statistics.median(seconds)
        return Pace(batch, 1000 * median, batch / median, 1)
    steps = min(calls, model.schedule.T)
    run = model.trajectory(range(batch), sampler="dpmpp_2m", steps=steps)
    marks = [0.0, *(seconds for _, seconds in timed(run, model.device))]
    median = statistics.median(b - a for a, b in zip(marks, marks[1:], strict=False))
    return Pace(batch, 1000 * median, batch / marks[-1], steps)


def loading(
    where: str, device: str | None = None, dtype: str | None = None
) -> tuple[float, float]:
    """Seconds to load a model, and to read its weights' bytes alone: see `Measures`."""
    path = weights_file(where)
    load(where, device, dtype)  # what is imported and built once, and the system's cache

    def best(work: Callable[[], object]) -> float:
        seconds = []
        for _ in range(LOADS):
            start = time.process_time()
            work()
            seconds.append(time.process_time() - start)
        return min(seconds)

    return best(lambda: load(where, device, dtype)), best(path.read_bytes)


def sampler_overhead(model: Model, sampler: str, steps: int, batch: int = 16) -> float:
    """The median share of a step's time that its network calls do not take, 0 to 1.

    Whole steps and the calls inside them are timed in the same run, so that what else the machine
    does weighs on both; the first step is the warm-up. "The network" is what the denoiser calls.
    On a GPU this is an upper bound: the clock waits for the device at each end of a call.
    """
    # eta makes ddim draw noise, too: its dearer form.
    run = model.trajectory(
        range(batch), sampler=sampler, steps=min(steps, model.schedule.T), eta=1.0
    )
    shares, before = [], 0.0
    with network_clock(model.denoiser.net, model.device) as calls:
        for _, seconds in timed(run, model.device):
            shares.append(1 - sum(calls) / (seconds - before))
            calls.clear()
            before = seconds
    return statistics.median(shares[1:] or shares)


@contextmanager
def network_clock(net: nn.Module, device: torch.device) -> Iterator[list[float]]:
    """Inside, the seconds of every call of `net` are appended to the list."""
    calls: list[float] = []
    start = 0.0

    def before(*_: object) -> None:
        nonlocal start
        start = now(device)

    hooks = [
        net.register_forward_pre_hook(before),
        net.register_forward_hook(lambda *_: calls.append(now(device) - start)),
    ]
    try:
        yield calls
    finally:
        for hook in hooks:
            hook.remove()


def precision(
    where: str, device: str | None = None, images: int = 16, quick: bool = False
) -> Precision:
    """The same seeds in float32 and in bfloat16, by the same deterministic run."""
    pictures, seconds, nfe = {}, {}, 1
    for dtype in ("float32", "bfloat16"):
        model = load(where, device, dtype)
        options = {}
        if model.card.family != "gan":
            nfe = min(5 if quick else CALLS, model.schedule.T)
            options = {"sampler": "dpmpp_2m", "steps": nfe}
        warm_up(model, images)
        start = now(model.device)
        pictures[dtype] = model.sample(range(images), **options)
        seconds[dtype] = now(model.device) - start
    values = psnr(pictures["float32"], pictures["bfloat16"])
    return Precision(
        name=model.card.name,
        psnr_median=float(values.median()),
        psnr_lowest=float(values.min()),
        images=images,
        nfe=nfe,
        float32_seconds=seconds["float32"],
        bfloat16_seconds=seconds["bfloat16"],
    )


def psnr(a: Tensor, b: Tensor) -> Tensor:
    """10 log10(2^2 / MSE), dB (B,): peak signal-to-noise ratio of (B, C, H, W) in [-1, 1]."""
    error = (a.double() - b.double()).square().flatten(1).mean(1)
    return (10 * torch.log10(4 / error)).clamp(max=PSNR_MAX)
