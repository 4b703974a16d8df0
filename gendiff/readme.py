"""README.md of a checkpoint, made from config.json and metrics.json, so that they never disagree.

Numbers of other weights than the card's are not shown.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from gendiff.cards import CONFIG, FEATURES, Card
from gendiff.errors import GendiffError
from gendiff.results import Metrics, Score

README, SHEET = "README.md", "sheet.png"
_LICENCES = {"MIT": "mit", "CC BY 4.0": "cc-by-4.0"}  # as the Hub spells them
_DATASETS = {"fashion": "zalando-datasets/fashion_mnist"}  # on the Hub; the cats are not there
_LIMITS = {
    "gan": "It may forget kinds of pictures, and D's verdict is of its own training only.",
    "diffusion": "Few network calls blur details; guidance above 1 costs variety.",
    FEATURES: "Distances in its features compare models of this data with each other, and with "
    "nothing that was measured with Inception.",
}


def measured(folder: Path, card: Card) -> Metrics | None:
    """What was measured of exactly these weights, or None."""
    metrics = Metrics.read(folder)
    return metrics if metrics and metrics.weights_sha256 == card.sha256 else None


def partner(folder: Path, card: Card) -> Card | None:
    """The checkpoint beside it that learned the same data in another way, if there is one."""
    if card.family == FEATURES:
        return None
    for path in sorted(folder.parent.glob(f"*/{CONFIG}")):
        other = Card.read(path.parent)
        if other.data == card.data and other.family not in (card.family, FEATURES):
            return other
    return None


def page(folder: Path) -> str:
    """The README.md that a checkpoint's folder should have."""
    card = Card.read(folder)
    sheet = (folder / SHEET).is_file()
    return text(card, measured(folder, card), partner(folder, card), sheet)


def refresh(folder: Path) -> None:
    """Write it; GendiffError if that cannot be."""
    try:
        (folder / README).write_text(page(folder), encoding="utf-8")
    except OSError as error:
        raise GendiffError(f"{folder / README} cannot be written ({error}).") from error


def text(
    card: Card, metrics: Metrics | None = None, other: Card | None = None, sheet: bool = False
) -> str:
    """The card in Markdown, with the Hub's YAML header; only what is known is said."""
    shown = [f"![What 16 seeds give, classes in turn]({SHEET})", ""] if sheet else []
    loads = (
        f'`gendiff.readers.load_reader("{card.data}")` loads it.'
        if card.family == FEATURES
        else f'`gendiff.load("{card.name}")` loads it.'
    )
    credit = card.credit.rstrip(".") or "No credit is recorded"
    sections = [
        *_header(card, metrics),
        "",
        f"# {card.title}",
        "",
        *shown,
        loads,
        "",
        *_architecture(card, other),
        "",
        "## Data and licence",
        "",
        f"{credit}. Licence: {card.licence}; these weights carry the same.",
        "",
        "## Training",
        "",
        *_training(card),
        "",
        *_numbers(card, metrics),
        "## Limits",
        "",
        _LIMITS.get(card.family, "Not recorded."),
        f"It draws {' x '.join(map(str, card.shape[1:]))} pixels of one data set and knows no "
        "other pictures."
        if card.family != FEATURES
        else "It knows the pictures of one data set only.",
        "",
    ]
    return "\n".join(sections)


def _header(card: Card, metrics: Metrics | None) -> list[str]:
    lines = [
        "---",
        f"license: {_LICENCES.get(card.licence, 'other')}",
        "library_name: gendiff",
    ]
    reads = card.family == FEATURES
    task = "image-feature-extraction" if reads else "unconditional-image-generation"
    lines.append(f"pipeline_tag: {task}")
    lines.append(
        f"tags: [{card.family}, {'image-classification' if reads else 'image-generation'}]"
    )
    if card.data in _DATASETS:
        lines.append(f"datasets: [{_DATASETS[card.data]}]")
    if metrics is not None:
        run = metrics.headline
        conditions = f"features of {metrics.features.network}, {run.images} pictures"
        lines += [
            "model-index:",
            f"- name: {card.name}",
            "  results:",
            f"  - task: {{type: {task}}}",
            f"    dataset: {{type: {_DATASETS.get(card.data, card.data)}, name: {card.data}, "
            f"split: {metrics.reference.split}}}",
            "    metrics:",
            *(
                f'    - {{type: {kind}, name: "{name}, {conditions}", value: {value:.6g}}}'
                for kind, name, value in _headline(run)
            ),
        ]
    return [*lines, "---"]


def _headline(run: Score) -> list[tuple[str, str, float]]:
    found = [
        ("fid", "Frechet distance", run.fid),
        ("kid", "Kernel distance", run.kid),
        ("precision", "Precision", run.precision),
        ("recall", "Recall", run.recall),
        ("accuracy", "Recognized as the class asked for", run.obedience),
        ("valid", "Valid cats", run.valid),
    ]
    return [(kind, name, value) for kind, name, value in found if value is not None]


