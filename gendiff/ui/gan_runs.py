"""What the GAN tab shows: a sheet as a run of the player, and what stands there at first."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import gradio as gr
import numpy as np

from gendiff.errors import GendiffError
from gendiff.noise import parse
from gendiff.studio import Studio, adversarial
from gendiff.studio.adversarial import Ask, Picked, Sheet
from gendiff.ui import examples, verdict
from gendiff.ui.runs import Frame, Message, Pane, Run

GENERATED, MIXED = "generated", "mixed"
SEEDS = "0-23"
CAPTIONED = 24  # up to this many pictures, each has room for its seed under it


def grid(studio: Studio, sheet: Sheet, note: str = "") -> Run:
    """A sheet as a run of one frame; every picture carries its seed."""
    count, height, width, channels = sheet.pictures.shape
    pairs = zip(sheet.ask.seeds, sheet.names, strict=True)
    always = count <= CAPTIONED
    where = conditions(studio, sheet.ask, count)
    timing = f"G: {count} pictures in {1e3 * sheet.seconds:.0f} ms ({where})"
    return Run(
        n=1,
        panes=[Pane("x", "", height, width, channels, count)],
        label=f"{count} pictures of {studio.card(sheet.ask.model).title}",
        captions=[
            f"seed {seed}" if always or not name else f"seed {seed}, {name}"
            for seed, name in pairs
        ],
        caption_mode="always" if always else "hover",
        noun="picture",
        note=note or timing,
    )


def conditions(studio: Studio, ask: Ask, batch: int) -> str:
    """Where so many pictures are made, and with how many network calls for each."""
    return f"{studio.conditions(ask.dtype)}, batch {batch}, NFE 1"


def example(studio: Studio) -> Message:
    """What stands there when the tab opens: the message of a run with the default settings, and
    under "picked" everything about its first picture."""
    ask = _default(studio)
    if ask is None:
        raise GendiffError("There is no GAN to make an example of.")
    sheet = adversarial.draw(studio, ask)
    title = studio.card(ask.model).title
    note = f"Pre-computed: {title}, seeds {SEEDS}. Press Generate to run it now."
    message = grid(studio, sheet, note).whole([Frame([sheet.pictures])])
    arrays = {"picture": sheet.pictures[0].tolist(), "z": sheet.z[0].tolist()}
    mixed = adversarial.mix(studio, ask)
    said = f"pre-computed: {title}, {conditions(studio, ask, len(mixed.pictures))}"
    return {
        **message,
        "picked": {**asdict(sheet.picked(0)), **arrays},
        "mixed": verdict.mixture(mixed, said),
    }


def opening(studio: Studio, link: Mapping[str, str] | None = None) -> list[Any]:
    """The example for the player, the picture in detail, the row of both, the mix and what is
    shown: the default sheet and its first picture; for a link to the mix, the default mix."""
    message = dict(examples.read("gan"))
    mixed, picked = message.pop("mixed"), dict(message.pop("picked"))
    if link and link.get("mode") == MIXED:
        return [
            gr.skip(),
            gr.skip(),
            gr.update(visible=False),
            gr.update(value=mixed, visible=True),
            gr.skip(),
        ]
    picture, z = np.asarray(picked.pop("picture"), np.uint8), np.asarray(picked.pop("z"))
    one = verdict.one_picture(Picked(picture=picture, z=z, **picked))
    asked = _default(studio)
    return [message, one, gr.skip(), gr.skip(), asked and (message["ops"][0]["run"], asked)]


def _default(studio: Studio) -> Ask | None:
    """What the controls ask for before anyone touches them; None where there is no GAN at all."""
    cards = studio.cards("gan")
    return Ask(cards[0].name, tuple(parse(SEEDS))) if cards else None
