"""The runs of the Denoise tab: sums, moments, what is shown of a long run, and stopping."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import islice, pairwise

import numpy as np
import pytest
import torch

from gendiff.errors import GendiffError
from gendiff.gan import resolve_labels
from gendiff.images import to_uint8
from gendiff.sample import SAMPLERS
from gendiff.studio import Studio, denoising
from gendiff.studio.denoising import EPS_SCALE, Settings, prepare, spread
from gendiff.studio.sums import terms

NAME, SEEDS = "tiny-diffusion", (3, 14, 15)
RUNS = [
    {"sampler": "ddpm", "variance": "beta"},
    {"sampler": "ddpm", "variance": "posterior"},
    {"sampler": "ddim", "eta": 0.0},
    {"sampler": "ddim", "eta": 0.6},
    {"sampler": "ddim", "eta": 1.0},
    {"sampler": "renoise"},
    {"sampler": "dpmpp_2m"},
    {"sampler": "heun"},
]


@pytest.fixture
def studio(saved, device):
    return Studio(saved, device.type, "float32")


@pytest.fixture
def count_calls(studio):
    """A list that grows by the batch of each network call, from now on."""
    calls = []
    net = studio.model(NAME).denoiser.net
    net.register_forward_hook(lambda _, inputs, __: calls.append(len(inputs[0])))
    return calls


def records(diffusion, steps=7, first=None, **options):
    """A run's steps, or only the first few of them."""
    return list(islice(diffusion.trajectory(SEEDS, steps=steps, **options), first))


def test_every_sampler_of_the_library_has_its_sum():
    assert {run["sampler"] for run in RUNS} == set(SAMPLERS)


@pytest.mark.parametrize("options", RUNS, ids=str)
@pytest.mark.parametrize("steps", [1, 2, 9])
def test_the_terms_add_up_to_the_next_picture(diffusion, options, steps):
    before = None
    for step in records(diffusion, steps, **options):
        parts = terms(options["sampler"], diffusion.schedule, step, before)
        total = sum(part.weight * part.value for part in parts)
        torch.testing.assert_close(total, step.x_s, atol=1e-5, rtol=0)
        before = step


def test_ddpm_weights_are_the_posterior_mean_between_neighbours(diffusion):
    step = records(diffusion, 100, 6, sampler="ddpm")[-1]
    assert step.s == step.t - 1
    guess, stay, fresh = terms("ddpm", diffusion.schedule, step)
    one, nothing = torch.ones(1, dtype=torch.float64), torch.zeros(1, dtype=torch.float64)
    mean_of_guess, variance = diffusion.schedule.posterior(one, nothing, step.t)
    mean_of_stay, _ = diffusion.schedule.posterior(nothing, one, step.t)
    assert guess.weight == pytest.approx(float(mean_of_guess), rel=1e-9)
    assert stay.weight == pytest.approx(float(mean_of_stay), rel=1e-9)
    assert (guess.quantity, stay.quantity, fresh.quantity) == ("x0", "x_t", "z")
    posterior = records(diffusion, 100, 6, sampler="ddpm", variance="posterior")[-1]
    small = terms("ddpm", diffusion.schedule, posterior)[2]
    assert small.weight == pytest.approx(math.sqrt(float(variance)), rel=1e-9)


def test_z_is_the_noise_that_the_seed_draws(diffusion):
    from gendiff.noise import Noise

    noise = Noise(SEEDS, diffusion.device)
    x_T = noise.randn(*diffusion.shape)
    for step in records(diffusion, sampler="renoise")[:-1]:
        z = terms("renoise", diffusion.schedule, step)[1].value
        torch.testing.assert_close(z, noise.like(x_T), atol=2e-5, rtol=0)


def test_the_last_step_adds_no_noise(diffusion):
    last = records(diffusion, sampler="ddpm")[-1]
    z = terms("ddpm", diffusion.schedule, last)[2]
    assert z.weight == 0 and not z.value.any()


