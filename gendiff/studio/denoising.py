"""A diffusion run as the Denoise tab shows it: pictures and numbers of every step."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace

import numpy as np
from torch import Tensor

from gendiff.batches import fitting
from gendiff.clock import timed
from gendiff.diffusion import Diffusion
from gendiff.errors import GendiffError
from gendiff.images import to_uint8
from gendiff.noise import resolve_labels
from gendiff.sample import Step, times
from gendiff.schedule import Schedule
from gendiff.studio.models import Studio
from gendiff.studio.sums import Term, terms

PICTURES_MAX = 16
SHOWN_MAX = 1000  # transitions that are shown; of a longer run, this many evenly spaced ones
# Of pictures in one run: 16 of fashion in 1000 steps, or of cats in 80. Such a run keeps two cores
# busy for a minute or more, so that a line of 10 Mbit/s keeps up.
BYTES_MAX = 50_000_000
VARIANCES = ("posterior", "beta")
EPS_SCALE = 3  # eps ~ N(0, 1) is shown divided by this: cuts 0.3 % of it instead of 32 %
CURVE_POINTS = 121


@dataclass(frozen=True)
class Settings:
    """What a person chooses.

    label: None lets each seed draw its class. dtype: None is what is fast on this machine.
    """

    model: str
    seeds: tuple[int, ...]
    label: int | None = None
    sampler: str = "ddim"
    steps: int = 50
    guidance: float = 1.0
    eta: float = 0.0
    variance: str = "posterior"
    dtype: str | None = None


@dataclass(frozen=True)
class Moment:
    """What is on show after `number` transitions; number 0 is the draw of x_T, before any of them.

    Attributes:
        t, s: the last transition's levels; s = t = T for the draw.
        pictures: x_t, eps / EPS_SCALE, x0 and x_s, each (B, H, W, C) uint8.
        beta_t, alpha_bar_t, sigma_t, log_snr_t: at t; sigma_t is the standard deviation of the
            noise that the step adds.
        terms, pixel: the update at the middle pixel of the first picture (its first channel); the
            products of the terms add up to `pixel`, x_s there.
        nfe: network calls per picture so far. seconds: of model work so far.
    """

    number: int
    t: int
    s: int
    pictures: tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]
    beta_t: float
    alpha_bar_t: float
    sigma_t: float
    log_snr_t: float
    terms: tuple[Term, ...]
    pixel: float
    nfe: int
    seconds: float


@dataclass(frozen=True)
class Denoising:
    """A checked run that has not begun. Made by `prepare`.

    Attributes:
        levels: t of each transition, and then 0.
        shown: the transitions (counted from 0) that become moments.
        labels: each picture's class, None for a model without classes.
    """

    settings: Settings
    model: Diffusion
    levels: tuple[int, ...]
    shown: tuple[int, ...]
    labels: tuple[int, ...] | None
    conditions: str

    @property
    def thinned(self) -> bool:
        """Whether some transitions are left out."""
        return len(self.shown) < self.settings.steps

    def captions(self) -> list[str]:
        """Each picture's seed and class."""
        names = self.model.card.classes
        labels = self.labels or [None] * len(self.settings.seeds)
        return [
            f"seed {seed}" + ("" if label is None else f", {names[label]}")
            for seed, label in zip(self.settings.seeds, labels, strict=True)
        ]

    def log_snr(self) -> tuple[list[int], list[float]]:
        """The schedule's curve, t = 1..T and nats: evenly spaced points, and those of this run."""
        schedule = self.model.schedule
        even = np.linspace(1, schedule.T, min(CURVE_POINTS, schedule.T)).round().astype(int)
        ts = sorted({*even.tolist(), *self.levels[:-1], schedule.T})
        return ts, [float(schedule.log_snr(t)) for t in ts]

    def moments(self) -> Iterator[Moment]:
        """The run itself; closing it stops the work."""
        settings, model, shown = self.settings, self.model, set(self.shown)
        yield self._drawn()
        work = timed(_trajectory(model, settings), model.device)
        before: Step | None = None
        with closing(work), fitting(len(settings.seeds)):
            for step, seconds in work:
                if step.index in shown:
                    yield _moment(settings.sampler, model.schedule, step, before, seconds)
                before = step

    def _drawn(self) -> Moment:
        x_T, schedule = self.model.latents(self.settings.seeds), self.model.schedule
        t = self.levels[0]
        nothing = np.full_like(to_uint8(x_T), 128)
        return Moment(
            number=0,
            t=t,
            s=t,
            pictures=(nothing, nothing, nothing, to_uint8(x_T)),
            beta_t=float(schedule.beta(t)),
            alpha_bar_t=float(schedule.alpha_bar(t)),
            sigma_t=1.0,
            log_snr_t=float(schedule.log_snr(t)),
            terms=(),
            pixel=float(_middle(x_T)),
            nfe=0,
            seconds=0.0,
        )


