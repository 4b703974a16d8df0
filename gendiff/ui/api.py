"""The typed public interface beside the pages: what gradio_client and curl call.

Pictures travel as data URLs of lossless PNGs, one picture each.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator
from typing import Any

import gradio as gr
import numpy as np

from gendiff.errors import GendiffError
from gendiff.images import to_pil
from gendiff.studio import Studio, service
from gendiff.ui.parts import MODEL_WORK, bounded


def data_url(picture: np.ndarray) -> str:
    """(H, W, C) uint8 -> a PNG as a data URL."""
    buffer = io.BytesIO()
    to_pil(picture).save(buffer, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


def _urls(pictures: np.ndarray) -> list[str]:
    return [data_url(picture) for picture in pictures]


def publish(studio: Studio) -> None:
    """Register models, sample, trajectory, interpolate and noise on the open Blocks."""

    @bounded
    def models() -> list[dict[str, Any]]:
        """The models that are here, cheapest first: name, title, family, data, shape, classes."""
        names = ("name", "title", "family", "data", "shape", "classes", "licence")
        return [{name: getattr(card, name) for name in names} for card in studio.cards()]

    @bounded
    def sample(
        model: str,
        seeds: str = "0-15",
        label: str = "any",
        sampler: str = "ddim",
        steps: int = 25,
        guidance: float = 1.0,
        truncation: float = 0.0,
    ) -> dict[str, Any]:
        """One picture a seed. label: a class's number or "any"; sampler, steps and guidance are
        for diffusion models, truncation (0: none) for GANs. Seconds are of the network alone."""
        made = service.sample(
            studio.model(model), seeds, _label(label), sampler, steps, guidance, truncation or None
        )
        return {
            "pictures": _urls(made.pictures),
            "seeds": made.seeds,
            "labels": made.labels,
            "seconds": made.seconds,
            "nfe": made.nfe,
            "conditions": studio.conditions(),
        }

    @bounded
    def trajectory(
        model: str,
        seeds: str = "0",
        label: str = "any",
        sampler: str = "ddim",
        steps: int = 25,
        guidance: float = 1.0,
        eta: float = 0.0,
        variance: str = "posterior",
    ) -> Iterator[dict[str, Any]]:
        """Each transition x_t -> x_s of a diffusion model's run, as it is made."""
        run = service.trajectory(
            studio.model(model), seeds, _label(label), sampler, steps, guidance, eta, variance
        )
        for step in run:
            yield {
                "index": step.index,
                "total": step.total,
                "t": step.t,
                "s": step.s,
                "nfe": step.nfe,
                "log_snr": step.log_snr,
                "x_t": _urls(step.x_t),
                "x0": _urls(step.x0),
                "x_s": _urls(step.x_s),
            }

    @bounded
    def interpolate(
        model: str, seeds: str = "0, 1", frames: int = 16, path: str = "slerp", label: str = "any"
    ) -> list[str]:
        """Pictures along the way between the seeds' latents, ends included."""
        return _urls(service.interpolate(studio.model(model), seeds, frames, path, _label(label)))

    @bounded
    def noise(
        data: str,
        index: int = 0,
        schedule: str = "cosine",
        T: int = 1000,
        t: int = 500,
        seed: int = 0,
    ) -> dict[str, Any]:
        """A bundled real picture at level t, with alpha_bar_t and log-SNR in nats."""
        noised = service.noise(studio.real(data), index, schedule, T, t, seed)
        return {
            "picture": data_url(noised.picture),
            "alpha_bar": noised.alpha_bar,
            "log_snr": noised.log_snr,
        }

    gr.api(models, api_name="models", queue=False)
    gr.api(noise, api_name="noise", queue=False)
    for function in (sample, trajectory, interpolate):
        gr.api(function, api_name=function.__name__, **MODEL_WORK)


def _label(text: str) -> int | None:
    text = str(text).strip()
    if text.lower() in ("any", ""):
        return None
    if not text.isdecimal():
        raise GendiffError(f'A class is its number or "any"; got {text[:40]!r}.')
    return int(text)
