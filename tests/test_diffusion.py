"""A trained diffusion model: sampling, stepping, decoding and guessing are one network."""

from __future__ import annotations

import math

import pytest
import torch

import gendiff
from gendiff.denoise import Guided
from gendiff.errors import GendiffError
from gendiff.latent import walk
from gendiff.noise import Noise, classes
from gendiff.sample import SAMPLERS, SPACINGS, dpmpp_2m, times


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_sample_is_the_end_of_the_trajectory(diffusion, sampler):
    options = {"sampler": sampler, "steps": 5, "guidance": 2.0, "eta": 0.3, "labels": [0, 2]}
    steps = list(diffusion.trajectory([4, 9], **options))
    drawn = diffusion.sample([4, 9], **options)
    assert drawn.shape == (2, 1, 8, 8) and drawn.dtype == torch.float32
    assert torch.equal(drawn, steps[-1].x_s.clamp(-1, 1))
    assert len(steps) == 5 and steps[0].t == 100 and steps[-1].s == 0
    assert torch.equal(gendiff.sample(diffusion, [4, 9], **options), drawn)
    public = list(gendiff.trajectory(diffusion, [4, 9], **options))
    assert torch.equal(public[-1].x_s, steps[-1].x_s)


def test_a_trajectory_is_the_sampler_on_the_seeds_noise(diffusion, device):
    noise = Noise([4, 9], device)
    by_hand = dpmpp_2m(
        Guided(diffusion.denoiser, 3.0, no_label=3),
        noise.randn(1, 8, 8),
        times(100, 7, "leading"),
        noise=noise,
        labels=torch.tensor([1, 1], device=device),
    )
    drawn = diffusion.trajectory(
        [4, 9], sampler="dpmpp_2m", steps=7, labels=1, guidance=3.0, spacing="leading"
    )
    for one, other in zip(by_hand, drawn, strict=True):
        assert torch.equal(one.x_s, other.x_s) and one.nfe == other.nfe


def test_any_class_is_the_class_that_the_seed_draws(diffusion):
    own = classes([4, 9], 3).tolist()
    assert torch.equal(
        diffusion.sample([4, 9], steps=3), diffusion.sample([4, 9], steps=3, labels=own)
    )
    other = [(label + 1) % 3 for label in own]
    changed = diffusion.sample([4, 9], steps=3, labels=other)
    assert not torch.allclose(changed, diffusion.sample([4, 9], steps=3), atol=1e-3)


def test_guidance_1_costs_nothing_and_another_doubles_the_calls(diffusion):
    plain = list(diffusion.trajectory([4], steps=3, labels=0))
    one = list(diffusion.trajectory([4], steps=3, labels=0, guidance=1))
    assert [step.nfe for step in plain] == [step.nfe for step in one] == [1, 2, 3]
    assert torch.equal(plain[-1].x_s, one[-1].x_s)
    guided = list(diffusion.trajectory([4], steps=3, labels=0, guidance=4))
    assert [step.nfe for step in guided] == [2, 4, 6]
    assert not torch.allclose(guided[-1].x_s, one[-1].x_s, atol=1e-3)


def test_samples_come_in_batches_and_do_not_depend_on_them(diffusion):
    many = diffusion.sample(range(70), sampler="ddpm", steps=2)
    assert len(many) == 70
    for seed in (0, 63, 64, 69):
        alone = diffusion.sample([seed], sampler="ddpm", steps=2)
        torch.testing.assert_close(alone[0], many[seed], rtol=0, atol=2e-3)


def test_x_T_can_be_given_and_later_noise_stays_the_seeds_own(diffusion):
    x_T = diffusion.latents([8])
    for eta in (0.0, 1.0):
        own = list(diffusion.trajectory([3], steps=4, labels=1, eta=eta))
        swapped = list(diffusion.trajectory([3], steps=4, labels=1, eta=eta, x_T=x_T))
        assert torch.equal(swapped[0].x_t, x_T) and not torch.equal(own[0].x_t, x_T)
        back = list(
            diffusion.trajectory([3], steps=4, labels=1, eta=eta, x_T=diffusion.latents([3]))
        )
        assert torch.equal(back[-1].x_s, own[-1].x_s)
    noises = [(run[0].x_s - run[0].mean) / run[0].std for run in (own, swapped)]
    torch.testing.assert_close(*noises, rtol=1e-3, atol=1e-4)


def test_decode_is_deterministic_ddim(diffusion, device):
    x_T, labels = diffusion.latents([3, 5]), torch.tensor([0, 2], device=device)
    decoded = diffusion.decode(x_T, labels, steps=6)
    assert torch.equal(decoded, diffusion.sample([3, 5], labels=labels, steps=6))
    assert torch.equal(decoded, diffusion.decode(x_T, labels, steps=6))


