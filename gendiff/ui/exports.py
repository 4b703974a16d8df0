"""The player's "save as GIF, WebP, MP4, PNG strip": made here from what was sent, saved there.

The file travels inside the event and becomes a download in the browser: no file is written on the
server, so none is left behind and no two visitors can meet on one.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence

import gradio as gr
import numpy as np

from gendiff.errors import GendiffError
from gendiff.images import encode, enlarge, tile
from gendiff.ui.parts import PRIVATE, bounded
from gendiff.ui.player import Player, shared_store

PICTURE, SHEET = 256, 1024  # pixels: a picture is enlarged to about this, a whole sheet to at most
STRIP = 200  # pixels: in a PNG strip, ten frames of about this width lie side by side
KINDS = {"gif": "image/gif", "webp": "image/webp", "mp4": "video/mp4", "png": "image/png"}


def wire_exports(
    player: Player,
    status: gr.Textbox,
    name: str,
    panes: Sequence[int] | None = None,
    fps: float = 12,
    hold: int = 8,
) -> None:
    """Answer the player's export events with a download called gendiff-NAME.FORMAT.

    panes: which of the run's panes, side by side (None: all), in a PNG strip one below the other.
    A picture that is shown alone is exported alone. fps: frames a second; the last one stays for
    `hold` frames more.
    """
    box = gr.JSON(visible=False)

    @bounded
    def export(event: gr.EventData) -> dict[str, str]:
        asked = event._data if isinstance(event._data, dict) else {}
        form, chosen = asked.get("format"), asked.get("tile")
        if not isinstance(form, str) or form not in KINDS:
            raise GendiffError(f"An export is one of {', '.join(KINDS)}; choose one of these.")
        run = shared_store().pictures(str(asked.get("run")))
        if not run:
            raise GendiffError("These pictures are no longer kept; run them again, then export.")
        sheets = (sheet(frame, panes, chosen, strip=form == "png") for frame in run)
        data = base64.b64encode(encode(sheets, form, fps, hold)).decode()
        return {"name": f"gendiff-{name}.{form}", "url": f"data:{KINDS[form]};base64,{data}"}

    made = player.export(
        export,
        None,
        box,
        concurrency_id="export",
        concurrency_limit=1,
        show_progress="minimal",
        show_progress_on=status,
        **PRIVATE,
    )
    made.success(None, box, box, js=SAVE, **PRIVATE)


def sheet(
    panes: Sequence[np.ndarray],
    chosen: Sequence[int] | None = None,
    only: int | None = None,
    strip: bool = False,
) -> np.ndarray:
    """One frame's panes (count, h, w, c) as one picture (H, W, 1 or 3): side by side, enlarged.

    chosen: indices of panes, in order (None: all). only: one picture of each pane instead of its
    grid. strip: one pane below the other and smaller, as a column of a strip of many frames.
    """
    parts = [panes[index] for index in (chosen if chosen is not None else range(len(panes)))]
    if isinstance(only, int) and only >= 0:
        parts = [part[min(only, len(part) - 1)][None] for part in parts]
    grids = [tile(part, gap=max(1, part.shape[2] // 16)) for part in parts]
    tall, wide, channels = (max(g.shape[axis] for g in grids) for axis in range(3))
    gap = max(2, parts[0].shape[2] // 8)
    row: list[np.ndarray] = []
    for grid in grids:
        h, w = grid.shape[:2]
        cell = (h + gap, wide) if strip else (tall, w + gap)
        whole = np.full((*cell, channels), 255, np.uint8)
        whole[:h, :w] = grid
        row.append(whole)
    if strip:
        joined = np.concatenate(row)[:-gap]
        return enlarge(joined, max(1, STRIP // joined.shape[1]))
    joined = np.concatenate(row, axis=1)[:, :-gap]
    room = min(PICTURE // min(parts[0].shape[1:3]), SHEET // max(joined.shape[:2]))
    return enlarge(joined, max(1, room))


# A data URL of this size is no address that every browser would save: make it a blob first.
SAVE = """async (file) => {
  if (!file) return null;
  const blob = await (await fetch(file.url)).blob();
  const link = document.createElement("a");
  Object.assign(link, { href: URL.createObjectURL(blob), download: file.name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  return null;
}"""
