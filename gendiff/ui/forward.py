"""The Forward tab: a picture on its way to noise, and what a network still sees in it."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

import gradio as gr

from gendiff.errors import GendiffError
from gendiff.studio import Studio, noising, pictures
from gendiff.studio.noising import PARAMETERS, T_MAX
from gendiff.ui import examples
from gendiff.ui.exports import wire_exports
from gendiff.ui.forward_runs import EXPLANATION, LABELS, SCHEDULES, gauge, trip
from gendiff.ui.forward_work import Asked, one_seed, runners, way_of
from gendiff.ui.pad import UPLOAD_MAX, is_of, pad, picture, real_pictures, title
from gendiff.ui.pad import shown as on_shelf
from gendiff.ui.parts import (
    PRIVATE,
    Page,
    Slider,
    bounded,
    choice_of,
    heading,
    model_picker,
    number_in,
    offered,
    status,
)
from gendiff.ui.player import Message, Player
from gendiff.weights import Card

# A queue of its own, one at a time: a second of work must not wait behind half a minute of it.
QUICK_WORK = {"concurrency_id": "noising", "concurrency_limit": 1}
PICTURE, KIND, SEED = 14, "cosine", "0"  # what stands there at first
FIELDS = 3  # as many parameters as a schedule can have
PRESETS = {
    "Cosine, T = 1000": ("cosine", 1000),
    "Linear, T = 200": ("linear", 200),
    "Linear, T = 50": ("linear", 50),
}


@dataclass(frozen=True)
class Controls:
    """The left side. picture is the number of a real one; empty, what is on the board counts."""

    model: gr.Dropdown
    board: gr.HTML
    upload: gr.UploadButton
    kind: gr.Dropdown
    steps: Slider
    left: gr.HTML
    presets: dict[str, gr.Button]
    go: gr.Button
    new: gr.Button
    fields: list[gr.Number]
    picture: gr.Number
    seed: gr.Textbox
    said: gr.Textbox


def build(studio: Studio, page: Page) -> None:
    """Components, handlers, wiring."""
    heading(
        "Forward: from a picture to noise",
        "Each step fades the picture a little and adds a little noise. What does a trained "
        "network make of x<sub>t</sub>, in one call?",
    )
    with gr.Row():
        with gr.Column(scale=3, elem_classes="rail"):
            on = _controls(studio)
        with gr.Column(scale=9, elem_classes="stage"):
            player = Player(
                label="A picture on its way to noise",
                exports=("gif", "webp", "mp4"),
                elem_id="forward-player",
            )
            with gr.Accordion("What is shown here", open=False):
                gr.Markdown(EXPLANATION, elem_classes="note")
    shown = gr.State(None)  # what the player shows: the controls may have moved on
    _wire(studio, on, player, shown)
    wire_exports(player, on.said, "forward", fps=20)
    page.keep(
        "forward",
        _implied,
        model=(on.model, offered(on.model)),
        picture=(on.picture, number_in(0, 255)),
        schedule=(on.kind, choice_of(*PARAMETERS)),
        T=(on.steps, number_in(1, T_MAX)),
        **{
            f"p{i + 1}": (field, number_in(-20, 20, whole=False))
            for i, field in enumerate(on.fields)
        },
        seed=(on.seed, lambda text: str(one_seed(text))),
    )
    page.opens_with("forward", _open_example, [player, shown])


def example(studio: Studio) -> Message:
    """What stands there when the tab opens: what "Add noise" sends with the default settings."""
    card = next(iter(studio.cards("diffusion")), None)
    if card is None:
        raise GendiffError("There is no diffusion model to make an example with.")
    way = way_of(studio, *_default(card))
    note = f"Pre-computed: {card.title}, noise seed {SEED}. Press Add noise to run it now."
    found = way.levels(way.keys)
    message = trip(card, way, found, title(studio, card, PICTURE), SEED, True, note)
    return {**message, "asked": _default(card)}


def _default(card: Card) -> Asked:
    """What the controls ask for before anyone touches them."""
    return (card.name, PICTURE, "", KIND, T_MAX, _defaults(KIND), SEED)


def _open_example() -> list[Any]:
    message = dict(examples.read("forward"))
    name, number, drawing, kind, T, fields, seed = message.pop("asked")
    asked = (name, number, drawing, kind, T, tuple(fields), seed)
    return [message, (message["ops"][0]["run"], asked)]


def _controls(studio: Studio) -> Controls:
    model = model_picker(studio, "diffusion", "Data and network")
    model.show_label = False  # it says both itself
    with gr.Row(elem_classes="fw-levels"):
        kind = gr.Dropdown(
            SCHEDULES,
            value=KIND,
            label="Schedule",
            scale=4,
            min_width=110,
            elem_id="forward-schedule",
        )
        steps = Slider(
            1,
            T_MAX,
            value=T_MAX,
            step=1,
            label="Steps T",
            buttons=[],
            scale=3,
            min_width=110,
            elem_id="forward-T",
        )
    style = files("gendiff.ui").joinpath("forward.css").read_text("utf-8")
    left = gr.HTML(
        _gauge(KIND, T_MAX, *_defaults(KIND)),
        head=f"<style>{style}</style>",
        elem_id="forward-gauge",
    )
    with gr.Row(elem_classes="fw-presets"):
        presets = {text: gr.Button(text, size="sm", min_width=80) for text in PRESETS}
    with gr.Column(elem_classes="fw-source"):
        board = pad(studio, model.value, PICTURE, "forward-pad")
        upload = gr.UploadButton(
            "Upload",
            file_types=["image"],
            type="binary",
            size="sm",
            elem_id="forward-upload",
        )
    with gr.Accordion("More settings", open=False):
        with gr.Row(elem_classes="fw-parameters"):
            fields = [
                gr.Number(value, min_width=70, elem_id=f"forward-p{i + 1}", **_field(KIND, i))
                for i, value in enumerate(_defaults(KIND))
            ]
        number = gr.Number(
            PICTURE,
            label="Real picture, 0 to 255 (empty: your own)",
            precision=0,
            elem_id="forward-picture",
        )
        seed = gr.Textbox(SEED, label="Seed of the noise", max_lines=1, elem_id="forward-seed")
    with gr.Column(elem_classes="run"):
        with gr.Row(elem_classes="actions"):
            go = gr.Button("Add noise", variant="primary", min_width=100, elem_id="forward-run")
            new = gr.Button("New noise", min_width=100, elem_id="forward-new")
        said = status()
    return Controls(
        model, board, upload, kind, steps, left, presets, go, new, fields, number, seed, said
    )


def _wire(studio: Studio, on: Controls, player: Player, shown: gr.State) -> None:
    play, update, fill = runners(studio)

    @bounded
    def follow(name: str, which: float | None, sent: Any) -> list[Any]:
        """The board follows the model and the number; a drawing of the same data stays."""
        card = studio.card(name)
        real = real_pictures(studio, card.data)
        if is_of(card, sent) and (which is None or real is None):
            return [gr.skip(), None if real is None else gr.skip()]
        if real is not None and which is not None and not 0 <= which < len(real.pictures):
            return [gr.skip(), gr.skip()]  # `update` says so; an error here, unqueued, is a 500
        value = on_shelf(studio, name, int(which or 0))
        return [value, value["index"]]

    @bounded
    def receive(name: str, file: bytes | None) -> list[Any]:
        card = studio.card(name)
        return [picture(card.data, pictures.uploaded(file, card.shape), "Your upload"), None]

    @bounded
    def refuse(event: gr.EventData) -> None:
        size = f"{float(event.size) / 2**20:.0f} MB"
        raise GendiffError(f"This file has {size}; choose one of at most {UPLOAD_MAX} MB.")

    asked = [on.model, on.picture, on.board, on.kind, on.steps, *on.fields, on.seed]
    busy = {"show_progress": "minimal", "show_progress_on": on.said, **PRIVATE}
    quick = {"queue": False, "show_progress": "hidden", **PRIVATE}
    newest = {"trigger_mode": "always_last"}
    results = [player, shown]
    on.go.click(play, asked, results, **busy, **QUICK_WORK)
    # "multiple", not "always_last": gradio repeats the last event without its data, the frame.
    rests = {"trigger_mode": "multiple", "show_progress": "hidden"}
    player.settle(fill, shown, player, **rests, **PRIVATE, **QUICK_WORK)
    fields = [field.submit for field in on.fields]
    triggers = [on.model.input, on.steps.input, on.picture.submit, on.seed.submit, *fields]
    gr.on(triggers, update, asked, results, **newest, **busy, **QUICK_WORK)

    # What belongs together follows, whoever changed it: a person, a link, another setting.
    seen = [on.board, on.picture]
    gr.on(
        [on.model.change, on.picture.change],
        follow,
        [on.model, on.picture, on.board],
        seen,
        **quick,
    )
    on.kind.change(
        lambda kind: [gr.update(**_field(kind, i)) for i in range(FIELDS)],
        on.kind,
        on.fields,
        **quick,
    )
    levels = [on.kind, on.steps, *on.fields]
    gr.on([part.change for part in levels], _gauge, levels, on.left, **newest, **quick)

    on.board.refuse(refuse, **busy)

    # A person's choices that fill in other settings before they run.
    number = "(picture) => picture?.index ?? null"
    followed = [
        on.board.edit(None, on.board, on.picture, js=number, **PRIVATE),
        on.kind.input(_defaults, on.kind, on.fields, **quick),
        on.new.click(lambda: str(secrets.randbelow(10_000)), None, on.seed, **quick),
        on.upload.upload(
            receive,
            [on.model, on.upload],
            seen,
            concurrency_id="upload",
            concurrency_limit=1,
            **busy,
        ),
    ]
    for text, button in on.presets.items():
        kind, T = PRESETS[text]
        values = [kind, T, *_defaults(kind)]
        followed.append(button.click(lambda values=values: values, None, levels, **quick))
    for event in followed:
        event.success(update, asked, results, **newest, **busy, **QUICK_WORK)


# ---- Schedules ------------------------------------------------------------------------------


def _defaults(kind: str) -> tuple[float | None, ...]:
    values = [parameter.default for parameter in PARAMETERS[kind]]
    return (*values, *[None] * (FIELDS - len(values)))


def _implied(link: Mapping[str, str]) -> Mapping[str, str]:
    """A link that names a schedule alone means it with its default parameters."""
    values = _defaults(link["schedule"]) if link.get("schedule") in PARAMETERS else ()
    return {f"p{i + 1}": repr(value) for i, value in enumerate(values) if value is not None}


def _field(kind: str, i: int) -> dict[str, Any]:
    """How field i looks for that schedule: only those that it has are seen."""
    own = PARAMETERS[kind]
    return {"label": LABELS[own[i].name] if i < len(own) else "", "visible": i < len(own)}


def _gauge(kind: str, T: float | None, *fields: float | None) -> str:
    """The signal left at T; where the settings make no schedule, the sentence that says why."""
    try:
        return gauge(noising.make_schedule(kind, T, fields))
    except GendiffError as error:
        return gauge(None, str(error))
