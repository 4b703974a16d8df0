"""The picture x_0 that a person starts from: a bundled one, an upload, or a drawing."""

from __future__ import annotations

import base64
import binascii
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from torch import Tensor

from gendiff.errors import GendiffError
from gendiff.images import from_uint8, open_picture, to_uint8
from gendiff.studio.models import Real


def size(shape: Sequence[int]) -> str:
    """(C, H, W) in words."""
    channels, height, width = shape
    return f"{height} x {width} pixels, {'grey' if channels == 1 else 'RGB'}"


def shelf(real: Real, count: int = 16) -> list[int]:
    """Which of the bundled pictures to offer: the first of each class, then the first others."""
    firsts = [int(i) for i in np.unique(real.labels, return_index=True)[1]]
    others = [i for i in range(len(real.labels)) if i not in firsts]
    return [*firsts, *others][:count]


def bundled(real: Real, index: float | None) -> np.ndarray:
    """One bundled picture, (H, W, C) uint8; GendiffError if there is none of that number."""
    last = len(real.pictures) - 1
    if index is None or not 0 <= index <= last or int(index) != index:
        raise GendiffError(f"The real pictures are numbered 0 to {last}; got {index}.")
    return real.pictures[int(index)]


def uploaded(data: bytes | None, shape: tuple[int, int, int]) -> np.ndarray:
    """What a person uploads, (H, W, C) uint8; GendiffError if it cannot be read."""
    return to_uint8(open_picture(data or b"", shape))[0]


def packed(picture: np.ndarray) -> str:
    """(H, W, C) uint8 as text for a browser."""
    return base64.b64encode(picture.tobytes()).decode()


def drawn(sent: Any, shape: tuple[int, int, int]) -> Tensor:
    """What a browser sends as {"pixels": packed}, which is not trusted -> (1, C, H, W) in [-1, 1].

    Raises:
        GendiffError: it is not a picture of that shape.
    """
    channels, height, width = shape
    text = sent.get("pixels") if isinstance(sent, Mapping) else None
    if not isinstance(text, str) or len(text) != 4 * math.ceil(math.prod(shape) / 3):
        raise GendiffError(
            f"There is no picture of {size(shape)} yet; choose one, upload one or draw."
        )
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise GendiffError("The drawing did not arrive whole; draw it again.") from error
    return from_uint8(np.frombuffer(data, np.uint8).reshape(1, height, width, channels))
