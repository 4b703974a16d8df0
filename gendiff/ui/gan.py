"""The GAN tab: draw pictures, look at one of them, see whether D can tell them from real ones."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from functools import partial
from typing import Any

import gradio as gr

from gendiff.errors import GendiffError, whole
from gendiff.noise import parse
from gendiff.studio import Studio, adversarial
from gendiff.studio.adversarial import PICTURES_MAX, Ask
from gendiff.ui import verdict
from gendiff.ui.gan_runs import GENERATED, MIXED, SEEDS, conditions, example, grid, opening
from gendiff.ui.parts import (
    ANY,
    PRIVATE,
    Page,
    Slider,
    bounded,
    choice_of,
    class_index,
    class_picker,
    heading,
    model_picker,
    number_in,
    offered,
    status,
)
from gendiff.ui.player import Frame, Player
from gendiff.ui.precision import AUTO, dtype_of, precision_picker
from gendiff.ui.precision import reader as precision_reader

__all__ = ["build", "example"]

# A queue of its own: G and D take some tenths of a second, and must not wait for half a minute
# behind diffusion runs; one at a time, so that fifty visitors cannot crowd those out either.
QUICK_WORK = {"concurrency_id": "gan", "concurrency_limit": 1}
# Off at the slider's right end: |z| > 3 is 1 number in 370, nothing jumps.
CUT_LEAST, CUT_OFF = 0.1, 3.0


_LATEX = [
    {"left": "$$", "right": "$$", "display": True},
    {"left": "$", "right": "$", "display": False},
]
_EXPLANATION = r"""
**Two networks, one game** (Goodfellow et al. 2014, arXiv:1406.2661). D is given real pictures $x$
and generated ones $G(z)$, mixed, and learns to say for each how likely it is real; G learns to
make D wrong:

$$\min_G \max_D \; \mathbb{E}_x \log D(x) + \mathbb{E}_z \log(1 - D(G(z))),
\qquad z \sim \mathcal{N}(0, I)$$

Where G has learned the data's distribution, the best D says 1/2 everywhere and is right half of
the time.

**After the training only G is needed**: one network call makes a picture. D stays here as a
witness: it knows the one generator that it was trained against, and measures no quality.

**Seeds.** A seed fixes z, and z and the class fix the picture: seed 7 is the same picture for all.

**Truncation** (Brock et al. 2019, arXiv:1809.11096) takes z from the middle of the normal
distribution, where G has practised most. Pictures get cleaner and more alike.
"""


@dataclass(frozen=True)
class Rail:
    """The controls."""

    mode: gr.Radio
    model: gr.Dropdown
    label: gr.Dropdown
    seeds: gr.Textbox
    count: gr.Number
    cut: Slider
    precision: gr.Dropdown
    go: gr.Button
    new: gr.Button
    said: gr.Textbox


@dataclass(frozen=True)
class Stage:
    """What is shown: the grid and one picture of it, or the mix."""

    generated: gr.Row
    player: Player
    detail: gr.HTML
    mixed: gr.HTML


def build(studio: Studio, page: Page) -> None:
    """The tab's components and wiring, inside the open gr.Tab."""
    heading(
        "GAN: from noise to a picture in one call",
        "A generator G turns noise z into a picture. A discriminator D judges it: real or fake?",
    )
    with gr.Row():
        with gr.Column(scale=3, elem_classes="rail"):
            rail = _rail(studio)
        with gr.Column(scale=9, elem_classes="stage"):
            stage = _stage()
            with gr.Accordion("What happens here", open=False):
                gr.Markdown(_EXPLANATION, latex_delimiters=_LATEX)
    # What the player shows, (run, ask): the controls may have moved on.
    shown = gr.State(None)
    _wire(studio, rail, stage, shown)

    cards = studio.cards("gan")
    classes = map(str, range(max((len(card.classes) for card in cards), default=0)))
    page.keep(
        "gan",
        mode=(rail.mode, choice_of(GENERATED, MIXED)),
        model=(rail.model, offered(rail.model)),
        seeds=(rail.seeds, _readable_seeds),
        label=(rail.label, choice_of(ANY, *classes)),
        truncation=(rail.cut, number_in(CUT_LEAST, CUT_OFF, whole=False)),
        precision=(rail.precision, precision_reader()),
    )
    first = [stage.player, stage.detail, stage.generated, stage.mixed, shown]
    show = partial(opening, studio)
    page.opens_with("gan", show, first, linked=show)


def _rail(studio: Studio) -> Rail:
    views = [("Generated", GENERATED), ("Mixed with real", MIXED)]
    mode = gr.Radio(views, value=GENERATED, label="View", show_label=False, elem_id="gan-mode")
    model = model_picker(studio, "gan")
    label = class_picker(studio, model)
    with gr.Row():
        seeds = gr.Textbox(
            SEEDS, label="Seeds", max_lines=1, scale=3, min_width=120, elem_id="gan-seeds"
        )
        count = gr.Number(
            len(parse(SEEDS)),
            label="How many",
            scale=2,
            min_width=96,
            elem_id="gan-count",  # no bounds, no precision: _range answers, gradio would round
        )
    with gr.Accordion("More settings", open=False):
        cut = Slider(
            CUT_LEAST,
            CUT_OFF,
            value=CUT_OFF,
            step=0.1,
            label="Truncation of z",
            info="Keeps each number of z within ± this: more typical, less varied. 3 is off.",
            elem_id="gan-truncation",
        )
        precision = precision_picker(studio, model)
    with gr.Column(elem_classes="run"):
        with gr.Row(elem_classes="actions"):
            go = gr.Button("Generate", variant="primary", min_width=100, elem_id="gan-run")
            new = gr.Button("New seeds", variant="secondary", min_width=100, elem_id="gan-new")
        said = status()
    return Rail(mode, model, label, seeds, count, cut, precision, go, new, said)


