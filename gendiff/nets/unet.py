"""The U-Net of DDPM, with the tensor names and the arithmetic of diffusers' UNet2DModel.

Weights published for UNet2DModel load here, and ours load there. The architecture is that of Ho,
Jain, Abbeel 2020 (arXiv:2006.11239, appendix B), with the options that later checkpoints use.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gendiff.errors import GendiffError
from gendiff.nets.conv import Conv2d
from gendiff.nets.unet_blocks import (
    Attention,
    Resample,
    Residual,
    Sinusoid,
    Stage,
    TimeEmbedding,
    double,
    group_norm,
    halve,
)
from gendiff.nets.unet_config import UNetConfig


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
            self.time_proj = Sinusoid(config)
        self.time_embedding = TimeEmbedding(widths[0], config.time_dim)
        self.class_embedding = _class_embedding(config)
        self.conv_in = Conv2d(config.in_channels, widths[0], 3, padding=1)
        self.down_blocks = nn.ModuleList(_down_stage(config, i) for i in range(len(widths)))
        self.mid_block = _mid_stage(config) if config.mid_block_type else None
        self.up_blocks = nn.ModuleList(_up_stage(config, i) for i in range(len(widths)))
        self.conv_norm_out = group_norm(config, widths[0])
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
        return TimeEmbedding(config.block_out_channels[0], config.time_dim)
    if config.class_embed_type == "identity":
        return nn.Identity()
    if config.num_class_embeds is not None:
        return nn.Embedding(config.num_class_embeds, config.time_dim)
    return None


def _stage(config: UNetConfig, kind: str, dims_in: list[int], dim: int) -> Stage:
    attend = kind.startswith("Attn")
    return Stage(
        [Residual(config, dim_in, dim) for dim_in in dims_in],
        [Attention(config, dim, config.norm_num_groups) for _ in dims_in] if attend else [],
    )


def _down_stage(config: UNetConfig, i: int) -> Stage:
    widths, kind = config.block_out_channels, config.down_block_types[i]
    dim, before = widths[i], widths[max(i - 1, 0)]
    stage = _stage(config, kind, [before] + [dim] * (config.layers_per_block - 1), dim)
    if i < len(widths) - 1:  # only attention blocks honour downsample_type, in diffusers too
        if config.downsample_type == "resnet" and kind == "AttnDownBlock2D":
            stage.downsamplers.append(Residual(config, dim, dim, resample=halve))
        else:
            stage.downsamplers.append(Resample(dim, up=False, padding=config.downsample_padding))
    return stage


def _mid_stage(config: UNetConfig) -> Stage:
    dim, scale = config.block_out_channels[-1], config.mid_block_scale_factor
    groups = config.attn_norm_num_groups
    if groups is None and config.resnet_time_scale_shift == "default":
        groups = config.norm_num_groups
    return Stage(
        [Residual(config, dim, dim, scale) for _ in range(2)],
        [Attention(config, dim, groups, scale)] if config.add_attention else [],
    )


def _up_stage(config: UNetConfig, i: int) -> Stage:
    widths, kind = config.block_out_channels[::-1], config.up_block_types[i]
    dim, before, after = widths[i], widths[max(i - 1, 0)], widths[min(i + 1, len(widths) - 1)]
    n = config.layers_per_block  # the last layer meets the skip that came from one level above
    hidden, skips = [before] + [dim] * n, [dim] * n + [after]
    stage = _stage(config, kind, [a + b for a, b in zip(hidden, skips, strict=True)], dim)
    if i < len(widths) - 1:
        if config.upsample_type == "resnet" and kind == "AttnUpBlock2D":
            stage.upsamplers.append(Residual(config, dim, dim, resample=double))
        else:
            stage.upsamplers.append(Resample(dim, up=True))
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
