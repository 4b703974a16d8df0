"""The GAN's two networks at work: G's pictures, and D's verdict on them, alone or mixed with real.

Goodfellow et al. (2014), arXiv:1406.2661: D sees real pictures and G's, mixed, and says for each
how likely it is real; G has won where D can do no better than guess.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch

from gendiff import clock
from gendiff.batches import in_batches
from gendiff.errors import GendiffError
from gendiff.gan import Gan
from gendiff.images import from_uint8, to_uint8
from gendiff.noise import resolve_labels
from gendiff.studio.models import Studio

PICTURES_MAX = 64
HALF = 16  # pictures of each kind in a mix: 32 can be taken in at a glance


@dataclass(frozen=True)
class Ask:
    """What to draw: a GAN's name, one seed a picture, one class or None (each seed draws its own),
    the bound on the numbers of z or None (see `gendiff.gan.truncated`), and the networks' dtype,
    None for the studio's own."""

    model: str
    seeds: tuple[int, ...]
    label: int | None = None
    truncation: float | None = None
    dtype: str | None = None


@dataclass(frozen=True)
class Picked:
    """One picture (H, W, C) uint8 of a model, with its seed, its class ("" if the model has none),
    D's probability that it is real, and its z (latent,). no_verdict: why `real` is NaN."""

    model: str
    picture: np.ndarray
    seed: int
    name: str
    real: float
    z: np.ndarray
    no_verdict: str = ""


@dataclass(frozen=True, eq=False)
class Sheet:
    """Pictures (N, H, W, C) uint8 of one call of G.

    Attributes:
        names: classes (N,), all "" if the model has none. real: D's probability (N,) that each
            is real; NaN where no D says so, and no_verdict says why. z: (N, latent) float32.
            seconds: of G's call, without loading and warm-up.
    """

    ask: Ask
    pictures: np.ndarray
    names: tuple[str, ...]
    real: np.ndarray
    z: np.ndarray
    seconds: float
    no_verdict: str = ""

    def picked(self, index: int) -> Picked:
        """Everything about one picture; GendiffError if there is none of that index."""
        if not 0 <= index < len(self.pictures):
            raise GendiffError(f"There are {len(self.pictures)} pictures, from 0; got {index}.")
        real, z = float(self.real[index]), self.z[index]
        seed, name = self.ask.seeds[index], self.names[index]
        picture = self.pictures[index]
        return Picked(self.ask.model, picture, seed, name, real, z, self.no_verdict)


@dataclass(frozen=True, eq=False)
class Mixed:
    """Real and generated pictures (N, H, W, C) uint8 in random order, half and half.

    Attributes:
        names: classes (N,). seeds: (N,), None for a real picture. real: D's probability (N,).
        seconds: of D's one call, without loading and warm-up.
    """

    pictures: np.ndarray
    names: tuple[str, ...]
    seeds: tuple[int | None, ...]
    real: np.ndarray
    seconds: float

    @property
    def right(self) -> np.ndarray:
        """Where D's verdict, "real" from a probability of 1/2 on, is the truth: bool (N,)."""
        return (self.real >= 0.5) == np.array([seed is None for seed in self.seeds])

    @property
    def accuracy(self) -> float:
        """The part of the verdicts that are right."""
        return float(self.right.mean())

    @property
    def chance(self) -> tuple[float, float]:
        """Where 95 of 100 accuracies of a coin lie: 1/2 -+ 1.96 sqrt(1 / (4 N))."""
        reach = 1.96 * math.sqrt(0.25 / len(self.pictures))
        return max(0.0, 0.5 - reach), min(1.0, 0.5 + reach)


