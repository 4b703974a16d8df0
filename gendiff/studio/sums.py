"""A sampler's step as the sum that it is: x_s = sum of weight x quantity.

The weights are computed here from the schedule alone, not taken from the sampler, so that what
stands on the page can be checked against what the sampler did. Equations: gendiff.sample.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from gendiff.errors import GendiffError
from gendiff.sample import Step
from gendiff.schedule import Schedule


@dataclass(frozen=True)
class Term:
    """One summand of an update.

    quantity: x_t, x0 (the guess), x0_before (that of the step before), eps, z (fresh noise), or
    the velocities v_t and v_s. value: the quantity itself, a tensor or the number at one pixel.
    """

    quantity: str
    weight: float
    value: Tensor | float


def terms(
    sampler: str, schedule: Schedule, step: Step, before: Step | None = None
) -> tuple[Term, ...]:
    """A step's x_s as a sum of weight x quantity.

    Args:
        sampler: its name, a key of gendiff.sample.SAMPLERS.
        step, before: the step, and the one before it (None for the first; dpmpp_2m needs it).

    Raises:
        GendiffError: there is no formula for this sampler.
    """
    if sampler not in _SUMS:
        raise GendiffError(f"There is no formula for {sampler!r}; choose {', '.join(_SUMS)}.")
    return _SUMS[sampler](schedule, step, before)


def _levels(schedule: Schedule, t: int) -> tuple[float, float]:
    """a = sqrt(alpha_bar_t) and b = sqrt(1 - alpha_bar_t)."""
    alpha_bar = float(schedule.alpha_bar(t))
    return math.sqrt(alpha_bar), math.sqrt(1 - alpha_bar)


def _fresh(step: Step) -> Term:
    """sigma z; z is what was drawn, 0 where none was."""
    z = (step.x_s - step.mean) / step.std if step.std > 0 else step.mean * 0
    return Term("z", step.std, z)


def _ddpm(schedule: Schedule, step: Step, before: Step | None) -> tuple[Term, ...]:
    (a_t, b_t), (a_s, b_s) = _levels(schedule, step.t), _levels(schedule, step.s)
    beta = 1 - (a_t / a_s) ** 2
    guess = Term("x0", a_s * beta / b_t**2, step.x0)
    return guess, Term("x_t", a_t / a_s * b_s**2 / b_t**2, step.x_t), _fresh(step)


def _ddim(schedule: Schedule, step: Step, before: Step | None) -> tuple[Term, ...]:
    a_s, b_s = _levels(schedule, step.s)
    guess = Term("x0", a_s, step.x0)
    direction = Term("eps", math.sqrt(max(b_s**2 - step.std**2, 0.0)), step.eps)
    return (guess, direction, _fresh(step)) if step.std > 0 else (guess, direction)


def _renoise(schedule: Schedule, step: Step, before: Step | None) -> tuple[Term, ...]:
    return Term("x0", _levels(schedule, step.s)[0], step.x0), _fresh(step)


def _dpmpp_2m(schedule: Schedule, step: Step, before: Step | None) -> tuple[Term, ...]:
    (_, b_t), (a_s, b_s) = _levels(schedule, step.t), _levels(schedule, step.s)
    if step.s == 0:  # h is infinite
        return Term("x_t", 0.0, step.x_t), Term("x0", 1.0, step.x0)
    h = _half_log_snr(schedule, step.s) - _half_log_snr(schedule, step.t)
    stay, weight = Term("x_t", b_s / b_t, step.x_t), -a_s * math.expm1(-h)
    if before is None:
        return stay, Term("x0", weight, step.x0)
    r = h / 2 / (_half_log_snr(schedule, step.t) - _half_log_snr(schedule, before.t))
    guess = Term("x0", weight * (1 + r), step.x0)
    return stay, guess, Term("x0_before", -weight * r, before.x0)


def _heun(schedule: Schedule, step: Step, before: Step | None) -> tuple[Term, ...]:
    if step.s == 0:
        return (Term("x0", 1.0, step.x0),)
    (a_t, b_t), (a_s, b_s) = _levels(schedule, step.t), _levels(schedule, step.s)
    turn = math.atan2(b_s, a_s) - math.atan2(b_t, a_t)
    here = a_t * step.eps - b_t * step.x0
    there = (step.x_s - step.x_t) * (2 / turn) - here  # what the second call said
    stay = Term("x_t", 1.0, step.x_t)
    return stay, Term("v_t", turn / 2, here), Term("v_s", turn / 2, there)


def _half_log_snr(schedule: Schedule, t: int) -> float:
    return float(schedule.log_snr(t)) / 2


_SUMS: dict[str, Callable[[Schedule, Step, Step | None], tuple[Term, ...]]] = {
    "ddpm": _ddpm,
    "ddim": _ddim,
    "renoise": _renoise,
    "dpmpp_2m": _dpmpp_2m,
    "heun": _heun,
}
