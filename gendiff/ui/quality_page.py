"""Measured quality as markup: the table, the curves over NFE and seconds, the trilemma."""

from __future__ import annotations

from collections.abc import Callable
from html import escape

from gendiff.results import Score
from gendiff.studio import quality
from gendiff.studio.quality import CITATION, PUBLISHED, Measured, Point, pareto
from gendiff.ui.charts import Axis, Dot, Series, chart
from gendiff.ui.tables import NONE, many, number, share, table

_COLOURS = ("cp-c0", "cp-c2", "cp-c3", "cp-c4", "cp-c5")


def page(found: list[Measured], images: int | None = None) -> str:
    """Everything that is known of a data set's checkpoints, and what is not.

    images: the N whose points are drawn; None: the one that gives the most complete comparison.
    """
    every = [point for one in found for point in one.points]
    notes = "".join(_note(one) for one in found)
    points = quality.comparable(every, images)
    if not points:
        return f'<section class="cp-card"><h3>Not measured yet</h3>{notes}</section>{published()}'
    images = points[0].score.images
    over_nfe = _curves("FID over network calls", "NFE", points, lambda p: p.score.nfe)
    over_seconds = _curves("FID over time", "seconds a picture", points, lambda p: p.seconds)
    ordered = sorted(every, key=lambda point: point.score.images != images)  # those drawn first
    lacking = "".join(_lacking(one, images) for one in found if one.points)
    return f"""<section class="cp-card" aria-label="Measured quality">
<h3>Quality beside its price: {images:,} pictures each</h3>
<div class="cp-charts">{over_nfe}{over_seconds}</div>
<p class="cp-small">Every point, and the line of real pictures, is the distance of N = {images:,}
pictures from the test pictures: FID falls with N, so other N are drawn apart. A ring marks a point
that another one beats in both: the full points are the Pareto front. Press a point to see its
samples.</p>{lacking}</section>
<section class="cp-card" aria-label="The trilemma"><h3>Quality, diversity, speed: pick two?</h3>
<div class="cp-charts">{_trilemma(points)}{_published_chart()}</div>
<p class="cp-small">Xiao et al. (2022) call it the trilemma of generative learning. The larger a
point, the higher its recall: the share of real pictures near a generated one. Right: {CITATION}
</p></section>
<section class="cp-card" aria-label="All numbers">{_table(ordered)}{notes}</section>"""


def published() -> str:
    """The published rows alone."""
    return (
        f'<section class="cp-card"><h3>Published numbers</h3><div class="cp-charts">'
        f'{_published_chart()}</div><p class="cp-small">{CITATION}</p></section>'
    )


def _groups(points: list[Point]) -> dict[str, list[Point]]:
    groups: dict[str, list[Point]] = {}
    for point in points:
        groups.setdefault(point.group, []).append(point)
    return groups


def _curves(
    title: str,
    label: str,
    points: list[Point],
    price: Callable[[Point], float | None],
) -> str:
    """FID over a price; the points are of one N."""
    groups = [
        [(point, x) for point in own if (x := price(point))] for own in _groups(points).values()
    ]
    places = [(x, one.score.fid) for own in groups for one, x in own]
    front = iter(pareto(places))
    series, colours = [], iter(_COLOURS)
    for own in filter(None, groups):
        first = own[0][0]
        colour = "cp-c1" if first.family == "gan" else next(colours, _COLOURS[-1])
        dots = [
            Dot(x, one.score.fid, _said(one), one.contestant.spec, 6, not next(front))
            for one, x in own
        ]
        series.append(Series(first.group, colour, dots, joined=len(own) > 1))
    images = points[0].score.images
    floor = quality.floor(points, images)
    level = None if floor is None else (floor, f"real pictures, N = {images:,}")
    up = Axis(f"FID, N = {images:,} (lower is better)", True)
    return chart(title, series, Axis(label, log=True), up, level)


