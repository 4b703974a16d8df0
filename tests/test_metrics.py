"""Metrics against closed forms and hand-made sets."""

from __future__ import annotations

import math

import pytest
import torch

from gendiff import metrics
from gendiff.data import PARTS
from gendiff.errors import GendiffError

# Frechet and kernel distance


def gaussian(count, mean, deviation, seed):
    """Points whose sample mean and covariance are exactly the given ones: (count, D)."""
    random = torch.Generator().manual_seed(seed)
    x = torch.randn(count, len(mean), generator=random, dtype=torch.float64)
    x = x - x.mean(0)
    root = torch.linalg.cholesky(torch.cov(x.T))
    x = torch.linalg.solve_triangular(root, x.T, upper=False).T  # now white, exactly
    return x * deviation + mean


def test_frechet_of_two_gaussians_is_the_closed_form():
    m1, s1 = torch.tensor([0.0, 1.0, -2.0]).double(), torch.tensor([1.0, 2.0, 0.5]).double()
    m2, s2 = torch.tensor([1.0, 1.0, 0.0]).double(), torch.tensor([3.0, 1.0, 0.5]).double()
    exact = ((m1 - m2) ** 2).sum() + ((s1 - s2) ** 2).sum()  # for diagonal covariances
    got = metrics.frechet(gaussian(200, m1, s1, 0), gaussian(300, m2, s2, 1))
    assert got == pytest.approx(float(exact), rel=1e-6)


def test_frechet_is_symmetric_and_zero_of_a_set_from_itself():
    a, b = torch.randn(50, 4), torch.randn(60, 4) + 1
    assert metrics.frechet(a, b) == pytest.approx(metrics.frechet(b, a), rel=1e-6)
    assert metrics.frechet(a, a) == pytest.approx(0, abs=1e-6)


def test_kernel_distance_has_mean_zero_for_equal_distributions_and_not_for_others():
    random = torch.Generator().manual_seed(0)
    draw = lambda: torch.randn(400, 8, generator=random)  # noqa: E731
    values = [metrics.kernel(draw(), draw())[0] for _ in range(8)]
    mean, error = torch.tensor(values).mean(), torch.tensor(values).std() / math.sqrt(8)
    assert abs(float(mean)) < 4 * float(error)
    assert min(values) < 0  # unbiased, so not always positive
    assert metrics.kernel(draw(), draw() + 1)[0] > 10 * max(map(abs, values))


def test_kernel_distance_is_the_same_every_time_and_leaves_the_global_stream_alone():
    a, b = torch.randn(40, 4), torch.randn(40, 4)
    before = torch.get_rng_state()
    assert metrics.kernel(a, b) == metrics.kernel(a, b)
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize("metric", [metrics.frechet, metrics.kernel, metrics.precision_recall])
def test_too_few_pictures_and_broken_features_are_one_sentence(metric):
    good = torch.randn(20, 4)
    with pytest.raises(GendiffError, match="needs at least"):
        metric(good, good[:1])
    with pytest.raises(GendiffError, match="not finite"):
        metric(good, good.masked_fill(good == good[0, 0], math.nan))


# Precision and recall


def line(*places):
    return torch.tensor(places, dtype=torch.float64)[:, None]


def test_precision_and_recall_on_a_line():
    real = line(0, 1, 2, 3, 10)  # reach of the 1st neighbour: 1, 1, 1, 1, 7
    fake = line(0.5, 0.6, 2.5, 2.6, -50)  # reach: 0.1, 0.1, 0.1, 0.1, 50.5
    # All fakes but -50 lie among the real; of the real, 0 is within 50.5 of -50, the others not.
    assert metrics.precision_recall(real, fake, k=1) == (0.8, 0.2)


def test_a_set_has_full_precision_and_recall_against_itself_and_none_far_away():
    x = torch.randn(30, 3)
    assert metrics.precision_recall(x, x) == (1.0, 1.0)
    assert metrics.precision_recall(x, x + 100) == (0.0, 0.0)


def test_one_mode_of_two_is_precise_but_recalls_half():
    near, far = torch.randn(50, 2) * 0.1, torch.randn(50, 2) * 0.1 + 9
    precision, recall = metrics.precision_recall(torch.cat([near, far]), near + 1e-4)
    assert precision == 1.0 and recall == pytest.approx(0.5, abs=0.03)


# Classes, copies


def test_obedience_counts_class_by_class():
    asked, read = torch.tensor([0, 0, 0, 0, 2, 2]), torch.tensor([0, 0, 0, 1, 2, 0])
    share, by_class = metrics.obedience(asked, read, ("a", "b", "c"))
    assert share == pytest.approx(4 / 6) and by_class == {"a": 0.75, "c": 0.5}


