"""Data sets: indices -> tensors in [-1, 1], with labels, licences and sources.

    data = open_data("cats", "train")
    x, labels = data.batch(torch.arange(64))        # (64, 3, 64, 64) in [-1, 1], (64,)

Every item is a function of its index alone: the same index gives the same item in any batch and
process. The cats and the two-dimensional mixtures are distributions that are known exactly, so a
model of them can be counted, not only scored.
"""

from __future__ import annotations

import gzip
import math
import os
import tempfile
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from types import MappingProxyType

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import pad

from gendiff.errors import GendiffError

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
SPLITS = ("train", "test", "heldout")
_CAT_SIZE = 64
_PLAIN_FURS = (2, 6)  # both files are empty
_SCARVES = (0, 7)  # accessories that hide the mouth, to within 2/255
_FASHION_FOLDER = Path("/usr/share/datasets/fashion-mnist")  # where Debian's package puts it
_STREAMS = {"train": 1, "test": 2, "heldout": 2}  # the mixtures' random streams
_POINTS = {"train": 60_000, "test": 10_000, "heldout": 10_000}


@dataclass(frozen=True)
class Source:
    """What a data set is, whose work it is, and how to get it.

    `shape` is (C, H, W) of a picture or (2,) of a point; `install` is the command that fetches
    the data.
    """

    name: str
    title: str
    shape: tuple[int, ...]
    classes: tuple[str, ...]
    licence: str = "none needed"
    credit: str = "computed"
    source: str = "computed"
    install: str = "nothing to install"


_FASHION = Source(
    name="fashion",
    title="Fashion-MNIST",
    shape=(1, 32, 32),
    classes=(
        *("T-shirt", "trousers", "pullover", "dress", "coat"),
        *("sandal", "shirt", "sneaker", "bag", "ankle boot"),
    ),
    licence="MIT",
    credit="Fashion-MNIST (Xiao, Rasul and Vollgraf 2017, arXiv:1708.07747), (c) Zalando SE",
    source="https://github.com/zalandoresearch/fashion-mnist",
    install="apt install dataset-fashion-mnist",
)
_CATS = Source(
    name="cats",
    title="Cartoon cats",
    shape=(3, _CAT_SIZE, _CAT_SIZE),
    classes=(
        *("maroon", "lime", "charcoal", "lilac", "red", "sand", "pink", "brown"),
        *("blue", "yellow", "mustard", "grey", "caramel", "cream", "ginger"),
    ),
    licence="CC BY 4.0",
    credit="Cat artwork by David Revoy (www.davidrevoy.com), CC BY 4.0; shrunk and recombined",
    source="https://www.peppercarrot.com/extras/html/2016_cat-generator/",
    install="pip install robohash==2.0",
)
_RING = Source(
    name="ring",
    title="Eight Gaussians on a ring",
    shape=(2,),
    classes=tuple(f"{45 * k}°" for k in range(8)),
)
_GRID = Source(
    name="grid",
    title="Twenty-five Gaussians on a grid",
    shape=(2,),
    classes=tuple(f"({i}, {j})" for i in range(-2, 3) for j in range(-2, 3)),
)
SOURCES: Mapping[str, Source] = MappingProxyType(
    {s.name: s for s in (_FASHION, _CATS, _RING, _GRID)}
)


@dataclass(frozen=True, eq=False)
class DataSet:
    """`len(data)` items, made on demand; `labels`, int64 (N,), point into `source.classes`."""

    source: Source
    split: str
    labels: Tensor
    items: Callable[[Tensor], Tensor]  # int64 indices (B,) on the CPU -> float32 in [-1, 1]
    codes: Callable[[Tensor], Tensor] | None = None  # cats: indices (B,) -> (B, 6)

    def __len__(self) -> int:
        return len(self.labels)

    def batch(self, indices: Tensor) -> tuple[Tensor, Tensor]:
        """Items x (B, *source.shape) in [-1, 1] and labels (B,), on the device of `indices` (B,).

        Raises GendiffError if an index is not in 0..len(self) - 1.
        """
        i = self._checked(indices)
        return self.items(i).to(indices.device), self.labels[i].to(indices.device)

    def attributes(self, indices: Tensor) -> Tensor:
        """Body, fur, eyes, mouth, accessory and background (B, 6) of cats; else GendiffError."""
        if self.codes is None:
            raise GendiffError(
                f"{self.source.title} has no attributes; only the data set 'cats' has."
            )
        return self.codes(self._checked(indices)).to(indices.device)

    def _checked(self, indices: Tensor) -> Tensor:
        i = indices.to("cpu", torch.int64)
        if i.ndim != 1 or (i.numel() and not 0 <= int(i.min()) <= int(i.max()) < len(self)):
            raise GendiffError(
                f"Indices into {self.source.name} must be 1-D, in 0..{len(self) - 1}."
            )
        return i


