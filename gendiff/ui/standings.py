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
    rows = "".join(_row(one) for one in record["results"])
    where = (
        f"{record['machine']}, {record['device']}, {record['dtype']}, {record['threads']} "
        f"thread{'s' * (record['threads'] != 1)}, batch {record['results'][0]['batch']}, seeds "
        f"{_seeds(record['seeds'])}"
    )
    return f"""<section class="cp-card" aria-label="Result of the race">
<table class="cp-table"><thead><tr><th scope="col">Contestant</th><th scope="col">NFE</th>
<th scope="col">seconds</th><th scope="col">pictures/s</th><th scope="col">times the fastest</th>
</tr></thead><tbody>{rows}</tbody></table>
<p class="cp-small">{escape(note)} {escape(where)}. Seconds of work alone, for all
{record["results"][0]["images"]} pictures; {escape(record["same_noise"])}.</p>
<p class="cp-small"><code>{escape(record["command"])}</code></p></section>"""


def _row(one: Record) -> str:
    title = escape(one["title"])
    if one["failed"]:
        return (
            f'<tr><th scope="row">{title}</th><td>{one["nfe"]}</td>'
            f'<td colspan="3">could not race: {escape(one["failed"])}</td></tr>'
        )
    ratio = one["times_the_fastest"]
    # On a logarithm, or the fastest lane's bar could not be seen.
    width = 100 * min(1.0, (1 + math.log10(max(ratio, 1))) / 5)
    return (
        f'<tr><th scope="row">{title}</th><td>{one["nfe"]}</td>'
        f"<td>{number(one['seconds'])}</td><td>{number(one['images_per_second'])}</td>"
        f'<td><span class="cp-ratio"><b style="width:{width:.1f}%"></b></span>'
        f"{number(ratio)}×</td></tr>"
    )


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
