"""Published GANs in formats of their own: what their tensors say about the networks.

They come as pickles, which can hold programs. torch.load(weights_only=True) builds tensors and
plain containers, and stops at anything else.
"""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from gendiff.errors import GendiffError
from gendiff.nets.simple_cnn import (
    FiveLayers,
    SimpleConfig,
    SimpleDiscriminator,
    SimpleGenerator,
)

State = Mapping[str, Tensor]


@dataclass(frozen=True)
class Pair:
    """Networks on the "meta" device, and the tensors that they are to hold, by part.

    note: why there is no discriminator, "" where there is one.
    """

    config: SimpleConfig
    nets: dict[str, nn.Module]
    tensors: dict[str, State]
    note: str = ""


def unpickled(path: Path) -> Any:
    """What torch.save wrote; GendiffError if it is no such file, or holds more than tensors."""
    try:
        return torch.load(path, map_location="cpu", weights_only=True, mmap=_zipped(path))
    except pickle.UnpicklingError as error:
        raise GendiffError(
            f"{path.name} is a pickle that holds more than tensors; it could run a program here, "
            "so it is refused. Choose a model in safetensors."
        ) from error
    except (RuntimeError, ValueError, EOFError, OSError, KeyError, AttributeError) as error:
        reason = (str(error).splitlines() or [""])[0][:120]
        raise GendiffError(f"{path.name} is no file of PyTorch's ({reason}).") from error


def _zipped(path: Path) -> bool:
    """Whether it is the format since torch 1.6, the only one that can be mapped into memory."""
    with path.open("rb") as file:
        return file.read(2) == b"PK"


def simple(saved: Any, folder: str) -> Pair:
    """`model.pt` of gans-pytorch: {"G": state dict, "D": state dict}, by the folder's name.

    D's verdict is a probability only where it was trained with Goodfellow's loss.
    """
    generator, discriminator = _states(saved, "G"), _states(saved, "D")
    config = _simple_config(generator)
    with torch.device("meta"):
        nets: dict[str, nn.Module] = {"generator": SimpleGenerator(config)}
        tensors = {"generator": generator}
        note = _no_verdict(folder, discriminator)
        if not note:
            nets["discriminator"] = _discriminator(discriminator, config)
            tensors["discriminator"] = discriminator
    return Pair(config, nets, tensors, note)


def five_layers(saved: Any) -> Pair:
    """`pytorch_model.bin` of huggan/dcgan-*: the generator's state dict alone."""
    convs = [_tensor(saved, f"model.{index}.weight", 4) for index in (0, 3, 6, 9, 12)]
    widths = tuple(conv.shape[1] for conv in convs)
    config = SimpleConfig(convs[0].shape[0], widths[:-1], _channels(widths[-1]))
    with torch.device("meta"):
        nets: dict[str, nn.Module] = {"generator": FiveLayers(config)}
    return Pair(config, nets, {"generator": saved}, "Only its generator was published.")


def _simple_config(generator: State) -> SimpleConfig:
    first = _tensor(generator, "first_conv.weight", 4)
    widths = [first.shape[1]]
    while f"layers.{len(widths) - 1}.2.weight" in generator:
        widths.append(_tensor(generator, f"layers.{len(widths) - 1}.2.weight", 4).shape[1])
    channels = _channels(_tensor(generator, "last_conv.2.weight", 4).shape[1])
    if not 1 <= len(widths) <= 7:
        raise _foreign()
    by_class = generator.get("last_conv.0.weights.weight")
    if by_class is not None:
        return SimpleConfig(first.shape[0], tuple(widths), channels, len(by_class), "norm")
    latent = 100  # all of these models have it; a class by one-hot vector makes the input longer
    classes = first.shape[0] - latent
    if classes < 0:
        raise _foreign()
    return SimpleConfig(latent, tuple(widths), channels, classes, "one_hot" if classes else "none")


def _no_verdict(folder: str, discriminator: State) -> str:
    kind = folder.split("/")[-1].rsplit("_", 1)[0]
    if any("parametrizations" in key or key.endswith("_orig") for key in discriminator):
        return "Its discriminator has spectral norm in a form that is not read here."
    if kind not in _GOODFELLOW:
        return "Its discriminator gives scores, not probabilities."
    return ""


_GOODFELLOW = ("gan", "dcgan", "gan_r1reg", "cgan", "cgan_cbn", "acgan")


def _discriminator(state: State, config: SimpleConfig) -> nn.Module:
    first = _tensor(state, "first_conv.weight", 4)
    widths, heads = [first.shape[0]], 0
    while f"layers.{len(widths) - 1}.2.weight" in state:
        widths.append(_tensor(state, f"layers.{len(widths) - 1}.2.weight", 4).shape[0])
    if "cls_head.weight" in state:
        heads = _tensor(state, "cls_head.weight", 4).shape[0]
    classes = first.shape[1] - config.channels
    if classes not in (0, config.classes):
        raise _foreign()
    return SimpleDiscriminator(config.channels, widths, classes, heads)


def _states(saved: Any, part: str) -> State:
    state = saved.get(part) if isinstance(saved, Mapping) else None
    if not isinstance(state, Mapping):
        raise _foreign()
    return state


def _tensor(state: Any, key: str, dimensions: int) -> Tensor:
    tensor = state.get(key) if isinstance(state, Mapping) else None
    if not isinstance(tensor, Tensor) or tensor.dim() != dimensions:
        raise _foreign()
    return tensor


def _channels(count: int) -> int:
    if count not in (1, 3):
        raise _foreign()
    return count


def _foreign() -> GendiffError:
    return GendiffError(
        "These weights belong to another architecture than the ones known here; choose another "
        "model."
    )
