"""Which one for me? Four questions, and a recommendation that cites what was measured.

The weights are judgement, and stand here to be read; the evidence is measured: speeds by timing
one call of each network on this machine, quality from metrics.json where it is there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from gendiff.errors import GendiffError
from gendiff.studio import quality, race
from gendiff.studio.contestants import Contestant
from gendiff.studio.models import Studio
from gendiff.studio.quality import Point

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
    found = [point for one in quality.measured(studio, data) for point in one.points]
    one = _way(cards, pick, answers, found)
    shown = [Contestant(cards["gan"].name)] if "gan" in cards else []
    if "diffusion" in cards:
        way = one if one and one.sampler else _way(cards, "diffusion", answers, found)
        shown.append(way)
    evidence = [
        *(line for each in shown for line in _speed(studio, each)),
        *(line for each in shown for line in _quality(found, each)),
        *(line for card in cards.values() for line in _training(card)),
    ]
    return Advice(pick, one, tuple(reasons), tuple(evidence))


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


def _way(
    cards: Mapping[str, object], pick: str, answers: Mapping[str, str], found: list[Point]
) -> Contestant | None:
    """How to sample the recommended family; the lowest measured FID where there is one."""
    if pick not in cards:
        return None
    name = cards[pick].name
    if pick != "diffusion":
        return Contestant(name)
    most = {"instant": 4, "second": 20, "any": 1000}[answers["speed"]]
    known = [
        point
        for point in found
        if point.contestant.model == name
        and point.contestant.nfe <= most
        and point.score.guidance == 1
    ]
    if known:
        return min(known, key=lambda point: point.score.fid).contestant
    return (
        Contestant(name, "dpmpp_2m", min(most, 20)) if most <= 20 else Contestant(name, "ddim", 50)
    )


def _speed(studio: Studio, one: Contestant) -> list[Evidence]:
    try:
        seconds = race.expected(studio.model(one.model), one, 1, 1)
    except GendiffError:  # that checkpoint is broken; the others can be cited
        return []
    text = f"{one.model}, {one.title()}: {1000 * seconds:,.0f} ms for one picture, {one.nfe} NFE"
    return [Evidence(text, f"one call timed now, {studio.conditions()}")]


def _quality(found: list[Point], one: Contestant) -> list[Evidence]:
    point = quality.find(found, one)
    if point is None:
        text = f"{one.model}, {one.title()}: quality not measured yet"
        return [Evidence(text, f"python -m gendiff evaluate {one.model}")]
    score = point.score
    text = (
        f"{one.model}, {one.title()}: FID {score.fid:.3g}, precision {score.precision:.2f}, "
        f"recall {score.recall:.2f}"
    )
    return [Evidence(text, f"metrics.json, {score.images:,} pictures")]


def _training(card: object) -> list[Evidence]:
    images, hours = card.training.get("images"), card.training.get("hours")
    if images is None or hours is None:
        return []
    where = card.training.get("machine", "machine not recorded")
    return [
        Evidence(f"{card.name}: trained on {images:,} images in {hours:.1f} hours", str(where))
    ]
