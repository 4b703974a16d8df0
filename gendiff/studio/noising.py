"""Forward noising: one picture at the levels of a schedule, and what a network makes of it.

x_t is made in two ways, from noise of its own each:

    closed form     x_t = sqrt(alpha_bar_t) x_0 + sqrt(1 - alpha_bar_t) eps      one draw for all t
    chain           x_t = sqrt(1 - beta_t) x_{t-1} + sqrt(beta_t) eps_t          a draw for each t

Both are draws of q(x_t | x_0) (Ho et al. 2020, arXiv:2006.11239, Eq. 2 and 4): what they add to
sqrt(alpha_bar_t) x_0 has mean 0 and variance 1 - alpha_bar_t. A network guesses x_0 from x_t in
one call. It was trained on a schedule of its own, so it is told the level of its schedule where
the log-SNR is that of x_t; both schedules keep the variance, so x_t needs no rescaling.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from gendiff import schedule
from gendiff.batches import in_batches
from gendiff.diffusion import Diffusion
from gendiff.errors import GendiffError
from gendiff.images import to_uint8
from gendiff.noise import Noise
from gendiff.schedule import Schedule
from gendiff.studio.pictures import size

T_MAX = 1000  # the longest schedule here: a chain of 1000 steps takes 0.2 s
SIGNAL_MAX = 0.05  # more of the amplitude than this at T, and x_T is not noise
LEVELS = {1: 101, 3: 51}  # made beforehand, by channels: 0.4 and 2.5 MB for the browser
BINS, REACH = 48, 4.0  # the histogram's bins over [-REACH, REACH]
_BATCH = 32  # fastest on one core (16: +10 %, 101: +50 %)


@dataclass(frozen=True)
class Parameter:
    """A parameter of a schedule: what it is called, where it starts, and its range."""

    name: str
    default: float
    low: float
    high: float


PARAMETERS: dict[str, tuple[Parameter, ...]] = {
    "linear": (Parameter("beta_1", 1e-4, 1e-6, 0.5), Parameter("beta_T", 0.02, 1e-6, 0.999)),
    "scaled_linear": (
        Parameter("beta_1", 0.00085, 1e-6, 0.5),
        Parameter("beta_T", 0.012, 1e-6, 0.999),
    ),
    "cosine": (Parameter("s", 0.008, 0.0, 1.0),),
    "sigmoid": (
        Parameter("start", -3.0, -20.0, 20.0),
        Parameter("end", 3.0, -20.0, 20.0),
        Parameter("tau", 1.0, 0.05, 20.0),
    ),
    "constant": (Parameter("alpha", 0.99, 0.001, 0.99999),),
}


@dataclass(frozen=True)
class Moments:
    """Mean and variance over the pixels of what was added to sqrt(alpha_bar_t) x_0."""

    mean: float
    variance: float


@dataclass(frozen=True)
class Level:
    """One t of the forward process.

    Attributes:
        t: 0..T.
        beta, alpha_bar, log_snr: of the schedule; beta is None at t = 0, log_snr may be infinite.
        closed, chain: x_t both ways, guess: the network's x_0 for the first; (1, H, W, C) uint8.
        closed_noise, chain_noise: see Moments. values: how many, C H W.
        counts: histogram of the closed form's values over [-REACH, REACH]; its ends are open.
        asked: the network's own t. gap: its log-SNR less the wanted one, in nats; 0 at t = 0.
        error: root mean square of guess - x_0, in 255ths of the range.
    """

    t: int
    beta: float | None
    alpha_bar: float
    log_snr: float
    closed: np.ndarray
    chain: np.ndarray
    guess: np.ndarray
    closed_noise: Moments
    chain_noise: Moments
    values: int
    counts: tuple[int, ...]
    asked: int
    gap: float
    error: float

    @property
    def signal(self) -> float:
        """sqrt(alpha_bar_t), the share of x_0's amplitude in x_t."""
        return math.sqrt(self.alpha_bar)

    @property
    def noise(self) -> float:
        """sqrt(1 - alpha_bar_t), the noise's standard deviation."""
        return math.sqrt(1 - self.alpha_bar)

    @property
    def mean_error(self) -> float:
        """Standard error of the mean of that many N(0, 1 - alpha_bar_t) numbers."""
        return self.noise / math.sqrt(self.values)

    @property
    def variance_error(self) -> float:
        """Standard error of their variance, (1 - alpha_bar_t) sqrt(2 / (N - 1))."""
        return self.noise**2 * math.sqrt(2 / (self.values - 1))

    @property
    def deviation(self) -> float:
        """The largest of the four differences from the prediction, in standard errors."""
        if self.t == 0:
            return 0.0
        off = [
            max(
                abs(own.mean) / self.mean_error,
                abs(own.variance - self.noise**2) / self.variance_error,
            )
            for own in (self.closed_noise, self.chain_noise)
        ]
        return max(off)


