"""The view Race: two to four contestants, one clock of work alone for each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import gradio as gr

from gendiff.errors import GendiffError
from gendiff.noise import parse
from gendiff.studio import Studio, race, records, zero
from gendiff.studio.contestants import LANES_MAX, contestant, data_sets
from gendiff.studio.race import BATCH, PICTURES_MAX, Race, Result, prepare
from gendiff.studio.timeline import Timeline
from gendiff.ui import examples
from gendiff.ui.exports import wire_exports
from gendiff.ui.parts import (
    ANY,
    MODEL_WORK,
    PRIVATE,
    Page,
    Slider,
    bounded,
    class_index,
    number_in,
    on_device,
    status,
    wire_stop,
)
from gendiff.ui.player import Player, idle, stopped
from gendiff.ui.race_keep import pack, unpack
from gendiff.ui.race_runs import forecast, replay, snapshots, stream_race
from gendiff.ui.runs import refused
from gendiff.ui.standings import standings, style
from gendiff.ui.views import View

SEEDS = "0-15"
DEFAULT = ["gan", "ddim-50"]
OFFERED = [
    ("GAN, 1 call", "gan"),
    ("DDPM, 1000 steps", "ddpm-1000"),
    ("DDIM, 50 steps", "ddim-50"),
    ("DDIM, 10 steps", "ddim-10"),
    ("DPM-Solver++, 20 steps", "dpmpp_2m-20"),
    ("DPM-Solver++, 8 steps", "dpmpp_2m-8"),
    ("Guess and noise again, 50 steps", "renoise-50"),
    ("Heun, 10 steps", "heun-10"),
]

WHY = f"""
**What the clock counts.** Each lane's own work: drawing its noise, and its network calls. Loading
a model, its first call (which prepares kernels), and drawing this page are left out; a GPU is
waited for. `python -m gendiff compare gan ddim-50` gives the same record.

**One device, one lane at a time.** The lanes are run one after another, so that none slows another
down, and are then shown against a common time axis: press play to see the race. 1× is true time.

**NFE** is how often the network is called for one picture. The GAN needs one call; a sampler one
for each of its steps (Heun two). A call of the one network costs more than one of the other, so
seconds and NFE are both shown.

**Same seeds.** Lanes of the diffusion model start from the same noise x<sub>T</sub>. The GAN's z
has another shape, so the same seed is other noise there, and its pictures are others.

