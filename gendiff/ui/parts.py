"""What all tabs share: the error boundary, pickers, the address, the look of a tab."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

import gradio as gr

from gendiff.errors import GendiffError
from gendiff.studio import Studio

F = TypeVar("F", bound=Callable[..., Any])

# All model work shares one queue: two runs at once, one thread each, keep two cores busy without
# either waiting for the other (measured: 0.64 runs/s against 0.49 with one run on two threads).
MODEL_WORK = {"concurrency_id": "model", "concurrency_limit": 2}
PRIVATE = {"api_visibility": "private"}
ANY = "any"


def bounded(handler: F) -> F:
    """The one place where a GendiffError becomes a message; for functions and generators."""
    if inspect.isgeneratorfunction(handler):

        @functools.wraps(handler)
        def stream(*args: Any, **kwargs: Any) -> Iterator[Any]:
            try:
                yield from handler(*args, **kwargs)
            except GendiffError as error:
                raise gr.Error(str(error), duration=12, print_exception=False) from error

        return stream  # type: ignore[return-value]

    @functools.wraps(handler)
    def call(*args: Any, **kwargs: Any) -> Any:
        try:
            return handler(*args, **kwargs)
        except GendiffError as error:
            raise gr.Error(str(error), duration=12, print_exception=False) from error

    return call  # type: ignore[return-value]


def model_picker(studio: Studio, family: str, label: str = "Model") -> gr.Dropdown:
    """The checkpoints of a family, by title; the value is the name."""
    cards = studio.cards(family)
    choices = [(card.title, card.name) for card in cards]
    return gr.Dropdown(choices, value=choices[0][1] if choices else None, label=label)


def class_picker(studio: Studio, model: gr.Dropdown, label: str = "Class") -> gr.Dropdown:
    """The classes of the picked model, by name, and "any"; follows the model picker."""

    def choices(name: str | None) -> list[tuple[str, str]]:
        names = studio.card(name).classes if name else ()
        return [("any (each seed draws one)", ANY), *((n, str(i)) for i, n in enumerate(names))]

    picker = gr.Dropdown(choices(model.value), value=ANY, label=label)

    @bounded
    def follow(name: str, chosen: str) -> dict[str, Any]:
        options = choices(name)
        keeps = chosen in [value for _, value in options]
        return gr.update(choices=options, value=chosen if keeps else ANY)

    model.change(follow, [model, picker], picker, queue=False, show_progress="hidden", **PRIVATE)
    return picker


def class_index(value: str) -> int | None:
    """What a class picker holds, as `labels` of a model."""
    return None if value in (ANY, None) else int(value)


@dataclass
class Address:
    """The page's address holds tab and settings: `?tab=denoise&seeds=0-15&steps=50`.

    Tabs register what belongs in it; `wire` reads it when the page loads and, in the browser alone,
    rewrites it when a setting changes. Names are per tab; only the open tab's settings stand there.
    """

    fields: dict[str, dict[str, tuple[gr.components.Component, Callable[[str], Any]]]] = field(
        default_factory=dict
    )

    def add(self, tab: str, settings: Mapping[str, tuple[gr.components.Component, Callable[[str], Any]]]) -> None:
        """settings: name in the address -> (component, reader). A reader turns the text into a value,
        and raises ValueError or GendiffError for what is not one."""
        self.fields[tab] = dict(settings)

    def wire(self, demo: gr.Blocks, tabs: gr.Tabs) -> None:
        """Connect everything that was added; call it once, after all tabs are built."""
        flat = [(tab, name, *entry) for tab, own in self.fields.items() for name, entry in own.items()]
        components = [component for _, _, component, _ in flat]

        def read(request: gr.Request) -> list[Any]:
            query = dict(request.query_params)
            tab = query.get("tab")
            damaged = []
            if tab is not None and tab not in self.fields:
                damaged.append("tab")
            updates: list[Any] = []
            for owner, name, _, reader in flat:
                update = gr.skip()
                if owner == tab and name in query:
                    try:
                        update = gr.update(value=reader(query[name][:200]))
                    except (ValueError, GendiffError):
                        damaged.append(name)
                updates.append(update)
            if damaged:
                gr.Warning(f"This link has a value that cannot be used ({', '.join(damaged)}); the default stands.")
            return [gr.Tabs(selected=tab) if tab in self.fields else gr.skip(), *updates]

        demo.load(read, None, [tabs, *components], queue=False, show_progress="hidden", **PRIVATE)
        for tab, own in self.fields.items():
            names = list(own)
            parts = [component for component, _ in own.values()]
            write = _WRITE_ADDRESS.replace("TAB", repr(tab)).replace("NAMES", repr(names))
            for component in parts:
                component.change(None, parts, None, js=write, queue=False, **PRIVATE)


# Only the open tab's settings are written: a change that came from elsewhere must not move the reader.
_WRITE_ADDRESS = """(...values) => {
  const open = new URLSearchParams(location.search).get("tab");
  if (open && open !== TAB) return;
  window.gendiffAddress(TAB, NAMES, values);
}"""


def choice_of(*allowed: str) -> Callable[[str], str]:
    """A reader for the address: one of these."""

    def read(text: str) -> str:
        if text not in allowed:
            raise ValueError(text)
        return text

    return read


def number_in(low: float, high: float, whole: bool = True) -> Callable[[str], float]:
    """A reader for the address: a number from low to high."""

    def read(text: str) -> float:
        value = int(text) if whole else float(text)
        if not low <= value <= high:
            raise ValueError(text)
        return value

    return read


def heading(title: str, text: str) -> None:
    """The first lines of a tab: what one sees here."""
    gr.Markdown(f"## {title}\n{text}", elem_classes="lead")
