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

import base64
import binascii
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gendiff import schedule
from gendiff.batches import in_batches
from gendiff.diffusion import Diffusion
from gendiff.errors import GendiffError
from gendiff.images import from_uint8, open_picture, to_uint8
from gendiff.noise import Noise
from gendiff.schedule import Schedule
from gendiff.studio.models import Real

T_MAX = 1000  # the longest schedule here: a chain of 1000 steps takes 0.2 s
SIGNAL_MAX = 0.05  # more of the amplitude than this at T, and x_T is not noise
LEVELS = {1: 101, 3: 51}  # levels on show, by channels: 0.4 and 2.5 MB for the browser
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
        raise GendiffError(
            f"T, the number of steps, is a whole number from 1 to {T_MAX:,}; got {T}."
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


def forward(model: Diffusion, x0: Tensor, levels: Schedule, seed: int) -> list[Level]:
    """x0 (1, C, H, W) at t = 0..T, or at as many of these as LEVELS has, evenly spaced.

    Raises:
        GendiffError: x0 does not have the network's shape, or the seed is none.
    """
    if tuple(x0.shape[1:]) != tuple(model.shape):
        raise GendiffError(f"{model.card.title} takes pictures of {_size(model.shape)}.")
    x0 = x0.double()  # so that the statistics below are exact at the smallest noise
    count = min(levels.T + 1, LEVELS[x0.shape[1]])
    t = torch.linspace(0, levels.T, count, dtype=torch.float64).round().long()
    noise = Noise([seed])
    x_t = levels.add_noise(x0.expand(count, -1, -1, -1), t, noise.like(x0))
    walked = _chain(levels, x0, t.tolist(), noise)
    alpha_bar, log_snr = levels.alpha_bar(t), levels.log_snr(t)
    asked, gap = same_noise(model.schedule, log_snr)
    guess = in_batches(model.guess, x_t.float(), asked.to(model.device), _BATCH).cpu()
    signal = alpha_bar.sqrt().reshape(-1, 1, 1, 1) * x0
    rows = zip(  # in the order of Level's fields
        t.tolist(),
        [float(levels.beta(k)) if k else None for k in t.tolist()],
        alpha_bar.tolist(),
        log_snr.tolist(),
        *(to_uint8(x)[:, None] for x in (x_t, walked, guess)),
        _moments(x_t - signal),
        _moments(walked - signal),
        [x0.numel()] * count,
        _histograms(x_t),
        asked.tolist(),
        gap.tolist(),
        ((guess - x0).square().flatten(1).mean(1).sqrt() * 127.5).tolist(),
        strict=True,
    )
    return [Level(*row) for row in rows]


def same_noise(trained: Schedule, log_snr: Tensor) -> tuple[Tensor, Tensor]:
    """The trained t in 1..T whose log-SNR is nearest to each of log_snr (N,), and how far it is.

    Where log_snr is infinite (t = 0, or no signal at all) the trained schedule's end is taken, and
    the distance is 0: there is none to speak of.
    """
    table = trained.log_snr(torch.arange(1, trained.T + 1))
    nearest = (table - log_snr.clamp(table.min(), table.max())[:, None]).abs().argmin(1)
    gap = torch.where(log_snr.isfinite(), table[nearest] - log_snr, torch.zeros_like(log_snr))
    return nearest + 1, gap


def _chain(levels: Schedule, x0: Tensor, wanted: Sequence[int], noise: Noise) -> Tensor:
    """x_t at the wanted t (ascending) of one walk of T single steps: (len(wanted), C, H, W)."""
    x_t, seen, keep = x0, [], set(wanted)
    for t in range(levels.T + 1):
        if t:
            x_t = levels.add_one_step(x_t, t, noise.like(x_t))
        if t in keep:
            seen.append(x_t)
    return torch.cat(seen)


def _moments(added: Tensor) -> list[Moments]:
    flat = added.flatten(1)
    return [*map(Moments, flat.mean(1).tolist(), flat.var(1).tolist())]


def _histograms(x: Tensor) -> list[tuple[int, ...]]:
    """The counts of each picture's values."""
    place = ((x.flatten(1) + REACH) * (BINS / (2 * REACH))).long().clamp(0, BINS - 1)
    return [tuple(torch.bincount(row, minlength=BINS).tolist()) for row in place]


def _size(shape: Sequence[int]) -> str:
    channels, height, width = shape
    return f"{height} x {width} pixels, {'grey' if channels == 1 else 'RGB'}"


# ---- The picture x_0 ------------------------------------------------------------------------


def shelf(real: Real, count: int = 16) -> list[int]:
    """Which of the bundled pictures to offer: the first of each class, then the first others."""
    firsts = [int(i) for i in np.unique(real.labels, return_index=True)[1]]
    others = [i for i in range(len(real.labels)) if i not in firsts]
    return [*firsts, *others][:count]


def bundled(real: Real, index: float | None) -> np.ndarray:
    """One bundled picture, (H, W, C) uint8; GendiffError if there is none of that number."""
    last = len(real.pictures) - 1
    if index is None or not 0 <= index <= last or int(index) != index:
        raise GendiffError(f"The real pictures are numbered 0 to {last}; got {index}.")
    return real.pictures[int(index)]


def uploaded(data: bytes | None, shape: tuple[int, int, int]) -> np.ndarray:
    """What a person uploads, (H, W, C) uint8; GendiffError if it cannot be read."""
    return to_uint8(open_picture(data or b"", shape))[0]


def packed(picture: np.ndarray) -> str:
    """(H, W, C) uint8 as text for a browser."""
    return base64.b64encode(picture.tobytes()).decode()


def drawn(sent: Any, shape: tuple[int, int, int]) -> Tensor:
    """What a browser sends as {"pixels": packed}, which is not trusted -> (1, C, H, W) in [-1, 1].

    Raises:
        GendiffError: it is not a picture of that shape.
    """
    channels, height, width = shape
    text = sent.get("pixels") if isinstance(sent, Mapping) else None
    if not isinstance(text, str) or len(text) != 4 * math.ceil(math.prod(shape) / 3):
        raise GendiffError(
            f"There is no picture of {_size(shape)} yet; choose one, upload one or draw."
        )
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise GendiffError("The drawing did not arrive whole; draw it again.") from error
    return from_uint8(np.frombuffer(data, np.uint8).reshape(1, height, width, channels))
