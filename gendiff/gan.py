"""Generative adversarial networks: the losses, and a trained pair as one model.

Goodfellow et al. (2014), arXiv:1406.2661. The generator turns z ~ N(0, I) into a picture in one
call; the discriminator says how real a picture looks, and exists to train the generator.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gendiff.batches import in_batches
from gendiff.errors import GendiffError
from gendiff.noise import Noise, checked, resolve_labels


@dataclass(frozen=True)
class Loss:
    """A pair of losses on the discriminator's logits.

    Attributes:
        discriminator: (real logits, fake logits) -> scalar.
        generator: (fake logits) -> scalar.
        logits: how many numbers D gives a picture: 1, or 2 as (fake, real).
        penalty: weight of the gradient penalty (WGAN-GP), 0 for none.
    """

    discriminator: Callable[[Tensor, Tensor], Tensor]
    generator: Callable[[Tensor], Tensor]
    logits: int = 1
    penalty: float = 0.0


def _cross_entropy(logits: Tensor, real: bool) -> Tensor:
    return F.cross_entropy(logits, torch.full((len(logits),), int(real), device=logits.device))


# softplus(-x) = -log sigmoid(x), softplus(x) = -log(1 - sigmoid(x))
LOSSES: Mapping[str, Loss] = {
    # Goodfellow et al. (2014), Eq. 1: G minimizes log(1 - D(G(z))), which is flat while D wins.
    "minimax": Loss(
        lambda real, fake: F.softplus(-real).mean() + F.softplus(fake).mean(),
        lambda fake: -F.softplus(fake).mean(),
    ),
    # The same paper, end of section 3: G maximizes log D(G(z)).
    "non_saturating": Loss(
        lambda real, fake: F.softplus(-real).mean() + F.softplus(fake).mean(),
        lambda fake: F.softplus(-fake).mean(),
    ),
    # D as a classifier with two outputs; the same game as non_saturating with logit = real - fake.
    "softmax": Loss(
        lambda real, fake: _cross_entropy(real, True) + _cross_entropy(fake, False),
        lambda fake: _cross_entropy(fake, True),
        logits=2,
    ),
    # Mao et al. (2017), arXiv:1611.04076, Eq. 9.
    "least_squares": Loss(
        lambda real, fake: ((real - 1) ** 2).mean() / 2 + (fake**2).mean() / 2,
        lambda fake: ((fake - 1) ** 2).mean() / 2,
    ),
    # Lim & Ye (2017), arXiv:1705.02894; Miyato et al. (2018), arXiv:1802.05957, Eq. 16-17.
    "hinge": Loss(
        lambda real, fake: F.relu(1 - real).mean() + F.relu(1 + fake).mean(),
        lambda fake: -fake.mean(),
    ),
    # Gulrajani et al. (2017), arXiv:1704.00028, Eq. 3, lambda = 10.
    "wgan_gp": Loss(
        lambda real, fake: fake.mean() - real.mean(),
        lambda fake: -fake.mean(),
        penalty=10.0,
    ),
}


def gradient_penalty(
    discriminator: nn.Module, real: Tensor, fake: Tensor, labels: Tensor | None, mix: Tensor
) -> Tensor:
    """(|grad D(x)| - 1)^2 at points between real and fake; mix (B,) in [0, 1]. WGAN-GP, Eq. 3."""
    mix = mix.reshape(-1, *[1] * (real.dim() - 1))
    between = (mix * real + (1 - mix) * fake).detach().requires_grad_()
    (slope,) = torch.autograd.grad(
        discriminator(between, labels).sum(), between, create_graph=True
    )
    return ((slope.flatten(1).norm(dim=1) - 1) ** 2).mean()


def r1_penalty(discriminator: nn.Module, real: Tensor, labels: Tensor | None) -> Tensor:
    """|grad D(x)|^2 / 2 at real pictures; Mescheder et al. (2018), arXiv:1801.04406, Eq. 9."""
    real = real.detach().requires_grad_()
    (slope,) = torch.autograd.grad(discriminator(real, labels).sum(), real, create_graph=True)
    return slope.flatten(1).square().sum(1).mean() / 2


def mode_seeking(x: Tensor, z: Tensor) -> Tensor:
    """How little G makes of the difference between two z: mean |z - z'| / mean |x - x'|.

    Over the pairs (0, 1), (2, 3), ... of x (B, C, H, W) = G(z), z (B, latent), B even, which share
    their class. It punishes a G that lets z count for nothing; Mao et al. (2019),
    arXiv:1903.05628, Eq. 4.
    """
    apart_x, apart_z = ((one[::2] - one[1::2]).abs().mean() for one in (x, z))
    return apart_z / apart_x.clamp(min=1e-5)


def truncated(z: Tensor, threshold: float) -> Tensor:
    """z mapped from N(0, 1) to N(0, 1) cut off at |z| <= threshold, value by value and in order.

    Brock et al. (2019), arXiv:1809.11096, section 3.1, redraw values beyond the threshold; going
    through the distribution function instead has the same law and lets a seed stay itself.
    """
    if not 0.05 <= threshold <= 10:
        raise GendiffError(
            f"Truncation must be from 0.05 (all alike) to 10 (none); got {threshold}."
        )
    normal = torch.distributions.Normal(0.0, 1.0)
    low = normal.cdf(torch.tensor(-threshold, dtype=torch.float64))
    u = low + normal.cdf(z.double()) * (1 - 2 * low)
    return normal.icdf(u).clamp(-threshold, threshold).to(z.dtype)


class Gan:
    """A trained pair. Made by `gendiff.load`.

    Attributes:
        card: what it is.
        shape: (C, H, W) of its pictures.
        classes: how many; 0 for an unconditional model.
        discriminator: None where there is none that could judge; no_verdict says why.
        device, dtype: where and in what it runs.
    """

    def __init__(
        self,
        card: Any,
        generator: nn.Module,
        discriminator: nn.Module | None,
        no_verdict: str = "",
    ) -> None:
        self.card, self.generator, self.discriminator = card, generator, discriminator
        self.no_verdict = no_verdict
        self.shape, self.classes = card.shape, len(card.classes)
        weight = next(generator.parameters())
        self.device, self.dtype = weight.device, weight.dtype

    def latents(self, seeds: Iterable[int], truncation: float | None = None) -> Tensor:
        """z (B, latent), float32; truncated at |z| <= truncation unless that is None."""
        z = Noise(seeds, self.device).randn(self.generator.config.latent)
        return z if truncation is None else truncated(z, truncation)

    @torch.no_grad()
    def decode(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        """z (B, latent) -> pictures (B, C, H, W) in [-1, 1], float32."""
        return self.generator(z.to(self.device, self.dtype), labels).float()

    def sample(
        self, seeds: Iterable[int], *, labels: Any = None, truncation: float | None = None
    ) -> Tensor:
        """One picture a seed, (B, C, H, W) in [-1, 1].

        Args:
            labels: None (each seed draws its class), one class, or one for each seed.
            truncation: see `truncated`; None for none.
        """
        seeds = checked(seeds)
        labels = resolve_labels(labels, seeds, self.classes, self.device)
        return in_batches(self.decode, self.latents(seeds, truncation), labels)

    @torch.no_grad()
    def verdict(self, x: Tensor, labels: Any) -> Tensor:
        """D's probability that each picture (B, C, H, W) is real, (B,) float32.

        Args:
            labels: one class, or one for each picture; None only for an unconditional model.
        """
        if self.discriminator is None:
            raise GendiffError(f"{self.card.title} gives no verdict. {self.no_verdict}".strip())
        if labels is None and self.classes:
            raise GendiffError("This discriminator needs a class for every picture.")
        labels = resolve_labels(labels, range(len(x)), self.classes, self.device)
        logits = self.discriminator(x.to(self.device, self.dtype), labels).float()
        return torch.sigmoid(logits) if logits.dim() == 1 else torch.softmax(logits, dim=1)[:, 1]
