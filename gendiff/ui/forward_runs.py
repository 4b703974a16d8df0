"""What the Forward tab shows: its run, the words beside each frame, and the gauge."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

from gendiff.schedule import Schedule
from gendiff.studio.noising import REACH, SIGNAL_MAX, Journey, Level, signal_left
from gendiff.ui.runs import Curve, Fade, Frame, Histogram, Message, Pane, Run
from gendiff.weights import Card

SCHEDULES = [
    ("Cosine", "cosine"),
    ("Linear", "linear"),
    ("Scaled linear", "scaled_linear"),
    ("Sigmoid", "sigmoid"),
    ("Constant α", "constant"),
]
LABELS = {
    "beta_1": "β at t = 1",
    "beta_T": "β at t = T",
    "s": "s, the offset at t = 0",
    "start": "start",
    "end": "end",
    "tau": "τ",
    "alpha": "α",
}
EXPLANATION = """\
**Two ways to x<sub>t</sub>.** The chain adds noise step by step, a little each time. Because
sums of Gaussians are Gaussian, the result can also be written down at once: that is the closed
form, and training uses it to reach any t without walking there. The two pictures differ, because
each has noise of its own; the noise in both has the same mean and variance, which the table
checks pixel by pixel.

**The guess.** One network call says what x<sub>0</sub> probably was. Early (small t) it is
sharp. Late it is the average of everything that could have led to this x<sub>t</sub>, which is
why it is blurred, and why sampling takes many small steps instead of trusting one guess.

**The network's own t.** It was trained on one schedule. On another, it is told the t where
*its* schedule has the same signal-to-noise ratio; x<sub>t</sub> itself needs no change, as both
keep the variance.

**Signal left at T.** Sampling starts from pure noise. A schedule that ends earlier has trained
the network on x<sub>T</sub> that still shows the picture, and sampling starts from something it
has never seen. Linear betas were made for T = 1000; with T = 200, 36 % of the amplitude is
left.

**Their parameters.** Linear and scaled linear betas grow from the first to the last. The cosine's
offset s keeps the first steps from adding almost nothing. The sigmoid runs from its start to
its end; with a larger τ, ᾱ falls more evenly. With constant alpha each step keeps the same share
α of the variance.

**Between the levels.** Every t can be reached. x<sub>t</sub> is computed in your browser, by the
closed form and to the last bit; the chain and the guess follow a moment later, when you rest.

Pixels brighter than white or darker than black are cut off on the screen, not in the numbers.
"""


def trip(
    card: Card,
    way: Journey,
    levels: Sequence[Level],
    what: str,
    seed: str,
    autoplay: bool,
    note: str = "",
) -> Message:
    """A journey as one message of the player: a frame for each t, of which the key levels come at
    once. The browser computes x_t for the others; `between` sends the rest of them."""
    t = list(range(way.schedule.T + 1))
    part = len(levels) < len(t)
    run = Run(
        n=len(t),
        panes=_panes(card),
        label=f"{what} on its way to noise",
        curves=_curves(way.schedule, t),
        axis=t,
        axis_label="t",
        fps=20,
        autoplay=autoplay,
        noun="t",
        first=0,
        note=note or f"{what}, noise seed {seed}; {len(levels)} network calls by {card.title}",
        keys=[level.t for level in levels] if part else None,
        fade=_fade(way) if part else None,
        facts={
            "signal √ᾱ_t": [f"{value:.1%}" for value in way.signal],
            "noise √(1−ᾱ_t)": [f"{value:.1%}" for value in way.noise],
            "log_snr_t": [_rounded(float(way.schedule.log_snr(k))) for k in t],
        },
    )
    return run.whole([_frame(level, way.model.schedule) for level in levels])


def between(card: Card, way: Journey, run: str, t: int) -> Message:
    """One more level of a run that is on show."""
    of = Run(n=way.schedule.T + 1, panes=_panes(card), label="", run=run)
    return of.frames([t], [_frame(way.levels([t])[0], way.model.schedule)])


def _panes(card: Card) -> list[Pane]:
    channels, height, width = card.shape
    titles = {
        "closed": "x_t, closed form",
        "chain": "x_t, step by step",
        "guess": "Guess x̂_0",
    }
    return [Pane(name, title, height, width, channels) for name, title in titles.items()]


def _fade(way: Journey) -> Fade:
    x0, eps = (x[0].permute(1, 2, 0).float().numpy() for x in (way.x0, way.eps))
    return Fade("closed", x0, eps, way.signal, way.noise)


def _frame(level: Level, trained: Schedule) -> Frame:
    pictures = [level.closed, level.chain, level.guess]
    facts = {"guess off by": f"{level.error:.0f} of 255"}
    return Frame(
        pictures, facts, words(level, trained), hist=Histogram(level.counts, -REACH, REACH)
    )


def _curves(schedule: Schedule, t: Sequence[int]) -> list[Curve]:
    beta = [float("nan"), *schedule.betas.tolist()]
    log_snr = [float(schedule.log_snr(k)) for k in t]
    return [
        Curve("β_t", [*map(_rounded, beta)], t),
        Curve("ᾱ_t", [*map(_rounded, schedule.alpha_bars.tolist())], t),
        Curve("log-SNR", [*map(_rounded, log_snr)], t, "nats"),
    ]


def _rounded(value: float) -> float:
    return float(f"{value:.5g}")


# ---- Words ----------------------------------------------------------------------------------


def gauge(schedule: Schedule | None, problem: str = "") -> str:
    """A bar for sqrt(alpha_bar_T), worded and red above SIGNAL_MAX; or the problem."""
    if schedule is None:
        return f'<div class="fw-gauge"><p class="fw-verdict">{escape(problem)}</p></div>'
    left = signal_left(schedule)
    high = left > SIGNAL_MAX
    share = f"{left:.1%}" if left >= 0.001 else "below 0.1%"
    verdict = (
        "Too much: x<sub>T</sub> still shows the picture."
        '<span class="fw-why"> But sampling starts from pure noise: '
        f"at most {100 * SIGNAL_MAX:.0f} % should be left.</span>"
        if high
        else "Good: x<sub>T</sub> is as good as pure noise."
    )
    return (
        f'<div class="fw-gauge{" fw-high" if high else ""}">'
        f"<p><span>Signal left at T = {schedule.T:,}</span><b>{share.replace('%', ' %')}</b></p>"
        f'<div class="fw-bar" role="meter" aria-label="Signal left at T" aria-valuemin="0" '
        f'aria-valuemax="100" aria-valuenow="{100 * left:.2f}">'
        f'<i style="width:{100 * left:.2f}%"></i>'
        f'<s style="left:{100 * SIGNAL_MAX:.0f}%"></s></div>'
        f'<p class="fw-verdict">{verdict}</p></div>'
    )


def words(level: Level, trained: Schedule) -> str:
    """The formulas with this level's numbers, how the network was asked, and the check."""
    left = _formulas(level) + _asked(level, trained)
    return f'<div class="fw-words"><div>{left}</div>{_table(level)}</div>'


