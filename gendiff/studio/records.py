"""A race, or an estimate, as a record in JSON's types: settings, conditions, results, command."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from datetime import datetime, timezone
from typing import Any

import torch

from gendiff.machine import describe
from gendiff.results import Score
from gendiff.studio import estimate, quality
from gendiff.studio.budget import Delivered
from gendiff.studio.estimate import Estimate
from gendiff.studio.models import Studio
from gendiff.studio.race import Race, Result

Record = dict[str, Any]
QUALITY = (
    "images",
    "fid",
    "floor_fid",
    "kid",
    "kid_std",
    "precision",
    "recall",
    "obedience",
    "valid",
    "modes",
    "modes_uniform",
    "novelty",
)


def ratios(results: Sequence[Result]) -> list[float | None]:
    """How many times as long as the fastest each lane took; None for one that failed."""
    fastest = min((one.seconds for one in results if one.seconds), default=None)
    return [one.seconds / fastest if one.seconds and fastest else None for one in results]


def conditions(studio: Studio) -> dict[str, object]:
    """Where and when a race ran (UTC, to the minute), as its record says it."""
    return {
        "date": datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
        "machine": describe(studio.device),
        "device": studio.device.type,
        "dtype": str(studio.dtype).removeprefix("torch."),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
    }


def record(studio: Studio, race: Race, results: Sequence[Result]) -> dict[str, object]:
    """The whole race in JSON's types: settings, conditions, results with ratios, command."""
    rows = [
        {
            "contestant": one.contestant,
            "title": one.title,
            "nfe": one.nfe,
            "images": one.images,
            "batch": one.batch,
            "seconds": one.seconds,
            "images_per_second": one.images_per_second,
            "times_the_fastest": ratio,
            "failed": one.failed or None,
        }
        for one, ratio in zip(results, ratios(results), strict=True)
    ]
    made = {
        "data": race.data,
        "seeds": list(race.seeds),
        "class": race.label,
        "same_noise": race.same_noise,
        **conditions(studio),
        "results": rows,
        "command": command(race),
    }
    return judged(studio, made)


def judged(studio: Studio, record: Record) -> Record:
    """The record with what metrics.json has of the same contestants now; None: nothing."""
    known = quality.scores(
        studio, record["data"], [row["contestant"] for row in record["results"]]
    )
    rows = [
        {**row, "quality": _quality(known.get(row["contestant"]))} for row in record["results"]
    ]
    return {**record, "results": rows}


def _quality(score: Score | None) -> dict[str, float | None] | None:
    return None if score is None else {name: getattr(score, name) for name in QUALITY}


def interval(estimate: Mapping[str, float] | None, times: float, unit: str = "") -> str:
    """An estimate's value with its interval, in multiples of 1 / times; "" where there is none."""
    if estimate is None:
        return ""
    value, low, high = (f"{times * estimate[name]:.1f}" for name in ("value", "low", "high"))
    return f"{value}{unit} ({low} to {high})"


def estimates(studio: Studio, plan: estimate.Plan, found: Sequence[Estimate]) -> Record:
    """What a few pictures told, in JSON's types."""
    against = estimate.yardstick(studio, plan.data)
    rows = [
        {
            "contestant": one.contestant.spec,
            "title": one.contestant.title(),
            "nfe": one.nfe,
            "images": one.images,
            "seconds": one.seconds,
            **{
                name: None if (value := getattr(one, name)) is None else asdict(value)
                for name in ("kid", "obedience", "valid")
            },
            "failed": one.failed or None,
        }
        for one in found
    ]
    return {
        "data": plan.data,
        "first_seed": plan.first,
        "features": against.reader.name,
        "real": len(against.features),
        "confidence": 0.95,
        **conditions(studio),
        "estimates": rows,
        "command": estimate.command(plan),
    }


def budget(studio: Studio, data: str, seconds: float, made: Sequence[Delivered]) -> Record:
    """What each family delivered within a budget, in JSON's types. room: about how many pictures
    like these fit into it; share: of it, that these took. overrun: why that is more than all of
    it, as a sentence; None: it is not."""
    known = quality.scores(studio, data, [one.spend.contestant.spec for one in made])
    rows = [
        {
            "contestant": one.spend.contestant.spec,
            "title": one.spend.contestant.title(),
            "nfe": one.result.nfe,
            "images": one.spend.pictures,
            "room": one.room(seconds),
            "seconds": one.result.seconds,
            "share": one.result.seconds / seconds,
            "why": one.spend.why,
            "overrun": one.overrun(seconds),
            "quality": _quality(known.get(one.spend.contestant.spec)),
        }
        for one in made
    ]
    return {"data": data, "budget": seconds, **conditions(studio), "results": rows}


def command(race: Race) -> str:
    """The command that races the same again, on as many threads as torch has now."""
    seeds = race.seeds
    run_ = len(seeds) > 1 and seeds == tuple(range(seeds[0], seeds[0] + len(seeds)))
    text = f"{seeds[0]}-{seeds[-1]}" if run_ else ",".join(map(str, seeds))
    words = " ".join(one.spec for one in race.contestants)
    label = "" if race.label is None else f" --label {race.label}"
    return (
        f"python -m gendiff compare {words} --seeds {text} --batch {race.batch}{label} "
        f"--threads {torch.get_num_threads()}"
    )


def to_csv(record: Record) -> str:
    """A line a contestant; what holds for all of them stands in every line."""
    shared = {key: record.get(key) for key in ("data", "date", "machine", "device", "dtype")}
    shared["threads"] = record["threads"]
    shared["seeds"] = " ".join(map(str, record["seeds"]))
    rows = [
        {**row, **{f"measured_{name}": (row["quality"] or {}).get(name) for name in QUALITY}}
        for row in record["results"]
    ]
    rows = [{**{k: v for k, v in row.items() if k != "quality"}, **shared} for row in rows]
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return buffer.getvalue()


_LISTS = (
    "results",
    "estimates",
    "groups",
    "runs",
)  # what a section's record has a contestant each


def to_lines(parts: Mapping[str, Any]) -> str:
    """Sections in long form: a line (section, contestant, measure, value) each. A contestant of ""
    is the section as a whole: its settings, machine and date."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(("section", "contestant", "measure", "value"))
    for name, part in parts.items():
        for one in part if isinstance(part, list) else [part]:
            shared = {key: value for key, value in one.items() if key not in _LISTS}
            whole = shared.pop("model", "")  # a checkpoint's metrics.json
            writer.writerows((name, whole, *leaf) for leaf in _leaves(shared))
            for row in (row for key in _LISTS for row in one.get(key, ())):
                writer.writerows((name, _who(whole, row), *leaf) for leaf in _leaves(row))
    return buffer.getvalue()


def _who(model: str, row: Record) -> str:
    if not model:
        return row.get("contestant") or row.get("kind")
    return f"{model}:{row['sampler']}-{row['steps']}" if row["sampler"] else model


def _leaves(record: Record, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Each value with its name (`quality.fid`); lists as JSON, what is not known left out."""
    for key, value in record.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{prefix}{key}.")
        elif value is not None:
            yield f"{prefix}{key}", json.dumps(value) if isinstance(value, list) else value
