"""What the Forward tab's events do: make a journey, show it, fill in a level of it."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import gradio as gr

from gendiff.errors import GendiffError
from gendiff.images import from_uint8
from gendiff.noise import parse
from gendiff.studio import Studio, noising, pictures
from gendiff.studio.noising import Journey, Level
from gendiff.ui.forward_runs import between, trip
from gendiff.ui.pad import is_of, real_pictures, title
from gendiff.ui.parts import bounded
from gendiff.ui.runs import idle

# Model, number of a real picture or None, the drawing then, schedule, T, its parameters, seed.
Asked = tuple[str, int | None, str, str, float, tuple[float | None, ...], str]


def runners(studio: Studio) -> tuple[Callable[..., Any], ...]:
    """The handlers of "Add noise", which plays; of a setting, which keeps the place; and of a
    person who rests on a level that is not there yet."""

    @lru_cache(maxsize=6)  # a class asks for the same things; up to 14 MB each
    def way(*asked: Any) -> Journey:
        return way_of(studio, *asked)

    @lru_cache(maxsize=16)
    def keys(*asked: Any) -> list[Level]:
        return way(*asked).levels(way(*asked).keys)

    def message(
        autoplay: bool, name: str, which: float | None, sent: Any, *rest: Any
    ) -> list[Any]:
        kind, T, *fields, seed = rest
        card = studio.card(name)
        lacks = real_pictures(studio, card.data) is None
        own = is_of(card, sent) and (which is None or lacks)
        if lacks and (not own or sent.get("empty")):
            said = f"There is no real picture of the data of {card.title} here"
            return [idle(f"{said}: draw or upload a picture."), None]
        number = None if own else int(which or 0)
        drawing = str(sent["pixels"]) if own else ""
        asked: Asked = (name, number, drawing, kind, T, tuple(fields), str(seed).strip())
        found = keys(*asked)
        what = "your own picture" if own else title(studio, card, number)
        made = trip(card, way(*asked), found, what, str(seed).strip(), autoplay)
        return [made, (made["ops"][0]["run"], asked)]

    @bounded
    def play(*asked: Any) -> list[Any]:
        return message(True, *asked)

    @bounded
    def update(*asked: Any) -> list[Any]:
        return message(False, *asked)

    @bounded
    def fill(shown: tuple[str, Asked] | None, event: gr.EventData) -> Any:
        """The chain and the guess at a level between the keys (what a browser sends is not
        trusted)."""
        told = event._data if isinstance(event._data, dict) else {}
        run, t = told.get("run"), told.get("frame")
        if shown is None or run != shown[0] or told.get("here") or type(t) is not int:
            return gr.skip()
        here = way(*shown[1])
        if not 0 <= t <= here.schedule.T:
            return gr.skip()
        return between(studio.card(shown[1][0]), here, run, t)

    return play, update, fill


def way_of(
    studio: Studio,
    name: str,
    number: int | None,
    drawing: str,
    kind: str,
    T: float,
    fields: tuple[float | None, ...],
    seed: str,
) -> Journey:
    """The journey of real picture `number`, or of the drawing where there is none."""
    schedule, card = noising.make_schedule(kind, T, fields), studio.card(name)
    if number is None:
        x0 = pictures.drawn({"pixels": drawing}, card.shape)
    else:
        x0 = from_uint8(pictures.bundled(studio.real(card.data), number)[None])
    return noising.journey(studio.model(name), x0, schedule, one_seed(seed))


def one_seed(text: str) -> int:
    seeds = parse(text)
    if len(seeds) > 1:
        raise GendiffError(f"The noise is one draw, so it has one seed; got {len(seeds)}.")
    return seeds[0]