def prepare(studio: Studio, settings: Settings) -> Denoising:
    """Check everything and load the model.

    Raises:
        GendiffError: a value out of range, more than 16 pictures, or no such (diffusion) model.
    """
    if not 1 <= len(settings.seeds) <= PICTURES_MAX:
        raise GendiffError(
            f"Ask for 1 to {PICTURES_MAX} pictures; got {len(settings.seeds)} seeds."
        )
    if settings.variance not in VARIANCES:
        raise GendiffError(f"The variance is {' or '.join(VARIANCES)}; got {settings.variance!r}.")
    if studio.card(settings.model).family != "diffusion":
        raise GendiffError(
            f"{settings.model} makes its picture in one call; choose a diffusion model."
        )
    model = studio.model(settings.model, settings.dtype)
    _trajectory(
        model, settings
    )  # checks the rest; nothing runs before the first step is asked for
    labels = resolve_labels(settings.label, settings.seeds, model.classes, "cpu")
    return Denoising(
        settings,
        model,
        tuple(times(model.schedule.T, settings.steps, "trailing")),
        tuple(_shown(int(settings.steps), len(settings.seeds) * math.prod(model.shape))),
        None if labels is None else tuple(labels.tolist()),
        studio.conditions(settings.dtype),
    )


def _shown(steps: int, size: int) -> list[int]:
    """The transitions that are shown of so many, where a picture of each pane has `size` bytes:
    all, if x_t (the x_s of the transition before) need not be sent for that; else as many as fit
    with it."""
    if steps <= SHOWN_MAX and 3 * size * (steps + 1) <= BYTES_MAX:
        return list(range(steps))
    return spread(steps, min(SHOWN_MAX, max(2, BYTES_MAX // (4 * size))))


def spread(total: int, most: int) -> list[int]:
    """At most `most` (2 or more) of 0..total - 1, evenly spaced; the first and the last always."""
    return sorted({round(i) for i in np.linspace(0, total - 1, min(total, most)).tolist()})


def _trajectory(model: Diffusion, settings: Settings) -> Iterator[Step]:
    return model.trajectory(
        settings.seeds,
        sampler=settings.sampler,
        steps=settings.steps,
        labels=settings.label,
        guidance=settings.guidance,
        eta=settings.eta,
        variance=settings.variance,
        spacing="trailing",
    )


def _middle(x: Tensor) -> Tensor:
    """The middle pixel of the first picture, first channel: (1, 1, 1, 1)."""
    row, column = x.shape[-2] // 2, x.shape[-1] // 2
    return x[:1, :1, row : row + 1, column : column + 1]


def _at_pixel(step: Step) -> Step:
    parts = {name: _middle(getattr(step, name)) for name in ("x_t", "x0", "eps", "mean", "x_s")}
    return replace(step, **parts)


def _moment(
    sampler: str, schedule: Schedule, step: Step, before: Step | None, seconds: float
) -> Moment:
    pixel = _at_pixel(step)
    sum_ = terms(sampler, schedule, pixel, None if before is None else _at_pixel(before))
    return Moment(
        number=step.index + 1,
        t=step.t,
        s=step.s,
        pictures=tuple(map(to_uint8, (step.x_t, step.eps / EPS_SCALE, step.x0, step.x_s))),
        beta_t=float(schedule.beta(step.t)),
        alpha_bar_t=float(schedule.alpha_bar(step.t)),
        sigma_t=float(step.std),
        log_snr_t=step.log_snr,
        terms=tuple(Term(term.quantity, term.weight, float(term.value)) for term in sum_),
        pixel=float(pixel.x_s),
        nfe=step.nfe,
        seconds=seconds,
    )
