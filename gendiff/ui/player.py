"""The one player of all trajectories: sampling, interpolation, denoising, forward noising.

The server sends each frame once, as raw uint8 (streaming.py); the browser (drawing.js, player.js,
player.css) keeps the frames and plays, scrubs and steps through them without a round trip.
"""

from __future__ import annotations

import base64
import json
import math
import secrets
import threading
from abc import ABCMeta
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Literal

import gradio as gr
import numpy as np
from gradio.component_meta import ComponentMeta, updateable
from gradio.components.base import server

from gendiff.ui.runs import (
    Curve,
    Fade,
    Frame,
    Histogram,
    Message,
    Pane,
    Run,
    batch,
    idle,
    stopped,
)

__all__ = [
    "Curve",
    "Fade",
    "Frame",
    "Histogram",
    "Message",
    "Pane",
    "Player",
    "Run",
    "RunStore",
    "batch",
    "idle",
    "stopped",
]


EVENTS = ("settle", "pick", "export")
GREY = 128  # of a pane that repeats another, before there is anything to repeat


class RunStore:
    """The last runs, for players that missed messages (their tab was not open); thread-safe.

    At most `limit` bytes of base64: the run that was used longest ago goes first, and a run
    that is larger than the whole store is not kept.
    """

    def __init__(self, limit: int = 96 * 2**20) -> None:
        self.limit, self.size = limit, 0
        self._runs: OrderedDict[str, _Kept] = OrderedDict()
        self._lock = threading.Lock()

    def add(self, message: Message) -> None:
        with self._lock:
            for op in message.get("ops", [message]):
                self._add(op)
            while self.size > self.limit:
                self._drop(next(iter(self._runs)))

    def refill(self, run: str, first: int = 0, max_bytes: int = 2 * 2**20) -> Message | None:
        """The run's start, its frames from `first` on as far as `max_bytes` reaches, and its end
        if that is all there is; None if the run is gone."""
        with self._lock:
            if run not in self._runs:
                return None
            kept = self._runs[run]
            self._runs.move_to_end(run)
            first, whole = max(first, 0), kept.start["keys"] is None
            places = [k for k in sorted(kept.frames) if k >= first]
            if whole:  # a player can show nothing beyond a hole
                places = [k for i, k in enumerate(places) if k == first + i]
            new: list[Message] = []
            for k in places:
                if max_bytes <= 0:
                    break
                new.append(kept.frames[k])
                max_bytes -= len(new[-1]["pixels"])
            at = first if whole else places[: len(new)]
            frames = {"op": "frames", "run": run, "k": at, "frames": new}
            over = first + len(new) >= len(kept.frames) if whole else len(new) == len(places)
            return batch(kept.start, frames, *([kept.end] if kept.end and over else []))

    def pictures(self, run: str) -> list[list[np.ndarray]] | None:
        """Each frame's panes (count, h, w, c) in uint8, for an export; None if the run is gone."""
        with self._lock:
            kept = self._runs.get(run)
            sent = [kept.frames[k] for k in sorted(kept.frames)] if kept else []
        if kept is None:
            return None
        panes, before = kept.start["panes"], []
        shapes = [(p["count"], p["h"], p["w"], p["c"]) for p in panes]
        names, frames = [p["id"] for p in panes], []
        for frame in sent:
            flat, at = np.frombuffer(base64.b64decode(frame["pixels"]), np.uint8), 0
            shown: list[np.ndarray] = []
            travels = 0  # of the panes that are sent: "kept" counts these
            for index, (pane, shape) in enumerate(zip(panes, shapes, strict=True)):
                if pane["previous"] is not None:
                    source = names.index(pane["previous"])
                    shown.append(before[source] if before else np.full(shape, GREY, np.uint8))
                    continue
                if travels in frame.get("kept", ()):
                    shown.append(before[index])
                else:
                    shown.append(flat[at : at + math.prod(shape)].reshape(shape))
                    at += math.prod(shape)
                travels += 1
            frames.append(before := shown)
        return frames

    def _add(self, op: Message) -> None:
        run = op.get("run")
        if op["op"] == "start":
            self._drop(run)
            self._runs[run] = _Kept(op)
        kept = self._runs.get(run)
        if kept is None:
            return
        self._runs.move_to_end(run)
        if op["op"] == "end":
            kept.end = op
        sent, at = op.get("frames", ()), op.get("k", 0)
        places = [at + i for i in range(len(sent))] if isinstance(at, int) else at
        for k, frame in zip(places, sent, strict=True):
            before = len(kept.frames[k]["pixels"]) if k in kept.frames else 0
            kept.frames[k] = frame
            kept.size += len(frame["pixels"]) - before
            self.size += len(frame["pixels"]) - before
        if kept.size > self.limit:
            self._drop(run)

    def _drop(self, run: str | None) -> None:
        if run in self._runs:
            self.size -= self._runs.pop(run).size


