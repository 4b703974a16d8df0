"""What the tabs have in common with the page: its address, and what is on show when they open."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import gradio as gr

from gendiff.errors import GendiffError

PRIVATE = {"api_visibility": "private"}
QUICK = {"queue": False, "show_progress": "hidden", **PRIVATE}
Reader = Callable[[str], Any]
Setting = tuple[gr.components.Component, Reader]
Implied = Callable[[Mapping[str, str]], Mapping[str, str]]


@dataclass
class Page:
    """The tabs and their settings.

    The address holds the open tab and its settings: `?tab=denoise&seeds=0-15&steps=50`. It is read
    once, when the page loads; the browser alone rewrites it (page.js), and not before a person has
    touched the page: a link stays what it is. A tab shows its example when it is first opened; a
    link with settings then runs them (it clicks the tab's button `#TAB-run`), unless the tab says
    that they are of something else (`keep`).
    """

    settings: dict[str, dict[str, Setting]] = field(default_factory=dict)
    _tabs: dict[str, gr.Tab] = field(default_factory=dict)
    _examples: dict[str, Example] = field(default_factory=dict)
    _implied: dict[str, Implied] = field(default_factory=dict)
    _runs_with: dict[str, Mapping[str, str]] = field(default_factory=dict)

    def tab(self, name: str, title: str) -> gr.Tab:
        """A new tab, to be used as a context; `name` is what stands in the address."""
        self._tabs[name] = gr.Tab(title, id=name, elem_id=f"tab-{name}")
        self.settings[name] = {}
        return self._tabs[name]

    def keep(
        self,
        tab: str,
        implied: Implied | None = None,
        runs_with: Mapping[str, str] | None = None,
        **settings: Setting,
    ) -> None:
        """Settings that belong in the address: name=(component, reader). A reader turns text into
        a value, and raises ValueError or GendiffError for what is not one. implied: what a link's
        settings mean for others that it leaves out. runs_with: settings (name=text) with which a
        link runs; one that names another value of them only opens."""
        self.settings[tab] = settings
        if implied is not None:
            self._implied[tab] = implied
        if runs_with is not None:
            self._runs_with[tab] = runs_with

    def opens_with(
        self,
        tab: str,
        example: Callable[[], Any],
        outputs: list[Any],
        linked: Callable[[Mapping[str, str]], Any] | None = None,
    ) -> None:
        """What fills `outputs` when the tab is first opened: no model work. linked: the same for
        a link with these settings, until they have run (None: the example, which says so)."""
        self._examples[tab] = Example(example, outputs, linked)

    def wire(self, demo: gr.Blocks, tabs: gr.Tabs) -> None:
        """Connect everything; call it once, after all tabs are built."""
        opened = gr.State(())
        ready = self._read_address(demo, tabs, opened)
        named = {tab: list(own) for tab, own in self.settings.items()}
        told = f"{json.dumps(named)}, {json.dumps(self._runs_with)}"
        ready.then(None, js=f"() => window.gendiffArrived({told})", **PRIVATE)
        for tab, example in self._examples.items():
            self._show_when_opened(tab, example, opened)
        for tab, own in self.settings.items():
            parts = [component for component, _ in own.values()]
            write = (
                f"(...values) => window.gendiffAddress({tab!r}, {json.dumps(list(own))}, values"
            )
            self._tabs[tab].select(None, parts, None, js=f"{write}, true)", **PRIVATE)
            for component in parts:
                component.change(None, parts, None, js=f"{write}, false)", **PRIVATE)

    def _read_address(self, demo: gr.Blocks, tabs: gr.Tabs, opened: gr.State) -> Any:
        """One event when the page loads: tab, settings, and what is on show there."""
        flat = [
            (tab, name, *entry)
            for tab, own in self.settings.items()
            for name, entry in own.items()
        ]

        def read(seen: tuple[str, ...], request: gr.Request) -> list[Any]:
            query = dict(request.query_params)
            tab = query.get("tab")
            if tab in self._implied:
                query = {**self._implied[tab](query), **query}
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
            there = self._arrival(query)
            linked = {name: query[name] for name in self.settings[there] if name in query}
            shown = [
                value
                for name, example in self._examples.items()
                for value in example.values(linked if name == there == tab else {}, name == there)
            ]
            selected = gr.Tabs(selected=tab) if tab in self.settings else gr.skip()
            return [selected, *updates, (*seen, there), *shown]

        components = [component for _, _, component, _ in flat]
        outputs = [output for example in self._examples.values() for output in example.outputs]
        # Queued, unlike the other quick events: gradio shows a warning only from the queue.
        return demo.load(
            read,
            [opened],
            [tabs, *components, opened, *outputs],
            show_progress="hidden",
            concurrency_limit=None,
            **PRIVATE,
        )

    def _show_when_opened(self, tab: str, example: Example, opened: gr.State) -> None:
        def show(seen: tuple[str, ...], request: gr.Request) -> list[Any]:
            # gradio also selects the tab that a page opens with: that one `read` fills, and its
            # example may be a link's, which another one must not replace.
            wanted = tab not in seen and tab != self._arrival(dict(request.query_params))
            return [(*seen, tab), *example.values({}, wanted)]

        self._tabs[tab].select(show, [opened], [opened, *example.outputs], **QUICK)

    def _arrival(self, query: Mapping[str, str]) -> str:
        """The tab that a page with this address opens with."""
        tab = query.get("tab")
        return tab if tab in self.settings else next(iter(self.settings))


@dataclass(frozen=True)
class Example:
    """What fills a tab's outputs before anything has run; see `Page.opens_with`."""

    make: Callable[[], Any]
    outputs: list[Any]
    linked: Callable[[Mapping[str, str]], Any] | None = None

    def values(self, link: Mapping[str, str], wanted: bool) -> list[Any]:
        """A value for each output; link: the settings of a link that is about to run."""
        nothing = [gr.skip()] * len(self.outputs)
        if not wanted:
            return nothing
        try:
            made = self.linked(link) if link and self.linked else self.make()
        except GendiffError as error:  # no example is no reason to lose the rest of the page
            gr.Warning(str(error))
            return nothing
        values = [*made] if isinstance(made, (list, tuple)) else [made]
        return [_until_it_ran(value) for value in values] if link else values


def _until_it_ran(value: Any) -> Any:
    """An example that stands in for a link's run: its message to a player says so."""
    if not (isinstance(value, dict) and value.get("op") == "batch"):
        return value
    note = "An example, until your link has run."
    ops = [
        {**op, "waiting": True, "note": note} if op["op"] == "start" else op for op in value["ops"]
    ]
    return {**value, "ops": ops}
