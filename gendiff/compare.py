"""The command `compare`: the race of the app's Compare tab, as a table, JSON or CSV; or, of the
same contestants, what a few pictures tell of their quality."""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Sequence

import torch
from tqdm import tqdm

from gendiff.errors import GendiffError, whole
from gendiff.films import class_of, save, writable
from gendiff.noise import parse
from gendiff.report import table
from gendiff.studio import Studio, estimate, records, sheet
from gendiff.studio.contestants import contestants
from gendiff.studio.race import PICTURES_MAX, Lap, Race, Ready, Result, prepare, run
from gendiff.studio.timeline import Timeline
from gendiff.weights import BUNDLED

DEFAULT = ("gan", "ddim-50")


def race(arguments: argparse.Namespace) -> None:
    """Race the contestants, or estimate their quality."""
    if arguments.threads is not None:
        torch.set_num_threads(whole("--threads", arguments.threads, 1, 1024))
    folder = arguments.checkpoints or BUNDLED
    studio = Studio(folder, device=arguments.device, dtype=arguments.dtype)
    words = arguments.contestants or DEFAULT
    if arguments.estimate is not None:
        estimates(studio, words, arguments)
        return
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
        written = sheet.write(form, record, timeline.final())
        save(arguments.out, written.encode())
    if all(one.failed for one in results):
        raise GendiffError("None of the contestants could race; see above why.")


def estimates(studio: Studio, words: Sequence[str], arguments: argparse.Namespace) -> None:
    """Estimate the contestants' quality behind a bar of pictures, however long it takes."""
    if arguments.csv or arguments.out:
        raise GendiffError("An estimate is a table or --json; --csv and --out are of the race.")
    plan = estimate.prepare(studio, words, arguments.data, arguments.estimate, arguments.first)
    found: dict[str, estimate.Estimate] = {}
    with tqdm(total=plan.pictures * len(plan.contestants), disable=None, leave=False) as bar:
        for news in estimate.run(studio, plan, most=math.inf):
            bar.set_description(news.contestant.title())
            if isinstance(news, estimate.Estimate):
                found[news.contestant.spec] = news
                bar.n = sum(one.images for one in found.values())
                bar.refresh()
    record = records.estimates(studio, plan, list(found.values()))
    print(json.dumps(record, indent=2) if arguments.json else estimated(record))


def estimated(record: records.Record) -> str:
    """The record of an estimate for people."""
    header = ("contestant", "NFE", "N", "KID x 1000", "obeys class", "valid cats")
    rows = [
        (
            one["contestant"],
            str(one["nfe"]),
            str(one["images"]),
            records.interval(one["kid"], 1000) or "-",
            records.interval(one["obedience"], 100, "%") or "-",
            records.interval(one["valid"], 100, "%") or "-",
        )
        for one in record["estimates"]
    ]
    where = (
        f"{record['machine']}: {record['device']}, {record['dtype']}; features of "
        f"{record['features']} against {record['real']} bundled pictures of the test split; "
        "estimates with 95 % intervals, no substitute for python -m gendiff evaluate"
    )
    failed = [
        f"{one['contestant']}: {one['failed']}" for one in record["estimates"] if one["failed"]
    ]
    return "\n\n".join([where, table(header, rows), *failed])


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
    header = (*header, "FID (N)", "obeys class")
    rows = []
    for one in record["results"]:
        if one["failed"]:
            rows.append((one["contestant"], str(one["nfe"]), *["-"] * 7))
            continue
        score = one["quality"]
        fid = f"{score['fid']:.3g} ({score['images']:,})" if score else "-"
        share = score and score["obedience"]
        rows.append(
            (
                one["contestant"],
                *(str(one[key]) for key in ("nfe", "images", "batch")),
                f"{one['seconds']:.3f}",
                f"{one['images_per_second']:.2f}",
                f"{one['times_the_fastest']:.1f}",
                fid,
                "-" if share is None else f"{share:.1%}",
            )
        )
    where = (
        f"{record['machine']}: {record['device']}, {record['dtype']}, {record['threads']} "
        f"thread{'s' * (record['threads'] != 1)}, torch {record['torch']}; seconds of work alone; "
        "FID and obedience from metrics.json"
    )
    failed = [
        f"{one['contestant']}: {one['failed']}" for one in record["results"] if one["failed"]
    ]
    return "\n\n".join([where, table(header, rows), record["same_noise"], *failed])