def make_schedule(name: str, T: float | None, values: Sequence[float | None]) -> Schedule:
    """The schedule of that name with its PARAMETERS in order; further values are left out.

    Raises:
        GendiffError: an unknown name, a field that is empty, or a value out of range.
    """
    if name not in PARAMETERS:
        raise GendiffError(
            f"There is no schedule {str(name)[:40]!r}; choose one of {', '.join(PARAMETERS)}."
        )
    if T is None or not 1 <= T <= T_MAX or int(T) != T:
        got = "the field is empty" if T is None else f"got {T:.10g}"
        raise GendiffError(
            f"T, the number of steps, is a whole number from 1 to {T_MAX:,}; {got}."
        )
    chosen = {}
    for parameter, value in zip(PARAMETERS[name], [*values, None, None, None], strict=False):
        if value is None or not parameter.low <= value <= parameter.high:
            got = "the field is empty" if value is None else f"got {value:g}"
            raise GendiffError(
                f"{parameter.name} goes from {parameter.low:g} to {parameter.high:g}; {got}."
            )
        chosen[parameter.name] = float(value)
    return schedule.named(name, T=int(T), **chosen)


def signal_left(levels: Schedule) -> float:
    """sqrt(alpha_bar_T): the share of the picture's amplitude that is left at the end."""
    return math.sqrt(float(levels.alpha_bar(levels.T)))


@dataclass(frozen=True, eq=False)
class Journey:
    """A picture's way to noise on a schedule, and the network that looks at it. Made by `journey`.

    Attributes:
        x0, eps: the picture and the closed form's one draw, (1, C, H, W) in float64.
        chain: x_t of the chain for t = 0..T, (T + 1, H, W, C) uint8.
        chain_noise: Moments for t = 0..T.
    """

    model: Diffusion
    schedule: Schedule
    x0: Tensor
    eps: Tensor
    chain: np.ndarray
    chain_noise: tuple[Moments, ...]

    @property
    def signal(self) -> list[float]:
        """sqrt(alpha_bar_t) for t = 0..T."""
        return self.schedule.alpha_bars.sqrt().tolist()

    @property
    def noise(self) -> list[float]:
        """sqrt(1 - alpha_bar_t) for t = 0..T."""
        return (1 - self.schedule.alpha_bars).sqrt().tolist()

    @property
    def keys(self) -> list[int]:
        """0..T, or as many of these as LEVELS has, evenly spaced: what is made beforehand."""
        count = min(self.schedule.T + 1, LEVELS[self.x0.shape[1]])
        even = torch.linspace(0, self.schedule.T, count, dtype=torch.float64)
        return even.round().long().tolist()

    def levels(self, ts: Sequence[int]) -> list[Level]:
        """Those t, with the network's guess at each: one call for up to 32 of them."""
        t, x0 = torch.tensor(ts), self.x0
        x_t = self.schedule.add_noise(x0.expand(len(t), -1, -1, -1), t, self.eps)
        alpha_bar, log_snr = self.schedule.alpha_bar(t), self.schedule.log_snr(t)
        asked, gap = same_noise(self.model.schedule, log_snr)
        guess = in_batches(self.model.guess, x_t.float(), asked.to(self.model.device), _BATCH)
        guess = guess.cpu()
        rows = zip(  # in the order of Level's fields
            ts,
            [float(self.schedule.beta(k)) if k else None for k in ts],
            alpha_bar.tolist(),
            log_snr.tolist(),
            to_uint8(x_t)[:, None],
            self.chain[list(ts)][:, None],
            to_uint8(guess)[:, None],
            _moments(x_t - alpha_bar.sqrt().reshape(-1, 1, 1, 1) * x0),
            [self.chain_noise[k] for k in ts],
            [x0.numel()] * len(ts),
            _histograms(x_t),
            asked.tolist(),
            gap.tolist(),
            ((guess - x0).square().flatten(1).mean(1).sqrt() * 127.5).tolist(),
            strict=True,
        )
        return [Level(*row) for row in rows]


