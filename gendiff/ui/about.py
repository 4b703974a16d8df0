"""The tab About: the two families, when to choose which, credits, how numbers are measured."""

from __future__ import annotations

from html import escape
from pathlib import Path

import gradio as gr

from gendiff import readme
from gendiff.errors import GendiffError
from gendiff.sources import SOURCES
from gendiff.studio import Studio
from gendiff.ui import learning
from gendiff.ui.parts import Page

_TEXT = Path(__file__).with_name("about.md")


def build(studio: Studio, page: Page) -> None:
    """Two screens of text, made from the cards where it is about models."""
    gr.Markdown(_TEXT.read_text(encoding="utf-8"), elem_classes="prose")
    gr.Markdown(
        "## What is here\n" + _models(studio) + "\n" + _credits(studio), elem_classes="prose"
    )
    gr.Markdown("## How good they are\n" + _numbers(studio), elem_classes="prose")
    learning.build(studio)


def _models(studio: Studio) -> str:
    rows = [
        "| Model | Family | Weights | Images seen in training | Hours |",
        "|---|---|---|---|---|",
    ]
    for card in studio.cards():
        weights = f"{sum(card.parameters.values()) / 1e6:.1f} million"
        images, hours = card.training.get("images"), card.training.get("hours")
        family = "GAN" if card.family == "gan" else "diffusion"
        seen = "not recorded" if images is None else f"{images:,}"
        took = "not recorded" if hours is None else f"{hours:.1f}"
        rows.append(f"| {card.title} | {family} | {weights} | {seen} | {took} |")
    broken = [f"\n**{name}** is left out: {why}" for name, why in studio.damaged().items()]
    return "\n".join(rows + broken)


def _numbers(studio: Studio) -> str:
    try:
        return readme.summary(readme.cards(studio.folder))
    except GendiffError as error:  # a damaged file beside one checkpoint; the page is there
        return str(error)


def _credits(studio: Studio) -> str:
    names = dict.fromkeys(card.data for card in studio.cards())
    lines = [
        f"- **{SOURCES[name].title}**: {SOURCES[name].credit}. Licence: {SOURCES[name].licence}; "
        "the weights trained on it carry the same."
        for name in names
        if name in SOURCES
    ]
    lines += [
        f"- **{escape(card.title)}**: {escape(card.credit or card.name)}. Licence: "
        f"{escape(card.licence)}."
        for card in studio.cards()
        if card.data not in SOURCES
    ]
    return "\n".join(
        [
            *lines,
            "- **Code**: MIT. Equations and their papers stand beside the code that uses them.",
        ]
    )
