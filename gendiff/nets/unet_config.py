"""The options of the U-Net, read from diffusers' config.json of a UNet2DModel and checked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import torch.nn.functional as F

from gendiff.errors import GendiffError

ACTIVATIONS = {"silu": F.silu, "swish": F.silu, "mish": F.mish, "gelu": F.gelu, "relu": F.relu}
_RESAMPLERS = ("conv", "resnet", None)
# The rest ("fourier", "SkipDownBlock2D", ...) is refused.
_SUPPORTED: dict[str, tuple[object, ...]] = {
    "time_embedding_type": ("positional", "learned"),
    "down_block_types": ("DownBlock2D", "AttnDownBlock2D"),
    "mid_block_type": ("UNetMidBlock2D", None),
    "up_block_types": ("UpBlock2D", "AttnUpBlock2D"),
    "downsample_padding": (0, 1),
    "downsample_type": _RESAMPLERS,
    "upsample_type": _RESAMPLERS,
    "act_fn": tuple(ACTIVATIONS),
    "resnet_time_scale_shift": ("default", "scale_shift"),
    "class_embed_type": (None, "timestep", "identity"),
}


@dataclass(frozen=True)
class UNetConfig:
    """The options of a UNet: the keys and the defaults of diffusers' UNet2DModel config.json.

    attention_head_dim None means one head as wide as the block. sample_size is only remembered.
    Raises GendiffError for a value that this network does not have.
    """

    sample_size: int | tuple[int, ...] | None = None
    in_channels: int = 3
    out_channels: int = 3
    center_input_sample: bool = False
    time_embedding_type: str = "positional"
    time_embedding_dim: int | None = None
    freq_shift: int = 0
    flip_sin_to_cos: bool = True
    down_block_types: tuple[str, ...] = ("DownBlock2D", *["AttnDownBlock2D"] * 3)
    mid_block_type: str | None = "UNetMidBlock2D"
    up_block_types: tuple[str, ...] = (*["AttnUpBlock2D"] * 3, "UpBlock2D")
    block_out_channels: tuple[int, ...] = (224, 448, 672, 896)
    layers_per_block: int = 2
    mid_block_scale_factor: float = 1
    downsample_padding: int = 1
    downsample_type: str | None = "conv"
    upsample_type: str | None = "conv"
    dropout: float = 0.0
    act_fn: str = "silu"
    attention_head_dim: int | None = 8
    norm_num_groups: int = 32
    attn_norm_num_groups: int | None = None
    norm_eps: float = 1e-5
    resnet_time_scale_shift: str = "default"
    add_attention: bool = True
    class_embed_type: str | None = None
    num_class_embeds: int | None = None
    num_train_timesteps: int | None = None

    @classmethod
    def from_dict(cls, config: Mapping[str, Any]) -> UNetConfig:
        """Read a config.json. Keys that start with "_" are diffusers' own notes: ignored.

        Missing keys take the default. Raises GendiffError for unknown keys, and names them.
        """
        given = {k: v for k, v in config.items() if not k.startswith("_")}
        if unknown := sorted(given.keys() - {f.name for f in fields(cls)}):
            raise GendiffError(
                f"The UNet configuration has unknown options ({', '.join(unknown)}); "
                "choose another model."
            )
        return cls(**{k: tuple(v) if isinstance(v, list) else v for k, v in given.items()})

    def __post_init__(self) -> None:
        for name, supported in _SUPPORTED.items():
            value = getattr(self, name)
            for one in value if isinstance(value, tuple) else (value,):
                if one not in supported:
                    choices = ", ".join(map(repr, supported))
                    raise GendiffError(f"{name} {one!r} is not supported: use one of {choices}.")
        blocks = [self.block_out_channels, self.down_block_types, self.up_block_types]
        if len({len(b) for b in blocks}) > 1 or not blocks[0] or self.layers_per_block < 1:
            raise GendiffError(
                "block_out_channels, down_block_types and up_block_types must have one entry for "
                "each block, and layers_per_block must be at least 1: correct the configuration."
            )
        if self.num_class_embeds is not None and self.num_class_embeds < 1:
            raise GendiffError("num_class_embeds must be at least 1: use null for no classes.")
        if self.time_embedding_type == "learned" and not self.num_train_timesteps:
            raise GendiffError("time_embedding_type 'learned' needs num_train_timesteps: set it.")

    @property
    def time_dim(self) -> int:
        """Width of what time and class become, before every residual block reads it."""
        return self.time_embedding_dim or 4 * self.block_out_channels[0]