def _architecture(card: Card, other: Card | None) -> list[str]:
    networks = ", ".join(f"{name} {count:,}" for name, count in card.parameters.items())
    kind = {
        "gan": "DCGAN layout (Radford et al. 2015), class-conditional",
        "diffusion": "U-Net of the diffusers layout, class-conditional, with label dropout",
        FEATURES: "convolutions with batch norm, average pooling, a linear head per attribute",
    }
    layout = kind.get(card.family, card.family)
    if card.net.get("upsample") == "bilinear":
        layout += "; the generator enlarges by interpolation and adds up what each scale paints"
    facts = [
        f"- Architecture: {layout}",
        f"- Pictures: {' x '.join(map(str, card.shape))} (channels, height, width)",
        f"- Classes: {', '.join(card.classes) or 'none'}",
        f"- Weights: {networks or 'not counted'}; stored in float16",
    ]
    if other is not None:
        theirs = ", ".join(f"{name} {count:,}" for name, count in other.parameters.items())
        seen, hours = other.training.get("images"), other.training.get("hours")
        trained = f", {seen:,} images, {hours:.1f} hours" if seen and hours else ""
        facts.append(f"- Its pair on the same data, {other.name}: {theirs}{trained}")
    if card.schedule:
        options = ", ".join(f"{key} {value}" for key, value in card.schedule.items())
        facts.append(f"- Schedule: {options}; the network predicts {card.target}")
    return facts


def _training(card: Card) -> list[str]:
    lines = []
    for key, value in card.training.items():
        name = key.replace("_", " ").capitalize()
        if isinstance(value, Mapping):
            shares = ", ".join(f"{what} {share:.2%}" for what, share in value.items())
            lines.append(f"- {name}: {shares}")
        elif isinstance(value, int):
            lines.append(f"- {name}: {value:,}")
        else:
            lines.append(f"- {name}: {value}")
    return lines or ["Not recorded."]


def _numbers(card: Card, metrics: Metrics | None) -> list[str]:
    if card.family == FEATURES:
        return []
    if metrics is None:
        return ["## Quality", "", "Not measured yet.", ""]
    floor = metrics.floor
    lines = [
        "## Quality",
        "",
        f"Features of {metrics.features.network} ({metrics.features.dim} numbers a picture), "
        f"against {metrics.reference.images:,} pictures of the {metrics.reference.split} split; "
        f"{metrics.dtype}, averaged weights, measured {metrics.measured} on {metrics.machine}. "
        f"The floor is the distance of as many real {floor.against} pictures; for "
        f"{floor.images:,} it is FID {floor.fid:.3f}, KID {floor.kid:.5f}. Precision and recall "
        f"with k = {metrics.headline.k}. FID falls with more pictures: compare rows of equal N.",
        "",
        *_rows(metrics.runs),
        "",
        *_cats(metrics.headline),
    ]
    near = metrics.headline.nearest
    if near:
        lines += [
            f"Nearest training picture (of {near['training_images']:,.0f}, RMS over pixels in "
            f"[-1, 1]): median {near['median']:.3f}, of real test pictures "
            f"{near['real_median']:.3f}; {near['closer']:.1%} are closer than 99 % of the real "
            "ones are.",
            "",
        ]
    short = metrics.bfloat16
    if short is not None:
        lines += [
            f"In bfloat16 ({short.images} pictures, same seeds): FID {short.fid:.3f} against "
            f"{short.fid_float32:.3f} in float32, {short.between:.4f} from each other, PSNR "
            f"{short.psnr_median:.1f} dB (median).",
            "",
        ]
    return [*lines, f"`{metrics.command}` measures it again.", ""]


def _rows(runs: Iterable[Score]) -> list[str]:
    rows = [
        "| Sampling | NFE | N | FID | floor | KID | Precision | Recall | Obeys | images/s |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for run in runs:
        cells = (
            way(run),
            run.nfe,
            f"{run.images:,}",
            f"{run.fid:.2f}",
            "-" if run.floor_fid is None else f"{run.floor_fid:.2f}",
            f"{run.kid:.4f}",
            f"{run.precision:.2f}",
            f"{run.recall:.2f}",
            "-" if run.obedience is None else f"{run.obedience:.1%}",
            "-" if run.images_per_second is None else f"{run.images_per_second:.2f}",
        )
        rows.append(f"| {' | '.join(map(str, cells))} |")
    return rows


def _cats(run: Score) -> list[str]:
    if run.valid is None:
        return []
    kl = ", ".join(
        f"{name} {value:.3f} ({(run.kl_uniform or {}).get(name, 0):.3f})"
        for name, value in (run.kl or {}).items()
    )
    return [
        f"Valid cats: {run.valid:.1%}. Of the 3,600 bodies x eyes x accessories the valid ones "
        f"show {run.modes:,}; as many uniform draws are expected to show "
        f"{run.modes_uniform:,.0f}. {run.novelty:.1%} of them are combinations that training "
        f"never saw (10 % of all are kept from it). KL of each part's frequencies from the "
        f"data's, nats, and what as many real cats are expected to show: {kl}.",
        "",
    ]


def way(run: Any) -> str:
    """A way of sampling (of a Score, or what has its fields) in a few words."""
    if run.sampler is None:
        said = "one call"
    else:
        guided = "" if run.guidance == 1 else f", guidance {run.guidance:g}"
        said = f"{run.sampler} {run.steps} steps{guided}"
    return said if run.dtype == "float32" else f"{said}, {run.dtype}"
