"""Which format a folder or a repository has, and models out of it, exactly as published.

own      config.json, model.safetensors: a checkpoint of ours; `gendiff.weights` reads it
unet     diffusers' UNet2DModel and scheduler, see unets.py
simple   ckpt/best/model.pt, see gans.py
five     pytorch_model.bin and no configuration, see gans.py

No code from a repository is ever run, or even fetched.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from gendiff.cards import FEATURES, Card
from gendiff.denoise import Denoiser
from gendiff.diffusion import Diffusion
from gendiff.errors import GendiffError
from gendiff.gan import Gan
from gendiff.hub import gans, unets
from gendiff.hub.tensors import assign, mapped
from gendiff.nets.unet import SpaceToDepth, UNet

OWN = ("config.json", "model.safetensors")
_UNET = "diffusion_pytorch_model"
_BEST, _BIN = "ckpt/best/model.pt", "pytorch_model.bin"
_CODE = (".pkl", ".pickle", ".h5", ".keras", ".msgpack", ".ckpt")


@dataclass(frozen=True)
class Format:
    """kind: see the module. small: files that describe it, weights: the one that is large."""

    kind: str
    small: tuple[str, ...]
    weights: str

    @property
    def files(self) -> tuple[str, ...]:
        return (*self.small, self.weights)


@dataclass(frozen=True)
class Facts:
    """What a card says that no file of the format does."""

    name: str
    title: str
    data: str
    licence: str
    credit: str = ""
    classes: tuple[str, ...] = ()
    sha: str = ""


def recognise(files: Collection[str], name: str = "") -> Format | None:
    """The format of a folder with these files (paths inside it), or None."""
    if set(OWN) <= set(files):
        return Format("own", OWN[:1], OWN[1])
    for base in ("unet/", ""):
        weights = [f"{base}{_UNET}.safetensors", f"{base}{_UNET}.bin"]
        found = next((path for path in weights if path in files), None)
        if found and f"{base}config.json" in files:
            scheduler = [f"scheduler/{unets.SCHEDULER}", unets.SCHEDULER]
            small = [f"{base}config.json", *(path for path in scheduler if path in files)]
            return Format("unet", tuple(small[:2]), found)
    if _BEST in files:
        return Format("simple", (), _BEST)
    if _BIN in files and not {"config.json", "discriminator.bin"} & set(files):
        return Format("five", (), _BIN)
    return None


def refusal(files: Collection[str], name: str) -> GendiffError:
    """Why a folder of no known format is refused, as precisely as its files tell."""
    inside = sorted({path.split("/")[0] for path in files if path.endswith(_BEST)})
    if inside:
        return GendiffError(f"{name} holds several models; add one: {name}/{', '.join(inside)}.")
    if any(path.endswith(f"{_UNET}.safetensors.index.json") for path in files):
        return GendiffError(f"{name} has its weights in several files, which is not read here.")
    code = sorted(path for path in files if path.endswith(_CODE))
    if code:
        return GendiffError(
            f"{name} has only {code[0]}, which cannot be read without running what is in it; "
            "choose a model in safetensors."
        )
    return GendiffError(
        f"{name} is in no format that is known here (UNet2DModel, gendiff, two kinds of GAN); "
        "choose another model."
    )


def local(folder: Path) -> Format | None:
    """The format of a folder on this machine."""
    known = [*OWN, _BEST, _BIN, unets.SCHEDULER, f"scheduler/{unets.SCHEDULER}"]
    for base in ("unet/", ""):
        known += [base + name for name in ("config.json", f"{_UNET}.safetensors", f"{_UNET}.bin")]
    return recognise([path for path in known if (folder / path).is_file()])


def check(folder: Path, form: Format) -> None:
    """Refuse what the small files alone show to be unusable, before the weights are fetched."""
    if form.kind == "own":
        try:
            reads = Card.read(folder).family == FEATURES
        except GendiffError as error:  # many other programs use these names, too
            raise GendiffError(
                f"Its {OWN[0]} describes no model of a kind that is known here; choose another."
            ) from error
        if reads:
            raise GendiffError("This model reads pictures and makes none; choose another.")
    elif form.kind == "unet":
        config = unets.network(folder / form.small[0])
        unets.noising(folder / form.small[1] if form.small[1:] else None)
        unets.shape(config)
        _on_meta(config)


def opened(
    folder: Path, form: Format, facts: Facts, device: torch.device, dtype: torch.dtype
) -> Gan | Diffusion:
    """The model of a folder in a foreign format.

    Raises:
        GendiffError: anything about it that is not understood, or does not fit together.
    """
    if form.kind == "unet":
        return _diffusion(folder, form, facts, device, dtype)
    saved = gans.unpickled(folder / form.weights)
    read = gans.five_layers(saved) if form.kind == "five" else gans.simple(saved, facts.name)
    for part, net in read.nets.items():
        _fill(net, read.tensors[part], facts.name, device, dtype)
    config = read.config
    side = 2 ** (len(config.widths) + 2)
    card = _card(
        facts, "gan", (config.channels, side, side), config.classes, read.nets, vars(config)
    )
    return Gan(card, read.nets["generator"], read.nets.get("discriminator"), read.note)


def _diffusion(
    folder: Path, form: Format, facts: Facts, device: torch.device, dtype: torch.dtype
) -> Diffusion:
    config = unets.network(folder / form.small[0])
    noising = unets.noising(folder / form.small[1] if form.small[1:] else None)
    net = _on_meta(config)
    tensors = unets.rename_old_attention(_tensors(folder / form.weights))
    _fill(net, tensors, facts.name, device, dtype)
    card = _card(
        facts,
        "diffusion",
        unets.shape(config),
        config.num_class_embeds or 0,
        {"net": net},
        vars(config),
        schedule=noising.described,
        target=noising.target,
    )
    denoiser = Denoiser(
        SpaceToDepth(net, 1), noising.schedule, noising.target, noising.clip_x0, keep_eps=True
    )
    return Diffusion(card, denoiser, variance=noising.variance, no_label=False)


def _on_meta(config: Any) -> UNet:
    """The network without storage for its weights: they are the file's own, mapped into memory."""
    try:
        with torch.device("meta"):
            return UNet(config)
    except (TypeError, ValueError, RuntimeError, ArithmeticError) as error:
        raise GendiffError(
            f"The network's {unets.CONFIG} is not understood ({str(error)[:120]})."
        ) from error


