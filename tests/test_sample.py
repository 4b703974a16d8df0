"""Samplers: one record a transition, exact against oracles and against diffusers."""

from __future__ import annotations

import math
import sys
import types
from dataclasses import FrozenInstanceError, fields

import pytest
import torch
from torch import nn

import gendiff
import gendiff.sample
from gendiff import schedule
from gendiff.denoise import Denoiser, FiniteDenoiser, GaussianDenoiser, Guided
from gendiff.errors import GendiffError
from gendiff.noise import Noise
from gendiff.sample import (
    SAMPLERS,
    SPACINGS,
    Step,
    ddim,
    ddpm,
    dpmpp_2m,
    heun,
    last,
    renoise,
    times,
)

LEVELS = schedule.linear(T=60, beta_1=1e-3, beta_T=0.2)
RUNS = [  # every sampler with every option that changes its formula
    pytest.param(ddpm, {"variance": "beta"}, id="ddpm-beta"),
    pytest.param(ddpm, {"variance": "posterior"}, id="ddpm-posterior"),
    pytest.param(ddpm, {"variance": "learned"}, id="ddpm-learned"),
    pytest.param(ddim, {}, id="ddim"),
    pytest.param(ddim, {"eta": 0.4}, id="ddim-0.4"),
    pytest.param(ddim, {"eta": 1.0}, id="ddim-1"),
    pytest.param(renoise, {}, id="renoise"),
    pytest.param(dpmpp_2m, {}, id="dpmpp_2m"),
    pytest.param(heun, {}, id="heun"),
]
DETERMINISTIC = {"ddim", "dpmpp_2m", "heun"}


class Net(nn.Module):
    """A small smooth network: its answer depends on every pixel around, on t and on the class."""

    def __init__(self, outputs=3, T=100):
        super().__init__()
        random = torch.Generator().manual_seed(5)
        weight = torch.randn(outputs, 3, 3, 3, generator=random, dtype=torch.float64)
        self.weight, self.T = nn.Parameter(0.3 * weight), T
        self.asked = []

    def forward(self, x, t, labels=None):
        assert t.shape == (len(x),)
        self.asked.append(len(x))
        h = nn.functional.conv2d(x, self.weight.to(x.dtype), padding=1)
        shift = t.to(x.dtype) / self.T + (0 if labels is None else 0.2 * labels.to(x.dtype))
        return torch.tanh(h + shift[:, None, None, None]) + 0.5 * shift[:, None, None, None]


class Tape(Noise):
    """Noise that is drawn in float64 and kept, to be played to another sampler."""

    def __init__(self, seeds):
        super().__init__(seeds)
        self.random, self.drawn = torch.Generator().manual_seed(sum(self.seeds)), []

    def like(self, x):
        self.drawn.append(torch.randn(x.shape, generator=self.random, dtype=x.dtype))
        return self.drawn[-1]


def start(count=2, device="cpu", dtype=torch.float64):
    random = torch.Generator().manual_seed(3)
    return torch.randn(count, 3, 4, 4, generator=random, dtype=torch.float64).to(device, dtype)


def denoiser_for(options, target="eps", **more):
    return Denoiser(Net(6 if options.get("variance") == "learned" else 3), LEVELS, target, **more)


# The record


