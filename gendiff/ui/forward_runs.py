"""What the Forward tab shows: its run, the words beside each frame, and the gauge."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

from gendiff.schedule import Schedule
from gendiff.studio.noising import REACH, SIGNAL_MAX, Level, signal_left
from gendiff.ui.player import Curve, Frame, Histogram, Message, Pane, Run
from gendiff.weights import Card

SCHEDULES = [
    ("Cosine", "cosine"),
    ("Linear", "linear"),
    ("Scaled linear", "scaled_linear"),
    ("Sigmoid", "sigmoid"),
    ("Constant alpha", "constant"),
]
LABELS = {
    "beta_1": "β at t = 1",
    "beta_T": "β at t = T",
    "s": "s",
    "start": "start",
    "end": "end",
    "tau": "τ",
    "alpha": "α",
}
EXPLANATION = """\
**Two ways to x<sub>t</sub>.** The chain adds noise T times, a little each time. Because sums of
Gaussians are Gaussian, the result can also be written down at once: that is the closed form,
and training uses it to reach any t without walking there. The two pictures differ, because each
has noise of its own; the noise in both has the same mean and variance, which the table checks
pixel by pixel.

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

Pixels brighter than white or darker than black are cut off on the screen, not in the numbers.
"""


def trip(
    card: Card,
    trained: Schedule,
    levels: Sequence[Level],
    schedule: Schedule,
    what: str,
    seed: str,
    autoplay: bool,
    note: str = "",
) -> Message:
    """The levels as one message of the player, a frame each."""
    channels, height, width = card.shape
    t = [level.t for level in levels]
    panes = [
        Pane("closed", "x_t, closed form", height, width, channels),
        Pane("chain", "x_t, chain of single steps", height, width, channels),
        Pane("guess", "The network's x_0 guess", height, width, channels),
    ]
    run = Run(
        n=len(levels),
        panes=panes,
        label=f"{what} on its way to noise",
        curves=_curves(levels, t),
        axis=t,
        axis_label="t",
        fps=20,
        autoplay=autoplay,
        noun="level",
        note=note or f"{what}, noise seed {seed}; {len(levels)} network calls by {card.title}",
    )
    return run.whole([_frame(level, trained, schedule.T) for level in levels])


def _frame(level: Level, trained: Schedule, T: int) -> Frame:
    facts = {
        "t": f"{level.t} of {T}",
        "signal": f"{level.signal:.1%}",
        "noise": f"{level.noise:.1%}",
        "guess off by": f"{level.error:.0f} of 255",
    }
    pictures = [level.closed, level.chain, level.guess]
    counts = Histogram(level.counts, -REACH, REACH)
    return Frame(pictures, facts, words(level, trained), hist=counts)


def _curves(levels: Sequence[Level], t: Sequence[int]) -> list[Curve]:
    nan = float("nan")
    beta = [nan if level.beta is None else _rounded(level.beta) for level in levels]
    alpha_bar = [_rounded(level.alpha_bar) for level in levels]
    log_snr = [_rounded(level.log_snr) for level in levels]
    return [
        Curve("β_t", beta, t),
        Curve("ᾱ_t", alpha_bar, t),
        Curve("log-SNR", log_snr, t, "nats"),
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
        "Too much: x<sub>T</sub> still shows the picture, but sampling starts from pure noise. "
        f"At most {100 * SIGNAL_MAX:.0f} % should be left."
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
