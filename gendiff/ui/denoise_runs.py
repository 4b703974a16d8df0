"""A denoising run as the player takes it: its panes, its curve, the words beside each frame."""

from __future__ import annotations

from collections.abc import Iterator

from gendiff.studio.denoising import EPS_SCALE, Denoising, Moment
from gendiff.ui import formulas
from gendiff.ui.runs import Curve, Frame, Pane, Run

_SCALED = f"The picture of ε is ε ÷ {EPS_SCALE}: nearly all of N(0, 1) then lies within [−1, 1]."


def show(job: Denoising, note: str = "") -> tuple[Run, Iterator[Frame]]:
    """A run as the player takes it, and its frames, computed as they are asked for."""
    settings, count = job.settings, len(job.settings.seeds)
    c, h, w = job.model.shape
    every = settings.steps == job.model.schedule.T
    titles = {
        "x_t": "Input x_t",
        "eps": f"Noise ε (shown ÷ {EPS_SCALE})",
        "x0": "Guess x̂_0",
        "x_s": "Output x_{t−1}" if every else "Output x_s",
    }
    # A step's input is the output of the step before; only where steps are left out, it is not.
    before = {"x_t": None if job.thinned else "x_s"}
    ts, nats = job.log_snr()
    levels = [job.levels[index] for index in job.shown]
    frames = len(job.shown) + 1
    alone = job.captions()[0] if count == 1 else ""  # of several, each has its own caption
    notes = [note, alone, f"{job.conditions}, batch {count}", _thinned(job)]
    target, clipped = job.model.denoiser.target, job.model.denoiser.clip_x0
    run = Run(
        n=frames,
        panes=[
            Pane(name, title, h, w, c, count, previous=before.get(name))
            for name, title in titles.items()
        ],
        label=f"{job.model.card.title}: {count} picture{'s' * (count > 1)} out of noise",
        curves=[Curve("log-SNR", nats, ts, "nats")],
        axis=[levels[0], *levels],
        axis_label="t",
        code=formulas.algorithm(settings.sampler, target, clipped, settings.guidance != 1),
        lines=formulas.made(target),
        captions=job.captions(),
        pick="zoom",
        fps=min(24, max(4, frames / 6)),
        strip=3,
        noun="frame" if job.thinned else "step",
        first=1 if job.thinned else 0,
        note="; ".join(filter(None, notes)),
    )
    return run, (_frame(job, moment) for moment in job.moments())


def _thinned(job: Denoising) -> str:
    if not job.thinned:
        return ""
    return (
        f"{len(job.shown):,} of the {job.settings.steps:,} steps are shown, evenly spaced: "
        "ask for fewer pictures to see each of them"
    )


def _frame(job: Denoising, moment: Moment) -> Frame:
    settings, denoiser = job.settings, job.model.denoiser
    colour = "" if job.model.shape[0] == 1 else ", red"
    line: int | tuple[int, ...] = formulas.LOOP if moment.number else formulas.DRAW
    if moment.number == settings.steps:
        line = (*formulas.LOOP, formulas.RETURN)
    return Frame(
        moment.pictures if job.thinned else moment.pictures[1:],
        facts={
            **({"step": f"{moment.number:,} of {settings.steps:,}"} if job.thinned else {}),
            "t": moment.t,
            "s": moment.s,
            "beta_t": moment.beta_t,
            "alpha_bar_t": moment.alpha_bar_t,
            "sigma_t": moment.sigma_t,
            "log_snr_t": moment.log_snr_t,
            "nfe": moment.nfe,
            "ms per step": 1000 * moment.seconds / max(moment.number, 1),
            "time": f"{moment.seconds:.2f} s",
        },
        html=formulas.update(
            settings.sampler,
            moment,
            f"Middle pixel{colour}, seed {settings.seeds[0]}",
            f"{formulas.predicts(denoiser.target, denoiser.clip_x0)} {_SCALED}",
        ),
        line=line,
    )