@dataclass
class _Kept:
    start: Message
    frames: dict[int, Message] = field(default_factory=dict)
    end: Message | None = None
    size: int = 0


@cache
def shared_store() -> RunStore:
    """The store of all players of this process: one bound for the whole server."""
    return RunStore()


def _read(name: str) -> str:
    return Path(__file__).with_name(name).read_text("utf-8")


class WithoutStub(ComponentMeta):
    """gradio's metaclass writes a .pyi beside a component's file at import; this one does not."""

    def __new__(cls, name: str, bases: tuple[type, ...], attrs: dict[str, Any]) -> type:
        if "__init__" in attrs:
            attrs["__init__"] = updateable(attrs["__init__"])
        return ABCMeta.__new__(cls, name, bases, attrs)


class Player(gr.HTML, metaclass=WithoutStub):
    """Plays the messages of `gendiff.ui.runs`; as an output it takes one message at a time.

    Events, whose facts a handler reads from its gr.EventData:
        settle  {run, frame, here}: a person has come to rest on a frame (150 ms); here: its
                pictures are, too (see `Run.keys`)
        pick    {run, frame, tile}: a picture of a grid was chosen
        export  {run, frame, tile, format}: a format of `exports` was asked for; tile is None for
                the whole grid. One frame as PNG needs no server and is always offered.

    label is its name for a screen reader until a run brings its own, placeholder what an empty
    player says. beside: on a wide screen a run's curves and formulas stand beside its pictures,
    not under them.
    """

    def __init__(
        self,
        value: Message | Callable[[], Message] | None = None,
        *,
        label: str = "Player",
        placeholder: str = "Nothing to show yet.",
        exports: Sequence[Literal["gif", "webp", "mp4", "png"]] = (),
        beside: bool = False,
        store: RunStore | None = None,
        visible: bool | Literal["hidden"] = True,
        elem_id: str | None = None,
        elem_classes: list[str] | str | None = None,
        render: bool = True,
        key: int | str | None = None,
    ) -> None:
        # Set before gradio's own, which already calls postprocess with the first value.
        self._store = store or shared_store()
        self.placeholder, self.exports, self.beside = placeholder, list(exports), beside
        # In the script, not as gr.HTML's props: gradio forgets those of a component that gets a
        # message before its tab was opened.
        given = {
            "label": label,
            "placeholder": placeholder,
            "exports": self.exports,
            "beside": beside,
        }
        super().__init__(
            value,
            label=label,
            # The browser side builds its elements once; a static template is never rendered again.
            html_template="",
            js_on_load=f"{_read('drawing.js')}const GIVEN = {json.dumps(given)};\n"
            + _read("player.js"),
            # Not css_template: gradio would parse that again with every message.
            head=f"<style>{_read('player.css')}</style>",
            apply_default_css=False,
            visible=visible,
            elem_id=elem_id,
            elem_classes=elem_classes,
            render=render,
            key=key,
        )

    def __getattr__(self, name: str) -> Any:
        """An event's listener. gradio asks a component for all that it might have, for each
        visitor, and gr.HTML searches its whole script for every such name."""
        if name not in EVENTS:
            raise AttributeError(f"A Player has no {name!r}.")
        return super().__getattr__(name)

    def postprocess(self, value: Message | None) -> str | None:
        """Every message on its way to a browser is kept for players that miss it, and named: the
        browser tells an example that was clicked twice from a message that gradio repeats.

        It travels as text. gradio 6.31 sends the difference to the message before, and gets it
        wrong for lists in lists that shrink (`gradio.utils.diff` shifts indices once per level):
        frames would land in each other's place.
        """
        if value is None:
            return None
        self._store.add(value)
        return json.dumps({**value, "id": secrets.token_hex(4)}, allow_nan=False)

    def preprocess(self, payload: Any) -> None:
        """A player is an output; what a browser sends back as its value is not looked at."""
        return None

    @server
    def refill(self, ask: Any) -> Message | None:
        """Answer a player that lacks frames: ask is {"run": id, "from": first index}, and is not
        trusted; what makes no sense gets None."""
        if not isinstance(ask, dict):
            return None
        run, first = ask.get("run"), ask.get("from", 0)
        if not isinstance(run, str) or not isinstance(first, int):
            return None
        return self._store.refill(run, first)

    def api_info(self) -> dict[str, Any]:
        return {"type": "string", "description": "a message of gendiff.ui.runs, as JSON"}

    def example_payload(self) -> str:
        return json.dumps(idle())

    def example_value(self) -> Message:
        return idle()
