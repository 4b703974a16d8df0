"""Walks: one way through the latents of a GAN and of a diffusion model, from the same seeds.

Both are decoders z -> x, so one walk serves both; decoding.py makes the pictures. A seed names
other noise in each of them: z and x_T differ in size.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from torch import Tensor

from gendiff import latent
from gendiff.diffusion import Diffusion
from gendiff.errors import GendiffError, whole
from gendiff.gan import Gan
from gendiff.noise import parse, resolve_labels
from gendiff.studio.models import Studio
from gendiff.weights import Card

ANCHORS_MAX = 4
FRAMES_MAX = 120  # each is a run of the diffusion model: 120 are about half a minute on a CPU
SIDE_MAX = 8
STEPS_MAX = 100


@dataclass(frozen=True)
class Place:
    """Where a frame lies: u in [0, 1] of the way from seed a to seed b; position counts legs."""

    a: int
    b: int
    u: float
    position: float


@dataclass(frozen=True)
class Lane:
    """One family's latents (N, ...) on the way, float32.

    weights: (N, 2), a walk's latents are weights[:, 0] z_a + weights[:, 1] z_b; None for a grid.
    label: (1,), None where the model knows no classes.
    """

    model: Gan | Diffusion
    latents: Tensor
    weights: np.ndarray | None = None
    label: Tensor | None = None

    @property
    def dim(self) -> int:
        return self.latents[0].numel()

    @cached_property
    def norms(self) -> np.ndarray:
        """|z| / sqrt(dim) of each latent, (N,): near 1 where samples of N(0, I) lie."""
        return (self.latents.flatten(1).norm(dim=1) / math.sqrt(self.dim)).cpu().numpy()


@dataclass(frozen=True)
class Pair:
    """The same way in both families, with one class for all of it where both know the same ones.

    class_name: "" where there is none; drawn_by: the seed that drew it, None where a person
    chose. steps: of DDIM.
    """

    gan: Lane
    diffusion: Lane
    class_name: str
    drawn_by: int | None
    steps: int


@dataclass(frozen=True)
class Walk:
    """A path through two to four seeds; `other` is the same walk on the other path."""

    seeds: tuple[int, ...]
    path: str
    loop: bool
    places: tuple[Place, ...]
    pair: Pair
    other: Pair


@dataclass(frozen=True)
class Grid:
    """side x side points between four seeds: top left, top right, bottom left, bottom right."""

    seeds: tuple[int, ...]
    path: str
    side: int
    pair: Pair


def pairs(studio: Studio) -> dict[str, tuple[Card, Card]]:
    """Every (GAN, diffusion) that have learned the same data in pictures of one shape, cheapest
    first. Its name is the data set's for the bundled pair, "GAN,DIFFUSION" for any other."""
    found: dict[str, tuple[Card, Card]] = {}
    for card in studio.cards("diffusion"):
        for gan in studio.cards("gan"):
            if (gan.data, gan.shape) != (card.data, card.shape):
                continue
            names = f"{gan.name},{card.name}"
            # what is here from the Hub changes, and a link must go on meaning the same models
            bundled = "/" not in names and card.data not in found
            found[card.data if bundled else names] = gan, card
    return found


def classes(pair: tuple[Card, Card]) -> tuple[str, ...]:
    """The classes that both know; where theirs differ none can be chosen for both."""
    gan, diffusion = pair
    return gan.classes if gan.classes == diffusion.classes else ()


def anchors(text: str, exactly: int | None = None) -> tuple[int, ...]:
    """The seeds of a walk (two to four) or a grid (exactly four) as a person writes them."""
    seeds = tuple(parse(text, most=1000))
    if exactly is not None and len(seeds) != exactly:
        raise GendiffError(
            f"A grid needs exactly {exactly} seeds, one for each corner; you gave {len(seeds)}."
        )
    if not 2 <= len(seeds) <= ANCHORS_MAX:
        raise GendiffError(
            f"A walk leads through 2 to {ANCHORS_MAX} seeds; you gave {len(seeds)}."
        )
    return seeds


