"""A small classifier that reads pictures; its pooled features are what distances compare.

Convolutions with batch norm and one residual convolution a stage (after He et al. 2016,
arXiv:1512.03385), global average pooling, and a linear head for each thing that it reads. Pooled
features of a classifier are what the Frechet distance was defined on (Heusel et al. 2017,
arXiv:1706.08500, there Inception's).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor, nn


@dataclass(frozen=True)
class ReaderConfig:
    """channels, size: of the pictures. heads: what is read -> how many kinds of it there are.

    patch: side of the pixel blocks seen as channels. widths: channels of each stage; every stage
    but the first halves the sides. The last width is the number of features.
    """

    channels: int
    size: int
    heads: Mapping[str, int]
    patch: int = 2
    widths: tuple[int, ...] = (32, 64, 128)
    dropout: float = 0.1


class Reader(nn.Module):
    """Pictures (B, C, H, W) in [-1, 1] -> features; `read` turns them into logits."""

    def __init__(self, config: ReaderConfig) -> None:
        super().__init__()
        self.config = config
        before = config.channels * config.patch**2
        stages = []
        for number, width in enumerate(config.widths):
            stages.append(Stage(before, width, stride=2 if number else 1))
            before = width
        self.stages = nn.Sequential(*stages)
        self.dropout = nn.Dropout(config.dropout)
        self.heads = nn.ModuleDict(
            {name: nn.Linear(before, n) for name, n in config.heads.items()}
        )

    def forward(self, x: Tensor) -> Tensor:
        """Features (B, widths[-1])."""
        return self.stages(F.pixel_unshuffle(x, self.config.patch)).mean((2, 3))

    def read(self, features: Tensor) -> dict[str, Tensor]:
        """Features (B, D) -> the logits (B, kinds) of each head."""
        features = self.dropout(features)
        return {name: head(features) for name, head in self.heads.items()}


class Stage(nn.Module):
    """A convolution, and a residual one after it where the stage is not the first."""

    def __init__(self, before: int, width: int, stride: int) -> None:
        super().__init__()
        self.enter = _convolution(before, width, stride)
        self.refine = _convolution(width, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.enter(x))
        return x + F.relu(self.refine(x))


def _convolution(before: int, width: int, stride: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(before, width, 3, stride, padding=1, bias=False), nn.BatchNorm2d(width)
    )