def _lacking(one: Measured, images: int) -> str:
    """How to measure a checkpoint that has no point of this N."""
    if any(point.plain and point.score.images == images for point in one.points):
        return ""
    command = f"python -m gendiff evaluate {one.name} --images {images}"
    return (
        f'<p class="cp-small"><b>{escape(one.title)}</b> was not measured with N = {images:,}: '
        f"<code>{escape(command)}</code></p>"
    )


def _trilemma(points: list[Point]) -> str:
    series = [
        Series(
            title,
            colour,
            [
                Dot(
                    one.score.images_per_second,
                    one.score.fid,
                    _said(one),
                    one.contestant.spec,
                    _radius(one.score.recall),
                )
                for own in _groups(points).values()
                for one in own
                if one.family == family and one.score.images_per_second
            ],
        )
        for family, title, colour in (("gan", "GAN", "cp-c1"), ("diffusion", "Diffusion", "cp-c0"))
    ]
    return chart(
        f"Ours, measured with {points[0].score.images:,} pictures each",
        series,
        Axis("pictures a second (higher is better)", True),
        Axis("FID (lower is better)", True),
    )


def _published_chart() -> str:
    series = [
        Series(
            title,
            colour,
            [
                Dot(
                    row.nfe,
                    row.fid,
                    f"{row.name}: FID {row.fid}, NFE {row.nfe}, recall {row.recall or '?'}",
                    size=_radius(row.recall),
                    hollow=row.recall is None,
                    text=row.name.partition(" (")[0],
                )
                for row in PUBLISHED
                if row.family == family
            ],
        )
        for family, title, colour in (("gan", "GAN", "cp-c1"), ("diffusion", "Diffusion", "cp-c0"))
    ]
    return chart(
        "Published, CIFAR-10 (ring: no recall from two sources)",
        series,
        Axis("NFE (lower is faster)", True),
        Axis("FID in Inception features", True),
    )


def _radius(recall: float | None) -> float:
    """Area in proportion to the recall."""
    return 5 if recall is None else 3 + 9 * max(recall, 0) ** 0.5


def _said(one: Point) -> str:
    score = one.score
    return (
        f"{one.title}: FID {number(score.fid)} ({score.images:,} pictures), precision "
        f"{score.precision:.2f}, recall {score.recall:.2f}, {many(score.nfe, 'call')}"
    )


def _table(points: list[Point]) -> str:
    cats = any(point.score.valid is not None for point in points)
    head = ["", "NFE", "pictures/s", "N", "FID", "floor", "KID × 1000", "precision", "recall"]
    head += ["obeys class", *(["valid", "modes", "novel"] if cats else [])]
    return table(head, [(escape(point.title), _cells(point.score, cats)) for point in points])


def _cells(score: Score, cats: bool) -> list[str]:
    kid = f"{number(1000 * score.kid)} ± {number(1000 * score.kid_std)}".replace("-", "−")
    cells = [str(score.nfe), number(score.images_per_second), f"{score.images:,}"]
    cells += [number(score.fid), number(score.floor_fid), kid]
    cells += [f"{score.precision:.3f}", f"{score.recall:.3f}", share(score.obedience)]
    if not cats:
        return cells
    modes = quality.modes(score.modes, score.valid, score.images, score.modes_uniform)
    return [*cells, share(score.valid), modes or NONE, share(score.novelty)]


def _note(one: Measured) -> str:
    if one.missing:
        return f'<p class="cp-small"><b>{escape(one.title)}</b>: {escape(one.missing)}</p>'
    m = one.metrics
    accuracy = "" if m.features.accuracy is None else f", accuracy {m.features.accuracy:.3f}"
    said = (
        f"measured {m.measured} on {m.machine}, {m.device}, {m.dtype}; features of "
        f"{m.features.network}{accuracy}; against {m.reference.images:,} pictures of the "
        f"{m.reference.split} split; the floor is of as many real {m.floor.against} pictures; "
        f"averaged weights: {'yes' if m.headline.ema else 'no'}"
    )
    return (
        f'<p class="cp-small"><b>{escape(one.title)}</b>: {escape(said)}. '
        f"<code>{escape(m.command)}</code></p>"
    )
