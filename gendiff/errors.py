"""The one error for everything that a person can put right, and the checks that raise it most."""

from __future__ import annotations

import math
import numbers
import operator
from typing import Any


class GendiffError(Exception):
    """One sentence: what is wrong and what to do. The UI and the command line show it as it is."""


def whole(what: str, value: Any, lowest: int, highest: int) -> int:
    """`value` as an int; GendiffError, which names `what`, unless it is whole and in the range.

    50.0 is whole, because sliders say it so; True and "50" are not.
    """
    number = int(value) if isinstance(value, float) and value.is_integer() else value
    try:
        number = operator.index(number)
    except TypeError:
        number = None
    if number is None or isinstance(value, bool) or not lowest <= number <= highest:
        typed = (
            str(value)[:40].encode(errors="replace").decode()
        )  # a lone surrogate has no encoding
        got = "the field is empty" if value is None else f"got {typed}"
        raise GendiffError(f"{what} must be a whole number from {lowest:,} to {highest:,}; {got}.")
    return number


def number(what: str, value: Any, lowest: float, highest: float) -> float:
    """`value` as a float; GendiffError, which names `what`, unless it is a number in the range.
    True, "0.5" and what is not finite are none."""
    real = isinstance(value, numbers.Real) and not isinstance(value, bool)
    if not real or not math.isfinite(value) or not lowest <= value <= highest:
        got = "the field is empty" if value is None else f"got {str(value)[:40]}"
        raise GendiffError(f"{what} must be a number from {lowest:g} to {highest:g}; {got}.")
    return float(value)
