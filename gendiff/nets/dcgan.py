"""Generator and discriminator of a DCGAN, class-conditional, for pictures of 32 or 64 pixels.

Radford et al. (2015), arXiv:1511.06434: transposed convolutions with batch norm and ReLU up,
strided convolutions with LeakyReLU down, no pooling, no hidden dense layers. The class comes in by
embedding in the generator and by projection in the discriminator (Miyato & Koyama 2018,
arXiv:1802.05637). Two choices train large pictures better than the paper's layers: the generator
may enlarge by interpolation and add up the colours of each scale (`Scales`), and the discriminator
may have spectral norm (Miyato et al. 2018, arXiv:1802.05957) or layer norm for its batch norm.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrizations

from gendiff.errors import GendiffError, whole


@dataclass(frozen=True)
class DcganConfig:
    """Sizes that both networks share.

    Attributes:
        size: pixels per side, a power of two from 8 to 512.
        channels: 1 (grey) or 3.
        latent: dimension of z.
        width: channels of the layer nearest the picture; doubled at each halving of the side.
        classes: how many; 0 for an unconditional pair.
        embedding: dimension of the generator's class embedding, appended to z.
        logits: numbers that the discriminator gives: 1, or 2 for the softmax loss.
        norm: of the discriminator, "spectral", "batch" or "layer". Batch norm sees real and
            generated pictures as batches, so it notices when the latter are all alike, and learns
            from far fewer of them; but it can win at once. Spectral norm bounds the slope. With
            layer norm (Ba et al. 2016, arXiv:1607.06450) a picture is judged by itself, so that a
            gradient penalty can bound the slope.
        upsample: how the generator doubles the side, "transposed" or "bilinear"; see `Scales`.
    """

    size: int = 32
    channels: int = 1
    latent: int = 100
    width: int = 64
    classes: int = 10
    embedding: int = 32
    logits: int = 1
    norm: str = "spectral"
    upsample: str = "transposed"

    def __post_init__(self) -> None:
        for name, known in (("norm", NORMS), ("upsample", UPSAMPLES)):
            said = getattr(self, name)
            if said not in known:
                raise GendiffError(f"A DCGAN's {name} is {' or '.join(known)}; got {said!r}.")
        if not 8 <= self.size <= 512 or self.size & (self.size - 1):
            raise GendiffError(
                f"A DCGAN's size must be a power of two from 8 to 512; got {self.size}."
            )
        for name, lowest in _LOWEST.items():
            whole(f"A DCGAN's {name}", getattr(self, name), lowest, 4096)

    @property
    def widths(self) -> list[int]:
        """Channels of the feature maps from 4x4 upwards."""
        halvings = self.size.bit_length() - 3  # size -> 4
        return [self.width * 2**i for i in reversed(range(halvings))]


NORMS = ("spectral", "batch", "layer")
UPSAMPLES = ("transposed", "bilinear")
_LOWEST = {"channels": 1, "latent": 1, "width": 1, "classes": 0, "embedding": 1, "logits": 1}


class Generator(nn.Module):
    """z (B, latent), labels (B,) -> pictures (B, channels, size, size) in [-1, 1]."""

    def __init__(self, config: DcganConfig) -> None:
        super().__init__()
        self.config = config
        inputs = config.latent + (config.embedding if config.classes else 0)
        self.embed = nn.Embedding(config.classes, config.embedding) if config.classes else None
        smooth = config.upsample == "bilinear"
        self.layers = Scales(config, inputs) if smooth else _transposed(config, inputs)
        _initialize(self)

    def forward(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        if self.embed is not None:
            if labels is None:
                raise GendiffError("This generator needs a class for every picture.")
            z = torch.cat([z, self.embed(labels)], dim=1)
        return self.layers(z[:, :, None, None])


def _normalized(convolution: nn.Conv2d | nn.ConvTranspose2d) -> list[nn.Module]:
    return [convolution, nn.BatchNorm2d(convolution.out_channels), nn.ReLU()]


def _transposed(config: DcganConfig, inputs: int) -> nn.Sequential:
    """The paper's layers: (B, inputs, 1, 1) -> pictures."""
    widths = config.widths
    layers = _normalized(nn.ConvTranspose2d(inputs, widths[0], 4, bias=False))  # 1x1 -> 4x4
    for wide, narrow in pairwise(widths):  # side doubles
        layers += _normalized(nn.ConvTranspose2d(wide, narrow, 4, 2, 1, bias=False))
    last = nn.ConvTranspose2d(widths[-1], config.channels, 4, 2, 1)
    return nn.Sequential(*layers, last, nn.Tanh())


