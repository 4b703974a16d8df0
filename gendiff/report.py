"""Measurements as tables for people."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from gendiff.bench import BATCHES, Measures, Precision
from gendiff.machine import Conditions, Startup
from gendiff.readme import way
from gendiff.results import Metrics, Score
from gendiff.sample import SAMPLERS


@dataclass(frozen=True)
class Report:
    """One run of the benchmark; `dataclasses.asdict` is its JSON."""

    conditions: Conditions
    startup: Startup | None
    checkpoints: tuple[Measures, ...]
    precision: tuple[Precision, ...]

    def text(self) -> str:
        """Tables for people."""
        where = self.conditions
        parts = [
            f"{where.machine}: {where.device}, {where.dtype}, {where.threads} threads, "
            f"torch {where.torch}",
            _speed_table(self.checkpoints),
            f"peak memory: {where.memory}; overhead: the highest of "
            f"{', '.join(SAMPLERS)}, {BATCHES[-1]} pictures; load, read: to have the model, "
            "and the bytes of its file alone",
        ]
        if self.precision:
            parts.append(_precision_table(self.precision))
        if (start := self.startup) is not None:
            page = "" if start.app is None else f"; app.py to its page {start.app:.1f} s"
            parts.append(
                f"import gendiff {start.import_gendiff:.2f} s "
                f"(torch alone {start.import_torch:.2f} s){page}"
            )
        return "\n\n".join(parts)


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Columns as wide as they need; those of numbers lean to the right."""
    columns = list(zip(header, *rows, strict=True))
    padded = []
    for column in columns:
        width = max(map(len, column))
        numbers = all(cell[:1].isdigit() or cell in ("-", "") for cell in column[1:])
        padded.append([cell.rjust(width) if numbers else cell.ljust(width) for cell in column])
    return "\n".join("  ".join(line).rstrip() for line in zip(*padded, strict=True))


def _speed_table(checkpoints: Iterable[Measures]) -> str:
    header = (
        "checkpoint",
        "pictures",
        "batch",
        "NFE",
        "ms/step",
        "images/s",
        "overhead",
        "peak MiB",
        "load ms",
        "read ms",
    )
    rows = []
    for one in checkpoints:
        overhead = f"{max(one.overhead.values()):.1%}" if one.overhead else "-"
        peak = "-" if one.peak_mb is None else f"{one.peak_mb:.0f}"
        for speed in one.paces:
            rows.append(
                (
                    one.name,
                    "x".join(map(str, one.shape)),
                    str(speed.batch),
                    str(speed.nfe),
                    f"{speed.ms_per_step:.2f}",
                    f"{speed.images_per_second:.2f}",
                    overhead if speed.batch == BATCHES[-1] else "",
                    peak if speed.batch == BATCHES[-1] else "",
                    f"{1e3 * one.load_seconds:.1f}" if speed.batch == BATCHES[-1] else "",
                    f"{1e3 * one.read_seconds:.1f}" if speed.batch == BATCHES[-1] else "",
                )
            )
    return table(header, rows)


def _precision_table(precisions: Iterable[Precision]) -> str:
    header = (
        "bfloat16 against float32",
        "PSNR median",
        "lowest",
        "images",
        "NFE",
        "float32",
        "bfloat16",
    )
    return table(
        header,
        (
            (
                one.name,
                f"{one.psnr_median:.1f} dB",
                f"{one.psnr_lowest:.1f} dB",
                str(one.images),
                str(one.nfe),
                f"{one.float32_seconds:.2f} s",
                f"{one.bfloat16_seconds:.2f} s",
            )
            for one in precisions
        ),
    )


def scores(metrics: Metrics) -> str:
    """What was measured of a checkpoint, for people; conditions first."""
    floor, head = metrics.floor, metrics.headline
    lines = [
        f"{metrics.model}: features of {metrics.features.network} ({metrics.features.dim}), "
        f"against {metrics.reference.images:,} pictures of the {metrics.reference.split} split; "
        f"{metrics.machine}, {metrics.device}",
        f"floor: {floor.images:,} real {floor.against} pictures: FID {floor.fid:.3f}, "
        f"KID {floor.kid:.5f}",
        _scores(metrics.runs),
    ]
    if (how := head.speed) is not None:
        lines.append(
            f"images/s: the fastest of {how.rounds} rounds, {how.batch} pictures at once, "
            f"{how.threads} thread{'s' * (how.threads != 1)}, {how.machine} (median round of the "
            f"first row: {how.median:.2f})"
        )
    if head.valid is not None:
        kl = ", ".join(f"{name} {value:.3f}" for name, value in (head.kl or {}).items())
        lines.append(
            f"valid cats: {head.valid:.1%}; {head.modes:,} modes where uniform draws reach "
            f"{head.modes_uniform:,.0f}; never seen in training: {head.novelty:.1%}; KL {kl}"
        )
    near = head.nearest
    lines.append(
        f"nearest training picture: median {near['median']:.3f}, of real test pictures "
        f"{near['real_median']:.3f}; closer than 99 % of real ones: {near['closer']:.1%}"
    )
    if (short := metrics.bfloat16) is not None:
        lines.append(
            f"bfloat16, {short.images} pictures: FID {short.fid:.3f}, float32 "
            f"{short.fid_float32:.3f}, from each other {short.between:.3f}; "
            f"PSNR {short.psnr_median:.1f} dB"
        )
    lines += [f"after {one.images:,} images: FID {one.fid:.2f}" for one in metrics.learning]
    return "\n".join(lines)


def _scores(runs: Iterable[Score]) -> str:
    header = ("sampling", "NFE", "N", "FID", "floor", "KID", "precision", "recall")
    header = (*header, "obeys", "images/s")
    rows = [
        (
            way(run),
            str(run.nfe),
            f"{run.images:,}",
            f"{run.fid:.3f}",
            "-" if run.floor_fid is None else f"{run.floor_fid:.3f}",
            f"{run.kid:.5f}",
            f"{run.precision:.3f}",
            f"{run.recall:.3f}",
            "-" if run.obedience is None else f"{run.obedience:.1%}",
            "-" if run.images_per_second is None else f"{run.images_per_second:.2f}",
        )
        for run in runs
    ]
    return table(header, rows)
