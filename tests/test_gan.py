"""GANs: the losses are their formulas, truncation has its law, a trained pair is a model."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from torch import nn

from gendiff.errors import GendiffError
from gendiff.gan import LOSSES, Gan, gradient_penalty, mode_seeking, r1_penalty, truncated
from gendiff.nets.dcgan import UPSAMPLES, DcganConfig, Discriminator, Generator
from gendiff.noise import Noise, classes

REAL = torch.tensor([-2.0, -0.3, 0.1, 0.9, 4.0], dtype=torch.float64)
FAKE = torch.tensor([3.0, 0.4, -0.2, -1.5, -5.0], dtype=torch.float64)


def p(logit):
    return 1 / (1 + math.exp(-logit))


def mean(values):
    values = list(values)
    return sum(values) / len(values)


FORMULAS = {  # name: (D's loss of a real and of a fake logit, G's loss of a fake logit)
    "minimax": (
        lambda x: -math.log(p(x)),
        lambda x: -math.log(1 - p(x)),
        lambda x: math.log(1 - p(x)),
    ),
    "non_saturating": (
        lambda x: -math.log(p(x)),
        lambda x: -math.log(1 - p(x)),
        lambda x: -math.log(p(x)),
    ),
    "least_squares": (
        lambda x: (x - 1) ** 2 / 2,
        lambda x: x**2 / 2,
        lambda x: (x - 1) ** 2 / 2,
    ),
    "hinge": (lambda x: max(0, 1 - x), lambda x: max(0, 1 + x), lambda x: -x),
    "wgan_gp": (lambda x: -x, lambda x: x, lambda x: -x),
}


@pytest.mark.parametrize("name", FORMULAS)
def test_the_losses_are_their_formulas(name):
    of_real, of_fake, of_generator = FORMULAS[name]
    loss = LOSSES[name]
    expected = mean(map(of_real, REAL.tolist())) + mean(map(of_fake, FAKE.tolist()))
    assert float(loss.discriminator(REAL, FAKE)) == pytest.approx(expected, rel=1e-12)
    expected = mean(map(of_generator, FAKE.tolist()))
    assert float(loss.generator(FAKE)) == pytest.approx(expected, rel=1e-12)
    assert loss.logits == 1 and loss.penalty == (10 if name == "wgan_gp" else 0)


def test_every_loss_has_its_formula_here():
    assert set(LOSSES) == {*FORMULAS, "softmax"}


def slope(loss, logits):
    logits = logits.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(loss(logits), logits)
    return gradient


def test_minimax_is_flat_where_the_discriminator_wins_and_non_saturating_is_steep():
    chance = torch.sigmoid(FAKE)
    torch.testing.assert_close(slope(LOSSES["minimax"].generator, FAKE), -chance / 5)
    torch.testing.assert_close(slope(LOSSES["non_saturating"].generator, FAKE), (chance - 1) / 5)


def test_losses_stay_finite_for_extreme_logits():
    extreme = torch.tensor([-1e4, 1e4])
    for name in FORMULAS:
        assert LOSSES[name].discriminator(extreme, extreme).isfinite()
        assert LOSSES[name].generator(extreme).isfinite()


def test_softmax_is_the_logistic_loss_of_the_difference():
    random = torch.Generator().manual_seed(0)
    real, fake = torch.randn(2, 6, 2, generator=random, dtype=torch.float64)
    softmax, logistic = LOSSES["softmax"], LOSSES["non_saturating"]
    assert softmax.logits == 2
    torch.testing.assert_close(
        softmax.discriminator(real, fake),
        logistic.discriminator(real[:, 1] - real[:, 0], fake[:, 1] - fake[:, 0]),
    )
    torch.testing.assert_close(
        softmax.generator(fake), logistic.generator(fake[:, 1] - fake[:, 0])
    )


# Penalties


class Linear(nn.Module):
    """D(x) = w . x, whose slope is w everywhere."""

    def __init__(self, norm):
        super().__init__()
        w = torch.arange(1.0, 13).reshape(3, 2, 2).double()
        self.w = nn.Parameter(w * norm / w.norm())

    def forward(self, x, labels=None):
        return (x * self.w).flatten(1).sum(1)


class Bowl(nn.Module):
    """D(x) = |x|^2 / 2, whose slope is x."""

    def forward(self, x, labels=None):
        return x.flatten(1).square().sum(1) / 2


@pytest.mark.parametrize("norm", [0.2, 1.0, 3.0])
def test_the_penalties_of_a_linear_discriminator(norm):
    net = Linear(norm)
    real, fake = torch.randn(2, 4, 3, 2, 2, dtype=torch.float64)
    penalty = gradient_penalty(net, real, fake, None, torch.rand(4).double())
    assert float(penalty.detach()) == pytest.approx((norm - 1) ** 2, abs=1e-12)
    assert float(r1_penalty(net, real, None).detach()) == pytest.approx(norm**2 / 2)
    penalty.backward()  # it teaches D: towards slope 1
    towards = float((net.w.grad * net.w).detach().sum())
    assert towards == pytest.approx(2 * (norm - 1) * norm, abs=1e-9)


def test_the_penalties_are_taken_where_they_say():
    real, fake = torch.randn(2, 4, 3, 2, 2, dtype=torch.float64)
    mix = torch.tensor([1.0, 0.0, 0.25, 0.5]).double()
    between = torch.stack(
        [real[0], fake[1], 0.25 * real[2] + 0.75 * fake[2], (real + fake)[3] / 2]
    )
    expected = ((between.flatten(1).norm(dim=1) - 1) ** 2).mean()
    torch.testing.assert_close(gradient_penalty(Bowl(), real, fake, None, mix), expected)
    expected = real.flatten(1).square().sum(1).mean() / 2
    torch.testing.assert_close(r1_penalty(Bowl(), real, None), expected)


# Truncation


def phi(x):
    return 0.5 * torch.erfc(-x / math.sqrt(2))


@pytest.mark.parametrize("threshold", [0.05, 0.5, 1.0, 2.0, 5.0])
def test_truncation_has_the_law_of_the_cut_normal_distribution(threshold):
    """P(|N| <= c and N <= y) / P(|N| <= c) == P(N <= z), value by value."""
    z = torch.linspace(-5, 5, 2001, dtype=torch.float64)
    y = truncated(z, threshold)
    assert float(y.abs().max()) <= threshold
    assert (y.diff() > 0).all()
    low, high = phi(torch.tensor([-threshold, threshold], dtype=torch.float64))
    torch.testing.assert_close((phi(y) - low) / (high - low), phi(z), rtol=1e-7, atol=1e-9)
    torch.testing.assert_close(truncated(-z, threshold), -y, rtol=1e-6, atol=1e-9)


def test_truncated_seeds_stay_within_and_hardly_any_truncation_changes_nothing(device):
    z = Noise(range(64), device).randn(100)
    y = truncated(z, 0.7)
    assert y.dtype == torch.float32 and y.device == z.device and y.shape == z.shape
    assert float(y.abs().max()) <= 0.7 and float(z.abs().max()) > 3
    # the variance of the cut distribution: 1 - 2 c phi'(c) / (2 phi(c) - 1)
    density = math.exp(-(0.7**2) / 2) / math.sqrt(2 * math.pi)
    inside = math.erf(0.7 / math.sqrt(2))
    assert float(y.var()) == pytest.approx(1 - 1.4 * density / inside, rel=0.06)
    torch.testing.assert_close(truncated(z, 10.0), z, rtol=1e-5, atol=1e-5)
    extreme = torch.tensor([-40.0, 40.0], device=device)
    assert truncated(extreme, 2.0).tolist() == [-2.0, 2.0]


@pytest.mark.parametrize("threshold", [0, -1, 0.04, 10.5, math.nan, math.inf])
def test_bad_truncation_is_refused(threshold, gan):
    with pytest.raises(GendiffError, match="from 0.05"):
        gan.sample([1], truncation=threshold)


def test_mode_seeking_punishes_a_generator_that_lets_z_count_for_little():
    z = torch.randn(6, 5)
    x = 0.5 * torch.stack([z, z], 1)[..., None]  # (6, 2, 5, 1): half as far apart as z
    assert float(mode_seeking(x, z)) == pytest.approx(2.0)
    assert float(mode_seeking(10 * x, z)) == pytest.approx(0.2)
    same = x[[0, 0, 2, 2, 4, 4]]  # each pair alike, the pairs not
    assert float(mode_seeking(same, z)) > 1e4
    x.requires_grad_()
    mode_seeking(x, z).backward()
    torch.testing.assert_close(x.grad[::2], -x.grad[1::2])  # the two of a pair move apart
    apart = (x[::2] - x[1::2]).detach()
    assert float((x.grad[::2] * apart.sign()).max()) < 0


# The networks


@pytest.mark.parametrize(
    ("size", "channels", "classes"), [(8, 1, 0), (16, 3, 4), (32, 1, 10), (64, 3, 2)]
)
@pytest.mark.parametrize("logits", [1, 2])
@pytest.mark.parametrize("upsample", UPSAMPLES)
def test_the_networks_have_the_promised_shapes(size, channels, classes, logits, upsample):
    config = DcganConfig(
        size, channels, 5, 4, classes, embedding=3, logits=logits, upsample=upsample
    )
    labels = torch.arange(3) % classes if classes else None
    x = Generator(config)(torch.randn(3, 5), labels)
    assert x.shape == (3, channels, size, size) and float(x.detach().abs().max()) <= 1
    verdict = Discriminator(config)(x, labels)
    assert verdict.shape == ((3,) if logits == 1 else (3, 2))
    for net, given in ((Generator(config), torch.randn(3, 5)), (Discriminator(config), x)):
        if classes:
            with pytest.raises(GendiffError, match="needs a class for every picture"):
                net(given)


@pytest.mark.parametrize("size", [0, 4, 12, 33])
def test_bad_sizes_are_refused(size):
    with pytest.raises(GendiffError, match="power of two"):
        DcganConfig(size=size)


@pytest.mark.parametrize("name", ["norm", "upsample"])
def test_unknown_layers_are_refused(name):
    with pytest.raises(GendiffError, match=f"A DCGAN's {name} is .* or .*; got 'none'"):
        DcganConfig(**{name: "none"})


def test_with_bilinear_upsampling_a_picture_is_the_sum_of_what_each_scale_paints():
    config = DcganConfig(16, 3, latent=5, width=4, classes=0, upsample="bilinear")
    net, z = Generator(config).double().eval(), torch.randn(4, 5).double()
    colours = list(net.layers.colours)
    assert len(colours) == 2  # 4 -> 8 -> 16
    whole, parts = net(z).atanh(), []
    for scale in range(2):
        alone = copy.deepcopy(net)
        for other, colour in enumerate(alone.layers.colours):
            if other != scale:
                nn.init.zeros_(colour.weight)
                nn.init.zeros_(colour.bias)
        parts.append(alone(z).atanh())
    torch.testing.assert_close(parts[0] + parts[1], whole)
    assert all(float(part.detach().std()) > 1e-6 for part in parts)
    # Of a coarse scale's flat area no pixel stands out: there is no checkerboard.
    nn.init.zeros_(net.layers.colours[1].weight)
    nn.init.zeros_(net.layers.colours[0].weight)
    nn.init.constant_(net.layers.colours[0].bias, 0.3)
    flat = net(z).atanh() - net.layers.colours[1].bias[:, None, None]
    torch.testing.assert_close(flat, torch.full_like(flat, 0.3))


def test_with_layer_norm_a_picture_is_judged_by_itself():
    x = torch.randn(6, 1, 16, 16)
    alone = {}
    for norm in ("layer", "batch"):
        torch.manual_seed(0)
        net = Discriminator(DcganConfig(16, 1, width=4, classes=0, norm=norm))
        alone[norm] = torch.allclose(net(x)[:2], net(x[:2]), atol=1e-6)
    assert alone == {"layer": True, "batch": False}


def test_both_networks_know_the_class():
    config = DcganConfig(8, 1, latent=5, width=4, classes=3, embedding=3)
    z = torch.randn(1, 5).expand(3, -1)
    generator, discriminator = Generator(config).eval(), Discriminator(config)
    nn.init.normal_(generator.embed.weight, std=5)
    nn.init.normal_(discriminator.project.weight, std=5)
    x = generator(z, torch.tensor([0, 1, 1]))
    assert torch.equal(x[1], x[2]) and not torch.equal(x[0], x[1])
    same = x[1:2].expand(3, -1, -1, -1)
    verdict = discriminator(same, torch.tensor([0, 1, 1]))
    torch.testing.assert_close(verdict[1], verdict[2])
    assert abs(float((verdict[0] - verdict[1]).detach())) > 1e-9


def test_with_spectral_norm_every_layer_has_largest_singular_value_1():
    torch.manual_seed(0)
    net = Discriminator(DcganConfig(16, 1, width=4, classes=3), spectral=True)
    for _ in range(30):  # each call in training mode is one power iteration
        net(torch.randn(4, 1, 16, 16), torch.tensor([0, 1, 2, 0]))
    layers = [m for m in net.modules() if isinstance(m, nn.Conv2d | nn.Embedding)]
    assert len(layers) == 5
    for layer in layers:
        largest = torch.linalg.matrix_norm(layer.weight.detach().flatten(1), ord=2)
        assert float(largest) == pytest.approx(1, abs=0.02)


# A trained pair


def test_a_sample_is_the_generators_picture_of_the_seeds_latent(gan, device):
    z = gan.latents([3, 8])
    assert z.shape == (2, 6) and z.device.type == device.type
    assert torch.equal(z, Noise([3, 8], device).randn(6))
    with torch.no_grad():
        expected = gan.generator(z, classes([3, 8], 3).to(device))
    for drawn in (gan.sample([3, 8]), gan.decode(z, classes([3, 8], 3).to(device))):
        assert drawn.shape == (2, 1, 8, 8) and drawn.dtype == torch.float32
        torch.testing.assert_close(drawn, expected)
    assert float(drawn.abs().max()) <= 1 and not drawn.requires_grad
    cut = gan.decode(truncated(z, 0.3), torch.tensor([1, 1], device=device))
    torch.testing.assert_close(gan.sample([3, 8], labels=1, truncation=0.3), cut)
    assert not torch.allclose(cut, gan.sample([3, 8], labels=1), atol=1e-3)


def test_a_seed_gives_its_picture_in_any_batch(gan):
    many = gan.sample(range(150))  # more than one batch
    assert len(many) == 150
    for seed in (0, 63, 64, 149):
        torch.testing.assert_close(gan.sample([seed])[0], many[seed], rtol=0, atol=2e-3)
    assert torch.equal(gan.sample([5, 5])[0], gan.sample([5, 5])[1])
    assert torch.equal(gan.sample(range(150)), many)
    assert float((many[0] - many[1]).abs().max()) > 0.01


def test_labels_choose_the_class(gan):
    two = gan.sample([7, 7], labels=[0, 2])
    torch.testing.assert_close(two[0], gan.sample([7], labels=0)[0])
    torch.testing.assert_close(two[1], gan.sample([7], labels=2)[0])
    assert not torch.allclose(two[0], two[1], atol=1e-3)
    own = int(classes([7], 3))
    torch.testing.assert_close(gan.sample([7]), gan.sample([7], labels=own))
    with pytest.raises(GendiffError, match="from 0 to 2; got 3"):
        gan.sample([7], labels=3)


def test_the_verdict_is_the_discriminators_probability(gan, device):
    x = gan.sample([1, 2, 3])
    labels = torch.tensor([2, 0, 1], device=device)
    with torch.no_grad():
        logits = gan.discriminator(x, labels)
    expected = 1 / (1 + torch.exp(-logits))
    torch.testing.assert_close(gan.verdict(x, labels), expected)
    torch.testing.assert_close(gan.verdict(x.cpu(), [2, 0, 1]), expected)
    with pytest.raises(GendiffError, match="needs a class"):
        gan.verdict(x, None)
    with pytest.raises(GendiffError, match="3 seeds but 2 classes"):
        gan.verdict(x, [0, 1])


def test_the_verdict_of_two_logits_is_the_softmax_of_real():
    class Card:
        shape, classes = (1, 8, 8), ()

    config = DcganConfig(8, 1, latent=5, width=4, classes=0, logits=2)
    model = Gan(Card, Generator(config).eval(), Discriminator(config))
    x = model.sample([1, 2])
    fake, real = model.discriminator(x).detach().unbind(1)
    torch.testing.assert_close(model.verdict(x, None), torch.sigmoid(real - fake))
    with pytest.raises(GendiffError, match="knows no classes"):
        model.sample([1], labels=0)


@pytest.mark.parametrize("seeds", [[], [-1], [0.5], ["a"], 7, [10**30]])
def test_bad_seeds_are_refused(gan, seeds):
    for call in (gan.sample, gan.latents):
        with pytest.raises(GendiffError, match=r"(?i)seed"):
            call(seeds)
