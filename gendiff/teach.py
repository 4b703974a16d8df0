"""Train the networks that read pictures: minutes on one core, in one session.

    fashion-features   the garment of a Fashion-MNIST picture
    cats-features      a cat's five parts and its background

All randomness of step n comes from a generator seeded with (lesson.seed, n).
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from gendiff.cards import FEATURES, Card
from gendiff.data import BACKGROUNDS, PARTS, SOURCES, DataSet, cat_picture, open_data
from gendiff.errors import GendiffError
from gendiff.nets.reader import Reader, ReaderConfig
from gendiff.readers import BATCH, CRITERION, broken, hides_mouth, read, seen
from gendiff.weights import save

MIXED = 0.3  # share of the cats in training that are a mixture of two
EXAM = 10_000  # real test pictures


@dataclass(frozen=True)
class Lesson:
    """All that decides how a reader is trained.

    Attributes:
        name: of the checkpoint. data: what it reads. net: its `ReaderConfig`.
        images: how many it sees. batch: at once. rate: the highest learning rate.
    """

    name: str
    data: str
    net: Mapping[str, Any]
    images: int
    batch: int = 128
    rate: float = 4e-3
    seed: int = 0


LESSONS: Mapping[str, Lesson] = {
    lesson.name: lesson
    for lesson in (
        Lesson(
            name="fashion-features",
            data="fashion",
            net={"channels": 1, "size": 32, "heads": {"label": 10}, "widths": (24, 64, 128)},
            images=360_000,
            batch=64,
            rate=3e-3,
        ),
        Lesson(
            name="cats-features",
            data="cats",
            net={
                "channels": 3,
                "size": 64,
                "heads": {**PARTS, "background": len(BACKGROUNDS)},
                "patch": 4,
                "dropout": 0.0,
            },
            images=140_000,
        ),
    )
}


@dataclass(frozen=True)
class Taught:
    """Images seen so far, and this step's loss."""

    images: int
    loss: float


class Teaching:
    """One training session of a reader; `go` trains, `finish` examines and writes it."""

    def __init__(self, lesson: Lesson, device: torch.device) -> None:
        self.lesson, self.device = lesson, device
        with torch.random.fork_rng(devices=[]):  # torch draws the initial weights globally
            torch.manual_seed(lesson.seed)
            self.net = Reader(ReaderConfig(**lesson.net))
        self.net.to(device, memory_format=torch.channels_last)
        self.images, self.seconds = 0, 0.0

    def go(self) -> Iterator[Taught]:
        """One optimizer step a value, until the lesson's images are seen.

        Raises:
            GendiffError: the data is missing, or the loss is no longer a number.
        """
        lesson, data = self.lesson, open_data(self.lesson.data)
        steps = math.ceil(lesson.images / lesson.batch)
        optimizer = torch.optim.AdamW(self.net.parameters(), lesson.rate, weight_decay=0.02)
        pace = torch.optim.lr_scheduler.OneCycleLR(
            optimizer, lesson.rate, total_steps=steps, pct_start=0.2
        )
        self.net.train()
        for step in range(steps):
            start = time.perf_counter()
            random = torch.Generator().manual_seed(lesson.seed * 1_000_003 + step)
            with torch.random.fork_rng(devices=[]):  # dropout draws globally
                torch.manual_seed(lesson.seed * 1_000_003 + step)
                loss = self._loss(data, random)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            pace.step()
            self.images += lesson.batch
            self.seconds += time.perf_counter() - start
            if not math.isfinite(value := float(loss.detach())):
                raise GendiffError(f"{lesson.name}: the loss is no longer a number; run it again.")
            yield Taught(self.images, value)

    def _loss(self, data: DataSet, random: torch.Generator) -> Tensor:
        """Cross-entropy to soft targets, summed over the heads."""
        indices = torch.randint(len(data), (self.lesson.batch,), generator=random)
        examples = _cats if data.codes is not None else _garments
        x, targets = examples(data, indices, random)
        x = x.to(self.device, memory_format=torch.channels_last)
        logits = self.net.read(self.net(x))
        return sum(
            F.cross_entropy(logits[name], target.to(self.device))
            for name, target in targets.items()
        )

    def finish(self, folder: Path, **training: Any) -> Card:
        """Examine the network on real test pictures and write it as a checkpoint."""
        exam = examine(self.net.eval(), open_data(self.lesson.data, "test", EXAM))
        facts = {"images": self.images, "hours": round(self.seconds / 3600, 3), **training}
        return save({"net": self.net.state_dict()}, self.card(**facts, **exam), folder)

    def card(self, **training: Any) -> Card:
        source = SOURCES[self.lesson.data]
        return Card(
            name=self.lesson.name,
            title=f"{source.title}, a reader of pictures",
            family=FEATURES,
            data=source.name,
            shape=source.shape,
            classes=source.classes,
            net=json.loads(json.dumps(asdict(self.net.config))),  # as config.json has it
            parameters={"net": sum(p.numel() for p in self.net.parameters())},
            licence=source.licence,
            credit=source.credit,
            training=training,
        )


