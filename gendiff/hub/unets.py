"""Checkpoints of diffusers' UNet2DModel with a scheduler: what DDPMPipeline loads.

config.json and diffusion_pytorch_model.safetensors (or .bin) lie in unet/ or at the root,
scheduler_config.json in scheduler/ or at the root. Where nothing is said, diffusers' own defaults
hold.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gendiff import schedule
from gendiff.errors import GendiffError
from gendiff.nets.unet_config import UNetConfig
from gendiff.schedule import Schedule

CONFIG, SCHEDULER = "config.json", "scheduler_config.json"
TARGETS = {"epsilon": "eps", "sample": "x0", "v_prediction": "v"}
VARIANCES = {
    "fixed_small": "posterior",
    "fixed_small_log": "posterior",
    "fixed_large": "beta",
    "fixed_large_log": "beta",
    "learned_range": "learned",
}
_DEFAULTS = {  # of DDPMScheduler
    "num_train_timesteps": 1000,
    "beta_start": 0.0001,
    "beta_end": 0.02,
    "beta_schedule": "linear",
    "trained_betas": None,
    "variance_type": "fixed_small",
    "clip_sample": True,
    "clip_sample_range": 1.0,
    "prediction_type": "epsilon",
    "thresholding": False,
    "rescale_betas_zero_snr": False,
}
# Which levels a sampler visits is the sampler's choice here, not the model's; the rest of these
# belongs to options that are refused when they are on.
_OF_NO_MATTER = {
    "timestep_spacing",
    "steps_offset",
    "set_alpha_to_one",
    "skip_prk_steps",
    "dynamic_thresholding_ratio",
    "sample_max_value",
}
_SUPPORTED: dict[str, Collection[Any]] = {
    "beta_schedule": ("linear", "scaled_linear", "squaredcos_cap_v2", "sigmoid"),
    "prediction_type": TARGETS,
    "variance_type": VARIANCES,
    "clip_sample_range": (1,),
    "thresholding": (False,),
    "rescale_betas_zero_snr": (False,),
}
_OLD_ATTENTION = {"query": "to_q", "key": "to_k", "value": "to_v", "proj_attn": "to_out.0"}
_SCHEDULERS = ("DDPMScheduler", "DDIMScheduler", "PNDMScheduler")


def network(path: Path) -> UNetConfig:
    """The network that config.json describes; GendiffError for an option that we do not have."""
    values = _object(path)
    kind = values.get("_class_name", "UNet2DModel")
    if kind != "UNet2DModel":
        raise GendiffError(
            f"The network is a {str(kind)[:60]}, and only UNet2DModel is known; choose another."
        )
    try:
        config = UNetConfig.from_dict(values)
    except (TypeError, ValueError) as error:
        raise GendiffError(f"The network's {CONFIG} is not understood ({error}).") from error
    if config.in_channels not in (1, 3):
        raise GendiffError(
            f"The network takes {config.in_channels} channels; a picture has 1 or 3, and latent "
            "diffusion is not known."
        )
    return config


def shape(config: UNetConfig) -> tuple[int, int, int]:
    """(C, H, W) of the pictures."""
    size = config.sample_size
    height, width = size if isinstance(size, tuple) and len(size) == 2 else (size, size)
    if not all(isinstance(side, int) and 1 <= side <= 4096 for side in (height, width)):
        raise GendiffError(f"{CONFIG} does not say how large the pictures are (sample_size).")
    return config.in_channels, height, width


def rename_old_attention(state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The state dict with old attention names (query, key, value, proj_attn, to 2022) made new."""

    def new(match: re.Match[str]) -> str:
        return f"{match[1]}{_OLD_ATTENTION[match[2]]}."

    pattern = re.compile(r"(\.attentions\.\d+\.)(query|key|value|proj_attn)\.")
    return {pattern.sub(new, name): tensor for name, tensor in state_dict.items()}


@dataclass(frozen=True)
class Noising:
    """A scheduler file in our terms; described: the schedule as a card tells it."""

    schedule: Schedule
    described: Mapping[str, Any]
    target: str
    clip_x0: bool
    variance: str


def noising(path: Path | None) -> Noising:
    """What a scheduler file says; None: diffusers' defaults, as for a network saved without one.

    Raises:
        GendiffError: an option that our schedules and samplers do not have, by its name.
    """
    values = {} if path is None else _object(path)
    kind = values.get("_class_name", "DDPMScheduler")
    if kind not in _SCHEDULERS:
        raise GendiffError(
            f"The scheduler {str(kind)[:60]} is not known, only {', '.join(_SCHEDULERS)} are."
        )
    own = {k: v for k, v in values.items() if not k.startswith("_") and k not in _OF_NO_MATTER}
    if unknown := sorted(own.keys() - _DEFAULTS.keys()):
        raise GendiffError(f"{SCHEDULER} has unknown options: {', '.join(unknown)[:200]}.")
    own = {**_DEFAULTS, **own}
    for option, supported in _SUPPORTED.items():
        if own[option] not in supported:
            raise GendiffError(
                f"{SCHEDULER}: {option} {str(own[option])[:40]!r} is not supported, only "
                f"{', '.join(map(str, supported))}."
            )
    try:
        levels, described = _levels(own)
    except (TypeError, ValueError) as error:
        raise GendiffError(f"{SCHEDULER} is not understood ({error}).") from error
    return Noising(
        levels,
        described,
        TARGETS[own["prediction_type"]],
        bool(own["clip_sample"]),
        VARIANCES[own["variance_type"]],
    )


def _levels(own: Mapping[str, Any]) -> tuple[Schedule, dict[str, Any]]:
    T, first, last = own["num_train_timesteps"], own["beta_start"], own["beta_end"]
    if not all(isinstance(number, int | float) for number in (T, first, last)):
        raise ValueError("a number is something else")
    if (given := own["trained_betas"]) is not None:
        return schedule.from_betas([float(beta) for beta in given]), {"name": "custom", "T": T}
    if own["beta_schedule"] == "squaredcos_cap_v2":
        return schedule.cosine(T), {"name": "cosine", "T": T}
    described = {"name": own["beta_schedule"], "T": T, "beta_1": first, "beta_T": last}
    if own["beta_schedule"] == "sigmoid":
        # GeoDiff's: the betas, not alpha_bar, follow a sigmoid from -6 to 6 (Xu et al. 2022,
        # arXiv:2203.02923)
        steps = torch.linspace(-6, 6, T, dtype=torch.float64)
        described["name"] = "sigmoid betas"
        return schedule.from_betas(torch.sigmoid(steps) * (last - first) + first), described
    return schedule.named(**described), described


def _object(path: Path) -> dict[str, Any]:
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise GendiffError(f"{path.name} cannot be read as JSON ({error}).") from error
    if not isinstance(values, dict):
        raise GendiffError(f"{path.name} holds no options.")
    return values
