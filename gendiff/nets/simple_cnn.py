"""Plain convolutional GANs that people have published, with their tensor names.

`FiveLayers` is the generator of huggan/dcgan-* (Radford et al. 2015, arXiv:1511.06434, figure 1,
as PyTorch's tutorial has it). `SimpleGenerator` and `SimpleDiscriminator` are those of Yifeng Xu's
gans-pytorch (MIT): normalization before each layer, a class by one-hot vector or by conditional
batch norm (de Vries et al. 2017, arXiv:1707.00683).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gendiff.errors import GendiffError

Condition = Literal["none", "one_hot", "norm"]


@dataclass(frozen=True)
class SimpleConfig:
    """Sizes of a pair; widths: channels of the generator's maps from 4x4 upwards.

    condition: how the generator hears the class; classes: how many, 0 for none.
    """

    latent: int = 100
    widths: tuple[int, ...] = (1024, 512, 256)
    channels: int = 3
    classes: int = 0
    condition: Condition = "none"


class FiveLayers(nn.Module):
    """z (B, latent) -> (B, C, 64, 64) in [-1, 1]: five transposed convolutions without bias."""

    def __init__(self, config: SimpleConfig) -> None:
        super().__init__()
        self.config = config
        layers: list[nn.Module] = []
        for index, (before, width) in enumerate(pairwise((config.latent, *config.widths))):
            up = {"stride": 2, "padding": 1} if index else {}  # 1x1 -> 4x4, then the side doubles
            conv = nn.ConvTranspose2d(before, width, 4, bias=False, **up)
            layers += [conv, nn.BatchNorm2d(width), nn.ReLU()]
        last = nn.ConvTranspose2d(config.widths[-1], config.channels, 4, 2, 1, bias=False)
        self.model = nn.Sequential(*layers, last, nn.Tanh())

    def forward(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        return self.model(z[:, :, None, None])


class ClassNorm(nn.Module):
    """Batch norm whose gain and shift are looked up by class."""

    def __init__(self, classes: int, width: int) -> None:
        super().__init__()
        self.bn = nn.BatchNorm2d(width, affine=False)
        self.weights = nn.Embedding(classes, width)
        self.biases = nn.Embedding(classes, width)

    def forward(self, x: Tensor, labels: Tensor) -> Tensor:
        return self.bn(x) * _spread(self.weights(labels)) + _spread(self.biases(labels))


class SimpleGenerator(nn.Module):
    """z (B, latent), labels (B,) or None -> pictures (B, C, S, S) in [-1, 1].

    Raises GendiffError where the labels are missing.
    """

    def __init__(self, config: SimpleConfig) -> None:
        super().__init__()
        self.config = config
        extra = config.classes if config.condition == "one_hot" else 0
        self.first_conv = nn.ConvTranspose2d(config.latent + extra, config.widths[0], 4)
        self.layers = nn.ModuleList(self._stage(a, b) for a, b in pairwise(config.widths))
        self.last_conv = self._stage(config.widths[-1], config.channels)

    def _stage(self, before: int, width: int) -> nn.ModuleList:
        by_class = self.config.condition == "norm"
        norm = ClassNorm(self.config.classes, before) if by_class else nn.BatchNorm2d(before)
        up = nn.ConvTranspose2d(before, width, 4, stride=2, padding=1)
        return nn.ModuleList([norm, nn.ReLU(), up])

    def forward(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        if self.config.classes and labels is None:
            raise GendiffError("This generator needs a class for every picture.")
        if self.config.condition == "one_hot":
            z = torch.cat([z, F.one_hot(labels, self.config.classes).to(z.dtype)], dim=1)
        h = self.first_conv(z[:, :, None, None])
        for norm, act, up in (*self.layers, self.last_conv):
            h = norm(h, labels) if self.config.condition == "norm" else norm(h)
            h = up(act(h))
        return torch.tanh(h)


class SimpleDiscriminator(nn.Module):
    """Pictures (B, C, S, S), labels -> logits (B,); trained with Goodfellow's loss.

    Args:
        widths: channels of the maps downwards.
        classes: joined to the picture as one-hot planes; 0 for none.
        heads: also a classifier, as ACGAN's (Odena et al. 2017, arXiv:1610.09585): not used here.
    """

    def __init__(
        self, channels: int, widths: Sequence[int], classes: int = 0, heads: int = 0
    ) -> None:
        super().__init__()
        self.classes, self.heads = classes, heads
        self.first_conv = nn.Conv2d(channels + classes, widths[0], 4, stride=2, padding=1)
        self.layers = nn.ModuleList(
            nn.Sequential(
                nn.BatchNorm2d(a) if index else nn.Identity(),
                nn.LeakyReLU(0.2),
                nn.Conv2d(a, b, 4, stride=2, padding=1),
            )
            for index, (a, b) in enumerate(pairwise(widths))
        )
        norm = [nn.BatchNorm2d(widths[-1]), nn.LeakyReLU(0.2)]
        if heads:
            self.last = nn.Sequential(*norm)
            self.disc_head = nn.Conv2d(widths[-1], 1, 4)
            self.cls_head = nn.Conv2d(widths[-1], heads, 4)
        else:
            self.last_conv = nn.Sequential(*norm, nn.Conv2d(widths[-1], 1, 4))

    def forward(self, x: Tensor, labels: Tensor | None = None) -> Tensor:
        if self.classes:
            if labels is None:
                raise GendiffError("This discriminator needs a class for every picture.")
            planes = _spread(F.one_hot(labels, self.classes).to(x.dtype))
            x = torch.cat([x, planes.expand(-1, -1, *x.shape[2:])], dim=1)
        h = self.first_conv(x)
        for layer in self.layers:
            h = layer(h)
        h = self.disc_head(self.last(h)) if self.heads else self.last_conv(h)
        return h.flatten()


def _spread(x: Tensor) -> Tensor:
    return x[:, :, None, None]