@pytest.mark.parametrize(("sampler", "options"), RUNS)
@pytest.mark.parametrize("target", ["eps", "x0", "v"])
@pytest.mark.parametrize("spacing", SPACINGS)
def test_every_step_keeps_the_laws_of_the_record(sampler, options, target, spacing, device):
    grid = times(60, 8, spacing)
    denoiser, noise = denoiser_for(options, target).to(device), Tape([1, 2])
    noise.drawn = played = []
    if device.type != "cpu":
        noise = Noise([1, 2], device)
    x, calls = start(device=device), 0
    for index, step in enumerate(sampler(denoiser, x, grid, noise=noise, **options)):
        assert (step.index, step.total) == (index, 8)
        assert [step.t, step.s] == grid[index : index + 2]
        assert step.x_t is x  # chains, and starts at x_T
        a, b = LEVELS.alpha_bar(step.t).sqrt(), (1 - LEVELS.alpha_bar(step.t)).sqrt()
        torch.testing.assert_close(
            float(a) * step.x0 + float(b) * step.eps, step.x_t, rtol=1e-9, atol=1e-9
        )
        assert float(step.x0.abs().max()) <= 1
        random = isinstance(step.std, torch.Tensor) or step.std > 0
        assert random == (index < 7 and (sampler.__name__ not in DETERMINISTIC or bool(options)))
        if random and device.type == "cpu":
            torch.testing.assert_close(step.x_s, step.mean + step.std * played[index])
        elif not random:
            assert torch.equal(step.x_s, step.mean)
        calls += 2 if sampler is heun and step.s > 0 else 1
        assert step.nfe == calls == len(denoiser.net.asked)
        assert step.log_snr == pytest.approx(float(LEVELS.log_snr(step.t)), rel=1e-12)
        assert not step.x_s.requires_grad and step.x_s.dtype == torch.float64
        x = step.x_s
    assert index == 7 and step.s == 0


def test_the_record_is_frozen_and_complete():
    names = " ".join(field.name for field in fields(Step))
    assert names == "index total t s x_t x0 eps mean std x_s nfe log_snr"
    step = next(ddim(denoiser_for({}), start(), [5, 0]))
    with pytest.raises(FrozenInstanceError):
        step.t = 3


def test_guided_calls_count_double():
    net = Net()
    guided = Guided(Denoiser(net, LEVELS), 3.0, no_label=4)
    labels = torch.tensor([0, 1])
    *_, step = heun(guided, start(), times(60, 4), labels=labels)
    assert step.nfe == 2 * 7
    assert sum(net.asked) == 2 * step.nfe  # pictures through the network, for two pictures


def test_labels_reach_the_network():
    x, grid = start(), times(60, 3)
    for sampler in SAMPLERS.values():
        ends = [
            last(sampler(denoiser_for({}), x, grid, noise=Tape([1, 2]), labels=labels))
            for labels in (None, torch.tensor([0, 0]), torch.tensor([0, 3]))
        ]
        assert torch.equal(ends[0], ends[1])
        assert torch.equal(ends[0][0], ends[2][0]) and not torch.allclose(ends[0][1], ends[2][1])


@pytest.mark.parametrize(("sampler", "options"), RUNS)
def test_abandoning_the_run_stops_the_work(sampler, options):
    denoiser = denoiser_for(options)
    run = sampler(denoiser, start(), times(60, 50), noise=Noise([1, 2]), **options)
    assert denoiser.net.asked == []  # nothing is done before the first step is asked for
    next(run)
    once = len(denoiser.net.asked)
    next(run)
    run.close()
    assert len(denoiser.net.asked) == 2 * once <= 4
    assert list(run) == []


def test_the_consumer_may_compute_gradients_between_the_steps():
    for step in ddim(denoiser_for({}), start(), times(60, 3)):
        assert torch.is_grad_enabled() and not step.x0.requires_grad


@pytest.mark.parametrize(("sampler", "options"), RUNS)
def test_no_step_looks_at_a_value(sampler, options):
    """A meta tensor has a shape and no values: .item() or an if on it would raise.

    So on a GPU no step waits for the one before.
    """
    meta = torch.device("meta")
    denoiser = denoiser_for(options).to(meta)
    run = sampler(denoiser, start(device=meta), times(60, 5), noise=Noise([1, 2], meta), **options)
    assert last(run).shape == (2, 3, 4, 4)


@pytest.mark.cuda
@pytest.mark.parametrize(("sampler", "options"), RUNS)
def test_no_step_waits_for_the_gpu(sampler, options):
    denoiser, x, noise = denoiser_for(options).cuda(), start(device="cuda"), Noise([1, 2], "cuda")
    run = sampler(denoiser, x, times(60, 5), noise=noise, **options)
    next(run)
    torch.cuda.set_sync_debug_mode("error")
    try:
        last(run)
    finally:
        torch.cuda.set_sync_debug_mode("default")


