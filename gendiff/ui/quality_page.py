"""Measured quality as markup: the table, the curves over NFE and seconds, the trilemma."""

from __future__ import annotations

from collections.abc import Callable
from html import escape

from gendiff.studio.quality import CITATION, PUBLISHED, Measured, Point, pareto
from gendiff.ui.charts import Axis, Dot, Series, chart
from gendiff.ui.standings import number

_COLOURS = ("cp-c0", "cp-c2", "cp-c3", "cp-c4", "cp-c5")


def page(found: list[Measured]) -> str:
    """Everything that is known of a data set's checkpoints, and what is not."""
    points = [point for one in found for point in one.points]
    notes = "".join(_note(one) for one in found)
    if not points:
        return f'<section class="cp-card"><h3>Not measured yet</h3>{notes}</section>{published()}'
    floor = _floor(found)
    over_nfe = _curves("FID over network calls", "NFE", points, lambda p: p.score.nfe, floor)
    over_seconds = _curves(
        "FID over time", "seconds a picture", points, lambda p: p.seconds, floor
    )
    return f"""<section class="cp-card" aria-label="Measured quality">
<h3>Quality beside its price</h3>
<div class="cp-charts">{over_nfe}{over_seconds}</div>
<p class="cp-small">A ring marks a point that another one of equal N beats in both: the full points
are the Pareto front. FID falls with N, so points of other N are not compared. Press a
point to see its samples.</p></section>
<section class="cp-card" aria-label="The trilemma"><h3>Quality, diversity, speed: pick two?</h3>
<div class="cp-charts">{_trilemma(points)}{_published_chart()}</div>
<p class="cp-small">Xiao et al. (2022) call it the trilemma of generative learning. The larger a
point, the higher its recall: the share of real pictures near a generated one. Right: {CITATION}
</p></section>
<section class="cp-card" aria-label="All numbers">{_table(points)}{notes}</section>"""


def published() -> str:
    """The published rows alone."""
    return (
        f'<section class="cp-card"><h3>Published numbers</h3><div class="cp-charts">'
        f'{_published_chart()}</div><p class="cp-small">{CITATION}</p></section>'
    )


def _groups(points: list[Point]) -> dict[str, list[Point]]:
    groups: dict[str, list[Point]] = {}
    for point in points:
        if point.score.guidance == 1 and point.score.dtype == "float32":
            groups.setdefault(point.group, []).append(point)
    return groups


def _curves(
    title: str,
    label: str,
    points: list[Point],
    price: Callable[[Point], float | None],
    floor: float | None,
) -> str:
    groups = [
        [(point, x) for point in own if (x := price(point))] for own in _groups(points).values()
    ]
    places = [(x, one.score.fid, one.score.images) for own in groups for one, x in own]
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
    level = None if floor is None else (floor, "real pictures")
    return chart(title, series, Axis(label, log=True), Axis("FID (lower is better)", True), level)


def _floor(found: list[Measured]) -> float | None:
    """The distance of real pictures, where all checkpoints were measured with as many."""
    floors = {one.metrics.floor.fid for one in found if one.points and one.metrics}
    return floors.pop() if len(floors) == 1 and min(floors) > 0 else None


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
        "Ours, as measured",
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
        f"{score.precision:.2f}, recall {score.recall:.2f}, {score.nfe} calls"
    )


def _table(points: list[Point]) -> str:
    cats = any(point.score.valid is not None for point in points)
    names = [
        "",
        "NFE",
        "pictures/s",
        "FID",
        "KID × 1000",
        "N",
        "precision",
        "recall",
        "obeys class",
    ]
    names += ["valid", "modes", "novel"] if cats else []
    head = "".join(f'<th scope="col">{name}</th>' for name in names)
    rows = []
    for point in points:
        score = point.score
        kid = f"{number(1000 * score.kid)} ± {number(1000 * score.kid_std)}"
        cells = [score.nfe, number(score.images_per_second), number(score.fid), kid]
        cells += [f"{score.images:,}", f"{score.precision:.3f}", f"{score.recall:.3f}"]
        cells += [_share(score.obedience)]
        if cats:
            modes = "–" if score.modes is None else f"{score.modes:,}"
            if score.modes is not None and score.modes_uniform:
                modes += f" of {score.modes_uniform:,.0f}"
            cells += [_share(score.valid), modes, _share(score.novelty)]
        body = "".join(f"<td>{cell}</td>" for cell in cells)
        rows.append(f'<tr><th scope="row">{escape(point.title)}</th>{body}</tr>')
    return (
        f'<table class="cp-table"><thead><tr>{head}</tr></thead><tbody>{"".join(rows)}</tbody>'
        "</table>"
    )


def _share(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.1f} %"


def _note(one: Measured) -> str:
    if one.missing:
        return f'<p class="cp-small"><b>{escape(one.title)}</b>: {escape(one.missing)}</p>'
    m = one.metrics
    accuracy = "" if m.features.accuracy is None else f", accuracy {m.features.accuracy:.3f}"
    said = (
        f"measured {m.measured} on {m.machine}, {m.device}, {m.dtype}; features of "
        f"{m.features.network}{accuracy}; against {m.reference.images:,} pictures of the "
        f"{m.reference.split} split; real {m.floor.against} pictures reach FID "
        f"{number(m.floor.fid)}; averaged weights: {'yes' if m.headline.ema else 'no'}"
    )
    return (
        f'<p class="cp-small"><b>{escape(one.title)}</b>: {escape(said)}. '
        f"<code>{escape(m.command)}</code></p>"
    )
