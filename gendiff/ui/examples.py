"""What a tab shows before anyone presses a button: runs that were computed beforehand.

An example is exactly the message that a live run would send, kept as assets/examples/TAB.json.gz.
`python -m gendiff.ui.examples [TAB ...]` computes them again, with the weights that are here now.
"""

from __future__ import annotations

import gzip
import json
import os
import sys
from collections.abc import Sequence
from functools import cache
from importlib import import_module

from gendiff.errors import GendiffError
from gendiff.studio import Studio
from gendiff.studio.models import ASSETS
from gendiff.ui.runs import Message

FOLDER = ASSETS / "examples"
TABS = ("gan", "interpolate", "denoise", "forward", "compare")
BYTES_MAX = 1_500_000  # of one file: it is in the repository, and a visitor waits for it


@cache
def read(tab: str) -> Message:
    """A tab's example; not to be changed. GendiffError where there is none, or a damaged one."""
    path = FOLDER / f"{tab}.json.gz"
    try:
        return json.loads(gzip.decompress(path.read_bytes()))
    except FileNotFoundError as error:
        raise GendiffError(
            f"The example of this tab is missing; run python -m gendiff.ui.examples {tab}."
        ) from error
    except (OSError, EOFError, ValueError) as error:
        raise GendiffError(
            f"The example of this tab is damaged; run python -m gendiff.ui.examples {tab}."
        ) from error


def write(tab: str, message: Message) -> int:
    """Keep a tab's example, atomically, and return its size. One message gives one file."""
    text = json.dumps(message, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
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
    read.cache_clear()
    return len(data)


def main(tabs: Sequence[str]) -> None:
    """Compute the examples of these tabs (none named: of all), each with the tab's own code."""
    if unknown := [tab for tab in tabs if tab not in TABS]:
        raise SystemExit(f"There is no tab {unknown[0]!r}; choose from {', '.join(TABS)}.")
    studio = Studio()
    studio.share_cores()  # as the app does, so that the timings are a visitor's
    for tab in tabs or TABS:
        try:
            size = write(tab, import_module(f"gendiff.ui.{tab}").example(studio))
        except GendiffError as error:
            raise SystemExit(str(error)) from error
        print(f"{tab}: {size:,} bytes")


if __name__ == "__main__":
    main(sys.argv[1:])