# Levels


@pytest.mark.parametrize("T", [1, 2, 7, 50, 100])
@pytest.mark.parametrize("spacing", SPACINGS)
def test_the_levels_go_down_to_0(T, spacing):
    for steps in range(1, T + 1):
        grid = times(T, steps, spacing)
        assert len(grid) == steps + 1 and grid[-1] == 0 and grid[0] <= T
        assert all(type(level) is int for level in grid)
        assert all(t > s for t, s in zip(grid, grid[1:], strict=False))
        if spacing == "trailing" or (spacing == "linspace" and steps > 1):
            assert grid[0] == T
    assert times(T, T, spacing) == list(range(T, -1, -1))


@pytest.mark.parametrize("spacing", SPACINGS)
def test_the_levels_are_diffusers_plus_one(spacing):
    diffusers = pytest.importorskip("diffusers", reason="NO diffusers, NOT COMPARED")
    for T in (10, 137, 1000):
        for scheduler in (diffusers.DDIMScheduler, diffusers.DDPMScheduler):
            other = scheduler(num_train_timesteps=T, timestep_spacing=spacing)
            for steps in {1, 2, 3, 5, 7, 9, 10, 25, 50, 77, 100, 137, 250, 999, 1000}:
                if steps <= T:
                    other.set_timesteps(steps)
                    expected = (other.timesteps + 1).tolist()
                    assert times(T, steps, spacing) == [*expected, 0], (T, steps)


@pytest.mark.parametrize("steps", [0, -1, 101, 10**6, 2.5, "ten", None, math.nan, math.inf, True])
def test_a_bad_number_of_steps_is_refused(steps):
    with pytest.raises(GendiffError, match="number of steps must be a whole number from 1 to 100"):
        times(100, steps)


def test_sliders_say_whole_numbers_as_floats():
    assert times(100, 50.0) == times(100, 50)


def test_an_unknown_spacing_is_refused():
    with pytest.raises(GendiffError, match="leading, trailing, linspace"):
        times(100, 10, "karras")


# Bad input is refused by the call, not by the first step


@pytest.mark.parametrize("sampler", SAMPLERS.values(), ids=SAMPLERS)
@pytest.mark.parametrize(
    "grid",
    [
        [],
        [0],
        [5],
        [5, 3],
        [3, 5, 0],
        [5, 5, 0],
        [61, 0],
        [-1, 0],
        [5.5, 0],
        ["a", 0],
        [5, 0, -1],
    ],
    ids=str,
)
def test_bad_levels_are_refused(sampler, grid):
    with pytest.raises(GendiffError, match=r"^(A level must|The levels of a run)"):
        sampler(denoiser_for({}), start(), grid, noise=Noise([1, 2]))


@pytest.mark.parametrize(
    ("sampler", "options", "says"),
    [
        (ddpm, {"variance": "fixed"}, "beta, posterior or learned"),
        (ddim, {"eta": -0.1, "noise": Noise([1, 2])}, "eta goes from 0"),
        (ddim, {"eta": 1.1, "noise": Noise([1, 2])}, "eta goes from 0"),
        (ddim, {"eta": math.nan, "noise": Noise([1, 2])}, "eta goes from 0"),
        (ddpm, {}, r"pass noise=Noise\(seeds\)"),
        (ddim, {"eta": 0.5}, r"pass noise=Noise\(seeds\)"),
        (renoise, {}, r"pass noise=Noise\(seeds\)"),
        (ddpm, {"noise": Noise([1])}, "2 pictures but noise for 1"),
        (ddim, {"noise": Noise([1, 2, 3])}, "2 pictures but noise for 3"),
    ],
)
def test_bad_options_are_refused(sampler, options, says):
    with pytest.raises(GendiffError, match=says):
        sampler(denoiser_for({}), start(), times(60, 5), **options)


