"""The choice of the networks' precision, and what it was measured to cost."""

from __future__ import annotations

import gradio as gr

from gendiff import readme
from gendiff.errors import GendiffError
from gendiff.studio import Studio
from gendiff.ui.parts import QUICK, Reader, bounded, choice_of

AUTO = "auto"
CHOICES = [("fastest here", AUTO), ("float32", "float32"), ("bfloat16", "bfloat16")]


def precision_picker(studio: Studio, model: gr.Dropdown) -> gr.Dropdown:
    """A picker whose info says what bfloat16 does to the picked model's pictures, as measured."""

    @bounded
    def follow(name: str | None) -> dict[str, object]:
        return gr.update(info=effect(studio, name))

    said = effect(studio, model.value)
    picker = gr.Dropdown(CHOICES, value=AUTO, label="Precision", info=said)
    model.change(follow, model, picker, **QUICK)
    return picker


def effect(studio: Studio, name: str | None) -> str:
    """bfloat16 against float32 in the model's metrics.json; where it has none, that."""
    unknown = "What bfloat16 changes was not measured for this model."
    if not name:
        return unknown
    try:
        metrics = readme.measured(studio.folder / name, studio.card(name))
    except GendiffError:  # a damaged file beside the checkpoint: the model runs all the same
        return unknown
    if metrics is None or metrics.bfloat16 is None:
        return unknown
    found = metrics.bfloat16
    how = f", {found.sampler} {found.steps} steps" if found.sampler else ""
    return (
        f"bfloat16, measured on {found.images:,} pictures{how}: FID {found.fid:.4g}; float32 at "
        f"the same seeds: {found.fid_float32:.4g}. PSNR between them {found.psnr_median:.0f} dB "
        "(median)."
    )


def dtype_of(chosen: str) -> str | None:
    """What the picker holds, as the studio's dtype."""
    return None if chosen == AUTO else chosen


def reader() -> Reader:
    """For the address."""
    return choice_of(*(value for _, value in CHOICES))
