"""How sure a small sample can be: 95 % intervals of a share and of the kernel distance."""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import Tensor

from gendiff.errors import GendiffError

Z = 1.96  # 95 % of a normal distribution lie within that many deviations


@dataclass(frozen=True)
class Interval:
    """An estimate, and where the truth lies with 95 % confidence."""

    value: float
    low: float
    high: float

    def holds(self, value: float) -> bool:
        return self.low <= value <= self.high


def share(right: int, total: int) -> Interval:
    """The share right / total with its score interval; GendiffError for a total of 0."""
    if total < 1:
        raise GendiffError("A share of nothing is no number; take at least one picture.")
    return Interval(right / total, *wilson(right, total))


def wilson(right: int, total: int, z: float = Z) -> tuple[float, float]:
    """The score interval of a share, 95 %; (0, 1) where there is nothing.

    (p + z^2 / 2n -+ z sqrt(p (1 - p) / n + z^2 / 4n^2)) / (1 + z^2 / n) with p = right / n.
    Wilson (1927), doi:10.1080/01621459.1927.10502953.
    """
    if total == 0:
        return 0.0, 1.0
    p, square = right / total, z * z / total
    middle = p + square / 2
    reach = z * math.sqrt(p * (1 - p) / total + square / (4 * total))
    return max(0.0, (middle - reach) / (1 + square)), min(1.0, (middle + reach) / (1 + square))


def kernel(x: Tensor, y: Tensor) -> Interval:
    """Kernel distance of features (M, D), (N, D) with the interval that the jackknife gives it.

    The unbiased squared MMD (Gretton et al. 2012, Eq. 3) with KID's k(x, y) = (x.y / D + 1)^3
    (Binkowski et al. 2018, arXiv:1801.01401): it does not depend on M and N, and is below 0 as
    often as above where both are the same. Each picture is left out once: with d_i the distance
    without x_i, the variance is (M - 1) / M sum_i (d_i - mean)^2, plus the same of y; it is too
    large rather than too small (Efron and Stein 1981, doi:10.1214/aos/1176345462).

    Raises:
        GendiffError: fewer than three pictures, or features that are not finite.
    """
    if min(len(x), len(y)) < 3:
        raise GendiffError(f"This distance needs at least 3 pictures; got {min(len(x), len(y))}.")
    x, y = x.double(), y.double()
    if not bool(x.isfinite().all() and y.isfinite().all()):
        raise GendiffError("A picture's features are not finite numbers; is the model damaged?")
    m, n = len(x), len(y)
    xx, yy, xy = _cubic(x, x), _cubic(y, y), _cubic(x, y)
    own_x, own_y = xx.fill_diagonal_(0).sum(1), yy.fill_diagonal_(0).sum(1)
    within_x, within_y, across = own_x.sum(), own_y.sum(), xy.sum()
    mean_x, mean_y = within_x / (m * (m - 1)), within_y / (n * (n - 1))
    distance = float(mean_x + mean_y - 2 * across / (m * n))
    without_x = (within_x - 2 * own_x) / ((m - 1) * (m - 2)) + mean_y
    without_x = without_x - 2 * (across - xy.sum(1)) / ((m - 1) * n)
    without_y = (within_y - 2 * own_y) / ((n - 1) * (n - 2)) + mean_x
    without_y = without_y - 2 * (across - xy.sum(0)) / (m * (n - 1))
    variance = (m - 1) * without_x.var(correction=0) + (n - 1) * without_y.var(correction=0)
    reach = Z * float(variance.sqrt())
    return Interval(distance, distance - reach, distance + reach)


def _cubic(x: Tensor, y: Tensor) -> Tensor:
    return (x @ y.T / x.shape[1] + 1) ** 3
