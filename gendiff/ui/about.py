"""The tab About: the two families, when to choose which, credits, how numbers are measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

import gradio as gr

from gendiff import overview, readme
from gendiff.errors import GendiffError
from gendiff.results import Metrics
from gendiff.sources import SOURCES
from gendiff.studio import Studio
from gendiff.ui import learning, standings
from gendiff.ui.parts import Page
from gendiff.ui.tables import NONE, Row, number, share, table
from gendiff.weights import Card

_TEXT = Path(__file__).with_name("about.md")
_HEAD = (
    *("Model", "Weights", "Images seen", "Hours"),
    *("Sampler", "N", "FID", "Its floor", "Obeys", "Valid"),
)
_COLUMNS = (
    "*Images seen*, *Hours*: of training. *FID*: the distance of N pictures from the test split, "
    "in the features of {networks}; *its floor*: that of as many real training pictures. Both "
    "fall with N, and neither compares with FIDs of Inception. *Obeys*: how often a network that "
    "reads the class finds the one that was asked for. *Valid*: the share of cats whose five "
    "parts can be read and are painted right, strictly judged."
)


def build(studio: Studio, page: Page) -> None:
    """Two screens of text, made from the cards where it is about models."""
    families, heading, measured = _TEXT.read_text(encoding="utf-8").partition("## How")
    gr.Markdown(families, elem_classes="prose families")
    gr.Markdown("## The models here, and how good they are", elem_classes="prose")
    known = _known(studio)
    rows = table(_HEAD, [_row(one) for one in known])
    card = f'<section class="cp-card">{rows}</section>'
    gr.HTML(card, apply_default_css=False, head=standings.style())
    gr.Markdown(_notes(studio, known), elem_classes="prose note")
    with gr.Row():
        with gr.Column(min_width=480):
            gr.Markdown(heading + measured, elem_classes="prose")
        with gr.Column(min_width=480):
            gr.Markdown(f"## Credits and licences\n{_credits(studio)}", elem_classes="prose")
    learning.build(studio)


@dataclass(frozen=True)
class _Known:
    """A model and what was measured of it; problem: why that cannot be read."""

    card: Card
    metrics: Metrics | None = None
    problem: str = ""


def _known(studio: Studio) -> list[_Known]:
    found = []
    for card in studio.cards():
        try:
            found.append(_Known(card, readme.measured(studio.folder / card.name, card)))
        except GendiffError as error:  # a damaged file beside one checkpoint; the page is there
            found.append(_Known(card, problem=str(error)))
    return found


def _row(known: _Known) -> Row:
    """What stands in the table; what is not known is a dash."""
    card, metrics = known.card, known.metrics
    images, hours = card.training.get("images"), card.training.get("hours")
    cells = [
        f"{sum(card.parameters.values()) / 1e6:.1f} M",
        NONE if images is None else f"{images:,}",
        NONE if hours is None else f"{hours:.1f}",
    ]
    if metrics is None:
        return escape(card.title), [*cells, "not measured", *[NONE] * 5]
    run = metrics.headline
    cells += [
        escape(readme.way(run)),
        f"{run.images:,}",
        number(run.fid),
        number(run.floor_fid),
        share(run.obedience),
        share(run.valid),
    ]
    return escape(card.title), cells


def _notes(studio: Studio, known: Sequence[_Known]) -> str:
    """What the columns mean, and what is left out, and why."""
    networks = dict.fromkeys(one.metrics.features.network for one in known if one.metrics)
    lines = [_COLUMNS.format(networks=" and ".join(networks))] if networks else []
    lines += [one.problem for one in known if one.problem]
    lines += [f"**{name}** is left out: {why}" for name, why in studio.damaged().items()]
    return "\n\n".join(lines)


def _credits(studio: Studio) -> str:
    """The data's, the code's, and those of models from elsewhere."""
    elsewhere = [
        f"- **{escape(card.title)}**: {escape(card.credit or card.name)}. Licence: "
        f"{escape(card.licence)}."
        for card in studio.cards()
        if card.data not in SOURCES
    ]
    return "\n".join([overview.credits(studio.cards()), *elsewhere])
