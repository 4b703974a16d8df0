"""A convolution that is fast on a processor once its weights stay as they are.

Three ways to the same numbers, up to rounding:

    plain      F.conv2d: while training, on a GPU, and in any other precision than float32
    packed     oneDNN's kernel, with the weights put in its own order once instead of in each call
    Winograd   F(4x4, 3x3): 36 products for 16 outputs instead of 144; Winograd (1980), Lavin and
               Gray (2016), arXiv:1509.09308, section 4.2. Three matrix products: into the
               transform's domain, across channels, and out of it.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_WIDE, _TILES = 64, 16  # from these on Winograd wins (AVX2, one and two threads)
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


class Conv2d(nn.Conv2d):
    """nn.Conv2d, weights and gradients included; without gradients it may take a faster way."""

    def __init__(self, *sizes: int, **options: Any) -> None:
        super().__init__(*sizes, **options)
        self._prepared: dict[str, tuple[object, Tensor]] = {}

    def forward(self, x: Tensor) -> Tensor:
        weight = self.weight
        if weight.device.type != "cpu" or x.dtype != torch.float32 or weight.dtype != x.dtype:
            return super().forward(x)
        if torch.is_grad_enabled() and (x.requires_grad or weight.requires_grad):
            return super().forward(x)
        x = x.contiguous(memory_format=torch.channels_last)
        if self._by_winograd(x):
            return _winograd(x, self._ready("winograd", _transformed), self.bias)
        if torch.backends.mkldnn.is_available() and torch.backends.mkldnn.enabled:
            return self._packed(x)
        return super().forward(x)

    def _by_winograd(self, x: Tensor) -> bool:
        n, _, height, width = x.shape
        return (
            self.kernel_size == (3, 3)
            and self.stride == self.padding == (1, 1)
            and min(self.in_channels, self.out_channels) >= _WIDE
            and height % 4 == width % 4 == 0
            and n * height * width >= 16 * _TILES
        )

    def _packed(self, x: Tensor) -> Tensor:
        place = [list(self.padding), list(self.stride), list(self.dilation), self.groups]

        def pack(weight: Tensor) -> Tensor:
            own = torch.ops.mkldnn._reorder_convolution_weight
            return own(weight.contiguous(), *place, list(x.shape))

        weight = self._ready("packed", pack)
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


def _square(rows: list[list[int]], scale: float = 1.0) -> Tensor:
    """The same transform along both sides of a tile, as one matrix."""
    matrix = torch.tensor(rows, dtype=torch.float64) * scale
    return torch.kron(matrix, matrix)


def _transformed(weight: Tensor) -> Tensor:
    """(O, C, 3, 3) -> (36, C, O)."""
    out, channels = weight.shape[:2]
    flat = weight.double().permute(2, 3, 1, 0).reshape(9, -1)
    return (_square(_G, 1 / 24) @ flat).reshape(36, channels, out).float()


def _winograd(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """x (N, C, H, W) channels last, weight (36, C, O) -> (N, O, H, W) channels last."""
    n, channels, height, width = x.shape
    down, across, out = height // 4, width // 4, weight.shape[2]
    padded = F.pad(x, (1, 1, 1, 1))
    image, channel, row, column = padded.stride()
    tiles = padded.as_strided(
        (6, 6, n, down, across, channels), (row, column, image, 4 * row, 4 * column, channel)
    )
    inside = _square(_B).float() @ tiles.reshape(36, -1)
    products = torch.bmm(inside.view(36, -1, channels), weight)
    if bias is not None:
        products[_ONE] += bias
    result = (_square(_A).float() @ products.view(36, -1)).view(4, 4, n, down, across, out)
    result = result.permute(2, 3, 0, 4, 1, 5).reshape(n, height, width, out)
    return result.permute(0, 3, 1, 2)
