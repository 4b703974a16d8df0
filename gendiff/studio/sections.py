"""What a comparison holds beside its race, as sections of the sheet: measured quality, estimates,
budgets, diversity. A section says its data set, machine and date itself, and its command where
there is one.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from gendiff.images import enlarge, tile, to_pil
from gendiff.readme import way
from gendiff.studio import quality, records
from gendiff.studio.budget import told
from gendiff.studio.diversity import SEEDS, Diversity, Group
from gendiff.studio.models import Studio
from gendiff.studio.records import Record

SIDE = 512  # pixels that a grid of pictures is enlarged to, about
COLOURS = {"real": "#0f766e", "gan": "#b45309", "diffusion": "#4f46e5"}
NAMES = {"real": "Real", "gan": "GAN", "diffusion": "Diffusion"}
NONE = "–"


@dataclass(frozen=True)
class Section:
    """A part of the sheet.

    Attributes:
        name: its key in JSON; record: what stands there. data: the data set that it is of.
        head, rows: a table. figures: (caption, data URL). facts: conditions, as (name, text).
        command: what makes it again; "" where no command does.
    """

    name: str
    data: str
    title: str
    record: Any
    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    figures: Sequence[tuple[str, str]] = ()
    facts: Sequence[tuple[str, str]] = ()
    command: str = ""


def measured(studio: Studio, data: str) -> Section:
    """Every row of metrics.json of a data set's checkpoints, with N and the floor of that N."""
    known = [one for one in quality.measured(studio, data) if one.points]
    head = ("Checkpoint", "sampling", "NFE", "N", "FID", "floor", "KID × 1000", "precision")
    head += ("recall", "obeys class", "valid cats", "modes", "novel", "pictures/s")
    rows = []
    for one in known:
        for score in (point.score for point in one.points):
            kid = f"{1000 * score.kid:.2f} ± {1000 * score.kid_std:.2f}"
            cells = [one.name, way(score), str(score.nfe), f"{score.images:,}", f"{score.fid:.3g}"]
            cells += [_number(score.floor_fid), kid, f"{score.precision:.3f}"]
            cells += [f"{score.recall:.3f}", share(score.obedience), share(score.valid)]
            cells += [modes(asdict(score)), share(score.novelty)]
            rows.append([*cells, _number(score.images_per_second)])
    facts = [
        (
            one.name,
            f"measured {one.metrics.measured} on {one.metrics.machine}; features of "
            f"{one.metrics.features.network}, against {one.metrics.reference.images:,} pictures "
            f"of the {one.metrics.reference.split} split",
        )
        for one in known
    ]
    facts.append(("Floor", "FID of as many real training pictures; compare rows of equal N only"))
    names = " ".join(one.name for one in known)
    command = f"python -m gendiff evaluate {names}" if known else ""
    record = [one.metrics.plain() for one in known]
    title = f"Measured quality: {data}"
    return Section("measured", data, title, record, head, rows, (), facts, command)


def estimated(record: Record) -> Section:
    """A small sample's estimate; record: of `records.estimates`."""

    rows = [
        [
            one["title"],
            str(one["nfe"]),
            str(one["images"]),
            records.interval(one["kid"], 1000) or NONE,
            records.interval(one["obedience"], 100, " %") or NONE,
            records.interval(one["valid"], 100, " %") or NONE,
        ]
        for one in record["estimates"]
    ]
    head = ("Contestant", "NFE", "N", "KID × 1000", "obeys class", "valid cats")
    facts = [
        ("Intervals", f"95 %, against {record['real']} real pictures of the test split"),
        ("First seed", str(record["first_seed"])),
        *ran(record),
    ]
    title = f"Estimated from a few pictures: {record['data']}"
    command = record["command"]
    return Section("estimate", record["data"], title, record, head, rows, (), facts, command)


def budget(record: Record, pictures: Sequence[np.ndarray]) -> Section:
    """What a budget bought; record: of `records.budget`. pictures: of each row, (N, H, W, C)."""
    rows = [
        [
            one["title"],
            f"{one['room']:,}",
            str(one["images"]),
            str(one["nfe"]),
            f"{one['seconds']:.3f}",
            f"{100 * one['share']:.0f} %",
            f"{one['quality']['fid']:.3g} ({one['quality']['images']:,})"
            if one["quality"]
            else NONE,
        ]
        for one in record["results"]
    ]
    figures = [
        (one["title"], picture_url(own))
        for one, own in zip(record["results"], pictures, strict=True)
    ]
    late = [("Overrun", one["overrun"]) for one in record["results"] if one["overrun"]]
    again = f"in the app alone: Compare, Budget, {told(record['budget'])}"
    facts = [("Seeds", "from 0 on"), ("Again", again), *ran(record), *late]
    title = f"What {told(record['budget'])} bought: {record['data']}"
    head = ("Family", "fit, about", "made", "NFE", "seconds", "of the budget", "FID (N)")
    return Section("budget", record["data"], title, record, head, rows, figures, facts)


