"""What a checkpoint says of itself: its config.json."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from gendiff.errors import GendiffError

CONFIG = "config.json"
FEATURES = "features"  # the family of networks that read pictures and make none


@dataclass(frozen=True)
class Card:
    """What a checkpoint is: everything of config.json.

    Attributes:
        name: DATA-FAMILY, also the folder's name.
        title: for people.
        family: "gan", "diffusion", or "features": a network that reads pictures and makes none.
        data: the name of the data set, see `gendiff.data.SOURCES`.
        shape: (C, H, W) of its pictures.
        classes: the names of its classes, in order; empty for an unconditional model.
        net: the configuration of its network(s).
        schedule: {"name": ..., parameters} of a diffusion model.
        target: what a diffusion network predicts.
        space_to_depth: side of the pixel blocks that the network sees as channels.
        parameters: number of weights, per network.
        licence, credit: of the data and of the weights.
        training: images seen, hours, machine, command.
        sha256: of model.safetensors.

    Raises:
        GendiffError: a value is of the wrong kind.
    """

    name: str
    title: str
    family: str
    data: str
    shape: tuple[int, int, int]
    classes: tuple[str, ...]
    net: Mapping[str, Any]
    parameters: Mapping[str, int]
    licence: str
    credit: str = ""
    schedule: Mapping[str, Any] | None = None
    target: str | None = None
    space_to_depth: int = 1
    training: Mapping[str, Any] = field(default_factory=dict)
    sha256: str = ""

    def __post_init__(self) -> None:
        wrong = [
            name for name, kind in _KINDS.items() if not isinstance(getattr(self, name), kind)
        ]
        if not wrong:
            sizes = {"shape": self.shape, "parameters": self.parameters.values()}
            wrong = [name for name, of in sizes.items() if not all(map(_is_size, of))]
            wrong += [] if all(isinstance(name, str) for name in self.classes) else ["classes"]
        if wrong:
            raise GendiffError(
                f"{str(self.name)[:60]}: the card's {', '.join(wrong)} cannot be understood; "
                "get the checkpoint again."
            )

    @classmethod
    def read(cls, folder: Path) -> Card:
        """The card of a checkpoint folder; GendiffError if there is none that can be read."""
        path = folder / CONFIG
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError as error:
            raise GendiffError(f"{folder} is no checkpoint: it has no {CONFIG}.") from error
        except (ValueError, OSError) as error:
            raise GendiffError(
                f"{path} cannot be read as JSON ({error}); get the checkpoint again."
            ) from error
        known = {entry.name for entry in fields(cls)}
        if not isinstance(values, dict) or (unknown := sorted(values.keys() - known)):
            names = ", ".join(unknown) if isinstance(values, dict) else "no object at all"
            raise GendiffError(f"{path} has keys that this version does not know: {names}.")
        try:
            values["shape"], values["classes"] = tuple(values["shape"]), tuple(values["classes"])
            return cls(**values)
        except (KeyError, TypeError) as error:
            raise GendiffError(
                f"{path} is incomplete ({error}); get the checkpoint again."
            ) from error

    @property
    def cost(self) -> float:
        """Weights times network calls for one picture at the app's defaults: orders the models."""
        return sum(self.parameters.values()) * (1 if self.family == "gan" else 50)


_KINDS: Mapping[str, type | tuple[type, ...]] = {
    **dict.fromkeys(("name", "title", "family", "data", "licence", "credit", "sha256"), str),
    **dict.fromkeys(("shape", "classes"), tuple),
    **dict.fromkeys(("net", "parameters", "training"), Mapping),
    "schedule": (Mapping, type(None)),
    "target": (str, type(None)),
    "space_to_depth": int,
}


def _is_size(value: object) -> bool:
    return isinstance(value, int) and value > 0
