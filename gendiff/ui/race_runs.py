"""A race as the player takes it: live, lane by lane; then played again on one time axis."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from html import escape

import numpy as np

from gendiff.studio import Studio, race
from gendiff.studio.race import Lap, Race, Ready, Result
from gendiff.studio.timeline import Timeline, blank
from gendiff.ui.runs import Frame, Message, Pane, Run, batch
from gendiff.ui.tables import many, number

BYTES = 8_000_000  # of pictures in one race: ten seconds of a 10 Mbit/s line
FRAMES = 120  # of the replay
PACE = 0.4  # seconds between two looks at a running lane: showing stays below 5 % of the work
SPEEDS = (0.1, 0.25, 0.5, 1, 2, 4, 10)


def snapshots(plan: Race) -> int:
    """How many pictures of its way a lane may show."""
    slow = sum(one.nfe > 1 for one in plan.contestants)
    size = len(plan.seeds) * math.prod(plan.shape)
    return min(60, max(4, BYTES // size // max(slow, 1)))


def stream_race(
    studio: Studio, timeline: Timeline, conditions: str, results: list[Result]
) -> Iterator[tuple[Message | None, str]]:
    """Messages for the player (or None) and lines for the status, while the race is run; the
    last message is the replay. The pictures go into `timeline`, the results into `results`."""
    plan = timeline.race
    live = _Live(plan, conditions)
    yield live.start(), ""
    for event in race.run(studio, plan):
        if isinstance(event, Ready):
            live.longest = max(live.longest, event.seconds)
            yield None, _starting(plan, event)
        elif isinstance(event, Lap):
            timeline.add(event)
            if message := live.lap(event, timeline):
                yield message, _running(plan, event)
        else:
            results.append(event)
            if event.failed:
                yield None, f"{event.title} could not race: {event.failed}"
    yield replay(plan, timeline, results, conditions), finish(results, plan.data)


def replay(
    plan: Race, timeline: Timeline, results: Sequence[Result], conditions: str, note: str = ""
) -> Message:
    """The measured race in one message: all lanes start at 0 seconds, 1x is true time."""
    seconds = timeline.seconds
    count = 2 if seconds == 0 else FRAMES
    axis = np.linspace(0, seconds, count)
    run = Run(
        n=count,
        panes=_panes(plan),
        label=f"Race over {many(len(plan.seeds), 'picture')}",
        axis=axis,
        captions=[f"seed {seed}" for seed in plan.seeds],
        pick="zoom",
        fps=(count - 1) / max(seconds, 1e-3),
        speeds=SPEEDS,
        strip=None,
        noun="moment",
        note="; ".join(filter(None, [note, "1× is true time", conditions])),
    )
    return run.whole([_moment(plan, timeline, results, axis, k) for k in range(count)])


def finish(results: Sequence[Result], data: str) -> str:
    """One line: who won, by how much, over which pictures."""
    ran = sorted((one for one in results if one.seconds), key=lambda one: one.seconds)
    if len(ran) < 2:
        return f"Done: {data}." if ran else "None of the contestants could race."
    ratio = ran[-1].seconds / ran[0].seconds
    return f"Done: {data}, {ran[0].title} is {ratio:,.0f} times as fast as {ran[-1].title}."


class _Live:
    """What the player shows during the race: the lane at work; the others stay as they are.

    longest: seconds that the slowest lane so far took or will take, the end of the time axis.
    """

    def __init__(self, plan: Race, conditions: str) -> None:
        self.plan, self.sent, self.last, self.longest = plan, 0, -math.inf, 0.0
        batches = -(-len(plan.seeds) // plan.batch)
        self.run = Run(
            n=1 + sum(one.nfe * batches for one in plan.contestants),
            panes=_panes(plan),
            label=f"Race over {many(len(plan.seeds), 'picture')}",
            captions=[f"seed {seed}" for seed in plan.seeds],
            strip=None,
            noun="call",
            note=conditions,
        )

    def start(self) -> Message:
        empty = blank(self.plan.shape, len(self.plan.seeds))
        states = [(0.0, 0, 0)] * len(self.plan)
        frame = Frame([empty] * len(self.plan), html=_lanes(self.plan, states, self.longest))
        return batch(self.run.start(), self._send(frame))

    def lap(self, lap: Lap, timeline: Timeline) -> Message | None:
        """A frame of this lane if one is due: each complete batch, else one in PACE seconds."""
        if not lap.complete and time.monotonic() < self.last + PACE:
            return None
        self.last = time.monotonic()
        panes: list[np.ndarray | None] = [None] * len(self.plan)
        pictures = timeline.snapshots[lap.lane][-1][3].copy()
        pictures[lap.first : lap.first + len(lap.x)] = lap.pictures()
        panes[lap.lane] = pictures
        states = [own[-1][:3] for own in timeline.snapshots]
        states[lap.lane] = (lap.seconds, lap.done, lap.nfe)
        self.longest = max(self.longest, lap.seconds)
        return self._send(Frame(panes, html=_lanes(self.plan, states, self.longest)))

    def _send(self, frame: Frame) -> Message:
        self.sent += 1
        return self.run.frames(self.sent - 1, [frame])


def _panes(plan: Race) -> list[Pane]:
    channels, height, width = plan.shape
    return [
        Pane(f"lane{lane}", one.title(), height, width, channels, len(plan.seeds))
        for lane, one in enumerate(plan.contestants)
    ]


def _moment(
    plan: Race, timeline: Timeline, results: Sequence[Result], axis: np.ndarray, k: int
) -> Frame:
    now = [timeline.at(lane, axis[k]) for lane in range(len(plan))]
    panes: list[np.ndarray | None] = [state[3] for state in now]
    if k:
        before = [timeline.at(lane, axis[k - 1]) for lane in range(len(plan))]
        panes = [None if b is a else a[3] for a, b in zip(now, before, strict=True)]
    states = []
    for lane, (since, done, nfe, _) in enumerate(now):
        over = done == len(plan.seeds)
        states.append((since if over else axis[k], done, nfe))
        if results[lane].failed:
            states[lane] = (0.0, 0, 0)
    return Frame(panes, html=_lanes(plan, states, timeline.seconds, results))


def _lanes(
    plan: Race,
    states: Sequence[tuple[float, int, int]],
    longest: float,
    results: Sequence[Result] = (),
) -> str:
    """A row a lane: its seconds of work as a bar on the one time axis that all lanes share, 0 to
    `longest`; pictures done, calls so far, pictures a second."""
    rows = []
    for lane, (seconds, done, nfe) in enumerate(states):
        one = plan.contestants[lane]
        family = "gd-diffusion" if one.sampler else "gd-gan"
        head = f'<tr class="{family}"><th>{escape(one.title())}</th>'
        if lane < len(results) and results[lane].failed:
            rows.append(f"{head}<td>could not race</td></tr>")
            continue
        part = min(seconds / longest, 1) if longest else 0
        cells = [f"{done} of {many(len(plan.seeds), 'picture')}", f"call {nfe} of {one.nfe}"]
        cells += [f"{number(done / seconds)} pictures/s"] if done and seconds else []
        rows.append(
            f'{head}<td class="gd-way"><progress max="1" value="{part:.4f}"></progress></td>'
            f"<td><b>{seconds:.2f} s</b></td><td>{', '.join(cells)}</td></tr>"
        )
    axis = f"<span>0</span><span>seconds of work</span><span>{longest:.3g} s</span>"
    foot = f'<tr class="gd-axis"><th></th><td>{axis}</td><td></td><td></td></tr>'
    return f'<table class="gd-lanes"><tbody>{"".join(rows)}{foot}</tbody></table>'


def _starting(plan: Race, event: Ready) -> str:
    title = plan.contestants[event.lane].title()
    return f"Lane {event.lane + 1} of {len(plan)}: {title}, about {about(event.seconds)}."


def _running(plan: Race, lap: Lap) -> str:
    one = plan.contestants[lap.lane]
    return f"Lane {lap.lane + 1} of {len(plan)}: {one.title()}, {lap.seconds:.1f} s of work."


def about(seconds: float) -> str:
    """A forecast, no more exact than it is."""
    if seconds >= 90:
        return f"{seconds / 60:.0f} minutes"
    if seconds >= 1:
        return f"{seconds:.0f} second{'s' * (round(seconds) != 1)}"
    return f"{max(seconds, 0.001):.1g} seconds"


def forecast(parts: Sequence[tuple[str, float]]) -> str:
    """What a race will take, before it starts."""
    total = sum(seconds for _, seconds in parts)
    said = ", ".join(f"{title} {about(seconds)}" for title, seconds in parts)
    return f"This race takes about {about(total)}: {said}."
