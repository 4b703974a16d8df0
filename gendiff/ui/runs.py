"""What the server tells the player: runs, frames, and the messages that carry them.

A message is JSON, told apart by its "op":

    start    what stays the same during a run: a `Run`
    frames   {"run", "k": index of the first, or a list of all of them, "frames": [{"pixels",
             "kept", "facts", "html", "line", "hist"}]}; pixels: base64 of the bytes of the panes
             that are sent, in pane order, each (count, h, w, c); kept: which of these panes are
             as in the frame before, not sent again
    end      {"run" (None: whatever runs), "state": "done" | "stopped", "message",
             "n": frames sent}
    idle     {"message"}: an empty player, and why it is empty ("": the placeholder)
    refused  {"message"}: a link's run will not come; its stand-in makes room for the reason
    batch    {"ops": [...]}: several of these at once
"""

from __future__ import annotations

import base64
import math
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

import numpy as np

Message = dict[str, Any]


@dataclass(frozen=True)
class Pane:
    """One canvas: `count` pictures of h x w pixels, c = 1 (grey) or 3 (RGB), in `columns`
    (None: as many as fill the screen best).

    previous: the id of another pane. This one shows what that one showed a frame earlier (at
    first: grey) and is not sent: a step's input is the output of the step before.
    """

    id: str
    title: str
    h: int
    w: int
    c: int = 3
    count: int = 1
    columns: int | None = None
    previous: str | None = None


@dataclass(frozen=True)
class Fade:
    """A pane that the browser computes by itself, to the last bit of 8, for every frame k:
    signal[k] x0 + noise[k] eps, with x0 and eps (h, w, c) float32."""

    pane: str
    x0: np.ndarray
    eps: np.ndarray
    signal: Sequence[float]
    noise: Sequence[float]


@dataclass(frozen=True)
class Curve:
    """A line y over x (None: the frame's index). Curves of one unit share a chart; what is not
    finite is a gap."""

    label: str
    y: Sequence[float]
    x: Sequence[float] | None = None
    unit: str = ""


@dataclass(frozen=True)
class Histogram:
    """Counts in equal bins over [lo, hi], drawn as a density beside N(0, 1)."""

    counts: Sequence[int]
    lo: float
    hi: float
    label: str = "pixel values"


@dataclass(frozen=True)
class Frame:
    """One frame: a uint8 array (count, h, w, c) for each pane of `Run.sent`, None where it is as
    in the frame before (not in the first), and what is said beside it.

    facts: name -> number or text, shown in this order. html: the formula with this frame's
    numbers; only markup made by this program, never a visitor's text. line: index of the line of
    `Run.code` that this frame carries out; of several, each is marked in turn where there is
    time, and the last one stays.
    """

    panes: Sequence[np.ndarray | None]
    facts: Mapping[str, float | str] = field(default_factory=dict)
    html: str = ""
    line: int | Sequence[int] | None = None
    hist: Histogram | None = None