def test_learned_variance_needs_a_model_that_has_it():
    run = ddpm(denoiser_for({}), start(), [5, 0], noise=Noise([1, 2]), variance="learned")
    with pytest.raises(GendiffError, match="learned no variance"):
        next(run)
    with pytest.raises(GendiffError, match="no learned variance"):
        ddpm(GaussianDenoiser(LEVELS), start(), [5, 0], noise=Noise([1, 2]), variance="learned")


def test_the_last_step_alone_needs_no_noise():
    for sampler in SAMPLERS.values():
        step = next(sampler(denoiser_for({}), start(), [5, 0]))
        assert torch.equal(step.x_s, step.mean) and step.std == 0


def test_an_empty_run_has_no_end():
    with pytest.raises(GendiffError, match="no step"):
        last([])


# Identities


def test_ddim_with_eta_1_is_ddpm_with_the_posterior_variance():
    grid = times(60, 60)
    for clip in (True, False):
        pair = (
            ddim(denoiser_for({}, clip_x0=clip), start(), grid, noise=Tape([1, 2]), eta=1.0),
            ddpm(
                denoiser_for({}, clip_x0=clip),
                start(),
                grid,
                noise=Tape([1, 2]),
                variance="posterior",
            ),
        )
        for one, other in zip(*pair, strict=True):
            torch.testing.assert_close(one.mean, other.mean, rtol=1e-8, atol=1e-9)
            assert one.std == pytest.approx(other.std, rel=1e-8)
            torch.testing.assert_close(one.x_s, other.x_s, rtol=1e-8, atol=1e-9)


def test_ddpm_steps_are_the_schedules_posterior():
    for step in ddpm(
        denoiser_for({}), start(), times(60, 60), noise=Tape([1, 2]), variance="posterior"
    ):
        mean, variance = LEVELS.posterior(step.x0, step.x_t, step.t)
        torch.testing.assert_close(step.mean, mean)
        assert step.std == pytest.approx(math.sqrt(float(variance)), rel=1e-9)


def test_ddpm_jumps_are_the_posterior_of_the_whole_jump():
    """Leaving levels out is the chain whose single steps are the jumps."""
    grid = times(60, 7)
    jumps = [1 - float(LEVELS.alpha_bar(t) / LEVELS.alpha_bar(s)) for t, s in zip(grid, grid[1:])]  # noqa: B905
    coarse = schedule.from_betas(jumps[::-1])
    run = ddpm(denoiser_for({}), start(), grid, noise=Tape([1, 2]), variance="beta")
    for step in run:
        mean, _ = coarse.posterior(step.x0, step.x_t, 7 - step.index)
        torch.testing.assert_close(step.mean, mean)
        beta = float(coarse.beta(7 - step.index))
        assert step.std == pytest.approx(math.sqrt(beta) if step.s else 0.0, rel=1e-9)


def test_renoise_is_the_lectures_loop():
    denoiser, tape, x = denoiser_for({}), Tape([1, 2]), start()
    levels = schedule.constant(T=20, alpha=0.9)
    denoiser.schedule = levels
    for step in renoise(denoiser, x, range(20, -1, -1), noise=tape):
        guess = denoiser(x, step.t).x0
        x = guess if step.s == 0 else levels.add_noise(guess, step.s, tape.drawn[step.index])
        torch.testing.assert_close(step.x_s, x)


def test_a_memorized_picture_comes_back():
    """The exact denoiser of one picture sends every sampler to that picture."""
    picture = torch.rand(1, 3, 4, 4, dtype=torch.float64) * 2 - 1
    oracle = FiniteDenoiser(LEVELS, picture)
    for sampler in SAMPLERS.values():
        end = last(sampler(oracle, start(), times(60, 10), noise=Tape([1, 2])))
        torch.testing.assert_close(end, picture.expand(2, -1, -1, -1))


# A Gaussian, whose score is known


MEAN, STD = 0.3, 0.4


def exact_flow(levels, x, t, s):
    """Where the probability-flow ODE of N(MEAN, STD^2) carries x from level t to level s."""
    (a_t, v_t), (a_s, v_s) = (
        (math.sqrt(alpha_bar), alpha_bar * STD**2 + 1 - alpha_bar)
        for alpha_bar in (float(levels.alpha_bar(t)), float(levels.alpha_bar(s)))
    )
    return a_s * MEAN + math.sqrt(v_s / v_t) * (x - a_t * MEAN)


