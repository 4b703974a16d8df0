"""The view Diversity: one class, 64 seeds of each family, beside real pictures."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape
from typing import Any

import gradio as gr
import numpy as np

from gendiff.images import enlarge
from gendiff.studio import Studio, diversity, quality, sections, zero
from gendiff.studio.contestants import in_words
from gendiff.studio.diversity import Diversity, Group
from gendiff.ui.api import data_url
from gendiff.ui.charts import Axis, Dot, Series, chart
from gendiff.ui.parts import (
    MODEL_WORK,
    PRIVATE,
    Page,
    class_index,
    number_in,
    on_device,
    status,
    wire_stop,
)
from gendiff.ui.player import Frame, Message, Pane, Player, Run, idle
from gendiff.ui.views import View

NAMES = {"real": "Real", "gan": "GAN", "diffusion": "Diffusion"}
COLOURS = {"real": "cp-c2", "gan": "cp-c1", "diffusion": "cp-c0"}
WHY = """
**The map** puts all pictures on one plane. A small network that was trained to read such pictures
sees each as 128 numbers, its features; pictures that show the same lie close together, even where
one is shifted or brighter. Drawn are the two directions in which all three kinds differ most
(their first two principal components). A family that covers the real cloud is diverse; one that
sits in a corner of it is not. Two numbers of 128 are shown, so pictures that lie together may
still differ.

**Among themselves**: how far each picture is from the most similar other one of its kind. Much
less than between real pictures means that the network repeats itself.

**To the training set**: how far each picture is from the most similar training picture. Much less
than for real test pictures, which nobody has trained on, means that the network copies. Both
distances are of pixels (root mean square, black to white is 2), because a copy is one of pixels.
"""


def build(studio: Studio, page: Page, view: gr.Radio, data: gr.Radio) -> View:
    """Components and wiring; what of it belongs in the address."""
    first = _first(data.value)
    with gr.Row():
        with gr.Column(scale=3, elem_classes="rail"):
            label = gr.Dropdown(
                _classes(studio, data.value), value=first, label="Class", allow_custom_value=True
            )
            with gr.Row(elem_classes="actions"):
                go = gr.Button("Sample it now", variant="primary", elem_id="compare-class-run")
                stop = gr.Button("Stop", min_width=80)
            line = status()
        with gr.Column(scale=9, elem_classes="stage"):
            made = diversity.stored(data.value) if data.value else None
            board = gr.HTML(
                board_of(studio, made, stored=True),
                elem_id="compare-diversity",
                apply_default_css=False,
            )
            player = Player(
                message_of(studio, made) if made else None,
                label="All pictures",
                placeholder="Press Sample it now.",
                elem_id="compare-diversity-player",
            )
            with gr.Accordion("What this shows", open=False):
                gr.Markdown(WHY)

    last = gr.State(None)

    @on_device(lambda chosen, _: _cost(studio, chosen))
    def sample_class(chosen: str, label: str) -> Iterator[tuple[Any, Any, Any, Any]]:
        for news in diversity.make(studio, chosen, class_index(label) or 0):
            if isinstance(news, Diversity):
                shown = board_of(studio, news, stored=False)
                yield shown, message_of(studio, news), "Done.", sections.diverse(studio, news)
            else:
                yield gr.skip(), gr.skip(), news, gr.skip()

    def follow(chosen: str) -> tuple[Any, Any, Any]:
        made = diversity.stored(chosen)
        choices = gr.update(choices=_classes(studio, chosen), value=_first(chosen))
        message = message_of(studio, made) if made else idle()
        return choices, board_of(studio, made, stored=True), message

    event = go.click(
        sample_class,
        [data, label],
        [board, player, line, last],
        show_progress="minimal",
        show_progress_on=line,
        **MODEL_WORK,
        **PRIVATE,
    )
    wire_stop(stop, player, line, event)
    settings = {"class": (label, lambda text: str(number_in(0, 999)(text)))}
    return View(settings, [label, board, player], follow=follow, kept={"diversity": last})


def _cost(studio: Studio, data: str) -> float:
    """Seconds on a GPU, roughly."""
    cards = [card for card in studio.cards("diffusion") if card.data == data]
    return sum(zero.seconds(card, diversity.STEPS, diversity.SEEDS) for card in cards[:1])


def _first(data: str | None) -> str:
    return str(diversity.DEFAULT.get(data or "", 0))


def _classes(studio: Studio, data: str | None) -> list[tuple[str, str]]:
    card = next((card for card in studio.cards() if card.data == data), None)
    return [(name, str(i)) for i, name in enumerate(card.classes if card else ())]


def board_of(studio: Studio, made: Diversity | None, stored: bool) -> str:
    """The map, the two distances, the closest copies, what metrics.json says of each class."""
    if made is None:
        said = "Nothing was made beforehand for these pictures."
        return f'<section class="cp-card"><p>{said}</p></section>'
    names = next((card.classes for card in studio.cards() if card.data == made.data), ())
    of = names[made.label] if made.label < len(names) else "any class"
    note = "Made beforehand" if stored else "Made just now"
    if stale := made.stale(studio):
        note += f", with earlier weights ({' and '.join(stale)})"
    counted = ((NAMES[one.kind], len(one.pictures), in_words(one.source)) for one in made.groups)
    sources = "; ".join(f"{name}: {count} of {source}" for name, count, source in counted)
    return f"""<section class="cp-card" aria-label="Diversity"><h3>{escape(of)}</h3>
