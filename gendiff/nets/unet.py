"""The U-Net of DDPM, with the tensor names and the arithmetic of diffusers' UNet2DModel.

Weights published for UNet2DModel load here, and ours load there. The architecture is that of Ho,
Jain, Abbeel 2020 (arXiv:2006.11239, appendix B), with the options that later checkpoints use.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gendiff.errors import GendiffError
from gendiff.nets.conv import Conv2d, Linear

_ACTIVATIONS = {"silu": F.silu, "swish": F.silu, "mish": F.mish, "gelu": F.gelu, "relu": F.relu}
_RESAMPLERS = ("conv", "resnet", None)
_SUPPORTED: dict[
    str, tuple[object, ...]
] = {  # the rest ("fourier", "SkipDownBlock2D", ...): refused
    "time_embedding_type": ("positional", "learned"),
    "down_block_types": ("DownBlock2D", "AttnDownBlock2D"),
    "mid_block_type": ("UNetMidBlock2D", None),
    "up_block_types": ("UpBlock2D", "AttnUpBlock2D"),
    "downsample_padding": (0, 1),
    "downsample_type": _RESAMPLERS,
    "upsample_type": _RESAMPLERS,
    "act_fn": tuple(_ACTIVATIONS),
    "resnet_time_scale_shift": ("default", "scale_shift"),
    "class_embed_type": (None, "timestep", "identity"),
}
_OLD_ATTENTION = {"query": "to_q", "key": "to_k", "value": "to_v", "proj_attn": "to_out.0"}


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


def _time_dim(config: UNetConfig) -> int:
    return config.time_embedding_dim or 4 * config.block_out_channels[0]


def _group_norm(config: UNetConfig, dim: int, groups: int | None = None) -> nn.GroupNorm:
    groups = groups or config.norm_num_groups
    if not groups or dim % groups:
        raise GendiffError(
            f"{groups} norm groups do not divide {dim} channels: change one of them."
        )
    return nn.GroupNorm(groups, dim, config.norm_eps)


class _Sinusoid(nn.Module):
    """sin and cos of t * 10000^(-k / (dim/2 - freq_shift)), k = 0..dim/2-1: (B,) -> (B, dim).

    Always computed in float32.
    Vaswani et al. 2017 (arXiv:1706.03762, section 3.5), as used for time in arXiv:2006.11239.
    """

    def __init__(self, config: UNetConfig) -> None:
        super().__init__()
        dim = config.block_out_channels[0]
        self.odd, self.flip = dim % 2, config.flip_sin_to_cos
        # On the CPU even while the rest is built without storage ("meta"): no file holds it.
        k = torch.arange(dim // 2, dtype=torch.float32, device="cpu")
        frequencies = torch.exp(-math.log(10000) * k / (dim // 2 - config.freq_shift))
        # Kept as integers, because .to(bfloat16) rounds every floating buffer.
        self.register_buffer("bits", frequencies.view(torch.int32), persistent=False)

    def forward(self, t: Tensor) -> Tensor:
        angle = t.float()[:, None] * self.bits.view(torch.float32)
        halves = (angle.cos(), angle.sin()) if self.flip else (angle.sin(), angle.cos())
        return F.pad(torch.cat(halves, dim=1), (0, self.odd))


class _Embedding(nn.Module):
    """A two-layer perceptron on a time projection; always SiLU, whatever act_fn is."""

    def __init__(self, dim_in: int, dim: int) -> None:
        super().__init__()
        self.linear_1 = Linear(dim_in, dim)
        self.linear_2 = Linear(dim, dim)

    def forward(self, projection: Tensor) -> Tensor:
        return self.linear_2(F.silu(self.linear_1(projection.to(self.linear_1.weight.dtype))))


def _double(h: Tensor) -> Tensor:
    return F.interpolate(h, scale_factor=2.0, mode="nearest")


def _halve(h: Tensor) -> Tensor:
    return F.avg_pool2d(h, 2)


class _Residual(nn.Module):
    """norm, act, [resample], conv, + time, norm, act, conv; then (x + h) / scale."""

    def __init__(
        self,
        config: UNetConfig,
        dim_in: int,
        dim: int,
        scale: float = 1,
        resample: Callable[[Tensor], Tensor] | None = None,
    ) -> None:
        super().__init__()
        self.act, self.p = _ACTIVATIONS[config.act_fn], config.dropout
        self.modulate = config.resnet_time_scale_shift == "scale_shift"
        self.scale, self.resample = scale, resample
        self.norm1 = _group_norm(config, dim_in)
        self.conv1 = Conv2d(dim_in, dim, 3, padding=1)
        self.time_emb_proj = Linear(_time_dim(config), 2 * dim if self.modulate else dim)
        self.norm2 = _group_norm(config, dim)
        self.conv2 = Conv2d(dim, dim, 3, padding=1)
        self.conv_shortcut = Conv2d(dim_in, dim, 1) if dim_in != dim else None
        nn.init.zeros_(self.conv2.weight)  # a new block passes its input on: deep nets start tame
        nn.init.zeros_(self.conv2.bias)

    def forward(self, x: Tensor, emb: Tensor) -> Tensor:
        h = self.act(self.norm1(x))
        if self.resample is not None:
            x, h = self.resample(x), self.resample(h)
        h = self.conv1(h)
        time = self.time_emb_proj(self.act(emb))[:, :, None, None]
        if self.modulate:
            gain, shift = time.chunk(2, dim=1)
            h = self.norm2(h) * (1 + gain) + shift
        else:
            h = self.norm2(h + time)
        h = self.conv2(F.dropout(self.act(h), self.p, self.training))
        if self.conv_shortcut is not None:
            x = self.conv_shortcut(x)
        return (x + h) / self.scale if self.scale != 1 else x + h


class _Attention(nn.Module):
    """Self-attention over the pixels: softmax(q k^T / sqrt(head)) v, added to the input."""

    def __init__(self, config: UNetConfig, dim: int, groups: int | None, scale: float = 1) -> None:
        super().__init__()
        self.head = dim if config.attention_head_dim is None else config.attention_head_dim
        if not 1 <= self.head <= dim:
            raise GendiffError(f"attention_head_dim must be 1 to {dim} here, not {self.head}.")
        inner = dim // self.head * self.head
        self.scale = scale
        self.group_norm = _group_norm(config, dim, groups) if groups else None
        self.to_q = Linear(dim, inner)
        self.to_k = Linear(dim, inner)
        self.to_v = Linear(dim, inner)
        self.to_out = nn.Sequential(Linear(inner, dim))

    def forward(self, x: Tensor) -> Tensor:
        h = x if self.group_norm is None else self.group_norm(x)
        tokens = h.permute(0, 2, 3, 1).flatten(1, 2)  # (B, HW, C): no copy under channels_last
        q, k, v = (
            to(tokens).unflatten(2, (-1, self.head)).transpose(1, 2)
            for to in (self.to_q, self.to_k, self.to_v)
        )
        mixed = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
        h = self.to_out(mixed).unflatten(1, x.shape[2:]).permute(0, 3, 1, 2)
        return (x + h) / self.scale if self.scale != 1 else x + h  # x first: keeps its format


class _Resample(nn.Module):
    """Half or double the resolution with a 3x3 convolution; emb is not used."""

    def __init__(self, dim: int, up: bool, padding: int = 1) -> None:
        super().__init__()
        self.up = up
        self.conv = Conv2d(dim, dim, 3, stride=1 if up else 2, padding=padding)

    def forward(self, h: Tensor, emb: Tensor) -> Tensor:
        if self.up:
            h = _double(h)
        elif self.conv.padding == (0, 0):
            h = F.pad(h, (0, 1, 0, 1))  # zeros at right and bottom only, as TensorFlow's "SAME"
        return self.conv(h)


class _Stage(nn.Module):
    """The layers of one resolution: residual blocks, each with its attention if it has one."""

    def __init__(self, resnets: list[nn.Module], attentions: list[nn.Module]) -> None:
        super().__init__()
        self.resnets = nn.ModuleList(resnets)
        self.attentions = nn.ModuleList(attentions)
        self.downsamplers = nn.ModuleList()
        self.upsamplers = nn.ModuleList()

    def layer(self, j: int, h: Tensor, emb: Tensor) -> Tensor:
        h = self.resnets[j](h, emb)
        return self.attentions[j](h) if j < len(self.attentions) else h


class UNet(nn.Module):
    """eps, x0 or v of a noisy image: (x_t, t[, labels]) -> (B, out_channels, H, W).

    t is 0-based, as diffusers counts: our time minus one. Ho et al. 2020 (arXiv:2006.11239);
    attention after Wang et al. 2018 (arXiv:1711.07971); scale_shift and resnet re-samplers after
    Dhariwal, Nichol 2021 (arXiv:2105.05233). At the start residual blocks pass their input on, and
    the output is 0.

    One addition to UNet2DModel: with num_class_embeds and labels None, the LAST row of the class
    table is used. It is our "no label" row for classifier-free guidance (Ho, Salimans 2022,
    arXiv:2207.12598), so a net for K classes has K + 1 rows.
    """

    def __init__(self, config: UNetConfig) -> None:
        super().__init__()
        self.config = config
        widths = config.block_out_channels
        if config.time_embedding_type == "learned":
            self.time_proj: nn.Module = nn.Embedding(config.num_train_timesteps, widths[0])
        else:
            self.time_proj = _Sinusoid(config)
        self.time_embedding = _Embedding(widths[0], _time_dim(config))
        self.class_embedding = _class_embedding(config)
        self.conv_in = Conv2d(config.in_channels, widths[0], 3, padding=1)
        self.down_blocks = nn.ModuleList(_down_stage(config, i) for i in range(len(widths)))
        self.mid_block = _mid_stage(config) if config.mid_block_type else None
        self.up_blocks = nn.ModuleList(_up_stage(config, i) for i in range(len(widths)))
        self.conv_norm_out = _group_norm(config, widths[0])
        self.conv_out = Conv2d(widths[0], config.out_channels, 3, padding=1)
        nn.init.zeros_(self.conv_out.weight)
        nn.init.zeros_(self.conv_out.bias)

    def forward(self, x: Tensor, t: int | Tensor, labels: Tensor | None = None) -> Tensor:
        """x (B, in_channels, H, W); t an int, 0-d or (B,); labels integers (B,) or None.

        With class_embed_type "identity" labels are vectors (B, time width). Keeps memory format.
        Raises GendiffError for a shape that does not fit and for labels that the net cannot use.
        """
        channels, multiple = self.config.in_channels, 2 ** (len(self.down_blocks) - 1)
        if x.ndim != 4 or x.shape[1] != channels or any(n % multiple for n in x.shape[2:]):
            raise GendiffError(
                f"This network needs images of shape (B, {channels}, H, W), H and W multiples of "
                f"{multiple}, not {tuple(x.shape)}."
            )
        emb = self._embed(x, t, labels)
        h = self.conv_in(2 * x - 1 if self.config.center_input_sample else x)
        skips = [h]
        for stage in self.down_blocks:
            for j in range(len(stage.resnets)):
                h = stage.layer(j, h, emb)
                skips.append(h)
            for downsample in stage.downsamplers:
                h = downsample(h, emb)
                skips.append(h)
        if self.mid_block is not None:
            for j in range(len(self.mid_block.resnets)):
                h = self.mid_block.layer(j, h, emb)
        for stage in self.up_blocks:
            for j in range(len(stage.resnets)):
                h = stage.layer(j, torch.cat((h, skips.pop()), dim=1), emb)
            for upsample in stage.upsamplers:
                h = upsample(h, emb)
        out = self.conv_out(F.silu(self.conv_norm_out(h)))
        return out.contiguous() if x.is_contiguous() else out

    def _embed(self, x: Tensor, t: int | Tensor, labels: Tensor | None) -> Tensor:
        """Time and class of each image: (B, time width)."""
        n = x.shape[0]
        if isinstance(t, Tensor):
            t = t.to(x.device).expand(n)
        else:
            t = torch.full((n,), t, device=x.device)  # a fill on the device: no copy, no wait
        emb = self.time_embedding(self.time_proj(t))
        if self.class_embedding is None:
            if labels is not None:
                raise GendiffError("This network has no classes: call it without labels.")
            return emb
        if labels is None:
            if not isinstance(self.class_embedding, nn.Embedding):
                raise GendiffError("This network is conditional: give it labels.")
            return emb + self.class_embedding.weight[-1]
        if self.config.class_embed_type == "timestep":
            labels = self.time_proj(labels)
        return emb + self.class_embedding(labels).to(emb.dtype)


def _class_embedding(config: UNetConfig) -> nn.Module | None:
    if config.class_embed_type == "timestep":
        return _Embedding(config.block_out_channels[0], _time_dim(config))
    if config.class_embed_type == "identity":
        return nn.Identity()
    if config.num_class_embeds is not None:
        return nn.Embedding(config.num_class_embeds, _time_dim(config))
    return None


def _stage(config: UNetConfig, kind: str, dims_in: list[int], dim: int) -> _Stage:
    attend = kind.startswith("Attn")
    return _Stage(
        [_Residual(config, dim_in, dim) for dim_in in dims_in],
        [_Attention(config, dim, config.norm_num_groups) for _ in dims_in] if attend else [],
    )


def _down_stage(config: UNetConfig, i: int) -> _Stage:
    widths, kind = config.block_out_channels, config.down_block_types[i]
    dim, before = widths[i], widths[max(i - 1, 0)]
    stage = _stage(config, kind, [before] + [dim] * (config.layers_per_block - 1), dim)
    if i < len(widths) - 1:  # only attention blocks honour downsample_type, in diffusers too
        if config.downsample_type == "resnet" and kind == "AttnDownBlock2D":
            stage.downsamplers.append(_Residual(config, dim, dim, resample=_halve))
        else:
            stage.downsamplers.append(_Resample(dim, up=False, padding=config.downsample_padding))
    return stage


def _mid_stage(config: UNetConfig) -> _Stage:
    dim, scale = config.block_out_channels[-1], config.mid_block_scale_factor
    groups = config.attn_norm_num_groups
    if groups is None and config.resnet_time_scale_shift == "default":
        groups = config.norm_num_groups
    return _Stage(
        [_Residual(config, dim, dim, scale) for _ in range(2)],
        [_Attention(config, dim, groups, scale)] if config.add_attention else [],
    )


def _up_stage(config: UNetConfig, i: int) -> _Stage:
    widths, kind = config.block_out_channels[::-1], config.up_block_types[i]
    dim, before, after = widths[i], widths[max(i - 1, 0)], widths[min(i + 1, len(widths) - 1)]
    n = config.layers_per_block  # the last layer meets the skip that came from one level above
    hidden, skips = [before] + [dim] * n, [dim] * n + [after]
    stage = _stage(config, kind, [a + b for a, b in zip(hidden, skips, strict=True)], dim)
    if i < len(widths) - 1:
        if config.upsample_type == "resnet" and kind == "AttnUpBlock2D":
            stage.upsamplers.append(_Residual(config, dim, dim, resample=_double))
        else:
            stage.upsamplers.append(_Resample(dim, up=True))
    return stage


class SpaceToDepth(nn.Module):
    """Run a net at 1/factor of the resolution: f x f patches become channels, and come back after.

    The rearrangement is a permutation, so orthogonal: white Gaussian noise stays white, and the
    schedule and its losses are those of the original pixels. Shi et al. 2016 (arXiv:1609.05158).
    net maps (B, C*f*f, H/f, W/f); this maps (B, C, H, W). Factor 1 does nothing.
    Raises GendiffError for a factor below 1 or an image that the factor does not divide.
    """

    def __init__(self, net: nn.Module, factor: int) -> None:
        super().__init__()
        if factor < 1:
            raise GendiffError(f"The space-to-depth factor must be at least 1, not {factor}.")
        self.net, self.factor = net, factor

    def forward(self, x: Tensor, t: int | Tensor, labels: Tensor | None = None) -> Tensor:
        if any(n % self.factor for n in x.shape[2:]):
            raise GendiffError(
                f"Height and width must be multiples of {self.factor}, not {tuple(x.shape[2:])}."
            )
        h = self.net(F.pixel_unshuffle(x, self.factor), t, labels)
        return F.pixel_shuffle(h, self.factor)


def rename_old_attention(state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The state dict with old attention names (query, key, value, proj_attn, to 2022) made new."""

    def new(match: re.Match[str]) -> str:
        return f"{match[1]}{_OLD_ATTENTION[match[2]]}."

    pattern = re.compile(r"(\.attentions\.\d+\.)(query|key|value|proj_attn)\.")
    return {pattern.sub(new, name): tensor for name, tensor in state_dict.items()}
