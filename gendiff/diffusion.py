"""A trained diffusion model: a denoiser with the ways to sample from it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import Tensor

from gendiff.batches import in_batches
from gendiff.denoise import Denoiser, Guided
from gendiff.errors import GendiffError
from gendiff.noise import Noise, checked, resolve_labels
from gendiff.sample import SAMPLERS, Spacing, Step, last, times

GUIDANCE_MAX = 20.0


class Diffusion:
    """A trained diffusion model. Made by `gendiff.load`.

    Attributes:
        card: what it is.
        shape: (C, H, W) of its pictures.
        classes: how many; 0 for an unconditional model.
        denoiser: its network with its schedule.
        variance: the one of ddpm that it was trained for.
        no_label: whether its network has learned to do without a class, as guidance needs.
        device, dtype: where and in what it runs.
    """

    def __init__(
        self,
        card: Any,
        denoiser: Denoiser,
        variance: str = "posterior",
        no_label: bool = True,
    ) -> None:
        self.card, self.denoiser, self.schedule = card, denoiser, denoiser.schedule
        self.shape, self.classes = card.shape, len(card.classes)
        self.variance, self.no_label = variance, no_label
        weight = next(denoiser.parameters())
        self.device, self.dtype = weight.device, weight.dtype

    def latents(self, seeds: Iterable[int]) -> Tensor:
        """x_T (B, C, H, W), float32."""
        return Noise(seeds, self.device).randn(*self.shape)

    def trajectory(
        self,
        seeds: Iterable[int],
        *,
        sampler: str = "ddim",
        steps: int = 50,
        labels: Any = None,
        guidance: float = 1.0,
        eta: float = 0.0,
        variance: str | None = None,
        spacing: Spacing = "trailing",
        x_T: Tensor | None = None,
    ) -> Iterator[Step]:
        """The run from noise to pictures, one Step a transition.

        Args:
            seeds: one per picture.
            sampler: ddpm, ddim, renoise, dpmpp_2m or heun.
            steps: how many of the schedule's T levels are visited.
            labels: None (each seed draws its class), one class, or one for each seed.
            guidance: scale of classifier-free guidance; 1 is none and costs half.
            eta: for ddim only, 0 to 1. variance: for ddpm only; None for the model's own.
            spacing: which levels, see `sample.times`.
            x_T: where to start (B, C, H, W); by default the seeds' own noise.

        Raises:
            GendiffError: for any value out of range.
        """
        if sampler not in SAMPLERS:
            raise GendiffError(
                f"There is no sampler {sampler!r}; choose one of {', '.join(SAMPLERS)}."
            )
        noise = Noise(seeds, self.device)
        labels = resolve_labels(labels, noise.seeds, self.classes, self.device)
        start = noise.randn(*self.shape)  # drawn even if x_T is given: later draws stay the same
        if x_T is not None and x_T.shape != start.shape:
            raise GendiffError(f"x_T must be {tuple(start.shape)}; got {tuple(x_T.shape)}.")
        variance = self.variance if variance is None else variance
        options = {"ddim": {"eta": eta}, "ddpm": {"variance": variance}}.get(sampler, {})
        return SAMPLERS[sampler](
            self._guided(guidance),
            start if x_T is None else x_T.to(self.device),
            times(self.schedule.T, steps, spacing),
            noise=noise,
            labels=labels,
            **options,
        )

    def _guided(self, scale: float) -> Denoiser | Guided:
        if not 0 <= scale <= GUIDANCE_MAX:
            raise GendiffError(f"Guidance goes from 0 to {GUIDANCE_MAX:g}; got {scale}.")
        if scale == 1:
            return self.denoiser
        if not self.classes:
            raise GendiffError("This model knows no classes, so guidance must stay 1.")
        if not self.no_label:
            raise GendiffError(
                "This model was not trained without classes, so guidance must stay 1."
            )
        return Guided(self.denoiser, scale, no_label=self.classes)

    def sample(
        self,
        seeds: Iterable[int],
        *,
        labels: Any = None,
        sampler: str = "ddim",
        steps: int = 50,
        guidance: float = 1.0,
        eta: float = 0.0,
        variance: str | None = None,
        spacing: Spacing = "trailing",
    ) -> Tensor:
        """The pictures at the end of `trajectory`, (B, C, H, W) in [-1, 1]."""
        seeds = checked(seeds)
        chosen = resolve_labels(labels, seeds, self.classes, self.device)

        def run(part: Tensor, y: Tensor | None) -> Tensor:
            return last(
                self.trajectory(
                    part.tolist(),
                    sampler=sampler,
                    steps=steps,
                    labels=y,
                    guidance=guidance,
                    eta=eta,
                    variance=variance,
                    spacing=spacing,
                )
            )

        return in_batches(run, torch.tensor(seeds), chosen).clamp(-1, 1)

    def network_calls(self, sampler: str, steps: int, guidance: float = 1.0) -> int:
        """NFE: how often `trajectory` with these options calls the network for one picture."""
        calls = 2 * steps - 1 if sampler == "heun" else steps
        return calls * self._guided(guidance).calls

    def decode(self, x_T: Tensor, labels: Tensor | None = None, steps: int = 25) -> Tensor:
        """x_T -> pictures by deterministic DDIM: the map that makes this family a decoder, too."""
        run = self.trajectory(range(len(x_T)), labels=labels, steps=steps, x_T=x_T)
        return last(run).clamp(-1, 1)

    @torch.no_grad()
    def guess(self, x_t: Tensor, t: int, labels: Any = None) -> Tensor:
        """The network's x_0 for x_t at level t in one call, (B, C, H, W). None: "no label"."""
        if labels is None and self.classes and not self.no_label:
            raise GendiffError(
                "This model was not trained without classes: it cannot guess without one."
            )
        if labels is not None:
            labels = resolve_labels(labels, range(len(x_t)), self.classes, self.device)
        return self.denoiser(x_t.to(self.device), t, labels).x0