def _stage() -> Stage:
    with gr.Row(elem_id="gan-generated") as generated:
        with gr.Column(scale=7, min_width=300):
            player = Player(label="Generated pictures", elem_id="gan-player")
        with gr.Column(scale=1, min_width=292):  # 256 pixels and the card's padding
            detail = gr.HTML(elem_id="gan-detail", apply_default_css=False, head=verdict.style())
    return Stage(
        generated,
        player,
        detail,
        gr.HTML(visible=False, elem_id="gan-mixed", apply_default_css=False),
    )


def _wire(studio: Studio, rail: Rail, stage: Stage, shown: gr.State) -> None:
    @bounded
    def run(
        view: str, name: str, text: str, of: str, bound: float | None, precision: str = AUTO
    ) -> list[Any]:
        """The view that is asked for is filled and visible, the other one hidden."""
        ask = _ask(studio, name, text, of, bound, dtype_of(precision))
        here, away, count = gr.update(visible=True), gr.update(visible=False), len(ask.seeds)
        if view == MIXED:
            mix = adversarial.mix(studio, ask)
            html = verdict.mixture(mix, conditions(studio, ask, len(mix.pictures)))
            return [
                away,
                gr.skip(),
                gr.skip(),
                gr.update(value=html, visible=True),
                gr.skip(),
                count,
            ]
        sheet = adversarial.draw(studio, ask)
        made = grid(studio, sheet)
        message = made.whole([Frame([sheet.pictures])])
        one = verdict.one_picture(sheet.picked(0))
        return [here, message, one, away, (made.run, ask), count]

    @bounded
    def pick(known: tuple[str, Ask] | None, event: gr.EventData) -> Any:
        """A picture of the grid was chosen; its sheet is nearly always still kept."""
        if known is None or event.run != known[0]:
            return gr.skip()
        return verdict.one_picture(adversarial.draw(studio, known[1]).picked(int(event.tile)))

    asked = [rail.mode, rail.model, rail.seeds, rail.label, rail.cut, rail.precision]
    results = [stage.generated, stage.player, stage.detail, stage.mixed, shown, rail.count]
    options = {"show_progress": "minimal", "show_progress_on": rail.said, **QUICK_WORK, **PRIVATE}
    quick = {"queue": False, "show_progress": "hidden", **PRIVATE}
    # input, not release: arrow keys and typed numbers count, too. While a slider is dragged, only
    # the last position waits ("always_last").
    pickers = [rail.mode, rail.model, rail.label, rail.cut, rail.precision]
    changed = [part.input for part in pickers]
    triggers = [rail.go.click, rail.seeds.submit, *changed]
    gr.on(triggers, run, asked, results, trigger_mode="always_last", **options)
    stage.player.pick(pick, shown, stage.detail, **quick)
    # The seeds say what is drawn. "How many" only rewrites them, and follows them after every run.
    said = {  # queued, as gradio shows an error only from the queue
        "trigger_mode": "always_last",
        "show_progress": "hidden",
        "concurrency_limit": None,
        **PRIVATE,
    }
    renewed = rail.new.click(bounded(_new_seeds), rail.count, rail.seeds, **said)
    both = [rail.seeds, rail.count]
    recounted = rail.count.input(bounded(_first_seeds), both, rail.seeds, **said)
    for event in (renewed, recounted):
        event.success(run, asked, results, trigger_mode="always_last", **options)


def _ask(
    studio: Studio, name: str, text: str, of: str, bound: float | None, dtype: str | None
) -> Ask:
    """The controls' values as a question; GendiffError for what is none."""
    label = class_index(of)
    # When another model is picked, the class picker follows a moment later: a class that the new
    # model does not have is "any", as the picker is about to say.
    if label is not None and label >= len(studio.card(name).classes):
        label = None
    if bound is None or not CUT_LEAST <= bound <= CUT_OFF:
        got = "the field is empty" if bound is None else f"got {bound:g}"
        raise GendiffError(
            f"Truncation goes from {CUT_LEAST} to {CUT_OFF:g}, which is off; {got}."
        )
    truncation = None if bound == CUT_OFF else float(bound)
    return Ask(name, tuple(parse(text, PICTURES_MAX)), label, truncation, dtype)


def _new_seeds(count: float | None) -> str:
    """Another random range of seeds, as long as before."""
    return _range(secrets.randbelow(10_000), len(parse(SEEDS)) if count is None else count)


def _first_seeds(text: str, count: float | None) -> Any:
    """The range of that many seeds from the first one on; an empty box changes nothing."""
    return gr.skip() if count is None else _range(parse(text, PICTURES_MAX)[0], count)


def _range(first: int, count: float) -> str:
    count = whole("How many", count, 1, PICTURES_MAX)
    return str(first) if count == 1 else f"{first}-{first + count - 1}"


def _readable_seeds(text: str) -> str:
    """A reader for the address."""
    parse(text, PICTURES_MAX)
    return text.strip()
