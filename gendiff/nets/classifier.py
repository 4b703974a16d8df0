"""A small classifier: the network whose features measure pictures, and whose answers read them.

What Inception is to FID on photographs, this is to our data sets: 3x3 convolutions with batch norm,
halving the side four (64 pixels) or three (32 pixels) times, and one linear head per attribute on the
mean of the last feature map.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from gendiff.errors import GendiffError


@dataclass(frozen=True)
class ClassifierConfig:
    """size: pixels per side, 32 or 64. heads: the number of answers of each attribute."""

    size: int = 32
    channels: int = 1
    width: int = 32
    heads: tuple[int, ...] = (10,)

    def __post_init__(self) -> None:
        if self.size not in (32, 64):
            raise GendiffError(f"The classifier reads pictures of 32 or 64 pixels; got {self.size}.")
        object.__setattr__(self, "heads", tuple(self.heads))


class Classifier(nn.Module):
    """Pictures (B, channels, size, size) in [-1, 1] -> features and answers."""

    def __init__(self, config: ClassifierConfig) -> None:
        super().__init__()
        self.config = config
        w = config.width
        plan = [  # (channels, stride)
            (w, config.size // 32),
            (2 * w, 2),
            (4 * w, 2),
            (4 * w, 1),
            (4 * w, 2),
        ]
        layers: list[nn.Module] = []
        inputs = config.channels
        for outputs, stride in plan:
            layers += [
                nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False),
                nn.BatchNorm2d(outputs),
                nn.ReLU(),
            ]
            inputs = outputs
        self.layers = nn.Sequential(*layers)
        self.heads = nn.ModuleList(nn.Linear(inputs, answers) for answers in config.heads)

    @property
    def num_features(self) -> int:
        """Length of a feature vector."""
        return 4 * self.config.width

    def features(self, x: Tensor) -> Tensor:
        """(B, num_features)."""
        return self.layers(x).mean((2, 3))

    def forward(self, x: Tensor) -> list[Tensor]:
        """Logits of each attribute, (B, heads[i])."""
        features = self.features(x)
        return [head(features) for head in self.heads]
