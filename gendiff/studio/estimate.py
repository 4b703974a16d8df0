"""Quality estimated here and now from a few pictures: every number is an interval.

metrics.json holds what was measured of many pictures; this answers how the networks do as they
run on this machine, in this dtype, while one waits. Only what few pictures can tell is told: the
kernel distance, which does not depend on their number, and shares. FID, precision and recall do
depend on it, so they are left out.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from gendiff import intervals
from gendiff.data import open_data
from gendiff.errors import GendiffError, whole
from gendiff.images import from_uint8
from gendiff.intervals import Interval
from gendiff.noise import resolve_labels
from gendiff.readers import BATCH as READ_BATCH
from gendiff.readers import PictureReader, load_reader
from gendiff.studio import race, zero
from gendiff.studio.contestants import Contestant, contestants
from gendiff.studio.models import Studio
from gendiff.studio.race import BATCH, Lap, Result

PICTURES = (64, 128, 256)
LEAST, MOST = 16, 256
FIRST = 10_000  # the first seed: metrics.json has seen those from 0 on
SECONDS_MOST = 600.0  # of work, for all contestants together


@dataclass(frozen=True)
class Plan:
    """A checked estimate that has not begun. Made by `prepare`.

    pictures: of each contestant, of the seeds first, first + 1, ...; each draws its own class.
    """

    data: str
    contestants: tuple[Contestant, ...]
    pictures: int
    first: int


@dataclass(frozen=True)
class Working:
    """A sign of life: pictures complete, and network calls of the ones at work."""

    contestant: Contestant
    done: int
    call: int


@dataclass(frozen=True)
class Estimate:
    """What a contestant's first `images` pictures tell.

    Attributes:
        nfe: network calls for one picture. seconds: of work alone.
        kid: kernel distance from the real pictures. obedience: share read as the class that was
            asked for; None where the network knows no classes. valid: share of valid cats; None
            for other data and where the artist's parts are not installed.
        complete: whether these are all pictures of the plan. failed: why there are none, else "".
    """

    contestant: Contestant
    images: int = 0
    nfe: int = 0
    seconds: float = 0.0
    kid: Interval | None = None
    obedience: Interval | None = None
    valid: Interval | None = None
    complete: bool = True
    failed: str = ""


@dataclass(frozen=True)
class Yardstick:
    """What everything is held against: bundled test pictures' features (N, D), their reader.

    unpainted: why cats cannot be told valid here, else "".
    """

    reader: PictureReader
    features: Tensor
    unpainted: str = ""


def prepare(
    studio: Studio,
    words: Sequence[str],
    data: str | None = None,
    pictures: int = PICTURES[0],
    first: int = FIRST,
) -> Plan:
    """Check everything; nothing is loaded yet.

    Raises:
        GendiffError: not 1 to 4 contestants of one data set; not 16 to 256 pictures; a seed below
            0; no network here reads these pictures.
    """
    found = contestants(studio, words, data, least=1)
    pictures = whole("The number of pictures", pictures, LEAST, MOST)
    first = whole("The first seed", first, 0, 2**62)
    data = studio.card(found[0].model).data
    yardstick(studio, data)
    return Plan(data, found, pictures, first)


def run(studio: Studio, plan: Plan, most: float = SECONDS_MOST) -> Iterator[Working | Estimate]:
    """One contestant after the other; an Estimate after each batch, narrower each time. Closing
    it stops the work.

    A contestant whose model cannot be loaded has an Estimate that says why; the others go on.

    Raises:
        GendiffError: it would take more than `most` seconds.
    """
    _affordable(studio, plan, most)
    against = yardstick(studio, plan.data)
    for one in plan.contestants:
        try:
            yield from _estimate(studio, plan, one, against)
        except GendiffError as error:
            yield Estimate(one, failed=str(error))


def command(plan: Plan) -> str:
    """The command that races these contestants and then estimates the same again."""
    words = " ".join(one.spec for one in plan.contestants)
    return (
        f"python -m gendiff compare {words} --estimate {plan.pictures} --first {plan.first} "
        f"--threads {torch.get_num_threads()}"
    )


def forecast(studio: Studio, plan: Plan) -> float:
    """Seconds of work, from one timed call of each network that can be loaded."""
    seconds = 0.0
    for one in plan.contestants:
        try:
            model = studio.model(one.model)
        except GendiffError:  # the run says so
            continue
        seconds += race.expected(model, one, plan.pictures, BATCH)
    return seconds


def cost(studio: Studio, plan: Plan) -> float:
    """Seconds on a borrowed GPU, roughly; nothing is loaded. See `zero`."""
    return sum(
        zero.seconds(studio.card(one.model), one.nfe, plan.pictures) for one in plan.contestants
    )


@lru_cache(maxsize=4)
def yardstick(studio: Studio, data: str) -> Yardstick:
    """The bundled real pictures, read once."""
    pictures = from_uint8(studio.real(data).pictures)
    reader = load_reader(data)
    parts = [reader(part, paint=False).features for part in pictures.split(READ_BATCH)]
    return Yardstick(reader, torch.cat(parts), _unpainted(data))


def _unpainted(data: str) -> str:
    if data != "cats":
        return ""
    try:
        open_data(data, "test", 1)
    except GendiffError as error:
        return str(error)
    return ""


def _affordable(studio: Studio, plan: Plan, most: float) -> None:
    seconds = forecast(studio, plan)
    if seconds <= most:
        return
    fits = int(plan.pictures * most / seconds) // BATCH * BATCH
    instead = f"{fits} pictures" if fits >= LEAST else "contestants with fewer steps"
    raise GendiffError(
        f"{plan.pictures} pictures of each would take about {seconds / 60:,.0f} minutes here, and "
        f"{most / 60:.0f} is the most; choose {instead}."
    )


def _estimate(
    studio: Studio, plan: Plan, one: Contestant, against: Yardstick
) -> Iterator[Working | Estimate]:
    features, seconds = [], 0.0
    obeyed, valid = [], []
    for start in range(0, plan.pictures, BATCH):
        count = min(BATCH, plan.pictures - start)
        batch = race.alone(studio, one, count, plan.first + start)
        with closing(race.run(studio, batch)) as events:
            for event in events:
                if isinstance(event, Lap):
                    x = event.x
                    yield Working(one, start, event.nfe)
                elif isinstance(event, Result):
                    if event.failed:
                        raise GendiffError(event.failed)
                    seconds += event.seconds
        reading = against.reader(x.clamp(-1, 1), paint=not against.unpainted)
        features.append(reading.features)
        asked = resolve_labels(None, batch.seeds, len(studio.card(one.model).classes), "cpu")
        cats = "body" in reading.kinds
        if asked is not None:
            obeyed.append(asked == reading.kinds["body" if cats else "label"])
        if reading.distance is not None:
            valid.append(reading.valid)
        yield Estimate(
            one,
            images=start + count,
            nfe=one.nfe,
            seconds=seconds,
            kid=intervals.kernel(against.features, torch.cat(features)),
            obedience=_share(obeyed),
            valid=_share(valid),
            complete=start + count == plan.pictures,
        )


def _share(parts: list[Tensor]) -> Interval | None:
    """Of pictures for which it is true; None where it was not asked."""
    if not parts:
        return None
    every = torch.cat(parts)
    return intervals.share(int(every.sum()), len(every))
