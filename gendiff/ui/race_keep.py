"""Keeping a race: its sheet as a download, its last pictures in an example."""

from __future__ import annotations

import base64
from typing import Any

import gradio as gr
import numpy as np

from gendiff.errors import GendiffError
from gendiff.studio import sheet
from gendiff.ui.exports import SAVE
from gendiff.ui.parts import PRIVATE, bounded


def wire_sheet(form: str, button: gr.Button, last: gr.State) -> None:
    """The button downloads the last race as gendiff-race.FORM; no file is written here."""
    box = gr.JSON(visible=False)

    @bounded
    def keep(last: dict[str, Any] | None) -> dict[str, str]:
        if not last:
            raise GendiffError("There is no race to keep yet; run one first.")
        text = sheet.write(form, last["record"], last["pictures"])
        data = base64.b64encode(text.encode()).decode()
        name = f"gendiff-race.{form}"
        return {"name": name, "url": f"data:{sheet.FORMS[form]};base64,{data}"}

    made = button.click(keep, last, box, show_progress="hidden", **PRIVATE)
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
