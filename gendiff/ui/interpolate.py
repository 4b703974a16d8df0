"""The Interpolate tab: from seed to seed, by the GAN's z and by the diffusion model's x_T."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import gradio as gr

from gendiff.errors import GendiffError, whole
from gendiff.studio import Studio, zero
from gendiff.studio import walk as walks
from gendiff.studio.walk import FRAMES_MAX, SIDE_MAX, STEPS_MAX
from gendiff.ui import examples
from gendiff.ui.exports import wire_exports
from gendiff.ui.parts import (
    ANY,
    MODEL_WORK,
    PRIVATE,
    Page,
    Slider,
    bounded,
    choice_of,
    class_index,
    follows_models,
    heading,
    number_in,
    offered,
    on_device,
    status,
    wire_stop,
)
from gendiff.ui.player import Message, Player, stopped
from gendiff.ui.walk_runs import FPS, Update, stream_grid, stream_walk, whole_walk
from gendiff.weights import Card

TAB = "interpolate"
SEEDS, FRAMES, SIDE, STEPS = "3, 12, 25", 24, 6, 20
CORNERS = (3, 12, 25, 40)

WHY = f"""
**Why slerp.** A draw from N(0, I) in *d* dimensions has a norm close to √*d*: all samples lie on
a thin shell. The straight line (*lerp*) between two of them cuts through the inside, where the
network has seen nothing; half way its norm is only √(*d* / 2), which is 0.71 √*d*. *Slerp* follows
the shell (Shoemake 1985; White 2016, arXiv:1609.04468). The chart shows the norms: the GAN's z has
few dimensions, so its shell is thicker than that of x<sub>T</sub>.

**Why both can do it.** The GAN's generator turns z into a picture. So does the diffusion model
with x<sub>T</sub> if its sampler draws nothing on the way: deterministic DDIM (Song et al. 2021,
arXiv:2010.02502). The GAN pays one network call for a picture, DDIM one for each of its steps.

**What to look for.** Where the picture changes little by little, and where it jumps. The GAN was
trained to spread its pictures over z; the diffusion model was only trained to remove noise, and
which picture belongs to which x<sub>T</sub> came out of that by itself.

**Limits.** Two to four seeds. 2 to {FRAMES_MAX} frames: each is a diffusion run of its own, and
{FRAMES_MAX} of them keep a processor core busy for up to a minute. Grids up to {SIDE_MAX} x
{SIDE_MAX} for the same reason. One class for the whole way; "any" takes the first seed's.
"""


@dataclass(frozen=True)
class Controls:
    """The left side."""

    data: gr.Dropdown
    view: gr.Radio
    seeds: gr.Textbox
    path: gr.Radio
    frames: Slider
    side: Slider
    label: gr.Dropdown
    loop: gr.Checkbox
    steps: Slider
    shuffle: gr.Button
    go: gr.Button
    stop: gr.Button
    line: gr.Textbox


def build(studio: Studio, page: Page) -> None:
    """The tab's components and wiring, inside the open gr.Tab."""
    heading(
        "Interpolate",
        "Walk from seed to seed: through the GAN's z, and through the diffusion model's "
        "x<sub>T</sub>.",
    )
    with gr.Row():
        with gr.Column(scale=3, elem_classes="rail"):
            on = _controls(studio)
        with gr.Column(scale=9, elem_classes="stage"):
            player = Player(
                label="Interpolation",
                exports=("gif", "webp", "mp4", "png"),
                beside=True,
                elem_id=f"{TAB}-player",
            )
            gr.Markdown(
                "The same seed is not the same noise in both: z and x<sub>T</sub> differ in size, "
                "so the two walks show other pictures. Compare how they move, not where they are.",
                elem_classes="note",
            )
            with gr.Accordion("Why slerp, and what to look for", open=False):
                gr.Markdown(WHY)
    _wire(studio, on, player)
    page.keep(
        TAB,
        data=(on.data, offered(on.data)),
        view=(on.view, choice_of("walk", "grid")),
        seeds=(on.seeds, _readable_seeds),
        frames=(on.frames, number_in(2, FRAMES_MAX)),
        side=(on.side, number_in(2, SIDE_MAX)),
        path=(on.path, choice_of("slerp", "lerp")),
        loop=(on.loop, lambda text: choice_of("true", "false")(text) == "true"),
        label=(on.label, lambda text: text if text == ANY else str(number_in(0, 999)(text))),
        steps=(on.steps, number_in(2, STEPS_MAX)),
    )
    page.opens_with(TAB, lambda: examples.read(TAB), [player])


def _controls(studio: Studio) -> Controls:
    first = next(iter(walks.pairs(studio)), None)
    data = follows_models(
        gr.Dropdown(_titles(studio), value=first, label="Pictures"),
        lambda: _titles(studio),
    )
    views = [("Walk", "walk"), ("Grid", "grid")]
    view = gr.Radio(views, value="walk", label="View", show_label=False)
    seeds = gr.Textbox(SEEDS, label="Seeds: two to four", max_length=200)
    paths = [("slerp (arc)", "slerp"), ("lerp (line)", "lerp")]
    path = gr.Radio(paths, value="slerp", label="Path")
    frames = Slider(2, FRAMES_MAX, FRAMES, step=1, label="Frames")
    side = Slider(2, SIDE_MAX, SIDE, step=1, label="Pictures a side", visible=False)
    with gr.Accordion("More settings", open=False):
        label = gr.Dropdown(
            _classes(studio, first), value=ANY, label="Class", allow_custom_value=True
        )  # see parts.class_picker
        loop = gr.Checkbox(True, label="Loop back to the first seed")
        calls = "Calls a diffusion frame."
        steps = Slider(2, STEPS_MAX, STEPS, step=1, label="DDIM steps", info=calls)
        shuffle = gr.Button("New seeds", size="sm")
    with gr.Column(elem_classes="run"):
        with gr.Row(elem_classes="actions"):
            go = gr.Button("Walk", variant="primary", elem_id=f"{TAB}-run", min_width=90)
            stop = gr.Button("Stop", elem_id=f"{TAB}-stop", min_width=90)
        line = status()
    return Controls(
        data, view, seeds, path, frames, side, label, loop, steps, shuffle, go, stop, line
    )


