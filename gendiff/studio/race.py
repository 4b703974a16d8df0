"""A race: the same seeds and batch, one lane a contestant, one clock of work alone for each.

There is one device, so the lanes run one after another, each undisturbed; they are shown against a
common time axis afterwards. The clock stands still while a model is loaded, while its first call
prepares kernels, and while somebody looks at the pictures (see `gendiff.clock`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from weakref import WeakKeyDictionary

import numpy as np
from torch import Tensor

from gendiff import clock
from gendiff.batches import fitting
from gendiff.bench import warm_up
from gendiff.errors import GendiffError, whole
from gendiff.images import to_uint8
from gendiff.noise import checked, resolve_labels
from gendiff.studio import zero
from gendiff.studio.contestants import Contestant, contestants
from gendiff.studio.models import Studio
from gendiff.weights import Model

PICTURES_MAX = 64
BATCH = 16


@dataclass(frozen=True)
class Race:
    """A checked race that has not begun. Made by `prepare`.

    label: one class for all pictures, None lets each seed draw its own.
    """

    data: str
    contestants: tuple[Contestant, ...]
    seeds: tuple[int, ...]
    batch: int
    label: int | None
    shape: tuple[int, int, int]
    same_noise: str

    def __len__(self) -> int:
        return len(self.contestants)


@dataclass(frozen=True)
class Ready:
    """A lane is about to start: its model is loaded and warm. seconds: how long it will take, by
    one call that was timed and is not part of the race."""

    lane: int
    seconds: float


@dataclass(frozen=True, eq=False)
class Lap:
    """A lane after a network call of the batch first..first + len(x) - 1.

    Attributes:
        done: complete pictures of this lane. nfe: network calls for each picture so far.
        seconds: of this lane's own work so far.
        x: (B, C, H, W), where these pictures are now. complete: they will not change any more.
    """

    lane: int
    first: int
    done: int
    nfe: int
    seconds: float
    x: Tensor
    complete: bool

    def pictures(self) -> np.ndarray:
        """(B, H, W, C) uint8; made when asked for, so that what nobody sees costs nothing."""
        return to_uint8(self.x)


@dataclass(frozen=True)
class Result:
    """What a lane needed. failed: why it could not race ("" if it did); its numbers are None."""

    lane: int
    contestant: str
    title: str
    nfe: int
    images: int
    batch: int
    seconds: float | None = None
    images_per_second: float | None = None
    failed: str = ""


Event = Ready | Lap | Result


def prepare(
    studio: Studio,
    words: Sequence[str],
    seeds: Sequence[int],
    *,
    data: str | None = None,
    batch: int = BATCH,
    label: int | None = None,
) -> Race:
    """Check everything; nothing is loaded yet.

    Raises:
        GendiffError: see `contestants`; more than 64 seeds; a batch or class out of range.
    """
    found = contestants(studio, words, data)
    seeds = tuple(checked(seeds))
    if len(seeds) > PICTURES_MAX:
        raise GendiffError(f"A race is over 1 to {PICTURES_MAX} pictures; got {len(seeds)} seeds.")
    card = studio.card(found[0].model)
    resolve_labels(label, seeds, len(card.classes), "cpu")
    batch = whole("The batch", batch, 1, PICTURES_MAX)
    return Race(
        card.data,
        found,
        seeds,
        min(batch, len(seeds)),
        label,
        card.shape,
        _same_noise(studio, found),
    )


def alone(studio: Studio, one: Contestant, pictures: int = BATCH, first: int = 0) -> Race:
    """A lane of its own, over the seeds first, first + 1, ...; nobody is raced against."""
    card = studio.card(one.model)
    seeds = tuple(checked(range(first, first + whole("Pictures", pictures, 1, PICTURES_MAX))))
    return Race(card.data, (one,), seeds, min(BATCH, len(seeds)), None, card.shape, "")


def run(studio: Studio, race: Race) -> Iterator[Event]:
    """The race, lane by lane: Ready, its Laps, its Result. Closing it stops the work.

    A lane whose model cannot be loaded, or that runs out of memory, has a Result that says why;
    the others race all the same.
    """
    for lane, one in enumerate(race.contestants):
        try:
            model = studio.model(one.model)
            yield Ready(lane, expected(model, one, len(race.seeds), race.batch))
            last: Lap | None = None
            with fitting(race.batch), closing(_laps(model, race, lane)) as laps:
                for last in laps:
                    yield last
        except GendiffError as error:
            yield Result(lane, **_facts(race, one), failed=str(error))
            continue
        speed = len(race.seeds) / last.seconds
        made = Result(lane, **_facts(race, one), seconds=last.seconds, images_per_second=speed)
        _RACED.setdefault(studio, {})[one.spec] = made
        yield made


# What each contestant's last run here gave, of this process: its spec -> the result.
_RACED: WeakKeyDictionary[Studio, dict[str, Result]] = WeakKeyDictionary()


def raced(studio: Studio, one: Contestant) -> Result | None:
    """The contestant's last result on this machine, if it has raced since the program started."""
    return _RACED.get(studio, {}).get(one.spec)


