"""Sample a checkpoint, read the pictures, and score what was read: fills metrics.json.

Pictures are not kept, what was read of them is (runs/evaluate/), batch by batch: an interrupted
evaluation goes on where it stopped, and the same one again takes seconds. Seed i asks for class
i mod the number of classes, so that every class is asked for equally often.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import torch
from torch import Tensor

from gendiff import clock, inception, metrics
from gendiff.bench import psnr
from gendiff.data import open_data
from gendiff.errors import GendiffError, whole
from gendiff.inception import InceptionReader
from gendiff.metrics import Nearest, Sample
from gendiff.readers import BATCH as READ_BATCH
from gendiff.readers import PictureReader, load_reader
from gendiff.results import Features, Floor, Reference, Rounded, Score
from gendiff.weights import Model, load

FOLDER = Path("runs/evaluate")
IMAGES = 1000
REAL = 10_000  # real pictures of each split
COPIES = {"fashion": 60_000, "cats": 10_000}  # training pictures that copies are looked for in
NEIGHBOURS = 5_000  # pictures of each side whose neighbours are looked for
GAN_BATCH, DIFFUSION_BATCH = 64, 16


@dataclass(frozen=True)
class Plan:
    """One way of sampling, and how many pictures of it. sampler, steps: None for a GAN."""

    sampler: str | None = "dpmpp_2m"
    steps: int | None = 20
    guidance: float = 1.0
    images: int = IMAGES
    dtype: str = "float32"
    batch: int = DIFFUSION_BATCH

    def __post_init__(self) -> None:
        whole("The number of pictures", self.images, 4, 1_000_000)
        whole("The batch", self.batch, 1, 4096)

    @property
    def way(self) -> tuple[str | None, int | None, float, str]:
        """As `Score.way`."""
        return (self.sampler, self.steps, self.guidance, self.dtype)

    def options(self) -> dict[str, object]:
        """Of the model's `sample`."""
        if self.sampler is None:
            return {}
        return {"sampler": self.sampler, "steps": self.steps, "guidance": self.guidance}

    def calls(self, model: Model) -> int:
        """Network calls for one picture."""
        if self.sampler is None:
            return 1
        return model.network_calls(self.sampler, self.steps, self.guidance)


@dataclass(frozen=True)
class Real:
    """What real pictures of a data set give: the measure of everything else.

    test, train: features (N, D) of the first pictures of each split. distances: of the first test
    pictures to the nearest training picture. nearest: that measure.
    """

    reader: PictureReader | InceptionReader
    test: Tensor
    train: Tensor
    distances: Tensor
    nearest: Nearest

    @property
    def features(self) -> Features:
        return Features(self.reader.name, self.reader.accuracy, self.reader.dim)

    @property
    def reference(self) -> Reference:
        return Reference("test", len(self.test))

    def floor(self, images: int) -> Floor:
        """The distances of as many real training pictures (at most 10,000)."""
        count = min(images, len(self.train))
        some = self.train[:count]
        kid, _ = metrics.kernel(self.test, some)
        return Floor(metrics.frechet(self.test, some), kid, count)


@lru_cache(maxsize=2)
def real(data: str, folder: Path = FOLDER, count: int = REAL, weights: Path | None = None) -> Real:
    """Read the real pictures of a data set, once; later calls and processes take what was kept.

    The features are those of Inception if `weights` is its file, else of our own network.
    Raises GendiffError where the data or the network that reads it is missing.
    """
    if data not in COPIES:
        raise GendiffError(f"There is no network here that reads {data!r}; nothing can be scored.")
    reader = load_reader(data)
    if weights is not None:
        reader = inception.with_inception(reader, weights)
    train = open_data(data, "train", COPIES[data])
    nearest = Nearest(train.batch(torch.arange(len(train)))[0])
    path = folder / f"real-{data}-{reader.sha256[:12]}-{count}.pt"
    kept = _load(path)
    if kept is None:
        kept = {}
        for split in ("test", "train"):
            pictures = open_data(data, split, count)
            parts = torch.arange(len(pictures)).split(READ_BATCH)
            kept[split] = torch.cat([reader(pictures.batch(i)[0]).features for i in parts])
        test = open_data(data, "test", min(count, IMAGES))
        parts = torch.arange(len(test)).split(READ_BATCH)
        kept["distances"] = torch.cat([nearest(test.batch(i)[0]) for i in parts])
        _keep(kept, path)
    return Real(reader, kept["test"], kept["train"], kept["distances"], nearest)


