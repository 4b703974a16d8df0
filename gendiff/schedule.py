"""What "noisy" means: the forward process, in discrete time.

t = 0 is data, t = 1..T are noise levels. Everything follows from beta_1..beta_T:

    alpha_t = 1 - beta_t,   alpha_bar_t = alpha_1 ... alpha_t,   alpha_bar_0 = 1
    x_t = sqrt(alpha_bar_t) x_0 + sqrt(1 - alpha_bar_t) eps,     eps ~ N(0, I)

Reference: Ho et al. (2020), arXiv:2006.11239, Eq. 2-7. All tables are in float64.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from gendiff.errors import GendiffError, whole

BETA_MAX = 0.999  # Nichol & Dhariwal (2021), section 3.2: keeps alpha_bar_T above zero


class Schedule:
    """The noise levels of a diffusion process, from its betas.

    Every method takes t as an int (gives a 0-d float64 tensor) or as an integer tensor (B,) (gives
    (B,) float64 on its device). `beta` and `alpha` exist for 1..T, `alpha_bar` and `log_snr` also
    for 0. An int or a CPU tensor out of range raises GendiffError; a tensor on another device is
    not looked at, because looking would wait for the device.

    Raises:
        GendiffError: a beta outside (0, 1), or betas so small or so many that alpha_bar is no
            longer strictly between 0 and 1 in float64.
    """

    def __init__(self, betas: Sequence[float] | Tensor, name: str = "custom") -> None:
        betas = torch.as_tensor(betas, dtype=torch.float64).flatten()
        if len(betas) == 0 or not bool(((betas > 0) & (betas < 1)).all()):
            raise GendiffError(
                "A schedule needs at least one beta, each strictly between 0 and 1."
            )
        self.name = name
        self.betas = betas.cpu()
        one = torch.ones(1, dtype=torch.float64)
        self.alpha_bars = torch.cat([one, (1 - self.betas).cumprod(0)])
        if not bool((1 - self.betas < 1).all()) or not float(self.alpha_bars[-1]) > 0:
            raise GendiffError(
                "These noise levels are beyond what float64 can hold; choose fewer of them, or "
                "betas that are not as close to 0 or 1."
            )
        self._tables: dict[torch.device, tuple[Tensor, Tensor]] = {}

    @property
    def T(self) -> int:
        """The number of noise levels."""
        return len(self.betas)

    def __repr__(self) -> str:
        left = math.sqrt(float(self.alpha_bars[-1]))
        return f"Schedule({self.name}, T={self.T}, signal left at T={left:.2%})"

    def _look_up(self, which: int, t: int | Tensor, lowest: int) -> Tensor:
        if not isinstance(t, Tensor):
            t = torch.tensor(whole("t", t, lowest, self.T))
        elif t.is_floating_point() or (
            t.device.type == "cpu" and bool(((t < lowest) | (t > self.T)).any())
        ):
            raise GendiffError(
                f"Each t must be a whole number from {lowest} to {self.T}; got {t}."
            )
        t = t.long()  # uint8 would be taken for a mask
        if t.device not in self._tables:
            self._tables[t.device] = (self.betas.to(t.device), self.alpha_bars.to(t.device))
        return self._tables[t.device][which][t - 1 if which == 0 else t]

    def beta(self, t: int | Tensor) -> Tensor:
        """beta_t, the variance that step t adds."""
        return self._look_up(0, t, lowest=1)

    def alpha(self, t: int | Tensor) -> Tensor:
        """alpha_t = 1 - beta_t."""
        return 1 - self.beta(t)

    def alpha_bar(self, t: int | Tensor) -> Tensor:
        """alpha_bar_t: the share of x_t's variance that is signal."""
        return self._look_up(1, t, lowest=0)

    def log_snr(self, t: int | Tensor) -> Tensor:
        """log(alpha_bar_t / (1 - alpha_bar_t)) in nats; +inf at t = 0."""
        return torch.logit(self.alpha_bar(t))

    def add_noise(self, x0: Tensor, t: int | Tensor, eps: Tensor) -> Tensor:
        """x_t = sqrt(alpha_bar_t) x_0 + sqrt(1 - alpha_bar_t) eps, any shape (B, ...)."""
        alpha_bar = self.alpha_bar(t)
        return _scale(alpha_bar.sqrt(), x0) + _scale((1 - alpha_bar).sqrt(), eps)

    def add_one_step(self, x_prev: Tensor, t: int | Tensor, eps: Tensor) -> Tensor:
        """One draw of q(x_t | x_{t-1}): x_t = sqrt(1 - beta_t) x_{t-1} + sqrt(beta_t) eps."""
        beta = self.beta(t)
        return _scale((1 - beta).sqrt(), x_prev) + _scale(beta.sqrt(), eps)

    def posterior(self, x0: Tensor, x_t: Tensor, t: int | Tensor) -> tuple[Tensor, Tensor]:
        """Mean (as x_t) and variance (0-d or (B,)) of q(x_{t-1} | x_t, x_0); Ho et al. Eq. 6-7."""
        beta, alpha_bar = self.beta(t), self.alpha_bar(t)
        before = self.alpha_bar(t - 1)
        mean = _scale(before.sqrt() * beta / (1 - alpha_bar), x0)
        mean = mean + _scale((1 - beta).sqrt() * (1 - before) / (1 - alpha_bar), x_t)
        return mean, (1 - before) / (1 - alpha_bar) * beta

    def velocity(self, x0: Tensor, eps: Tensor, t: int | Tensor) -> Tensor:
        """v_t = sqrt(alpha_bar_t) eps - sqrt(1 - alpha_bar_t) x_0.

        Salimans & Ho (2022), arXiv:2202.00512, appendix D.
        """
        alpha_bar = self.alpha_bar(t)
        return _scale(alpha_bar.sqrt(), eps) - _scale((1 - alpha_bar).sqrt(), x0)


