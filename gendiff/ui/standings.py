"""The race's result as a table: seconds and their ratios, and beside them what was measured of
the quality of the same contestants."""

from __future__ import annotations

import math
from html import escape
from pathlib import Path

from gendiff.studio.records import Record


def style() -> str:
    """The style sheet of all views, as an element for the page's head."""
    return f"<style>{Path(__file__).with_name('compare.css').read_text('utf-8')}</style>"


def standings(record: Record, note: str = "") -> str:
    """The record as markup; every word that is not ours is escaped."""
    where = (
        f"{record['machine']}, {record['device']}, {record['dtype']}, {record['threads']} "
        f"thread{'s' * (record['threads'] != 1)}, batch {record['results'][0]['batch']}, seeds "
        f"{_seeds(record['seeds'])}"
    )
    cats = any((one["quality"] or {}).get("valid") is not None for one in record["results"])
    names = ("NFE", "seconds", "pictures/s", "times the fastest", "FID (N)", "obeys class")
    names += ("valid",) if cats else ()
    head = "".join(f'<th scope="col">{name}</th>' for name in names)
    rows = "".join(_row(one, cats) for one in record["results"])
    return f"""<section class="cp-card" aria-label="Result of the race">
<table class="cp-table"><thead><tr><th scope="col">Contestant</th>{head}</tr></thead>
<tbody>{rows}</tbody></table>
<p class="cp-small">{escape(note)} {escape(where)}. Seconds of work alone, for all
{record["results"][0]["images"]} pictures; {escape(record["same_noise"])}.</p>
<p class="cp-small">{_measured(record)}</p>
<p class="cp-small"><code>{escape(record["command"])}</code></p></section>"""


def _row(one: Record, cats: bool) -> str:
    title = escape(one["title"])
    if one["failed"]:
        return (
            f'<tr><th scope="row">{title}</th><td>{one["nfe"]}</td>'
            f'<td colspan="{5 + cats}">could not race: {escape(one["failed"])}</td></tr>'
        )
    ratio = one["times_the_fastest"]
    # On a logarithm, or the fastest lane's bar could not be seen.
    width = 100 * min(1.0, (1 + math.log10(max(ratio, 1))) / 5)
    return (
        f'<tr><th scope="row">{title}</th><td>{one["nfe"]}</td>'
        f"<td>{number(one['seconds'])}</td><td>{number(one['images_per_second'])}</td>"
        f'<td><span class="cp-ratio"><b style="width:{width:.1f}%"></b></span>'
        f"{number(ratio)}×</td>{_quality(one['quality'], cats)}</tr>"
    )


def _quality(score: Record | None, cats: bool) -> str:
    """The cells of what was measured beforehand."""
    if score is None:
        return "<td>–</td>" * (2 + cats)
    fid = f"{number(score['fid'])} <small>({score['images']:,})</small>"
    shares = [score["obedience"], *([score["valid"]] if cats else [])]
    cells = [fid, *("–" if share is None else f"{100 * share:.0f} %" for share in shares)]
    return "".join(f"<td>{cell}</td>" for cell in cells)


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


def number(value: float | None) -> str:
    """Three digits that count; a dash for what is not known."""
    if value is None:
        return "–"
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}" if value >= 1 else f"{value:.3g}"


def _seeds(seeds: list[int]) -> str:
    first, last = seeds[0], seeds[-1]
    run = seeds == list(range(first, last + 1))
    return f"{first}–{last}" if run and first != last else ", ".join(map(str, seeds[:16]))
