"""The view Quality: measured beforehand with many pictures, drawn beside its price."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import gradio as gr

from gendiff.errors import GendiffError
from gendiff.studio import Studio, bank, quality, race
from gendiff.studio.contestants import contestant, in_words
from gendiff.studio.race import Lap, Result
from gendiff.ui import compare_estimate, quality_page
from gendiff.ui.parts import MODEL_WORK, PRIVATE, QUICK, Page, number_in, on_device, status
from gendiff.ui.player import Frame, Message, Pane, Player, Run, idle
from gendiff.ui.tables import many
from gendiff.ui.views import View

SHOWN = 16
BEST = "most"  # the N that gives the most complete comparison, whatever it is
WHY = """
**FID** (Heusel et al. 2017) is the distance between two clouds of features, one of generated and
one of real test pictures: 0 if they have the same mean and covariance. It falls with more
pictures, so its N stands beside it, and so does what as many *real* training pictures reach.
**KID** (Bińkowski et al. 2018) does not depend on N. Both use a small network trained on this
data, so they cannot be compared with numbers in Inception features from papers.

**Precision** is the share of generated pictures that lie among real ones (quality), **recall** the
share of real ones that lie among generated ones (diversity): Kynkäänniemi et al. (2019).

**Obeys class**: a classifier sees the class that was asked for. Of the cats every picture can be
read: **valid** is one of the 1.7 million that the artist's parts can make, **modes** counts
different combinations of body, eyes and accessory beside what as many perfect draws would reach,
and **novel** ones were never in the training set (a tenth of all cats).

**Estimate** samples a few pictures now. FID, precision and recall change with the number of
pictures, so few cannot estimate them; KID and shares they can, with an interval that holds what
very many pictures would give 95 times in 100 (the jackknife's, and Wilson's for shares). Where two
intervals overlap widely, so few pictures cannot tell which of the two is better.
"""

_PICK = """
const say = (event) => {
  const node = event.target.closest("[data-pick]");
  if (!node) return null;
  trigger("pick", { spec: node.dataset.pick });
  document.querySelector("#compare-quality-player")?.scrollIntoView({ block: "center" });
  return node;
};
element.addEventListener("click", say);
element.addEventListener("keydown", (event) => {
  if ((event.key === "Enter" || event.key === " ") && say(event)) event.preventDefault();
});
"""


def build(studio: Studio, page: Page, view: gr.Radio, data: gr.Radio) -> View:
    """Components and wiring; what of it belongs in the address."""
    count = gr.Dropdown(
        _counts(studio, data.value),
        value=BEST,
        label="Points measured with",
        # A link may name an N that only its own data set has, before `follow` could offer it.
        allow_custom_value=True,
        visible=len(_counts(studio, data.value)) > 1,
        elem_id="compare-quality-n",
    )
    board = gr.HTML(
        _page(studio, data.value, BEST),
        js_on_load=_PICK,
        apply_default_css=False,
        elem_id="compare-quality",
    )
    player = Player(
        _made(studio, data.value),
        label="Samples of a point",
        placeholder="Press a point of a chart to see its samples.",
        elem_id="compare-quality-player",
    )
    line = status("Press a point of a chart to see its samples.")
    settings, estimated, last = compare_estimate.build(studio, data)
    with gr.Accordion("What the numbers mean", open=False):
        gr.Markdown(WHY)

    def plan_of(chosen: str, spec: str) -> race.Race:
        return race.alone(studio, contestant(studio, spec, chosen), SHOWN)

    @on_device(lambda *asked: race.cost(studio, plan_of(*asked)))
    def sample(chosen: str, spec: str) -> Iterator[tuple[Any, Any]]:
        plan = plan_of(chosen, spec)
        title = plan.contestants[0].title()
        for happened in race.run(studio, plan):
            if isinstance(happened, Result) and happened.failed:
                raise GendiffError(happened.failed)
            if isinstance(happened, Lap):
                if happened.complete:
                    yield _samples(studio, plan, happened), f"{title}: done."
                elif happened.nfe % 4 == 1:
                    yield gr.skip(), f"{title}: call {happened.nfe} of {plan.contestants[0].nfe}."

    def samples(chosen: str, event: gr.EventData) -> Iterator[tuple[Any, Any]]:
        asked = event._data if isinstance(event._data, dict) else {}
        yield from sample(chosen, str(asked.get("spec"))[:80])

    board.pick(
        samples,
        data,
        [player, line],
        show_progress="minimal",
        show_progress_on=line,
        **MODEL_WORK,
        **PRIVATE,
    )
    count.change(
        lambda chosen, count: _page(studio, chosen, count),
        [data, count],
        board,
        trigger_mode="always_last",
        **QUICK,
    )
    return View(
        {**settings, "measured": (count, _readable)},
        [count, board, player, estimated],
        [count],
        lambda chosen, count: _follow(studio, chosen, count),
        {"estimate": last},
    )


def _follow(studio: Studio, data: str, count: str) -> list[Any]:
    """The data set's own N; the chosen one stays if it is there."""
    offered = _counts(studio, data)
    count = count if count in dict(offered).values() else BEST
    picker = gr.update(choices=offered, value=count, visible=len(offered) > 1)
    made = _made(studio, data) or idle()
    return [picker, _page(studio, data, count), made, compare_estimate.waiting()]