def test_guess_is_one_call_of_the_network(diffusion, device):
    x_t = Noise([1, 2, 3], device).randn(1, 8, 8)
    labels = torch.tensor([2, 2, 2], device=device)
    with torch.no_grad():
        expected = diffusion.denoiser(x_t, 40, labels).x0
        nothing = diffusion.denoiser(x_t, 40, torch.full_like(labels, 3)).x0
    assert torch.equal(diffusion.guess(x_t, 40, 2), expected)
    assert torch.equal(diffusion.guess(x_t.cpu(), 40, [2, 2, 2]), expected)
    torch.testing.assert_close(diffusion.guess(x_t, 40), nothing)  # the row for "no label"
    assert not torch.allclose(expected, nothing, atol=1e-3)
    for t in (0, 101, 2.5):
        with pytest.raises(GendiffError, match="t must be"):
            diffusion.guess(x_t, t)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"sampler": "euler"}, "no sampler 'euler'; choose one of ddpm, ddim"),
        ({"steps": 0}, "from 1 to 100; got 0"),
        ({"steps": 101}, "from 1 to 100; got 101"),
        ({"steps": 2.5}, "got 2.5"),
        ({"eta": 2}, "eta goes from 0"),
        ({"sampler": "ddpm", "variance": "none"}, "variance is beta"),
        ({"spacing": "karras"}, "no spacing"),
        ({"guidance": -1}, "Guidance goes from 0"),
        ({"guidance": 21}, "Guidance goes from 0"),
        ({"guidance": math.nan}, "Guidance goes from 0"),
        ({"labels": 3}, "from 0 to 2; got 3"),
        ({"labels": [0]}, "2 seeds but 1 classes"),
    ],
)
def test_bad_options_are_refused_by_the_call(diffusion, options, says):
    with pytest.raises(GendiffError, match=says):
        diffusion.trajectory([1, 2], **options)  # no step has been asked for
    with pytest.raises(GendiffError, match=says):
        diffusion.sample([1, 2], **options)


@pytest.mark.parametrize("seeds", [[], [-1], [0.5], ["a"], 7, [10**30]])
def test_bad_seeds_are_refused(diffusion, seeds):
    for call in (diffusion.sample, diffusion.trajectory, diffusion.latents):
        with pytest.raises(GendiffError, match=r"(?i)seed"):
            call(seeds)


@pytest.mark.parametrize("shape", [(2, 1, 8, 8), (1, 1, 8, 9), (1, 8, 8)])
def test_an_x_T_that_does_not_fit_is_refused(diffusion, shape):
    with pytest.raises(GendiffError, match=r"x_T must be \(1, 1, 8, 8\)"):
        diffusion.trajectory([1], x_T=torch.zeros(shape))


def test_abandoning_the_trajectory_stops_the_network(diffusion):
    calls = []
    diffusion.denoiser.net.register_forward_hook(lambda *_: calls.append(1))
    run = diffusion.trajectory([1], steps=50)
    assert calls == []
    next(run), next(run)
    run.close()
    assert len(calls) == 2


@pytest.mark.parametrize("spacing", SPACINGS)
def test_spacing_is_passed_on(diffusion, spacing):
    steps = list(diffusion.trajectory([1], steps=9, spacing=spacing))
    assert [step.t for step in steps] == times(100, 9, spacing)[:-1]


# Both families as decoders


@pytest.mark.parametrize("family", ["gan", "diffusion"])
@pytest.mark.parametrize("path", ["slerp", "lerp"])
def test_interpolation_starts_and_ends_at_the_seeds_pictures(saved, device, family, path):
    model = gendiff.load(saved / f"tiny-{family}", device.type, "float32")
    frames = list(gendiff.interpolate(model, [3, 8], 5, path, labels=1))
    assert len(frames) == 5 and all(frame.shape == (1, 1, 8, 8) for frame in frames)
    options = {} if family == "gan" else {"steps": 25}
    ends = model.sample([3, 8], labels=1, **options)
    torch.testing.assert_close(frames[0][0], ends[0], rtol=0, atol=1e-5)
    torch.testing.assert_close(frames[-1][0], ends[1], rtol=0, atol=1e-5)
    points = walk(model.latents([3, 8]), 5, path)
    label = torch.ones(1, dtype=torch.int64, device=model.device)
    for frame, point in zip(frames, points, strict=True):
        torch.testing.assert_close(frame, model.decode(point[None], label))


def test_interpolation_keeps_the_first_seeds_class(gan):
    own = int(classes([3], 3))
    for one, other in zip(
        gendiff.interpolate(gan, [3, 8, 5], 7),
        gendiff.interpolate(gan, [3, 8, 5], 7, labels=own),
        strict=True,
    ):
        assert torch.equal(one, other)


def test_interpolation_works_only_as_far_as_it_is_read(gan):
    calls = []
    gan.generator.register_forward_hook(lambda *_: calls.append(1))
    frames = gendiff.interpolate(gan, [3, 8], 50)
    next(frames), next(frames)
    frames.close()
    assert len(calls) == 2


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (([3], 5), "at least two seeds"),
        (([3, 8], 1), "number of frames"),
        (([3, 8], 5, "spiral"), "slerp or lerp"),
        (([3, -8], 5), "A seed must"),
    ],
)
def test_bad_interpolations_are_refused_by_the_call(gan, arguments, says):
    with pytest.raises(GendiffError, match=says):
        gendiff.interpolate(gan, *arguments)


def test_a_gan_has_no_trajectory(gan):
    with pytest.raises(GendiffError, match="tiny-gan makes a picture in one call"):
        gendiff.trajectory(gan, [1])
