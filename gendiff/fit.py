"""Drive a training run: pictures of its milestones, a save at every interval, a stop when told.

A run's folder holds

    state.pt               to go on from        (gendiff.train.Run)
    checkpoint/            to use               (gendiff.load)
    milestones/IMAGES.png  what the same 16 seeds gave after so many images
    milestones/IMAGES/     the checkpoint of that time, to measure how the run learned
    sheet.png              what they give now
"""

from __future__ import annotations

import math
import os
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from gendiff.data import DataSet
from gendiff.errors import GendiffError
from gendiff.images import to_pil
from gendiff.train import Progress, Run

CHECKPOINT, MILESTONES, SHEET = "checkpoint", "milestones", "sheet.png"


def fit(
    run: Run,
    data: DataSet,
    *,
    images: int,
    minutes: float = math.inf,
    every: float = 5.0,
    stopped: Callable[[], bool] = lambda: False,
    facts: Mapping[str, str] | None = None,
) -> Iterator[Progress]:
    """Train until `images` are seen, `minutes` have passed or `stopped()`; one Progress a step.

    The run is kept every `every` minutes and at the end: a kill costs at most one interval. A run
    that has nothing left to do yields nothing. Abandoning the generator saves nothing.

    Args:
        images: in all, those of earlier sessions included. minutes: of this session.
        stopped: asked after each step. facts: what else the checkpoint's card says.

    Raises:
        GendiffError: a loss is no longer a number (what was kept stays as it was); a full disk.
    """
    if run.images >= images or minutes <= 0:
        return
    kept = start = time.monotonic()
    for progress in run.go(data):
        milestone = run.reached()
        if milestone and run.team.leads:
            _write(run.sheet(), run.folder / MILESTONES / f"{milestone:07d}.png")
            export(run, run.folder / MILESTONES / f"{milestone:07d}", facts)
        passed = time.monotonic() - start
        last = progress.images >= images or passed >= 60 * minutes or stopped()
        last = run.team.agree(last)
        if run.team.leads and (last or time.monotonic() - kept >= 60 * every):
            keep(run, facts)
            kept = time.monotonic()
        yield progress
        if last:
            return


def keep(run: Run, facts: Mapping[str, str] | None = None) -> None:
    """Write the state, the checkpoint and the sheet, each whole or not at all.

    Raises:
        GendiffError: the disk is full or not writable.
    """
    run.save()
    export(run, run.folder / CHECKPOINT, facts)
    _write(run.sheet(), run.folder / SHEET)


def export(run: Run, folder: Path, facts: Mapping[str, str] | None = None) -> None:
    """Write the averaged weights as a checkpoint; GendiffError if that cannot be."""
    run.checkpoint(folder, **(facts or {}))


def set_aside(folder: Path) -> Path | None:
    """Rename a run's folder to the first free FOLDER-1, FOLDER-2, ...; its new name, if any."""
    if not folder.exists():
        return None
    number = 1
    while (aside := folder.with_name(f"{folder.name}-{number}")).exists():
        number += 1
    folder.rename(aside)
    return aside


@contextmanager
def interruptible() -> Iterator[Callable[[], bool]]:
    """Inside, Ctrl-C (or SIGTERM) only makes the given function say True: no step is cut short.

    An exception in the middle of an optimizer's step would leave weights that no step has made.
    The second signal has its usual effect. Works in the main thread only.
    """
    received: list[int] = []
    usual = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def restore() -> None:
        for number, handler in usual.items():
            signal.signal(number, handler)

    def note(number: int, _: object) -> None:
        received.append(number)
        restore()

    try:
        for number in usual:
            signal.signal(number, note)
        yield lambda: bool(received)
    finally:
        restore()


def _write(picture: np.ndarray, path: Path) -> None:
    """A PNG, whole or not at all: the app may be reading it."""
    partial = path.with_suffix(".partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        to_pil(picture).save(partial, "PNG")
        os.replace(partial, path)
    except OSError as error:
        raise GendiffError(f"{path} cannot be written ({error}); is the disk full?") from error
