"""Keeping a comparison: its sheet as a download; the last pictures of a race in an example."""

from __future__ import annotations

import base64
from typing import Any

import gradio as gr
import numpy as np

from gendiff.errors import GendiffError
from gendiff.studio import Studio, sections, sheet
from gendiff.studio.sections import Section
from gendiff.ui.exports import SAVE
from gendiff.ui.parts import PRIVATE, bounded

TITLES = {"html": "HTML", "md": "Markdown", "csv": "CSV", "json": "JSON"}
SAYS = (
    "**Keep this comparison:** the last race, what was measured, and what you ran in Quality, "
    "Budget and Diversity, in one file"
)


def build(studio: Studio, race: gr.State, others: list[gr.State]) -> gr.Row:
    """A button a form; each downloads the sheet as gendiff-comparison.FORM.

    race: the last one, {"record", "pictures"}. others: each the last Section of its view, or None.
    """
    with gr.Row(elem_classes="cp-save") as row:
        gr.Markdown(SAYS)
        for form, title in TITLES.items():
            button = gr.Button(title, size="sm", min_width=90, elem_id=f"compare-save-{form}")
            _wire(studio, form, button, race, others)
    return row


def _wire(
    studio: Studio, form: str, button: gr.Button, race: gr.State, others: list[gr.State]
) -> None:
    """No file is written here: the browser gets a data URL."""
    box = gr.JSON(visible=False)

    @bounded
    def keep(last: dict[str, Any] | None, *made: Section | None) -> dict[str, str]:
        if not last:
            raise GendiffError("There is no race to keep yet; run one first.")
        record = last["record"]
        more = [sections.measured(studio, record["data"]), *filter(None, made)]
        text = sheet.write(form, record, last["pictures"], more)
        data = base64.b64encode(text.encode()).decode()
        name = f"gendiff-comparison.{form}"
        return {"name": name, "url": f"data:{sheet.FORMS[form]};base64,{data}"}

    made = button.click(keep, [race, *others], box, show_progress="hidden", **PRIVATE)
    made.success(None, box, box, js=SAVE, **PRIVATE)


def pack(pictures: np.ndarray | None) -> dict[str, Any] | None:
    """(N, H, W, C) uint8 in JSON's types."""
    if pictures is None:
        return None
    return {"shape": pictures.shape, "pixels": base64.b64encode(pictures.tobytes()).decode()}


def unpack(packed: dict[str, Any] | None) -> np.ndarray | None:
    """The inverse of `pack`."""
    if packed is None:
        return None
    flat = np.frombuffer(base64.b64decode(packed["pixels"]), np.uint8)
    return flat.reshape(packed["shape"])
