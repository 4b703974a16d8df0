"""What all tabs share: the error boundary, pickers, readers of the address, the page (page.py)."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import gradio as gr

from gendiff.errors import GendiffError
from gendiff.studio import Studio, zero
from gendiff.ui.page import PRIVATE, QUICK, Page, Reader, Setting
from gendiff.ui.player import WithoutStub, stopped

__all__ = [
    "ANY",
    "MODEL_WORK",
    "PRIVATE",
    "QUICK",
    "Page",
    "Reader",
    "Setting",
    "Slider",
    "bounded",
    "choice_of",
    "class_index",
    "class_picker",
    "heading",
    "model_picker",
    "number_in",
    "offered",
    "on_device",
    "status",
    "wire_stop",
]

F = TypeVar("F", bound=Callable[..., Any])
C = TypeVar("C", bound=gr.components.Component)
Choices = list[tuple[str, str]]

# All model work shares one queue; see Studio.share_cores for why two.
MODEL_WORK = {"concurrency_id": "model", "concurrency_limit": 2}
ANY = "any"


def bounded(handler: F) -> F:
    """The one place where a GendiffError becomes a message; for functions and generators.

    It stays until the next thing that a person does (page.js takes it away).
    """
    if inspect.isgeneratorfunction(handler):

        @functools.wraps(handler)
        def stream(*args: Any, **kwargs: Any) -> Iterator[Any]:
            try:
                yield from handler(*args, **kwargs)
            except GendiffError as error:
                raise gr.Error(str(error), duration=None, print_exception=False) from error

        return stream  # type: ignore[return-value]

    @functools.wraps(handler)
    def call(*args: Any, **kwargs: Any) -> Any:
        try:
            return handler(*args, **kwargs)
        except GendiffError as error:
            raise gr.Error(str(error), duration=None, print_exception=False) from error

    return call  # type: ignore[return-value]


def on_device(estimate: Callable[..., float]) -> Callable[[F], F]:
    """`bounded`, for model work: on ZeroGPU with a GPU for about estimate(*the same arguments)
    seconds; what cannot be estimated, because it makes no sense, costs none."""
    return lambda handler: bounded(zero.on_gpu(bounded(handler), estimate))


class Slider(gr.Slider, metaclass=WithoutStub):
    """A slider whose ends bind its handle alone. gradio would refuse a number typed beyond them
    before any handler of ours is asked: in its own words, and with a traceback in the log."""

    def preprocess(self, payload: float | None) -> float | None:
        return payload


def model_picker(studio: Studio, family: str, label: str = "Model") -> gr.Dropdown:
    """The checkpoints of a family, by title; the value is the name."""

    def choices() -> Choices:
        return [(card.title, card.name) for card in studio.cards(family)]

    first = choices()
    picker = gr.Dropdown(first, value=first[0][1] if first else None, label=label)
    return follows_models(picker, choices)


def follows_models(component: C, choices: Callable[[], Choices]) -> C:
    """Mark a component as one that offers models: after a download it is given new choices."""
    component.model_choices = choices
    return component


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

    model.change(follow, [model, picker], picker, **QUICK)
    return picker


def class_index(value: str | None) -> int | None:
    """What a class picker holds, as `labels` of a model."""
    if value in (ANY, None, ""):
        return None
    if not str(value).isdecimal():
        raise GendiffError(f"There is no class {str(value)[:40]!r}; choose one from the list.")
    return int(value)


def choice_of(*allowed: str) -> Callable[[str], str]:
    """A reader for the address: one of these."""

    def read(text: str) -> str:
        if text not in allowed:
            raise ValueError(text)
        return text

    return read


def offered(picker: gr.components.Component) -> Callable[[str], str]:
    """A reader for the address: what the picker offers now, models that came later included."""

    def read(text: str) -> str:
        return choice_of(*(value for _, value in picker.model_choices()))(text)

    return read


def number_in(low: float, high: float, whole: bool = True) -> Callable[[str], float]:
    """A reader for the address: a number from low to high."""

    def read(text: str) -> float:
        value = int(text) if whole else float(text)
        if not low <= value <= high:
            raise ValueError(text)
        return value

    return read


def wire_stop(
    button: gr.Button, player: gr.HTML | None, line: gr.Textbox, running: gr.events.Dependency
) -> None:
    """The button ends the running event, and the player (None: nothing is played) and the line
    say so; a run that is done stays done."""

    def told(said: str) -> str:
        return said if said.startswith("Done") else "Stopped."

    button.click(
        (lambda said: (stopped("Stopped."), told(said))) if player else told,
        line,
        [player, line] if player else line,
        cancels=[running],
        queue=False,
        **PRIVATE,
    ).then(told, line, line, **QUICK)  # the run's last line may have been on its way


def heading(title: str, text: str) -> None:
    """The first lines of a tab: what one sees here."""
    gr.Markdown(f"## {title}\n{text}", elem_classes="lead")


def status(placeholder: str = "Ready.") -> gr.Textbox:
    """One line that says what is going on; the queue position is shown on it. placeholder: what
    it says while nothing has."""
    return gr.Textbox(
        label="Status",
        show_label=False,
        container=False,
        interactive=False,
        max_lines=1,
        elem_classes="status",
        placeholder=placeholder,
    )
