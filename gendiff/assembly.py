"""From a card to its networks, untrained, and from networks to the model that people use.

This is the one place that maps a name in a checkpoint to a class.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import nn

from gendiff import schedule
from gendiff.cards import CONFIG, FEATURES, Card
from gendiff.denoise import Denoiser
from gendiff.diffusion import Diffusion
from gendiff.errors import GendiffError
from gendiff.gan import Gan
from gendiff.nets.dcgan import DcganConfig, Discriminator, Generator
from gendiff.nets.reader import Reader, ReaderConfig
from gendiff.nets.unet import SpaceToDepth, UNet
from gendiff.nets.unet_config import UNetConfig

Model = Gan | Diffusion


def build(card: Card) -> dict[str, nn.Module]:
    """The card's networks, untrained: {"generator", "discriminator"} or {"net"}.

    Raises:
        GendiffError: an unknown family, or a configuration that is not understood or does not make
            pictures of the card's shape and classes.
    """
    makers = {"gan": _gan, "diffusion": _unet, FEATURES: _reader}
    if card.family not in makers:
        raise GendiffError(
            f"{card.name}: there is no family {card.family!r}; it must be gan or diffusion."
        )
    try:
        nets, fits = makers[card.family](card)
    except (TypeError, ValueError, RuntimeError, ArithmeticError) as error:  # as torch likes it
        raise GendiffError(
            f"{card.name}: the network's configuration is not understood ({error})."
        ) from error
    if not fits:
        raise GendiffError(
            f"{card.name}: {CONFIG} contradicts itself: this network does not make pictures of "
            f"shape {card.shape} in {len(card.classes)} classes; get the checkpoint again."
        )
    return nets


def _gan(card: Card) -> tuple[dict[str, nn.Module], bool]:
    config = DcganConfig(**card.net)
    shape = (config.channels, config.size, config.size)
    fits = shape == card.shape and config.classes == len(card.classes)
    return {"generator": Generator(config), "discriminator": Discriminator(config)}, fits


def _unet(card: Card) -> tuple[dict[str, nn.Module], bool]:
    config = UNetConfig.from_dict(card.net)
    known = config.num_class_embeds or 0  # one more than the card's, where "no label" is trained
    fits = config.in_channels == card.shape[0] * card.space_to_depth**2
    fits = fits and bool(known) == bool(card.classes) and known >= len(card.classes)
    return {"net": UNet(config)}, fits


def _reader(card: Card) -> tuple[dict[str, nn.Module], bool]:
    config = ReaderConfig(**card.net)
    return {"net": Reader(config)}, (config.channels, config.size, config.size) == card.shape


def assemble(card: Card, nets: Mapping[str, nn.Module]) -> Model:
    """Networks -> the model that people use."""
    if card.family == "gan":
        return Gan(card, nets["generator"], nets["discriminator"])
    options = dict(card.schedule or {})
    net = SpaceToDepth(nets["net"], card.space_to_depth)
    try:
        levels = schedule.named(options.pop("name", ""), **options)
        return Diffusion(card, Denoiser(net, levels, card.target or "eps"))
    except GendiffError as error:
        raise GendiffError(
            f"{card.name}: its {CONFIG} is damaged; get the checkpoint again. {error}"
        ) from error
