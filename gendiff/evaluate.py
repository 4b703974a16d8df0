"""The command that scores checkpoints and writes what it finds beside them."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from datetime import date
from pathlib import Path

import torch
from tqdm import tqdm

from gendiff import evaluation, inception, machine, readme, report, speed, weights
from gendiff.errors import GendiffError, whole
from gendiff.evaluation import Plan, Real, Sampling
from gendiff.readme import way
from gendiff.results import Learned, Metrics, Score
from gendiff.sample import SAMPLERS
from gendiff.weights import Card

TABLE_SAMPLERS = ("ddpm", "ddim", "dpmpp_2m")
# steps -> pictures: of one N as far as two cores allow, as FIDs of other N cannot be compared
TABLE = {5: 250, 10: 250, 20: 250, 50: 250, 100: 250, 1000: 64}
QUICK = 250  # pictures of a milestone, and of bfloat16 against float32


def evaluate(arguments: argparse.Namespace) -> None:
    """Score checkpoints; say the numbers with their conditions; keep them in metrics.json."""
    if arguments.threads is not None:
        torch.set_num_threads(whole("--threads", arguments.threads, 1, 1024))
    if arguments.learning is not None and len(arguments.names) != 1:
        raise GendiffError("--learning goes with the one checkpoint that the run has made.")
    found = [_one(name, arguments) for name in arguments.names]
    if arguments.json:
        print(json.dumps([one.plain() for one in found], indent=1, ensure_ascii=False))
        return
    for one in found:
        print(report.scores(one))


def _one(where: str, arguments: argparse.Namespace) -> Metrics:
    folder = weights.find(where)
    card = Card.read(folder)
    real = evaluation.real(card.data, arguments.cache, weights=_features(arguments.features))
    plans = _plans(card, arguments)
    runs = _kept(folder, card, real)
    if arguments.speed:
        return _write(_timed_again(folder, runs, arguments), folder, arguments)
    for plan in plans:
        if not any((run.way, run.images) == (plan.way, plan.images) for run in runs):
            new = _timed(_run(folder, plan, real, arguments), folder, arguments)
            runs = _headed([*runs, new])
            _record(folder, card, real, runs, arguments)
    metrics = _record(folder, card, real, runs, arguments)
    if arguments.bfloat16:
        plan = replace(plans[0], images=arguments.images or QUICK)
        with tqdm(total=plan.images, desc=f"{card.name} bfloat16", disable=None) as bar:
            found = evaluation.rounded(folder, plan, real, arguments.device, bar.update)
        metrics = _write(replace(metrics, bfloat16=found), folder, arguments)
    if arguments.learning is not None:
        learned = _learn(arguments.learning, plans[0], real, arguments)
        metrics = _write(replace(metrics, learning=learned), folder, arguments)
    return metrics


def _plans(card: Card, arguments: argparse.Namespace) -> list[Plan]:
    """The headline's or the asked way of sampling, and the table's."""
    gan = card.family == "gan"
    batch = arguments.batch or (evaluation.GAN_BATCH if gan else evaluation.DIFFUSION_BATCH)
    first = Plan(
        sampler=None if gan else arguments.sampler,
        steps=None if gan else arguments.steps,
        guidance=1.0 if gan else arguments.guidance,
        images=arguments.images or evaluation.IMAGES,
        dtype=arguments.dtype,
        batch=batch,
    )
    if gan or not arguments.table:
        return [first]
    rows = [
        replace(first, sampler=sampler, steps=steps, images=min(arguments.images or count, count))
        for steps, count in TABLE.items()
        if steps <= arguments.most_steps
        for sampler in TABLE_SAMPLERS
    ]
    return [first, *(row for row in rows if row.way != first.way)]


def _features(asked: str | None) -> Path | None:
    """Inception's weights, if its features are asked for or are there and nothing is asked for."""
    found = None if asked == "own" else inception.weights()
    if asked == "inception" and found is None:
        raise GendiffError(
            f"Inception needs torch-fidelity and its weights, {inception.WEIGHTS}, in torch's "
            "folder of downloads; leave --features out for our own network."
        )
    return found


def _kept(folder: Path, card: Card, real: Real) -> list[Score]:
    """Earlier runs of the same weights, in the same features."""
    before = Metrics.read(folder)
    same = before and (before.weights_sha256, before.features) == (card.sha256, real.features)
    return list(before.runs) if same else []


def _headed(runs: Sequence[Score]) -> list[Score]:
    """The headline first: the first way of sampling, with the most pictures that it has."""
    head = max((run for run in runs if run.way == runs[0].way), key=lambda run: run.images)
    return [head, *(run for run in runs if run is not head)]


def _timed(run: Score, folder: Path, arguments: argparse.Namespace) -> Score:
    """The run with its speed, measured by itself: sampling may pause, or share the cores."""
    model = weights.load(folder, arguments.device, run.dtype)
    options = {"sampler": run.sampler, "steps": run.steps, "guidance": run.guidance}
    pace, how = speed.measure(model, run.nfe, options if run.sampler else {})
    return replace(run, images_per_second=pace, speed=how)