@dataclass(frozen=True)
class Run:
    """What stays the same during a run of n frames, and the messages that it is sent in.

    label: what a screen reader calls the pictures. axis: where each frame lies on the curves' x
    axis, named axis_label (None: its index). captions: one for each picture of a grid. pick:
    "zoom" shows a picked picture alone, "mark" outlines it (None: zoom where n > 1). autoplay:
    a run that arrives at once is played; else it waits at the frame that was on screen. strip:
    the pane of the thumbnails (None: no thumbnails). fps: frames a second (None: so many that the
    run takes about six seconds), and speeds the multiples of it that a person can choose. noun:
    what one frame is called, first: the number of the first one; an address names the frame on
    show by both (?step=7). lines: for each line of code, the pane that it makes (None: no pane).

    A run may be sent in part: keys are the frames that come at once, and the only ones that are
    played. Between them the browser shows what `fade` computes and what `facts` (name -> a value
    for each frame) says; where a person rests on such a frame ("settle", with here = False), the
    server may send it. Raises ValueError where the parts contradict each other.
    """

    n: int
    panes: Sequence[Pane]
    label: str
    run: str = field(default_factory=lambda: secrets.token_hex(8))
    curves: Sequence[Curve] = ()
    axis: Sequence[float] | None = None
    axis_label: str = ""
    code: Sequence[str] = ()
    captions: Sequence[str] = ()
    caption_mode: Literal["hover", "always"] = "hover"
    pick: Literal["zoom", "mark"] | None = None
    fps: float | None = None
    speeds: Sequence[float] = (0.25, 0.5, 1, 2, 4)
    loop: bool = False
    autoplay: bool = True
    strip: int | None = 0
    noun: str = "step"
    first: int = 1
    note: str = ""
    lines: Sequence[str | None] = ()
    keys: Sequence[int] | None = None
    fade: Fade | None = None
    facts: Mapping[str, Sequence[float | str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.n < 1 or not self.panes:
            raise ValueError("a run needs at least one frame and one pane")
        if any(p.c not in (1, 3) or min(p.h, p.w, p.count) < 1 for p in self.panes):
            raise ValueError("a pane is h x w pixels, grey (c=1) or RGB (c=3), count at least 1")
        if self.axis is not None and len(self.axis) != self.n:
            raise ValueError(f"axis has {len(self.axis)} places for {self.n} frames")
        if any(len(curve.y) != len(curve.x) for curve in self.curves if curve.x is not None):
            raise ValueError("a curve needs as many x as y")
        known = {p.id for p in self.panes if p.previous is None}
        if any(p.previous not in {None, *known} for p in self.panes):
            raise ValueError("a pane can only repeat a pane that is sent")
        if self.keys is not None and len(known) < len(self.panes):
            raise ValueError("a run that is sent in part has no frame before for every frame")
        if any(len(values) != self.n for values in self.facts.values()):
            raise ValueError("facts of a run need a value for each frame")

    @property
    def sent(self) -> list[Pane]:
        """The panes whose pixels travel."""
        return [pane for pane in self.panes if pane.previous is None]

    def start(self) -> Message:
        fields = {**asdict(replace(self, fade=None)), "fade": _packed(self.fade)}
        return {"op": "start", **_plain(fields)}

    def frames(self, k: int | Sequence[int], frames: Sequence[Frame]) -> Message:
        """Frames k, k + 1, ... or those of a list; ValueError where they do not fit the panes or
        the run."""
        places = [k + i for i in range(len(frames))] if isinstance(k, int) else [*k]
        alone = frames[:1] if k == 0 else frames if not isinstance(k, int) else ()
        if any(pane is None for frame in alone for pane in frame.panes):
            raise ValueError("a frame without one before it needs all of its panes")
        if len(places) != len(frames) or not all(0 <= place < self.n for place in places):
            raise ValueError(f"frames {places} do not fit in a run of {self.n}")
        where = k if isinstance(k, int) else places
        return {"op": "frames", "run": self.run, "k": where, "frames": [*map(self._frame, frames)]}

    def end(
        self,
        state: Literal["done", "stopped"] = "done",
        message: str = "",
        n: int | None = None,
    ) -> Message:
        return {"op": "end", "run": self.run, "state": state, "message": message, "n": n}

    def whole(self, frames: Sequence[Frame], message: str = "") -> Message:
        """The run, or its keys, in one message, for what is ready: examples, closed forms, a grid
        of samples."""
        if self.keys is None:
            end = self.end(message=message, n=len(frames))
            return batch(self.start(), self.frames(0, frames), end)
        end = self.end(message=message, n=self.n)
        return batch(self.start(), self.frames(self.keys, frames), end)

    def _frame(self, frame: Frame) -> Message:
        kept = [i for i, pane in enumerate(frame.panes) if pane is None]
        sent = [pane for pane in frame.panes if pane is not None]
        want = [(p.count, p.h, p.w, p.c) for i, p in enumerate(self.sent) if i not in kept]
        got = [f"{a.dtype} {a.shape}" for a in sent]
        if len(frame.panes) != len(self.sent) or got != [f"uint8 {shape}" for shape in want]:
            raise ValueError(f"a frame's panes are {got}, the run's are uint8 {want}")
        pixels = base64.b64encode(b"".join(a.tobytes() for a in sent)).decode()
        hist = asdict(frame.hist) if frame.hist else None
        said = {"facts": frame.facts, "html": frame.html, "line": frame.line, "hist": hist}
        return {"pixels": pixels, "kept": kept, **_plain(said)}


def batch(*ops: Message) -> Message:
    return {"op": "batch", "ops": list(ops)}


def stopped(message: str = "") -> Message:
    """What a Stop button answers: the player keeps what it has and drops what still comes."""
    return {"op": "end", "run": None, "state": "stopped", "message": message, "n": None}


def refused(message: str) -> Message:
    """What a link's run answers that cannot be: an example that waits for it (`Run` is told so by
    the page) goes, and the reason stands there. What a person has made stays."""
    return {"op": "refused", "message": message}


def idle(message: str = "", ended: bool = False) -> Message:
    """An empty player. message: what stands there. ended: only where nothing runs; a run that is
    on its way stays."""
    return {"op": "idle", "message": message, **({"ended": True} if ended else {})}


def _packed(fade: Fade | None) -> Message | None:
    """x0 and eps as base64 of little-endian float32."""
    if fade is None:
        return None
    texts = {
        name: base64.b64encode(np.ascontiguousarray(array, "<f4").tobytes()).decode()
        for name, array in (("x0", fade.x0), ("eps", fade.eps))
    }
    return {"pane": fade.pane, "signal": fade.signal, "noise": fade.noise, **texts}


def _plain(value: Any) -> Any:
    """The same in JSON's types: numpy's numbers as numbers, None for what is not finite."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (Sequence, np.ndarray)) and not isinstance(value, str):
        return [_plain(item) for item in value]
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value
