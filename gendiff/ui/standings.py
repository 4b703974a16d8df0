"""The race's result as a table: seconds and their ratios, and beside them what was measured of
the quality of the same contestants."""

from __future__ import annotations

from html import escape
from pathlib import Path

from gendiff.studio.records import Record
from gendiff.ui.tables import NONE, Row, many, number, table


def style() -> str:
    """The style sheet of all views, as an element for the page's head."""
    return f"<style>{Path(__file__).with_name('compare.css').read_text('utf-8')}</style>"


def standings(record: Record, note: str = "") -> str:
    """The record as markup; every word that is not ours is escaped."""
    results = record["results"]
    where = (
        f"{record['data']}: {record['machine']}, {record['device']}, {record['dtype']}, "
        f"{many(record['threads'], 'thread')}, batch {results[0]['batch']}, seeds "
        f"{_seeds(record['seeds'])}"
    )
    cats = any((one["quality"] or {}).get("valid") is not None for one in results)
    head = ["Contestant", "NFE", "seconds", "times the fastest", "pictures/s"]
    head += ["FID (N)", "obeys class", *(["valid"] if cats else [])]
    longest = max((one["seconds"] or 0 for one in results), default=0)
    rows = [_row(one, cats, longest) for one in results]
    pictures = many(results[0]["images"], "picture")
    return f"""<section class="cp-card" aria-label="Result of the race">
{table(head, [*rows, *_floors(results, cats)])}
<p class="cp-small">{escape(note)} {escape(where)}. Seconds of work alone, for {pictures}; the bars
are to scale. {escape(_sentence(record["same_noise"]))}</p>
<p class="cp-small">{_measured(record)}</p>
<p class="cp-small"><code>{escape(record["command"])}</code></p></section>"""


def _row(one: Record, cats: bool, longest: float) -> Row:
    title = escape(one["title"])
    if one["failed"]:
        return title, [f"could not race: {escape(one['failed'])}"]
    colour = "cp-c0" if ":" in one["contestant"] else "cp-c1"
    width = 100 * one["seconds"] / longest
    bar = f'<span class="cp-ratio {colour}"><b style="width:{width:.2f}%"></b></span>'
    cells = [str(one["nfe"]), f'{bar}<span class="cp-number">{number(one["seconds"])}</span>']
    cells += [f"{number(one['times_the_fastest'])}×", number(one["images_per_second"])]
    return title, [*cells, *_quality(one["quality"], cats)]


def _quality(score: Record | None, cats: bool) -> list[str]:
    """The cells of what was measured beforehand."""
    if score is None:
        return [NONE] * (2 + cats)
    fid = f"{number(score['fid'])} <small>({score['images']:,})</small>"
    shares = [score["obedience"], *([score["valid"]] if cats else [])]
    return [fid, *(NONE if value is None else f"{100 * value:.0f} %" for value in shares)]


def _floors(results: list[Record], cats: bool) -> list[Row]:
    """What real pictures reach, for each N that stands above."""
    scores = [one["quality"] for one in results if one["quality"]]
    floors = {one["images"]: one.get("floor_fid") for one in scores}
    return [
        (
            "Real pictures",
            [*[NONE] * 4, f"{number(floor)} <small>({images:,})</small>", *[NONE] * (1 + cats)],
        )
        for images, floor in floors.items()
        if floor
    ]


def _sentence(said: str) -> str:
    return f"{said[:1].upper()}{said[1:]}."


def _measured(record: Record) -> str:
    """Where the quality comes from, and how to measure what is missing."""
    said = "FID, and whether a picture is read as its class: measured beforehand, of N pictures."
    missing = [one["contestant"] for one in record["results"] if one["quality"] is None]
    commands = ", ".join(f"<code>{escape(_command(spec))}</code>" for spec in missing)
    return f"{said} Not measured yet: {commands}" if missing else said


def _command(spec: str) -> str:
    """What measures a contestant."""
    name, _, way = spec.partition(":")
    sampler, _, steps = way.rpartition("-")
    more = f" --sampler {sampler} --steps {steps}" if way else ""
    return f"python -m gendiff evaluate {name}{more}"


def _seeds(seeds: list[int]) -> str:
    first, last = seeds[0], seeds[-1]
    run = seeds == list(range(first, last + 1))
    return f"{first}–{last}" if run and first != last else ", ".join(map(str, seeds[:16]))
