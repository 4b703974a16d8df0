"""Training: loops as generators, averaged weights, runs that survive a kill.

The caller logs, previews, saves and decides when to stop. All randomness of step n comes from a
generator seeded with (recipe.seed, n), so a resumed run is the run that was never interrupted.
"""

from __future__ import annotations

import copy
import math
import os
import pickle
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from gendiff import schedule
from gendiff.data import SOURCES, DataSet
from gendiff.denoise import Denoiser
from gendiff.diffusion import Diffusion
from gendiff.errors import GendiffError
from gendiff.gan import LOSSES, Gan, gradient_penalty, r1_penalty
from gendiff.images import tile, to_uint8
from gendiff.nets.dcgan import Discriminator
from gendiff.nets.unet import SpaceToDepth
from gendiff.recipes import Recipe
from gendiff.weights import Card, Model, assemble, build, load, save

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


class Ema:
    """A shadow of a network whose weights are the running average of its weights.

    The half-life grows with the run (to at most `half_life` images), so that the first weights are
    soon forgotten; Karras et al. (2022), arXiv:2206.00364, appendix F.2. Buffers are copied.
    """

    def __init__(self, net: nn.Module, half_life: int) -> None:
        self.net = copy.deepcopy(net).requires_grad_(False).eval()
        self.half_life = half_life

    @torch.no_grad()
    def update(self, net: nn.Module, batch: int, images: int) -> None:
        """Move towards `net`, which has just seen `batch` of its `images` so far."""
        decay = 0.5 ** (batch / max(min(self.half_life, 0.05 * images), 1e-8))
        torch._foreach_lerp_(list(self.net.parameters()), list(net.parameters()), 1 - decay)
        for own, new in zip(self.net.buffers(), net.buffers(), strict=True):
            own.copy_(new)


class Training(Protocol):
    """One family's way to learn from a batch."""

    def parts(self) -> dict[str, Any]:
        """Everything with a state_dict that a resumed run needs."""

    def step(
        self, x: Tensor, labels: Tensor, random: torch.Generator, images: int
    ) -> dict[str, Tensor]:
        """One optimizer step; the losses as 0-d tensors."""

    def trained(self) -> dict[str, Mapping[str, Tensor]]:
        """The state dicts that a checkpoint holds."""

    def start(self, model: Any) -> None:
        """Take over a trained model's weights."""


class DiffusionTraining:
    """Denoising score matching: Ho et al. (2020), Algorithm 1, with label dropout for guidance."""

    def __init__(self, recipe: Recipe, device: torch.device) -> None:
        self.recipe = recipe
        options = dict(recipe.schedule)
        levels = schedule.named(options.pop("name"), **options)
        self.net = build(blank_card(recipe))["net"].to(device, memory_format=torch.channels_last)
        self.denoiser = Denoiser(
            SpaceToDepth(self.net, recipe.space_to_depth), levels, recipe.target
        )
        self.ema = Ema(self.net, recipe.ema)
        self.optimizer = torch.optim.Adam(
            self.net.parameters(), recipe.rate, recipe.betas, fused=True
        )

    def parts(self) -> dict[str, Any]:
        return {"net": self.net, "ema": self.ema.net, "optimizer": self.optimizer}

    def step(
        self, x: Tensor, labels: Tensor, random: torch.Generator, images: int
    ) -> dict[str, Tensor]:
        count, T = len(x), self.denoiser.schedule.T
        # One t from each of `count` equal slices of 1..T: less variance than independent ones
        # (Kingma et al. 2021, arXiv:2107.00630, appendix I.1).
        u = (torch.rand(1, generator=random) + torch.arange(count) / count) % 1
        t = (u[torch.randperm(count, generator=random)] * T).long().clamp(max=T - 1) + 1
        eps = torch.randn(x.shape, generator=random)
        dropped = torch.rand(count, generator=random) < self.recipe.drop_label
        no_label = len(SOURCES[self.recipe.data].classes)
        labels = labels.masked_fill(dropped.to(labels.device), no_label)
        loss = self.denoiser.loss(
            x, t.to(x.device), eps.to(x.device), labels, self.recipe.snr_cap
        ).mean()
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        # A rare bad batch must not undo an hour: the usual bound of DDPM code bases.
        nn.utils.clip_grad_norm_(self.net.parameters(), 1.0)
        self.optimizer.step()
        self.ema.update(self.net, count, images + count)
        return {"loss": loss.detach()}

    def trained(self) -> dict[str, Mapping[str, Tensor]]:
        return {"net": self.ema.net.state_dict()}

    def start(self, model: Diffusion) -> None:
        for net in (self.net, self.ema.net):
            net.load_state_dict(model.denoiser.net.net.state_dict())


