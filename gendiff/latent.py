"""Ways through a latent space: pure functions on tensors, for any decoder z -> x.

The norm of a Gaussian vector in d dimensions is close to sqrt(d): samples live on a shell. A
straight line between two of them leaves the shell (half way its norm is sqrt(d / 2)); `slerp`
follows it. References: Shoemake (1985), "Animating rotation with quaternion curves"; White (2016),
arXiv:1609.04468.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from gendiff.errors import GendiffError, whole

FRAMES_MAX = 1000


def lerp(a: Tensor, b: Tensor, u: float | Tensor) -> Tensor:
    """(1 - u) a + u b; exactly a at u = 0 and b at u = 1."""
    return torch.lerp(a, b, torch.as_tensor(u, dtype=a.dtype, device=a.device))


def slerp(a: Tensor, b: Tensor, u: float | Tensor) -> Tensor:
    """The great-circle path from a to b, each a whole latent of any shape; u in [0, 1].

        omega = angle(a, b);   (sin((1 - u) omega) a + sin(u omega) b) / sin(omega)

    The norm stays on the way if it is the same at both ends. Falls back to `lerp` where the two
    are parallel: there the path is the line, or (antiparallel) not defined.
    """
    wide_a, wide_b = a.double(), b.double()
    cosine = (wide_a * wide_b).sum() / (wide_a.norm() * wide_b.norm()).clamp_min(1e-12)
    omega = torch.acos(cosine.clamp(-1, 1))
    sine = torch.sin(omega)
    if float(sine) < 1e-6:
        return lerp(a, b, u)
    weight_a, weight_b = torch.sin((1 - u) * omega) / sine, torch.sin(u * omega) / sine
    return weight_a.to(a.dtype) * a + weight_b.to(a.dtype) * b


PATHS: dict[str, Callable[[Tensor, Tensor, float], Tensor]] = {"slerp": slerp, "lerp": lerp}


def walk(anchors: Tensor, frames: int, path: str = "slerp", loop: bool = False) -> Tensor:
    """`frames` latents (frames, ...) from the first anchor through all to the last.

    Args:
        anchors: (K, ...), K >= 2.
        frames: how many points, ends included.
        path: "slerp" or "lerp".
        loop: go on from the last anchor to the first; the return to it is not repeated.

    Raises:
        GendiffError: fewer than two anchors, frames out of 2..1000 or an unknown path.
    """
    if len(anchors) < 2:
        raise GendiffError("A walk needs at least two seeds.")
    frames = whole("The number of frames", frames, 2, FRAMES_MAX)
    if path not in PATHS:
        raise GendiffError(f"There is no path {path!r}; choose slerp or lerp.")
    stops = torch.cat([anchors, anchors[:1]]) if loop else anchors
    legs = len(stops) - 1
    points = []
    for frame in range(frames):
        position = frame * legs / (frames if loop else frames - 1)
        leg = min(int(position), legs - 1)
        points.append(PATHS[path](stops[leg], stops[leg + 1], position - leg))
    return torch.stack(points)


def grid(corners: Tensor, rows: int, columns: int, path: str = "slerp") -> Tensor:
    """(rows * columns, ...) latents between four corners, row by row.

    The corners are top left, top right, bottom left, bottom right.
    """
    if len(corners) != 4:
        raise GendiffError("A grid needs exactly four seeds, one for each corner.")
    left = walk(corners[[0, 2]], rows, path)
    right = walk(corners[[1, 3]], rows, path)
    sides = torch.stack([left, right], dim=1)
    return torch.cat([walk(side, columns, path) for side in sides])
