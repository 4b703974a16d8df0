"""Samplers: generators of typed records, one `Step` per transition x_t -> x_s.

A sampler knows a model only through `denoiser(x_t, t, labels) -> (x0, eps)` and
`denoiser.schedule`. Between two network calls it computes with python floats from the schedule's
float64 tables, so no step waits for a GPU. What it is given is checked when it is called, not when
the first step is asked for. Abandoning the generator stops the work. With
a_t = sqrt(alpha_bar_t) and b_t = sqrt(1 - alpha_bar_t), all of them are

    x_s = mean(x_t, x0, eps) + std z,     z ~ N(0, I).

The module itself can be called: `gendiff.sample(model, seeds)` is `model.sample(seeds)`.
"""

from __future__ import annotations

import math
import sys
import types
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from gendiff.denoise import Prediction
from gendiff.errors import GendiffError, whole
from gendiff.noise import Noise

Spacing = Literal["leading", "trailing", "linspace"]
SPACINGS: tuple[Spacing, ...] = ("leading", "trailing", "linspace")


@dataclass(frozen=True, slots=True)
class Step:
    """One transition. Tensors are (B, C, H, W); nothing here is changed afterwards.

    Attributes:
        index: 0 for the first transition, total - 1 for the last.
        total: how many transitions the run has.
        t, s: from level t to level s < t; s = t - 1 when every level is visited.
        x_t: where the step starts. x0, eps: the model's view from there.
        mean, std: x_s = mean + std z. std is a float, or a tensor where the variance is learned.
        x_s: where the step ends.
        nfe: network calls per picture so far, this step's included.
        log_snr: log-SNR at t, nats.
    """

    index: int
    total: int
    t: int
    s: int
    x_t: Tensor
    x0: Tensor
    eps: Tensor
    mean: Tensor
    std: float | Tensor
    x_s: Tensor
    nfe: int
    log_snr: float