@lru_cache(maxsize=96)  # at most 80 MB: 64 pictures of 64x64 and their z are 0.8 MB
def draw(studio: Studio, ask: Ask) -> Sheet:
    """G's pictures of `ask`, and D's verdicts on them as shown, with 8 bits.

    The same Sheet again for the same question: a class that opens one link costs one call.

    Raises:
        GendiffError: no such GAN; seeds, class or truncation that it cannot take.
    """
    model = _gan(studio, ask)
    if len(ask.seeds) > PICTURES_MAX:
        raise GendiffError(
            f"Ask for at most {PICTURES_MAX} pictures at once; got {len(ask.seeds)}."
        )
    labels = resolve_labels(ask.label, ask.seeds, model.classes, model.device)
    z = model.latents(ask.seeds, ask.truncation)
    _warm_up(model, len(z))
    start = clock.now(model.device)
    x = in_batches(model.decode, z, labels)
    seconds = clock.now(model.device) - start
    pictures = to_uint8(x)
    real = np.full(len(z), np.nan, np.float32)
    if model.discriminator is not None:
        real, _ = _judge(model, pictures, labels)
    names = _names(model, labels, len(z))
    return Sheet(ask, pictures, names, real, z.cpu().numpy(), seconds, model.no_verdict)


@lru_cache(maxsize=32)
def mix(studio: Studio, ask: Ask) -> Mixed:
    """The first (up to 16) pictures of `ask`, as many real ones that no network was trained on,
    shuffled by the first seed, and D's verdict on each. A class, if given, holds for both kinds.

    Raises:
        GendiffError: as `draw`; no bundled real pictures of this data set or class.
    """
    model, sheet = _gan(studio, ask), draw(studio, ask)
    if model.discriminator is None:
        raise GendiffError(f"{model.card.title} gives no verdict. {model.no_verdict}")
    real = studio.real(model.card.data)
    pool = (
        np.arange(len(real.labels))
        if ask.label is None
        else np.flatnonzero(real.labels == ask.label)
    )
    half = min(HALF, len(ask.seeds), len(pool))
    if half == 0:
        raise GendiffError("There are no bundled real pictures of this class; pick another one.")
    random = np.random.default_rng(ask.seeds[0])
    found, order = random.choice(pool, half, replace=False), random.permutation(2 * half)
    pictures = np.concatenate([sheet.pictures[:half], real.pictures[found]])[order]
    labels = None
    if model.classes:
        drawn = resolve_labels(ask.label, ask.seeds[:half], model.classes, "cpu")
        labels = torch.cat([drawn, torch.from_numpy(real.labels[found])])[order].to(model.device)
    seeds = [*ask.seeds[:half], *[None] * half]
    _warm_up(model, 2 * half)
    verdicts, seconds = _judge(model, pictures, labels)
    names = _names(model, labels, 2 * half)
    return Mixed(pictures, names, tuple(seeds[i] for i in order), verdicts, seconds)


def _gan(studio: Studio, ask: Ask) -> Gan:
    model = studio.model(ask.model, ask.dtype)
    if not isinstance(model, Gan):
        raise GendiffError(f"{ask.model} is no GAN; pick a GAN.")
    return model


def _judge(
    model: Gan, pictures: np.ndarray, labels: torch.Tensor | None
) -> tuple[np.ndarray, float]:
    """D's probability of "real" for each picture, and the seconds of that call."""
    x = from_uint8(pictures).to(model.device)
    start = clock.now(model.device)
    real = in_batches(model.verdict, x, labels)
    return real.cpu().numpy(), clock.now(model.device) - start


@lru_cache(maxsize=256)
def _warm_up(model: Gan, count: int) -> None:
    """Call both networks once with this many pictures: the first call of a size also prepares
    kernels (measured: up to twice the time), which no timing should hold."""
    z = model.latents(range(count))
    labels = resolve_labels(None, range(count), model.classes, model.device)
    x = in_batches(model.decode, z, labels)
    if model.discriminator is not None:
        in_batches(model.verdict, x, labels)


def _names(model: Gan, labels: torch.Tensor | None, count: int) -> tuple[str, ...]:
    if labels is None:
        return ("",) * count
    return tuple(model.card.classes[label] for label in labels.tolist())