@pytest.mark.parametrize("size", [32, 64])
def test_nearest_finds_a_copy_and_measures_the_others(size):
    random = torch.Generator().manual_seed(0)
    train = torch.rand(20, 3, size, size, generator=random) * 2 - 1
    nearest = metrics.Nearest(train)
    assert nearest(train[3:5]).max() < 2e-3
    moved = nearest(train[3:5] + 0.1)
    torch.testing.assert_close(moved, torch.full((2,), 0.1), rtol=0.01, atol=0)
    x = torch.rand(4, 3, size, size, generator=random)
    small = torch.nn.functional.avg_pool2d(torch.cat([x, train]), size // 32).flatten(1)
    exact = torch.cdist(small[:4], small[4:]).amin(1) / math.sqrt(3 * 32 * 32)
    torch.testing.assert_close(nearest(x), exact, rtol=1e-4, atol=1e-4)


def test_copies_are_closer_than_real_pictures_and_fair_ones_are_not():
    random = torch.Generator().manual_seed(0)
    real, fair = (1 + torch.rand(2000, generator=random) for _ in range(2))
    assert metrics.copying(fair, real, 100)["closer"] == pytest.approx(0.01, abs=0.006)
    copied = torch.where(torch.arange(2000) % 2 == 0, torch.tensor(0.0), fair)
    assert metrics.copying(copied, real, 100)["closer"] > 0.5


# Counts


def test_expected_modes_are_those_that_uniform_draws_reach():
    random = torch.Generator().manual_seed(0)
    draws = torch.randint(40, (4000, 25), generator=random)
    counted = sum(len(row.unique()) for row in draws) / 4000
    assert metrics.reached(40, 25) == pytest.approx(counted, rel=0.01)
    assert metrics.reached(40, 0) == 0 and metrics.reached(40, 1) == pytest.approx(1)
    assert metrics.reached(3600, 1000) == pytest.approx(873.3, abs=0.1)


def test_divergence_is_the_closed_form():
    half = torch.tensor([0.5, 0.5])
    assert metrics.divergence(torch.tensor([7, 7]), half) == pytest.approx(0)
    assert metrics.divergence(torch.tensor([9, 0]), half) == pytest.approx(math.log(2))


def uniform_cats(count, seed=0):
    random = torch.Generator().manual_seed(seed)
    kinds = (*PARTS.values(), 6)
    return torch.stack([torch.randint(n, (count,), generator=random) for n in kinds], 1)


def test_uniform_cats_show_the_modes_the_divergence_and_the_novelty_of_chance():
    codes = uniform_cats(4000)
    said = metrics.cats(codes, torch.ones(4000, dtype=torch.bool))
    assert said["valid"] == 1
    assert said["modes"] == pytest.approx(said["modes_uniform"], rel=0.03)
    assert said["novelty"] == pytest.approx(0.1, abs=0.02)
    for name, value in said["kl"].items():
        assert 0 < value < 3 * said["kl_uniform"][name], name


def test_collapsed_cats_show_it():
    codes = uniform_cats(500)
    codes[:, 0] = 4
    codes[:, 2] = 1
    said = metrics.cats(codes, torch.ones(500, dtype=torch.bool))
    assert said["modes"] <= PARTS["accessory"]
    assert said["kl"]["body"] == pytest.approx(math.log(15))
    assert said["kl"]["mouth"] < 0.05  # not collapsed


def test_only_valid_cats_count():
    codes, valid = uniform_cats(100), torch.zeros(100, dtype=torch.bool)
    nothing = metrics.cats(codes, valid)
    assert (nothing["valid"], nothing["modes"], nothing["modes_uniform"]) == (0, 0, 0)
    valid[:25] = True
    assert metrics.cats(codes, valid)["valid"] == 0.25
    assert metrics.cats(codes, valid)["modes"] == metrics.cats(codes[:25], valid[:25])["modes"]


def test_a_mouth_under_a_scarf_is_not_counted_and_plain_furs_are_one():
    codes = uniform_cats(2000)
    codes[:, 4] = torch.where(torch.arange(2000) < 1000, 0, 1)  # half of them wear a scarf
    codes[:, 3] = torch.where(codes[:, 4] == 0, 5, codes[:, 3])  # whose mouth was misread
    said = metrics.cats(codes, torch.ones(2000, dtype=torch.bool))
    assert said["kl"]["mouth"] < 0.02
    assert said["kl"]["fur"] < 0.02  # the plain one counts double, and is expected to


def test_samples_are_joined_and_cut():
    def made(n):
        return metrics.Sample(
            torch.randn(n, 2), torch.zeros(n), torch.zeros(n, 1), torch.ones(n) > 0, torch.ones(n)
        )

    both = metrics.Sample.joined([made(3), made(4)])
    assert len(both) == 7 and len(both.first(5)) == 5 and both.first(5).codes.shape == (5, 1)