def _garments(
    data: DataSet, indices: Tensor, random: torch.Generator
) -> tuple[Tensor, dict[str, Tensor]]:
    """Pictures, half of them mirrored, and their classes as smoothed targets (B, 10)."""
    x, labels = data.batch(indices)
    mirrored = torch.rand(len(x), generator=random) < 0.5
    x = torch.where(mirrored[:, None, None, None], x.flip(3), x)
    target = F.one_hot(labels, len(data.source.classes)).float()
    return x, {"label": 0.95 * target + 0.05 / target.shape[1]}


def _cats(
    data: DataSet, indices: Tensor, random: torch.Generator
) -> tuple[Tensor, dict[str, Tensor]]:
    """Noisy and blurred cats, some a mixture of two that share parts, and soft targets.

    A mixture's targets are its shares, so that the network is unsure of what is unsure. A mouth
    under a scarf has no target.
    """
    count = len(indices)
    one = data.attributes(indices)
    two = data.attributes(torch.randint(len(data), (count,), generator=random))
    changed = torch.rand(one.shape, generator=random) < 0.4
    two = torch.where(changed, two, one)
    share = 0.2 + 0.6 * torch.rand(count, generator=random)
    share = torch.where(torch.rand(count, generator=random) < MIXED, share, torch.zeros(count))
    w = share[:, None, None, None]
    x = (1 - w) * _picture(one) + w * _picture(two)
    blur = 0.8 * torch.rand(count, 1, 1, 1, generator=random) ** 2
    x = (1 - blur) * x + blur * F.avg_pool2d(x, 3, 1, 1, count_include_pad=False)
    noise = 0.2 * torch.rand(count, 1, 1, 1, generator=random) ** 2
    x = x + noise * torch.randn(x.shape, generator=random)
    hidden = hides_mouth(one) | hides_mouth(two)
    targets = {}
    for name, a, b in zip((*PARTS, "background"), seen(one).T, seen(two).T, strict=True):
        kinds = PARTS.get(name, len(BACKGROUNDS))
        both = F.one_hot(torch.stack([a, b]), kinds).float()
        target = (1 - share)[:, None] * both[0] + share[:, None] * both[1]
        targets[name] = target * ~hidden[:, None] if name == "mouth" else target
    return x, targets


def _picture(codes: Tensor) -> Tensor:
    return cat_picture(codes[:, :5], codes[:, 5])


def examine(net: Reader, data: DataSet) -> dict[str, Any]:
    """What the card says: accuracy on real pictures; for cats also who passes as a valid cat."""
    right: dict[str, list[Tensor]] = {}
    passed: dict[str, list[Tensor]] = {}
    for indices in torch.arange(len(data)).split(BATCH):
        x, labels = data.batch(indices)
        reading = read(net, x)
        if data.codes is None:
            right.setdefault("label", []).append(reading.kinds["label"] == labels)
            continue
        codes = data.attributes(indices)
        for name, truth in zip((*PARTS, "background"), seen(codes).T, strict=True):
            keep = ~hides_mouth(codes) if name == "mouth" else torch.ones(len(x), dtype=bool)
            right.setdefault(name, []).append((reading.kinds[name] == truth)[keep])
        passed.setdefault("real", []).append(reading.valid)
        for name, pictures in broken(codes, int(indices[0])).items():
            passed.setdefault(name, []).append(read(net, pictures).valid)
    return {
        "accuracy": {name: _share(values) for name, values in right.items()},
        **({"valid_cat": CRITERION} if passed else {}),
        **({"passes_as_valid": {n: _share(v) for n, v in passed.items()}} if passed else {}),
    }


def _share(values: list[Tensor]) -> float:
    return round(float(torch.cat(values).float().mean()), 5)
