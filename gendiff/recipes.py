"""How the bundled checkpoints are trained: every choice that makes one, in one place."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from gendiff.errors import GendiffError


@dataclass(frozen=True)
class Recipe:
    """All that decides a training run, but for the machine and the time.

    Attributes:
        name: of the checkpoint, DATA-FAMILY.
        data, family: what it learns, and how.
        net: configuration of its network(s).
        images: how many to see before it is done.
        batch: images per optimizer step.
        rate: Adam's learning rate. betas: Adam's.
        warmup: images over which the rate rises from 0.
        cooldown: share of `images`, at their end, over which the rate falls to 0: what a steady
            rate leaves as grain settles in a few thousand images (Hagele et al. 2024,
            arXiv:2405.18392).
        ema: half-life of the averaged weights, in images (Karras et al. 2022, appendix F.2).
        seed: of everything random.
        schedule, target, snr_cap, snr_floor, space_to_depth, drop_label, guidance: diffusion only.
            snr_cap, snr_floor: see `Denoiser.loss`. guidance: the scale of what the network learns
            to have built in, see `denoise.Unguided`.
        loss, critic_steps, r1, mode_seeking: GAN only; r1 is the weight of the penalty on real
            pictures, mode_seeking that of a G that lets z count for little.
    """

    name: str
    data: str
    family: str
    net: Mapping[str, Any]
    images: int
    batch: int = 64
    rate: float = 2e-4
    betas: tuple[float, float] = (0.9, 0.999)
    warmup: int = 0
    cooldown: float = 0.25
    ema: int = 20_000
    seed: int = 0
    schedule: Mapping[str, Any] = field(default_factory=lambda: {"name": "cosine", "T": 1000})
    target: str = "v"
    snr_cap: float = 5.0
    snr_floor: float = 0.0
    space_to_depth: int = 2
    drop_label: float = 0.1
    guidance: float = 1.0
    loss: str = "non_saturating"
    critic_steps: int = 1
    r1: float = 0.0
    mode_seeking: float = 0.0

    def cooled(self, images: int) -> float:
        """The factor of the rate after so many images: 1, falling to 0."""
        if not self.cooldown:
            return 1.0
        return min(1.0, max(0.0, 1 - images / self.images) / self.cooldown)


def _unet(channels: int, size: int, classes: int, widths: tuple[int, ...]) -> dict[str, Any]:
    """A U-Net on 2x2 pixels as channels, one layer a block, attention in its lower half."""
    attended = [2 * i >= len(widths) for i in range(len(widths))]
    return {
        "sample_size": size // 2,
        "in_channels": 4 * channels,
        "out_channels": 4 * channels,
        "block_out_channels": list(widths),
        "layers_per_block": 1,
        "down_block_types": ["AttnDownBlock2D" if a else "DownBlock2D" for a in attended],
        "up_block_types": ["AttnUpBlock2D" if a else "UpBlock2D" for a in attended[::-1]],
        "attention_head_dim": 16,
        "norm_num_groups": 16,
        "num_class_embeds": classes + 1,  # the last row is "no label"
    }


RECIPES: Mapping[str, Recipe] = {
    recipe.name: recipe
    for recipe in (
        Recipe(
            name="fashion-gan",
            data="fashion",
            family="gan",
            net={"size": 32, "channels": 1, "width": 64, "classes": 10, "norm": "batch"},
            images=2_000_000,
            batch=16,
            betas=(0.5, 0.999),
        ),
        Recipe(
            name="fashion-diffusion",
            data="fashion",
            family="diffusion",
            net=_unet(1, 32, 10, (48, 96, 128)),
            images=3_000_000,
            batch=16,
            rate=4e-4,
            warmup=2_000,
            guidance=1.5,
        ),
        Recipe(
            name="cats-gan",
            data="cats",
            family="gan",
            net={
                "size": 64,
                "channels": 3,
                "width": 40,
                "classes": 15,
                "norm": "layer",
                "upsample": "bilinear",
            },
            images=2_000_000,
            batch=16,
            rate=4e-4,
            betas=(0.5, 0.999),
            # Sharp lines on flat areas: a D with batch norm tells them from a generator's by a
            # trifle and wins at once, so its slope is bounded. It then lets one cat a coat pass.
            r1=5.0,
            mode_seeking=0.3,
        ),
        Recipe(
            name="cats-diffusion",
            data="cats",
            family="diffusion",
            net=_unet(3, 64, 15, (32, 64, 96, 128)),
            images=3_000_000,
            batch=16,
            rate=4e-4,
            warmup=2_000,
            # A cartoon is flat, its noise is not. To predict v a network must carry all the noise
            # through its narrow layers, and leaves grain (Li & He 2025, arXiv:2511.13720).
            target="x0",
            # Nearly the plain error of the picture: a background, one of six pastels, is decided
            # where the SNR is a tenth or less, which the usual weight hardly counts.
            snr_floor=1.0,
            snr_cap=2.0,
        ),
    )
}


def recipe(name: str) -> Recipe:
    """The recipe of a bundled checkpoint; GendiffError if there is none of that name."""
    if name not in RECIPES:
        raise GendiffError(f"There is no recipe {name!r}; choose one of {', '.join(RECIPES)}.")
    return RECIPES[name]
