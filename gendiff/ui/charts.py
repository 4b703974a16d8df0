"""Charts of few points as SVG, made here once: log axes, curves, points that can be pressed.

The player draws what moves (drawing.js); these stand still. Every point has a title and can be
reached by keyboard; colours are classes of compare.css. Words that are not ours are escaped.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape

WIDTH, HEIGHT = 460, 300
SMALL, PRESSED = 5, 10  # radius: a point below the one can be pressed within the other
LEFT, RIGHT, TOP, BOTTOM = 52, 16, 14, 46


@dataclass(frozen=True)
class Dot:
    """A point. pick: what pressing it says ("" for nothing). size: radius in units of the chart;
    hollow: drawn as a ring. text: written beside it."""

    x: float
    y: float
    title: str
    pick: str = ""
    size: float = 6
    hollow: bool = False
    text: str = ""


@dataclass(frozen=True)
class Series:
    """Points of one colour (a class of compare.css), joined by a line in the order of x or not."""

    name: str
    colour: str
    dots: Sequence[Dot]
    joined: bool = False


@dataclass(frozen=True)
class Axis:
    """label; log: decades instead of a straight scale. ends: None takes what the points need."""

    label: str
    log: bool = False
    ends: tuple[float, float] | None = None
    ticks: Sequence[float] = field(default_factory=tuple)


def chart(
    title: str, series: Sequence[Series], x: Axis, y: Axis, level: tuple[float, str] | None = None
) -> str:
    """A figure. level: a dashed line at that y, with its name."""
    dots = [dot for one in series for dot in one.dots]
    if not dots:
        return ""
    across = _Scale(x, [dot.x for dot in dots], LEFT, WIDTH - RIGHT)
    ys = [dot.y for dot in dots] + ([level[0]] if level else [])
    up = _Scale(y, ys, HEIGHT - BOTTOM, TOP)
    parts = [_grid(across, up, x, y)]
    if level:
        at = up(level[0])
        parts.append(
            f'<path class="cp-level" d="M{LEFT} {at:.1f}H{WIDTH - RIGHT}"/>'
            f'<text class="cp-tick" x="{WIDTH - RIGHT}" y="{at - 5:.1f}" text-anchor="end">'
            f"{escape(level[1])}</text>"
        )
    parts += [_line(one, across, up) for one in series if one.joined]
    parts += [_dot(dot, one, across, up) for one in series for dot in one.dots]
    legend = "".join(
        f'<span class="{one.colour}">{escape(one.name)}</span>' for one in series if one.dots
    )
    return f"""<figure class="cp-chart"><figcaption><b>{escape(title)}</b>{legend}</figcaption>
<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="group" aria-label="{escape(title, quote=True)}">
{"".join(parts)}</svg></figure>"""


class _Scale:
    """Data -> place on the page."""

    def __init__(self, axis: Axis, values: Sequence[float], start: float, stop: float) -> None:
        self.log, self.start, self.stop = axis.log, start, stop
        low, high = axis.ends or (min(values), max(values))
        if axis.log:
            low, high = math.log10(low), math.log10(high)
            room = max(0.08 * (high - low), 0.12)
        else:
            room = 0.08 * (high - low) or 0.5
        self.low, self.high = (low, high) if axis.ends else (low - room, high + room)
        if not axis.log and not axis.ends and min(values) >= 0:
            self.low = max(self.low, 0.0)

    def __call__(self, value: float) -> float:
        v = math.log10(value) if self.log else value
        return self.start + (v - self.low) / (self.high - self.low) * (self.stop - self.start)

    def ticks(self) -> list[float]:
        """Two to seven round values within the scale: of a log one 1, 2, 5 of each decade; where
        it is too short for two of these, as of a straight one."""
        if not self.log:
            return _straight(self.low, self.high)
        decades = range(math.floor(self.low), math.ceil(self.high) + 1)
        for digits in ((1, 2, 5), (1, 3), (1,)):
            found = [
                d * 10.0**k
                for k in decades
                for d in digits
                if self.low <= math.log10(d * 10.0**k) <= self.high
            ]
            if len(found) <= 7:
                break
        return found if len(found) > 1 else _straight(10**self.low, 10**self.high)


def _straight(low: float, high: float) -> list[float]:
    """Round values from low to high, two to seven."""
    step = 10 ** math.floor(math.log10((high - low) / 2))
    step *= next(k for k in (1, 2, 5) if (high - low) / (step * k) <= 6)
    return [k * step for k in range(math.ceil(low / step), math.floor(high / step) + 1)]


def _grid(across: _Scale, up: _Scale, x: Axis, y: Axis) -> str:
    parts = [f'<path class="cp-axis" d="M{LEFT} {TOP}V{HEIGHT - BOTTOM}H{WIDTH - RIGHT}"/>']
    for value in x.ticks or across.ticks():
        at = across(value)
        parts.append(
            f'<path class="cp-grid" d="M{at:.1f} {TOP}V{HEIGHT - BOTTOM}"/><text class="cp-tick" '
            f'x="{at:.1f}" y="{HEIGHT - BOTTOM + 17}" text-anchor="middle">{_short(value)}</text>'
        )
    for value in y.ticks or up.ticks():
        at = up(value)
        parts.append(
            f'<path class="cp-grid" d="M{LEFT} {at:.1f}H{WIDTH - RIGHT}"/><text class="cp-tick" '
            f'x="{LEFT - 6}" y="{at + 4:.1f}" text-anchor="end">{_short(value)}</text>'
        )
    middle = (TOP + HEIGHT - BOTTOM) / 2
    parts.append(
        f'<text class="cp-name" x="{(LEFT + WIDTH - RIGHT) / 2}" y="{HEIGHT - 8}" '
        f'text-anchor="middle">{escape(x.label)}</text><text class="cp-name" '
        f'transform="translate(14 {middle}) rotate(-90)" text-anchor="middle">{escape(y.label)}'
        "</text>"
    )
    return "".join(parts)


def _line(one: Series, across: _Scale, up: _Scale) -> str:
    ordered = sorted(one.dots, key=lambda dot: dot.x)
    way = "L".join(f"{across(dot.x):.1f} {up(dot.y):.1f}" for dot in ordered)
    return f'<path class="cp-line {one.colour}" d="M{way}"/>'


def _dot(dot: Dot, one: Series, across: _Scale, up: _Scale) -> str:
    x, y, title = across(dot.x), up(dot.y), escape(dot.title, quote=True)
    ring = " cp-hollow" if dot.hollow else ""
    circle = f'<circle class="{one.colour}{ring}" cx="{x:.1f}" cy="{y:.1f}" r="{dot.size:.1f}"/>'
    left = x > WIDTH - 110
    text = (
        f'<text class="cp-tick" x="{x + (-1 if left else 1) * (dot.size + 4):.1f}" '
        f'y="{y + 4:.1f}" text-anchor="{"end" if left else "start"}">{escape(dot.text)}</text>'
        if dot.text
        else ""
    )
    said = f"<title>{title}</title>{circle}{text}"
    if not dot.pick:
        return f"<g>{said}</g>"
    if dot.size < SMALL:
        said += f'<circle class="cp-hit" cx="{x:.1f}" cy="{y:.1f}" r="{PRESSED}"/>'
    pick = escape(dot.pick, quote=True)
    return f'<g role="button" tabindex="0" aria-label="{title}" data-pick="{pick}">{said}</g>'


def _short(value: float) -> str:
    if value >= 1000:
        return f"{value / 1000:g}k"
    return f"{value:.3g}"
