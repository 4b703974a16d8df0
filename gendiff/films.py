"""The commands that make pictures: parsed arguments in, sheets and films in files out."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

import gendiff
from gendiff import bench, clock, weights
from gendiff.batches import BATCH, in_batches
from gendiff.errors import GendiffError, whole
from gendiff.images import FORMATS, encode, enlarge, tile, to_uint8
from gendiff.latent import FRAMES_MAX
from gendiff.noise import parse, resolve_labels
from gendiff.studio.denoising import EPS_SCALE, spread
from gendiff.weights import Card, Model

PICTURES_MAX = 1024
SIDE = 128  # pixels that a picture is enlarged to
OPTIONS = {  # of each family's `sample`
    "gan": ("truncation",),
    "diffusion": ("sampler", "steps", "guidance", "eta", "variance", "spacing"),
}


def sample(arguments: argparse.Namespace) -> None:
    """One picture a seed, on a sheet."""
    path, form = writable(arguments.out, ("png",))
    seeds = parse(arguments.seeds, PICTURES_MAX)
    model, label, options = _prepared(arguments)
    bench.warm_up(model, min(len(seeds), BATCH), options.get("guidance", 1.0))
    pictures, seconds, nfe = _draw(model, seeds, label, options)
    save(path, encode([_sheet(pictures)], form))
    print(f"{model.card.name}: {_counted(len(seeds), 'picture')}, seeds {arguments.seeds}")
    print(f"{seconds:.3f} s of work, {1000 * seconds / len(seeds):.1f} ms a picture,", end=" ")
    print(f"{_counted(nfe, 'network call')} each, {_place(model)}")
    print(f"written to {path}")


def _draw(
    model: Model, seeds: Sequence[int], label: int | None, options: dict[str, Any]
) -> tuple[Tensor, float, int]:
    """Pictures, seconds of work, network calls for each picture."""
    if model.card.family == "gan":
        start = clock.now(model.device)
        pictures = model.sample(seeds, labels=label, **options)
        return pictures, clock.now(model.device) - start, 1
    seconds, nfe = 0.0, 0

    def run(part: Tensor, labels: Tensor | None) -> Tensor:
        nonlocal seconds, nfe
        before = seconds
        steps = model.trajectory(part.tolist(), labels=labels, **options)
        for step, passed in clock.timed(steps, model.device):
            bar.total = step.total * len(seeds)
            bar.update(len(part))
            seconds, nfe, x = before + passed, step.nfe, step.x_s
        return x

    labels = resolve_labels(label, seeds, model.classes, model.device)
    with tqdm(desc="denoising", disable=None, leave=False) as bar:
        pictures = in_batches(run, torch.tensor(seeds), labels).clamp(-1, 1)
    return pictures, seconds, nfe


def trajectory(arguments: argparse.Namespace) -> None:
    """A film of the run from noise to pictures."""
    path, form = writable(arguments.out, FORMATS)
    seeds, what = parse(arguments.seeds), arguments.what
    most = whole("The number of frames", arguments.frames, 3, FRAMES_MAX)
    model, label, options = _prepared(arguments)
    steps = gendiff.trajectory(model, seeds, labels=label, **options)
    bench.warm_up(model, len(seeds), options.get("guidance", 1.0))
    frames: list[np.ndarray] = []
    bar = tqdm(clock.timed(steps, model.device), desc="denoising", disable=None, leave=False)
    for step, passed in bar:
        bar.total, seconds = step.total, passed
        if step.index in spread(step.total, most - 1):
            frames.append(_sheet(step.eps / EPS_SCALE if what == "eps" else getattr(step, what)))
    if what == "x_t":
        frames.append(_sheet(step.x_s))
    save(path, encode(frames, form))
    print(f"{model.card.name}: {_counted(len(seeds), 'picture')}, seeds {arguments.seeds}, {what}")
    print(f"{seconds:.3f} s of work, {_counted(step.total, 'step')},", end=" ")
    print(f"{_counted(step.nfe, 'network call')}, {_place(model)}")
    print(f"{_counted(len(frames), 'frame')} written to {path}")


def interpolate(arguments: argparse.Namespace) -> None:
    """A film of the way between the latents of two or more seeds."""
    path, form = writable(arguments.out, FORMATS)
    seeds = parse(arguments.seeds)
    model, label, _ = _prepared(arguments)
    bench.warm_up(model, 1)
    walk = gendiff.interpolate(model, seeds, arguments.frames, arguments.path, labels=label)
    timed = clock.timed(walk, model.device)
    frames: list[np.ndarray] = []
    for picture, passed in tqdm(timed, "walking", arguments.frames, disable=None, leave=False):
        seconds = passed
        frames.append(_sheet(picture))
    save(path, encode(frames, form))
    print(f"{model.card.name}: {arguments.path} from seed to seed, {arguments.seeds}")
    print(
        f"{seconds:.3f} s of work, {1000 * seconds / len(frames):.1f} ms a frame, {_place(model)}"
    )
    print(f"{_counted(len(frames), 'frame')} written to {path}")


def _prepared(arguments: argparse.Namespace) -> tuple[Model, int | None, dict[str, Any]]:
    """The model, its class by number, and those of its family's options that were given."""
    model = weights.load(arguments.name, arguments.device, arguments.dtype)
    card, options = model.card, {}
    for option in (name for names in OPTIONS.values() for name in names):
        value = getattr(arguments, option, None)
        if value is None:
            continue
        if option not in OPTIONS[card.family]:
            raise GendiffError(f"--{option} is not for {card.name}, a {card.family} model.")
        options[option] = value
    return model, class_of(card, arguments.label), options


def class_of(card: Card, text: str | None) -> int | None:
    """A class by its number or its name."""
    if text is None or text.isascii() and text.isdigit():
        return None if text is None else int(text)
    names = [name.lower() for name in card.classes]
    if text.lower() not in names:
        known = ", ".join(card.classes) or "none"
        raise GendiffError(f"{card.name} has no class {text[:40]!r}; it has: {known}.")
    return names.index(text.lower())


def writable(out: Path, forms: Sequence[str]) -> tuple[Path, str]:
    """A file that can be written, its folder made, and its format: known before the long work."""
    form = out.suffix.lower().removeprefix(".")
    if form not in forms:
        raise GendiffError(f"{out} must end in {' or '.join(f'.{form}' for form in forms)}.")
    make_folder(out.parent)
    if out.is_dir() or not os.access(out if out.exists() else out.parent, os.W_OK):
        raise GendiffError(f"{out} cannot be written; choose another place.")
    return out, form


def make_folder(folder: Path) -> None:
    """With its parents; GendiffError if that cannot be."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise GendiffError(
            f"{folder} cannot be made ({error.strerror}); choose another."
        ) from error


def save(path: Path, data: bytes) -> None:
    try:
        path.write_bytes(data)
    except OSError as error:
        raise GendiffError(f"{path} cannot be written ({error.strerror}).") from error


def _sheet(pictures: Tensor) -> np.ndarray:
    """(B, C, H, W) -> one picture, every pixel as a block."""
    return enlarge(tile(to_uint8(pictures)), max(1, SIDE // pictures.shape[-1]))


def _place(model: Model) -> str:
    where, dtype = model.device.type, str(model.dtype).removeprefix("torch.")
    threads = f", {_counted(torch.get_num_threads(), 'thread')}" if where == "cpu" else ""
    return f"{where}, {dtype}{threads}"


def _counted(count: int, noun: str) -> str:
    return f"{count:,} {noun}{'s' * (count != 1)}"
