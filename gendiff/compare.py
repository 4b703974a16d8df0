"""The command `compare`: the race of the app's Compare tab, as a table, JSON or CSV."""

from __future__ import annotations

import argparse
import json

from tqdm import tqdm

from gendiff.errors import GendiffError
from gendiff.films import class_of, save, writable
from gendiff.noise import parse
from gendiff.report import table
from gendiff.studio import Studio, records, sheet
from gendiff.studio.contestants import contestants
from gendiff.studio.race import PICTURES_MAX, Lap, Race, Ready, Result, prepare, run
from gendiff.studio.timeline import Timeline
from gendiff.weights import BUNDLED

DEFAULT = ("gan", "ddim-50")


def race(arguments: argparse.Namespace) -> None:
    """Race the contestants."""
    folder = arguments.checkpoints or BUNDLED
    studio = Studio(folder, device=arguments.device, dtype=arguments.dtype)
    words = arguments.contestants or DEFAULT
    first = contestants(studio, words, arguments.data)[0]
    plan = prepare(
        studio,
        words,
        parse(arguments.seeds, PICTURES_MAX),
        data=arguments.data,
        batch=arguments.batch,
        label=class_of(studio.card(first.model), arguments.label),
    )
    form = None if arguments.out is None else writable(arguments.out, tuple(sheet.FORMS))[1]
    timeline = Timeline(plan, most=1)
    results = watch(studio, plan, timeline)
    record = records.record(studio, plan, results)
    if arguments.json:
        print(json.dumps(record, indent=2, ensure_ascii=False))
    elif arguments.csv:
        print(records.to_csv(record), end="")
    else:
        print(text(record))
    if form is not None:
        written = sheet.write(studio, form, record, timeline.final())
        save(arguments.out, written.encode())
    if all(one.failed for one in results):
        raise GendiffError("None of the contestants could race; see above why.")


def watch(studio: Studio, plan: Race, timeline: Timeline) -> list[Result]:
    """The race behind a bar of network calls, on stderr."""
    results = []
    with tqdm(desc="racing", disable=None, leave=False) as bar:
        for event in run(studio, plan):
            if isinstance(event, Ready):
                one = plan.contestants[event.lane]
                bar.reset(one.nfe * -(-len(plan.seeds) // plan.batch))
                bar.set_description(f"{one.title()}, about {event.seconds:.1f} s")
            elif isinstance(event, Lap):
                timeline.add(event)
                bar.update()
            else:
                results.append(event)
    return results


def text(record: records.Record) -> str:
    """The record for people."""
    header = ("contestant", "NFE", "images", "batch", "seconds", "images/s", "times the fastest")
    rows = []
    for one in record["results"]:
        if one["failed"]:
            rows.append((one["contestant"], str(one["nfe"]), *["-"] * 5))
            continue
        rows.append(
            (
                one["contestant"],
                *(str(one[key]) for key in ("nfe", "images", "batch")),
                f"{one['seconds']:.3f}",
                f"{one['images_per_second']:.2f}",
                f"{one['times_the_fastest']:.1f}",
            )
        )
    where = (
        f"{record['machine']}: {record['device']}, {record['dtype']}, {record['threads']} threads,"
        f" torch {record['torch']}; seconds of work alone"
    )
    failed = [
        f"{one['contestant']}: {one['failed']}" for one in record["results"] if one["failed"]
    ]
    return "\n\n".join([where, table(header, rows), record["same_noise"], *failed])
