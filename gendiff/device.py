"""Where networks run, and in which precision."""

from __future__ import annotations

from pathlib import Path

import torch

from gendiff.errors import GendiffError


def pick_device(name: str | None) -> torch.device:
    """The named device, or CUDA where there is one; GendiffError if it is not there."""
    if name not in (None, "cpu", "cuda"):
        raise GendiffError(f'The device is "cpu" or "cuda"; got {name!r}.')
    if name == "cuda" and not torch.cuda.is_available():
        raise GendiffError('This machine has no CUDA device that PyTorch can use; choose "cpu".')
    return torch.device(name or ("cuda" if torch.cuda.is_available() else "cpu"))


def pick_dtype(device: str | None, name: str | None) -> torch.dtype:
    """The named dtype, or bfloat16 where the hardware multiplies it well, else float32."""
    if name not in (None, "float32", "bfloat16"):
        raise GendiffError(f'The dtype is "float32" or "bfloat16"; got {name!r}.')
    if name is not None:
        return torch.float32 if name == "float32" else torch.bfloat16
    if pick_device(device).type == "cuda":
        return (
            torch.bfloat16
            if torch.cuda.is_bf16_supported(including_emulation=False)
            else torch.float32
        )
    return torch.bfloat16 if _cpu_multiplies_bfloat16() else torch.float32


def _cpu_multiplies_bfloat16() -> bool:
    """Whether the processor has bf16 matrix tiles (AMX). Without them bf16 is slower."""
    try:
        return " amx_bf16" in Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:  # not Linux: no known processor with such tiles
        return False
