"""Training: loops as generators, averaged weights, runs that survive a kill.

The caller logs, previews, saves and decides when to stop. All randomness of step n comes from a
generator seeded with (recipe.seed, n), so a resumed run is the run that was never interrupted.
"""

from __future__ import annotations

import math
import os
import pickle
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from gendiff.assembly import Model, assemble, build
from gendiff.data import DataSet
from gendiff.errors import GendiffError
from gendiff.images import tile, to_uint8
from gendiff.learners import FAMILIES, Learner, Placement, blank_card
from gendiff.recipes import Recipe
from gendiff.team import Team
from gendiff.weights import Card, load, save

STATE = "state.pt"
_META = ("steps", "earlier", "seconds", "history")  # of a Run, kept beside its tensors
MILESTONES = tuple(1000 * 2**k for k in range(12))  # images seen, at which pictures are kept


@dataclass(frozen=True)
class Progress:
    """Where a run is: steps and images so far, this step's losses, seconds of training in all."""

    step: int
    images: int
    losses: Mapping[str, float]
    seconds: float


class Run:
    """A training run in a folder: state.pt to go on from, checkpoint/ to use.

    Args:
        recipe: what to train.
        folder: where; created. A state found there is continued.
        device: where to compute.
        start: a checkpoint of this recipe to start from, if the folder holds no state: its
            averaged weights with a new optimizer, its images and hours counted on.
        dtype: of convolutions and products; the weights stay float32.
        team: the processes that share each batch.

    Raises:
        GendiffError: the folder holds another recipe's state, or a file that cannot be read.
    """

    def __init__(
        self,
        recipe: Recipe,
        folder: Path,
        device: torch.device,
        start: str | Path | None = None,
        *,
        dtype: torch.dtype = torch.float32,
        team: Team | None = None,
    ) -> None:
        self.recipe, self.folder, self.device = recipe, folder, device
        self.team = team or Team()
        placement = Placement(device, dtype, self.team)
        with torch.random.fork_rng(devices=[]):  # torch draws the initial weights globally
            torch.manual_seed(recipe.seed)
            self.training: Learner = FAMILIES[recipe.family](recipe, placement)
        self.steps, self.earlier, self.seconds = 0, 0, 0.0
        self.history: list[dict[str, float]] = []
        folder.mkdir(parents=True, exist_ok=True)
        if (folder / STATE).is_file():
            self._resume()
        elif start is not None:
            self._start(start)

    @property
    def images(self) -> int:
        """Images seen so far, those before `start` included."""
        return self.earlier + self.steps * self.recipe.batch

    def go(self, data: DataSet) -> Iterator[Progress]:
        """Train for as long as the caller keeps asking; one Progress an optimizer step.

        Raises:
            GendiffError: a loss is not a finite number (the last saved state stays as it was).
        """
        while True:
            start = time.perf_counter()
            random = torch.Generator().manual_seed(self.recipe.seed * 1_000_003 + self.steps)
            indices = torch.randint(len(data), (self.recipe.batch,), generator=random)
            x, labels = data.batch(indices)
            warmed = min(1.0, (self.images - self.earlier + 1) / max(self.recipe.warmup, 1))
            for group in self._groups():
                group["lr"] = self.recipe.rate * warmed * self.recipe.cooled(self.images)
            x = x.to(self.device, memory_format=torch.channels_last)
            losses = self.training.step(x, labels.to(self.device), random, self.images)
            values = self.team.mean(losses)
            self.steps += 1
            self.seconds += time.perf_counter() - start
            if not all(math.isfinite(value) for value in values.values()):
                raise GendiffError(
                    f"{self.recipe.name}: a loss is no longer a number after {self.images:,} "
                    "images; the last saved state is intact: lower the learning rate and resume."
                )
            self._remember(values)
            yield Progress(self.steps, self.images, values, self.seconds)

    def save(self) -> None:
        """Write state.pt, whole or not at all.

        Raises:
            GendiffError: the disk is full or not writable.
        """
        state = {name: part.state_dict() for name, part in self.training.parts().items()}
        meta = {name: getattr(self, name) for name in _META}
        partial = self.folder / (STATE + ".partial")
        try:
            torch.save({"recipe": asdict(self.recipe), "parts": state, **meta}, partial)
            os.replace(partial, self.folder / STATE)
        except (OSError, RuntimeError) as error:  # torch reports a full disk as RuntimeError
            partial.unlink(missing_ok=True)
            raise GendiffError(
                f"The state cannot be written to {self.folder} ({error}); is the disk full?"
            ) from error

    def checkpoint(self, folder: Path | None = None, **training: Any) -> Card:
        """Write the averaged weights as a checkpoint (by default into checkpoint/)."""
        hours = round(self.seconds / 3600, 3)
        if self.recipe.family == "diffusion" and self.recipe.guidance != 1:
            training = {"guidance_built_in": self.recipe.guidance, **training}
        card = blank_card(self.recipe, images=self.images, hours=hours, **training)
        nets = self.training.trained()
        sizes = {
            name: sum(p.numel() for p in net.parameters()) for name, net in build(card).items()
        }
        return save(nets, replace(card, parameters=sizes), folder or self.folder / "checkpoint")

    def model(self) -> Model:
        """The averaged weights as a model; it shares them with the run."""
        nets = build(blank_card(self.recipe))
        for name, net in nets.items():
            net.load_state_dict(self.training.trained()[name])
            net.requires_grad_(False).eval().to(self.device, memory_format=torch.channels_last)
        return assemble(blank_card(self.recipe), nets)

    def reached(self) -> int | None:
        """The milestone that the last step passed, if it passed one."""
        before = self.images - self.recipe.batch
        return next((m for m in MILESTONES if before < m <= self.images), None)

    def sheet(self, seeds: range = range(16)) -> np.ndarray:
        """What the run can do now: one picture a seed, classes in turn, tiled (H, W, C) uint8."""
        model = self.model()
        options = {} if self.recipe.family == "gan" else {"sampler": "dpmpp_2m", "steps": 20}
        labels = [seed % model.classes for seed in seeds]
        return tile(to_uint8(model.sample(seeds, labels=labels, **options)))

    def _groups(self) -> Iterator[dict[str, Any]]:
        for part in self.training.parts().values():
            if isinstance(part, torch.optim.Optimizer):
                yield from part.param_groups

    def _remember(self, values: Mapping[str, float], every: int = 2_000) -> None:
        """The mean losses of each 2,000 images, for the learning curves."""
        bucket = self.images // every * every
        if not self.history or self.history[-1]["images"] != bucket:
            self.history.append({"images": bucket, "steps": 0, **dict.fromkeys(values, 0.0)})
        entry = self.history[-1]
        entry["steps"] += 1
        for name, value in values.items():
            entry[name] += (value - entry[name]) / entry["steps"]

    def _resume(self) -> None:
        try:
            state = torch.load(self.folder / STATE, map_location=self.device, weights_only=True)
            theirs = state["recipe"]
        except (
            *(OSError, RuntimeError, ValueError, EOFError),
            *(pickle.UnpicklingError, LookupError, TypeError),
        ) as error:
            raise GendiffError(
                f"{self.folder / STATE} cannot be read; delete it to start again."
            ) from error
        mine = asdict(self.recipe)
        changed = [key for key in theirs if mine.get(key) != theirs[key] and key != "images"]
        if changed:
            raise GendiffError(
                f"{self.folder} holds a run with another recipe ({', '.join(changed)} differ); "
                "choose another folder."
            )
        for name, part in self.training.parts().items():
            part.load_state_dict(state["parts"][name])
        for name in _META:
            setattr(self, name, state[name])

    def _start(self, where: str | Path) -> None:
        model = load(where, self.device.type, "float32")
        if (model.card.name, dict(model.card.net)) != (self.recipe.name, dict(self.recipe.net)):
            raise GendiffError(
                f"{where} holds other networks than the recipe {self.recipe.name}; leave it out."
            )
        self.training.start(model)
        self.earlier = int(model.card.training.get("images", 0))
        self.seconds = 3600 * float(model.card.training.get("hours", 0.0))