def journey(model: Diffusion, x0: Tensor, levels: Schedule, seed: int) -> Journey:
    """The way of x0 (1, C, H, W), without any network call yet.

    Raises:
        GendiffError: x0 does not have the network's shape, or the seed is none.
    """
    if tuple(x0.shape[1:]) != tuple(model.shape):
        raise GendiffError(f"{model.card.title} takes pictures of {size(model.shape)}.")
    x0 = x0.double()  # so that the statistics are exact at the smallest noise
    noise = Noise([seed])
    eps = noise.like(x0)
    chain, added = _chain(levels, x0, noise)
    return Journey(model, levels, x0, eps, chain, added)


def forward(model: Diffusion, x0: Tensor, levels: Schedule, seed: int) -> list[Level]:
    """The key levels of a journey; raises as `journey` does."""
    way = journey(model, x0, levels, seed)
    return way.levels(way.keys)


def same_noise(trained: Schedule, log_snr: Tensor) -> tuple[Tensor, Tensor]:
    """The trained t in 1..T whose log-SNR is nearest to each of log_snr (N,), and how far it is.

    Where log_snr is infinite (t = 0, or no signal at all) the trained schedule's end is taken, and
    the distance is 0: there is none to speak of.
    """
    table = trained.log_snr(torch.arange(1, trained.T + 1))
    nearest = (table - log_snr.clamp(table.min(), table.max())[:, None]).abs().argmin(1)
    gap = torch.where(log_snr.isfinite(), table[nearest] - log_snr, torch.zeros_like(log_snr))
    return nearest + 1, gap


def _chain(levels: Schedule, x0: Tensor, noise: Noise) -> tuple[np.ndarray, tuple[Moments, ...]]:
    """One walk of T single steps: each x_t, (T + 1, H, W, C) uint8, and the noise in it."""
    x_t, seen, added = x0, [to_uint8(x0)], [Moments(0.0, 0.0)]
    signal = levels.alpha_bars.sqrt().tolist()
    for t in range(1, levels.T + 1):
        x_t = levels.add_one_step(x_t, t, noise.like(x_t))
        seen.append(to_uint8(x_t))
        added += _moments(x_t - signal[t] * x0)
    return np.concatenate(seen), tuple(added)


def _moments(added: Tensor) -> list[Moments]:
    flat = added.flatten(1)
    return [*map(Moments, flat.mean(1).tolist(), flat.var(1).tolist())]


def _histograms(x: Tensor) -> list[tuple[int, ...]]:
    """The counts of each picture's values."""
    place = ((x.flatten(1) + REACH) * (BINS / (2 * REACH))).long().clamp(0, BINS - 1)
    return [tuple(torch.bincount(row, minlength=BINS).tolist()) for row in place]