def forecast(studio: Studio, race: Race) -> Iterator[tuple[str, float]]:
    """Each contestant's title and the seconds it will take, before the race; those whose model
    cannot be loaded are left out."""
    for one in race.contestants:
        try:
            model = studio.model(one.model)
        except GendiffError:  # the race says so
            continue
        yield one.title(), expected(model, one, len(race.seeds), race.batch)


def cost(studio: Studio, race: Race) -> float:
    """Seconds on a borrowed GPU, roughly; nothing is loaded. See `zero`."""
    sizes = [min(race.batch, len(race.seeds) - i) for i in range(0, len(race.seeds), race.batch)]
    return sum(
        zero.seconds(studio.card(one.model), one.nfe, size)
        for one in race.contestants
        for size in sizes
    )


def expected(model: Model, one: Contestant, pictures: int, batch: int) -> float:
    """Seconds that a lane will take, from one call of this batch; also its warm-up."""
    sizes = {min(batch, pictures), pictures % batch} - {0}
    call = {size: _call(model, size) for size in sizes}
    batches = pictures // batch * [batch] + [pictures % batch] * bool(pictures % batch)
    return one.nfe * sum(call[min(size, pictures)] for size in batches)


# Size of a batch -> seconds of a call; the studio decides which models stay, so none is held here.
_CALLS: WeakKeyDictionary[Model, dict[int, float]] = WeakKeyDictionary()


def _call(model: Model, size: int) -> float:
    """Seconds of one network call with `size` pictures, after the one that prepares kernels."""
    known = _CALLS.setdefault(model, {})
    if size not in known:
        warm_up(model, size)
        start = clock.now(model.device)
        warm_up(model, size)
        known[size] = clock.now(model.device) - start
    return known[size]


def _facts(race: Race, one: Contestant) -> dict[str, object]:
    return {
        "contestant": one.spec,
        "title": one.title(),
        "nfe": one.nfe,
        "images": len(race.seeds),
        "batch": race.batch,
    }


def _laps(model: Model, race: Race, lane: int) -> Iterator[Lap]:
    """A lane's laps, timed; drawing classes and noise is a part of the work."""
    with closing(clock.timed(_batches(model, race, race.contestants[lane]), model.device)) as work:
        for (first, nfe, x, complete), seconds in work:
            yield Lap(lane, first, first + len(x) * complete, nfe, seconds, x, complete)


def _batches(model: Model, race: Race, one: Contestant) -> Iterator[tuple[int, int, Tensor, bool]]:
    """(first picture, network calls so far, pictures, whether they are complete), call by call."""
    labels = resolve_labels(race.label, race.seeds, model.classes, model.device)
    for first in range(0, len(race.seeds), race.batch):
        part = slice(first, first + race.batch)
        own = None if labels is None else labels[part]
        with closing(_calls_of(model, one, race.seeds[part], own)) as calls:
            for nfe, x, complete in calls:
                yield first, nfe, x, complete


def _calls_of(
    model: Model, one: Contestant, seeds: Sequence[int], labels: Tensor | None
) -> Iterator[tuple[int, Tensor, bool]]:
    """(network calls so far, pictures, whether they are complete) after each call of a batch."""
    if one.sampler is None:
        yield 1, model.sample(seeds, labels=labels), True
        return
    run = model.trajectory(seeds, sampler=one.sampler, steps=one.steps, labels=labels)
    with closing(run):
        for step in run:
            yield step.nfe, step.x_s, step.index == step.total - 1


def _same_noise(studio: Studio, found: Sequence[Contestant]) -> str:
    """What "the same seeds" means in this race: the same noise only in latents of one shape."""
    cards = [studio.card(one.model) for one in found]
    start = [one.title() for one, card in zip(found, cards, strict=True) if card.schedule]
    other = [one.title() for one, card in zip(found, cards, strict=True) if not card.schedule]
    said = []
    if len(start) > 1:
        said.append(f"{' and '.join(start)} start from the same noise")
    if start and other:
        said.append(
            f"{' and '.join(other)}: the same seeds are other noise, as z has another shape than "
            "x_T"
        )
    return "; ".join(said) or "each lane draws its noise from the same seeds"