def test_heuns_second_velocity_is_the_networks_at_the_end_of_the_step(diffusion):
    step = records(diffusion, sampler="heun")[2]
    schedule = diffusion.schedule
    euler = schedule.add_noise(step.x0, step.s, step.eps)
    labels = resolve_labels(None, SEEDS, diffusion.classes, diffusion.device)
    with torch.no_grad():
        there = diffusion.denoiser(euler, step.s, labels)
    expected = schedule.velocity(there.x0, there.eps, step.s)
    v_s = terms("heun", schedule, step)[2].value
    torch.testing.assert_close(v_s, expected, atol=1e-4, rtol=0)


def test_dpmpp_2m_looks_back_from_the_second_step_on(diffusion):
    first, second, *_, last = records(diffusion, sampler="dpmpp_2m")
    names = [
        [term.quantity for term in terms("dpmpp_2m", diffusion.schedule, step, before)]
        for step, before in ((first, None), (second, first), (last, second))
    ]
    assert names == [["x_t", "x0"], ["x_t", "x0", "x0_before"], ["x_t", "x0"]]


def test_an_unknown_sampler_has_no_formula(diffusion):
    with pytest.raises(GendiffError, match="no formula for 'euler'"):
        terms("euler", diffusion.schedule, records(diffusion)[0])


def test_moments_are_the_samplers_steps(studio):
    chosen = Settings(NAME, SEEDS, label=1, sampler="ddpm", steps=9, guidance=2.0)
    job = prepare(studio, chosen)
    drawn, *moments = job.moments()
    steps = list(
        job.model.trajectory(
            SEEDS,
            sampler="ddpm",
            steps=9,
            labels=1,
            guidance=2.0,
            variance="posterior",
            spacing="trailing",
        )
    )
    assert len(moments) == 9
    for number, (moment, step) in enumerate(zip(moments, steps, strict=True), start=1):
        shown = (step.x_t, step.eps / EPS_SCALE, step.x0, step.x_s)
        for picture, tensor in zip(moment.pictures, shown, strict=True):
            assert np.array_equal(picture, to_uint8(tensor))
        schedule = job.model.schedule
        assert (moment.number, moment.t, moment.s, moment.nfe) == (
            number,
            step.t,
            step.s,
            2 * number,
        )
        assert moment.beta_t == float(schedule.beta(step.t))
        assert moment.alpha_bar_t == float(schedule.alpha_bar(step.t))
        assert moment.log_snr_t == pytest.approx(float(schedule.log_snr(step.t)))
        assert moment.sigma_t == step.std
        assert moment.pixel == float(step.x_s[0, 0, 4, 4])
        total = sum(term.weight * term.value for term in moment.terms)
        assert total == pytest.approx(moment.pixel, abs=1e-5)
    assert np.array_equal(drawn.pictures[3], moments[0].pictures[0])
    assert (drawn.number, drawn.nfe, drawn.seconds, drawn.terms) == (0, 0, 0.0, ())
    assert drawn.t == drawn.s == moments[0].t == job.model.schedule.T
    times = [moment.seconds for moment in (drawn, *moments)]
    assert times == sorted(times) and times[-1] > 0


def test_each_output_is_the_next_input(studio):
    _, *moments = prepare(studio, Settings(NAME, SEEDS, steps=5)).moments()
    for one, following in pairwise(moments):
        assert one.s == following.t
        assert np.array_equal(one.pictures[3], following.pictures[0])
    assert moments[-1].s == 0


@pytest.mark.parametrize(
    ("total", "most"), [(1, 5), (2, 2), (5, 5), (7, 3), (1000, 200), (999, 2)]
)
def test_spread_keeps_both_ends_and_is_even(total, most):
    kept = spread(total, most)
    assert kept[0] == 0 and kept[-1] == total - 1
    assert len(kept) == min(total, most)
    gaps = {b - a for a, b in pairwise(kept)}
    assert not gaps or max(gaps) - min(gaps) <= 1


def test_of_a_long_run_some_steps_are_shown_and_all_are_counted(studio, monkeypatch):
    monkeypatch.setattr(denoising, "SHOWN_MAX", 7)
    job = prepare(studio, Settings(NAME, SEEDS, steps=30))
    whole = records(job.model, 30, spacing="trailing")
    _, *moments = job.moments()
    assert len(moments) == 7
    assert [m.number for m in moments] == [index + 1 for index in job.shown]
    assert (moments[0].number, moments[-1].number) == (1, 30)
    for moment in moments:
        step = whole[moment.number - 1]
        assert (moment.t, moment.s, moment.nfe) == (step.t, step.s, step.nfe)
        assert np.array_equal(moment.pictures[3], to_uint8(step.x_s))


