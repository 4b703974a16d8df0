"""Which one for me? Four questions, and a recommendation that cites what was measured.

Hard requirements come first and rule families out: a likelihood that one cannot give, a speed
that none of its measured ways has. The rest are preferences: their weights are judgement, and
stand here to be read. The evidence is measured: quality from metrics.json, speed of this machine
where the contestant has raced here, else from metrics.json. Nothing is computed with a network,
and no way of sampling is cited that was not measured.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from gendiff.errors import GendiffError
from gendiff.studio import quality, race
from gendiff.studio.contestants import Contestant
from gendiff.studio.models import Studio
from gendiff.studio.quality import Point
from gendiff.weights import Card

QUESTIONS: Mapping[str, tuple[str, Mapping[str, str]]] = {
    "speed": (
        "How long may one picture take?",
        {"instant": "Milliseconds", "second": "About a second", "any": "As long as it needs"},
    ),
    "aim": (
        "What matters more in a picture set?",
        {"sharp": "Each one convincing", "diverse": "All kinds there are", "both": "Both"},
    ),
    "likelihood": (
        "Do you need the probability of a given picture?",
        {"no": "No", "bound": "A bound is enough", "exact": "Yes, exactly"},
    ),
    "training": (
        "How much patience for training?",
        {"little": "Little: it must not fail", "much": "Enough to watch and tune"},
    ),
}
NAMES = {"gan": "A GAN", "diffusion": "A diffusion model", "flow": "A normalizing flow"}
MOST = {"instant": 4, "second": 20, "any": 1000}  # network calls that a patience allows


@dataclass(frozen=True)
class Evidence:
    """One measured number, in words, and where it was measured."""

    text: str
    source: str


@dataclass(frozen=True)
class Advice:
    """A recommendation.

    pick: "gan", "diffusion" or "flow". contestant: how to sample it here, None where no
    checkpoint of that family is here. reasons: sentences. evidence: the measurements cited.
    meets: whether it meets every hard requirement; False: nothing here does, this is the nearest.
    """

    pick: str
    contestant: Contestant | None
    reasons: tuple[str, ...]
    evidence: tuple[Evidence, ...]
    meets: bool = True


def advise(studio: Studio, data: str, answers: Mapping[str, str]) -> Advice:
    """The recommendation for these answers, with what was measured of this data set's models.

    Raises:
        GendiffError: an answer that the question does not offer, or an unknown data set.
    """
    for name, (question, offered) in QUESTIONS.items():
        if answers.get(name) not in offered:
            raise GendiffError(f"Answer this first: {question}")
    cards = {card.family: card for card in reversed(studio.cards()) if card.data == data}
    if not cards:
        raise GendiffError(f"No checkpoint has learned {str(data)[:40]!r}.")
    known = quality.measured(studio, data)
    points = [point for one in known for point in one.points if point.plain]
    images = next(iter(quality.counts(points)), 0)  # the N that compares the most
    ruled = _ruled_out(answers, points)
    pick, reasons = _choose(answers, ruled)
    machines = {one.name: one.metrics.machine for one in known if one.points}
    shown, measured = {}, {}
    for family in [family for family in ("gan", "diffusion") if family in cards]:
        shown[family], point = _way(cards[family], answers["speed"], points, images)
        measured[shown[family]] = point
        if family == pick and point is None:
            reasons.append("Against it: nobody has measured it yet.")
    evidence = [
        *(_speed(studio, one, measured.get(one), machines) for one in shown.values()),
        *(_quality(one, measured.get(one), images) for one in shown.values()),
        *(line for card in cards.values() for line in _training(card)),
    ]
    meets = pick not in ruled
    return Advice(pick, shown.get(pick), tuple(reasons), tuple(filter(None, evidence)), meets)


def _ruled_out(answers: Mapping[str, str], points: Sequence[Point]) -> dict[str, str]:
    """What no preference can outweigh: family -> why it is out. A family that nobody has measured
    is not out for its speed: that is not known."""
    ruled = {}
    if answers["likelihood"] == "bound":
        ruled["gan"] = "A GAN is out: it gives no probability of a picture, not even a bound."
    fewest: dict[str, int] = {}
    for point in points:
        calls = point.contestant.nfe
        fewest[point.family] = min(calls, fewest.get(point.family, calls))
    most = MOST[answers["speed"]]
    for family, calls in fewest.items():
        if calls > most:
            ruled.setdefault(
                family,
                f"{NAMES[family]} is out: of what was measured, the fewest calls a picture are "
                f"{calls}, and the time you have is for about {most}.",
            )
    return ruled


def _choose(answers: Mapping[str, str], ruled: Mapping[str, str]) -> tuple[str, list[str]]:
    """The family, and why; what excludes comes first. Where all are out, the nearest: being too
    slow is a matter of degree, having no likelihood is not."""
    if answers["likelihood"] == "exact":
        return "flow", [
            "Only a normalizing flow gives the exact probability of a picture "
            "(Rezende and Mohamed 2015, arXiv:1505.05770).",
            "A GAN gives none, a diffusion model a lower bound.",
        ]
    votes, reasons = _votes(answers)
    left = [family for family in votes if family not in ruled] or ["diffusion"]
    pick = max(left, key=lambda family: votes[family])
    own = [why for family, why in reasons if family == pick]
    against = [f"Against it: {why}" for family, why in reasons if family != pick]
    return pick, [*ruled.values(), *own, *against]


def _votes(answers: Mapping[str, str]) -> tuple[dict[str, float], list[tuple[str, str]]]:
    """What the preferences weigh for each family, and the sentence of each, with its family."""
    votes = {"gan": 0.0, "diffusion": 0.0}
    reasons: list[tuple[str, str]] = []

    def vote(family: str, weight: float, why: str) -> None:
        votes[family] += weight
        reasons.append((family, why))

    if answers["speed"] == "instant":
        vote("gan", 3, "One network call makes a picture; a diffusion model needs many.")
    elif answers["speed"] == "second":
        vote("diffusion", 1, "Fast samplers need ten to twenty calls: about a second is enough.")
    else:
        vote("diffusion", 2, "With time to spend, every further step of a diffusion model helps.")
    if answers["aim"] == "sharp":
        vote("gan", 1, "A GAN is trained to convince, and may leave kinds out.")
    else:
        weight = 2 if answers["aim"] == "diverse" else 1
        vote(
            "diffusion",
            weight,
            "A diffusion model is trained on every picture: it leaves few out.",
        )
    if answers["training"] == "little":
        vote(
            "diffusion",
            2,
            "Its training minimizes one loss; a GAN's two networks can fail to balance.",
        )
    else:
        vote("gan", 1, "With care a GAN trains to good pictures in fewer hours.")
    return votes, reasons


def _way(
    card: Card, patience: str, points: Sequence[Point], images: int
) -> tuple[Contestant, Point | None]:
    """How to sample a checkpoint, and the point that measured it (None: nobody has): of the ways
    that the patience allows (none: of those with the fewest calls) the one with the lowest FID.
    Those of N = `images` come first: another N is cited only where they have none."""
    own = [point for point in points if point.contestant.model == card.name]
    if not own:
        way = ("dpmpp_2m", min(MOST[patience], 20)) if card.schedule else ()
        return Contestant(card.name, *way), None
    most = max(MOST[patience], min(point.contestant.nfe for point in own))
    allowed = [point for point in own if point.contestant.nfe <= most]
    among = quality.comparable(allowed, images) or quality.comparable(allowed)
    best = min(among, key=lambda point: point.score.fid)
    return best.contestant, best


def _speed(
    studio: Studio, one: Contestant, point: Point | None, machines: Mapping[str, str]
) -> Evidence | None:
    """What a picture takes: raced on this machine, else measured beforehand on that one."""
    if (result := race.raced(studio, one)) is not None:
        where = f"raced here, {result.batch} at once, {studio.conditions()}"
        return Evidence(_paced(one, result.images_per_second), where)
    if point is None or point.score.images_per_second is None:
        return None
    how = point.score.speed
    where = f"{how.batch} at once, {how.machine}" if how else machines[one.model]
    said = f"metrics.json: measured beforehand, {where}; it has not raced here yet"
    return Evidence(_paced(one, point.score.images_per_second), said)


def _paced(one: Contestant, speed: float) -> str:
    return (
        f"{one.model}, {one.title()}: {1000 / speed:,.3g} ms a picture, {one.nfe} network "
        f"call{'s' * (one.nfe != 1)}"
    )


def _quality(one: Contestant, point: Point | None, images: int) -> Evidence:
    if point is None:
        text = f"{one.model}: quality not measured yet"
        return Evidence(text, f"python -m gendiff evaluate {one.model}")
    score = point.score
    text = (
        f"{one.model}, {one.title()}: FID {score.fid:.3g}, precision {score.precision:.2f}, "
        f"recall {score.recall:.2f}"
    )
    floor = f"; real pictures reach FID {score.floor_fid:.3g}" if score.floor_fid else ""
    said = quality.unlike(score.images, images) or f"N = {score.images:,}"
    return Evidence(text, f"metrics.json, {said}{floor}")


def _training(card: Card) -> list[Evidence]:
    images, hours = card.training.get("images"), card.training.get("hours")
    if images is None or hours is None:
        return []
    where = card.training.get("machine", "machine not recorded")
    return [
        Evidence(f"{card.name}: trained on {images:,} images in {hours:.1f} hours", str(where))
    ]
