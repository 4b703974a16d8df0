"""The tab About: the two families, when to choose which, credits, how numbers are measured."""

from __future__ import annotations

from html import escape
from pathlib import Path

import gradio as gr

from gendiff import readme
from gendiff.errors import GendiffError
from gendiff.sources import SOURCES, Source
from gendiff.studio import Studio
from gendiff.ui import learning
from gendiff.ui.parts import Page

_TEXT = Path(__file__).with_name("about.md")
_COLUMNS = (
    "*Obeys*: how often a network that reads the class finds the one that was asked for. *Valid*: "
    "the share of cats whose five parts can be read and are painted right, strictly judged."
)


def build(studio: Studio, page: Page) -> None:
    """Two screens of text, made from the cards where it is about models."""
    families, heading, measured = _TEXT.read_text(encoding="utf-8").partition("## How")
    gr.Markdown(families, elem_classes="prose")
    with gr.Row():
        with gr.Column(min_width=480):
            gr.Markdown(heading + measured, elem_classes="prose")
        with gr.Column(min_width=480):
            here = f"## What is here\n{_models(studio)}\n{_credits(studio)}"
            gr.Markdown(here, elem_classes="prose")
    gr.Markdown(f"## How good they are\n{_numbers(studio)}", elem_classes="prose")
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
        return f"{readme.summary(readme.cards(studio.folder))}\n\n{_COLUMNS}"
    except GendiffError as error:  # a damaged file beside one checkpoint; the page is there
        return str(error)


def _credit(source: Source) -> str:
    """Its name in bold and whose work it is; the name is not said twice."""
    named = source.credit.startswith(source.title)
    rest = source.credit.removeprefix(source.title) if named else f": {source.credit}"
    return f"**{source.title}**{rest}"


def _credits(studio: Studio) -> str:
    names = dict.fromkeys(card.data for card in studio.cards())
    lines = [
        f"- {_credit(SOURCES[name])}. Licence: {SOURCES[name].licence}; the weights trained on it "
        "carry the same."
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
