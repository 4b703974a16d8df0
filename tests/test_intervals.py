"""Intervals against what they promise: they hold the truth about 95 times in 100."""

from __future__ import annotations

import pytest
import torch

from gendiff.errors import GendiffError
from gendiff.intervals import Interval, kernel, share, wilson
from gendiff.metrics import kernel as by_subsets


def test_wilson_against_published_and_limiting_values():
    low, high = wilson(8, 10)
    assert (low, high) == pytest.approx((0.4902, 0.9433), abs=1e-4)
    assert wilson(0, 10) == pytest.approx((0.0, 0.2775), abs=1e-4)
    assert wilson(10, 10) == pytest.approx((0.7225, 1.0), abs=1e-4)
    assert wilson(0, 0) == (0.0, 1.0)
    low, high = wilson(500_000, 1_000_000)
    assert high - low == pytest.approx(2 * 1.96 * 0.5 / 1000, rel=1e-3)
    for right in range(11):  # its ends solve |p - p_hat| = z sqrt(p (1 - p) / n)
        for end in wilson(right, 10):
            assert abs(end - right / 10) == pytest.approx(
                1.96 * (max(end * (1 - end), 0) / 10) ** 0.5, abs=1e-9
            )


def test_a_share_is_its_value_and_its_interval():
    assert share(8, 10) == Interval(0.8, *wilson(8, 10))
    assert share(8, 10).holds(0.5) and not share(8, 10).holds(0.3)
    with pytest.raises(GendiffError):
        share(0, 0)


def gaussian(count, seed, shift=0.0, width=1.0):
    random = torch.Generator().manual_seed(seed)
    return torch.randn(count, 6, generator=random, dtype=torch.float64) * width + shift


def test_the_kernel_distance_is_the_one_of_the_offline_metric():
    x, y = gaussian(60, 0), gaussian(40, 1, 0.7)
    whole_sets = by_subsets(x[:40], y)  # of half the pictures, averaged over many halves
    assert kernel(x[:40], y).value == pytest.approx(whole_sets[0], abs=whole_sets[1])

    def k(a, b):
        return (a @ b / 6 + 1) ** 3

    def within(s):
        return sum(k(a, b) for i, a in enumerate(s) for j, b in enumerate(s) if i != j)

    across = sum(k(a, b) for a in x for b in y)
    said = within(x) / (60 * 59) + within(y) / (40 * 39) - 2 * across / (60 * 40)
    assert kernel(x, y).value == pytest.approx(float(said))
    assert kernel(y, x).value == pytest.approx(kernel(x, y).value)


def test_the_jackknife_leaves_each_picture_out_once():
    x, y = gaussian(9, 2), gaussian(7, 3, 0.5)
    without = [
        torch.tensor([kernel(torch.cat([s[:i], s[i + 1 :]]), o).value for i in range(len(s))])
        for s, o in ((x, y), (y, x))
    ]
    variance = sum((len(d) - 1) * d.double().var(correction=0) for d in without)
    made = kernel(x, y)
    assert made.high - made.value == pytest.approx(1.96 * float(variance.sqrt()), rel=1e-5)
    assert made.value - made.low == pytest.approx(made.high - made.value)


@pytest.mark.parametrize("shift", [0.0, 0.3, 1.5])
def test_the_interval_holds_the_truth_about_as_often_as_it_says(shift):
    truth = kernel(gaussian(4000, 10), gaussian(4000, 11, shift, 1.1)).value
    made = [kernel(gaussian(128, 100 + i), gaussian(64, 9000 + i, shift, 1.1)) for i in range(200)]
    held = sum(one.holds(truth) for one in made) / len(made)
    assert 0.88 <= held <= 1.0  # 95 % +- chance of 200 trials and of the truth's own sample
    middle = sum(one.value for one in made) / len(made)
    spread = torch.tensor([one.value for one in made]).std()
    assert middle == pytest.approx(
        truth, abs=4 * float(spread) / len(made) ** 0.5 + 0.02
    )  # unbiased
    wide = sum(one.high - one.value for one in made) / len(made) / 1.96
    assert 0.8 < wide / spread < 1.6  # no wider than it must be


def test_more_pictures_narrow_it():
    x = gaussian(256, 5)
    widths = [(one := kernel(x, gaussian(n, 6, 0.5))).high - one.low for n in (16, 64, 256)]
    assert widths[0] > 1.2 * widths[1] > 1.4 * widths[2]


def test_what_no_distance_can_be_told_of_is_refused():
    x = gaussian(16, 7)
    with pytest.raises(GendiffError, match="at least 3"):
        kernel(x, x[:2])
    with pytest.raises(GendiffError, match="not finite"):
        kernel(x, x * torch.nan)