def _wire(studio: Studio, on: Controls, player: Player) -> None:
    @on_device(lambda data, *values: _cost(studio, data, *values))
    def run(
        data: str,
        view: str,
        seeds: str,
        frames: float,
        side: float,
        path: str,
        loop: bool,
        label: str,
        steps: float,
    ) -> Iterator[Update]:
        """Messages for the player and lines for the status, until all is made."""
        options = {"path": path, "label": class_index(label), "steps": steps}
        try:
            if view == "grid":
                made = walks.grid(studio, data, seeds, side=side, **options)
                yield from stream_grid(made, studio.conditions())
            else:
                made = walks.walk(studio, data, seeds, frames=frames, loop=loop, **options)
                yield from stream_walk(made, studio.conditions())
        except Exception:  # whatever it is, the player must not wait for more
            yield stopped("An error stopped this run."), ""
            raise

    @bounded
    def follow_data(data: str, chosen: str) -> Any:
        """The data set's classes; the chosen one stays if it is there."""
        options = _classes(studio, data)
        if chosen in dict(options).values():
            return gr.update(choices=options)  # no value: a link's own may be on its way
        return gr.update(choices=options, value=ANY)

    quick = {"queue": False, "show_progress": "hidden", **PRIVATE}
    by_view = [on.frames, on.side, on.loop, on.go, on.seeds]
    on.view.change(_follow_view, on.view, by_view, **quick)
    # input: not for a link, whose seeds are its own
    on.view.input(_corners, [on.view, on.seeds], on.seeds, **quick)
    on.data.change(follow_data, [on.data, on.label], on.label, **quick)
    on.shuffle.click(_new_seeds, on.view, on.seeds, **quick)
    asked = [on.data, on.view, on.seeds, on.frames, on.side, on.path, on.loop, on.label, on.steps]
    event = gr.on(
        [on.go.click, on.seeds.submit],
        gr.cache(run, max_size=32, max_memory="48mb"),
        asked,
        [player, on.line],
        show_progress="minimal",
        show_progress_on=on.line,
        **MODEL_WORK,
        **PRIVATE,
    )
    wire_stop(on.stop, player, on.line, event)
    wire_exports(player, on.line, TAB, fps=FPS, hold=0)


def example(studio: Studio) -> Message:
    """What stands in the tab when it opens: the default walk, as a live run would send it."""
    name, (gan, diffusion) = next(iter(walks.pairs(studio).items()))
    walk = walks.walk(studio, name, SEEDS, frames=FRAMES, loop=True, steps=STEPS)
    return whole_walk(walk, f"Pre-computed: {gan.name}, {diffusion.name}; {studio.conditions()}")


def _cost(
    studio: Studio, data: str, view: str, seeds: str, frames: float, side: float, *rest: Any
) -> float:
    """Seconds on a GPU, roughly."""
    grid, steps = view == "grid", whole("DDIM steps", rest[-1], 2, STEPS_MAX)
    walks.anchors(seeds, exactly=4 if grid else None)
    side, frames = whole("Sides", side, 2, SIDE_MAX), whole("Frames", frames, 2, FRAMES_MAX)
    cards = walks.pairs(studio).get(data)
    return zero.seconds(cards[1], steps, side**2 if grid else frames) if cards else 0.0


# ---- Choices --------------------------------------------------------------------------------


def _follow_view(view: str) -> list[Any]:
    """The settings that belong to the view."""
    grid = view == "grid"
    return [
        gr.update(visible=not grid),
        gr.update(visible=grid),
        gr.update(visible=not grid),
        gr.update(value="Make the grid" if grid else "Walk"),
        gr.update(label="Seeds: four corners" if grid else "Seeds: two to four"),
    ]


def _corners(view: str, text: str) -> str:
    """For a grid, the seeds and as many default corners as are lacking; else the text as it is."""
    try:
        seeds = list(walks.anchors(text))
    except GendiffError:
        return text
    spare = [seed for seed in CORNERS if seed not in seeds]
    return text if view == "walk" or len(seeds) == 4 else ", ".join(map(str, [*seeds, *spare][:4]))


def _new_seeds(view: str) -> str:
    """Three seeds for a walk, four for a grid."""
    return ", ".join(map(str, random.sample(range(1000), 4 if view == "grid" else 3)))


def _titles(studio: Studio) -> list[tuple[str, str]]:
    """The pairs by their data; those that a data set has beside its bundled one with names."""
    return [(_title(name, *pair), name) for name, pair in walks.pairs(studio).items()]


def _title(name: str, gan: Card, diffusion: Card) -> str:
    """Cards' titles are such as "Cartoon cats, GAN": what they say of the data comes once."""
    data, _, one = gan.title.rpartition(", ")
    if name == gan.data:
        return data or gan.title
    same, _, other = diffusion.title.rpartition(", ")
    other = other if same == data else diffusion.title
    return f"{data}: {one} and {other}" if data else f"{one} and {other}"


def _classes(studio: Studio, data: str | None) -> list[tuple[str, str]]:
    pair = walks.pairs(studio).get(data or "")
    names = walks.classes(pair) if pair else ()
    return [("any (the first seed draws it)", ANY), *((n, str(i)) for i, n in enumerate(names))]


def _readable_seeds(text: str) -> str:
    walks.anchors(text)
    return text
