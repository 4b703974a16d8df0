"""Quality beside speed: what metrics.json holds of each way of sampling, and published numbers.

Nothing here is measured live, and nothing is filled in: what a checkpoint has not been measured
for is not there. Distances in other features, other data or another number of pictures are no
neighbours on one scale, so published rows keep a scale of their own.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from gendiff.errors import GendiffError
from gendiff.results import Metrics, Score
from gendiff.studio.contestants import TITLES, Contestant
from gendiff.studio.models import Studio


@dataclass(frozen=True)
class Point:
    """One measured way of sampling: who, and what was scored; see `gendiff.results.Score`."""

    contestant: Contestant
    family: str
    score: Score

    @property
    def title(self) -> str:
        guidance = f", guidance {self.score.guidance:g}" if self.score.guidance != 1 else ""
        dtype = f", {self.score.dtype}" if self.score.dtype != "float32" else ""
        return f"{self.contestant.title()}{guidance}{dtype}"

    @property
    def group(self) -> str:
        """What shares a curve: the points of one sampler, which differ in steps."""
        return TITLES[self.contestant.sampler] if self.contestant.sampler else self.title

    @property
    def plain(self) -> bool:
        """Whether it was sampled as contestants are: no guidance, float32."""
        return self.score.guidance == 1 and self.score.dtype == "float32"

    @property
    def seconds(self) -> float | None:
        """For one picture; see `gendiff.results.Speed`."""
        speed = self.score.images_per_second
        return 1 / speed if speed else None


@dataclass(frozen=True)
class Measured:
    """What is known of a checkpoint. missing: why nothing is, as a sentence, else ""."""

    name: str
    title: str
    metrics: Metrics | None
    points: tuple[Point, ...] = ()
    missing: str = ""


def measured(studio: Studio, data: str) -> list[Measured]:
    """Every checkpoint of a data set, with its measured points or why there are none."""
    return [_measured(studio, card.name) for card in studio.cards() if card.data == data]


def _measured(studio: Studio, name: str) -> Measured:
    card = studio.card(name)
    how = f"python -m gendiff evaluate {name}"
    try:
        metrics = Metrics.read(studio.folder / name)
    except GendiffError as error:
        return Measured(name, card.title, None, missing=str(error))
    if metrics is None:
        return Measured(name, card.title, None, missing=f"Not measured yet; run: {how}")
    if metrics.weights_sha256 != card.sha256:
        why = f"Measured with other weights than these; run: {how}"
        return Measured(name, card.title, metrics, missing=why)
    points = tuple(
        Point(Contestant(name, one.sampler, one.steps), card.family, one) for one in metrics.runs
    )
    return Measured(name, card.title, metrics, points)


def pareto(places: Sequence[tuple[float, float]]) -> list[bool]:
    """Which of the points (cost, distance), of one N, no other beats in both; small is good."""
    return [
        not any(other[0] <= own[0] and other[1] <= own[1] and other != own for other in places)
        for own in places
    ]


def counts(points: Sequence[Point]) -> list[int]:
    """The numbers of pictures N that points were measured with, the most complete comparison
    first: that of the most families, then of the most ways of sampling, then of the most pictures.

    Only points of equal N are drawn together, ranked or chosen from.
    """
    of: dict[int, list[Point]] = {}
    for point in points:
        if point.plain:
            of.setdefault(point.score.images, []).append(point)

    def complete(images: int) -> tuple[int, int, int]:
        return (len({point.family for point in of[images]}), len(of[images]), images)

    return sorted(of, key=complete, reverse=True)


def comparable(points: Sequence[Point], images: int | None = None) -> list[Point]:
    """The points sampled as contestants are, of `images` pictures (None: of the N that gives the
    most complete comparison)."""
    images = next(iter(counts(points)), None) if images is None else images
    return [point for point in points if point.plain and point.score.images == images]


def unlike(images: int, shared: int) -> str:
    """What to say of a number measured with N = `images` where the others have N = `shared`; "" if
    they compare."""
    if images == shared:
        return ""
    return f"measured with N = {images:,} only, not comparable with N = {shared:,}"


def modes(found: int | None, valid: float | None, images: int, uniform: float | None) -> str:
    """How many of the cats' modes were reached, in words: beside the valid pictures alone, and
    what as many perfect draws would reach; "" where modes were not counted."""
    if found is None or valid is None:
        return ""
    among = round(valid * images)
    perfect = f"; as many perfect draws: {uniform:,.0f}" if uniform else ""
    return f"{found:,} of {among:,} valid picture{'s' * (among != 1)}{perfect}"


def floor(points: Sequence[Point], images: int) -> float | None:
    """The distance of as many real training pictures from the test split, if it was measured."""
    known = (one.score.floor_fid for one in points if one.score.images == images)
    return next((value for value in known if value), None)


def scores(studio: Studio, data: str, specs: Iterable[str] = ()) -> dict[str, Score]:
    """What was measured of contestants as they sample in a race: spec -> the score.

    Of the N that most of `specs` (none: of all) were measured with, so that they compare; of the
    largest other N for a contestant that lacks it. The score says its N.
    """
    points = [point for one in measured(studio, data) for point in one.points if point.plain]
    asked = set(specs) or {point.contestant.spec for point in points}
    points = sorted(
        (point for point in points if point.contestant.spec in asked),
        key=lambda point: point.score.images,
    )
    shared = [point.score.images for point in points]
    most = max(shared, key=lambda images: (shared.count(images), images), default=None)
    ranked = sorted(points, key=lambda point: point.score.images == most)  # the last one stays
    return {point.contestant.spec: point.score for point in ranked}


@dataclass(frozen=True)
class Published:
    """A row of CIFAR-10, unconditional, 50,000 pictures in Inception features, that two sources
    agree on.

    recall: None where only one of them gives it.
    """

    name: str
    family: str
    fid: float
    nfe: int
    recall: float | None = None


CITATION = (
    "CIFAR-10, unconditional: Xiao, Kreis and Vahdat (2022), arXiv:2112.07804, Table 1; only rows "
    "that a second source repeats. FID in Inception features: not comparable with ours."
)
PUBLISHED = (
    Published("Denoising diffusion GAN, T = 4", "gan", 3.75, 4, 0.57),
    Published("DDPM", "diffusion", 3.21, 1000, 0.57),
    Published("StyleGAN2 + ADA", "gan", 2.92, 1, 0.49),
    Published("SNGAN", "gan", 21.7, 1, 0.44),
    Published("LSGM", "diffusion", 2.10, 147),
    Published("Score SDE (VE)", "diffusion", 2.20, 2000),
)