<div class="cp-charts">{_map(made)}<div>{_distances(made)}</div></div>
<p class="cp-small">{note}, seeds 0–{diversity.SEEDS - 1}. {escape(sources)}.</p></section>
{_alike(made)}{_copies(made)}{_coverage(studio, made.data)}"""


def _map(made: Diversity) -> str:
    series = [
        Series(
            NAMES[one.kind],
            COLOURS[one.kind],
            [
                Dot(float(x), float(y), f"{NAMES[one.kind]}, picture {i + 1}", size=4.5)
                for i, (x, y) in enumerate(where)
            ],
        )
        for one, where in zip(made.groups, made.map.places, strict=True)
    ]
    title = f"Map of the {made.map.of} ({100 * made.map.shown:.0f} % of their variance)"
    return chart(title, series, Axis("component 1"), Axis("component 2"))


def _distances(made: Diversity) -> str:
    """A bar a kind: where the middle half of its distances lies, on one scale for both tables."""
    among = {one.kind: one.among() for one in made.groups}
    train = {one.kind: one.rms for one in made.groups if one.rms is not None and len(one.rms)}
    top = max(float(values.max()) for values in [*among.values(), *train.values()])
    html = _bars("To the most similar other one of its kind, in pixels", among, top)
    if train:
        return html + _bars("To the most similar training picture, in pixels", train, top)
    return html + '<p class="cp-small">The training set is not installed here.</p>'


def _bars(title: str, groups: dict[str, np.ndarray], top: float) -> str:
    rows = ""
    for kind, values in groups.items():
        low, middle, high = (float(np.quantile(values, q)) for q in (0.25, 0.5, 0.75))
        at = [100 * value / top for value in (low, high - low, middle)]
        rows += (
            f'<div class="cp-range {COLOURS[kind]}"><span>{NAMES[kind]}</span><i><b style="left:'
            f'{at[0]:.1f}%;width:{max(at[1], 0.8):.1f}%"></b><u style="left:{at[2]:.1f}%"></u></i>'
            f"<span>{middle:.3f}</span></div>"
        )
    return f'<h4>{title}</h4><div class="cp-ranges">{rows}</div>'


def _alike(made: Diversity) -> str:
    """The closest pairs of each kind: does it repeat itself?"""
    rows = "".join(
        _pairs(one, [(a, one.pictures[b], apart) for a, b, apart in one.pairs()], "another below")
        for one in made.groups
    )
    return f"""<section class="cp-card" aria-label="Repeats?">
