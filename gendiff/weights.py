"""A checkpoint is a folder: config.json + model.safetensors, the same locally and on the Hub.

config.json holds the card verbatim; unknown keys are an error, and so is a file whose hash is not
the card's. Weights are stored in float16 (half the size; the loss against float32 is far below a
grey level) and loaded in what suits the device.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor, nn

from gendiff import hub
from gendiff.assembly import Model, assemble, build
from gendiff.cards import CONFIG, FEATURES, Card
from gendiff.device import pick_device, pick_dtype
from gendiff.errors import GendiffError
from gendiff.hub import formats
from gendiff.hub.tensors import assign, mapped
from gendiff.readme import README, text

BUNDLED = Path(__file__).resolve().parent.parent / "checkpoints"
WEIGHTS = "model.safetensors"


def models(folder: Path = BUNDLED) -> list[Card]:
    """The bundled checkpoints that make pictures, cheapest first."""
    cards = [Card.read(path.parent) for path in sorted(folder.glob(f"*/{CONFIG}"))]
    return sorted((card for card in cards if card.family != FEATURES), key=lambda card: card.cost)


def load(
    where: str | os.PathLike[str], device: str | None = None, dtype: str | None = None
) -> Model:
    """A trained model, ready to sample.

    Args:
        where: the name of a bundled checkpoint, a folder (of ours or of diffusers), or a model
            on the Hub, owner/name[/folder][@revision]: from the cache, else it is fetched.
        device: "cpu", "cuda" or None for the best there is.
        dtype: "float32", "bfloat16", or None for what is fast and good on the device.

    Raises:
        GendiffError: no such checkpoint; a file that is missing, truncated, altered or does not
            fit its configuration; a device or dtype that is not there; for the Hub, see
            `gendiff.hub.look` and `gendiff.hub.fetch`.
    """
    target, precision = pick_device(device), pick_dtype(device, dtype)
    note = _note(where)
    if note is not None:
        return load_note(note, device, dtype)
    folder = find(where)
    form = formats.local(folder)
    if form is not None and form.kind != "own":
        name = folder.resolve().name
        facts = formats.Facts(name, name, name, "unknown")
        return formats.opened(folder, form, facts, target, precision)
    return _own_model(folder, Card.read(folder), target, precision)


def weights_file(where: str | os.PathLike[str]) -> Path:
    """The file that `load` takes the weights from; raises as `load` where there is none."""
    note = _note(where)
    if note is not None:
        return note.folder / note.form.weights
    folder = find(where)
    form = formats.local(folder)
    return folder / (WEIGHTS if form is None else form.weights)


def load_note(note: hub.Note, device: str | None = None, dtype: str | None = None) -> Model:
    """A model that has been fetched from the Hub; otherwise as `load`."""
    target, precision = pick_device(device), pick_dtype(device, dtype)
    note.intact()
    if note.form.kind != "own":
        return formats.opened(note.folder, note.form, note.facts, target, precision)
    card, name = Card.read(note.folder), note.facts.name
    card = replace(card, name=name, title=f"{card.title} ({name})")  # the bundled one may be here
    return _own_model(note.folder, card, target, precision)


def pull(
    text: str,
    settings: hub.Settings | None = None,
    cancelled: Callable[[], bool] = lambda: False,
) -> Iterator[hub.Offer | hub.Progress | hub.Note]:
    """Fetch a model from the Hub: what it is; how far it is, again and again; at last its note.

    Whoever takes no more than the offer has fetched nothing. The note comes once the model has
    been loaded; of one that cannot be, nothing is kept.

    Raises:
        GendiffError: what `gendiff.hub.look` and `gendiff.hub.fetch` raise; weights that are not
            those of the configuration.
    """
    settings = settings or hub.Settings.here()
    until = hub.deadline()  # one for what is asked and for the first byte
    offer = hub.look(text, settings, until)
    yield offer
    yield from hub.fetch(offer, settings, cancelled, until)
    note = offer.note or hub.find(offer.exactly, settings)
    try:
        model = load_note(note, "cpu", "float32")
    except GendiffError:
        hub.forget(offer.name.id, settings)
        raise
    note = replace(note, card=model.card)
    hub.keep(note, settings)
    yield note


def _note(where: str | os.PathLike[str]) -> hub.Note | None:
    """A model on the Hub, fetched if it is not here; None if `where` means something else."""
    if not isinstance(where, str) or not hub.looks_like_one(where) or Path(where).is_dir():
        return None
    settings = hub.Settings.here()
    note = hub.find(hub.Name.parse(where), settings)
    if note is None:
        try:
            *_, note = pull(where, settings)
        except GendiffError as error:
            raise GendiffError(f"{_instead(where, settings)} {error}") from error
    return note


def _instead(where: str, settings: hub.Settings) -> str:
    """That it is not here, and which commit of it is."""
    here = hub.find(replace(hub.Name.parse(where), revision=None), settings)
    if here is None:
        return f"There is no checkpoint {where!r} here."
    return f"There is no {where!r} here, only {here.facts.name}@{here.facts.sha}."


def _own_model(folder: Path, card: Card, target: torch.device, precision: torch.dtype) -> Model:
    """A checkpoint in the format of `save` that makes pictures."""
    if card.family == FEATURES:
        raise GendiffError(f"{card.name} reads pictures and makes none; load another checkpoint.")
    return assemble(card, _own_nets(folder, card, target, precision))


def load_nets(
    where: str | os.PathLike[str], device: str | None = None, dtype: str | None = None
) -> tuple[Card, dict[str, nn.Module]]:
    """The card and the networks of a checkpoint on this machine, in the format of `save`."""
    target, precision = pick_device(device), pick_dtype(device, dtype)
    folder = find(where)
    card = Card.read(folder)
    return card, _own_nets(folder, card, target, precision)


def _own_nets(
    folder: Path, card: Card, target: torch.device, precision: torch.dtype
) -> dict[str, nn.Module]:
    tensors = _read(folder / WEIGHTS, card)
    with torch.device("meta"):  # without storage: the weights bring their own
        nets = build(card)
    _check(nets, tensors, card.name)
    for part, net in nets.items():
        assign(net, _own(tensors, part), target, precision)
    return nets


def save(nets: Mapping[str, Mapping[str, Tensor]], card: Card, folder: Path) -> Card:
    """Write a checkpoint: {part: state dict}, model card, and the card with its sha256.

    Atomic per file: what was there before stays until the new file is whole.

    Raises:
        GendiffError: a weight that float16 cannot hold; the disk is full or not writable.
    """
    tensors = {
        f"{part}.{name}": (t.half() if t.is_floating_point() else t).detach().cpu().contiguous()
        for part, state in nets.items()
        for name, t in state.items()
    }
    beyond = [name for name, t in tensors.items() if not bool(t.isfinite().all())]
    if beyond:
        raise GendiffError(
            f"{card.name} cannot be saved: {beyond[0]} holds numbers beyond float16's range; "
            "has the training diverged?"
        )
    partial = {name: folder / f"{name}.partial" for name in (WEIGHTS, README, CONFIG)}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        save_file(tensors, partial[WEIGHTS], metadata={"format": "pt"})
        card = replace(card, sha256=_sha256(partial[WEIGHTS]))
        values = json.dumps(asdict(card), indent=2, ensure_ascii=False) + "\n"
        partial[CONFIG].write_text(values, encoding="utf-8")
        partial[README].write_text(text(card), encoding="utf-8")
        for name, path in partial.items():
            os.replace(path, folder / name)
    except (OSError, SafetensorError) as error:
        for path in partial.values():
            with suppress(OSError):
                path.unlink()
        raise GendiffError(
            f"The checkpoint cannot be written to {folder} ({error}); is the disk full?"
        ) from error
    return card


def find(where: str | os.PathLike[str]) -> Path:
    """The folder of a bundled checkpoint, or the folder itself."""
    try:
        folder = BUNDLED / where if (BUNDLED / where / CONFIG).is_file() else Path(where)
        if folder.is_dir():
            return folder
    except (OSError, ValueError):  # too long for a name, or has a null byte
        pass
    names = sorted(path.parent.name for path in BUNDLED.glob(f"*/{CONFIG}"))
    raise GendiffError(
        f"There is no checkpoint {str(where)[:60]!r}; bundled are: {', '.join(names) or 'none'}."
    )


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _read(path: Path, card: Card) -> dict[str, Tensor]:
    if not path.is_file():
        raise GendiffError(f"{card.name}: {path.name} is missing; get the checkpoint again.")
    if card.sha256 and _sha256(path) != card.sha256:
        raise GendiffError(
            f"{card.name}: {path.name} is truncated or altered (its sha256 is not the one in "
            f"{CONFIG}); get the checkpoint again."
        )
    try:
        return mapped(path)
    except (SafetensorError, OSError) as error:
        raise GendiffError(
            f"{card.name}: {path.name} is no valid safetensors file ({error})."
        ) from error


def _own(tensors: Mapping[str, Tensor], part: str) -> dict[str, Tensor]:
    """The tensors of one network, under its own names."""
    start = f"{part}."
    return {name[len(start) :]: t for name, t in tensors.items() if name.startswith(start)}


def _check(nets: Mapping[str, nn.Module], tensors: Mapping[str, Tensor], name: str) -> None:
    """Every weight is there, in its shape, and nothing else; the first differences are named."""
    expected = {
        f"{part}.{key}": tensor.shape
        for part, net in nets.items()
        for key, tensor in net.state_dict().items()
    }
    missing = sorted(expected.keys() - tensors.keys())
    extra = sorted(tensors.keys() - expected.keys())
    both = sorted(expected.keys() & tensors.keys())
    wrong = [key for key in both if expected[key] != tensors[key].shape]
    faults = {"lacks": missing, "has unknown": extra, "has wrong shapes for": wrong}
    for what, keys in faults.items():
        if keys:
            raise GendiffError(
                f"{name}: the weights do not fit the configuration: the file {what} {len(keys)} "
                f"tensors ({', '.join(keys[:3])}); get the checkpoint again."
            )
