"""The commands that train, measure and serve: parsed arguments in, printed lines out."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict, replace
from pathlib import Path

import torch
from tqdm import tqdm

from gendiff import bench, exchange, fit, learning, machine, overview, readme, recipes, weights
from gendiff.cards import Card
from gendiff.data import open_data
from gendiff.device import pick_device, pick_dtype
from gendiff.errors import GendiffError, whole
from gendiff.films import make_folder
from gendiff.images import encode, enlarge
from gendiff.recipes import Recipe
from gendiff.report import Report, table
from gendiff.teach import LESSONS, Teaching
from gendiff.team import Team, joined
from gendiff.train import Progress, Run


def models(arguments: argparse.Namespace) -> int | None:
    """List the checkpoints of a folder, or compare the list of the Hub's models with the Hub."""
    if arguments.check:
        return exchange.check(arguments)
    folder = arguments.folder or weights.BUNDLED
    if not folder.is_dir():
        raise GendiffError(f"There is no folder {folder}; name one that holds checkpoints.")
    records = [
        {
            "name": card.name,
            "title": card.title,
            "family": card.family,
            "data": card.data,
            "parameters": sum(card.parameters.values()),
            "bytes": sum(path.stat().st_size for path in (folder / card.name).glob("*.*")),
            "images": card.training.get("images"),
            "licence": card.licence,
        }
        for card in weights.models(folder)
    ]
    if arguments.json:
        print(json.dumps(records, indent=2, ensure_ascii=False))
        return
    header = ("name", "title", "family", "data", "parameters", "on disk", "images seen", "licence")
    rows = [
        (
            *(record[key] for key in ("name", "title", "family", "data")),
            f"{record['parameters']:,}",
            f"{record['bytes'] / 1e6:.1f} MB",
            "-" if record["images"] is None else f"{record['images']:,}",
            record["licence"],
        )
        for record in records
    ]
    print(table(header, rows) if rows else f"There are no checkpoints in {folder}.")


def train(arguments: argparse.Namespace) -> int:
    """Train a recipe's checkpoint, or go on with it; under torchrun, with all its processes."""
    if arguments.name in LESSONS:
        return _teach(arguments)
    recipe, command = _recipe(arguments)
    _threads(arguments.threads)
    with joined(pick_device(arguments.device)) as (team, device):
        return _train(arguments, recipe, command, device, team)


def _train(
    arguments: argparse.Namespace, recipe: Recipe, command: str, device: torch.device, team: Team
) -> int:
    say = print if team.leads else _silent
    folder = arguments.folder or Path("runs") / recipe.name
    if team.leads:
        if arguments.fresh and (aside := fit.set_aside(folder)):
            say(f"the earlier run is kept in {aside}")
        make_folder(folder)
    team.wait()
    dtype = pick_dtype(device.type, arguments.precision)
    run = Run(recipe, folder, device, arguments.start, dtype=dtype, team=team)
    facts = {"command": command, "machine": machine.describe(device)}
    if team.size > 1:
        facts["machine"] += f", {team.size} processes"
    say(f"{recipe.name}: {run.images:,} of {recipe.images:,} images, {facts['machine']}, {folder}")
    with fit.interruptible() as stopped:
        steps = fit.fit(
            run,
            open_data(recipe.data),
            images=recipe.images,
            minutes=arguments.minutes,
            every=arguments.every,
            stopped=stopped,
            facts=facts,
        )
        _watch(steps, run, arguments.minutes)
        interrupted = stopped()
    if not run.images:
        raise GendiffError("Nothing has been trained; give it images and minutes above 0.")
    say(f"{run.images:,} images after {run.seconds / 3600:.2f} hours of training")
    say(f"checkpoint: {folder / fit.CHECKPOINT}")
    if interrupted:
        print("stopped; the same command goes on from here", file=sys.stderr)
        return 130
    if arguments.install and team.leads:
        _install(run, weights.BUNDLED / recipe.name, facts)
        say(f"installed as {weights.BUNDLED.name}/{recipe.name}")
    return 0


def _silent(*_: object) -> None:
    """What a process that does not lead says."""


def _install(run: Run, folder: Path, facts: Mapping[str, str]) -> None:
    """The checkpoint, how it learned, a sheet of what it does, and all cards anew."""
    before = learning.read(folder) if run.earlier else None
    fit.export(run, folder, facts)
    card = Card.read(folder)
    learned = learning.of_run(run.folder, card, run.images, run.history)
    if learned is not None:
        (learning.joined(before, learned, run.earlier) if before else learned).write(folder)
    (folder / readme.SHEET).write_bytes(encode([enlarge(run.sheet(), 2)], "png"))
    overview.refresh_all(folder.parent)


