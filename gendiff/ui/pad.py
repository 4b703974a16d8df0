"""The pad: the picture x_0 that a person chooses, uploads or draws.

It shows a picture at the network's own resolution, pixel by pixel, beside a shelf of real ones.
gradio's image editors decode, resize and store what they are given; this sends the pixels seen.
"""

from __future__ import annotations

from importlib.resources import files
from typing import Any

import gradio as gr
import numpy as np

from gendiff.errors import GendiffError
from gendiff.studio import Real, Studio
from gendiff.studio.pictures import bundled, packed, shelf
from gendiff.weights import Card

Picture = dict[str, Any]
UPLOAD_MAX = 20  # MB: a phone's photograph, but no film


def pad(studio: Studio, model: str | None, number: int, elem_id: str) -> gr.HTML:
    """The component, with a real picture of that model's data on it.

    Event "edit": a person has chosen or drawn a picture. Its value is a `picture`. Event "refuse",
    {size}: a file of so many bytes was to be uploaded in this tab, more than UPLOAD_MAX.
    """

    def offer(data: Any) -> list[Picture] | None:
        """A browser asks for the shelf of a data set; what makes no sense gets None."""
        cards = studio.cards("diffusion")  # also those that have been fetched since
        name = next((card.name for card in cards if card.data == data), None)
        if name is None:
            return None
        real = real_pictures(studio, data)
        return [shown(studio, name, i) for i in shelf(real)] if real else []

    here = files("gendiff.ui")
    return gr.HTML(
        shown(studio, model, number) if model else None,
        label="Picture",
        html_template="",  # built once by the script, never rendered again
        js_on_load=f"const UPLOAD_MAX = {UPLOAD_MAX};\n"
        + here.joinpath("pad.js").read_text("utf-8"),
        head=f"<style>{here.joinpath('pad.css').read_text('utf-8')}</style>",
        apply_default_css=False,
        server_functions=[offer],
        elem_id=elem_id,
    )


def picture(
    data: str, pixels: np.ndarray, name: str, index: int | None = None, empty: bool = False
) -> Picture:
    """The pad's value.

    Args:
        data: the data set whose shape it has. pixels: (H, W, C) uint8.
        name: what is written under it.
        index: its number among the real pictures of that data set; None for any other.
        empty: it only stands there until there is a picture.
    """
    h, w, c = pixels.shape
    pixel_text = packed(pixels)
    return {
        "data": data,
        "h": h,
        "w": w,
        "c": c,
        "pixels": pixel_text,
        "index": index,
        "name": name,
        "empty": empty,
    }


def shown(studio: Studio, model: str, number: int) -> Picture:
    """A real picture of that model's data, or an empty one where there is none."""
    card = studio.card(model)
    real = real_pictures(studio, card.data)
    if real is None:
        channels, height, width = card.shape
        clear = np.full((height, width, channels), 0 if channels == 1 else 255, np.uint8)
        return picture(card.data, clear, "Draw or upload a picture", empty=True)
    return picture(card.data, bundled(real, number), title(studio, card, number), number)


def title(studio: Studio, card: Card, number: int) -> str:
    """What a real picture is called."""
    label = studio.real(card.data).labels[number]
    return f"{card.classes[label] if card.classes else card.data}, real picture {number}"


def is_of(card: Card, sent: Any) -> bool:
    """Whether a pad holds something of that data set (what a browser sends is not trusted)."""
    return isinstance(sent, dict) and sent.get("data") == card.data and "pixels" in sent


def real_pictures(studio: Studio, data: str) -> Real | None:
    """The real pictures of a data set; a checkpoint of one's own may have none."""
    try:
        return studio.real(data)
    except GendiffError:
        return None
