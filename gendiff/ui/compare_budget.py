"""The view Budget: the same seconds for each family, spent in its best way."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape
from typing import Any

import gradio as gr
import numpy as np

from gendiff.studio import Studio, budget, quality, records, sections
from gendiff.studio.budget import Delivered, Spend
from gendiff.studio.records import Record
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
from gendiff.ui.player import Frame, Message, Pane, Player, Run, idle, stopped
from gendiff.ui.tables import Row, many, number, table
from gendiff.ui.views import View

CHOICES = [("50 ms", "0.05"), ("1 second", "1"), ("10 seconds", "10")]
NAMES = {"gan": "GAN", "diffusion": "Diffusion", "flow": "Flow"}
WHY = f"""
One call of each network is timed on this machine, then the budget is planned and spent for real.
The GAN needs one call a picture: more time buys more pictures, never better ones. The diffusion
model can choose: here it makes as many pictures as leave each at least {budget.GOOD} steps, with
the sampler and steps of the lowest measured FID that fit; where nothing was measured, with
DPM-Solver++. If not even one picture gets {budget.GOOD} steps, it makes one with what there is.
Of those that fit, at most {budget.PICTURES[0]} are made, in batches of {budget.BATCH}. If one call
alone takes longer than the budget, it is made all the same, and said.
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
            board = gr.HTML(
                _foreseen(studio, data.value),
                elem_id="compare-budget-table",
                apply_default_css=False,
            )
            with gr.Accordion("How it is spent", open=False):
                gr.Markdown(WHY)

    last = gr.State(None)

    # what both families spend, and before it one call of each size of batch
    @on_device(lambda _, seconds: 2 * float(seconds) + 2)
    def spend(chosen: str, seconds: str) -> Iterator[tuple[Any, Any, Any, Any]]:
        yield gr.skip(), "Timing one call of each network …", gr.skip(), gr.skip()
        spends = budget.plans(studio, chosen, float(seconds))
        done: list[Delivered] = []
        try:
            for one in spends:
                message = _message(studio, spends, done)
                yield message, f"{one.contestant.title()} …", gr.skip(), gr.skip()
                for event in budget.spend(studio, one):
                    if isinstance(event, Delivered):
                        done.append(event)
        except Exception:  # whatever it is, the player must not wait for more
            yield stopped("An error stopped this."), "", gr.skip(), gr.skip()
            raise
        record = records.budget(studio, chosen, float(seconds), done)
        pictures = [np.concatenate([lap.pictures() for lap in one.laps]) for one in done]
        kept = sections.budget(record, pictures)
        yield _message(studio, spends, done), "Done.", _table(record), kept

    event = go.click(
        spend,
        [data, seconds],
        [player, line, board, last],
        show_progress="minimal",
        show_progress_on=line,
        **MODEL_WORK,
        **PRIVATE,
    )
    wire_stop(stop, player, line, event)
    settings = {"budget": (seconds, choice_of(*(value for _, value in CHOICES)))}

    def follow(chosen: str) -> list[Any]:
        return [_foreseen(studio, chosen), idle()]

    return View(settings, [board, player], follow=follow, kept={"budget": last})


def _foreseen(studio: Studio, data: str | None) -> str:
    """What stands there before anyone has spent anything: the plan, at the measured speeds."""
    found = budget.foreseen(studio, data) if data else {}
    families = next(iter(found.values()), [])
    if not families:
        return (
            '<section class="cp-card"><p>The speed of these models was not measured beforehand: '
            "press Spend it to see what a budget buys.</p></section>"
        )
    named = {value: title for title, value in CHOICES}
    rows = [
        (named[f"{seconds:g}"], [_planned(one, seconds) for one in spends])
        for seconds, spends in found.items()
    ]
    machines = {one.metrics.machine for one in quality.measured(studio, data) if one.points}
    return f"""<section class="cp-card cp-plan" aria-label="The plan">
<h3>What the same time buys</h3>
{table(["", *(NAMES[one.family] for one in families)], rows)}
<p class="cp-small">A plan at the speeds that were measured beforehand
({escape(", ".join(machines))}); every square is a picture that is made. <b>Spend it</b> times this
machine first, and then makes them.</p></section>"""


def _planned(one: Spend, seconds: float) -> str:
    """A cell: about how many pictures fit, those that are made as squares, and in which way."""
    colour = "cp-c0" if one.contestant.sampler else "cp-c1"
    way = one.contestant.title() if one.contestant.sampler else "one call each"
    late = (
        ""
        if one.fits
        else f". One call alone takes about {budget.told(one.forecast)}, longer than the budget"
    )
    count, _, noun = many(max(one.room, one.pictures), "picture").partition(" ")
    spent = ""
    if one.fits:
        made = "" if one.room == one.pictures else f"{one.pictures} made: "
        spent = f"; {made}{_percent(one.forecast / seconds)} of the time"
    about = "about " if one.room > one.pictures else ""
    return (
        f'<span class="cp-buys">{about}<b>{count}</b> {noun}<br><span class="cp-why">'
        f"{escape(way)}{spent}{late}</span></span>"
        f'<span class="cp-squares {colour}" aria-hidden="true">{"<i></i>" * one.pictures}</span>'
    )


def _percent(share: float) -> str:
    return f"{number(100 * share)} %"


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


def _table(record: Record) -> str:
    """What was delivered, and why it took longer where it did."""
    head = ["", "fit into it", "made", "NFE", "seconds", "of the budget", "FID (N)"]
    late = "".join(
        f"<p>{escape(one['overrun'])}</p>" for one in record["results"] if one["overrun"]
    )
    counts = {one["quality"]["images"] for one in record["results"] if one["quality"]}
    apart = "" if len(counts) < 2 else '<p class="cp-small">FID of unequal N does not compare.</p>'
    return f"""<section class="cp-card" aria-label="What the budget bought">
<h3>What {budget.told(record["budget"])} bought: {escape(record["data"])}</h3>
{table(head, map(_row, record["results"]))}{apart}{late}</section>"""


def _row(one: Record) -> Row:
    score = one["quality"]
    fid = "not measured yet"
    if score:
        fid = f"{number(score['fid'])} <small>({score['images']:,})</small>"
    title = f'{escape(one["title"])}<br><span class="cp-why">{escape(one["why"])}</span>'
    fits = "not one" if one["share"] > 1 and one["images"] == 1 else f"about {one['room']:,}"
    cells = [f"<b>{fits}</b>", str(one["images"]), str(one["nfe"]), number(one["seconds"])]
    return title, [*cells, _percent(one["share"]), fid]