def _teach(arguments: argparse.Namespace) -> int:
    """Train a network that reads pictures: minutes, in one session."""
    lesson, command = LESSONS[arguments.name], f"python -m gendiff train {arguments.name}"
    if arguments.images is not None:
        images = whole("--images", arguments.images, 1, 10**9)
        lesson, command = replace(lesson, images=images), f"{command} --images {images}"
    _threads(arguments.threads)
    device = pick_device(arguments.device)
    facts = {"command": command, "machine": machine.describe(device)}
    session = Teaching(lesson, device)
    with tqdm(desc=lesson.name, total=lesson.images, unit=" images", mininterval=0.5) as bar:
        for step in session.go():
            bar.set_postfix_str(f"loss {step.loss:.3f}", refresh=False)
            bar.update(lesson.batch)
    folder = arguments.folder or Path("runs") / lesson.name
    folder = weights.BUNDLED / lesson.name if arguments.install else folder / fit.CHECKPOINT
    card = session.finish(folder, **facts)
    print(f"checkpoint: {folder}; accuracy {card.training['accuracy']}")
    return 0


def cards(arguments: argparse.Namespace) -> None:
    """Write the README.md of every checkpoint anew, and the numbers in the project's."""
    overview.refresh_all(arguments.folder or weights.BUNDLED)


def _recipe(arguments: argparse.Namespace) -> tuple[Recipe, str]:
    """The recipe with what the command line changes in it, and the command that says so."""
    recipe, command = recipes.recipe(arguments.name), f"python -m gendiff train {arguments.name}"
    if arguments.start is not None:
        command += f" --start {arguments.start}"
    for option, highest in (("images", 10**12), ("batch", 2**16)):
        if (value := getattr(arguments, option)) is not None:
            whole(f"--{option}", value, 1, highest)
            recipe, command = replace(recipe, **{option: value}), f"{command} --{option} {value}"
    if not (arguments.minutes >= 0 and arguments.every > 0):
        raise GendiffError("--minutes must be 0 or more, --every more than 0.")
    return recipe, command


def _watch(steps: Iterable[Progress], run: Run, minutes: float) -> None:
    """Go through the steps behind a bar: images, images/s, losses, time left."""
    images, seconds, start = run.images, run.seconds, time.monotonic()
    with tqdm(
        desc=run.recipe.name,
        total=run.recipe.images,
        initial=images,
        unit=" images",
        bar_format="{desc} {percentage:.0f}% |{bar:20}| {n_fmt}/{total_fmt}, {rate_fmt}{postfix}",
        mininterval=0.5 if sys.stderr.isatty() else 30,  # a log is no place for every step
        disable=not run.team.leads,
    ) as bar:
        for now in steps:
            left = (run.recipe.images - now.images) * (now.seconds - seconds)
            left = min(left / (now.images - images), 60 * minutes - time.monotonic() + start)
            losses = "".join(f"{name} {value:.4f}, " for name, value in now.losses.items())
            bar.set_postfix_str(
                f"{losses}{tqdm.format_interval(max(left, 0))} left", refresh=False
            )
            bar.update(run.recipe.batch)


def measure(arguments: argparse.Namespace) -> None:
    """Measure checkpoints on this machine."""
    _threads(arguments.threads)
    names = arguments.names or [card.name for card in weights.models(weights.BUNDLED)]
    if not names:
        raise GendiffError("There are no bundled checkpoints; name a folder that holds one.")
    where, quick = (arguments.device, arguments.dtype), arguments.quick
    bar = tqdm(names, desc="measuring", disable=None, leave=False)
    report = Report(
        conditions=machine.conditions(*where),
        startup=None if quick else machine.startup(),
        checkpoints=tuple(bench.measure(name, *where, quick=quick) for name in bar),
        precision=tuple(
            bench.precision(name, arguments.device, quick=quick)
            for name in (names if arguments.precision else ())
        ),
    )
    print(json.dumps(asdict(report), indent=2) if arguments.json else report.text())


def examples(arguments: argparse.Namespace) -> None:
    """Compute again what the app's tabs show before anything has run."""
    from gendiff.ui.examples import make

    for tab, size in make(arguments.tabs):
        print(f"{tab}: {size:,} bytes")


def app(arguments: argparse.Namespace) -> None:
    """Start the app and serve it until it is interrupted."""
    from gendiff.studio import Studio
    from gendiff.ui import build, launch

    studio = Studio.with_hub(arguments.device, arguments.dtype)
    studio.share_cores()
    demo = build(studio)
    try:
        launch(
            demo,
            server_name=arguments.host,
            server_port=arguments.port,
            share=arguments.share,
            prevent_thread_lock=True,  # returns once the page is there; the models load after that
        )
    except OSError as error:  # gradio's word for a port or an address that cannot be had
        reason = str(error).split(". ")[0].rstrip(".")
        raise GendiffError(f"The app cannot be served there: {reason}.") from error
    studio.preload()
    demo.block_thread()


def _threads(count: int | None) -> None:
    if count is not None:
        torch.set_num_threads(whole("--threads", count, 1, 1024))
