"""The numbers and the credits in the project's README.md, made from what its checkpoints say."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from gendiff.cards import CONFIG, FEATURES, Card
from gendiff.errors import GendiffError
from gendiff.readme import README, measured, refresh, way
from gendiff.results import Metrics
from gendiff.sources import SOURCES

BEGIN, END = "<!-- numbers: made by `python -m gendiff cards` -->", "<!-- end of numbers -->"
CREDITS = ("<!-- credits: made by `python -m gendiff cards` -->", "<!-- end of credits -->")


def summary(found: Sequence[tuple[Card, Metrics | None]]) -> str:
    """The headline of each checkpoint as a Markdown table, its conditions above it."""
    known = [(card, metrics) for card, metrics in found if metrics is not None]
    rows = [
        "| Checkpoint | Weights | Images seen | Hours | Sampling | N | FID | floor | Obeys "
        "| Valid |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for card, metrics in known:
        run = metrics.headline
        cells = (
            card.name,
            f"{sum(card.parameters.values()) / 1e6:.1f} M",
            f"{card.training.get('images', 0):,}",
            f"{card.training.get('hours', 0):.1f}",
            way(run),
            f"{run.images:,}",
            f"{run.fid:.2f}",
            "-" if run.floor_fid is None else f"{run.floor_fid:.2f}",
            "-" if run.obedience is None else f"{run.obedience:.1%}",
            "-" if run.valid is None else f"{run.valid:.1%}",
        )
        rows.append(f"| {' | '.join(cells)} |")
    missing = ", ".join(card.name for card, metrics in found if metrics is None)
    if not known:
        return f"Not measured yet: {missing}."
    networks = dict.fromkeys(metrics.features.network for _, metrics in known)
    note = (
        f"FID in the features of {' and '.join(networks)}, against the test split; the floor is "
        "that of as many real training pictures. Both fall with N, and neither compares with "
        "FIDs of Inception."
    )
    return "\n".join([note, "", *rows, *([f"\nNot measured yet: {missing}."] if missing else [])])


def cards(folder: Path) -> list[tuple[Card, Metrics | None]]:
    """The checkpoints of a folder that make pictures, with what was measured of them."""
    found = [(path.parent, Card.read(path.parent)) for path in sorted(folder.glob(f"*/{CONFIG}"))]
    return [(card, measured(place, card)) for place, card in found if card.family != FEATURES]


def with_numbers(project: str, folder: Path) -> str:
    """The project's README with what stands between its marks, numbers and credits, made anew.

    Raises:
        GendiffError: marks are missing.
    """
    found = cards(folder)
    numbered = _between(project, BEGIN, END, summary(found))
    return _between(numbered, *CREDITS, credits([card for card, _ in found]))


def _between(project: str, begin: str, end: str, made: str) -> str:
    before, mark, rest = project.partition(begin)
    _, last, after = rest.partition(end)
    if not mark or not last:
        raise GendiffError(f"README.md lacks the marks {begin!r} and {end!r}.")
    return f"{before}{begin}\n{made}\n{end}{after}"


def credits(found: Iterable[Card]) -> str:
    """Whose work the models' data are, and the code, as a list in Markdown."""
    known = dict.fromkeys(card.data for card in found if card.data in SOURCES)
    lines = [f"- {SOURCES[name].credited()}" for name in sorted(known)]
    code = "- **Code**: MIT. Equations and their papers stand beside the code that uses them."
    return "\n".join([*lines, code])


def refresh_all(folder: Path) -> None:
    """Every checkpoint's README.md, and the project's where it stands beside them."""
    for path in sorted(folder.glob(f"*/{CONFIG}")):
        refresh(path.parent)
    project = folder.parent / README
    if project.is_file() and BEGIN in (old := project.read_text(encoding="utf-8")):
        project.write_text(with_numbers(old, folder), encoding="utf-8")
