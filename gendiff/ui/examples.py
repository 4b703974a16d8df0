"""What a tab shows before anyone presses a button: runs that were computed beforehand.

An example is exactly the message that a live run would send, kept as assets/examples/TAB.json.gz
with the sha256 of the weights that made it. `python -m gendiff examples [TAB ...]` computes them
again, with the weights that are here now.
"""

from __future__ import annotations

import gzip
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from importlib import import_module
from types import MappingProxyType
from typing import Any

from gendiff.errors import GendiffError
from gendiff.studio import Studio
from gendiff.studio.models import ASSETS
from gendiff.ui.runs import Message

FOLDER = ASSETS / "examples"
TABS = ("gan", "interpolate", "denoise", "forward", "compare")
BYTES_MAX = 1_500_000  # of one file: it is in the repository, and a visitor waits for it


def read(tab: str) -> Message:
    """A tab's example; not to be changed. GendiffError where there is none, or a damaged one."""
    return _kept(tab)["example"]


def made_by(tab: str) -> dict[str, str]:
    """The checkpoints that made an example: name -> sha256 of the weights. Raises as `read`."""
    return _kept(tab)["weights"]


@cache
def _kept(tab: str) -> dict[str, Any]:
    path = FOLDER / f"{tab}.json.gz"
    try:
        kept = json.loads(gzip.decompress(path.read_bytes()))
        return {"weights": kept["weights"], "example": kept["example"]}
    except FileNotFoundError as error:
        raise GendiffError(
            f"The example of this tab is missing; run python -m gendiff examples {tab}."
        ) from error
    except (OSError, EOFError, ValueError, KeyError, TypeError) as error:
        raise GendiffError(
            f"The example of this tab is damaged; run python -m gendiff examples {tab}."
        ) from error


def write(tab: str, message: Message, weights: Mapping[str, str] = MappingProxyType({})) -> int:
    """Keep a tab's example with the weights that made it (name -> sha256), atomically, and return
    its size. One message gives one file."""
    kept = {"weights": dict(weights), "example": message}
    text = json.dumps(kept, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    data = gzip.compress(text.encode(), mtime=0)
    if len(data) > BYTES_MAX:
        raise GendiffError(
            f"The example of {tab} has {len(data):,} bytes, more than {BYTES_MAX:,}; "
            "choose fewer pictures or steps for it."
        )
    FOLDER.mkdir(parents=True, exist_ok=True)
    partial = FOLDER / f"{tab}.json.gz.partial"
    partial.write_bytes(data)
    os.replace(partial, FOLDER / f"{tab}.json.gz")
    _kept.cache_clear()
    return len(data)


def make(tabs: Sequence[str]) -> Iterator[tuple[str, int]]:
    """Compute the examples of these tabs (none named: of all), each with the tab's own code; gives
    each tab's name and the size of its file.

    Raises:
        GendiffError: there is no such tab, or no model for it.
    """
    if unknown := [tab for tab in tabs if tab not in TABS]:
        raise GendiffError(f"There is no tab {unknown[0]!r}; choose from {', '.join(TABS)}.")
    for tab in tabs or TABS:
        studio = Studio()  # of its own, so that it tells which models this tab has used
        studio.share_cores()  # as the app does, so that the timings are a visitor's
        message = import_module(f"gendiff.ui.{tab}").example(studio)
        yield tab, write(tab, message, {card.name: card.sha256 for card in studio.loaded()})