def _tensors(path: Path) -> dict[str, Tensor]:
    if path.suffix != ".safetensors":
        saved = gans.unpickled(path)
        if not isinstance(saved, Mapping) or not all(
            isinstance(t, Tensor) for t in saved.values()
        ):
            raise GendiffError(f"{path.name} holds no plain list of weights.")
        return dict(saved)
    try:
        return mapped(path)
    except (SafetensorError, OSError) as error:
        raise GendiffError(f"{path.name} is no valid safetensors file ({error}).") from error


def _fill(
    net: nn.Module,
    tensors: Mapping[str, Tensor],
    name: str,
    device: torch.device,
    dtype: torch.dtype,
) -> None:
    """Give a network its weights, all of them and nothing else; they are not copied."""
    expected = net.state_dict()
    tensors = dict(tensors)
    for key in expected.keys() - tensors.keys():
        if key.endswith("num_batches_tracked"):  # counts training steps; older files lack it
            tensors[key] = torch.zeros((), dtype=torch.long)
    wrong = sorted(expected.keys() ^ tensors.keys()) or sorted(
        key for key, tensor in expected.items() if tensor.shape != tensors[key].shape
    )
    if wrong:
        raise GendiffError(
            f"The weights of {name} are of another architecture than their configuration: "
            f"{len(wrong)} tensors do not fit ({', '.join(wrong[:3])})."
        )
    assign(net, tensors, device, dtype)


def _card(
    facts: Facts,
    family: str,
    shape: tuple[int, int, int],
    classes: int,
    nets: Mapping[str, nn.Module],
    config: Mapping[str, Any],
    **more: Any,
) -> Card:
    names = facts.classes if len(facts.classes) == classes else tuple(map(str, range(classes)))
    return Card(
        name=facts.name,
        title=facts.title,
        family=family,
        data=facts.data,
        shape=shape,
        classes=names,
        net={key: list(v) if isinstance(v, tuple) else v for key, v in config.items()},
        parameters={
            part: sum(parameter.numel() for parameter in net.parameters())
            for part, net in nets.items()
        },
        licence=facts.licence,
        credit=facts.credit,
        training={"source": f"{facts.name}@{facts.sha}"} if facts.sha else {},
        **more,
    )
