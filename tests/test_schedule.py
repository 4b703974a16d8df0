"""Schedule: the closed form, the chain of single steps and the posterior are one process."""

from __future__ import annotations

import itertools
import math
import operator

import pytest
import torch

from gendiff import schedule
from gendiff.errors import GendiffError

SCHEDULES = [
    schedule.linear(),
    schedule.linear(T=200),
    schedule.scaled_linear(),
    schedule.cosine(),
    schedule.cosine(T=17),
    schedule.sigmoid(T=300),
    schedule.constant(T=40, alpha=0.9),
    schedule.from_betas([0.5, 0.1, 0.9]),
]
every_schedule = pytest.mark.parametrize("levels", SCHEDULES, ids=lambda s: f"{s.name}-{s.T}")


@every_schedule
def test_alpha_bar_is_the_product_of_the_alphas(levels):
    betas = levels.betas.tolist()
    t = torch.arange(1, levels.T + 1)
    assert float(levels.alpha_bar(0)) == 1
    assert levels.beta(t).tolist() == betas
    assert levels.alpha(t).tolist() == [1 - beta for beta in betas]
    products = list(itertools.accumulate((1 - beta for beta in betas), operator.mul))
    assert levels.alpha_bar(t).tolist() == pytest.approx(products, rel=1e-12)
    assert (levels.alpha_bar(torch.arange(levels.T + 1)).diff() < 0).all()


@every_schedule
def test_log_snr_falls_from_infinity(levels):
    assert float(levels.log_snr(0)) == math.inf
    t = torch.arange(1, levels.T + 1)
    alpha_bar = levels.alpha_bar(t)
    torch.testing.assert_close(levels.log_snr(t), alpha_bar.log() - torch.log1p(-alpha_bar))
    assert (levels.log_snr(t).diff() < 0).all()


@every_schedule
def test_the_chain_of_single_steps_is_the_closed_form(levels):
    """Mean and variance of the chain, propagated exactly: both maps are linear in x and eps."""
    t = torch.arange(1, levels.T + 1)
    one, zero = torch.ones(levels.T).double(), torch.zeros(levels.T).double()
    keeps, adds = levels.add_one_step(one, t, zero), levels.add_one_step(zero, t, one)
    means, variances, mean, variance = [], [], 1.0, 0.0
    for keep, add in zip(keeps.tolist(), adds.tolist(), strict=True):
        mean, variance = keep * mean, keep**2 * variance + add**2
        means.append(mean), variances.append(variance)
    closed = levels.add_noise(one, t, zero), levels.add_noise(zero, t, one) ** 2
    assert closed[0].tolist() == pytest.approx(means, rel=1e-9)
    assert closed[1].tolist() == pytest.approx(variances, rel=1e-9)


def test_the_chain_of_drawn_steps_has_the_closed_forms_mean_and_variance():
    levels, count = schedule.linear(T=60, beta_1=1e-3, beta_T=0.1), 40_000
    random = torch.Generator().manual_seed(0)
    x = torch.full((count,), 0.8, dtype=torch.float64)
    for t in range(1, levels.T + 1):
        x = levels.add_one_step(x, t, torch.randn(count, generator=random, dtype=torch.float64))
        if t in (1, 7, 30, 60):
            alpha_bar = float(levels.alpha_bar(t))
            # 4.5 standard errors of the mean and of the variance of `count` normal numbers
            off_mean = 4.5 * math.sqrt((1 - alpha_bar) / count)
            off_variance = 4.5 * (1 - alpha_bar) * math.sqrt(2 / count)
            assert float(x.mean()) == pytest.approx(0.8 * math.sqrt(alpha_bar), abs=off_mean)
            assert float(x.var()) == pytest.approx(1 - alpha_bar, abs=off_variance)


@pytest.mark.parametrize("levels", [SCHEDULES[-1], SCHEDULES[-2], schedule.cosine(T=8)], ids=str)
@pytest.mark.parametrize(("x0", "x_t"), [(0.3, -1.2), (-0.9, 0.1), (1.0, 2.5)])
def test_the_posterior_is_bayes_rule(levels, x0, x_t):
    """q(x_{t-1} | x_t, x_0) ~ q(x_t | x_{t-1}) q(x_{t-1} | x_0), by quadrature."""
    for t in range(2, min(levels.T, 12) + 1):
        before, beta = float(levels.alpha_bar(t - 1)), float(levels.beta(t))
        x = torch.linspace(-8, 8, 200_001, dtype=torch.float64)
        log_density = -((x - math.sqrt(before) * x0) ** 2) / (2 * (1 - before))
        log_density -= (x_t - math.sqrt(1 - beta) * x) ** 2 / (2 * beta)
        weight = torch.softmax(log_density, 0)
        expected = float((weight * x).sum())
        spread = float((weight * (x - expected) ** 2).sum())
        mean, variance = levels.posterior(
            torch.tensor([x0], dtype=torch.float64), torch.tensor([x_t], dtype=torch.float64), t
        )
        assert float(mean) == pytest.approx(expected, abs=1e-8)
        assert float(variance) == pytest.approx(spread, rel=1e-6)


