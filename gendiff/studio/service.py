"""What the public interface and the command line ask for: seeds as text in, uint8 pictures out."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from gendiff import clock, schedule
from gendiff.batches import fitting
from gendiff.diffusion import GUIDANCE_MAX, Diffusion
from gendiff.errors import GendiffError, number, whole
from gendiff.gan import Gan
from gendiff.images import from_uint8, to_uint8
from gendiff.latent import PATHS, walk
from gendiff.noise import SEED_MAX, Noise, parse, resolve_labels
from gendiff.sample import SAMPLERS
from gendiff.studio.denoising import EPS_SCALE, VARIANCES
from gendiff.studio.models import Real
from gendiff.weights import Model

PICTURES_MAX = 64
WALK_MAX = 64  # frames in one request: a diffusion model needs 25 network calls for each
DECODE_BATCH = 16
CALLS_MAX = 6_400  # pictures x network calls in one answer: nobody can stop that work half way


@dataclass(frozen=True)
class Made:
    """Pictures (B, H, W, C) uint8 with their seeds and classes; seconds and NFE of the work."""

    pictures: np.ndarray
    seeds: list[int]
    labels: list[int] | None
    seconds: float
    nfe: int


@dataclass(frozen=True)
class Transition:
    """One step of a run. See gendiff.sample.Step.

    beta, alpha_bar, log_snr: the schedule's, at t. sigma: the standard deviation of the noise that
    the step adds. x_t, eps / EPS_SCALE, x0, x_s: (B, H, W, C) uint8.
    """

    index: int
    total: int
    t: int
    s: int
    nfe: int
    beta: float
    alpha_bar: float
    sigma: float
    log_snr: float
    x_t: np.ndarray
    eps: np.ndarray
    x0: np.ndarray
    x_s: np.ndarray


@dataclass(frozen=True)
class Noised:
    """A picture (H, W, C) uint8 at a level; log_snr is None at t = 0, where it is infinite."""

    picture: np.ndarray
    alpha_bar: float
    log_snr: float | None


def sample(
    model: Model,
    seeds: str,
    label: int | None,
    sampler: str,
    steps: int,
    guidance: float,
    truncation: float | None,
    eta: float = 0.0,
    variance: str | None = None,
) -> Made:
    """One picture a seed, by either family.

    Raises:
        GendiffError: a value of the wrong type or out of its range; more than CALLS_MAX calls.
    """
    chosen = parse(seeds, most=PICTURES_MAX)
    labels = resolve_labels(label, chosen, model.classes, model.device)
    start = clock.now(model.device)
    if isinstance(model, Gan):
        if truncation is not None:
            truncation = number("Truncation", truncation, 0.05, 10)
        pictures, nfe = model.sample(chosen, labels=labels, truncation=truncation), 1
    else:
        options = _options(model, sampler, steps, guidance, eta, variance)
        nfe = model.network_calls(sampler, options["steps"], options["guidance"])
        if nfe * len(chosen) > CALLS_MAX:
            raise GendiffError(
                f"{_counted(len(chosen), 'picture')} in {_counted(options['steps'], 'step')} need "
                f"{nfe * len(chosen):,} network calls, and one answer has at most {CALLS_MAX:,}; "
                "ask for fewer, or use trajectory, which can be stopped."
            )
        pictures = model.sample(chosen, labels=labels, **options)
    seconds = clock.now(model.device) - start
    return Made(
        to_uint8(pictures), chosen, None if labels is None else labels.tolist(), seconds, nfe
    )


def trajectory(
    model: Model,
    seeds: str,
    label: int | None,
    sampler: str,
    steps: int,
    guidance: float,
    eta: float,
    variance: str,
) -> Iterator[Transition]:
    """A diffusion model's run, step by step."""
    if not isinstance(model, Diffusion):
        raise GendiffError(
            f"{model.card.name} makes its picture in one call; it has no trajectory."
        )
    chosen = parse(seeds, most=PICTURES_MAX)
    options = _options(model, sampler, steps, guidance, eta, variance)
    run = model.trajectory(chosen, labels=label, **options)
    levels = model.schedule
    with fitting(len(chosen)):
        for step in run:
            pictures = (step.x_t, step.eps / EPS_SCALE, step.x0, step.x_s)
            yield Transition(
                step.index,
                step.total,
                step.t,
                step.s,
                step.nfe,
                float(levels.beta(step.t)),
                float(levels.alpha_bar(step.t)),
                float(step.std),
                step.log_snr,
                *map(to_uint8, pictures),
            )


def interpolate(model: Model, seeds: str, frames: int, path: str, label: int | None) -> np.ndarray:
    """(frames, H, W, C) along the way between two to eight seeds."""
    anchors = parse(seeds, most=8)
    frames = whole("The number of frames", frames, 2, WALK_MAX)
    _one_of("path", path, PATHS)
    points = walk(model.latents(anchors), frames, path)
    labels = resolve_labels(label, anchors[:1], model.classes, model.device)
    parts = [
        model.decode(part, None if labels is None else labels.expand(len(part)))
        for part in points.split(DECODE_BATCH)
    ]
    return np.concatenate([to_uint8(part) for part in parts])


def noise(
    real: Real, index: int, name: str, T: int, t: int, seed: int, alpha: float = 0.99
) -> Noised:
    """A bundled real picture at level t of a schedule of T levels; alpha: the constant one's."""
    index = whole("The picture's number", index, 0, len(real.pictures) - 1)
    seed = whole("The seed", seed, 0, SEED_MAX)
    _one_of("schedule", name, schedule.CONSTRUCTORS)
    alpha = number("alpha", alpha, 0, 1)
    levels = schedule.named(name, T=T, **({"alpha": alpha} if name == "constant" else {}))
    t = whole("t", t, 0, levels.T)
    x0 = from_uint8(real.pictures[index : index + 1])
    x_t = levels.add_noise(x0, t, Noise([seed]).like(x0))
    log_snr = float(levels.log_snr(t))
    return Noised(
        to_uint8(x_t)[0], float(levels.alpha_bar(t)), log_snr if math.isfinite(log_snr) else None
    )


def _options(
    model: Diffusion, sampler: str, steps: Any, guidance: Any, eta: Any, variance: Any
) -> dict[str, Any]:
    """How a diffusion model samples, each value of its type and in its range; what arrives here
    may be any JSON."""
    _one_of("sampler", sampler, SAMPLERS)
    if variance is not None:
        _one_of("variance", variance, VARIANCES)
    return {
        "sampler": sampler,
        "steps": whole("The number of steps", steps, 1, model.schedule.T),
        "guidance": number("Guidance", guidance, 0, GUIDANCE_MAX),
        "eta": number("eta", eta, 0, 1),
        "variance": variance,
    }


def _one_of(what: str, value: Any, known: Collection[str]) -> None:
    if not isinstance(value, str) or value not in known:
        raise GendiffError(
            f"There is no {what} {str(value)[:40]!r}; choose one of {', '.join(known)}."
        )


def _counted(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'s' * (count != 1)}"
