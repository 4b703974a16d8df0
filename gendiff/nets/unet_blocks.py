"""What the U-Net is made of: residual blocks, attention, re-samplers, and the embedding of time.

Tensor names and arithmetic are those of diffusers' blocks; see unet.py for how they are put
together.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gendiff.errors import GendiffError
from gendiff.nets.conv import Conv2d, Linear
from gendiff.nets.unet_config import ACTIVATIONS, UNetConfig


def group_norm(config: UNetConfig, dim: int, groups: int | None = None) -> nn.GroupNorm:
    """A norm in `groups` (None: as many as the configuration says).

    Raises GendiffError unless they divide the channels.
    """
    groups = groups or config.norm_num_groups
    if not groups or dim % groups:
        raise GendiffError(
            f"{groups} norm groups do not divide {dim} channels: change one of them."
        )
    return nn.GroupNorm(groups, dim, config.norm_eps)


class Sinusoid(nn.Module):
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


class TimeEmbedding(nn.Module):
    """A two-layer perceptron on a time projection; always SiLU, whatever act_fn is."""

    def __init__(self, dim_in: int, dim: int) -> None:
        super().__init__()
        self.linear_1 = Linear(dim_in, dim)
        self.linear_2 = Linear(dim, dim)

    def forward(self, projection: Tensor) -> Tensor:
        return self.linear_2(F.silu(self.linear_1(projection.to(self.linear_1.weight.dtype))))


def double(h: Tensor) -> Tensor:
    """Twice the height and width."""
    return F.interpolate(h, scale_factor=2.0, mode="nearest")


def halve(h: Tensor) -> Tensor:
    """Half the height and width."""
    return F.avg_pool2d(h, 2)


class Residual(nn.Module):
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
        self.act, self.p = ACTIVATIONS[config.act_fn], config.dropout
        self.modulate = config.resnet_time_scale_shift == "scale_shift"
        self.scale, self.resample = scale, resample
        self.norm1 = group_norm(config, dim_in)
        self.conv1 = Conv2d(dim_in, dim, 3, padding=1)
        self.time_emb_proj = Linear(config.time_dim, 2 * dim if self.modulate else dim)
        self.norm2 = group_norm(config, dim)
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


class Attention(nn.Module):
    """Self-attention over the pixels: softmax(q k^T / sqrt(head)) v, added to the input."""

    def __init__(self, config: UNetConfig, dim: int, groups: int | None, scale: float = 1) -> None:
        super().__init__()
        self.head = dim if config.attention_head_dim is None else config.attention_head_dim
        if not 1 <= self.head <= dim:
            raise GendiffError(f"attention_head_dim must be 1 to {dim} here, not {self.head}.")
        inner = dim // self.head * self.head
        self.scale = scale
        self.group_norm = group_norm(config, dim, groups) if groups else None
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


class Resample(nn.Module):
    """Half or double the resolution with a 3x3 convolution; emb is not used."""

    def __init__(self, dim: int, up: bool, padding: int = 1) -> None:
        super().__init__()
        self.up = up
        self.conv = Conv2d(dim, dim, 3, stride=1 if up else 2, padding=padding)

    def forward(self, h: Tensor, emb: Tensor) -> Tensor:
        if self.up:
            h = double(h)
        elif self.conv.padding == (0, 0):
            h = F.pad(h, (0, 1, 0, 1))  # zeros at right and bottom only, as TensorFlow's "SAME"
        return self.conv(h)


class Stage(nn.Module):
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