def _scale(factor: Tensor, x: Tensor) -> Tensor:
    """factor (0-d or (B,)) times x (B, ...), in x's dtype."""
    factor = factor.to(x.dtype)
    return factor.reshape(-1, *[1] * (x.dim() - 1)) * x if factor.dim() else factor * x


def _check(T: int) -> int:
    return whole("T, the number of noise levels,", T, 1, 10_000)


def linear(T: int = 1000, beta_1: float = 1e-4, beta_T: float = 0.02) -> Schedule:
    """beta rises linearly; Ho et al. (2020), section 4.

    Made for T = 1000: with fewer levels it does not end in noise.
    """
    return Schedule(torch.linspace(beta_1, beta_T, _check(T), dtype=torch.float64), "linear")


def scaled_linear(T: int = 1000, beta_1: float = 0.00085, beta_T: float = 0.012) -> Schedule:
    """sqrt(beta) rises linearly; Rombach et al. (2022), arXiv:2112.10752.

    Keeps 7 % of the signal's amplitude at T = 1000.
    """
    if beta_1 <= 0 or beta_T <= 0:
        raise GendiffError("beta_1 and beta_T must be above 0.")
    roots = torch.linspace(beta_1**0.5, beta_T**0.5, _check(T), dtype=torch.float64)
    return Schedule(roots**2, "scaled linear")


def cosine(T: int = 1000, s: float = 0.008) -> Schedule:
    """alpha_bar(u) = cos^2((u + s) / (1 + s) pi / 2), u = t / T.

    Nichol & Dhariwal (2021), arXiv:2102.09672, Eq. 17.
    """
    if not 0 <= s <= 1:
        raise GendiffError(f"The cosine schedule's offset s must be from 0 to 1; got {s}.")
    return _from_curve(T, lambda u: torch.cos((u + s) / (1 + s) * math.pi / 2) ** 2, "cosine")


def sigmoid(T: int = 1000, start: float = -3.0, end: float = 3.0, tau: float = 1.0) -> Schedule:
    """alpha_bar falls as a sigmoid from start to end.

    Jabri et al. (2022), arXiv:2212.11972, section 3.1.
    """
    if not start < end or not tau > 0:
        raise GendiffError("The sigmoid schedule needs start below end and tau above 0.")
    low, high = torch.sigmoid(torch.tensor([start / tau, end / tau], dtype=torch.float64))

    def alpha_bar(u: Tensor) -> Tensor:
        return (high - torch.sigmoid((u * (end - start) + start) / tau)) / (high - low)

    return _from_curve(T, alpha_bar, "sigmoid")


def constant(T: int, alpha: float) -> Schedule:
    """alpha_t = alpha at every step: alpha_bar_t = alpha^t. For the lecture's loop (`renoise`)."""
    if not 0 < alpha < 1:
        raise GendiffError(f"alpha must be strictly between 0 and 1; got {alpha}.")
    return Schedule(torch.full((_check(T),), 1 - alpha, dtype=torch.float64), "constant")


def from_betas(betas: Sequence[float] | Tensor) -> Schedule:
    """The schedule with exactly these betas, beta_1 first."""
    return Schedule(betas)


def _from_curve(T: int, alpha_bar: Callable[[Tensor], Tensor], name: str) -> Schedule:
    """The betas whose products follow alpha_bar(u), u = t / T, as far as BETA_MAX lets them."""
    curve = alpha_bar(torch.arange(_check(T) + 1, dtype=torch.float64) / T)
    return Schedule((1 - curve[1:] / curve[:-1]).clamp(1e-12, BETA_MAX), name)


CONSTRUCTORS: dict[str, Callable[..., Schedule]] = {
    "linear": linear,
    "scaled_linear": scaled_linear,
    "cosine": cosine,
    "sigmoid": sigmoid,
    "constant": constant,
}


def named(name: str, **parameters: float) -> Schedule:
    """The schedule of that name (a key of CONSTRUCTORS) with its parameters, as in config.json."""
    if not isinstance(name, str) or name not in CONSTRUCTORS:
        known = ", ".join(CONSTRUCTORS)
        raise GendiffError(f"There is no schedule {name!r}; choose one of {known}.")
    try:
        return CONSTRUCTORS[name](**parameters)
    except TypeError as error:
        raise GendiffError(
            f"The schedule {name!r} cannot take these parameters: {error}."
        ) from error
