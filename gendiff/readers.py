"""What a picture shows, read by a small trained network; and whether a cat is a valid one.

    reader = load_reader("cats")
    reading = reader(x)                  # features, kinds, confidence, distance

A cat can be held against an oracle that photographs do not have: paint the parts that were read,
and see how far the picture is from that painting. It is *valid* if every part is read with a
probability of at least CONFIDENCE and no window of 8 x 8 pixels is further than DISTANCE from the
painting, root mean square on the scale of [-1, 1]. The window is what makes it strict: a mouth
has a hundredth of a picture's pixels.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from gendiff.cards import FEATURES, Card
from gendiff.data import PARTS, cat_picture, visible
from gendiff.errors import GendiffError
from gendiff.nets.reader import Reader
from gendiff.weights import BUNDLED, load_nets

CONFIDENCE = 0.7
DISTANCE = 0.15
WINDOW = 8  # pixels; every half window
CRITERION = (
    f"every part is read with a probability of at least {CONFIDENCE}, and no {WINDOW} x {WINDOW} "
    f"pixels are further than {DISTANCE} (RMS in [-1, 1]) from the painting of what was read"
)
BATCH = 256
ATTRIBUTES = (*PARTS, "background")


@dataclass(frozen=True)
class Reading:
    """What was read from B pictures.

    Attributes:
        features: (B, D), float32, on the CPU like all the others.
        kinds: head -> (B,) the most probable kind.
        confidence: (B,) the lowest of the heads' highest probabilities; of cats, where they are
            painted, that of the five parts, without a hidden mouth.
        distance: (B,) cats only, how far from the painting of what was read; else None, and None
            where nothing was painted.
    """

    features: Tensor
    kinds: Mapping[str, Tensor]
    confidence: Tensor
    distance: Tensor | None = None

    @property
    def codes(self) -> Tensor:
        """Body, fur, eyes, mouth, accessory, background (B, 6) of cats, as far as visible."""
        return seen(torch.stack([self.kinds[name] for name in ATTRIBUTES], dim=1))

    @property
    def valid(self) -> Tensor:
        """Which of the cats are valid (B,)."""
        return (self.confidence >= CONFIDENCE) & (self.distance <= DISTANCE)


@dataclass(frozen=True)
class PictureReader:
    """A trained reader: pictures (B, C, H, W) in [-1, 1] in, a `Reading` out."""

    card: Card
    net: Reader

    def __call__(self, x: Tensor, paint: bool = True) -> Reading:
        """paint: also how far cats are from their painting, which needs the artist's parts."""
        if x.ndim != 4 or tuple(x.shape[1:]) != tuple(self.card.shape):
            raise GendiffError(
                f"{self.card.name} reads pictures of {tuple(self.card.shape)}; "
                f"got {tuple(x.shape)}."
            )
        return read(self.net, x, paint)

    @property
    def name(self) -> str:
        return self.card.name

    @property
    def sha256(self) -> str:
        return self.card.sha256

    @property
    def accuracy(self) -> float:
        """Mean over the heads, on real test pictures."""
        values = self.card.training["accuracy"].values()
        return sum(values) / len(values)

    @property
    def dim(self) -> int:
        return self.net.config.widths[-1]


@lru_cache(maxsize=4)
def load_reader(data: str, device: str = "cpu", folder: Path = BUNDLED) -> PictureReader:
    """The bundled reader of a data set; GendiffError if there is none or it is damaged."""
    card, nets = load_nets(folder / f"{data}-features", device, "float32")
    if card.family != FEATURES:
        raise GendiffError(f"{card.name} is not a network that reads pictures.")
    return PictureReader(card, nets["net"])


