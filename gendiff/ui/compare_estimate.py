"""In the view Quality: numbers estimated here and now, from few pictures, as intervals."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import gradio as gr

from gendiff.intervals import Interval
from gendiff.results import Score
from gendiff.studio import Studio, estimate, quality, records, sections
from gendiff.studio.contestants import LANES_MAX, contestants
from gendiff.studio.estimate import Estimate, Plan, Working
from gendiff.ui.compare_race import OFFERED
from gendiff.ui.parts import (
    MODEL_WORK,
    PRIVATE,
    Setting,
    choice_of,
    number_in,
    on_device,
    status,
    wire_stop,
)
from gendiff.ui.race_runs import about
from gendiff.ui.tables import number

DEFAULT = ["gan", "dpmpp_2m-20"]
PACE = 0.4  # seconds between two signs of life
SEED_MAX = 10**9


@dataclass(frozen=True)
class Measure:
    """A number that few pictures can tell: of an estimate, and of what was measured beforehand."""

    title: str
    live: Callable[[Estimate], Interval | None]
    before: Callable[[Score], float | None]
    share: bool = True

    def said(self, value: float) -> str:
        text = f"{100 * value:.0f} %" if self.share else number(1000 * value)
        return text.replace("-", "−")


MEASURES = (
    Measure(
        "KID × 1000: 0 is what real pictures give, lower is better",
        lambda one: one.kid,
        lambda score: score.kid,
        share=False,
    ),
    Measure(
        "Obeys class: higher is better", lambda one: one.obedience, lambda score: score.obedience
    ),
    Measure("Valid cats: higher is better", lambda one: one.valid, lambda score: score.valid),
)


def build(studio: Studio, data: gr.Radio) -> tuple[dict[str, Setting], gr.HTML, gr.State]:
    """Components and wiring; what of it belongs in the address, the board that waits, and the
    last estimate for the sheet."""
    with gr.Row(elem_classes="cp-ask"):
        who = gr.Dropdown(
            OFFERED,
            value=DEFAULT,
            multiselect=True,
            allow_custom_value=True,
            max_choices=LANES_MAX,
            label="Estimate here",
            scale=5,
        )
        count = gr.Radio(
            [str(n) for n in estimate.PICTURES],
            value=str(estimate.PICTURES[0]),
            label="Pictures of each",
            scale=3,
        )
        first = gr.Number(estimate.FIRST, label="First seed", precision=0, minimum=0, scale=2)
        with gr.Row(elem_classes="actions"):
            go = gr.Button(
                "Estimate", variant="primary", elem_id="compare-estimate-run", min_width=90
            )
            stop = gr.Button("Stop", min_width=80, elem_id="compare-estimate-stop")
    line = status()
    board = gr.HTML(waiting(), elem_id="compare-estimate", apply_default_css=False)
    last = gr.State(None)

    @on_device(lambda *asked: estimate.cost(studio, _plan(studio, *asked)))
    def estimate_here(
        chosen: str, who: list[str], count: str, first: float
    ) -> Iterator[tuple[Any, Any, Any]]:
        plan = _plan(studio, chosen, who, count, first)
        yield gr.skip(), "Measuring one call of each …", gr.skip()
        yield gr.skip(), f"This takes about {about(estimate.forecast(studio, plan))}.", gr.skip()
        found: dict[int, Estimate] = {}
        heard = time.monotonic()
        for news in estimate.run(studio, plan):
            if isinstance(news, Estimate):
                found[plan.contestants.index(news.contestant)] = news
                shown = board_of(studio, plan, list(found.values()))
                yield shown, _counted(plan, news), gr.skip()
            elif time.monotonic() > heard + PACE:
                heard = time.monotonic()
                yield gr.skip(), _working(plan, news), gr.skip()
        record = records.estimates(studio, plan, list(found.values()))
        yield gr.skip(), "Done.", sections.estimated(record)

    event = go.click(
        estimate_here,
        [data, who, count, first],
        [board, line, last],
        show_progress="minimal",
        show_progress_on=line,
        **MODEL_WORK,
        **PRIVATE,
    )
    wire_stop(stop, None, line, event)
    settings = {
        "estimate": (who, lambda text: _readable(studio, text)),
        "pictures": (count, choice_of(*(str(n) for n in estimate.PICTURES))),
        "first": (first, number_in(0, SEED_MAX)),
    }
    return settings, board, last


def _plan(studio: Studio, data: str, who: list[str] | None, count: str, first: float) -> Plan:
    return estimate.prepare(studio, who or [], data, int(count), first)


def waiting() -> str:
    """What stands there before anything was estimated."""
    return (
        '<section class="cp-card"><p>Press Estimate to sample a few pictures now, on this machine,'
        " and to see how far such a small sample agrees with the numbers above. Every estimate is "
        "an interval that narrows while pictures arrive.</p></section>"
    )


def board_of(studio: Studio, plan: Plan, found: Sequence[Estimate]) -> str:
    """Each measure with a bar a contestant, and the conditions; found: the latest of each."""
    known = quality.scores(studio, plan.data, [one.spec for one in plan.contestants])
    scores = [known.get(one.contestant.spec) for one in found]
    parts = "".join(_measure(measure, found, scores) for measure in MEASURES)
    failed = "".join(
        f"<p>{escape(one.contestant.title())} could not be estimated: {escape(one.failed)}</p>"
        for one in found
        if one.failed
    )
    return f"""<section class="cp-card" aria-label="Estimated here">