class Sampling:
    """The pictures of one plan, read batch by batch; what was read is kept in a file.

    Args:
        model: in the plan's dtype. folder: of all that is kept.
    """

    def __init__(self, model: Model, plan: Plan, real: Real, folder: Path = FOLDER) -> None:
        self.model, self.plan, self.real = model, plan, real
        weights = f"{model.card.name}-{model.card.sha256[:12]}-{real.reader.sha256[:8]}"
        way = "-".join(str(part) for part in plan.way if part is not None)
        self.path = folder / weights / f"{model.device.type}-{way}.pt"
        kept = _load(self.path)
        self.seconds = kept["seconds"] if kept else 0.0
        self.sample = Sample(**kept["sample"]) if kept else None

    @property
    def done(self) -> int:
        """Pictures that were read so far."""
        return 0 if self.sample is None else len(self.sample)

    def estimate(self) -> float:
        """Seconds that the rest will take, by timing a warm batch of one or two calls."""
        if self.done >= self.plan.images:
            return 0.0
        model, batch = self.model, min(self.plan.batch, self.plan.images)
        short = self.plan.options() | ({} if self.plan.sampler is None else {"steps": 2})
        model.sample(range(batch), **short)
        start = clock.now(model.device)
        model.sample(range(batch), **short)
        calls = (
            1
            if self.plan.sampler is None
            else model.network_calls(short["sampler"], 2, self.plan.guidance)
        )
        a_call = (clock.now(model.device) - start) / calls / batch
        return (self.plan.images - self.done) * a_call * self.plan.calls(model)

    def go(self, every: float = 20.0) -> Iterator[int]:
        """Sample what is missing; network calls x pictures since the last value, to show them.

        What was read is kept every `every` seconds and when the caller stops or is interrupted.
        """
        kept = clock.now()
        try:
            while self.done < self.plan.images:
                seeds = range(self.done, min(self.done + self.plan.batch, self.plan.images))
                labels = torch.tensor([seed % max(self.model.classes, 1) for seed in seeds])
                before = self.seconds
                run = clock.timed(self._pictures(seeds, labels), self.model.device)
                for now in run:
                    last = now
                    yield len(seeds)
                self.seconds = before + last[1]
                batches = [(last[0].clamp(-1, 1), labels)]
                new = list(metrics.collect(batches, self.real.reader, self.real.nearest))
                self.sample = Sample.joined([*([self.sample] if self.sample else []), *new])
                if clock.now() - kept > every:
                    self.keep()
                    kept = clock.now()
        finally:
            if self.sample is not None:
                self.keep()

    def _pictures(self, seeds: range, labels: Tensor) -> Iterator[Tensor]:
        asked = labels if self.model.classes else None
        if self.plan.sampler is None:
            yield self.model.sample(seeds, labels=asked)
            return
        options = self.plan.options()
        for step in self.model.trajectory(seeds, labels=asked, **options):
            yield step.x_s

    def keep(self) -> None:
        """Write what was read, whole or not at all."""
        _keep({"sample": vars(self.sample), "seconds": self.seconds}, self.path)

    def score(self) -> Score:
        """The numbers of the first `images` pictures."""
        return score(self.model, self.plan, self.sample, self.real, self.seconds / self.done)


def score(model: Model, plan: Plan, sample: Sample, real: Real, each: float) -> Score:
    """Everything that is counted of a sample. each: seconds that a picture took, with pauses."""
    sample = sample.first(plan.images)
    count = len(sample)
    kid, deviation = metrics.kernel(real.test, sample.features)
    near = min(count, len(real.test), NEIGHBOURS)
    precision, recall = metrics.precision_recall(real.test[:near], sample.features[:near])
    share, by_class = metrics.obedience(sample.asked, sample.codes[:, 0], model.card.classes)
    cats = metrics.cats(sample.codes, sample.valid) if sample.codes.shape[1] > 1 else {}
    return Score(
        sampler=plan.sampler,
        steps=plan.steps,
        nfe=plan.calls(model),
        images=count,
        batch=plan.batch,
        guidance=plan.guidance,
        fid=metrics.frechet(real.test, sample.features),
        kid=kid,
        kid_std=deviation,
        precision=precision,
        recall=recall,
        k=metrics.K,
        dtype=plan.dtype,
        device=model.device.type,
        floor_fid=metrics.frechet(real.test, real.train[:count]),
        obedience=share if model.classes else None,
        coverage=by_class if model.classes else {},
        nearest=metrics.copying(sample.nearest, real.distances, len(real.nearest.flat)),
        seconds=each * count,
        **cats,
    )


def rounded(
    where: str | Path,
    plan: Plan,
    real: Real,
    device: str | None = None,
    tick: Callable[[int], object] = lambda pictures: None,
) -> Rounded:
    """bfloat16 against float32 at the same seeds; `tick` hears of each batch of pictures."""
    models = [load(where, device, dtype) for dtype in ("float32", "bfloat16")]
    features: tuple[list[Tensor], list[Tensor]] = ([], [])
    noise: list[Tensor] = []
    for start in range(0, plan.images, plan.batch):
        seeds = range(start, min(start + plan.batch, plan.images))
        pictures = []
        for model, parts in zip(models, features, strict=True):
            labels = [seed % model.classes for seed in seeds] if model.classes else None
            pictures.append(model.sample(seeds, labels=labels, **plan.options()))
            parts.append(real.reader(pictures[-1]).features)
        noise.append(psnr(*pictures))
        tick(len(seeds))
    exact, short = map(torch.cat, features)
    values = torch.cat(noise)
    return Rounded(
        sampler=plan.sampler,
        steps=plan.steps,
        images=plan.images,
        fid=metrics.frechet(real.test, short),
        fid_float32=metrics.frechet(real.test, exact),
        between=metrics.frechet(exact, short),
        psnr_median=float(values.median()),
        psnr_lowest=float(values.min()),
    )


def _load(path: Path) -> dict | None:
    """What was kept, or None."""
    if not path.is_file():
        return None
    try:
        return torch.load(path, weights_only=True)
    except (OSError, RuntimeError, EOFError, ValueError) as error:
        raise GendiffError(
            f"{path} cannot be read ({error}); delete it to start again."
        ) from error


def _keep(values: dict, path: Path) -> None:
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.save(values, partial)
        os.replace(partial, path)
    except (OSError, RuntimeError) as error:  # torch reports a full disk as RuntimeError
        partial.unlink(missing_ok=True)
        raise GendiffError(f"{path} cannot be written ({error}); is the disk full?") from error