<h3>The most alike among themselves</h3>
<p class="cp-small">The closest pairs of each kind, one above the other, and how far apart they
are; no picture is in two of them.</p>
<div class="cp-copies">{rows}</div></section>"""


def _copies(made: Diversity) -> str:
    rows = "".join(
        _pairs(
            one,
            [(a, near, one.rms[a]) for a, near in zip(one.closest, one.nearest, strict=True)],
            "training below",
        )
        for one in made.groups
        if len(one.closest)
    )
    if not rows:
        return ""
    return f"""<section class="cp-card" aria-label="Copies?">
<h3>The closest to training pictures</h3>
<p class="cp-small">Above: a picture; below: the most similar training picture found, pixel by
pixel, and how far it is.</p>
<div class="cp-copies">{rows}</div></section>"""


def _pairs(one: Group, found: Sequence[tuple[int, np.ndarray, float]], below: str) -> str:
    """Pictures of a kind, each above the one that it is like, and the distance."""
    pairs = ""
    for index, like, apart in found:
        both = enlarge(np.concatenate([one.pictures[index], like]), 2)
        pairs += (
            f'<figure><img src="{data_url(both)}" alt="{NAMES[one.kind]} above, {below}">'
            f"<figcaption>{apart:.3f}</figcaption></figure>"
        )
    return f'<div><h4>{NAMES[one.kind]}</h4><div class="cp-pairs">{pairs}</div></div>'


def _coverage(studio: Studio, data: str) -> str:
    """How often each class was recognized when it was asked for; from metrics.json alone."""
    parts = []
    real, count = diversity.recognized(studio, data)
    for one in quality.measured(studio, data):
        run = one.metrics.headline if one.points else None
        if run is None or not run.coverage:
            said = one.missing or "Coverage by class was not measured."
            parts.append(f'<p class="cp-small"><b>{escape(one.title)}</b>: {escape(said)}</p>')
            continue
        colour = "cp-c1" if one.points[0].family == "gan" else "cp-c0"
        bars = "".join(
            f'<div class="cp-range {colour}"><span>{escape(str(name))}</span><i><b style="left:0;'
            f'width:{100 * share:.1f}%"></b>{_mark(real.get(name))}</i>'
            f"<span>{100 * share:.0f} %</span></div>"
            for name, share in run.coverage.items()
        )
        parts.append(
            f'<div><h4>{escape(one.title)}</h4><div class="cp-ranges">{bars}</div>'
            f'<p class="cp-small">{run.images:,} pictures</p></div>'
        )
    marks = ""
    if real:
        each = f"{count} bundled ones, about {count // len(real)} of each"
        marks = (
            '<p class="cp-small">A mark: the share of real test pictures of the class that the '
            f"same network recognizes ({each}).</p>"
        )
    return f"""<section class="cp-card" aria-label="Coverage">
<h3>Recognized as the class asked for</h3>
<div class="cp-charts">{"".join(parts)}</div>{marks}</section>"""


def _mark(share: float | None) -> str:
    """What real pictures reach, on a bar."""
    if share is None:
        return ""
    said = f"real test pictures: {100 * share:.0f} %"
    return f'<u style="left:{100 * share:.1f}%" title="{said}"></u>'


def message_of(studio: Studio, made: Diversity) -> Message:
    """All pictures, a pane a kind."""
    panes = []
    for one in made.groups:
        count, height, width, channels = one.pictures.shape
        panes.append(Pane(one.kind, NAMES[one.kind], height, width, channels, count))
    run = Run(
        n=1,
        panes=panes,
        label="Pictures of one class",
        pick="zoom",
        strip=None,
        noun="class",
        note="; ".join(f"{NAMES[one.kind]}: {in_words(one.source)}" for one in made.groups),
    )
    return run.whole([Frame([one.pictures for one in made.groups])])
