"""gendiff: see, step through and race GANs against diffusion models.

Images are (B, C, H, W) in [-1, 1]; t = 0 is data and t = T noise;
x_t = sqrt(alpha_bar_t) x_0 + sqrt(1 - alpha_bar_t) eps; log-SNR is in nats.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from torch import Tensor

from gendiff import denoise, latent, noise, sample, schedule
from gendiff.errors import GendiffError
from gendiff.noise import resolve_labels
from gendiff.sample import Step
from gendiff.weights import Card, Model, load, models

__version__ = "0.1.0"
__all__ = [
    "Card",
    "GendiffError",
    "Step",
    "denoise",
    "interpolate",
    "latent",
    "load",
    "models",
    "noise",
    "sample",
    "schedule",
    "trajectory",
]


def trajectory(
    model: Model,
    seeds: Iterable[int],
    *,
    sampler: str = "ddim",
    steps: int = 50,
    labels: Any = None,
    **options: Any,
) -> Iterator[Step]:
    """A diffusion model's run from noise to pictures; options are `Diffusion.trajectory`'s."""
    if not hasattr(model, "trajectory"):
        raise GendiffError(f"{model.card.name} makes a picture in one call: it has no trajectory.")
    return model.trajectory(seeds, sampler=sampler, steps=steps, labels=labels, **options)


def interpolate(
    model: Model, seeds: Iterable[int], frames: int, path: str = "slerp", *, labels: Any = None
) -> Iterator[Tensor]:
    """Pictures (1, C, H, W) along the way between the seeds' latents, first and last included.

    The GAN's way leads through z, the diffusion model's through x_T (deterministic DDIM decodes
    it). One class for the whole way: `labels`, or the class that the first seed draws.
    """
    seeds = noise.checked(seeds)
    points = latent.walk(model.latents(seeds), frames, path)
    label = resolve_labels(labels, seeds[:1], model.classes, model.device)
    return (model.decode(point[None], label) for point in points)