**Other contestants.** Type one into the box: a sampler and its steps, like `ddim-25`,
`dpmpp_2m-12`, `ddpm-200`. Two to {LANES_MAX} lanes, 1 to {PICTURES_MAX} pictures.
"""


def build(studio: Studio, page: Page, view: gr.Radio, data: gr.Radio) -> View:
    """Components and wiring; what of it belongs in the address."""
    with gr.Row():
        with gr.Column(scale=3, elem_classes="rail"):
            lanes = gr.Dropdown(
                OFFERED,
                value=DEFAULT,
                multiselect=True,
                allow_custom_value=True,
                max_choices=LANES_MAX,
                label=f"Contestants: two to {LANES_MAX}",
                elem_id="compare-lanes",
            )
            with gr.Accordion("More settings", open=False):
                seeds = gr.Textbox(SEEDS, label="Seeds", max_lines=1)
                batch = Slider(1, PICTURES_MAX, BATCH, step=1, label="Batch: pictures at once")
                label = gr.Dropdown(
                    _classes(studio, data.value), value=ANY, label="Class", allow_custom_value=True
                )
            with gr.Row(elem_classes="actions"):
                go = gr.Button("Race", variant="primary", elem_id="compare-run", min_width=90)
                stop = gr.Button("Stop", elem_id="compare-stop", min_width=90)
            line = status()
        with gr.Column(scale=9, elem_classes="stage"):
            player = Player(
                label="Race",
                placeholder="Press Race to start.",
                exports=("gif", "webp", "mp4"),
                elem_id="compare-player",
            )
            table = gr.HTML(elem_id="compare-table", apply_default_css=False, head=style())
            with gr.Accordion("What the clock counts", open=False):
                gr.Markdown(WHY)
    last = gr.State(None)

    @on_device(lambda *settings: race.cost(studio, _plan(studio, *settings)))
    def racing(
        data: str, lanes: list[str], seeds: str, batch: float, label: str
    ) -> Iterator[tuple[Any, Any, Any, Any]]:
        try:
            plan = _plan(studio, data, lanes, seeds, batch, label)
        except GendiffError as error:
            yield refused(str(error)), "", gr.skip(), gr.skip()
            raise
        timeline, results = Timeline(plan, snapshots(plan)), []
        yield gr.skip(), "Loading …", "", gr.skip()  # the table is of another race
        try:
            for message, said in stream_race(studio, timeline, _where(studio, plan), results):
                news = gr.skip() if message is None else message
                yield news, said or gr.skip(), gr.skip(), gr.skip()
        except Exception:  # whatever it is, the player must not wait for more
            yield stopped("An error stopped this race."), "", gr.skip(), gr.skip()
            raise
        record = records.record(studio, plan, results)
        kept = {"record": record, "pictures": timeline.final()}
        yield gr.skip(), gr.skip(), standings(record), kept

    @bounded
    def foresee(
        data: str, lanes: list[str], seeds: str, batch: float, label: str
    ) -> Iterator[str]:
        """How long it will take, before anyone presses the button: one timed call a model."""
        plan = _plan(studio, data, lanes, seeds, batch, label)
        yield "Measuring one call of each …"
        yield forecast(list(race.forecast(studio, plan)))

    def foresee_quietly(*settings: Any) -> Iterator[str]:
        """It says nothing of settings that are not complete yet."""
        try:
            yield from foresee(*settings)
        except gr.Error:
            yield "Choose two to four contestants, and seeds like 0-15."

    settings = [data, lanes, seeds, batch, label]
    event = gr.on(
        [go.click, seeds.submit],
        racing,
        settings,
        [player, line, table, last],
        show_progress="minimal",
        show_progress_on=line,
        **MODEL_WORK,
        **PRIVATE,
    )
    wire_stop(stop, player, line, event)
    if zero.attached() is None:  # there, a forecast would wait for a GPU as long as the race
        gr.on(
            [data.input, lanes.input, batch.release, seeds.blur],
            foresee_quietly,
            settings,
            line,
            show_progress="hidden",
            trigger_mode="always_last",
            **MODEL_WORK,
            **PRIVATE,
        )
    wire_exports(player, line, "race", hold=24)
    page.opens_with(
        "compare", lambda: _opened(studio, examples.read("compare")), [player, table, last]
    )
    settings_ = {
        "lanes": (lanes, lambda text: _readable_lanes(studio, text)),
        "seeds": (seeds, _readable_seeds),
        "batch": (batch, number_in(1, PICTURES_MAX)),
        "label": (label, lambda text: text if text == ANY else str(number_in(0, 999)(text))),
    }
    return View(
        settings_,
        [label, player, table, last],
        [label, last],
        lambda name, of, last: [_follow(studio, name, of), *_shown(studio, name, last)],
        {"race": last},
    )


def example(studio: Studio) -> dict[str, Any]:
    """The default race, run now: its replay and its record."""
    data = next(iter(data_sets(studio)))
    plan = _plan(studio, data, DEFAULT, SEEDS, BATCH, ANY)
    timeline, results = Timeline(plan, snapshots(plan)), []
    for event in race.run(studio, plan):
        if isinstance(event, race.Lap):
            timeline.add(event)
        elif isinstance(event, Result):
            results.append(event)
    message = replay(plan, timeline, results, _where(studio, plan), "Measured beforehand")
    sheets = [pack(one) for one in timeline.final()]
    record = records.record(studio, plan, results)
    return {"message": message, "record": record, "pictures": sheets}


def _opened(studio: Studio, made: dict[str, Any]) -> list[Any]:
    note = "This race was run beforehand, on the machine that is named here."
    record = {**records.judged(studio, made["record"]), "beforehand": True}
    kept = {"record": record, "pictures": [unpack(one) for one in made["pictures"]]}
    return [made["message"], standings(record, note), kept]


def _plan(
    studio: Studio, data: str, lanes: Sequence[str], seeds: str, batch: float, label: str
) -> Race:
    return prepare(
        studio,
        lanes or [],
        parse(seeds, PICTURES_MAX),
        data=data,
        batch=batch,
        label=class_index(label),
    )


def _where(studio: Studio, plan: Race) -> str:
    return f"{studio.conditions()}, batch {plan.batch}"


def _classes(studio: Studio, data: str | None) -> list[tuple[str, str]]:
    card = next((card for card in studio.cards() if card.data == data), None)
    names = card.classes if card else ()
    return [("any (each seed draws one)", ANY), *((n, str(i)) for i, n in enumerate(names))]


def _follow(studio: Studio, data: str, chosen: str) -> Any:
    """The data set's classes; the chosen one stays if it is there."""
    options = _classes(studio, data)
    if chosen in dict(options).values():
        return gr.update(choices=options)
    return gr.update(choices=options, value=ANY)


def _shown(studio: Studio, data: str, last: dict[str, Any] | None) -> list[Any]:
    """What stands in player, table and state when a data set is chosen: the last race if it is of
    these pictures, else the one that was run beforehand, if that is; else nothing."""
    if last and last["record"]["data"] == data:
        return [gr.skip()] * 3
    made = examples.read("compare")
    if made["record"]["data"] == data:
        return _opened(studio, made)
    return [idle(ended=True), "", None]


def _readable_lanes(studio: Studio, text: str) -> list[str]:
    """A reader for the address: `gan,ddim-50`."""
    words = [word for word in text.split(",") if word.strip()]
    known = {name for card in studio.cards() for name in (card.name, card.data)}
    if not 2 <= len(words) <= LANES_MAX or not known:
        raise GendiffError(f"A race has 2 to {LANES_MAX} contestants.")
    data = next(iter(data_sets(studio)), "")
    for word in words:
        contestant(studio, word, data)
    return words


def _readable_seeds(text: str) -> str:
    parse(text, PICTURES_MAX)
    return text.strip()
