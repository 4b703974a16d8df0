"""The cats: 360,000 combinations of David Revoy's parts on six backgrounds, known exactly."""

from __future__ import annotations

import math
import os
import tempfile
import warnings
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from gendiff.errors import GendiffError
from gendiff.sources import CATS, DataSet, cache_folder, hashed

PARTS = {"body": 15, "fur": 10, "eyes": 15, "mouth": 10, "accessory": 16}  # painted in this order
COMBINATIONS = math.prod(PARTS.values())  # 360,000
BACKGROUNDS = (  # 8-bit RGB: calm pastels on which all fifteen coats can be seen
    (204, 226, 246),  # sky
    (208, 240, 216),  # mint
    (252, 222, 200),  # peach
    (224, 212, 246),  # lavender
    (250, 208, 220),  # rose
    (238, 236, 230),  # paper
)
_SIZE = 64
_PLAIN_FURS = (2, 6)  # both files are empty
_SCARVES = (0, 7)  # accessories that hide the mouth, to within 2/255


def combination(index: Tensor | int) -> Tensor:
    """Body, fur, eyes, mouth and accessory (..., 5) of the combinations 0..359,999 (...).

    They are the index's mixed-radix digits, the accessory varying fastest. Raises GendiffError
    outside that range.
    """
    rest, digits = torch.as_tensor(index), []
    if ((rest < 0) | (rest >= COMBINATIONS)).any():
        raise GendiffError(f"A combination of cat parts is a number in 0..{COMBINATIONS - 1}.")
    for radix in reversed(PARTS.values()):
        digits.append(rest % radix)
        rest = rest // radix
    return torch.stack(digits[::-1], dim=-1)


def combination_index(parts: Tensor) -> Tensor:
    """The inverse of `combination`: (..., 5) -> (...)."""
    index = torch.zeros_like(parts[..., 0])
    for radix, digit in zip(PARTS.values(), parts.unbind(-1), strict=True):
        index = index * radix + digit
    return index


def visible(parts: Tensor) -> Tensor:
    """The parts (..., 5) with those that cannot be seen replaced: cats look alike iff these agree.

    Two furs are both plain, and a scarf hides the mouth, so the 360,000 combinations make 287,550
    different pictures.
    """
    body, fur, eyes, mouth, accessory = parts.unbind(-1)
    fur = fur.where(fur != _PLAIN_FURS[1], _PLAIN_FURS[0])
    scarf = (accessory == _SCARVES[0]) | (accessory == _SCARVES[1])
    return torch.stack([body, fur, eyes, mouth.where(~scarf, 0), accessory], dim=-1)


def is_held_out(index: Tensor) -> Tensor:
    """Which combinations (...) are kept out of training: hash(what is visible) mod 10 == 0.

    Combinations that look alike fall on the same side, so no held-out picture is trained on.
    """
    seen = combination_index(visible(combination(index)))
    return torch.from_numpy(hashed(seen.cpu().numpy()) % np.uint64(10) == 0).to(index.device)


def cat_picture(parts: Tensor, background: Tensor) -> Tensor:
    """Cats (B, 3, 64, 64) in [-1, 1] from integers parts (B, 5) and background (B,), any device.

    Each part is painted over what is there: out = rgb + (1 - a) out, with rgb premultiplied by
    its alpha a (Porter and Duff 1984, doi:10.1145/800031.808606, "over").
    """
    out = torch.tensor(BACKGROUNDS, device=parts.device).div(255)[background][:, :, None, None]
    # One table for each kind of part, so that a number out of range cannot reach the next kind.
    tables = _part_table(parts.device).split(tuple(PARTS.values()))
    for table, digit in zip(tables, parts.unbind(-1), strict=True):
        layer = table[digit]
        out = torch.addcmul(layer[:, :3], out, 1 - layer[:, 3:])
    return out.clamp(0, 1) * 2 - 1


def open_cats(split: str, limit: int | None) -> DataSet:
    """The split's combinations in the order of a hash, six times over, on another background each.

    So the first items are a fair sample of distinct combinations, and all items are every cat of
    the split exactly once.
    """
    _part_table(torch.device("cpu"))  # missing artwork is reported now, not in the first batch
    every = torch.arange(COMBINATIONS)
    mine = every[~is_held_out(every) if split == "train" else is_held_out(every)]
    order = mine[torch.from_numpy(np.argsort(hashed(mine.numpy(), stream=1), kind="stable"))]
    offset = torch.from_numpy((hashed(order.numpy(), stream=2) % np.uint64(6)).astype(np.int64))

    def codes(i: Tensor) -> Tensor:
        k = i % len(order)
        background = (i // len(order) + offset[k]) % len(BACKGROUNDS)
        return torch.cat([combination(order[k]), background[:, None]], dim=1)

    def items(i: Tensor) -> Tensor:
        c = codes(i)
        return cat_picture(c[:, :5], c[:, 5])

    labels = combination(order)[:, 0].repeat(len(BACKGROUNDS))[:limit]
    return DataSet(CATS, split, labels, items, codes)


@lru_cache(maxsize=4)
def _part_table(device: torch.device) -> Tensor:
    """All parts (66, 4, 64, 64), float32 in [0, 1], premultiplied.

    They are shrunk once per user (seconds) and read once per process.
    """
    if device.type != "cpu":
        return _part_table(torch.device("cpu")).to(device)
    path = cache_folder() / f"cat-parts-{_SIZE}.npy"
    if path.is_file():
        try:
            table = np.load(path, allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            warnings.warn(f"{path} is damaged ({error}); it is made anew.", stacklevel=2)
        else:
            return torch.from_numpy(table)
    table = np.stack([_shrink(part) for part in _part_files()])
    try:
        _save(path, table)
    except OSError as error:  # a read-only home costs seconds at each start, nothing else
        warnings.warn(f"The shrunk cat parts cannot be kept in {path} ({error}).", stacklevel=2)
    return torch.from_numpy(table)


def _part_files() -> list[Path]:
    spec = find_spec("robohash")  # finds the folder without running the package
    roots = spec.submodule_search_locations if spec else None
    folders = sorted(Path(roots[0], "sets", "set4").glob("*#*")) if roots else []
    files = [sorted(folder.glob("*.png")) for folder in folders]
    if [len(part) for part in files] != list(PARTS.values()):
        raise GendiffError(f"The 66 parts of the cats are not installed; run: {CATS.install}")
    return [path for part in files for path in part]


def _shrink(path: Path) -> np.ndarray:
    """One part (4, 64, 64): the mean of each 16 x 16 block.

    The colours are premultiplied first, so that those of transparent pixels do not leak.
    """
    with Image.open(path) as image:
        rgba = np.asarray(image.convert("RGBA"), dtype=np.float32) / 255
    rgba[..., :3] *= rgba[..., 3:]
    block = rgba.shape[0] // _SIZE
    return rgba.reshape(_SIZE, block, _SIZE, block, 4).mean((1, 3)).transpose(2, 0, 1)


def _save(path: Path, table: np.ndarray) -> None:
    """Write beside, then rename: a reader sees all of the file or none of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        np.save(Path(folder, path.name), table)
        os.replace(Path(folder, path.name), path)
