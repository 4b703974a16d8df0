"""What a view of the Compare tab hands to it: its settings, and how it follows the pictures."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from gendiff.ui.parts import Setting


@dataclass(frozen=True)
class View:
    """A view that was built.

    Attributes:
        settings: what of it belongs in the address.
        outputs: components that depend on the data set; inputs: those that `follow` must know.
        follow: (data set, *values of inputs) -> one update an output; no model work.
        kept: name -> a gr.State of what the view made last, {"record", ...}: a part of the sheet.
    """

    settings: dict[str, Setting]
    outputs: Sequence[Any] = ()
    inputs: Sequence[Any] = ()
    follow: Callable[..., Sequence[Any]] = field(default=lambda *_: ())
    kept: dict[str, Any] = field(default_factory=dict)
