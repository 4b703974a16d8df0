"""Which one for me? Four questions, and a recommendation that cites what was measured.

The weights are judgement, and stand here to be read; the evidence is measured: quality from
metrics.json, speed of this machine where the contestant has raced here, else from metrics.json.
Nothing is computed with a network, and no way of sampling is cited that was not measured.
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
    """

    pick: str
    contestant: Contestant | None
    reasons: tuple[str, ...]
    evidence: tuple[Evidence, ...]


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
    pick, reasons = _choose(answers)
    known = quality.measured(studio, data)
    points = quality.comparable([point for one in known for point in one.points])
    machines = {one.name: one.metrics.machine for one in known if one.points}
    shown = {}
    for family in [family for family in ("gan", "diffusion") if family in cards]:
        shown[family], slow = _way(cards[family], answers["speed"], points)
        if family == pick and slow:
            reasons.append(f"Against it: {slow}")
    measured = {point.contestant: point for point in points}
    evidence = [
        *(_speed(studio, one, measured.get(one), machines) for one in shown.values()),
        *(_quality(one, measured.get(one)) for one in shown.values()),
        *(line for card in cards.values() for line in _training(card)),
    ]
    return Advice(pick, shown.get(pick), tuple(reasons), tuple(filter(None, evidence)))


def _choose(answers: Mapping[str, str]) -> tuple[str, list[str]]:
    """The family, and why; what excludes comes first."""
    if answers["likelihood"] == "exact":
        return "flow", [
            "Only a normalizing flow gives the exact probability of a picture "
            "(Rezende and Mohamed 2015, arXiv:1505.05770).",
            "A GAN gives none, a diffusion model a lower bound.",
        ]
    votes = {"gan": 0.0, "diffusion": 0.0}
    reasons = []

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
    if answers["likelihood"] == "bound":
        vote(
            "diffusion", 3, "A diffusion model bounds the probability of a picture; a GAN cannot."
        )
    if answers["training"] == "little":
        vote(
            "diffusion",
            2,
            "Its training minimizes one loss; a GAN's two networks can fail to balance.",
        )
    else:
        vote("gan", 1, "With care a GAN trains to good pictures in fewer hours.")
    pick = max(votes, key=lambda family: votes[family])
    own = [why for family, why in reasons if family == pick]
    against = [f"Against it: {why}" for family, why in reasons if family != pick]
    return pick, own + against


def _way(card: Card, patience: str, points: Sequence[Point]) -> tuple[Contestant, str]:
    """How to sample a checkpoint: of the measured ways that the patience allows the one with the
    lowest FID; and what speaks against it: none is that fast, or none was measured ("": nothing).
    """
    own = [point for point in points if point.contestant.model == card.name]
    if not own:
        way = ("dpmpp_2m", min(MOST[patience], 20)) if card.schedule else ()
        return Contestant(card.name, *way), "nobody has measured it yet."
    allowed = [point for point in own if point.contestant.nfe <= MOST[patience]]
    if allowed:
        return min(allowed, key=lambda point: point.score.fid).contestant, ""
    one = min(own, key=lambda point: point.contestant.nfe).contestant
    return one, f"of what was measured, the fewest calls are {one.nfe}: not that fast."


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


def _quality(one: Contestant, point: Point | None) -> Evidence:
    if point is None:
        text = f"{one.model}: quality not measured yet"
        return Evidence(text, f"python -m gendiff evaluate {one.model}")
    score = point.score
    text = (
        f"{one.model}, {one.title()}: FID {score.fid:.3g}, precision {score.precision:.2f}, "
        f"recall {score.recall:.2f}"
    )
    floor = f"; real pictures reach FID {score.floor_fid:.3g}" if score.floor_fid else ""
    return Evidence(text, f"metrics.json, N = {score.images:,}{floor}")


def _training(card: Card) -> list[Evidence]:
    images, hours = card.training.get("images"), card.training.get("hours")
    if images is None or hours is None:
        return []
    where = card.training.get("machine", "machine not recorded")
    return [
        Evidence(f"{card.name}: trained on {images:,} images in {hours:.1f} hours", str(where))
    ]
