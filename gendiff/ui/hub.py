"""The box "More models": one from the Hugging Face Hub, and then it is in the tabs above."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape
from typing import Any

import gradio as gr

from gendiff.cards import Card
from gendiff.errors import GendiffError
from gendiff.studio import Studio
from gendiff.studio.contestants import data_sets
from gendiff.studio.fetched import Fetched, Looked
from gendiff.studio.walk import pairs
from gendiff.ui.parts import PRIVATE, bounded, status

# One download at a time: two would share the line, and the cache is everybody's.
DOWNLOAD = {"concurrency_id": "hub", "concurrency_limit": 1}
_QUICK = {"queue": False, "show_progress": "hidden", **PRIVATE}
_WORDS = """
Pretrained weights, fetched once and checked, then used with no network. **Show** says what a
model is; **Download** fetches it for everybody who uses this server, a typed one when its size
and licence have been shown. Formats: diffusers'
UNet2DModel, two published kinds of GAN, this program's own. No code from a repository is run.
"""


def build(studio: Studio, demo: gr.Blocks) -> None:
    """The box, under all tabs; nothing where models from the Hub are switched off."""
    fetched = studio.fetched
    if fetched is None:
        return
    pickers = [block for block in demo.blocks.values() if hasattr(block, "model_choices")]

    def arrive() -> list[Any]:
        fetched.look_again()  # the command line may have fetched some
        return _choices(pickers)

    demo.load(arrive, None, pickers, **_QUICK)
    if fetched.settings.access == "closed":
        return
    with gr.Accordion("More models, from the Hugging Face Hub", open=False, elem_id="hub"):
        gr.Markdown(_WORDS, elem_classes="note")
        wish = gr.Dropdown(
            fetched.offers(),
            value=fetched.offers()[0][1],
            label="Model: from the list, or any OWNER/NAME[@REVISION]"
            if fetched.open
            else "Model",
            allow_custom_value=fetched.open,
            elem_id="hub-id",
        )
        with gr.Row(elem_classes="actions"):
            show = gr.Button("Show", min_width=90, elem_id="hub-show")
            go = gr.Button("Download", variant="primary", min_width=110, elem_id="hub-run")
            cancel = gr.Button("Cancel", min_width=90, elem_id="hub-cancel")
        about = gr.HTML(elem_id="hub-about", padding=False)
        line = status()
    _wire(studio, pickers, wish, (show, go, cancel), (about, line))


def _wire(
    studio: Studio,
    pickers: list[Any],
    wish: gr.Dropdown,
    buttons: tuple[gr.Button, gr.Button, gr.Button],
    shown: tuple[gr.HTML, gr.Textbox],
) -> None:
    fetched: Fetched = studio.fetched
    show, go, cancel = buttons
    about, line = shown
    listed = {name for _, name in fetched.offers()}  # the list's entries say size and licence

    def told(looked: Looked) -> str:
        return facts(looked, where(studio, studio.card(looked.id)) if looked.here else "")

    @bounded
    def look(text: str | None) -> Iterator[tuple[str, str]]:
        yield "", "Asking the Hub \N{HORIZONTAL ELLIPSIS}"
        try:
            yield told(fetched.look(text or "")), "Ready."
        except GendiffError:
            yield "", f"Nothing to show of {_short(text)}."
            raise

    @bounded
    def pull(text: str | None, seen: str | None) -> Iterator[list[Any]]:
        stay = [gr.skip()] * len(pickers)
        try:
            yield ["Asking the Hub \N{HORIZONTAL ELLIPSIS}", gr.skip(), *stay]
            for step in fetched.pull(text or ""):
                if isinstance(step, Looked):
                    found = told(step)
                    # what stands on the page is what was agreed to: this model at this commit
                    if not (step.here or text in listed or seen == found):
                        again = f"Press Download again to fetch {_size(step)}, {_licence(step)}."
                        yield [again, found, *stay]
                        return
                    yield ["Starting \N{HORIZONTAL ELLIPSIS}", found, *stay]
                elif isinstance(step, Card):
                    said = told(fetched.look(step.name))
                    yield [f"{step.title} is here.", said, *_choices(pickers)]
                else:
                    said = f"{step.done / 1e6:.1f} of {step.total / 1e6:.1f} MB"
                    yield [said, gr.skip(), *stay]
        except GendiffError:
            yield [f"Not downloaded: {_short(text)}.", gr.skip(), *stay]
            raise

    options = {"show_progress": "minimal", "show_progress_on": line, **PRIVATE}
    show.click(look, wish, [about, line], **options, **DOWNLOAD)
    # "multiple": pressed while a cancelled one still ends, it waits its turn and is not lost.
    event = go.click(
        pull,
        [wish, about],
        [line, about, *pickers],
        trigger_mode="multiple",
        **options,
        **DOWNLOAD,
    )
    # What stands there is of another model; by the browser alone, before a button is pressed.
    wish.change(None, None, [about, line], js="() => ['', '']", **PRIVATE)
    # twice: the download's last word may have been on its way
    cancel.click(_cancelled, line, line, cancels=[event], **_QUICK).then(
        _cancelled, line, line, **_QUICK
    )


def where(studio: Studio, card: Card) -> str:
    """What can be done with a model that is here: some tabs need one of the other family, too."""
    gan = card.family == "gan"
    tabs = ["GAN"] if gan else ["Denoise", "Forward"]
    lonely = []
    if card.name in [one.name for pair in pairs(studio).values() for one in pair]:
        tabs.append("Interpolate")
    else:
        lonely.append("Interpolate")
    said = f"choose it in {_and(tabs)}"
    if card.data in data_sets(studio):
        said += f"; race it in Compare as {card.name if gan else f'{card.name}:ddim-50'}"
    else:
        lonely.append("Compare")
    other = "diffusion model" if gan else "GAN"
    alone = f"; for {_and(lonely)} a {other} of the same data and size is missing"
    return said + alone * bool(lonely)


def _and(words: list[str]) -> str:
    return " and ".join([", ".join(words[:-1]), words[-1]] if words[1:] else words)


def facts(looked: Looked, use: str = "") -> str:
    """What a person should know before a download, and after it; names and licences are others'
    words. use: what can be done with it here."""
    parts = [
        _size(looked),
        _licence(looked),
        looked.resolution,
        looked.pace,
        looked.checked,
        f"it is here: {use}" if looked.here else "",
    ]
    said = "; ".join(escape(part) for part in parts if part)
    name = "" if looked.title == looked.id else f" ({escape(looked.id)})"
    commit = escape(looked.exactly)
    return f'<p data-commit="{commit}"><b>{escape(looked.title)}</b>{name}: {said}.</p>'


def _short(text: str | None) -> str:
    return (text or "").strip()[:80] or "no model"


def _size(looked: Looked) -> str:
    return f"{looked.size / 1e6:.1f} MB"


def _licence(looked: Looked) -> str:
    return f"licence: {looked.licence}"


def _cancelled(said: str) -> str:
    """What the line says then; a download that is over stays over."""
    running = said.endswith((" MB", "\N{HORIZONTAL ELLIPSIS}"))
    return "Cancelled; nothing of it is used." if running else said


def _choices(pickers: list[Any]) -> list[Any]:
    """No values: a link's own may be on its way."""
    return [gr.update(choices=picker.model_choices()) for picker in pickers]