def _made(studio: Studio, data: str | None) -> Message | None:
    """Samples that stand there until a point is pressed: both families', made beforehand."""
    if data not in bank.banks():
        return None
    found = bank.read(data)
    shelves = [found.shelves[family] for family in ("gan", "diffusion")]
    earlier = (
        f", with earlier weights: {', '.join(stale)}" if (stale := found.stale(studio)) else ""
    )
    panes = []
    for one in shelves:
        height, width, channels = one.pictures.shape[1:]
        panes.append(Pane(one.kind, in_words(one.source), height, width, channels, SHOWN))
    run = Run(
        n=1,
        panes=panes,
        label="Samples of both families",
        captions=[f"seed {seed}" for seed in shelves[0].seeds[:SHOWN]],
        noun="picture",
        note=f"Made beforehand{earlier}. Press a point of a chart to see its own samples.",
    )
    return run.whole([Frame([one.pictures[:SHOWN] for one in shelves])])


def _counts(studio: Studio, data: str | None) -> list[tuple[str, str]]:
    """Each N that points were measured with, the most complete comparison first."""
    points = [point for one in quality.measured(studio, data or "") for point in one.points]
    offered = []
    for images in quality.counts(points):
        ways = len(quality.comparable(points, images))
        said = f"{images:,} pictures each ({ways} point{'s' * (ways != 1)})"
        offered.append((said, str(images) if offered else BEST))
    return offered


def _page(studio: Studio, data: str | None, count: str) -> str:
    if not data:
        return ""
    known = [value for _, value in _counts(studio, data)]
    images = int(count) if count in known and count != BEST else None
    return quality_page.page(quality.measured(studio, data), images)


def _readable(text: str) -> str:
    """A reader for the address: a number of pictures, or the most complete comparison."""
    return text if text == BEST else str(number_in(4, 1_000_000)(text))


def _samples(studio: Studio, plan: race.Race, lap: Lap) -> Message:
    """The complete pictures of one contestant."""
    pictures, one = lap.pictures(), plan.contestants[0]
    count, height, width, channels = pictures.shape
    run = Run(
        n=1,
        panes=[Pane("x", one.title(), height, width, channels, count)],
        label=f"{count} pictures of {one.title()}",
        captions=[f"seed {seed}" for seed in plan.seeds],
        noun="picture",
        note=f"{many(one.nfe, 'call')} a picture, {lap.seconds:.2f} s for {count} "
        f"({studio.conditions()})",
    )
    return run.whole([Frame([pictures])])