class GanTraining:
    """Alternating steps of discriminator and generator; Goodfellow et al. (2014), Algorithm 1."""

    def __init__(self, recipe: Recipe, device: torch.device) -> None:
        if recipe.loss not in LOSSES:
            raise GendiffError(
                f"There is no loss {recipe.loss!r}; choose one of {', '.join(LOSSES)}."
            )
        self.recipe, self.loss = recipe, LOSSES[recipe.loss]
        card = blank_card(recipe)
        self.generator = build(card)["generator"].to(device, memory_format=torch.channels_last)
        config = self.generator.config
        if config.logits != self.loss.logits:
            raise GendiffError(
                f"The loss {recipe.loss!r} needs a network with logits = {self.loss.logits}; "
                f"{recipe.name} has {config.logits}."
            )
        self.discriminator = Discriminator(config, spectral=True)
        self.discriminator.to(device, memory_format=torch.channels_last)
        self.ema = Ema(self.generator, recipe.ema)
        self.g_optimizer, self.d_optimizer = (
            torch.optim.Adam(net.parameters(), recipe.rate, recipe.betas, fused=True)
            for net in (self.generator, self.discriminator)
        )

    def parts(self) -> dict[str, Any]:
        return {
            "generator": self.generator,
            "discriminator": self.discriminator,
            "ema": self.ema.net,
            "g_optimizer": self.g_optimizer,
            "d_optimizer": self.d_optimizer,
        }

    def step(
        self, x: Tensor, labels: Tensor, random: torch.Generator, images: int
    ) -> dict[str, Tensor]:
        def latents() -> Tensor:
            return torch.randn(len(x), self.generator.config.latent, generator=random).to(x.device)

        for _ in range(self.recipe.critic_steps):
            with torch.no_grad():
                fake = self.generator(latents(), labels)
            d_loss = self._discriminator_step(x, fake, labels, random)
        self.discriminator.requires_grad_(False)
        g_loss = self.loss.generator(self.discriminator(self.generator(latents(), labels), labels))
        self.g_optimizer.zero_grad(set_to_none=True)
        g_loss.backward()
        self.g_optimizer.step()
        self.discriminator.requires_grad_(True)
        self.ema.update(self.generator, len(x), images + len(x))
        return {"d_loss": d_loss, "g_loss": g_loss.detach()}

    def _discriminator_step(
        self, real: Tensor, fake: Tensor, labels: Tensor, random: torch.Generator
    ) -> Tensor:
        both = self.discriminator(torch.cat([real, fake]), torch.cat([labels, labels]))
        loss = shown = self.loss.discriminator(*both.chunk(2))
        if self.loss.penalty:
            mix = torch.rand(len(real), generator=random).to(real.device)
            loss = loss + self.loss.penalty * gradient_penalty(
                self.discriminator, real, fake, labels, mix
            )
        if self.recipe.r1:
            loss = loss + self.recipe.r1 * r1_penalty(self.discriminator, real, labels)
        self.d_optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.d_optimizer.step()
        return shown.detach()

    def trained(self) -> dict[str, Mapping[str, Tensor]]:
        return {
            "generator": self.ema.net.state_dict(),
            "discriminator": plain_state(self.discriminator),
        }

    def start(self, model: Gan) -> None:
        for net in (self.generator, self.ema.net):
            net.load_state_dict(model.generator.state_dict())
        theirs = model.discriminator.state_dict()
        mine = self.discriminator.state_dict()
        for name, tensor in mine.items():
            # A saved weight is the normalized one; as the original its norm is 1 and stays so.
            saved = name.replace(".parametrizations.weight.original", ".weight")
            mine[name] = theirs.get(saved, tensor)
        self.discriminator.load_state_dict(mine)
        config, where = self.discriminator.config, next(self.discriminator.parameters()).device
        blank = torch.zeros(1, config.channels, config.size, config.size, device=where)
        labels = torch.zeros(1, dtype=torch.long, device=where) if config.classes else None
        with torch.no_grad():
            for _ in range(15):  # a call is one power iteration; torch begins with 15, too
                self.discriminator(blank, labels)


def plain_state(net: nn.Module) -> dict[str, Tensor]:
    """A state dict with spectral norm already applied to the weights; `net` stays as it is."""
    training = net.training
    net.eval()  # in training mode, reading a normalized weight would turn its power iteration on
    state = {
        name: tensor
        for name, tensor in net.state_dict().items()
        if ".parametrizations." not in f".{name}"
    }
    for name, module in net.named_modules():
        if parametrize.is_parametrized(module):
            state[f"{name}.weight"] = module.weight.detach()
    net.train(training)
    return state


FAMILIES: Mapping[str, type[DiffusionTraining] | type[GanTraining]] = {
    "diffusion": DiffusionTraining,
    "gan": GanTraining,
}


def blank_card(recipe: Recipe, **training: Any) -> Card:
    """The card of a recipe's checkpoint, with what is known about the run."""
    source = SOURCES[recipe.data]
    diffusion = recipe.family == "diffusion"
    family = "diffusion" if diffusion else "GAN"
    return Card(
        name=recipe.name,
        title=f"{source.title}, {family}",
        family=recipe.family,
        data=recipe.data,
        shape=source.shape,
        classes=source.classes,
        net=dict(recipe.net),
        parameters={},
        licence=source.licence,
        credit=source.credit,
        schedule=dict(recipe.schedule) if diffusion else None,
        target=recipe.target if diffusion else None,
        space_to_depth=recipe.space_to_depth if diffusion else 1,
        training=training,
    )


class Run:
    """A training run in a folder: state.pt to go on from, checkpoint/ to use.

    Args:
        recipe: what to train.
        folder: where; created. A state found there is continued.
        device: where to compute.
        start: a checkpoint of this recipe to start from, if the folder holds no state: its
            averaged weights with a new optimizer, its images and hours counted on.

    Raises:
        GendiffError: the folder holds another recipe's state, or a file that cannot be read.
    """

    def __init__(
        self, recipe: Recipe, folder: Path, device: torch.device, start: str | Path | None = None
    ) -> None:
        self.recipe, self.folder, self.device = recipe, folder, device
        with torch.random.fork_rng(devices=[]):  # torch draws the initial weights globally
            torch.manual_seed(recipe.seed)
            self.training: Training = FAMILIES[recipe.family](recipe, device)
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
            for group in self._groups():
                group["lr"] = self.recipe.rate * min(
                    1.0, (self.images - self.earlier + 1) / max(self.recipe.warmup, 1)
                )
            x = x.to(self.device, memory_format=torch.channels_last)
            losses = self.training.step(x, labels.to(self.device), random, self.images)
            values = {name: float(loss) for name, loss in losses.items()}
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
