"""A race as a sheet to keep: one HTML or Markdown file with its pictures, settings and commands.

Nothing is loaded from elsewhere: pictures stand in the file as lossless PNGs. Words that are not
ours are escaped.
"""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Sequence
from html import escape

import numpy as np

from gendiff.errors import GendiffError
from gendiff.images import enlarge, tile, to_pil
from gendiff.studio import records
from gendiff.studio.records import Record

FORMS = {"html": "text/html", "md": "text/markdown", "csv": "text/csv", "json": "application/json"}
SIDE = 512  # pixels that a grid of pictures is enlarged to, about
_HEAD = ("Contestant", "NFE", "seconds", "pictures/s", "times the fastest")
_QUALITY = ("FID", "KID × 1000", "N", "precision", "recall", "class obeyed", "valid cats")
_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 62rem; margin: 2rem auto; padding: 0 1rem;
  color: #1c1917; background: #fff }
table { border-collapse: collapse; width: 100% }
th, td { padding: .3rem .8rem .3rem 0; text-align: right; border-bottom: 1px solid #d6d3d1;
  font-variant-numeric: tabular-nums }
th:first-child, td:first-child { text-align: left }
figure { margin: 1rem 1rem 1rem 0; display: inline-block }
img { image-rendering: pixelated; max-width: 28rem; width: 100%; display: block }
code { background: #f5f5f4; padding: .1rem .3rem; overflow-wrap: anywhere }
"""


def write(form: str, record: Record, pictures: Sequence[np.ndarray | None]) -> str:
    """The race in one of FORMS.

    Args:
        record: of `records.record`. pictures: of each lane (N, H, W, C) uint8, None if it failed.

    Raises:
        GendiffError: there is no such form.
    """
    if form == "json":
        return json.dumps(record, indent=2, ensure_ascii=False) + "\n"
    if form == "csv":
        return records.to_csv(record)
    if form not in FORMS:
        raise GendiffError(f"A sheet is {', '.join(FORMS)}; choose one of these.")
    urls = [None if one is None else _url(one) for one in pictures]
    measures = [_measures(one) for one in record["results"]]
    return (_html if form == "html" else _markdown)(record, urls, measures)


def _url(pictures: np.ndarray) -> str:
    """A lane's pictures as one PNG, as a data URL."""
    grid = tile(pictures, gap=max(1, pictures.shape[1] // 16))
    buffer = io.BytesIO()
    to_pil(enlarge(grid, max(1, SIDE // max(grid.shape[:2])))).save(buffer, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


def _measures(row: Record) -> list[str]:
    """FID and its company of a contestant, from metrics.json; dashes where it was not measured."""
    score = row["quality"]
    if score is None:
        return ["not measured yet", *["–"] * (len(_QUALITY) - 1)]
    kid = f"{1000 * score['kid']:.2f} ± {1000 * score['kid_std']:.2f}"
    shares = [score["obedience"], score["valid"]]
    said = ["–" if share is None else f"{100 * share:.1f} %" for share in shares]
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
    where = (
        f"{record['machine']}; {record['device']}, {record['dtype']}, {record['threads']} "
        f"threads, torch {record['torch']}"
    )
    return [
        ("Data", record["data"]),
        ("Seeds", seeds),
        ("Class", label),
        ("Batch", str(record["results"][0]["batch"])),
        ("Machine", where),
        ("Clock", "seconds of work alone; loading and warm-up are left out"),
        ("Noise", record["same_noise"]),
    ]


def _html(record: Record, urls: Sequence[str | None], measures: Sequence[list[str]]) -> str:
    def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
        top = "".join(f"<th>{escape(word)}</th>" for word in head)
        body = "".join(
            f"<tr>{''.join(f'<td>{escape(word)}</td>' for word in row)}</tr>" for row in rows
        )
        return f"<table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table>"

    results = record["results"]
    figures = "".join(
        f'<figure><img src="{url}" alt="{escape(one["title"], quote=True)}">'
        f"<figcaption>{escape(one['title'])}</figcaption></figure>"
        for one, url in zip(results, urls, strict=True)
        if url
    )
    facts = "".join(f"<li>{name}: {escape(text)}</li>" for name, text in _facts(record))
    rows = [[one["title"], *row] for one, row in zip(results, measures, strict=True)]
    return f"""<!doctype html><html lang="en"><meta charset="utf-8">
<meta name="viewport" content="width=device-width"><title>gendiff: a race</title>
<style>{_STYLE}</style><h1>A race over {results[0]["images"]} pictures</h1>
{table(_HEAD, [_speeds(one) for one in results])}
{figures}
<h2>Measured quality</h2>{table(["Contestant", *_QUALITY], rows)}
<h2>Settings</h2><ul>{facts}</ul>
<p>The same again: <code>{escape(record["command"])}</code></p></html>
"""


def _markdown(record: Record, urls: Sequence[str | None], measures: Sequence[list[str]]) -> str:
    def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
        lines = [head, ["---"] * len(head), *rows]
        cells = [[escape(word).replace("|", "\\|") for word in row] for row in lines]
        return ["| " + " | ".join(row) + " |" for row in cells]

    results = record["results"]
    rows = [[one["title"], *row] for one, row in zip(results, measures, strict=True)]
    lines = [
        f"# A race over {results[0]['images']} pictures",
        "",
        *table(_HEAD, [_speeds(one) for one in results]),
        "",
        *(
            f"![{escape(one['title'])}]({url})\n"
            for one, url in zip(results, urls, strict=True)
            if url
        ),
        "## Measured quality",
        "",
        *table(["Contestant", *_QUALITY], rows),
        "",
        "## Settings",
        "",
        *(f"- {name}: {escape(text)}" for name, text in _facts(record)),
        "",
        f"The same again: `{record['command'].replace('`', '')}`",
        "",
    ]
    return "\n".join(lines)
