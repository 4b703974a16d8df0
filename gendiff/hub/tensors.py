"""Weights out of a file and into a network: mapped into memory, not copied, in a few milliseconds.

safetensors' own `load_file` makes six calls of Python for each tensor, torch's `load_state_dict`
more: for a network of 300 tensors that is as long as reading 100 MB.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor, nn

_DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I64": torch.int64,
}


def mapped(path: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file: views of the file, which is read as they are used.

    The format: eight bytes with the header's length, the header (JSON: name -> dtype, shape, first
    byte and end), the bytes. Raises SafetensorError or OSError where it is not so.
    """
    with safe_open(path, "pt"):  # checks all of it: no tensor overlaps another or leaves the file
        pass
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(length))
    header.pop("__metadata__", None)
    first, size = 8 + length, path.stat().st_size
    whole = torch.from_file(str(path), shared=False, size=size, dtype=torch.uint8)
    tensors = {}
    for name, told in header.items():
        dtype = _DTYPES.get(told["dtype"])
        place = first + told["data_offsets"][0]
        if dtype is None or place % dtype.itemsize:
            return load_file(path)  # rare: bytes that torch cannot view as they lie
        view = torch.empty(0, dtype=dtype)
        tensors[name] = view.set_(whole.untyped_storage(), place // dtype.itemsize, told["shape"])
    return tensors


def assign(
    net: nn.Module, tensors: Mapping[str, Tensor], device: torch.device, dtype: torch.dtype
) -> None:
    """Give a network weights that fit it, and freeze it; what is right as it is is not copied."""
    for prefix, module in net.named_modules():
        start = f"{prefix}." if prefix else ""
        for name, _ in module.named_parameters(recurse=False):
            weight = _placed(tensors[start + name], device, dtype)
            setattr(module, name, nn.Parameter(weight, requires_grad=False))
        for name, _ in module.named_buffers(recurse=False):
            if start + name in tensors:  # else it is computed, not learned
                setattr(module, name, _placed(tensors[start + name], device, dtype))
    if device.type != "cpu":
        net.to(device)
    net.eval()


def _placed(tensor: Tensor, device: torch.device, dtype: torch.dtype) -> Tensor:
    kind = dtype if tensor.is_floating_point() else tensor.dtype
    if (tensor.device, tensor.dtype) == (device, kind):
        return tensor
    layout = torch.channels_last if tensor.dim() == 4 else torch.preserve_format
    return tensor.to(device, kind, memory_format=layout)
