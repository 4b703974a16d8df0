"""What all tabs share: the error boundary, pickers, and the page with its address."""

from __future__ import annotations

import functools
import inspect
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, TypeVar

import gradio as gr

from gendiff.errors import GendiffError
from gendiff.studio import Studio

F = TypeVar("F", bound=Callable[..., Any])

# All model work shares one queue; see Studio.share_cores for why two.
MODEL_WORK = {"concurrency_id": "model", "concurrency_limit": 2}
PRIVATE = {"api_visibility": "private"}
_QUICK = {"queue": False, "show_progress": "hidden", **PRIVATE}
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
        return [("any class", ANY), *((n, str(i)) for i, n in enumerate(names))]

    # A link may name a class that only its own model has: gradio would refuse it as no choice
    # before `follow` could offer that model's classes.
    picker = gr.Dropdown(choices(model.value), value=ANY, label=label, allow_custom_value=True)

    @bounded
    def follow(name: str, chosen: str) -> dict[str, Any]:
        options = choices(name)
        if chosen in [value for _, value in options]:
            return gr.update(choices=options)  # no value: a link's own may be on its way
        return gr.update(choices=options, value=ANY)

    model.change(follow, [model, picker], picker, **_QUICK)
    return picker


def class_index(value: str | None) -> int | None:
    """What a class picker holds, as `labels` of a model."""
    if value in (ANY, None, ""):
        return None
    if not str(value).isdecimal():
        raise GendiffError(f"There is no class {str(value)[:40]!r}; choose one from the list.")
    return int(value)


Reader = Callable[[str], Any]
Setting = tuple[gr.components.Component, Reader]


@dataclass
class Page:
    """What the tabs have in common with the page: its address, and what is on show when they open.

    The address holds the open tab and its settings: `?tab=denoise&seeds=0-15&steps=50`. It is read
    once, when the page loads; the browser alone rewrites it. A link with settings runs them (it
    clicks the tab's button `#TAB-run`); otherwise a tab shows its example when it is first opened.
    """

    settings: dict[str, dict[str, Setting]] = field(default_factory=dict)
    _tabs: dict[str, gr.Tab] = field(default_factory=dict)
    _examples: dict[str, tuple[Callable[[], Any], list[Any]]] = field(default_factory=dict)

    def tab(self, name: str, title: str) -> gr.Tab:
        """A new tab, to be used as a context; `name` is what stands in the address."""
        self._tabs[name] = gr.Tab(title, id=name, elem_id=f"tab-{name}")
        self.settings[name] = {}
        return self._tabs[name]

    def keep(self, tab: str, **settings: Setting) -> None:
        """Settings that belong in the address: name=(component, reader). A reader turns text into
        a value, and raises ValueError or GendiffError for what is not one."""
        self.settings[tab] = settings

    def opens_with(self, tab: str, example: Callable[[], Any], outputs: list[Any]) -> None:
        """What fills `outputs` when the tab is first opened without settings: no model work."""
        self._examples[tab] = (example, outputs)

    def wire(self, demo: gr.Blocks, tabs: gr.Tabs) -> None:
        """Connect everything; call it once, after all tabs are built."""
        flat = [
            (tab, name, *entry)
            for tab, own in self.settings.items()
            for name, entry in own.items()
        ]
        opened = gr.State(())

        def read(request: gr.Request) -> list[Any]:
            query = dict(request.query_params)
            tab = query.get("tab")
            damaged = [] if tab is None or tab in self.settings else ["tab"]
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
                gr.Warning(
                    f"This link has values that cannot be used ({', '.join(damaged)}); "
                    "defaults stand."
                )
            return [gr.Tabs(selected=tab) if tab in self.settings else gr.skip(), *updates]

        components = [component for _, _, component, _ in flat]
        # Queued, unlike the other quick events: gradio shows a warning only from the queue.
        ready = demo.load(
            read,
            None,
            [tabs, *components],
            show_progress="hidden",
            concurrency_limit=None,
            **PRIVATE,
        )
        first = next(iter(self.settings))
        for tab, (example, outputs) in self._examples.items():
            self._show_when_opened(demo, tab, example, outputs, opened, opens_first=tab == first)
        ready.then(None, js=_RUN_LINK.replace("TABS", json.dumps(self._named())), **PRIVATE)
        for tab, own in self.settings.items():
            parts = [component for component, _ in own.values()]
            write = (
                f"(...values) => window.gendiffAddress({tab!r}, {json.dumps(list(own))}, values"
            )
            self._tabs[tab].select(None, parts, None, js=f"{write}, true)", **PRIVATE)
            for component in parts:
                component.change(None, parts, None, js=f"{write}, false)", **PRIVATE)

    def _named(self) -> dict[str, list[str]]:
        return {tab: list(own) for tab, own in self.settings.items()}

    def _show_when_opened(
        self,
        demo: gr.Blocks,
        tab: str,
        example: Callable[[], Any],
        outputs: list[Any],
        opened: gr.State,
        opens_first: bool,
    ) -> None:
        def show(seen: tuple[str, ...], request: gr.Request) -> list[Any]:
            query = dict(request.query_params)
            linked = query.get("tab") == tab and any(name in query for name in self.settings[tab])
            if tab in seen or linked:
                return [seen, *[gr.skip()] * len(outputs)]
            values = example()
            return [(*seen, tab), *(values if isinstance(values, (list, tuple)) else [values])]

        def show_at_load(seen: tuple[str, ...], request: gr.Request) -> list[Any]:
            wanted = dict(request.query_params).get("tab")
            if wanted == tab or (opens_first and wanted not in self.settings):
                return show(seen, request)
            return [seen, *[gr.skip()] * len(outputs)]

        demo.load(bounded(show_at_load), [opened], [opened, *outputs], **_QUICK)
        self._tabs[tab].select(bounded(show), [opened], [opened, *outputs], **_QUICK)


# A link with settings runs them: the button is pressed in the browser, to queue like any other.
_RUN_LINK = """() => {
  const query = new URLSearchParams(window.gendiffArrival), tab = query.get("tab");
  const linked = (TABS[tab] || []).some((name) => query.has(name));
  if (linked) setTimeout(() => document.querySelector(`#${tab}-run`)?.click(), 300);
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


def status() -> gr.Textbox:
    """One line that says what is going on; the queue position is shown on it."""
    return gr.Textbox(
        label="Status",
        show_label=False,
        container=False,
        interactive=False,
        max_lines=1,
        elem_classes="status",
        placeholder="Ready.",
    )
