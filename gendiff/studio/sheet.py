"""A comparison as a sheet to keep: one HTML or Markdown file with pictures, settings, machine,
date, and the commands that there are; or its numbers as CSV in long form, or JSON.

Nothing is loaded from elsewhere: pictures stand in the file as lossless PNGs. Words that are not
ours are escaped.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from html import escape

import numpy as np

from gendiff.errors import GendiffError
from gendiff.studio import records
from gendiff.studio.records import Record
from gendiff.studio.sections import Section, modes, picture_url, ran, share

FORMS = {"html": "text/html", "md": "text/markdown", "csv": "text/csv", "json": "application/json"}
_HEAD = ("Contestant", "NFE", "seconds", "pictures/s", "times the fastest")
_QUALITY = ("Contestant", "FID", "KID × 1000", "N", "precision", "recall", "obeys class")
_QUALITY += ("valid cats", "modes", "novel")
_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 62rem; margin: 2rem auto; padding: 0 1rem;
  color: #1c1917; background: #fff }
h2 { margin-top: 2.5rem }
div { overflow-x: auto }
table { border-collapse: collapse; width: 100% }
th, td { padding: .3rem .8rem .3rem 0; text-align: right; border-bottom: 1px solid #d6d3d1;
  font-variant-numeric: tabular-nums; white-space: nowrap }
th:first-child, td:first-child { text-align: left }
figure { margin: 1rem 1rem 1rem 0; display: inline-block }
img { image-rendering: pixelated; max-width: 28rem; width: 100%; display: block }
code { background: #f5f5f4; padding: .1rem .3rem; overflow-wrap: anywhere }
"""


def write(
    form: str,
    record: Record | None,
    pictures: Sequence[np.ndarray | None],
    more: Sequence[Section] = (),
) -> str:
    """The race, and what else the comparison holds, in one of FORMS.

    Args:
        record: of `records.record`; None: no race, `more` alone.
        pictures: of each lane (N, H, W, C) uint8, None if it failed.
        more: the other sections, see `gendiff.studio.sections`.

    Raises:
        GendiffError: there is no such form.
    """
    if form not in FORMS:
        raise GendiffError(f"A sheet is {', '.join(FORMS)}; choose one of these.")
    others = {one.name: one.record for one in more}
    if form == "json":
        return json.dumps({**(record or {}), **others}, indent=2, ensure_ascii=False) + "\n"
    if form == "csv":
        return records.to_lines({**({"race": record} if record else {}), **others})
    parts = [*(_race(record, pictures) if record else ()), *more]
    count = record["results"][0]["images"] if record else 0
    race = f"A race over {count} picture{'s' * (count != 1)}"
    title = f"A comparison: {parts[0].data}" if more else race
    return (_html if form == "html" else _markdown)(title, parts)


def _race(record: Record, pictures: Sequence[np.ndarray | None]) -> list[Section]:
    """The race, and the quality of its contestants."""
    results = record["results"]
    figures = [
        (one["title"], picture_url(own))
        for one, own in zip(results, pictures, strict=True)
        if own is not None
    ]
    rows = [[one["title"], *_measures(one)] for one in results]
    title = "Measured quality of the contestants"
    return [
        Section(
            "race",
            record["data"],
            f"Race: {record['data']}",
            record,
            _HEAD,
            [_speeds(one) for one in results],
            figures,
            _facts(record),
            record["command"],
        ),
        Section("quality", record["data"], title, None, _QUALITY, rows),
    ]


def _measures(row: Record) -> list[str]:
    """FID and its company of a contestant, from metrics.json; dashes where it was not measured."""
    score = row["quality"]
    if score is None:
        return ["not measured yet", *["–"] * (len(_QUALITY) - 2)]
    kid = f"{1000 * score['kid']:.2f} ± {1000 * score['kid_std']:.2f}"
    said = [share(score["obedience"]), share(score["valid"])]
    said += [modes(score), share(score["novelty"])]
    numbers = [f"{score['fid']:.3g}", kid, f"{score['images']:,}"]
    return [*numbers, f"{score['precision']:.3f}", f"{score['recall']:.3f}", *said]


def _speeds(one: Record) -> list[str]:
    if one["failed"]:
        return [one["title"], str(one["nfe"]), "could not race", "–", "–"]
    speed, ratio = one["images_per_second"], one["times_the_fastest"]
    return [one["title"], str(one["nfe"]), f"{one['seconds']:.3f}", f"{speed:.2f}", f"{ratio:.1f}"]


def _facts(record: Record) -> list[tuple[str, str]]:
    seeds = ", ".join(map(str, record["seeds"]))
    label = "each seed draws its own" if record["class"] is None else str(record["class"])
    return [
        ("Data", record["data"]),
        ("Seeds", seeds),
        ("Class", label),
        ("Batch", str(record["results"][0]["batch"])),
        *ran(record),
        *([("Run", "beforehand, on that machine")] if record.get("beforehand") else []),
        ("Clock", "seconds of work alone; loading and warm-up are left out"),
        ("Noise", record["same_noise"]),
    ]


def _html(title: str, sections: Sequence[Section]) -> str:
    body = "".join(map(_html_section, sections))
    return f"""<!doctype html><html lang="en"><meta charset="utf-8">
<meta name="viewport" content="width=device-width"><title>gendiff: {escape(title)}</title>
<style>{_STYLE}</style><h1>{escape(title)}</h1>{body}</html>
"""


def _html_section(one: Section) -> str:
    top = "".join(f"<th>{escape(word)}</th>" for word in one.head)
    rows = "".join(
        f"<tr>{''.join(f'<td>{escape(word)}</td>' for word in row)}</tr>" for row in one.rows
    )
    figures = "".join(
        f'<figure><img src="{url}" alt="{escape(said, quote=True)}">'
        f"<figcaption>{escape(said)}</figcaption></figure>"
        for said, url in one.figures
    )
    facts = "".join(f"<li>{escape(name)}: {escape(text)}</li>" for name, text in one.facts)
    again = f"<p>The same again: <code>{escape(one.command)}</code></p>" if one.command else ""
    return f"""
<h2>{escape(one.title)}</h2><div><table><thead><tr>{top}</tr></thead><tbody>{rows}</tbody></table>
</div>{figures}<ul>{facts}</ul>{again}"""


def _markdown(title: str, sections: Sequence[Section]) -> str:
    return "\n".join([f"# {escape(title)}", "", *map(_markdown_section, sections)])


def _markdown_section(one: Section) -> str:
    table = [one.head, ["---"] * len(one.head), *one.rows]
    cells = [[escape(word).replace("|", "\\|") for word in row] for row in table]
    again = one.command.replace("`", "")
    lines = [
        f"## {escape(one.title)}",
        "",
        *("| " + " | ".join(row) + " |" for row in cells),
        "",
        *(f"![{escape(said)}]({url})\n" for said, url in one.figures),
        *(f"- {escape(name)}: {escape(text)}" for name, text in one.facts),
        "",
        *([f"The same again: `{again}`", ""] if again else []),
    ]
    return "\n".join(lines)
