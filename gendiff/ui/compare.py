"""The Compare tab: one view an activity; the address holds the view and its settings."""

from __future__ import annotations

from typing import Any

import gradio as gr

from gendiff.studio import Studio
from gendiff.studio.contestants import data_sets
from gendiff.ui import (
    compare_advice,
    compare_budget,
    compare_diversity,
    compare_quality,
    compare_quiz,
    compare_race,
    race_keep,
)
from gendiff.ui.parts import PRIVATE, Page, choice_of, follows_models, heading, offered

TAB = "compare"
VIEWS = {
    "race": ("Race", compare_race),
    "quality": ("Quality", compare_quality),
    "budget": ("Budget", compare_budget),
    "quiz": ("Blind test", compare_quiz),
    "diversity": ("Diversity", compare_diversity),
    "advice": ("Which one for me?", compare_advice),
}


def build(studio: Studio, page: Page) -> None:
    """The views and the switch between them, inside the open gr.Tab."""
    heading(
        "Compare",
        "The same pictures to learn from, two families: how fast, how good, how varied?",
    )
    sets = data_sets(studio)
    with gr.Row(elem_id="compare-top"):
        view = gr.Radio(
            [(title, name) for name, (title, _) in VIEWS.items()],
            value="race",
            show_label=False,
            label="View",
            container=False,
            elem_id="compare-view",
        )
        data = gr.Radio(
            _titles(studio),
            value=next(iter(sets), None),
            show_label=False,
            label="Pictures",
            container=False,
            elem_id="compare-data",
        )
        follows_models(data, lambda: _titles(studio))
    groups, views = {}, {}
    for name, (_, module) in VIEWS.items():
        with gr.Column(visible=name == "race") as groups[name]:
            views[name] = module.build(studio, page, view, data)
    states = {name: state for one in views.values() for name, state in one.kept.items()}
    keep = race_keep.build(studio, data, states.pop("race"), list(states.values()))
    shown = gr.State(dict.fromkeys(VIEWS, data.value))  # the data set that each view shows

    def show(chosen: str, of: str, shown: dict[str, str], *values: Any) -> list[Any]:
        """The chosen view alone; it follows the data set when it is open, the others later."""
        updates, rest = [], list(values)
        for name, one in views.items():
            own = [rest.pop(0) for _ in one.inputs]
            stands = name != chosen or shown.get(name) == of
            updates += [gr.skip()] * len(one.outputs) if stands else one.follow(of, *own)
        visible = [gr.update(visible=name == chosen) for name in groups]
        return [{**shown, chosen: of}, *visible, *updates, gr.update(visible=chosen != "quiz")]

    gr.on(
        [view.change, data.change],
        show,
        [view, data, shown, *(part for one in views.values() for part in one.inputs)],
        [
            shown,
            *groups.values(),
            *(part for one in views.values() for part in one.outputs),
            keep,
        ],
        queue=False,
        show_progress="hidden",
        trigger_mode="always_last",
        **PRIVATE,
    )
    kept = {name: entry for one in views.values() for name, entry in one.settings.items()}
    page.keep(
        TAB,
        # a class that joins a quiz by its link must not start races
        runs_with={"view": "race"},
        view=(view, choice_of(*VIEWS)),
        data=(data, offered(data)),
        **kept,
    )


def example(studio: Studio) -> dict[str, Any]:
    """What stands in the tab when it opens: a race that was run beforehand."""
    return compare_race.example(studio)


def _titles(studio: Studio) -> list[tuple[str, str]]:
    return [(title, name) for name, title in data_sets(studio).items()]