def diverse(studio: Studio, made: Diversity) -> Section:
    """A class at a glance: distances among themselves and to training pictures, and the map."""
    rows, groups = [], []
    for one in made.groups:
        among = np.quantile(one.among(), (0.25, 0.5, 0.75))
        near = None if one.rms is None or not len(one.rms) else float(np.median(one.rms))
        copies = [] if near is None else [float(one.rms[index]) for index in one.closest]
        middle = f"{among[1]:.3f} ({among[0]:.3f} to {among[2]:.3f})"
        rows.append([NAMES[one.kind], str(len(one.pictures)), one.source, middle, _number(near)])
        said = {"kind": one.kind, "images": len(one.pictures), "source": one.source}
        groups.append(
            {
                **said,
                "among_quartiles": [*map(float, among)],
                "to_training_median": near,
                "to_training_closest": copies,
            }
        )
    places = [[*map(_rounded, places)] for places in made.map.places]
    names = next((card.classes for card in studio.cards() if card.data == made.data), ())
    label = names[made.label] if made.label < len(names) else "any class"
    record = {"data": made.data, "class": label, "groups": groups, "map": places}
    record |= {"coverage": _coverage(studio, made.data), **records.conditions(studio)}
    figures = [(f"Map of the {made.map.of}: {_legend(made)}", _map(made))]
    figures += [(NAMES[one.kind], picture_url(one.pictures)) for one in made.groups]
    figures += [_copies(one) for one in made.groups if len(one.closest)]
    facts = [
        ("Distances", "root mean square over pixels, black to white is 2; median (quartiles)"),
        ("Map", f"two principal components, {100 * made.map.shown:.0f} % of the variance"),
        ("Seeds", f"0–{SEEDS - 1}"),
        ("Again", f"in the app alone: Compare, Diversity, {label}"),
        *ran(record),
        *_recognized(record["coverage"]),
    ]
    head = ("Kind", "pictures", "made by", "to the most similar other", "to training pictures")
    title = f"Diversity: {made.data}, {label}"
    return Section("diversity", made.data, title, record, head, rows, figures, facts)


def _coverage(studio: Studio, data: str) -> Record:
    """Checkpoint -> N and class -> the share that was recognized as it; from metrics.json."""
    runs = {one.name: one.metrics.headline for one in quality.measured(studio, data) if one.points}
    return {
        name: {"images": run.images, "classes": dict(run.coverage)}
        for name, run in runs.items()
        if run.coverage
    }


def _recognized(coverage: Record) -> list[tuple[str, str]]:
    return [
        (
            f"Recognized as the class asked for, {name}, N = {one['images']:,}",
            ", ".join(f"{label} {share(part)}" for label, part in one["classes"].items()),
        )
        for name, one in coverage.items()
    ]


def _copies(one: Group) -> tuple[str, str]:
    """The pictures that are closest to training pictures, above these."""
    both = np.concatenate([one.pictures[one.closest], one.nearest])
    least = ", ".join(f"{one.rms[index]:.3f}" for index in one.closest)
    said = f"{NAMES[one.kind]}: closest to training pictures, which are below; distances {least}"
    return said, picture_url(both, len(one.closest))


def modes(score: Record) -> str:
    """The cats' modes that a score reached, in words; a dash where they were not counted."""
    names = ("modes", "valid", "images", "modes_uniform")
    return quality.modes(*(score.get(name) for name in names)) or NONE


def ran(record: Record) -> list[tuple[str, str]]:
    """Where and when, as facts."""
    return [("Machine", where(record)), ("Date", record.get("date", "not recorded"))]


def where(record: Record) -> str:
    """Machine, device, precision, threads and torch of a record."""
    threads = f"{record['threads']} thread{'s' * (record['threads'] != 1)}"
    return (
        f"{record['machine']}; {record['device']}, {record['dtype']}, {threads}, torch "
        f"{record['torch']}"
    )


def picture_url(pictures: np.ndarray, columns: int | None = None) -> str:
    """Pictures (N, H, W, C) as one lossless PNG, as a data URL; columns: None for near-square."""
    grid = tile(pictures, columns, gap=max(1, pictures.shape[1] // 16))
    buffer = io.BytesIO()
    to_pil(enlarge(grid, max(1, SIDE // max(grid.shape[:2])))).save(buffer, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


def share(value: float | None) -> str:
    """Percent of one; a dash for what was not measured."""
    return NONE if value is None else f"{100 * value:.1f} %"


def _number(value: float | None) -> str:
    return NONE if value is None else f"{value:.3g}"


def _rounded(place: np.ndarray) -> list[float]:
    return [round(float(value), 3) for value in place]


def _legend(made: Diversity) -> str:
    words = {"real": "green", "gan": "orange", "diffusion": "blue"}
    return ", ".join(f"{NAMES[one.kind]} {words[one.kind]}" for one in made.groups)


def _map(made: Diversity) -> str:
    """The map as an SVG, as a data URL."""
    every = np.concatenate(made.map.places)
    low, size = every.min(0), np.ptp(every, 0).clip(1e-9)
    dots = []
    for one, places in zip(made.groups, made.map.places, strict=True):
        at = 10 + 380 * (places - low) / size
        dots += [
            f'<circle cx="{x:.1f}" cy="{400 - y:.1f}" r="4" fill="{COLOURS[one.kind]}"/>'
            for x, y in at
        ]
    svg = (
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 400 400" width="400" height="400">'
        f'<rect width="400" height="400" fill="#fafaf9"/><g fill-opacity=".75">{"".join(dots)}</g>'
        "</svg>"
    )
    return "data:image/svg+xml;base64," + base64.b64encode(svg.encode()).decode()