@every_schedule
def test_the_posterior_at_level_1_is_the_picture_itself(levels):
    x0, x_1 = torch.tensor([0.25, -1.0]), torch.tensor([0.5, 3.0])
    mean, variance = levels.posterior(x0, x_1, 1)
    torch.testing.assert_close(mean, x0)
    assert float(variance) == 0


@every_schedule
def test_velocity_is_a_rotation_of_picture_and_noise(levels):
    random = torch.Generator().manual_seed(1)
    t = torch.randint(1, levels.T + 1, (6,), generator=random)
    x0, eps = torch.randn(2, 6, 3, generator=random, dtype=torch.float64)
    x_t, v = levels.add_noise(x0, t, eps), levels.velocity(x0, eps, t)
    a, b = levels.alpha_bar(t).sqrt()[:, None], (1 - levels.alpha_bar(t)).sqrt()[:, None]
    torch.testing.assert_close(a * x_t - b * v, x0)
    torch.testing.assert_close(b * x_t + a * v, eps)
    torch.testing.assert_close(x_t**2 + v**2, x0**2 + eps**2)


@pytest.mark.parametrize("kind", [torch.int64, torch.int32, torch.uint8])
def test_a_tensor_of_levels_is_row_by_row_the_levels(kind, device):
    levels = schedule.cosine(T=60)
    t = torch.tensor([1, 60, 7], dtype=kind, device=device)
    x0, eps = torch.randn(2, 3, 2, 4, 4, device=device)
    many = {
        "beta": levels.beta(t),
        "alpha": levels.alpha(t),
        "alpha_bar": levels.alpha_bar(t),
        "log_snr": levels.log_snr(t),
    }
    for name, values in many.items():
        assert values.shape == (3,) and values.dtype == torch.float64
        assert values.device.type == device.type
        for value, one in zip(values, t.tolist(), strict=True):
            alone = getattr(levels, name)(one)
            assert alone.shape == () and alone.dtype == torch.float64
            torch.testing.assert_close(value.cpu(), alone, rtol=1e-12, atol=0)
    mean, variance = levels.posterior(x0, eps, t)
    for row, one in enumerate(t.tolist()):
        part = slice(row, row + 1)
        for name in ("add_noise", "add_one_step"):
            whole = getattr(levels, name)(x0, t, eps)
            torch.testing.assert_close(
                whole[part], getattr(levels, name)(x0[part], one, eps[part])
            )
        torch.testing.assert_close(
            levels.velocity(x0, eps, t)[part], levels.velocity(x0[part], eps[part], one)
        )
        alone = levels.posterior(x0[part], eps[part], one)
        torch.testing.assert_close(mean[part], alone[0])
        torch.testing.assert_close(variance[row].cpu(), alone[1])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("shape", [(2,), (2, 5), (2, 1, 4, 4)])
@pytest.mark.parametrize("t", [3, torch.tensor([3, 9])])
def test_images_keep_their_shape_and_dtype(dtype, shape, t):
    levels = schedule.linear(T=10)
    x, eps = torch.ones(shape, dtype=dtype), torch.zeros(shape, dtype=dtype)
    for out in (
        levels.add_noise(x, t, eps),
        levels.add_one_step(x, t, eps),
        levels.posterior(x, eps, t)[0],
        levels.velocity(x, eps, t),
    ):
        assert out.shape == shape and out.dtype == dtype


def test_what_the_schedules_leave_of_the_signal():
    """The trap of DESIGN.md section 8: the linear betas are made for T = 1000."""
    left = {
        "linear 200": schedule.linear(T=200),
        "linear 1000": schedule.linear(),
        "scaled": schedule.scaled_linear(),
        "cosine": schedule.cosine(),
    }
    left = {name: math.sqrt(float(levels.alpha_bar(levels.T))) for name, levels in left.items()}
    assert left["linear 200"] == pytest.approx(0.363, abs=0.002)
    assert left["linear 1000"] < 0.007
    assert left["scaled"] == pytest.approx(0.068, abs=0.002)
    assert left["cosine"] < 1e-4
    assert "T=200, signal left at T=36." in repr(schedule.linear(T=200))


