"""How each family learns from a batch: its networks, optimizers, averaged weights and one step.

A step's randomness is an argument; the team (see `gendiff.team`) is one process unless told.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from gendiff import schedule
from gendiff.data import SOURCES
from gendiff.denoise import Denoiser, Unguided
from gendiff.diffusion import Diffusion
from gendiff.errors import GendiffError
from gendiff.gan import LOSSES, Gan, gradient_penalty, mode_seeking, r1_penalty
from gendiff.nets.dcgan import Discriminator
from gendiff.nets.unet import SpaceToDepth
from gendiff.recipes import Recipe
from gendiff.team import Team
from gendiff.weights import Card, build


@dataclass(frozen=True)
class Placement:
    """Where a step is computed: the device, the dtype of autocast (float32 is none), the team."""

    device: torch.device
    dtype: torch.dtype = torch.float32
    team: Team = Team()

    def autocast(self) -> torch.autocast:
        """Convolutions and matrix products in `dtype`, sums and norms in float32."""
        low = self.dtype != torch.float32
        return torch.autocast(self.device.type, self.dtype if low else torch.bfloat16, enabled=low)


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


class Learner(Protocol):
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


class DiffusionLearner:
    """Denoising score matching: Ho et al. (2020), Algorithm 1, with label dropout for guidance."""

    def __init__(self, recipe: Recipe, placement: Placement) -> None:
        self.recipe, self.placement, self.team = recipe, placement, placement.team
        device = placement.device
        options = dict(recipe.schedule)
        levels = schedule.named(options.pop("name"), **options)
        self.net = build(blank_card(recipe))["net"].to(device, memory_format=torch.channels_last)
        net = SpaceToDepth(self.net, recipe.space_to_depth)
        self.no_label = len(SOURCES[recipe.data].classes)
        if recipe.guidance != 1:
            net = Unguided(net, recipe.guidance, self.no_label)
        self.denoiser = Denoiser(net, levels, recipe.target)
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
        labels = labels.masked_fill(dropped.to(labels.device), self.no_label)
        x, t, eps, labels = self.team.share(x, t.to(x.device), eps.to(x.device), labels)
        with self.placement.autocast():
            bounds = self.recipe.snr_cap, self.recipe.snr_floor
            loss = self.denoiser.loss(x, t, eps, labels, *bounds).mean()
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.team.average_gradients(self.net)
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


R1_EVERY = 16  # steps; as often is enough (Karras et al. 2020, arXiv:1912.04958, section 3.1)


class GanLearner:
    """Alternating steps of discriminator and generator; Goodfellow et al. (2014), Algorithm 1."""

    def __init__(self, recipe: Recipe, placement: Placement) -> None:
        if recipe.loss not in LOSSES:
            raise GendiffError(
                f"There is no loss {recipe.loss!r}; choose one of {', '.join(LOSSES)}."
            )
        self.recipe, self.loss = recipe, LOSSES[recipe.loss]
        self.placement, self.team = placement, placement.team
        card, device = blank_card(recipe), placement.device
        self.generator = build(card)["generator"].to(device, memory_format=torch.channels_last)
        config = self.generator.config
        if config.logits != self.loss.logits:
            raise GendiffError(
                f"The loss {recipe.loss!r} needs a network with logits = {self.loss.logits}; "
                f"{recipe.name} has {config.logits}."
            )
        if config.norm == "batch" and (self.loss.penalty or recipe.r1):
            raise GendiffError(
                "A gradient penalty asks for one picture's slope, which batch norm mixes with the "
                'others\'; choose the norm "spectral" or "layer".'
            )
        if recipe.mode_seeking and recipe.batch % (2 * self.team.size):
            raise GendiffError(
                f"Mode seeking needs pairs of pictures; choose a batch that {2 * self.team.size} "
                f"divides, not {recipe.batch}."
            )
        self.discriminator = Discriminator(config, spectral=config.norm == "spectral")
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
        count, latent = len(x), self.generator.config.latent
        # For mode seeking, pairs of one class, so that only z tells the two apart.
        pairs = torch.arange(count, device=labels.device) // 2
        asked = labels[pairs] if self.recipe.mode_seeking else labels
        real, own, asked = self.team.share(x, labels, asked)

        for _ in range(self.recipe.critic_steps):
            (z,) = self.team.share(torch.randn(count, latent, generator=random).to(x.device))
            with self.placement.autocast():
                fake = self.generator(z, asked)
            fake = fake.float()
            mix = torch.rand(count, generator=random).to(x.device)
            both = [(real, own), (fake.detach(), asked)]
            d_loss = self._discriminator_step(both, *self.team.share(mix), images)
        self.discriminator.requires_grad_(False)
        with self.placement.autocast():
            verdict = self.discriminator(fake, asked)
        loss = g_loss = self.loss.generator(verdict.float())
        if self.recipe.mode_seeking:
            loss = loss + self.recipe.mode_seeking * mode_seeking(fake, z)
        self.g_optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.team.average_gradients(self.generator)
        self.g_optimizer.step()
        self.discriminator.requires_grad_(True)
        self.ema.update(self.generator, count, images + count)
        return {"d_loss": d_loss, "g_loss": g_loss.detach()}

    def _discriminator_step(
        self, both: list[tuple[Tensor, Tensor]], mix: Tensor, images: int
    ) -> Tensor:
        (real, labels), (fake, _) = both
        if self.discriminator.config.norm != "batch":  # which must not mix them
            both = [(torch.cat([real, fake]), torch.cat([one for _, one in both]))]
        with self.placement.autocast():
            logits = torch.cat([self.discriminator(*pictures) for pictures in both])
        loss = shown = self.loss.discriminator(*logits.float().chunk(2))
        # The penalties differentiate twice: in float32, where small slopes are still slopes.
        if self.loss.penalty:
            loss = loss + self.loss.penalty * gradient_penalty(
                self.discriminator, real, fake, labels, mix
            )
        if self.recipe.r1 and images // self.recipe.batch % R1_EVERY == 0:
            slope = r1_penalty(self.discriminator, real, labels)
            loss = loss + R1_EVERY * self.recipe.r1 * slope
        self.d_optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.team.average_gradients(self.discriminator)
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


FAMILIES: Mapping[str, type[DiffusionLearner] | type[GanLearner]] = {
    "diffusion": DiffusionLearner,
    "gan": GanLearner,
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
