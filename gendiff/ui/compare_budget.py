"""The view Budget: the same seconds for each family, spent in its best way."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape
from typing import Any

import gradio as gr
import numpy as np

from gendiff.studio import Studio, budget, quality
from gendiff.studio.budget import Delivered, Spend
from gendiff.studio.timeline import blank
from gendiff.ui.parts import (
    MODEL_WORK,
    PRIVATE,
    Page,
    choice_of,
    on_device,
    status,
    wire_stop,
)
from gendiff.ui.player import Frame, Message, Pane, Player, Run, stopped
from gendiff.ui.standings import number
from gendiff.ui.views import View

CHOICES = [("50 ms", "0.05"), ("1 second", "1"), ("10 seconds", "10")]
NAMES = {"gan": "GAN", "diffusion": "Diffusion", "flow": "Flow"}
WHY = f"""
One call of each network is timed on this machine, then the budget is planned and spent for real.
The GAN needs one call a picture: more time buys more pictures, never better ones. The diffusion
model can choose: here it makes as many pictures as leave each at least {budget.GOOD} steps, with
the sampler and steps of the lowest measured FID that fit; where nothing was measured, with
DPM-Solver++. If not even one picture gets {budget.GOOD} steps, it makes one with what there is.
At most {budget.PICTURES[0]} pictures, in batches of {budget.BATCH}. If one call alone takes longer
than the budget, it is made all the same, and said.
"""


def build(studio: Studio, page: Page, view: gr.Radio, data: gr.Radio) -> View:
    """Components and wiring; what of it belongs in the address."""
    with gr.Row():
        with gr.Column(scale=3, elem_classes="rail"):
            seconds = gr.Radio(CHOICES, value="1", label="You have")
            with gr.Row(elem_classes="actions"):
                go = gr.Button("Spend it", variant="primary", elem_id="compare-budget-run")
                stop = gr.Button("Stop", min_width=80)
            line = status()
        with gr.Column(scale=9, elem_classes="stage"):
            player = Player(
                label="What each family delivers",
                placeholder="Choose a budget, then press Spend it.",
                elem_id="compare-budget-player",
            )
            table = gr.HTML(
                _foreseen(studio, data.value),
                elem_id="compare-budget-table",
                apply_default_css=False,
            )
            with gr.Accordion("How it is spent", open=False):
                gr.Markdown(WHY)

    # what both families spend, and before it one call of each size of batch
    @on_device(lambda _, seconds: 2 * float(seconds) + 2)
    def spend(chosen: str, seconds: str) -> Iterator[tuple[Any, Any, Any]]:
        yield gr.skip(), "Timing one call of each network …", gr.skip()
        spends = budget.plans(studio, chosen, float(seconds))
        done: list[Delivered] = []
        try:
            for one in spends:
                yield _message(studio, spends, done), f"{one.contestant.title()} …", gr.skip()
                for event in budget.spend(studio, one):
                    if isinstance(event, Delivered):
                        done.append(event)
        except Exception:  # whatever it is, the player must not wait for more
            yield stopped("An error stopped this."), "", gr.skip()
            raise
        yield _message(studio, spends, done), "Done.", _table(studio, done, float(seconds))

    event = go.click(
        spend,
        [data, seconds],
        [player, line, table],
        show_progress="minimal",
        show_progress_on=line,
        **MODEL_WORK,
        **PRIVATE,
    )
    wire_stop(stop, player, line, event)
    settings = {"budget": (seconds, choice_of(*(value for _, value in CHOICES)))}
    return View(settings, [table], follow=lambda chosen: [_foreseen(studio, chosen)])


def _foreseen(studio: Studio, data: str | None) -> str:
    """What stands there before anyone has spent anything: the plan, at the measured speeds."""
    found = budget.foreseen(studio, data) if data else {}
    families = next(iter(found.values()), [])
    if not families:
        return ""
    named = {value: title for title, value in CHOICES}
    head = "".join(f'<th scope="col">{NAMES[one.family]}</th>' for one in families)
    rows = "".join(
        f'<tr><th scope="row">{named[f"{seconds:g}"]}</th>{"".join(map(_planned, spends))}</tr>'
        for seconds, spends in found.items()
    )
    machines = {one.metrics.machine for one in quality.measured(studio, data) if one.points}
    return f"""<section class="cp-card" aria-label="The plan"><h3>The plan</h3>
<table class="cp-table"><thead><tr><th></th>{head}</tr></thead><tbody>{rows}</tbody></table>
<p class="cp-small">At the speeds that were measured beforehand ({escape(", ".join(machines))}).
<b>Spend it</b> times this machine first, and then does it.</p></section>"""


def _planned(one: Spend) -> str:
    """A cell."""
    count = f"{one.pictures} picture{'s' * (one.pictures != 1)}"
    way = one.contestant.title() if one.contestant.sampler else "one call each"
    short = "" if one.fits else ", which takes longer"
    return f"<td>{count}, {escape(way)}{short}</td>"


def _message(studio: Studio, spends: Sequence[Spend], done: Sequence[Delivered]) -> Message:
    """All families side by side; what is not made yet is grey."""
    shape = studio.card(spends[0].contestant.model).shape
    channels, height, width = shape
    panes, pictures = [], []
    for place, one in enumerate(spends):
        panes.append(
            Pane(f"p{place}", one.contestant.title(), height, width, channels, one.pictures)
        )
        own = blank(shape, one.pictures)
        if place < len(done):
            own = np.concatenate([lap.pictures() for lap in done[place].laps])
        pictures.append(own)
    run = Run(
        n=1,
        panes=panes,
        label="What each family delivers",
        strip=None,
        pick="zoom",
        noun="budget",
        note=f"seeds from 0 on; {studio.conditions()}",
    )
    return run.whole([Frame(pictures)])


def _table(studio: Studio, done: Sequence[Delivered], seconds: float) -> str:
    rows = "".join(_row(studio, one, seconds) for one in done)
    return f"""<section class="cp-card" aria-label="What the budget bought">
<table class="cp-table"><thead><tr><th></th><th scope="col">pictures</th><th scope="col">NFE</th>
<th scope="col">seconds</th><th scope="col">of the budget</th><th scope="col">FID (N)</th></tr>
</thead><tbody>{rows}</tbody></table></section>"""


def _row(studio: Studio, one: Delivered, seconds: float) -> str:
    spent, result = one.spend, one.result
    data = studio.card(spent.contestant.model).data
    score = quality.scores(studio, data).get(spent.contestant.spec)
    fid = f"{number(score.fid)} <small>({score.images:,})</small>" if score else "not measured yet"
    share = f"{100 * result.seconds / seconds:,.0f} %"
    if not spent.fits:
        share += ": one call takes longer"
    title = escape(spent.contestant.title())
    return (
        f'<tr><th scope="row">{title}<br><span class="cp-why">{escape(spent.why)}</span></th>'
        f"<td>{spent.pictures}</td><td>{result.nfe}</td><td>{number(result.seconds)}</td>"
        f"<td>{share}</td><td>{fid}</td></tr>"
    )