def times(T: int, steps: int, spacing: Spacing = "leading") -> list[int]:
    """The levels that a run visits: `steps` of them, descending, and then 0.

    The same levels as those of diffusers' DDIM and DDPM schedulers, plus one (they count from 0).
    "leading" starts below T and keeps a rest of signal out of x_T; "trailing" starts at T, see
    Lin et al. (2024), arXiv:2305.08891, Table 2; "linspace" visits both ends.

    Raises:
        GendiffError: steps is not a whole number from 1 to T, or an unknown spacing.
    """
    steps = whole("The number of steps", steps, 1, T)
    if spacing == "leading":
        levels = np.arange(steps)[::-1] * (T // steps) + 1
    elif spacing == "trailing":
        levels = np.round(np.arange(T, 0, -T / steps))[:steps]
    elif spacing == "linspace":
        levels = np.linspace(0, T - 1, steps).round()[::-1] + 1
    else:
        raise GendiffError(
            f"There is no spacing {spacing!r}; choose one of {', '.join(SPACINGS)}."
        )
    return [int(level) for level in levels] + [0]


Denoise = Callable[..., Prediction]  # Denoiser, Guided or an exact one: has .schedule and .calls
Labels = Tensor | None


def ddpm(
    denoiser: Denoise,
    x_T: Tensor,
    times: Sequence[int],
    *,
    noise: Noise | None = None,
    labels: Labels = None,
    variance: Literal["beta", "posterior", "learned"] = "beta",
) -> Iterator[Step]:
    """Ancestral sampling; Ho et al. (2020), arXiv:2006.11239, Algorithm 2 and Eq. 7.

    Between two levels that are not neighbours, beta is that of the whole jump:
    beta_{t|s} = 1 - alpha_bar_t / alpha_bar_s. `variance` is beta_{t|s}, the posterior's
    (1 - alpha_bar_s) / (1 - alpha_bar_t) beta_{t|s}, or the network's own choice between the two.
    No noise is added in the step to t = 0.
    """
    if variance not in ("beta", "posterior", "learned"):
        raise GendiffError(f"The variance is beta, posterior or learned; got {variance!r}.")
    if variance == "learned" and not hasattr(denoiser, "with_variance"):
        raise GendiffError('This denoiser has no learned variance; choose "beta" or "posterior".')

    def step(t: int, s: int, x_t: Tensor, _: Prediction | None) -> _Move:
        alpha_bar_t, alpha_bar_s = _alpha_bars(denoiser, t, s)
        beta = 1 - alpha_bar_t / alpha_bar_s
        small = (1 - alpha_bar_s) / (1 - alpha_bar_t) * beta
        if variance == "learned":
            prediction, share = denoiser.with_variance(x_t, t, labels)
            low, high = math.log(max(small, 1e-20)), math.log(beta)
            std = torch.exp(0.5 * (share * (high - low) + low)) if s > 0 else 0.0
        else:
            prediction = denoiser(x_t, t, labels)
            std = math.sqrt(beta if variance == "beta" else small) if s > 0 else 0.0
        of_x0 = math.sqrt(alpha_bar_s) * beta / (1 - alpha_bar_t)
        of_x_t = math.sqrt(alpha_bar_t / alpha_bar_s) * (1 - alpha_bar_s) / (1 - alpha_bar_t)
        mean = of_x0 * prediction.x0 + of_x_t * x_t
        return _Move(prediction, mean, std)

    return _run(denoiser, x_T, times, noise, step, random=True)


def ddim(
    denoiser: Denoise,
    x_T: Tensor,
    times: Sequence[int],
    *,
    noise: Noise | None = None,
    labels: Labels = None,
    eta: float = 0.0,
) -> Iterator[Step]:
    """Denoising diffusion implicit models; Song et al. (2021), arXiv:2010.02502, Eq. 12 and 16.

    eta = 0 is deterministic: x_T decides the picture. eta = 1 has the posterior variance of DDPM.
    """
    if not 0 <= eta <= 1:
        raise GendiffError(f"eta goes from 0 (deterministic) to 1 (as random as DDPM); got {eta}.")

    def step(t: int, s: int, x_t: Tensor, _: Prediction | None) -> _Move:
        alpha_bar_t, alpha_bar_s = _alpha_bars(denoiser, t, s)
        prediction = denoiser(x_t, t, labels)
        sigma2 = eta**2 * (1 - alpha_bar_s) / (1 - alpha_bar_t) * (1 - alpha_bar_t / alpha_bar_s)
        direction = math.sqrt(max(1 - alpha_bar_s - sigma2, 0.0))
        mean = math.sqrt(alpha_bar_s) * prediction.x0 + direction * prediction.eps
        return _Move(prediction, mean, math.sqrt(sigma2))

    return _run(denoiser, x_T, times, noise, step, random=eta > 0)


def renoise(
    denoiser: Denoise,
    x_T: Tensor,
    times: Sequence[int],
    *,
    noise: Noise | None = None,
    labels: Labels = None,
) -> Iterator[Step]:
    """The lecture's loop: guess x_0 from x_t, then noise the guess to the next lower level.

    x_s = a_s x0 + b_s z: only the guess is carried on. DDIM's Eq. 12 with
    sigma^2 = 1 - alpha_bar_s.
    """

    def step(t: int, s: int, x_t: Tensor, _: Prediction | None) -> _Move:
        alpha_bar_s = _alpha_bars(denoiser, t, s)[1]
        prediction = denoiser(x_t, t, labels)
        return _Move(
            prediction, math.sqrt(alpha_bar_s) * prediction.x0, math.sqrt(1 - alpha_bar_s)
        )

    return _run(denoiser, x_T, times, noise, step, random=True)


def dpmpp_2m(
    denoiser: Denoise,
    x_T: Tensor,
    times: Sequence[int],
    *,
    noise: Noise | None = None,
    labels: Labels = None,
) -> Iterator[Step]:
    """DPM-Solver++(2M): second order from one call a step.

    With lambda = log(a / b), h = lambda_s - lambda_t and the previous guess x0':
    x_s = b_s / b_t x_t + a_s (1 - e^-h) (x0 + (x0 - x0') h / (2 h')). The first step, and the step
    to t = 0 (where h is infinite), are of first order. Deterministic: `noise` is not used.
    Lu et al. (2022), arXiv:2211.01095, Algorithm 2.
    """
    h_before = math.nan

    def step(t: int, s: int, x_t: Tensor, previous: Prediction | None) -> _Move:
        nonlocal h_before
        alpha_bar_t, alpha_bar_s = _alpha_bars(denoiser, t, s)
        prediction = denoiser(x_t, t, labels)
        if s == 0:
            return _Move(prediction, prediction.x0, 0.0)
        h = (_logit(alpha_bar_s) - _logit(alpha_bar_t)) / 2
        x0 = prediction.x0
        if previous is not None:
            x0 = x0 + (x0 - previous.x0) * (h / (2 * h_before))
        h_before = h
        mean = math.sqrt((1 - alpha_bar_s) / (1 - alpha_bar_t)) * x_t
        return _Move(prediction, mean - math.sqrt(alpha_bar_s) * math.expm1(-h) * x0, 0.0)

    return _run(denoiser, x_T, times, noise, step)


def heun(
    denoiser: Denoise,
    x_T: Tensor,
    times: Sequence[int],
    *,
    noise: Noise | None = None,
    labels: Labels = None,
) -> Iterator[Step]:
    """The trapezoid rule on the probability-flow ODE: two calls a step, second order.

    In the angle phi with a = cos(phi), b = sin(phi) the ODE is dx / dphi = v = a eps - b x0
    (Salimans & Ho 2022, arXiv:2202.00512, appendix D), which stays tame at both ends. Predictor:
    DDIM; corrector: the mean of both velocities (Karras et al. 2022, arXiv:2206.00364, Algorithm
    1, do the same in sigma). The step to t = 0 is DDIM's. Deterministic: `noise` is not used.
    """

    def step(t: int, s: int, x_t: Tensor, _: Prediction | None) -> _Move:
        alpha_bar_t, alpha_bar_s = _alpha_bars(denoiser, t, s)
        prediction = denoiser(x_t, t, labels)
        a_t, b_t, a_s, b_s = (
            math.sqrt(value)
            for value in (alpha_bar_t, 1 - alpha_bar_t, alpha_bar_s, 1 - alpha_bar_s)
        )
        euler = a_s * prediction.x0 + b_s * prediction.eps
        if s == 0:
            return _Move(prediction, euler, 0.0)
        there = denoiser(euler, s, labels)
        velocity = a_t * prediction.eps - b_t * prediction.x0 + (a_s * there.eps - b_s * there.x0)
        turn = math.atan2(b_s, a_s) - math.atan2(b_t, a_t)
        return _Move(prediction, x_t + turn / 2 * velocity, 0.0, calls=2)

    return _run(denoiser, x_T, times, noise, step)


Sampler = Callable[..., Iterator[Step]]
SAMPLERS: dict[str, Sampler] = {
    "ddpm": ddpm,
    "ddim": ddim,
    "renoise": renoise,
    "dpmpp_2m": dpmpp_2m,
    "heun": heun,
}


def last(steps: Iterable[Step]) -> Tensor:
    """The picture at the end of a run, x_0 (B, C, H, W)."""
    end = None
    for step in steps:
        end = step.x_s
    if end is None:
        raise GendiffError("The run has no step.")
    return end


@dataclass(frozen=True, slots=True)
class _Move:
    prediction: Prediction
    mean: Tensor
    std: float | Tensor
    calls: int = 1


def _alpha_bars(denoiser: Denoise, *levels: int) -> list[float]:
    table = denoiser.schedule.alpha_bars
    return [float(table[level]) for level in levels]


def _logit(p: float) -> float:
    return math.log(p) - math.log1p(-p)


def _run(
    denoiser: Denoise,
    x_T: Tensor,
    times: Sequence[int],
    noise: Noise | None,
    step: Callable[[int, int, Tensor, Prediction | None], _Move],
    random: bool = False,
) -> Iterator[Step]:
    """Check the levels and the noise now, then hand out the loop."""
    T = denoiser.schedule.T
    times = [whole("A level", t, 0, T) for t in times]
    if len(times) < 2 or times[-1] != 0 or any(t <= s for t, s in pairwise(times)):
        raise GendiffError(f"The levels of a run go down and end in 0; got {str(times)[:40]}.")
    if random and noise is None and len(times) > 2:  # the step to t = 0 is never random
        raise GendiffError("This sampler is random: pass noise=Noise(seeds).")
    if noise is not None and len(noise.seeds) != len(x_T):
        raise GendiffError(f"There are {len(x_T)} pictures but noise for {len(noise.seeds)}.")
    return _loop(denoiser, x_T, times, noise, step)


@torch.no_grad()
def _loop(
    denoiser: Denoise,
    x_T: Tensor,
    times: list[int],
    noise: Noise | None,
    step: Callable[[int, int, Tensor, Prediction | None], _Move],
) -> Iterator[Step]:
    """The loop that all samplers share: call, add noise where there is some, record."""
    x_t, previous, nfe = x_T, None, 0
    for index, (t, s) in enumerate(pairwise(times)):
        move = step(t, s, x_t, previous)
        nfe += move.calls * denoiser.calls
        random = isinstance(move.std, Tensor) or move.std > 0
        x_s = move.mean + move.std * noise.like(x_t) if random else move.mean
        view, log_snr = move.prediction, _logit(_alpha_bars(denoiser, t)[0])
        total = len(times) - 1
        yield Step(index, total, t, s, x_t, *view, move.mean, move.std, x_s, nfe, log_snr)
        x_t, previous = x_s, view


class _CallableModule(types.ModuleType):
    """Lets `gendiff.sample` be both the module of samplers and the verb."""

    def __call__(
        self, model: Any, seeds: Iterable[int], *, labels: Any = None, **options: Any
    ) -> Tensor:
        """A model's pictures, (B, C, H, W) in [-1, 1]; the options are its own."""
        return model.sample(seeds, labels=labels, **options)


sys.modules[__name__].__class__ = _CallableModule
