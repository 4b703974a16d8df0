"""Importing gradio without the stubs that it writes for editors.

At every import gradio parses the source of each component and writes a .pyi file beside it: 2 of
the 4.2 seconds that its import takes (2-core EPYC). It leaves out a class whose file cannot be
told, so for as long as gradio is being imported its classes' files cannot be told.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def without_stubs() -> Iterator[None]:
    """Inside, `import gradio` writes no stubs; if gradio is there already, nothing changes."""
    getfile = inspect.getfile

    def unknown(thing: Any) -> str:
        if isinstance(thing, type) and thing.__module__.partition(".")[0] == "gradio":
            raise OSError(f"{thing.__name__} gets no stub")
        return getfile(thing)

    inspect.getfile = unknown
    try:
        yield
    finally:
        inspect.getfile = getfile
