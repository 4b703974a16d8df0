"""A budget of seconds: what each family delivers when it spends the same time in its best way.

One call of each network is timed on this machine first. A GAN has one way to spend time: more
pictures. A diffusion model can make more pictures or take more steps: here it makes as many
pictures as leave each of them GOOD steps or more, and only one where not even that fits.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass

from gendiff.errors import GendiffError
from gendiff.studio import quality, race
from gendiff.studio.contestants import Contestant
from gendiff.studio.models import Studio
from gendiff.studio.race import Lap, Race, Result
from gendiff.weights import Card, Model

BUDGETS = (0.05, 1.0, 10.0)  # seconds
PICTURES = (64, 32, 16, 8, 4, 2, 1)
BATCH = race.BATCH
GOOD, MOST = 10, 50  # steps: fewer are visibly worse with DPM-Solver++(2M), more hardly better
Call = Callable[[int], float]  # pictures -> seconds of one network call of all of them
SAMPLER = "dpmpp_2m"  # where nothing was measured: the one that needs the fewest steps


@dataclass(frozen=True)
class Spend:
    """What a family does with the seconds: its contestant and how many pictures.

    forecast: seconds, from one timed call. fits: whether that is within the budget (a network
    whose single call takes longer cannot deliver; it makes one picture all the same). room: about
    how many pictures made like this fit into the budget; more than `pictures` where not all that
    fit are made. why: how the choice came about.
    """

    family: str
    contestant: Contestant
    pictures: int
    forecast: float
    fits: bool
    why: str
    room: int = 0


@dataclass(frozen=True, eq=False)
class Delivered:
    """What was made: the plan that was run, its last lap with all pictures, its result."""

    spend: Spend
    race: Race
    laps: tuple[Lap, ...]
    result: Result

    def room(self, budget: float) -> int:
        """About how many pictures fit into the budget of seconds, at the pace that these had."""
        return rounded(self.spend.pictures * budget / self.result.seconds)

    def overrun(self, budget: float) -> str | None:
        """Why it took longer than the budget of seconds, as a sentence; None if it did not."""
        took = self.result.seconds
        if took <= budget:
            return None
        title = self.spend.contestant.title()
        if not self.spend.fits:
            return (
                f"{title} overran: a single network call for one picture took {told(took)} here, "
                f"which is more than the whole budget of {told(budget)}, and nothing is faster."
            )
        return (
            f"{title} overran: it took {told(took)}, where one call that was timed before had "
            f"promised {told(self.spend.forecast)}; another program may have shared the machine."
        )


def told(seconds: float) -> str:
    """Seconds for people: 50 ms, 1.2 s."""
    return f"{1000 * seconds:.3g} ms" if seconds < 1 else f"{seconds:.3g} s"


def rounded(pictures: float) -> int:
    """A forecast of pictures, no more exact than it is: three digits that count."""
    return int(float(f"{int(pictures):.3g}"))


def plans(studio: Studio, data: str, seconds: float) -> list[Spend]:
    """How each checkpoint of a data set would spend the budget; times one call of each.

    Raises:
        GendiffError: a budget out of 0.01 to 60 seconds, no such data set, a broken checkpoint.
    """
    if not isinstance(seconds, (int, float)) or not 0.01 <= seconds <= 60:
        raise GendiffError(f"A budget is 0.01 to 60 seconds; got {str(seconds)[:20]}.")
    cards = [card for card in studio.cards() if card.data == data]
    if not cards:
        raise GendiffError(f"No checkpoint has learned {str(data)[:40]!r}.")
    return [_plan(studio, card, _timed(studio.model(card.name)), seconds) for card in cards]


def foreseen(studio: Studio, data: str) -> dict[float, list[Spend]]:
    """How each of BUDGETS would be spent at the speeds that metrics.json has; nothing is timed.
    Checkpoints whose speed was not measured are left out."""
    calls: dict[str, Call] = {}
    for one in quality.measured(studio, data):
        speeds = [p.score for p in one.points if p.plain and p.score.images_per_second]
        if speeds:
            calls[one.name] = _at(1 / (speeds[0].images_per_second * speeds[0].nfe))
    return {
        seconds: [_plan(studio, studio.card(name), call, seconds) for name, call in calls.items()]
        for seconds in BUDGETS
    }


def spend(studio: Studio, one: Spend) -> Iterator[Lap | Delivered]:
    """Do it, with its laps as signs of life; the last item is what was delivered."""
    plan = race.alone(studio, one.contestant, one.pictures)
    laps: list[Lap] = []
    with closing(race.run(studio, plan)) as events:
        for event in events:
            if isinstance(event, Lap):
                if event.complete:
                    laps.append(event)
                yield event
            elif isinstance(event, Result):
                if event.failed:
                    raise GendiffError(event.failed)
                yield Delivered(one, plan, tuple(laps), event)


def _timed(model: Model) -> Call:
    """Seconds of one call of so many pictures, in batches of at most BATCH, timed here."""
    return lambda pictures: race.expected(model, Contestant(""), pictures, BATCH)


def _at(each: float) -> Call:
    return lambda pictures: pictures * each


def _plan(studio: Studio, card: Card, call: Call, seconds: float) -> Spend:
    if card.schedule is None:
        return _more_pictures(card, call, seconds)
    most = min(MOST, int(card.schedule.get("T", 1000)))
    for pictures in PICTURES:
        steps = int(seconds / call(pictures))
        if steps >= min(GOOD, most):
            one, why = _best(studio, card, min(steps, most))
            return _spend(card, one, pictures, one.nfe * call(pictures), seconds, why)
    steps = max(1, min(int(seconds / call(1)), most))
    one = Contestant(card.name, SAMPLER, steps)
    why = f"the time is enough for {steps} call{'s' * (steps > 1)} of one picture, not for {GOOD}"
    if call(1) > seconds:
        why = "the time is not enough for one call: it makes one all the same"
    return _spend(card, one, 1, steps * call(1), seconds, why)


def _more_pictures(card: Card, call: Call, seconds: float) -> Spend:
    fitting = [pictures for pictures in PICTURES if call(pictures) <= seconds]
    pictures = fitting[0] if fitting else 1
    why = "one call is all it takes: time buys pictures, not quality"
    return _spend(card, Contestant(card.name), pictures, call(pictures), seconds, why)


def _spend(
    card: Card, one: Contestant, pictures: int, forecast: float, seconds: float, why: str
) -> Spend:
    fits = forecast <= seconds
    room = max(pictures, rounded(pictures * seconds / forecast)) if fits else 0
    return Spend(card.family, one, pictures, forecast, fits, why, room)


def _best(studio: Studio, card: Card, calls: int) -> tuple[Contestant, str]:
    """The sampler and steps with the lowest measured FID within so many calls, and why: of the N
    that the data set's families share, of another N where it has none. Where nothing was measured
    that fits, DPM-Solver++ with all of them."""
    points = [point for one in quality.measured(studio, card.data) for point in one.points]
    images = next(iter(quality.counts(points)), 0)
    own = [point for point in points if point.plain and point.contestant.model == card.name]
    fitting = [point for point in own if min(GOOD, calls) <= point.contestant.nfe <= calls]
    if among := quality.comparable(fitting, images) or quality.comparable(fitting):
        best = min(among, key=lambda point: point.score.fid)
        count = best.score.images
        said = quality.unlike(count, images) or f"N = {count:,}"
        return best.contestant, f"its lowest measured FID within {calls} calls ({said})"
    one = Contestant(card.name, SAMPLER, calls)
    why = "the sampler that needs the fewest steps; its quality has not been measured"
    if own:
        nfe = min(point.contestant.nfe for point in own)
        why += f" with so few (the fewest measured: {nfe})" if nfe > calls else " with so many"
    return one, why