def _formulas(level: Level) -> str:
    if level.t == 0:
        return f"<p>{_math(_x(0))} is the picture itself: no noise yet.</p>"
    t, beta = level.t, level.beta or 0.0
    closed = _sum(_x(t), level.signal, _x(0), level.noise, "<mi>ε</mi>")
    step = _sum(
        _x(t), (1 - beta) ** 0.5, _x(t - 1), beta**0.5, f"<msub><mi>ε</mi><mn>{t}</mn></msub>"
    )
    return f"<p>Closed form<br>{_math(closed)}</p><p>Last step of the chain<br>{_math(step)}</p>"


def _asked(level: Level, trained: Schedule) -> str:
    place = (
        f"Guess: one call, told t = {level.asked} of the {trained.name} schedule it was trained on"
    )
    if level.gap == 0:
        return (
            f"<p class='fw-asked'>{place}{', the least noise that it knows' * (level.t == 0)}.</p>"
        )
    if abs(level.gap) > 0.1:
        return (
            f"<p class='fw-asked'>{place}, the nearest level that it knows "
            f"(log-SNR off by {abs(level.gap):.1f} nats).</p>"
        )
    near = "0.01" if abs(level.gap) < 0.01 else "0.1"
    return f"<p class='fw-asked'>{place}, where the log-SNR is the same to {near} nats.</p>"


def _table(level: Level) -> str:
    """Mean and variance of the noise in x_t, both ways, against the prediction."""
    ways = [("Closed form", level.closed_noise), (f"Chain, {level.t:,} steps", level.chain_noise)]
    mean, variance = level.mean_error, level.variance_error
    rows = "".join(
        f"<tr><th>{name}</th><td>{rounded(own.mean, mean)}</td>"
        f"<td>{rounded(own.variance, variance)}</td></tr>"
        for name, own in ways
    )
    off = level.deviation
    verdict = (
        "Nothing to compare yet."
        if level.t == 0
        else f"They agree: off by at most {off:.1f} standard errors."
        if off <= 3
        else f"Off by {off:.1f} standard errors: rare by chance; try another noise."
    )
    return (
        f"<div><table><tr><th>Noise in x<sub>t</sub>, {level.values:,} values</th><th>mean</th>"
        f"<th>variance</th></tr>{rows}<tr><th>Expected</th><td>0 ± {rounded(mean, mean)}</td>"
        f"<td>{rounded(level.noise**2, variance)} ± {rounded(variance, variance)}</td></tr>"
        f"</table><p>{verdict}</p></div>"
    )


def rounded(value: float, error: float) -> str:
    """A measured number, to the second digit of its standard error."""
    digits = 3 if error <= 0 else max(3, 1 - math.floor(math.log10(error)))
    return f"{round(value, digits) + 0.0:.{digits}f}".replace("-", "−")


def number(value: float) -> str:
    """Three decimals, more only for what would be nothing."""
    if value == 0:
        return "0"
    small = abs(value) < 0.001
    return (f"{value:.1e}" if small else f"{value:.3f}").replace("-", "−")


def _math(inside: str) -> str:
    return f"<math><mrow>{inside}</mrow></math>"


def _x(t: int) -> str:
    return f"<msub><mi>x</mi><mn>{t}</mn></msub>"


def _sum(left: str, a: float, first: str, b: float, second: str) -> str:
    return f"{left}<mo>=</mo><mn>{number(a)}</mn>{first}<mo>+</mo><mn>{number(b)}</mn>{second}"