def test_large_pictures_are_shown_in_fewer_steps(studio, monkeypatch):
    size = 3 * 64  # of three pictures in one pane
    monkeypatch.setattr(denoising, "BYTES_MAX", 3 * 51 * size)
    assert prepare(studio, Settings(NAME, SEEDS, steps=50)).shown == tuple(range(50))
    monkeypatch.setattr(denoising, "BYTES_MAX", 3 * 51 * size - 1)
    job = prepare(studio, Settings(NAME, SEEDS, steps=50))
    assert job.thinned and len(job.shown) == (3 * 51 * size - 1) // (4 * size)
    monkeypatch.setattr(denoising, "BYTES_MAX", 1)
    assert prepare(studio, Settings(NAME, SEEDS, steps=50)).shown == (0, 49)


@pytest.mark.parametrize(
    ("pictures", "size", "steps"),
    [(16, 3 * 64 * 64, 50), (16, 32 * 32, 1000), (1, 3 * 64 * 64, 1000)],
    ids=["16 cats", "16 of fashion", "1 cat"],
)
def test_every_step_of_these_is_shown(pictures, size, steps):
    assert denoising._shown(steps, pictures * size) == list(range(steps))


def test_nothing_runs_before_it_is_asked_for_and_closing_stops_it(studio, count_calls):
    moments = prepare(studio, Settings(NAME, SEEDS, steps=50)).moments()
    next(moments)
    assert count_calls == []
    next(moments)
    next(moments)
    assert count_calls == [3, 3]
    moments.close()
    assert count_calls == [3, 3]
    assert next(moments, None) is None


def test_captions_say_seed_and_class(studio):
    drawn = resolve_labels(None, SEEDS, 3, "cpu").tolist()
    names = studio.card(NAME).classes
    assert prepare(studio, Settings(NAME, SEEDS)).captions() == [
        f"seed {seed}, {names[label]}" for seed, label in zip(SEEDS, drawn, strict=True)
    ]
    assert prepare(studio, Settings(NAME, (7,), label=2)).captions() == ["seed 7, star"]


def test_the_curve_goes_through_the_levels_of_the_run(studio):
    job = prepare(studio, Settings(NAME, SEEDS, steps=9))
    ts, nats = job.log_snr()
    assert ts == sorted(set(ts)) and (ts[0], ts[-1]) == (1, 100)
    assert set(job.levels[:-1]) <= set(ts)
    assert nats == sorted(nats, reverse=True)
    assert nats[ts.index(50)] == pytest.approx(float(job.model.schedule.log_snr(50)))


GOOD = Settings(NAME, (0,), steps=5)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"seeds": ()}, "1 to 16 pictures"),
        ({"seeds": tuple(range(17))}, "1 to 16 pictures"),
        ({"seeds": (-1,)}, "whole number from 0"),
        ({"seeds": (10**30,)}, "whole number from 0"),
        ({"steps": 0}, "from 1 to 100"),
        ({"steps": 101}, "from 1 to 100"),
        ({"steps": 10**30}, "from 1 to 100"),
        ({"steps": 2.5}, "whole number"),
        ({"guidance": -1}, "from 0 to 20"),
        ({"guidance": 1e9}, "from 0 to 20"),
        ({"guidance": math.nan}, "from 0 to 20"),
        ({"eta": 1.5}, "from 0"),
        ({"eta": math.nan}, "from 0"),
        ({"label": 3}, "from 0 to 2"),
        ({"sampler": "euler"}, "no sampler"),
        ({"sampler": "ddpm", "variance": "learned"}, "posterior or beta"),
        ({"model": "tiny-gan"}, "choose a diffusion model"),
        ({"model": "nobody"}, "no model"),
        ({"dtype": "int8"}, "dtype"),
    ],
    ids=str,
)
def test_bad_settings_are_one_sentence_before_any_work(studio, count_calls, changes, said):
    with pytest.raises(GendiffError, match=said):
        prepare(studio, replace(GOOD, **changes))
    assert count_calls == []