def open_data(name: str, split: str = "train", limit: int | None = None) -> DataSet:
    """The data set `name` ("fashion", "cats", "ring" or "grid").

    "heldout" and "test" are the same, what training never sees: for the cats a tenth of the
    combinations of parts. `limit` keeps the first items, a fair sample in every data set.

    Raises GendiffError on unknown names and on missing data, with the command that installs it.
    """
    if name not in SOURCES:
        raise GendiffError(f"There is no data set {name!r}; choose one of {', '.join(SOURCES)}.")
    if split not in SPLITS:
        raise GendiffError(f"There is no split {split!r}; choose one of {', '.join(SPLITS)}.")
    if limit is not None and limit < 1:
        raise GendiffError(f"A data set cannot be limited to {limit} items; ask for one or more.")
    if name == "fashion":
        return _fashion(split, limit)
    return _cats(split, limit) if name == "cats" else _points(name, split, limit)


def _hash(x: np.ndarray, stream: int = 0) -> np.ndarray:
    """64 well mixed bits per integer, uint64 of the shape of x.

    SplitMix64: Steele, Lea and Flood (2014), doi:10.1145/2660193.2660195, figure 16.
    """
    golden = 0x9E3779B97F4A7C15
    # The offset is reduced in Python: numpy wraps arrays silently, but warns about scalars.
    z = x.astype(np.uint64) * np.uint64(golden) + np.uint64(
        (stream * 0xD1342543DE82EF95 + golden) % 2**64
    )
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def _cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "gendiff"


# Fashion-MNIST


def _fashion(split: str, limit: int | None) -> DataSet:
    named = os.environ.get("GENDIFF_DATA")
    folder = Path(named) if named else _FASHION_FOLDER
    if named or folder.is_dir():
        stem = "train" if split == "train" else "t10k"
        pixels = _read_idx(folder / f"{stem}-images-idx3-ubyte.gz", dimensions=3)
        labels = _read_idx(folder / f"{stem}-labels-idx1-ubyte.gz", dimensions=1)
    else:
        pixels, labels = _download_fashion(train=split == "train")
    # Two pixels of black on each side: 32 halves five times, 28 only twice.
    pixels = pad(pixels[:limit, None], (2, 2, 2, 2), value=0)
    return DataSet(_FASHION, split, labels[:limit].long(), lambda i: pixels[i].float() / 127.5 - 1)


def _read_idx(path: Path, dimensions: int) -> Tensor:
    """A gzipped IDX file: bytes 0, 0, 8 (uint8), rank; big-endian int32 sizes; the values."""
    try:
        raw = gzip.decompress(path.read_bytes())
    except (OSError, EOFError) as error:
        raise GendiffError(f"Cannot read {path} ({error}); run: {_FASHION.install}") from error
    head = 4 + 4 * dimensions
    sizes = np.frombuffer(raw[4:head], ">i4").tolist() if len(raw) >= head else []
    if raw[:4] != bytes((0, 0, 8, dimensions)) or len(raw) != head + math.prod(sizes):
        raise GendiffError(f"{path} is not the IDX file it should be; run: {_FASHION.install}")
    values = np.frombuffer(raw, np.uint8, offset=head)
    return torch.from_numpy(values.copy()).reshape(sizes)


def _download_fashion(train: bool) -> tuple[Tensor, Tensor]:
    try:
        from torchvision.datasets import FashionMNIST

        data = FashionMNIST(_cache(), train=train, download=True)
    except (ImportError, OSError, RuntimeError) as error:
        # torchvision reports a dead network as either of the last two.
        raise GendiffError(
            f"Fashion-MNIST is not here and its download failed ({error}); run: {_FASHION.install}"
        ) from error
    return data.data, data.targets


# The cats


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
    return torch.from_numpy(_hash(seen.cpu().numpy()) % np.uint64(10) == 0).to(index.device)


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