@pytest.mark.parametrize(("sampler", "order"), [(ddim, 1), (dpmpp_2m, 2), (heun, 2)])
def test_halving_the_steps_shows_the_order_of_convergence(sampler, order):
    """Down to a level that stays: the last jump to t = 0 is the guess of x_0, not the solver."""
    levels = schedule.linear(T=4096, beta_1=2.5e-5, beta_T=5e-3)  # as smooth as 1000 levels, finer
    oracle, end = GaussianDenoiser(levels, MEAN, STD), 512
    x = torch.linspace(-2, 2, 7, dtype=torch.float64).reshape(1, 1, 1, 7)
    errors = []
    for steps in (16, 32, 64, 128):
        grid = list(range(4096, end - 1, -(4096 - end) // steps))
        *_, step = sampler(oracle, x, [*grid, 0])
        errors.append(float((step.x_t - exact_flow(levels, x, 4096, end)).abs().max()))
    orders = [math.log2(more / less) for more, less in zip(errors, errors[1:])]  # noqa: B905
    assert all(order - 0.1 < measured < order + 0.25 for measured in orders), orders


def law_at_the_end(run, levels):
    """Mean and standard deviation of x_0 over all noise: propagated exactly, all is affine."""
    alpha_bar = float(levels.alpha_bar(levels.T))
    mean, variance = math.sqrt(alpha_bar) * MEAN, alpha_bar * STD**2 + 1 - alpha_bar
    for step in run:
        (x, y), (at_x, at_y) = step.x_t.flatten().tolist(), step.mean.flatten().tolist()
        slope = (at_y - at_x) / (y - x)
        mean, variance = at_x + slope * (mean - x), slope**2 * variance + step.std**2
    return mean, math.sqrt(variance)


@pytest.mark.parametrize(("sampler", "options"), [p for p in RUNS if p.id != "ddpm-learned"])
def test_every_sampler_reaches_the_gaussian(sampler, options):
    levels, x = schedule.cosine(T=400), torch.tensor([0.0, 1.0]).double().reshape(1, 1, 1, 2)
    errors = []
    for steps in (40, 400):
        oracle, grid = GaussianDenoiser(levels, MEAN, STD), times(400, steps, "trailing")
        run = sampler(oracle, x, grid, noise=Tape([5]), **options)
        mean, std = law_at_the_end(run, levels)
        assert mean == pytest.approx(MEAN, abs=1e-3 if sampler is heun else 1e-9)
        errors.append(abs(std - STD))
    if sampler is renoise:  # each guess is an average: what it leaves out does not come back
        assert std == pytest.approx(STD / math.sqrt(2), rel=0.02)
    else:
        assert errors[1] < 0.02 * STD and errors[1] < errors[0] / 4


def test_renoise_loses_the_variance_that_its_formula_says():
    """With r = a^2 STD^2 / v_t: var(guess) <- r^2 var(guess) + r (1 - r) STD^2, exactly."""
    levels, T = schedule.cosine(T=50), 50
    x = torch.tensor([0.0, 1.0]).double().reshape(1, 1, 1, 2)
    run = renoise(GaussianDenoiser(levels, MEAN, STD), x, times(T, T), noise=Tape([5]))
    _, std = law_at_the_end(run, levels)
    variance = STD**2
    for t in range(T, 0, -1):
        alpha_bar = float(levels.alpha_bar(t))
        r = alpha_bar * STD**2 / (alpha_bar * STD**2 + 1 - alpha_bar)
        variance = r**2 * variance + r * (1 - r) * STD**2
    assert std == pytest.approx(math.sqrt(variance), rel=1e-9)


def test_a_drawn_sample_of_a_gaussian_has_its_mean_and_variance():
    """The same with drawn noise, end to end, in float32."""
    levels, count = schedule.cosine(T=100), 128 * 128
    for sampler, options in ((ddpm, {}), (ddim, {"eta": 1.0}), (heun, {})):
        noise = Noise([9])
        x = noise.randn(1, 128, 128)
        grid = times(100, 100)
        end = last(sampler(GaussianDenoiser(levels, MEAN, STD), x, grid, noise=noise, **options))
        assert float(end.mean()) == pytest.approx(MEAN, abs=4.5 * STD / math.sqrt(count))
        # the discretization is worth 5 % at 100 steps, the draw 2.5 %
        assert float(end.std()) == pytest.approx(STD, rel=0.07)


# diffusers, elementwise


def diffusers_scheduler(name, **options):
    """Their scheduler on our levels, its table in float64."""
    diffusers = pytest.importorskip("diffusers", reason="NO diffusers, NOT COMPARED")
    other = getattr(diffusers, name)(
        num_train_timesteps=LEVELS.T, trained_betas=LEVELS.betas.tolist(), **options
    )
    torch.testing.assert_close(other.alphas_cumprod, LEVELS.alpha_bars[1:].float())
    other.alphas_cumprod, other.one = LEVELS.alpha_bars[1:], torch.ones((), dtype=torch.float64)
    return other


def their_run(other, net, x, *arguments, **options):
    """x after each step of their loop, with the same network."""
    seen = []
    with torch.no_grad():
        for t in other.timesteps:
            out = net(x, t.expand(len(x)))
            x = other.step(out, int(t), x, *arguments, **options).prev_sample
            seen.append(x)
    return seen


def assert_same(ours, theirs, tolerance):
    ours = list(ours)
    assert len(ours) == len(theirs) > 1
    for step, x in zip(ours, theirs, strict=True):
        torch.testing.assert_close(step.x_s, x, rtol=tolerance, atol=tolerance)


THEIR_TARGETS = {"eps": "epsilon", "x0": "sample", "v": "v_prediction"}


@pytest.mark.parametrize("target", THEIR_TARGETS)
@pytest.mark.parametrize("clip", [True, False])
@pytest.mark.parametrize(
    ("steps", "spacing"), [(10, "leading"), (20, "trailing"), (60, "linspace")]
)
@pytest.mark.parametrize("eta", [0.0, 0.6])
def test_ddim_is_diffusers(target, clip, steps, spacing, eta):
    """Their DDIM steps T // steps levels whatever the spacing: compared where that is the grid."""
    other = diffusers_scheduler(
        "DDIMScheduler",
        prediction_type=THEIR_TARGETS[target],
        clip_sample=clip,
        timestep_spacing=spacing,
    )
    other.final_alpha_cumprod = other.one
    other.set_timesteps(steps)
    tape, played = Tape([1, 2]), Tape([1, 2])
    run = ddim(
        denoiser_for({}, target, clip_x0=clip),
        start(),
        times(60, steps, spacing),
        noise=tape,
        eta=eta,
    )
    net, x, theirs = Net(), start(), []
    with torch.no_grad():
        for t in other.timesteps:
            out = net(x, t.expand(2))
            noise = played.like(x) if eta else None
            x = other.step(
                out, int(t), x, eta, use_clipped_model_output=clip, variance_noise=noise
            ).prev_sample
            theirs.append(x)
    assert_same(run, theirs, 1e-10)


@pytest.mark.parametrize("target", THEIR_TARGETS)
@pytest.mark.parametrize("clip", [True, False])
@pytest.mark.parametrize(
    ("steps", "spacing"), [(7, "leading"), (7, "trailing"), (7, "linspace"), (60, "leading")]
)
@pytest.mark.parametrize(
    ("variance", "theirs"),
    [("posterior", "fixed_small"), ("beta", "fixed_large"), ("learned", "learned_range")],
)
def test_ddpm_is_diffusers(monkeypatch, target, clip, spacing, steps, variance, theirs):
    other = diffusers_scheduler(
        "DDPMScheduler",
        prediction_type=THEIR_TARGETS[target],
        clip_sample=clip,
        timestep_spacing=spacing,
        variance_type=theirs,
    )
    other.set_timesteps(steps)
    played = Tape([1, 2])

    def draw(*_, **__):  # they add noise to the picture itself, where their last t is not 0
        noise = played.like(start())
        return noise if len(played.drawn) < steps else torch.zeros_like(noise)

    monkeypatch.setattr(sys.modules[type(other).__module__], "randn_tensor", draw)
    denoiser = denoiser_for({"variance": variance}, target, clip_x0=clip)
    run = ddpm(denoiser, start(), times(60, steps, spacing), noise=Tape([1, 2]), variance=variance)
    assert_same(run, their_run(other, denoiser.net, start()), 1e-10)


@pytest.mark.filterwarnings("ignore:__array__")  # theirs, with numpy 2
@pytest.mark.parametrize("target", THEIR_TARGETS)
@pytest.mark.parametrize("spacing", SPACINGS)
@pytest.mark.parametrize("steps", [2, 6, 14, 15, 33])
def test_dpmpp_2m_is_diffusers(target, spacing, steps):
    """On their own levels, which differ by name; their steps are computed in float32."""
    other = diffusers_scheduler(
        "DPMSolverMultistepScheduler",
        prediction_type=THEIR_TARGETS[target],
        algorithm_type="dpmsolver++",
        solver_order=2,
        final_sigmas_type="zero",
        timestep_spacing=spacing,
    )
    other.set_timesteps(steps)
    grid = [*(other.timesteps + 1).tolist(), 0]
    run = dpmpp_2m(denoiser_for({}, target, clip_x0=False), start(), grid)
    assert_same(run, their_run(other, Net(), start()), 1e-4)


# The same seed, the same picture


@pytest.mark.parametrize("name", [name for name in SAMPLERS])
def test_a_seed_gives_its_picture_alone_and_in_a_batch(diffusion, name):
    options = {"sampler": name, "steps": 6, "eta": 0.5 if name == "ddim" else 0.0}
    together = list(diffusion.trajectory([3, 7, 11, 7], **options))
    alone = list(diffusion.trajectory([7], **options))
    assert torch.equal(together[0].x_t[1], alone[0].x_t[0])  # the noise: bit for bit
    for many, one in zip(together, alone, strict=True):
        torch.testing.assert_close(many.x_s[1], one.x_s[0], rtol=0, atol=2e-3)
        torch.testing.assert_close(many.x_s[3], one.x_s[0], rtol=0, atol=2e-3)
    again = list(diffusion.trajectory([7], **options))
    assert torch.equal(alone[-1].x_s, again[-1].x_s)
    assert float((together[-1].x_s[0] - together[-1].x_s[1]).abs().max()) > 0.1


@pytest.mark.cuda
def test_a_seed_gives_its_picture_on_every_device(saved):
    for name, options in (("tiny-gan", {}), ("tiny-diffusion", {"sampler": "ddpm", "steps": 10})):
        here, there = (
            gendiff.load(saved / name, device, "float32").sample([1, 2, 3], **options).cpu()
            for device in ("cpu", "cuda")
        )
        torch.testing.assert_close(here, there, rtol=0, atol=2e-3)


# The module is also the verb


def test_sample_is_a_module_and_can_be_called(diffusion, gan):
    assert isinstance(gendiff.sample, types.ModuleType)
    assert gendiff.sample is sys.modules["gendiff.sample"] and callable(gendiff.sample)
    assert gendiff.sample.ddim is ddim and gendiff.sample.times is times
    drawn = gendiff.sample(diffusion, [1, 2], labels=1, steps=3)
    assert torch.equal(drawn, diffusion.sample([1, 2], labels=1, steps=3))
    drawn = gendiff.sample(gan, [1, 2], truncation=0.5)
    assert torch.equal(drawn, gan.sample([1, 2], truncation=0.5))


def test_all_samplers_are_listed_under_their_names():
    assert {name: getattr(gendiff.sample, name) for name in SAMPLERS} == SAMPLERS
    assert set(SAMPLERS) == {"ddpm", "ddim", "renoise", "dpmpp_2m", "heun"}