<h3>Estimated here, just now</h3>
<p class="cp-small">A small sample: read the bars, not the lines. With 95 % confidence each bar
holds what very many pictures would give.{_legend(scores)}</p>
{parts}{failed}{_conditions(studio, plan, found)}</section>"""


def _legend(scores: Sequence[Score | None]) -> str:
    known = [score for score in scores if score]
    if not known:
        return " Nothing was measured beforehand of these contestants."
    counts = sorted({score.images for score in known})
    said = " and ".join(f"{count:,}" for count in counts)
    return f" The diamond is what was measured beforehand, of {said} pictures."


def _measure(measure: Measure, found: Sequence[Estimate], scores: Sequence[Score | None]) -> str:
    rows = [
        (one, live, measure.before(score) if score else None)
        for one, score in zip(found, scores, strict=True)
        if (live := measure.live(one))
    ]
    if not rows:
        return ""
    low, high = 0.0, 1.0
    if not measure.share:
        every = [value for _, live, old in rows for value in (live.low, live.high, old or 0.0)]
        low, high = min(0.0, *every), max(0.0, *every)
    bars = "".join(_bar(measure, *row, low, high) for row in rows)
    return f'<h4>{escape(measure.title)}</h4><div class="cp-ranges">{bars}</div>'


def _bar(
    measure: Measure, one: Estimate, live: Interval, old: float | None, low: float, high: float
) -> str:
    def at(value: float) -> float:
        return 100 * (value - low) / ((high - low) or 1.0)

    family = "cp-c0" if one.contestant.sampler else "cp-c1"
    width = max(at(live.high) - at(live.low), 0.8)
    zero = "" if measure.share else f'<em style="left:{at(0.0):.1f}%"></em>'
    mark = "" if old is None else f'<s style="left:{at(old):.1f}%"></s>'
    who = f"{one.contestant.title()}, N = {one.images}"
    said = f"<b>{measure.said(live.value)}</b> ({measure.said(live.low)} to "
    said += f"{measure.said(live.high)})"
    if old is not None:
        said += f"; beforehand {measure.said(old)}"
    return (
        f'<div class="cp-range cp-interval {family}"><span>{escape(who)}</span>'
        f'<i aria-hidden="true">{zero}<b style="left:{at(live.low):.1f}%;width:{width:.1f}%"></b>'
        f'<u style="left:{at(live.value):.1f}%"></u>{mark}</i><span>{said}</span></div>'
    )


def _conditions(studio: Studio, plan: Plan, found: Sequence[Estimate]) -> str:
    against = estimate.yardstick(studio, plan.data)
    each = "; ".join(
        f"{one.contestant.title()}: {one.images} pictures, seeds {plan.first}–"
        f"{plan.first + one.images - 1}, {one.nfe} NFE, {number(one.seconds)} s of work"
        for one in found
        if not one.failed
    )
    cats = f" Valid cats are not counted: {against.unpainted}" if against.unpainted else ""
    said = (
        f"{each}. {studio.conditions()}. Features of {against.reader.name}, accuracy "
        f"{against.reader.accuracy:.3f}, against {len(against.features)} bundled pictures of the "
        f"test split. Intervals: jackknife (KID), Wilson (shares). FID, precision and recall "
        f"change with the number of pictures, so few pictures cannot estimate them.{cats}"
    )
    return (
        f'<p class="cp-small">{escape(said)}</p><p class="cp-small"><code>'
        f"{escape(estimate.command(plan))}</code></p>"
    )


def _counted(plan: Plan, one: Estimate) -> str:
    title = one.contestant.title()
    return f"{title}: could not." if one.failed else f"{title}: {one.images} of {plan.pictures}."


def _working(plan: Plan, news: Working) -> str:
    calls = f", call {news.call} of {news.contestant.nfe}" if news.contestant.nfe > 1 else ""
    return f"{news.contestant.title()}: {news.done} of {plan.pictures} pictures{calls}."


def _readable(studio: Studio, text: str) -> list[str]:
    """A reader for the address: `gan,ddim-50`."""
    words = [word for word in text.split(",") if word.strip()]
    contestants(studio, words, least=1)
    return words