def _cats(split: str, limit: int | None) -> DataSet:
    """The split's combinations in the order of a hash, six times over, on another background each.

    So the first items are a fair sample of distinct combinations, and all items are every cat of
    the split exactly once.
    """
    _part_table(torch.device("cpu"))  # missing artwork is reported now, not in the first batch
    every = torch.arange(COMBINATIONS)
    mine = every[~is_held_out(every) if split == "train" else is_held_out(every)]
    order = mine[torch.from_numpy(np.argsort(_hash(mine.numpy(), stream=1), kind="stable"))]
    offset = torch.from_numpy((_hash(order.numpy(), stream=2) % np.uint64(6)).astype(np.int64))

    def codes(i: Tensor) -> Tensor:
        k = i % len(order)
        background = (i // len(order) + offset[k]) % len(BACKGROUNDS)
        return torch.cat([combination(order[k]), background[:, None]], dim=1)

    def items(i: Tensor) -> Tensor:
        c = codes(i)
        return cat_picture(c[:, :5], c[:, 5])

    labels = combination(order)[:, 0].repeat(len(BACKGROUNDS))[:limit]
    return DataSet(_CATS, split, labels, items, codes)


@lru_cache(maxsize=4)
def _part_table(device: torch.device) -> Tensor:
    """All parts (66, 4, 64, 64), float32 in [0, 1], premultiplied.

    They are shrunk once per user (seconds) and read once per process.
    """
    if device.type != "cpu":
        return _part_table(torch.device("cpu")).to(device)
    path = _cache() / f"cat-parts-{_CAT_SIZE}.npy"
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
        raise GendiffError(f"The 66 parts of the cats are not installed; run: {_CATS.install}")
    return [path for part in files for path in part]


def _shrink(path: Path) -> np.ndarray:
    """One part (4, 64, 64): the mean of each 16 x 16 block.

    The colours are premultiplied first, so that those of transparent pixels do not leak.
    """
    with Image.open(path) as image:
        rgba = np.asarray(image.convert("RGBA"), dtype=np.float32) / 255
    rgba[..., :3] *= rgba[..., 3:]
    block = rgba.shape[0] // _CAT_SIZE
    return rgba.reshape(_CAT_SIZE, block, _CAT_SIZE, block, 4).mean((1, 3)).transpose(2, 0, 1)


def _save(path: Path, table: np.ndarray) -> None:
    """Write beside, then rename: a reader sees all of the file or none of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        np.save(Path(folder, path.name), table)
        os.replace(Path(folder, path.name), path)


# Mixtures in two dimensions


@dataclass(frozen=True, eq=False)
class Mixture:
    """Equally likely Gaussians: p(x) = mean over k of N(x; centres_k, std^2 I); centres (K, 2)."""

    centres: Tensor
    std: float

    def log_density(self, x: Tensor) -> Tensor:
        """Exact log p(x) in nats: (..., 2) -> (...)."""
        centres = self.centres.to(x)
        square = (x[..., None, :] - centres).square().sum(-1) / self.std**2
        norm = math.log(2 * math.pi * self.std**2) + math.log(len(centres))
        return torch.logsumexp(-square / 2, dim=-1) - norm

    def sample(self, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Points (count, 2) and their modes (count,), drawn from `generator` on its device."""
        where = {"generator": generator, "device": generator.device}
        modes = torch.randint(len(self.centres), (count,), **where)
        centres = self.centres.to(generator.device)
        return centres[modes] + self.std * torch.randn(count, 2, **where), modes


def mixture(name: str) -> Mixture:
    """The exact distribution of "ring" or "grid".

    They are the usual tests of mode collapse (Metz et al. 2017, arXiv:1611.02163; Srivastava et
    al. 2017, arXiv:1705.07761), scaled to reach 0.7. With std 0.03 even the farthest point that
    53-bit uniform numbers can give (8.6 std) lies in [-1, 1].
    """
    if name == "ring":
        angle = torch.arange(8) * (math.pi / 4)
        return Mixture(0.7 * torch.stack([angle.cos(), angle.sin()], dim=1), std=0.03)
    if name == "grid":
        axis = torch.arange(-2, 3) * 0.35
        return Mixture(torch.cartesian_prod(axis, axis), std=0.03)
    raise GendiffError(f"There is no mixture {name!r}; choose 'ring' or 'grid'.")


def _points(name: str, split: str, limit: int | None) -> DataSet:
    law, stream, count = (
        mixture(name),
        4 * _STREAMS[split],
        min(limit or _POINTS[split], _POINTS[split]),
    )

    def uniform(i: Tensor, s: int) -> np.ndarray:
        """53-bit uniform numbers in (0, 1], a function of the index and the stream."""
        return ((_hash(i.numpy(), stream + s) >> np.uint64(11)) + np.uint64(1)).astype(
            np.float64
        ) / 2**53

    labels = torch.from_numpy(
        np.ceil(uniform(torch.arange(count), 0) * len(law.centres)).astype(np.int64) - 1
    )

    def items(i: Tensor) -> Tensor:
        # Box and Muller (1958): two uniform numbers make two independent normal ones.
        radius, angle = np.sqrt(-2 * np.log(uniform(i, 1))), 2 * np.pi * uniform(i, 2)
        z = np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1)
        return law.centres[labels[i]] + law.std * torch.from_numpy(z).float()

    return DataSet(SOURCES[name], split, labels, items)