@torch.no_grad()
def read(net: Reader, x: Tensor, paint: bool = True) -> Reading:
    """One batch through the network; the network must be in evaluation mode."""
    weight = next(net.parameters())
    features = net(x.to(weight.device, weight.dtype).contiguous(memory_format=torch.channels_last))
    chances = {name: logits.softmax(1).max(1) for name, logits in net.read(features).items()}
    kinds = {name: chance.indices.cpu() for name, chance in chances.items()}
    confidence = {name: chance.values.float().cpu() for name, chance in chances.items()}
    distance = None
    if paint and set(kinds) == set(ATTRIBUTES):
        codes = torch.stack([kinds[name] for name in ATTRIBUTES], dim=1)
        # What cannot be seen need not be read.
        confidence["mouth"] = confidence["mouth"].masked_fill(hides_mouth(codes), 1.0)
        # No part of a cat: one between two pastels is refused where it is far from both.
        del confidence["background"]
        distance = cat_distance(x.float().cpu(), codes)
    lowest = torch.stack([*confidence.values()]).amin(0)
    return Reading(features.float().cpu(), kinds, lowest, distance)


def cat_distance(x: Tensor, codes: Tensor) -> Tensor:
    """The worst window's RMS distance (B,) of pictures x from the cats of codes (B, 6)."""
    error = (x - cat_picture(codes[:, :5], codes[:, 5])).square().mean(1, keepdim=True)
    return F.avg_pool2d(error, WINDOW, WINDOW // 2).flatten(1).amax(1).sqrt()


def seen(codes: Tensor) -> Tensor:
    """Codes (B, 6) or parts (B, 5) with what cannot be seen replaced, see `data.visible`."""
    return torch.cat([visible(codes[:, :5]), codes[:, 5:]], dim=1)


def hides_mouth(codes: Tensor) -> Tensor:
    """Which cats (B,) wear a scarf over the mouth: those for which every mouth looks the same."""
    one, two = (codes[:, :5].clone() for _ in range(2))
    one[:, 3], two[:, 3] = 0, 1
    return (visible(one) == visible(two)).all(1)


def broken(codes: Tensor, seed: int) -> dict[str, Tensor]:
    """Cats that are none, made of real ones (B, 6): what the criterion must refuse.

    blended: one visible part is half one kind, half another. pasted: a square of 20 pixels, about
    the face, comes from another cat. blurred: a Gaussian of one pixel. noisy: deviation 0.15.
    """
    random = torch.Generator().manual_seed(seed)
    x = cat_picture(codes[:, :5], codes[:, 5])
    other = _with_one_other_part(codes, random)
    blended = (x + cat_picture(other[:, :5], other[:, 5])) / 2
    stranger = _with_one_other_part(codes[torch.randperm(len(codes), generator=random)], random)
    pasted = x.clone()
    patch = cat_picture(stranger[:, :5], codes[:, 5])[:, :, 20:40, 24:44]
    pasted[:, :, 20:40, 24:44] = patch
    weights = torch.exp(-torch.arange(-3.0, 4.0).square() / 2)
    line = (weights / weights.sum()).expand(3, 1, 1, 7)
    padded = F.pad(x, (3, 3, 3, 3), mode="replicate")
    blurred = F.conv2d(F.conv2d(padded, line, groups=3), line.transpose(2, 3), groups=3)
    noisy = x + 0.15 * torch.randn(x.shape, generator=random)
    return {"blended": blended, "pasted": pasted, "blurred": blurred, "noisy": noisy}


def _with_one_other_part(codes: Tensor, random: torch.Generator) -> Tensor:
    """The codes (B, 6) with one of the five parts replaced by another that looks different."""
    kinds, rows, changed = torch.tensor([*PARTS.values()]), torch.arange(len(codes)), codes.clone()
    while len(rows):
        part = torch.randint(len(kinds), (len(rows),), generator=random)
        u = torch.rand(len(rows), generator=random)
        shift = 1 + (u * (kinds[part] - 1)).long()
        changed[rows] = codes[rows]
        changed[rows, part] = (codes[rows, part] + shift) % kinds[part]
        rows = rows[(seen(changed)[rows, :5] == seen(codes)[rows, :5]).all(1)]
    return changed
