"""Denoiser: one pair (x0, eps), whatever the network predicts."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from gendiff import schedule
from gendiff.denoise import (
    TARGETS,
    Denoiser,
    FiniteDenoiser,
    GaussianDenoiser,
    Guided,
    Unguided,
)
from gendiff.errors import GendiffError

LEVELS = schedule.linear(T=50, beta_1=1e-3, beta_T=0.2)


class Says(nn.Module):
    """A network without weights that says what it is told, and remembers how it was called."""

    def __init__(self, answer):
        super().__init__()
        self.answer, self.calls = answer, []

    def forward(self, *arguments):
        self.calls.append(arguments)
        return self.answer(*arguments) if callable(self.answer) else self.answer


def noisy(t, count=5, seed=0, spread=0.5):
    """x0, eps and x_t (count, 2, 3, 3) in float64."""
    random = torch.Generator().manual_seed(seed)
    x0, eps = torch.randn(2, count, 2, 3, 3, generator=random, dtype=torch.float64)
    x0 = x0 * spread
    return x0, eps, LEVELS.add_noise(x0, t, eps)


def target_of(target, x0, eps, t):
    return {"eps": eps, "x0": x0, "v": LEVELS.velocity(x0, eps, t)}[target]


def belongs_together(prediction, x_t, t):
    torch.testing.assert_close(
        LEVELS.add_noise(prediction.x0, t, prediction.eps), x_t, rtol=1e-9, atol=1e-9
    )


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("t", [1, 25, 50, torch.tensor([1, 2, 30, 49, 50])], ids=str)
def test_a_perfect_network_gives_the_picture_and_the_noise(target, t):
    x0, eps, x_t = noisy(t)
    denoiser = Denoiser(Says(target_of(target, x0, eps, t)), LEVELS, target, clip_x0=False)
    prediction = denoiser(x_t, t)
    torch.testing.assert_close(prediction.x0, x0, rtol=1e-8, atol=1e-8)
    torch.testing.assert_close(prediction.eps, eps, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("clip", [True, False])
def test_the_three_targets_say_the_same(clip):
    t = torch.tensor([1, 2, 30, 49, 50])
    _, _, x_t = noisy(t)
    x0, _, _ = noisy(t, seed=1, spread=2)  # a wrong belief, beyond [-1, 1] here and there
    a, b = Denoiser.levels(Denoiser(Says(x0), LEVELS), t, x_t)
    eps = (x_t - a * x0) / b
    said = [
        Denoiser(Says(target_of(target, x0, eps, t)), LEVELS, target, clip)(x_t, t)
        for target in TARGETS
    ]
    for prediction in said:
        torch.testing.assert_close(prediction.x0, x0.clamp(-1, 1) if clip else x0)
        torch.testing.assert_close(prediction.eps, said[0].eps)
        belongs_together(prediction, x_t, t)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("t", [1, 50, torch.tensor([1, 2, 30, 49, 50])], ids=str)
def test_eps_belongs_to_the_clipped_picture(target, t):
    _, _, x_t = noisy(t)
    said = noisy(t, seed=2, spread=3)[0] * 3
    prediction = Denoiser(Says(said), LEVELS, target)(x_t, t)
    free = Denoiser(Says(said), LEVELS, target, clip_x0=False)(x_t, t)
    belongs_together(prediction, x_t, t)
    belongs_together(free, x_t, t)
    torch.testing.assert_close(prediction.x0, free.x0.clamp(-1, 1))
    inside = free.x0.abs() < 1
    assert not inside.all()
    torch.testing.assert_close(prediction.eps[inside], free.eps[inside])


@pytest.mark.parametrize("t", [1, 17, torch.tensor([1, 17, 50]), torch.tensor([50] * 3).int()])
def test_the_network_is_asked_at_t_minus_1(t, device):
    net, x_t = Says(lambda x, *_: x), torch.zeros(3, 1, 2, 2, device=device)
    if isinstance(t, torch.Tensor):
        t = t.to(device)
    Denoiser(net, LEVELS)(x_t, t)
    ((x, counted),) = net.calls  # and without labels, if there are none
    assert torch.equal(x, x_t)
    assert counted.shape == (3,) and counted.dtype == torch.int64
    assert counted.device.type == device.type
    expected = [t - 1] * 3 if isinstance(t, int) else [one - 1 for one in t.tolist()]
    assert counted.tolist() == expected


def test_labels_are_passed_on():
    net, labels = Says(lambda x, *_: x), torch.tensor([4, 2])
    Denoiser(net, LEVELS)(torch.zeros(2, 1, 2, 2), 3, labels)
    assert net.calls[0][2] is labels


@pytest.mark.parametrize("weights", [torch.float32, torch.bfloat16, torch.float64])
def test_the_net_computes_in_its_own_precision_and_the_pair_in_that_of_x_t(weights):
    conv = nn.Conv2d(2, 2, 3, padding=1)
    denoiser = Denoiser(conv, LEVELS)
    conv.to(weights)  # after the Denoiser was made
    for dtype in (torch.float32, torch.float64):
        denoiser.net = Says(lambda x, _: conv(x))
        denoiser.net.conv = conv
        x_t = torch.randn(3, 2, 4, 4, dtype=dtype)
        prediction = denoiser(x_t, 7)
        assert denoiser.net.calls[0][0].dtype == weights
        assert prediction.x0.dtype == prediction.eps.dtype == dtype


def test_an_unknown_target_is_refused():
    with pytest.raises(GendiffError, match="one of eps, x0, v; got 'score'"):
        Denoiser(Says(None), LEVELS, "score")


@pytest.mark.parametrize("t", [0, 51, 2.5, torch.tensor([1, 51])])
def test_levels_out_of_range_are_refused(t):
    with pytest.raises(GendiffError, match="t must be"):
        Denoiser(Says(lambda x, *_: x), LEVELS)(torch.zeros(2, 1, 2, 2), t)


# Learned variance


def test_the_other_half_of_the_channels_is_the_variance():
    _, _, x_t = noisy(20)
    out = torch.randn(5, 4, 3, 3, dtype=torch.float64)
    denoiser = Denoiser(Says(out), LEVELS)
    prediction, share = denoiser.with_variance(x_t, 20)
    torch.testing.assert_close(share, (out[:, 2:] + 1) / 2)
    plain = Denoiser(Says(out[:, :2]), LEVELS)(x_t, 20)
    for pair in (prediction, denoiser(x_t, 20)):
        assert torch.equal(pair.x0, plain.x0) and torch.equal(pair.eps, plain.eps)


def test_a_model_without_learned_variance_says_so():
    denoiser = Denoiser(Says(lambda x, *_: x), LEVELS)
    labels = torch.zeros(1, dtype=torch.int64)
    for one in (denoiser, Guided(denoiser, 2.0, no_label=3)):
        with pytest.raises(GendiffError, match='"beta" or "posterior"'):
            one.with_variance(torch.zeros(1, 2, 3, 3), 5, labels)


# Guidance


def conditional(x, t, labels):
    """An answer that depends on all three."""
    return torch.sin(3 * x + t[:, None, None, None] / 9) + 0.3 * labels[:, None, None, None]


@pytest.mark.parametrize("t", [1, 33, torch.tensor([1, 2, 30, 49, 50])], ids=str)
@pytest.mark.parametrize("target", TARGETS)
def test_guidance_mixes_the_outputs(target, t):
    _, _, x_t = noisy(t)
    labels, none = torch.tensor([0, 1, 2, 1, 0]), torch.full((5,), 3)
    plain = Denoiser(Says(conditional), LEVELS, target)
    one, zero = Guided(plain, 1.0, 3)(x_t, t, labels), Guided(plain, 0.0, 3)(x_t, t, labels)
    torch.testing.assert_close(one.x0, plain(x_t, t, labels).x0)
    torch.testing.assert_close(one.eps, plain(x_t, t, labels).eps)
    torch.testing.assert_close(zero.x0, plain(x_t, t, none).x0)
    torch.testing.assert_close(zero.eps, plain(x_t, t, none).eps)
    counted = (torch.as_tensor(t) - 1).expand(5)
    with_label, without = conditional(x_t, counted, labels), conditional(x_t, counted, none)
    mixed = without + 2.5 * (with_label - without)
    expected = Denoiser(Says(mixed), LEVELS, target)(x_t, t)  # mixed before it is clipped
    guided = Guided(plain, 2.5, 3)(x_t, t, labels)
    torch.testing.assert_close(guided.x0, expected.x0)
    torch.testing.assert_close(guided.eps, expected.eps)
    belongs_together(guided, x_t, t)


def test_guidance_is_one_call_on_twice_the_pictures_and_counts_as_two():
    net = Says(conditional)
    guided = Guided(Denoiser(net, LEVELS), 2.0, no_label=9)
    guided(torch.zeros(3, 2, 3, 3), 5, torch.tensor([0, 1, 2]))
    ((x, t, labels),) = net.calls
    assert len(x) == 6 and t.tolist() == [4] * 6 and labels.tolist() == [0, 1, 2, 9, 9, 9]
    assert guided.calls == 2 and Denoiser.calls == 1
    assert guided.schedule is LEVELS


def test_guidance_does_not_mix_a_learned_variance():
    def both(x, t, labels):
        shares = labels[:, None, None, None].expand(-1, 2, 3, 3) / 4
        return torch.cat([conditional(x, t, labels), shares], dim=1)

    _, _, x_t = noisy(9)
    labels = torch.tensor([0, 1, 2, 1, 0])
    guided = Guided(Denoiser(Says(both), LEVELS), 5.0, no_label=3)
    prediction, share = guided.with_variance(x_t, 9, labels)
    torch.testing.assert_close(share[:, 0, 0, 0], (labels / 4 + 1) / 2, check_dtype=False)
    plain = Guided(Denoiser(Says(conditional), LEVELS), 5.0, no_label=3)(x_t, 9, labels)
    torch.testing.assert_close(prediction.x0, plain.x0)


def test_guidance_needs_classes():
    with pytest.raises(GendiffError, match="a class for every picture"):
        Guided(Denoiser(Says(conditional), LEVELS), 2.0, 3)(torch.zeros(1, 2, 3, 3), 5)


# Exact denoisers


@pytest.mark.parametrize("t", [1, 10, 50])
def test_the_gaussian_denoiser_is_the_posterior_mean(t):
    """E[x_0 | x_t] by quadrature over x_0 ~ N(0.3, 0.4^2)."""
    denoiser = GaussianDenoiser(LEVELS, mean=0.3, std=0.4)
    a, b = denoiser.schedule.alpha_bar(t).sqrt(), (1 - denoiser.schedule.alpha_bar(t)).sqrt()
    x_t = torch.tensor([[-2.0], [0.1], [1.4]], dtype=torch.float64)
    x0 = torch.linspace(-4, 4, 400_001, dtype=torch.float64)
    weight = torch.softmax(-((x0 - 0.3) ** 2) / 0.32 - (x_t - a * x0) ** 2 / (2 * b**2), dim=1)
    prediction = denoiser(x_t, t)
    torch.testing.assert_close(prediction.x0[:, 0], weight @ x0, rtol=1e-9, atol=1e-9)
    belongs_together(prediction, x_t, t)


def test_the_finite_denoiser_of_two_is_a_logistic_curve():
    data = torch.tensor([[-0.5], [0.7]], dtype=torch.float64)
    denoiser = FiniteDenoiser(LEVELS, data)
    x_t = torch.linspace(-3, 3, 13, dtype=torch.float64)[:, None]
    for t in (1, 20, 50):
        alpha_bar = float(LEVELS.alpha_bar(t))
        middle, half = 0.1 * math.sqrt(alpha_bar), 0.6 * math.sqrt(alpha_bar)
        share = torch.sigmoid(2 * half * (x_t - middle) / (1 - alpha_bar))
        prediction = denoiser(x_t, t)
        torch.testing.assert_close(prediction.x0, -0.5 + 1.2 * share)
        belongs_together(prediction, x_t, t)


def test_the_finite_denoiser_of_one_knows_and_at_little_noise_picks_the_nearest():
    data = torch.rand(6, 2, 3, 3, dtype=torch.float64) * 2 - 1
    _, eps, _ = noisy(1)
    one = FiniteDenoiser(LEVELS, data[:1])(torch.randn(5, 2, 3, 3).double(), 40)
    torch.testing.assert_close(one.x0, data[:1].expand(5, -1, -1, -1))
    members = data[[4, 0, 2, 5, 1]]
    near = FiniteDenoiser(LEVELS, data)(LEVELS.add_noise(members, 1, eps), 1)
    torch.testing.assert_close(near.x0, members)


@pytest.mark.parametrize("make", ["gaussian", "finite"])
def test_exact_denoisers_take_a_level_for_each_picture(make, device):
    data = torch.randn(7, 2, 3, 3, dtype=torch.float64, device=device)
    oracle = {
        "gaussian": GaussianDenoiser(LEVELS, 0.1, 0.5),
        "finite": FiniteDenoiser(LEVELS, data),
    }[make]
    t = torch.tensor([1, 2, 30, 49, 50], device=device)
    x_t = torch.randn(5, 2, 3, 3, dtype=torch.float64, device=device)
    many = oracle(x_t, t)
    for row, one in enumerate(t.tolist()):
        alone = oracle(x_t[row : row + 1], one)
        torch.testing.assert_close(many.x0[row], alone.x0[0])
        torch.testing.assert_close(many.eps[row], alone.eps[0])


# The loss


@pytest.mark.parametrize(("cap", "floor"), [(0.5, 0.0), (5.0, 0.0), (5.0, 0.2), (math.inf, 0.0)])
def test_the_loss_is_the_same_error_of_x0_for_every_target(cap, floor):
    """The SNR in its bounds times |x0 - guess|^2, whatever the network predicts."""
    t = torch.tensor([1, 2, 30, 49, 50])
    x0, eps, x_t = noisy(t)
    guess = x0 + 0.1 * noisy(t, seed=3)[0]
    a, b = Denoiser.levels(Denoiser(Says(x0), LEVELS), t, x_t)
    snr = torch.exp(LEVELS.log_snr(t))
    expected = snr.clamp(floor, cap) * ((guess - x0) ** 2).flatten(1).mean(1)
    for target in TARGETS:
        said = target_of(target, guess, (x_t - a * guess) / b, t)
        loss = Denoiser(Says(said), LEVELS, target).loss(x0, t, eps, None, cap, floor)
        assert loss.shape == (5,)
        torch.testing.assert_close(loss, expected)


def test_without_a_cap_it_is_the_simple_loss():
    t = torch.tensor([1, 2, 30, 49, 50])
    x0, eps, x_t = noisy(t)
    net = Says(lambda x, t: torch.sin(x))
    loss = Denoiser(net, LEVELS).loss(x0, t, eps, snr_cap=math.inf)
    torch.testing.assert_close(loss, ((torch.sin(x_t) - eps) ** 2).flatten(1).mean(1))
    torch.testing.assert_close(net.calls[0][0], x_t)


@pytest.mark.parametrize("target", TARGETS)
def test_the_loss_teaches_the_network(target):
    net = nn.Conv2d(2, 2, 1)
    denoiser = Denoiser(nn.Sequential(), LEVELS, target)
    denoiser.net = Says(lambda x, t: net(x))
    x0, eps, _ = noisy(20)
    t = torch.full((5,), 20)
    loss = denoiser.loss(x0.float(), t, eps.float()).mean()
    loss.backward()
    assert net.weight.grad.isfinite().all() and float(net.weight.grad.abs().sum()) > 0


def test_unguided_undoes_guided_where_there_is_a_label():
    class Classes(torch.nn.Module):
        """Says (label + 1) x; label 3 is none."""

        def forward(self, x, t, labels):
            return (labels + 1.0)[:, None, None, None] * x

    class AsNet(torch.nn.Module):
        """A network that has guidance built in."""

        def __init__(self):
            super().__init__()
            self.guided = Guided(Denoiser(Classes(), LEVELS), 2.5, no_label=3)

        def forward(self, x, t, labels):
            return self.guided.output(x, t + 1, labels)

    x, labels = noisy(20)[0].float(), torch.tensor([0, 1, 2, 3, 3])
    t = torch.full((5,), 19)
    plain = Unguided(AsNet(), 2.5, no_label=3)(x, t, labels)
    assert torch.allclose(plain, Classes()(x, t, labels), atol=1e-5)


def test_training_the_unguided_network_builds_the_guidance_in():
    table = torch.nn.Embedding(3, 1)  # says one number for each label; 2 is none
    torch.nn.init.normal_(table.weight)

    class Table(torch.nn.Module):
        def forward(self, x, t, labels):
            return table(labels)[:, :, None, None] + 0 * x

    net, x = Unguided(Table(), 1.5, no_label=2), torch.zeros(3, 1, 1, 1)
    labels, truth = torch.arange(3), torch.tensor([1.0, -1.0, 0.5]).reshape(3, 1, 1, 1)
    optimizer = torch.optim.SGD(table.parameters(), 0.5)
    for _ in range(200):
        optimizer.zero_grad()
        (net(x, labels, labels) - truth).square().sum().backward()
        optimizer.step()
    expected = 0.5 + 1.5 * (truth.flatten() - 0.5)  # Guided's formula at scale 1.5
    assert torch.allclose(table.weight.flatten(), expected, atol=1e-3)