class Scales(nn.Module):
    """(B, inputs, 1, 1) -> pictures that are the sum of what each scale paints.

    Interpolation and a convolution in place of a transposed one leave no checkerboard, and flat
    areas begin flat (Odena et al. 2016, doi:10.23915/distill.00003); colours that every scale adds
    let the coarse ones be right first (Karras et al. 2020, arXiv:1912.04958, section 4.1, the
    generator's output skips).
    """

    def __init__(self, config: DcganConfig, inputs: int) -> None:
        super().__init__()
        widths = [*config.widths, max(1, config.width // 2)]  # of 4x4 ... of the picture
        first = nn.ConvTranspose2d(inputs, widths[0], 4, bias=False)  # 1x1 -> 4x4
        self.first = nn.Sequential(*_normalized(first))
        self.stages = nn.ModuleList(
            nn.Sequential(*_normalized(nn.Conv2d(wide, narrow, 3, padding=1, bias=False)))
            for wide, narrow in pairwise(widths)
        )
        self.colours = nn.ModuleList(
            nn.Conv2d(narrow, config.channels, 3, padding=1) for narrow in widths[1:]
        )

    def forward(self, z: Tensor) -> Tensor:
        features, picture = self.first(z), None
        for stage, colour in zip(self.stages, self.colours, strict=True):
            features = stage(_doubled(features))
            painted = colour(features)
            picture = painted if picture is None else _doubled(picture) + painted
        return torch.tanh(picture)


def _doubled(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2, mode="bilinear")


class Discriminator(nn.Module):
    """Pictures (B, channels, size, size), labels (B,) -> logits (B,), or (B, 2) as (fake, real).

    `spectral` puts spectral norm on every layer, for training. A saved discriminator holds the
    normalized weights and needs none of it.
    """

    def __init__(self, config: DcganConfig, spectral: bool = False) -> None:
        super().__init__()
        self.config = config
        widths = config.widths[::-1]
        steps = [(narrow, wide, 4, 2) for narrow, wide in pairwise([config.channels, *widths])]
        layers: list[nn.Module] = []
        for narrow, wide, kernel, stride in [*steps, (widths[-1], widths[-1], 3, 1)]:
            layers.append(nn.Conv2d(narrow, wide, kernel, stride, padding=1))
            if config.norm != "spectral" and len(layers) > 1:  # the paper leaves out the first
                norm = nn.BatchNorm2d(wide) if config.norm == "batch" else nn.GroupNorm(1, wide)
                layers.append(norm)
            layers.append(nn.LeakyReLU(0.2))
        self.layers = nn.Sequential(*layers)
        self.head = nn.Conv2d(widths[-1], config.logits, 4)  # 4x4 -> 1x1
        self.project = nn.Embedding(config.classes, widths[-1]) if config.classes else None
        _initialize(self)
        if spectral:
            for module in self.modules():
                if isinstance(module, nn.Conv2d | nn.Embedding):
                    parametrizations.spectral_norm(module)

    def forward(self, x: Tensor, labels: Tensor | None = None) -> Tensor:
        features = self.layers(x)  # (B, widest, 4, 4)
        logits = self.head(features).flatten(1)
        if self.project is not None:
            if labels is None:
                raise GendiffError("This discriminator needs a class for every picture.")
            match = (self.project(labels) * features.mean((2, 3))).sum(1, keepdim=True)
            logits = (
                logits + match
                if self.config.logits == 1
                else torch.cat([logits[:, :1], logits[:, 1:] + match], 1)
            )
        return logits[:, 0] if self.config.logits == 1 else logits


def _initialize(network: nn.Module) -> None:
    """N(0, 0.02) for convolutions, as section 4 of the DCGAN paper."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            nn.init.normal_(module.weight, std=0.02)
        elif isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.weight, 1.0, 0.02)
