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
    "**Keep this comparison** of the chosen pictures: the race, what was measured, and what you "
    "ran in Quality, Budget and Diversity, in one file"
)


def build(studio: Studio, data: gr.Radio, race: gr.State, others: list[gr.State]) -> gr.Row:
    """A button a form; each downloads the sheet as gendiff-comparison.FORM.

    data: the chosen data set; what is of another is left out. race: the last one, {"record",
    "pictures"}. others: each the last Section of its view, or None.
    """
    with gr.Row(elem_classes="cp-save") as row:
        gr.Markdown(SAYS)
        for form, title in TITLES.items():
            button = gr.Button(title, size="sm", min_width=90, elem_id=f"compare-save-{form}")
            _wire(studio, form, button, [data, race, *others])
    return row


def _wire(studio: Studio, form: str, button: gr.Button, inputs: list[Any]) -> None:
    """No file is written here: the browser gets a data URL."""
    box = gr.JSON(visible=False)

    @bounded
    def keep(data: str, last: dict[str, Any] | None, *made: Section | None) -> dict[str, str]:
        record = last["record"] if last and last["record"]["data"] == data else None
        measured = sections.measured(studio, data)
        own = [one for one in made if one is not None and one.data == data]
        if not (record or own or measured.rows):
            raise GendiffError("There is nothing of these pictures to keep yet; run a race first.")
        text = sheet.write(form, record, last["pictures"] if record else (), [measured, *own])
        content = base64.b64encode(text.encode()).decode()
        name = f"gendiff-comparison.{form}"
        return {"name": name, "url": f"data:{sheet.FORMS[form]};base64,{content}"}

    made = button.click(keep, inputs, box, show_progress="hidden", **PRIVATE)
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