def _timed_again(folder: Path, runs: Sequence[Score], arguments: argparse.Namespace) -> Metrics:
    """What was measured, with every way's speed measured anew: once, whatever its N."""
    before = Metrics.read(folder)
    if not runs:
        raise GendiffError(f"{folder.name} was not measured yet: leave --speed out.")
    ways = {run.way: run for run in runs}.values()
    bar = tqdm(ways, desc=f"{folder.name} speed", disable=None, leave=False)
    new = {run.way: _timed(run, folder, arguments) for run in bar}
    again = (
        replace(run, images_per_second=timed.images_per_second, speed=timed.speed)
        for run, timed in ((run, new[run.way]) for run in runs)
    )
    return replace(before, runs=tuple(again))


def _run(folder: Path, plan: Plan, real: Real, arguments: argparse.Namespace) -> Score:
    """Sample and score one plan behind a bar; what it will take is said before."""
    model = weights.load(folder, arguments.device, plan.dtype)
    sampling = Sampling(model, plan, real, arguments.cache)
    what = f"{model.card.name}, {way(plan)}"
    estimate = tqdm.format_interval(sampling.estimate())
    print(f"{what}: {plan.images:,} pictures, about {estimate}", file=sys.stderr)
    left = (plan.images - sampling.done) * plan.calls(model)
    with tqdm(total=max(left, 0), desc=what, unit=" calls", disable=None, leave=False) as bar:
        for pictures in sampling.go():
            bar.update(pictures)
    return sampling.score()


def _record(
    folder: Path, card: Card, real: Real, runs: Sequence[Score], arguments: argparse.Namespace
) -> Metrics:
    """The runs with their conditions; what else was measured of the same weights stays."""
    before = Metrics.read(folder)
    same = before is not None and before.weights_sha256 == card.sha256
    same = same and before.features == real.features
    where = machine.conditions(arguments.device, arguments.dtype)
    metrics = Metrics(
        model=card.name,
        weights_sha256=card.sha256,
        measured=date.today().isoformat(),
        command=f"python -m gendiff evaluate {card.name}",
        machine=where.machine,
        device=where.device,
        dtype=runs[0].dtype,
        features=real.features,
        reference=real.reference,
        floor=real.floor(runs[0].images),
        runs=tuple(runs),
        learning=before.learning if same else (),
        bfloat16=before.bfloat16 if same else None,
    )
    return _write(metrics, folder, arguments)


def _write(metrics: Metrics, folder: Path, arguments: argparse.Namespace) -> Metrics:
    if not arguments.no_write:
        metrics.write(folder)
        readme.refresh(folder)
    return metrics


def _learn(
    run: Path, plan: Plan, real: Real, arguments: argparse.Namespace
) -> tuple[Learned, ...]:
    """Score the weights that a training run kept at its milestones."""
    folders = sorted(path.parent for path in run.glob(f"milestones/*/{weights.CONFIG}"))
    if not folders:
        raise GendiffError(f"{run} keeps no weights of milestones, so there is nothing to score.")
    plan = replace(plan, images=arguments.images or QUICK)
    learned = []
    for folder in folders:
        found = _run(folder, plan, real, arguments)
        learned.append(
            Learned(
                images=int(Card.read(folder).training["images"]),
                fid=found.fid,
                kid=found.kid,
                of=found.images,
                obedience=found.obedience,
                valid=found.valid,
            )
        )
    return tuple(sorted(learned, key=lambda one: one.images))


def options(command: argparse.ArgumentParser) -> None:
    """What the command line offers."""
    command.add_argument("names", nargs="+", metavar="NAME", help="a checkpoint, or its folder")
    command.add_argument(
        "--images", type=int, help=f"how many to sample; default: {evaluation.IMAGES:,}"
    )
    command.add_argument("--batch", type=int, help="at once; default: 64 (GAN) or 16")
    command.add_argument("--sampler", choices=tuple(SAMPLERS), default="dpmpp_2m")
    command.add_argument("--steps", type=int, default=20, help="default: 20")
    command.add_argument("--guidance", type=float, default=1.0, help="default: 1, none")
    command.add_argument("--device", choices=("cpu", "cuda"))
    command.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32")
    command.add_argument("--threads", type=int, help="of the processor")
    command.add_argument(
        "--features",
        choices=("own", "inception"),
        help="of which network; default: Inception's where its weights are there",
    )
    command.add_argument(
        "--table",
        action="store_true",
        help="diffusion only: also FID against network calls, "
        f"{', '.join(TABLE_SAMPLERS)} at {', '.join(map(str, TABLE))} steps",
    )
    command.add_argument(
        "--most-steps", type=int, default=1000, help="leave longer rows of the table out"
    )
    command.add_argument(
        "--speed", action="store_true", help="only time again what was measured: images/s"
    )
    command.add_argument(
        "--bfloat16", action="store_true", help="also bfloat16 against float32, same seeds"
    )
    command.add_argument(
        "--learning", type=Path, metavar="RUN", help="also the milestones of a training run"
    )
    command.add_argument("--json", action="store_true", help="metrics.json on stdout")
    command.add_argument(
        "--no-write", action="store_true", help="leave the checkpoint's metrics.json as it is"
    )
    command.add_argument(
        "--cache", type=Path, default=evaluation.FOLDER, help="default: runs/evaluate"
    )
    command.set_defaults(command=evaluate)
