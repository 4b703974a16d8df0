"""Tables of the Compare tab, and how their numbers are written.

Where there is room a table is one; on a phone each row becomes a card whose numbers carry their
column's name, so that nothing is cut (compare.css).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

Row = tuple[str, Sequence[str]]
NONE = "–"  # what was not measured; a card on a phone leaves it out


def table(head: Sequence[str], rows: Iterable[Row]) -> str:
    """head: the columns' names, the first that of the rows' heads. rows: (head, cells) as markup;
    a row with one cell is a sentence across all columns."""
    top = "".join(f'<th scope="col">{escape(name)}</th>' for name in head)
    body = "".join(
        f'<tr><th scope="row">{first}</th>{_cells(head, own)}</tr>' for first, own in rows
    )
    return f'<table class="cp-table"><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table>'


def _cells(head: Sequence[str], cells: Sequence[str]) -> str:
    if len(cells) == 1 and len(head) > 2:
        return f'<td class="cp-across" colspan="{len(head) - 1}">{cells[0]}</td>'
    parts = []
    for name, cell in zip(head[1:], cells, strict=True):
        none = ' class="cp-none"' if cell == NONE else ""
        parts.append(f'<td data-name="{escape(name, quote=True)}"{none}><span>{cell}</span></td>')
    return "".join(parts)


def number(value: float | None) -> str:
    """Three digits that count; a dash for what is not known."""
    if value is None:
        return NONE
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}" if value >= 1 else f"{value:.3g}"


def many(count: int, noun: str) -> str:
    """`1 call`, `20 calls`."""
    return f"{count:,} {noun}{'s' * (count != 1)}"


def share(value: float | None) -> str:
    """Percent of one; a dash for what is not known."""
    return NONE if value is None else f"{100 * value:.1f} %"
