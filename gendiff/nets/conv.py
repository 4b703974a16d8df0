"""A convolution that is fast on a processor.

Three ways to the same numbers, up to rounding:

    plain      F.conv2d: on a GPU, in any other precision than float32, and where it is fastest
    packed     oneDNN's kernel, with the weights put in its own order once instead of in each call
    Winograd   F(4x4, 3x3): 36 products for 16 outputs instead of 144; Winograd (1980), Lavin and
               Gray (2016), arXiv:1509.09308, section 4.2. Three matrix products: into the
               transform's domain, across channels, and out of it; the second is a convolution
               of 36 groups for oneDNN, with weights in its order. In training, too: a gradient
               goes through the same three products, transposed.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

# From these on Winograd wins (AVX2, one and two threads): the narrower side and both sides'
# channels, tiles of 4 x 4. In training it wins for narrower layers, but needs more tiles.
_WIDE, _TILES = (64, 128), 16
_WIDE_TRAINING, _TILES_TRAINING = (32, 128), 64
# Lavin & Gray's matrices for the points 0, 1, -1, 2, -2 and infinity; G's rows times the weights,
# B's times 6 inputs, A's times 6 products
_B = [
    [4, 0, -5, 0, 1, 0],
    [0, -4, -4, 1, 1, 0],
    [0, 4, -4, -1, 1, 0],
    [0, -2, -1, 2, 1, 0],
    [0, 2, -1, -2, 1, 0],
    [0, 4, 0, -5, 0, 1],
]
_G = [
    [6, 0, 0],
    [-4, -4, -4],
    [-4, 4, -4],
    [1, 2, 4],
    [1, -2, 4],
    [0, 0, 24],
]  # in 24ths
_A = [[1, 1, 1, 1, 1, 0], [0, 1, -1, 2, -2, 0], [0, 1, 1, 4, 4, 0], [0, 1, -1, 8, -8, 1]]
_ONE = 7  # the product that every output of a tile takes once: A's column 1, twice


class _Undrawn:
    """No weights are drawn on "meta", where there is nothing to hold them."""

    def reset_parameters(self) -> None:
        if not self.weight.is_meta:
            super().reset_parameters()


class Linear(_Undrawn, nn.Linear):
    """nn.Linear; quick to make for weights that come out of a file."""


class Conv2d(_Undrawn, nn.Conv2d):
    """nn.Conv2d, weights and gradients included; without gradients it may take a faster way."""

    def __init__(self, *sizes: int, **options: Any) -> None:
        super().__init__(*sizes, **options)
        self._prepared: dict[str, tuple[object, Tensor]] = {}

    def forward(self, x: Tensor) -> Tensor:
        weight = self.weight
        if weight.device.type != "cpu" or x.dtype != torch.float32 or weight.dtype != x.dtype:
            return super().forward(x)
        x = x.contiguous(memory_format=torch.channels_last)
        if torch.is_grad_enabled() and (x.requires_grad or weight.requires_grad):
            if torch.is_autocast_enabled("cpu") or not self._by_winograd(
                x, _WIDE_TRAINING, _TILES_TRAINING
            ):
                return super().forward(x)
            return _Winograd.apply(x, weight, self.bias)
        winograd = self._by_winograd(x, _WIDE, _TILES)
        if _onednn():
            return self._grouped(x) if winograd else self._packed(x)
        if winograd:
            return _winograd(x, self._ready("winograd", _transformed), self.bias)
        return super().forward(x)

    def _by_winograd(self, x: Tensor, wide: tuple[int, int], tiles: int) -> bool:
        n, _, height, width = x.shape
        return (
            self.kernel_size == (3, 3)
            and self.stride == self.padding == (1, 1)
            and min(self.in_channels, self.out_channels) >= wide[0]
            and self.in_channels + self.out_channels >= wide[1]
            and height % 4 == width % 4 == 0
            and n * height * width >= 16 * tiles
        )

    def _packed(self, x: Tensor) -> Tensor:
        place = [list(self.padding), list(self.stride), list(self.dilation), self.groups]
        pack = torch.ops.mkldnn._reorder_convolution_weight
        weight = self._ready("packed", lambda own: pack(own.contiguous(), *place, [*x.shape]))
        return torch.ops.mkldnn._convolution_pointwise(
            x, weight, self.bias, *place, "none", [], ""
        )

    def _ready(self, way: str, prepare: Any) -> Tensor:
        """The weights as that way wants them, made anew when they have changed."""
        state = (self.weight.data_ptr(), self.weight._version)
        found = self._prepared.get(way)
        if found is None or found[0] != state:
            found = self._prepared[way] = (state, prepare(self.weight.detach()))
        return found[1]

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_prepared": {}}  # a copy prepares its own

    def _grouped(self, x: Tensor) -> Tensor:
        """Winograd: a tile is a pixel of 36 C channels, its products a 1x1 convolution."""
        n, channels, height, width = x.shape
        inside = _INTO.float() @ _windows(x).reshape(-1, 36, channels)
        pixels = inside.view(1, -1, 1, 36 * channels).permute(0, 3, 1, 2)
        place = [[0, 0], [1, 1], [1, 1], 36]
        pack = torch.ops.mkldnn._reorder_convolution_weight

        def ready(weight: Tensor) -> Tensor:
            rows = _transformed(weight).transpose(1, 2).reshape(-1, channels, 1, 1)
            return pack(rows, *place, [*pixels.shape])

        bias = x.new_zeros(36, self.out_channels)
        if self.bias is not None:
            bias[_ONE] = self.bias
        products = torch.ops.mkldnn._convolution_pointwise(
            pixels, self._ready("grouped", ready), bias.view(-1), *place, "none", [], ""
        )
        outside = _OUT.float() @ products.permute(0, 2, 3, 1).view(-1, 36, self.out_channels)
        tiles = outside.view(n, height // 4, width // 4, 4, 4, -1).permute(0, 1, 3, 2, 4, 5)
        return tiles.reshape(n, height, width, -1).permute(0, 3, 1, 2)


def _square(rows: list[list[int]], scale: float = 1.0) -> Tensor:
    """The same transform along both sides of a tile, as one matrix."""
    matrix = torch.tensor(rows, dtype=torch.float64) * scale
    return torch.kron(matrix, matrix)


_INTO, _WEIGHTS, _OUT = _square(_B), _square(_G, 1 / 24), _square(_A)


def _transformed(weight: Tensor, dtype: torch.dtype = torch.float64) -> Tensor:
    """(O, C, 3, 3) -> (36, C, O), computed in `dtype`."""
    out, channels = weight.shape[:2]
    flat = weight.to(dtype).permute(2, 3, 1, 0).reshape(9, -1)
    return (_WEIGHTS.to(dtype) @ flat).reshape(36, channels, out).float()


def _onednn() -> bool:
    return torch.backends.mkldnn.is_available() and torch.backends.mkldnn.enabled


def _windows(x: Tensor) -> Tensor:
    """The overlapping 6 x 6 tiles of x (N, C, H, W): (N, H / 4, W / 4, 6, 6, C), a view."""
    n, channels, height, width = x.shape
    padded = F.pad(x, (1, 1, 1, 1))
    image, channel, row, column = padded.stride()
    return padded.as_strided(
        (n, height // 4, width // 4, 6, 6, channels),
        (image, 4 * row, 4 * column, row, column, channel),
    )


def _inside(x: Tensor) -> Tensor:
    """Its tiles, transformed: (36, tiles, C)."""
    tiles = _windows(x).permute(3, 4, 0, 1, 2, 5)
    return (_INTO.float() @ tiles.reshape(36, -1)).view(36, -1, x.shape[1])


def _outside(products: Tensor, n: int, height: int, width: int) -> Tensor:
    """(36, tiles, O) -> (N, O, H, W) channels last."""
    out = products.shape[2]
    result = (_OUT.float() @ products.view(36, -1)).view(4, 4, n, height // 4, width // 4, out)
    return result.permute(2, 3, 0, 4, 1, 5).reshape(n, height, width, out).permute(0, 3, 1, 2)


def _winograd(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """x (N, C, H, W) channels last, weight (36, C, O) -> (N, O, H, W) channels last."""
    return _multiplied(_inside(x), weight, bias, x.shape)


def _multiplied(inside: Tensor, weight: Tensor, bias: Tensor | None, shape: torch.Size) -> Tensor:
    products = torch.bmm(inside, weight)
    if bias is not None:
        products[_ONE] += bias
    return _outside(products, shape[0], *shape[2:])


class _Winograd(torch.autograd.Function):
    """x (N, C, H, W) channels last, weight (O, C, 3, 3), bias (O,) or None, with gradients."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        inside = _inside(x)
        ctx.save_for_backward(inside, weight)
        ctx.shape = x.shape
        return _multiplied(inside, _transformed(weight, torch.float32), bias, x.shape)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        inside, weight = ctx.saved_tensors
        n, channels, height, width = ctx.shape
        out = len(weight)
        grad = grad.contiguous(memory_format=torch.channels_last)
        for_x = for_weight = for_bias = None
        if ctx.needs_input_grad[0]:  # the same convolution, its weights turned by half a turn
            turned = _transformed(weight.flip(2, 3).transpose(0, 1), torch.float32)
            for_x = _winograd(grad, turned, None)
        if ctx.needs_input_grad[1]:
            tiles = grad.permute(0, 2, 3, 1).reshape(n, height // 4, 4, width // 4, 4, out)
            products = _OUT.float().T @ tiles.permute(2, 4, 0, 1, 3, 5).reshape(16, -1)
            slopes = torch.bmm(inside.transpose(1, 2), products.view(36, -1, out))
            flat = _WEIGHTS.float().T @ slopes.view(36, -1)
            for_weight = flat.view(3, 3, channels, out).permute(3, 2, 0, 1)
        if ctx.needs_input_grad[2]:
            for_bias = grad.sum((0, 2, 3))
        return for_x, for_weight, for_bias
