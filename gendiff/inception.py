"""Inception's features instead of our own network's, where its weights are there.

The network of Heusel et al. (2017), arXiv:1706.08500, as torch-fidelity ports it and torchmetrics
calls it: the field's measure, if of another kind of pictures. Nothing is downloaded: its weights
are used if `torch-fidelity` is installed and torch's folder of downloads holds them.
"""

from __future__ import annotations

import hashlib
import pickle
from dataclasses import dataclass, replace
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

import torch
from torch import Tensor, nn

from gendiff.errors import GendiffError
from gendiff.images import to_uint8
from gendiff.readers import PictureReader, Reading

WEIGHTS = "pt_inception-2015-12-05-6726825d.pth"  # torch-fidelity's file
DIM = 2048  # of the last pooling layer
BATCH = 32  # pictures of 299 x 299 at once


@dataclass(frozen=True)
class InceptionReader:
    """Reads as `reader` does, but for the features (B, 2048), which are Inception's."""

    reader: PictureReader
    net: nn.Module
    sha256: str
    name: str = "inception-v3"
    accuracy: None = None
    dim: int = DIM

    def __call__(self, x: Tensor) -> Reading:
        pictures = torch.from_numpy(to_uint8(x)).permute(0, 3, 1, 2)
        with torch.no_grad():
            found = [self.net(part.expand(-1, 3, -1, -1)) for part in pictures.split(BATCH)]
        return replace(self.reader(x), features=torch.cat(found).float())


def weights() -> Path | None:
    """Where the weights are; None if they, or torch-fidelity, are not there."""
    path = Path(torch.hub.get_dir()) / "checkpoints" / WEIGHTS
    return path if find_spec("torch_fidelity") and path.is_file() else None


@lru_cache(maxsize=2)
def with_inception(reader: PictureReader, path: Path) -> InceptionReader:
    """The reader with Inception's features; GendiffError if the file does not hold its weights."""
    from torchmetrics.image.fid import NoTrainInceptionV3

    try:
        net = NoTrainInceptionV3("inception-v3-compat", [str(DIM)], str(path))
        sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    except (OSError, RuntimeError, EOFError, pickle.UnpicklingError, LookupError) as error:
        raise GendiffError(f"{path} does not hold Inception's weights; fetch it again.") from error
    return InceptionReader(reader, net, sha256)