def walk(
    studio: Studio,
    pair: str,
    seeds: str,
    *,
    frames: int = 24,
    path: str = "slerp",
    loop: bool = False,
    label: int | None = None,
    steps: int = 20,
) -> Walk:
    """A walk, with latents but without pictures; see decoding.py.

    pair: one of `pairs`.

    Raises:
        GendiffError: for any value out of range, or a pair that is not there.
    """
    stops = anchors(seeds)
    frames = whole("Frames", frames, 2, FRAMES_MAX)
    if path not in latent.PATHS:
        raise GendiffError(f"There is no path {path!r}; choose slerp or lerp.")
    places = _places(stops, frames, loop)
    models = _models(studio, pair)

    def on(path: str) -> Pair:
        lanes = [_walk_lane(model, stops, places, path, loop) for model in models]
        return _pair(lanes, stops, label, steps)

    (other,) = latent.PATHS.keys() - {path}
    return Walk(stops, path, loop, places, on(path), on(other))


def grid(
    studio: Studio,
    pair: str,
    seeds: str,
    *,
    side: int = 6,
    path: str = "slerp",
    label: int | None = None,
    steps: int = 20,
) -> Grid:
    """A grid, with latents but without pictures. Raises as `walk` does."""
    corners = anchors(seeds, exactly=4)
    side = whole("Pictures a side", side, 2, SIDE_MAX)
    models = _models(studio, pair)
    lanes = [
        Lane(model, latent.grid(model.latents(corners), side, side, path)) for model in models
    ]
    return Grid(corners, path, side, _pair(lanes, corners, label, steps))


def _places(seeds: tuple[int, ...], frames: int, loop: bool) -> tuple[Place, ...]:
    """Where `latent.walk` puts its frames."""
    stops = [*seeds, seeds[0]] if loop else seeds
    legs, places = len(stops) - 1, []
    for frame in range(frames):
        position = frame * legs / (frames if loop else frames - 1)
        leg = min(int(position), legs - 1)
        places.append(Place(stops[leg], stops[leg + 1], position - leg, position))
    return tuple(places)


def _walk_lane(
    model: Gan | Diffusion,
    seeds: tuple[int, ...],
    places: tuple[Place, ...],
    path: str,
    loop: bool,
) -> Lane:
    stops = model.latents(seeds)
    of_seed = dict(zip(seeds, stops, strict=True))
    weights = [_weights(of_seed[p.a], of_seed[p.b], p.u, path) for p in places]
    return Lane(model, latent.walk(stops, len(places), path, loop), np.array(weights))


def _weights(a: Tensor, b: Tensor, u: float, path: str) -> tuple[float, float]:
    """(w_a, w_b) of the point w_a a + w_b b at u, as `latent.lerp` and `latent.slerp` have it."""
    a, b = a.double(), b.double()
    cosine = float((a * b).sum() / (a.norm() * b.norm()))
    omega = math.acos(max(-1.0, min(1.0, cosine)))
    if path == "lerp" or math.sin(omega) < 1e-6:
        return 1 - u, u
    return math.sin((1 - u) * omega) / math.sin(omega), math.sin(u * omega) / math.sin(omega)


def _models(studio: Studio, pair: str) -> tuple[Gan, Diffusion]:
    known = pairs(studio)
    if pair not in known:
        names = ", ".join(known) or "none"
        raise GendiffError(
            f"No GAN and diffusion model share the data {str(pair)[:80]!r}; choose from {names}."
        )
    gan, diffusion = known[pair]
    return studio.model(gan.name), studio.model(diffusion.name)


def _pair(lanes: list[Lane], seeds: tuple[int, ...], label: int | None, steps: int) -> Pair:
    """With a class on each lane: the same, or where their classes differ each its own draw."""
    names = classes((lanes[0].model.card, lanes[1].model.card))
    if label is not None and not names and any(lane.model.classes for lane in lanes):
        raise GendiffError("These two models know different classes; leave the class at any.")
    gan, diffusion = (
        replace(
            lane, label=resolve_labels(label, seeds[:1], lane.model.classes, lane.model.device)
        )
        for lane in lanes
    )
    name = names[int(diffusion.label)] if names else ""
    drawn_by = seeds[0] if label is None and name else None
    return Pair(gan, diffusion, name, drawn_by, whole("DDIM steps", steps, 2, STEPS_MAX))
