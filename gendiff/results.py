"""What was measured of a checkpoint: its metrics.json, read and written whole.

A distance says nothing without its conditions, so they are fields of the same record: feature
network, number of pictures, reference split, averaged weights or not, sampler and steps. `floor`
is the same distance between real pictures and real pictures: no model can be expected below it.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from gendiff.errors import GendiffError

METRICS = "metrics.json"
FORMAT = 1


@dataclass(frozen=True)
class Features:
    """The network whose features were compared: its name, its accuracy on real test pictures
    (the mean of its heads; None for a foreign one), and how many numbers it gives a picture."""

    network: str
    accuracy: float | None
    dim: int


@dataclass(frozen=True)
class Reference:
    """The real pictures that everything is compared with."""

    split: str
    images: int


@dataclass(frozen=True)
class Floor:
    """The distances of `images` real pictures of the split `against` from the reference."""

    fid: float
    kid: float
    images: int
    against: str = "train"


@dataclass(frozen=True)
class Speed:
    """How a row's images_per_second was timed: the fastest of `rounds` rounds of at most four
    network calls of `batch` pictures, warm. median: what the median round gives; far below the
    fastest, the machine was busy with something else."""

    batch: int
    rounds: int
    median: float
    threads: int
    machine: str


@dataclass(frozen=True)
class Score:
    """What one way of sampling gave.

    Attributes:
        sampler, steps: None for a GAN. nfe: network calls for one picture.
        images: how many pictures. batch: at once. guidance: 1 is none. ema: averaged weights.
        dtype, device: of this run.
        fid: Frechet distance (Heusel et al. 2017) in the features; falls with more images.
        kid, kid_std: kernel distance (Binkowski et al. 2018), mean and deviation over subsets;
            its mean does not depend on the number of images.
        floor_fid: of as many real training pictures.
        precision, recall: Kynkaanniemi et al. (2019), with the k-th neighbour.
        obedience: share recognized as the class that was asked for. coverage: the same by class.
        nearest: distances to the nearest training picture, see `gendiff.metrics.nearest`.
        images_per_second: complete pictures, network and sampler alone, timed as `speed` says
            (None: over the whole sampling, with its pauses). seconds: that the sampling took.
        valid, modes, modes_uniform, kl, kl_uniform, novelty: cats only. The share of valid cats;
            of the 3,600 bodies x eyes x accessories, how many are among the valid ones, and how
            many as many uniform draws are expected to reach; KL of each part's frequencies from
            the data's, nats, and what as many real cats are expected to show; the share of the
            valid ones that training never saw (a tenth of all cats).
    """

    sampler: str | None
    steps: int | None
    nfe: int
    images: int
    batch: int
    guidance: float
    fid: float
    kid: float
    kid_std: float
    precision: float
    recall: float
    ema: bool = True
    k: int = 3
    dtype: str = "float32"
    device: str = "cpu"
    floor_fid: float | None = None
    obedience: float | None = None
    coverage: Mapping[str, float] = field(default_factory=dict)
    nearest: Mapping[str, float] = field(default_factory=dict)
    images_per_second: float | None = None
    speed: Speed | None = None
    seconds: float | None = None
    valid: float | None = None
    modes: int | None = None
    modes_uniform: float | None = None
    kl: Mapping[str, float] | None = None
    kl_uniform: Mapping[str, float] | None = None
    novelty: float | None = None

    @property
    def way(self) -> tuple[Any, ...]:
        """What tells this way of sampling from others."""
        return (self.sampler, self.steps, self.guidance, self.dtype)

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Score:
        """From plain values; unknown and missing keys are TypeErrors."""
        timed = values.get("speed")
        return cls(**{**values, "speed": None if timed is None else Speed(**timed)})


@dataclass(frozen=True)
class Learned:
    """The weights after so many images of training; fid is of as many pictures as `of` says."""

    images: int
    fid: float
    kid: float | None = None
    of: int | None = None
    obedience: float | None = None
    valid: float | None = None


@dataclass(frozen=True)
class Rounded:
    """bfloat16 against float32 at the same seeds.

    fid: of the bfloat16 pictures from the reference; fid_float32: of the others; between: from
    each other. psnr_median, psnr_lowest: dB, peak to peak 2.
    """

    sampler: str | None
    steps: int | None
    images: int
    fid: float
    fid_float32: float
    between: float
    psnr_median: float
    psnr_lowest: float


@dataclass(frozen=True)
class Metrics:
    """Everything of metrics.json: one run for each way of sampling and number of pictures.
    runs[0] is the headline."""

    model: str
    weights_sha256: str
    measured: str
    command: str
    machine: str
    device: str
    dtype: str
    features: Features
    reference: Reference
    floor: Floor
    runs: tuple[Score, ...]
    learning: tuple[Learned, ...] = ()
    bfloat16: Rounded | None = None
    format: int = FORMAT

    @classmethod
    def read(cls, folder: Path) -> Metrics | None:
        """A checkpoint folder's metrics; None where it was never measured.

        Raises:
            GendiffError: the file is damaged, or of another version of this program.
        """
        path = folder / METRICS
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        except (ValueError, OSError) as error:
            raise GendiffError(
                f"{path} cannot be read as JSON ({error}); measure the checkpoint again."
            ) from error
        if not isinstance(values, dict) or values.get("format") != FORMAT:
            raise GendiffError(f"{path} is not of format {FORMAT}; measure the checkpoint again.")
        try:
            return cls.of(values)
        except (KeyError, TypeError, AttributeError) as error:
            raise GendiffError(
                f"{path} is incomplete or unknown ({error}); measure the checkpoint again."
            ) from error

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Metrics:
        """From the plain values of `plain`; unknown and missing keys are TypeErrors."""
        parts = dict(values)
        for name, kind in (("features", Features), ("reference", Reference), ("floor", Floor)):
            parts[name] = kind(**parts[name])
        parts["runs"] = tuple(Score.of(one) for one in parts["runs"])
        if not parts["runs"]:
            raise KeyError("runs")
        parts["learning"] = tuple(Learned(**one) for one in parts.get("learning", ()))
        if parts.get("bfloat16") is not None:
            parts["bfloat16"] = Rounded(**parts["bfloat16"])
        return cls(**parts)

    def plain(self) -> dict[str, Any]:
        """As JSON has it; numbers to six digits, which is more than any of them is good for."""
        values = asdict(self)
        order = ["format", *(entry.name for entry in fields(self) if entry.name != "format")]
        return {name: _rounded(values[name]) for name in order}

    def write(self, folder: Path) -> None:
        """Write metrics.json, whole or not at all; GendiffError if that cannot be."""
        write_json(self.plain(), folder / METRICS)

    @property
    def headline(self) -> Score:
        return self.runs[0]


def write_json(values: Any, path: Path) -> None:
    """JSON, whole or not at all. Raises GendiffError where the disk is full or not writable."""
    partial = path.with_name(path.name + ".partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        text = json.dumps(values, indent=1, ensure_ascii=False, allow_nan=False)
        partial.write_text(text + "\n", encoding="utf-8")
        os.replace(partial, path)
    except OSError as error:
        with suppress(OSError):
            partial.unlink()
        raise GendiffError(f"{path} cannot be written ({error}); is the disk full?") from error


def _rounded(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _rounded(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_rounded(item) for item in value]
    if isinstance(value, float):
        if not math.isfinite(value):
            raise GendiffError("A metric is not a finite number; measure more pictures.")
        return float(f"{value:.6g}")
    return value
