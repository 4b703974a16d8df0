"""The typed public interface beside the pages: what gradio_client and curl call.

Pictures travel as data URLs of lossless PNGs, one picture each.
"""

from __future__ import annotations

import base64
import inspect
import io
from collections.abc import Callable, Iterator
from typing import Any, Literal, TypedDict, get_args, get_type_hints

import gradio as gr
import numpy as np

from gendiff.errors import GendiffError, whole
from gendiff.images import to_pil
from gendiff.noise import parse
from gendiff.studio import Studio, service, zero
from gendiff.ui.parts import MODEL_WORK, bounded, on_device
from gendiff.weights import Card

Sampler = Literal["ddpm", "ddim", "renoise", "dpmpp_2m", "heun"]
Variance = Literal["posterior", "beta"]
Path = Literal["slerp", "lerp"]
Levels = Literal["linear", "scaled_linear", "cosine", "sigmoid", "constant"]


class ModelInfo(TypedDict):
    """A model; shape is (C, H, W) of its pictures."""

    name: str
    title: str
    family: Literal["gan", "diffusion"]
    data: str
    shape: list[int]
    classes: list[str]
    licence: str


class Sampled(TypedDict):
    """One picture a seed. labels: None for a model without classes. seconds: of the network alone,
    under these conditions; nfe: network calls for one picture."""

    pictures: list[str]
    seeds: list[int]
    labels: list[int] | None
    seconds: float
    nfe: int
    conditions: str


class Transition(TypedDict):
    """Step index of total, x_t -> x_s, one picture a seed. eps is the noise that the network sees,
    divided by 3 to fit into 8 bits; x0 its guess. beta, alpha_bar, log_snr (nats) are the
    schedule's at t, sigma is the standard deviation of the noise that the step adds."""

    index: int
    total: int
    t: int
    s: int
    nfe: int
    beta: float
    alpha_bar: float
    sigma: float
    log_snr: float
    x_t: list[str]
    eps: list[str]
    x0: list[str]
    x_s: list[str]


class Noised(TypedDict):
    """A picture at a level; log_snr, in nats, is None at t = 0, where it is infinite."""

    picture: str
    alpha_bar: float
    log_snr: float | None


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
    def models() -> list[ModelInfo]:
        """The models that are here, cheapest first; a picture's shape is (C, H, W)."""
        return [_info(card) for card in studio.cards()]

    @on_device(lambda *asked: _cost(studio, *asked))
    def sample(
        model: str,
        seeds: str = "0-15",
        label: str = "any",
        sampler: Sampler = "ddim",
        steps: int = 25,
        guidance: float = 1.0,
        truncation: float = 0.0,
        eta: float = 0.0,
        variance: Variance = "posterior",
    ) -> Sampled:
        """One picture a seed. label: a class's number or "any"; truncation (0: none) is for GANs,
        the rest for diffusion models: eta (0 to 1) for ddim, variance for ddpm. Seconds are of the
        network alone."""
        made = service.sample(
            studio.model(model),
            seeds,
            _label(label),
            sampler,
            steps,
            guidance,
            truncation or None,
            eta,
            variance,
        )
        return _sampled(made, studio.conditions())

    @on_device(lambda *asked: _cost(studio, *asked))
    def trajectory(
        model: str,
        seeds: str = "0",
        label: str = "any",
        sampler: Sampler = "ddim",
        steps: int = 25,
        guidance: float = 1.0,
        eta: float = 0.0,
        variance: Variance = "posterior",
    ) -> Iterator[Transition]:
        """Each transition x_t -> x_s of a diffusion model's run, as it is made."""
        run = service.trajectory(
            studio.model(model), seeds, _label(label), sampler, steps, guidance, eta, variance
        )
        for step in run:
            yield _transition(step)

    @on_device(lambda model, _, frames, *__: _walk_cost(studio, model, frames))
    def interpolate(
        model: str, seeds: str = "0, 1", frames: int = 16, path: Path = "slerp", label: str = "any"
    ) -> list[str]:
        """Pictures along the way between the seeds' latents, ends included."""
        return _urls(service.interpolate(studio.model(model), seeds, frames, path, _label(label)))

    @bounded
    def noise(
        data: str,
        index: int = 0,
        schedule: Levels = "cosine",
        T: int = 1000,
        t: int = 500,
        seed: int = 0,
        alpha: float = 0.99,
    ) -> Noised:
        """A bundled real picture at level t of 0..T, with alpha_bar_t and log-SNR in nats. T and t
        are two parameters. alpha is the constant schedule's: what a step keeps of the variance."""
        noised = service.noise(studio.real(data), index, schedule, T, t, seed, alpha)
        return {
            "picture": data_url(noised.picture),
            "alpha_bar": noised.alpha_bar,
            "log_snr": noised.log_snr,
        }

    for function in (models, noise):
        gr.api(_spelled_out(function), api_name=function.__name__, queue=False)
    for function in (sample, trajectory, interpolate):
        gr.api(_spelled_out(function), api_name=function.__name__, **MODEL_WORK)


def _spelled_out(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function with its return type as gradio documents it: a type, not its name as text, and
    of an iterator that of an item."""
    answer = get_type_hints(function)["return"]
    if inspect.isgeneratorfunction(function):
        (answer,) = get_args(answer)
    signature = inspect.signature(function).replace(return_annotation=answer)
    function.__signature__ = signature  # type: ignore[attr-defined]
    return function


def _cost(
    studio: Studio,
    model: str,
    seeds: str,
    _: str,
    sampler: str,
    steps: int,
    guidance: float,
    *__: Any,
) -> float:
    """Seconds on a GPU, roughly, of `sample` and `trajectory`; for a GAN it is one call."""
    card, pictures = studio.card(model), len(parse(seeds, most=service.PICTURES_MAX))
    if card.family != "diffusion":
        return zero.seconds(card, 1, pictures)
    calls = whole("The number of steps", steps, 1, card.schedule["T"])
    return zero.seconds(card, calls * (1 + (sampler == "heun")) * (1 + (guidance != 1)), pictures)


def _walk_cost(studio: Studio, model: str, frames: int) -> float:
    frames = whole("The number of frames", frames, 2, service.WALK_MAX)
    return zero.seconds(studio.card(model), 25, frames)


def _info(card: Card) -> ModelInfo:
    return ModelInfo(
        name=card.name,
        title=card.title,
        family=card.family,
        data=card.data,
        shape=[*card.shape],
        classes=[*card.classes],
        licence=card.licence,
    )


def _sampled(made: service.Made, conditions: str) -> Sampled:
    return Sampled(
        pictures=_urls(made.pictures),
        seeds=made.seeds,
        labels=made.labels,
        seconds=made.seconds,
        nfe=made.nfe,
        conditions=conditions,
    )


def _transition(step: service.Transition) -> Transition:
    return Transition(
        index=step.index,
        total=step.total,
        t=step.t,
        s=step.s,
        nfe=step.nfe,
        beta=step.beta,
        alpha_bar=step.alpha_bar,
        sigma=step.sigma,
        log_snr=step.log_snr,
        x_t=_urls(step.x_t),
        eps=_urls(step.eps),
        x0=_urls(step.x0),
        x_s=_urls(step.x_s),
    )


def _label(text: str) -> int | None:
    text = str(text).strip()
    if text.lower() in ("any", ""):
        return None
    if not text.isdecimal():
        raise GendiffError(f'A class is its number or "any"; got {text[:40]!r}.')
    return int(text)
