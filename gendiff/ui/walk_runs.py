"""Walks and grids between seeds as the player takes them: runs, frames and messages."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from typing import Any

import gradio as gr
import numpy as np

from gendiff.studio import decoding
from gendiff.studio.decoding import Progress
from gendiff.studio.walk import Grid, Lane, Pair, Place, Walk
from gendiff.ui.runs import Curve, Frame, Message, Pane, Run, batch

FPS = 8
NEWS = 0.25  # seconds between two signs of life; a Stop takes effect at the next one
UNIT = "√dim"  # charts of one unit share an axis: a norm is measured in radii of its own shell
_BAR = '<mo stretchy="false" lspace="0" rspace="0">|</mo>'
Update = tuple[Any, str]  # what goes to the player (or gr.skip()), and to the status line


def stream_walk(walk: Walk, conditions: str) -> Iterator[Update]:
    """The walk's frames, as many at once as the diffusion model makes in a batch."""
    run, opened = _walk_run(walk, conditions), False
    gan = decoding.gan_pictures(walk.pair)
    for part, news in _news(walk.pair):
        if part.pictures is None:
            yield gr.skip(), news
            continue
        made = run.frames(part.first, _walk_frames(walk, gan, part))
        yield (made if opened else batch(run.start(), made)), news
        opened = True
    yield run.end(n=run.n), _done(gan, part)


def whole_walk(walk: Walk, conditions: str) -> Message:
    """The same in one message, as an example."""
    gan = decoding.gan_pictures(walk.pair)
    parts = [part for part in decoding.diffusion_pictures(walk.pair) if part.pictures is not None]
    frames = [frame for part in parts for frame in _walk_frames(walk, gan, part)]
    return _walk_run(walk, conditions).whole(frames)


def stream_grid(grid: Grid, conditions: str) -> Iterator[Update]:
    """The GAN's grid at once, beside the x_T that the diffusion model starts from; then both."""
    gan, parts = decoding.gan_pictures(grid.pair), []
    waiting = _grid_run(grid, f"Diffusion: still x_T; {conditions}")
    frame = _grid_frame(grid, gan, None, decoding.noise_pictures(grid.pair))
    yield batch(waiting.start(), waiting.frames(0, [frame])), "GAN done."
    for part, news in _news(grid.pair):
        if part.pictures is not None:
            parts.append(part.pictures)
        yield gr.skip(), news
    frame = _grid_frame(grid, gan, part, np.concatenate(parts))
    yield _grid_run(grid, conditions).whole([frame]), _done(gan, part)


def _news(pair: Pair) -> Iterator[tuple[Progress, str]]:
    """The diffusion model's finished batches, and between them a sign of life now and then."""
    total, last = len(pair.diffusion.latents), -math.inf
    for part in decoding.diffusion_pictures(pair):
        if part.pictures is None and time.monotonic() < last + NEWS:
            continue
        last = time.monotonic()
        span = f"{part.first + 1} to {part.first + part.count} of {total}"
        yield part, f"Diffusion {span}: step {part.call} of {pair.steps}"


def _walk_run(walk: Walk, conditions: str) -> Run:
    stops = [*walk.seeds, walk.seeds[0]] if walk.loop else walk.seeds
    other = "lerp" if walk.path == "slerp" else "slerp"
    axis = [place.position for place in walk.places]
    norms = {
        f"z, {walk.path}": walk.pair.gan.norms,
        f"x_T, {walk.path}": walk.pair.diffusion.norms,
        f"x_T, {other}": walk.other.diffusion.norms,
        "shell": [1.0] * len(axis),
    }
    return Run(
        n=len(walk.places),
        panes=_panes(walk.pair, "walk"),
        label=f"Walk through the seeds {', '.join(map(str, stops))}",
        curves=[Curve(label, norm, axis, UNIT) for label, norm in norms.items()],
        axis=axis,
        axis_label=f"seeds {' → '.join(map(str, stops))}",
        fps=FPS,
        loop=walk.loop,
        noun="frame",
        note=_note(conditions, walk.pair),
    )


def _walk_frames(walk: Walk, gan: Progress, part: Progress) -> list[Frame]:
    """The frames of a finished batch."""
    return [_walk_frame(walk, gan, part, k) for k in range(part.count)]


