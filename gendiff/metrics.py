"""How far generated pictures are from real ones: distances, precision and recall, counts.

Everything here consumes features (N, D) or what was read from pictures; nothing knows who made
them. FID and KID are torchmetrics' own, fed with features instead of pictures.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gendiff.data import PARTS, combination_index, is_held_out, visible
from gendiff.errors import GendiffError
from gendiff.readers import Reading, hides_mouth

K = 3  # Kynkaanniemi et al. (2019), section 3
SUBSETS, SUBSET = 50, 500
MODES = PARTS["body"] * PARTS["eyes"] * PARTS["accessory"]  # 3,600


@dataclass(frozen=True)
class Sample:
    """What is kept of N pictures.

    Attributes:
        features: (N, D). asked: the class that each was made for (N,).
        codes: what was read: (N, 1) the class, or (N, 6) a cat's attributes.
        valid: which cats are valid (N,); all True for other data.
        nearest: RMS distance to the nearest training picture (N,), see `Nearest`.
    """

    features: Tensor
    asked: Tensor
    codes: Tensor
    valid: Tensor
    nearest: Tensor

    def __len__(self) -> int:
        return len(self.features)

    def first(self, count: int) -> Sample:
        return Sample(*(getattr(self, entry.name)[:count] for entry in fields(self)))

    @classmethod
    def joined(cls, parts: Sequence[Sample]) -> Sample:
        return cls(
            *(torch.cat([getattr(part, entry.name) for part in parts]) for entry in fields(cls))
        )


def collect(
    batches: Iterable[tuple[Tensor, Tensor]],
    reader: Callable[[Tensor], Reading],
    nearest: Callable[[Tensor], Tensor],
) -> Iterable[Sample]:
    """One Sample for each batch of pictures (B, C, H, W) and the classes (B,) asked for."""
    for x, labels in batches:
        reading = reader(x)
        everything = torch.ones(len(x), dtype=torch.bool)
        cats = reading.distance is not None
        yield Sample(
            features=reading.features,
            asked=labels.cpu(),
            codes=reading.codes if cats else reading.kinds["label"][:, None],
            valid=reading.valid if cats else everything,
            nearest=nearest(x.float().cpu()),
        )


def frechet(a: Tensor, b: Tensor) -> float:
    """|m_a - m_b|^2 + tr(C_a + C_b - 2 (C_a C_b)^(1/2)) of features (N, D), (M, D).

    Heusel et al. (2017), arXiv:1706.08500, Eq. 6. It falls with more pictures: compare equal N.
    Raises GendiffError for fewer than two pictures or features that are not finite.
    """
    from torchmetrics.image.fid import FrechetInceptionDistance

    a, b = _checked(a, 2), _checked(b, 2)
    distance = FrechetInceptionDistance(feature=_Given(a.shape[1])).set_dtype(torch.float64)
    distance.update(a, real=True)
    distance.update(b, real=False)
    return float(distance.compute())


def kernel(a: Tensor, b: Tensor, seed: int = 0) -> tuple[float, float]:
    """Kernel distance of features (N, D), (M, D): mean and standard deviation over 50 subsets.

    The unbiased squared MMD with k(x, y) = (x.y / D + 1)^3; Binkowski et al. (2018),
    arXiv:1801.01401, section 3.1. A subset has half of the smaller set, 500 pictures at most.
    """
    from torchmetrics.image.kid import KernelInceptionDistance

    a, b = _checked(a, 4), _checked(b, 4)
    size = min(SUBSET, len(a) // 2, len(b) // 2)
    with warnings.catch_warnings(), torch.random.fork_rng(devices=[]):
        warnings.simplefilter("ignore", UserWarning)  # that it keeps all features
        torch.manual_seed(seed)  # it draws its subsets globally
        distance = KernelInceptionDistance(_Given(a.shape[1]), SUBSETS, size)
        distance.update(a, real=True)
        distance.update(b, real=False)
        mean, deviation = distance.compute()
    return float(mean), float(deviation)


class _Given(nn.Module):
    """Stands where torchmetrics expects the feature network: the features are there already."""

    def __init__(self, count: int) -> None:
        super().__init__()
        self.num_features = count

    def forward(self, features: Tensor) -> Tensor:
        return features


def precision_recall(real: Tensor, fake: Tensor, k: int = K) -> tuple[float, float]:
    """The share of fake pictures among the real ones, and of real ones among the fake.

    "Among": no further from some picture of the other set than that picture's k-th nearest
    neighbour in its own set. Kynkaanniemi et al. (2019), arXiv:1904.06991, Eq. 1-2.
    Raises GendiffError where a set has no k-th neighbour.
    """
    real, fake = _checked(real, k + 1), _checked(fake, k + 1)
    between = torch.cdist(fake, real)
    return (
        float((between <= _reach(real, k)[None]).any(1).double().mean()),
        float((between <= _reach(fake, k)[:, None]).any(0).double().mean()),
    )


def _reach(x: Tensor, k: int) -> Tensor:
    """The distance (N,) from each point to its k-th nearest neighbour, itself not counted."""
    return torch.cdist(x, x).kthvalue(k + 1, dim=1).values


def _checked(x: Tensor, least: int) -> Tensor:
    if x.ndim != 2 or len(x) < least:
        raise GendiffError(f"This metric needs at least {least} pictures; got {len(x)}.")
    if not bool(x.isfinite().all()):
        raise GendiffError("A picture's features are not finite numbers; is the model damaged?")
    return x.double()


def obedience(
    asked: Tensor, read: Tensor, classes: Sequence[str]
) -> tuple[float, dict[str, float]]:
    """The share of pictures read as the class (N,) that was asked for: of all, and class by class.

    A class that was never asked for is left out.
    """
    right = (asked == read).double()
    shares = {
        name: float(right[asked == number].mean())
        for number, name in enumerate(classes)
        if bool((asked == number).any())
    }
    return float(right.mean()), shares


class Nearest:
    """RMS distance, pixel by pixel in [-1, 1], to the nearest of some training pictures.

    Pictures of more than 32 x 32 pixels are averaged down to that first.
    """

    def __init__(self, pictures: Tensor) -> None:
        self.flat = _small(pictures)
        self.squares = self.flat.square().sum(1)

    def __call__(self, x: Tensor) -> Tensor:
        """Pictures (B, C, H, W) -> (B,)."""
        flat = _small(x)
        squared = self.squares - 2 * flat @ self.flat.T  # |x - y|^2 - |x|^2
        lowest = squared.amin(1) + flat.square().sum(1)
        return (lowest.clamp(min=0) / flat.shape[1]).sqrt()


def _small(x: Tensor) -> Tensor:
    return F.avg_pool2d(x, max(1, x.shape[-1] // 32)).flatten(1)


def copying(fake: Tensor, real: Tensor, training: int) -> dict[str, float]:
    """Distances to the nearest training picture: of generated pictures and of real test ones.

    `closer` is the share of generated pictures nearer to the training set than all but a hundredth
    of the real test pictures are: 0.01 is what a model that copies nothing should show.
    """
    return {
        "median": float(fake.median()),
        "real_median": float(real.median()),
        "lowest": float(fake.amin()),
        "real_lowest": float(real.amin()),
        "closer": float((fake < real.quantile(0.01)).double().mean()),
        "training_images": training,
    }


def reached(modes: int, draws: int) -> float:
    """How many of equally probable modes that many draws are expected to reach."""
    return -modes * math.expm1(draws * math.log1p(-1 / modes)) if draws else 0.0


def divergence(counts: Tensor, expected: Tensor) -> float:
    """KL(counts / n || expected) in nats, of (K,) and (K,); 0 log 0 = 0."""
    p, q = counts.double() / counts.sum().clamp(min=1), expected.double()
    return float((torch.special.xlogy(p, p) - torch.special.xlogy(p, q)).sum())


def cats(codes: Tensor, valid: Tensor) -> Mapping[str, object]:
    """What counts say of cats read as codes (N, 6): fields of `results.Score`.

    Only valid cats count, but for the share of valid ones itself. The parts' frequencies are
    compared with those that equally probable parts show: two furs look alike, and a mouth under a
    scarf is not counted. n draws from such a distribution show a KL of about (kinds - 1) / 2n.
    """
    good = codes[valid]
    parts = visible(good[:, :5])
    mode = (parts[:, 0] * PARTS["eyes"] + parts[:, 2]) * PARTS["accessory"] + parts[:, 4]
    kl, usual = {}, {}
    for place, (name, kinds) in enumerate(PARTS.items()):
        looks = visible(_one_of_each(place, kinds))[:, place]
        expected = torch.bincount(looks, minlength=kinds).double() / kinds
        kept = parts[:, place][~hides_mouth(good)] if name == "mouth" else parts[:, place]
        kl[name] = divergence(torch.bincount(kept, minlength=kinds), expected)
        usual[name] = (len(looks.unique()) - 1) / (2 * max(len(kept), 1))
    return {
        "valid": float(valid.double().mean()),
        "modes": len(mode.unique()),
        "modes_uniform": reached(MODES, len(good)),
        "kl": kl,
        "kl_uniform": usual,
        "novelty": float(is_held_out(combination_index(parts)).double().mean())
        if len(good)
        else 0.0,
    }


def _one_of_each(place: int, kinds: int) -> Tensor:
    """Parts (kinds, 5) that differ in one place only, with an accessory that hides nothing."""
    parts = torch.zeros(kinds, len(PARTS), dtype=torch.int64)
    parts[:, -1] = 1
    parts[:, place] = torch.arange(kinds)
    return parts
