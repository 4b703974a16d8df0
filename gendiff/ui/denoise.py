"""The Denoise tab: a diffusion model's run from noise to pictures, every step of it on show."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import gradio as gr

from gendiff.errors import GendiffError
from gendiff.noise import parse
from gendiff.studio import Studio, zero
from gendiff.studio.denoising import PICTURES_MAX, VARIANCES, Settings, prepare
from gendiff.ui import examples
from gendiff.ui.denoise_runs import show
from gendiff.ui.exports import wire_exports
from gendiff.ui.parts import (
    ANY,
    MODEL_WORK,
    PRIVATE,
    Page,
    Slider,
    choice_of,
    class_index,
    class_picker,
    heading,
    model_picker,
    number_in,
    offered,
    on_device,
    status,
    wire_stop,
)
from gendiff.ui.player import Message, Player
from gendiff.ui.precision import dtype_of, precision_picker
from gendiff.ui.precision import reader as precision_reader
from gendiff.ui.streaming import stream

SAMPLERS = [
    ("DDIM: deterministic, few steps", "ddim"),
    ("DDPM: new noise in every step", "ddpm"),
    ("Guess, then noise again", "renoise"),
    ("DPM-Solver++ (2M): fewest steps", "dpmpp_2m"),
    ("Heun: two calls a step", "heun"),
]
SEEDS, STEPS_MAX, GUIDANCE_MAX = "0-3", 1000, 10
CACHED = "64mb"  # of runs that are played again for whoever asks for the same


def build(studio: Studio, page: Page) -> None:
    """Components, handlers, wiring."""
    heading(
        "Denoise",
        "Watch a network take noise away, step by step; then go through it with the arrow keys.",
    )
    with gr.Row():
        with gr.Column(scale=3, elem_classes="rail"):
            controls = _controls(studio)
            with gr.Column(elem_classes="run"):
                with gr.Row(elem_classes="actions"):
                    run = gr.Button(
                        "Denoise", variant="primary", min_width=120, elem_id="denoise-run"
                    )
                    stop = gr.Button("Stop", min_width=80, elem_id="denoise-stop")
                line = status()
        with gr.Column(scale=9, elem_classes="stage"):
            player = Player(
                label="Denoising",
                placeholder="Press Denoise to start.",
                exports=("gif", "webp", "mp4", "png"),
                elem_id="denoise-player",
            )

    @on_device(lambda *values: _cost(studio, read_settings(*values)))
    def denoise(
        model: str | None,
        label: str | None,
        seeds: str,
        sampler: str,
        steps: float | None,
        guidance: float | None,
        eta: float | None,
        variance: str,
        precision: str,
    ) -> Iterator[tuple[Any, Any]]:
        chosen = read_settings(
            model, label, seeds, sampler, steps, guidance, eta, variance, precision
        )
        moving, frames = show(prepare(studio, chosen))
        yield gr.skip(), "Denoising …"  # no longer "Done": Stop must not take it for the end
        for message in stream(moving, frames):
            yield message, gr.skip()
        yield gr.skip(), f"Done: {chosen.steps} step{'s' * (chosen.steps > 1)}."

    running = gr.on(
        [run.click, controls["seeds"].submit],
        gr.cache(denoise, max_size=32, max_memory=CACHED),
        list(controls.values()),
        [player, line],
        show_progress="minimal",
        show_progress_on=line,
        **MODEL_WORK,
        **PRIVATE,
    )
    wire_stop(stop, player, line, running)
    wire_exports(player, line, "denoise", panes=[3])
    page.opens_with("denoise", lambda: examples.read("denoise"), [player])
    readers = _readers(studio, controls["model"])
    page.keep("denoise", **{name: (part, readers[name]) for name, part in controls.items()})


def example(studio: Studio) -> Message:
    """The run that the tab opens with."""
    card = next(iter(studio.cards("diffusion")), None)
    chosen = read_settings(card and card.name, ANY, SEEDS, "ddim", 50, 1, 0, "posterior", "auto")
    job = prepare(studio, chosen)
    run, frames = show(job, f"Pre-computed: {job.model.card.title}, seeds {SEEDS}")
    return run.whole(list(frames))


def _controls(studio: Studio) -> dict[str, gr.components.Component]:
    """The left side, in the order that read_settings takes."""
    model = model_picker(studio, "diffusion")
    with gr.Row():
        label = class_picker(studio, model)
        seeds = gr.Textbox(
            SEEDS, label="Seeds", max_length=200, min_width=110, elem_id="denoise-seeds"
        )
    sampler = gr.Dropdown(SAMPLERS, value="ddim", label="Sampler")
    steps = Slider(1, STEPS_MAX, value=50, step=1, label="Steps")
    with gr.Accordion("More settings", open=False):
        every = gr.Button(f"All {STEPS_MAX} steps", size="sm", elem_id="denoise-every")
        every.click(None, None, steps, js=f"() => {STEPS_MAX}", **PRIVATE)
        guidance = Slider(
            0,
            GUIDANCE_MAX,
            value=1,
            step=0.5,
            label="Guidance scale",
            info="1: none. Above: more typical of the class, twice the work.",
        )
        eta = Slider(
            0,
            1,
            value=0,
            step=0.05,
            label="eta",
            info="DDIM only. 0: deterministic; 1: as random as DDPM.",
        )
        variance = gr.Radio(
            VARIANCES, value="posterior", label="Variance", info="DDPM only: how much new noise."
        )
        precision = precision_picker(studio, model)
    return {
        "model": model,
        "label": label,
        "seeds": seeds,
        "sampler": sampler,
        "steps": steps,
        "guidance": guidance,
        "eta": eta,
        "variance": variance,
        "precision": precision,
    }


def _readers(studio: Studio, model: gr.Dropdown) -> dict[str, Callable[[str], Any]]:
    """What the address may say about each control."""
    cards = studio.cards("diffusion")
    classes = max((len(card.classes) for card in cards), default=0)
    return {
        "model": offered(model),
        "label": choice_of(ANY, *map(str, range(classes))),
        "seeds": _seeds,
        "sampler": choice_of(*(value for _, value in SAMPLERS)),
        "steps": number_in(1, STEPS_MAX),
        "guidance": number_in(0, GUIDANCE_MAX, whole=False),
        "eta": number_in(0, 1, whole=False),
        "variance": choice_of(*VARIANCES),
        "precision": precision_reader(),
    }


def read_settings(
    model: str | None,
    label: str | None,
    seeds: str,
    sampler: str,
    steps: float | None,
    guidance: float | None,
    eta: float | None,
    variance: str,
    precision: str,
) -> Settings:
    """What the components hold, as Settings; GendiffError for what is none."""
    if not model:
        raise GendiffError("There is no diffusion model here; add a checkpoint, then start again.")
    for name, value in (("Steps", steps), ("Guidance scale", guidance), ("eta", eta)):
        if value is None or not math.isfinite(value):
            raise GendiffError(f"{name} is no number; give one.")
    return Settings(
        model,
        tuple(parse(seeds, most=PICTURES_MAX)),
        class_index(label),
        sampler,
        int(steps) if steps == int(steps) else steps,
        guidance,
        eta,
        variance,
        dtype_of(precision),
    )


def _cost(studio: Studio, chosen: Settings) -> float:
    """Seconds on a GPU, roughly."""
    calls = int(chosen.steps) * (1 + (chosen.sampler == "heun")) * (1 + (chosen.guidance != 1))
    return zero.seconds(studio.card(chosen.model), calls, len(chosen.seeds))


def _seeds(text: str) -> str:
    """A reader for the address."""
    parse(text, most=PICTURES_MAX)
    return text