def _walk_frame(walk: Walk, gan: Progress, part: Progress, k: int) -> Frame:
    """Frame part.first + k: both pictures, where they lie, and the formula with its numbers."""
    index = part.first + k
    place = walk.places[index]
    return Frame(
        panes=[gan.pictures[index : index + 1], part.pictures[k : k + 1]],
        facts={
            "seeds": f"{place.a} → {place.b}" if place.u else f"{place.a}",
            "u": round(place.u, 3),
            **_costs(gan, part),
        },
        html=_formula("<mi>z</mi>", walk.pair.gan, index, place)
        + _formula("<msub><mi>x</mi><mi>T</mi></msub>", walk.pair.diffusion, index, place),
    )


def _formula(symbol: str, lane: Lane, index: int, place: Place) -> str:
    """z = w_a z_a + w_b z_b, |z| = r sqrt(dim), with this frame's numbers, in MathML."""
    w_a, w_b = (f"<mn>{weight:.3f}</mn>" for weight in lane.weights[index])
    a, b = (
        f"<msup>{symbol}<mrow><mo>(</mo><mn>{seed}</mn><mo>)</mo></mrow></msup>"
        for seed in (place.a, place.b)
    )
    norm = f"<mn>{lane.norms[index]:.3f}</mn><msqrt><mn>{lane.dim}</mn></msqrt>"
    return (
        f"<p><math>{symbol}<mo>=</mo>{w_a}{a}</math> <math><mo>+</mo>{w_b}{b}<mo>,</mo></math> "
        f"<math>{_BAR}{symbol}{_BAR}<mo>=</mo>{norm}</math></p>"
    )


def _grid_run(grid: Grid, conditions: str) -> Run:
    return Run(
        n=1,
        panes=_panes(grid.pair, "grid", grid.side),
        label=f"Grid between the seeds {', '.join(map(str, grid.seeds))}",
        captions=_captions(grid),
        pick="zoom",
        strip=None,
        noun="grid",
        note=_note(conditions, grid.pair),
    )


def _grid_frame(grid: Grid, gan: Progress, part: Progress | None, diffusion: np.ndarray) -> Frame:
    top_left, top_right, low_left, low_right = grid.seeds
    return Frame(
        panes=[gan.pictures, diffusion],
        facts={
            "top": f"{top_left} → {top_right}",
            "bottom": f"{low_left} → {low_right}",
            "least |z| / √dim": float(grid.pair.gan.norms.min()),
            "least |x| / √dim": float(grid.pair.diffusion.norms.min()),
            **_costs(gan, part),
        },
    )


def _captions(grid: Grid) -> list[str]:
    """The seed of a corner, the place (across, down) of what lies between."""
    end = grid.side - 1
    corners = dict(zip([(0, 0), (end, 0), (0, end), (end, end)], grid.seeds, strict=True))
    places = [(across, down) for down in range(grid.side) for across in range(grid.side)]
    return [
        f"seed {corners[p]}" if p in corners else f"{p[0] / end:.2f} across, {p[1] / end:.2f} down"
        for p in places
    ]


def _panes(pair: Pair, what: str, side: int = 1) -> list[Pane]:
    c, h, w = pair.gan.model.shape
    titles = {
        "gan": f"GAN: z-{what} ({pair.gan.dim:,} dims)",
        "diffusion": f"Diffusion: x_T-{what} ({pair.diffusion.dim:,} dims)",
    }
    return [Pane(name, title, h, w, c, side * side, side) for name, title in titles.items()]


def _costs(gan: Progress, part: Progress | None) -> dict[str, float]:
    """Network calls and milliseconds of work for a picture, as far as they are known."""
    costs = {"GAN NFE": gan.call, "GAN ms": 1000 * gan.seconds / gan.count}
    if part is not None:
        made = part.first + part.count
        costs |= {"diffusion NFE": part.call, "diffusion ms": 1000 * part.seconds / made}
    return costs


def _done(gan: Progress, last: Progress) -> str:
    return f"Done: GAN {gan.seconds:.2f} s, diffusion {last.seconds:.1f} s."


def _note(conditions: str, pair: Pair) -> str:
    count = len(pair.gan.latents)
    batches = f"batch {count} (GAN), {min(decoding.batch_size(pair), count)} (diffusion)"
    drawn = "" if pair.drawn_by is None else f", drawn by seed {pair.drawn_by}"
    said = f"class {pair.class_name}{drawn}" if pair.class_name else ""
    return "; ".join(filter(None, [f"{conditions}, {batches}", said]))