def test_the_curves_are_the_formulas():
    levels = schedule.cosine(T=500)
    u = torch.arange(500, dtype=torch.float64) / 500  # at u = 1 the largest beta is cut off
    curve = torch.cos((u + 0.008) / 1.008 * math.pi / 2) ** 2
    torch.testing.assert_close(levels.alpha_bars[:-1], curve / curve[0], rtol=1e-9, atol=1e-12)
    assert float(levels.beta(500)) == schedule.BETA_MAX

    levels = schedule.sigmoid(T=100, start=-2, end=4, tau=0.7)
    u = torch.arange(100, dtype=torch.float64) / 100
    s = torch.sigmoid((u * 6 - 2) / 0.7)
    low, high = torch.sigmoid(torch.tensor([-2 / 0.7, 4 / 0.7], dtype=torch.float64))
    torch.testing.assert_close(levels.alpha_bars[:-1], (high - s) / (high - low))

    levels = schedule.constant(T=30, alpha=0.8)
    torch.testing.assert_close(
        levels.alpha_bars, 0.8 ** torch.arange(31, dtype=torch.float64), rtol=1e-12, atol=0
    )


@pytest.mark.parametrize(
    ("ours", "theirs", "options"),
    [
        (schedule.linear(), "linear", {}),
        (schedule.scaled_linear(), "scaled_linear", {"beta_start": 0.00085, "beta_end": 0.012}),
        (schedule.cosine(), "squaredcos_cap_v2", {}),
        (schedule.cosine(T=50), "squaredcos_cap_v2", {"num_train_timesteps": 50}),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_the_betas_are_diffusers(ours, theirs, options):
    diffusers = pytest.importorskip("diffusers", reason="NO diffusers, NOT COMPARED")
    other = diffusers.DDPMScheduler(beta_schedule=theirs, **options)
    torch.testing.assert_close(ours.betas.float(), other.betas, rtol=2e-5, atol=2e-7)
    torch.testing.assert_close(
        ours.alpha_bars[1:].float(), other.alphas_cumprod, rtol=2e-4, atol=2e-7
    )


def test_every_schedule_can_be_named():
    parameters = {"constant": {"T": 9, "alpha": 0.5}}
    for name in schedule.CONSTRUCTORS:
        given = parameters.get(name, {"T": 9})
        named, direct = schedule.named(name, **given), getattr(schedule, name)(**given)
        assert torch.equal(named.betas, direct.betas) and named.T == 9


@pytest.mark.parametrize(
    ("call", "lowest"), [("beta", 1), ("alpha", 1), ("alpha_bar", 0), ("log_snr", 0)]
)
def test_levels_out_of_range_are_refused(call, lowest):
    look_up = getattr(schedule.linear(T=10), call)
    bad = [lowest - 1, 11, 2.5, "3", None, True, math.nan, 10**30]
    bad += [torch.tensor([1, 11]), torch.tensor([lowest - 1, 1]), torch.tensor([1.0])]
    for t in bad:
        with pytest.raises(GendiffError, match=r"t must be a whole number from"):
            look_up(t)
    look_up(lowest), look_up(10), look_up(torch.tensor([lowest, 10]))


@pytest.mark.parametrize("T", [0, -1, 2.5, 10_001, "ten", math.nan, math.inf, None, True])
@pytest.mark.parametrize("name", list(schedule.CONSTRUCTORS))
def test_a_bad_number_of_levels_is_refused(name, T):
    options = {"alpha": 0.9} if name == "constant" else {}
    with pytest.raises(GendiffError, match="must be a whole number from 1 to 10,000"):
        schedule.named(name, T=T, **options)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: schedule.from_betas([]), "at least one beta"),
        (lambda: schedule.from_betas([0.1, 0.0]), "strictly between 0 and 1"),
        (lambda: schedule.from_betas([0.1, 1.0]), "strictly between 0 and 1"),
        (lambda: schedule.from_betas([-0.1]), "strictly between 0 and 1"),
        (lambda: schedule.from_betas([math.nan]), "strictly between 0 and 1"),
        (lambda: schedule.from_betas([1e-20]), "float64"),
        (lambda: schedule.constant(10_000, 0.5), "float64"),
        (lambda: schedule.linear(beta_T=1.5), "strictly between 0 and 1"),
        (lambda: schedule.scaled_linear(beta_1=-1), "above 0"),
        (lambda: schedule.cosine(s=-0.5), "offset s"),
        (lambda: schedule.cosine(s=math.nan), "offset s"),
        (lambda: schedule.sigmoid(start=1, end=1), "start below end"),
        (lambda: schedule.sigmoid(tau=0), "tau above 0"),
        (lambda: schedule.constant(10, 1.0), "alpha must be"),
        (lambda: schedule.constant(10, 0), "alpha must be"),
        (lambda: schedule.named("quadratic", T=10), "linear, scaled_linear, cosine"),
        (lambda: schedule.named("constant", T=10), "alpha"),
        (lambda: schedule.named("linear", s=3), "cannot take"),
    ],
)
def test_bad_parameters_are_refused(make, says):
    with pytest.raises(GendiffError, match=says):
        make()


def test_the_longest_legal_constant_schedule_still_has_finite_levels():
    levels = schedule.constant(1000, 0.5)
    assert math.isfinite(float(levels.log_snr(1000)))
