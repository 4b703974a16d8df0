"""The samplers as a student reads them: pseudo-code, and a step's update with its numbers."""

from __future__ import annotations

from collections.abc import Sequence

from gendiff.studio.denoising import Moment

# What the network says, and the guess that follows from it; see gendiff.denoise.
_PREDICTS = {
    "v": ("v = NETWORK(xₜ, t)", "√ᾱₜ xₜ − √(1−ᾱₜ) v"),
    "eps": ("ε = NETWORK(xₜ, t)", "(xₜ − √(1−ᾱₜ) ε) / √ᾱₜ"),
    "x0": ("x = NETWORK(xₜ, t)", "x"),
}
_UPDATES = {
    "ddpm": "xₛ = w₀ x̂₀ + wₜ xₜ + σₜ z",
    "ddim": "xₛ = √ᾱₛ x̂₀ + √(1−ᾱₛ−σₜ²) ε + σₜ z",
    "renoise": "xₛ = √ᾱₛ x̂₀ + √(1−ᾱₛ) z",
    "dpmpp_2m": "xₛ = wₜ xₜ + w₀ x̂₀ − w₀′ x̂₀′",
    "heun": "xₛ = xₜ + Δ/2 (vₜ + vₛ)",
}
# An algorithm's lines: the first draws x_T, those of LOOP make a step, the last returns.
DRAW, LOOP, RETURN = 0, (2, 3, 4, 5), 6


def algorithm(sampler: str, target: str, clipped: bool = True, guided: bool = False) -> list[str]:
    """A sampler's pseudo-code, for a network that was trained to predict `target`."""
    call, guess = _PREDICTS[target]
    return [
        "x_T ~ N(0, I)",
        "for each level t, next level s:",
        f"  {call.replace('NETWORK', 'guided network' if guided else 'network')}",
        f"  x̂₀ = clip({guess})" if clipped else f"  x̂₀ = {guess}",
        "  ε = (xₜ − √ᾱₜ x̂₀) / √(1−ᾱₜ)",
        f"  {_UPDATES[sampler]}",
        "return x₀",
    ]


def made(target: str) -> list[str | None]:
    """Which picture (an id of the Denoise tab's panes) each line of an algorithm makes."""
    return ["x_s", None, "eps" if target == "eps" else None, "x0", "eps", "x_s", None]


def predicts(target: str, clipped: bool = True) -> str:
    """What the network says, in one sentence."""
    said = {
        "v": "v = √ᾱₜ ε − √(1−ᾱₜ) x₀; from v and xₜ follow the guess x̂₀ and the noise ε",
        "eps": "the noise ε; from ε and xₜ follows the guess x̂₀",
        "x0": "the picture x₀; from that guess and xₜ follows the noise ε",
    }
    end = ", with x̂₀ clipped to [−1, 1]" if clipped else ""
    return f"This network was trained to predict {said[target]}{end}."


# Where the algorithm and its symbols come from; said under the formula.
SOURCES: dict[str, str] = {
    "ddpm": "DDPM, Ho et al. 2020: Algorithm 2, with the mean of Eq. 7. β = 1 − ᾱₜ/ᾱₛ is the "
    "noise of the whole jump from s to t, α = 1 − β.",
    "ddim": "DDIM, Song et al. 2021, Eq. 12: guess the picture, then go back to the next level "
    "with the same noise.",
    "renoise": "Guess the picture, then noise the guess again, with new noise, to the next level.",
    "dpmpp_2m": "DPM-Solver++ (2M), Lu et al. 2022: a = √ᾱ, b = √(1−ᾱ), "
    "h = ½ (log-SNRₛ − log-SNRₜ), r = h / (2 h of the step before, 0 at first); "
    "x̂₀′ is the guess of the step before.",
    "heun": "Heun's rule on the probability-flow ODE, after Karras et al. 2022: "
    "v = √ᾱ ε − √(1−ᾱ) x̂₀; vₛ is a second network call at the end of the step, "
    "Δ the change of the angle atan(√(1−ᾱ) / √ᾱ).",
}
_DRAWN = (
    "Pure noise: every pixel is drawn on its own, and the seed decides the draw. "
    "The first step comes next."
)


def _mi(text: str) -> str:
    return f"<mi>{text}</mi>"


def _sub(base: str, index: str) -> str:
    return f"<msub>{base}{_mi(index)}</msub>"


def _root(*inside: str) -> str:
    return f"<msqrt>{''.join(inside)}</msqrt>"


def _frac(top: str, bottom: str) -> str:
    return f"<mfrac><mrow>{top}</mrow><mrow>{bottom}</mrow></mfrac>"


def _minus(*parts: str) -> str:
    return "<mo>−</mo>".join(parts)


_ONE, _SIGMA, _BETA = "<mn>1</mn>", _sub(_mi("σ"), "t"), _mi("β")
_X_T, _X_S = _sub(_mi("x"), "t"), _sub(_mi("x"), "s")
_BAR_T, _BAR_S = _sub(_mi("𝛼̄"), "t"), _sub(_mi("𝛼̄"), "s")
_A_S, _REST_T, _REST_S = _root(_BAR_S), _minus(_ONE, _BAR_T), _minus(_ONE, _BAR_S)
_GUESS = "<msub><mi>𝑥̂</mi><mn>0</mn></msub>"
_QUANTITIES = {
    "x_t": _X_T,
    "x0": _GUESS,
    "x0_before": f"<msup><mrow>{_GUESS}</mrow><mo>′</mo></msup>",
    "eps": _mi("ε"),
    "z": _mi("z"),
    "v_t": _sub(_mi("v"), "t"),
    "v_s": _sub(_mi("v"), "s"),
}
_DECAY = "<msup><mi>e</mi><mrow><mo>−</mo><mi>h</mi></mrow></msup>"
_SPAN = f"{_sub(_mi('a'), 's')}<mo>(</mo>{_minus(_ONE, _DECAY)}<mo>)</mo>"
_HALF = _frac("<mi>Δ</mi>", "<mn>2</mn>")
_NORMAL = "<mo>∼</mo><mi>N</mi><mo>(</mo><mn>0</mn><mo>,</mo><mi>I</mi><mo>)</mo>"
# For each kind of step, each quantity's weight in letters; that of x0_before without its minus.
_WEIGHTS = {
    "ddpm": {
        "x0": _frac(_A_S + _BETA, _REST_T),
        "x_t": _frac(f"{_root(_mi('α'))}<mo>(</mo>{_REST_S}<mo>)</mo>", _REST_T),
        "z": _SIGMA,
    },
    "ddim": {"x0": _A_S, "eps": _root(_REST_S)},
    "ddim with noise": {
        "x0": _A_S,
        "eps": _root(_minus(_ONE, _BAR_S, f"<msup><mrow>{_SIGMA}</mrow><mn>2</mn></msup>")),
        "z": _SIGMA,
    },
    "renoise": {"x0": _A_S, "z": _root(_REST_S)},
    "dpmpp_2m": {
        "x_t": _frac(_sub(_mi("b"), "s"), _sub(_mi("b"), "t")),
        "x0": f"{_SPAN}<mo>(</mo>{_ONE}<mo>+</mo>{_mi('r')}<mo>)</mo>",
        "x0_before": f"{_SPAN}{_mi('r')}",
    },
    "heun": {"x_t": "", "v_t": _HALF, "v_s": _HALF, "x0": ""},
}


def number(value: float) -> str:
    """Four decimals, a true minus sign."""
    return f"{value:.4f}".replace("-0.0000", "0.0000").replace("-", "−")


def _math(inside: str) -> str:
    return f"<math>{inside}</math>"


def update(sampler: str, moment: Moment, pixel: str, said: str = "") -> str:
    """The update that made x_s, in letters, with this step's weights, and at one pixel: a table.

    pixel: which pixel the last row is about, for example "middle pixel of seed 7". said: what
    stands under it beside the source.
    """
    if not moment.terms:
        return f"<p>{_math(_sub(_mi('x'), 'T') + _NORMAL)} {_DRAWN}</p>"
    noisy = sampler == "ddim" and moment.sigma_t > 0
    kind = _WEIGHTS["ddim with noise" if noisy else sampler]
    letters, weights, products = [], [], []
    for term in moment.terms:
        name, size = _QUANTITIES[term.quantity], number(abs(term.weight))
        letters.append((term.quantity == "x0_before", _math(kind[term.quantity] + name)))
        weights.append((term.weight < 0, f"{size} {_math(name)}"))
        products.append((term.weight < 0, f"({size} · {number(term.value)})"))
    rows = (
        ("Update", _math(_X_S), letters),
        ("This step", _math(_X_S), weights),
        (pixel, f"<b>{number(moment.pixel)}</b>", products),
    )
    cells = (f"<tr><th>{name}</th>{_sum(left, parts)}</tr>" for name, left, parts in rows)
    table = f'<table class="gd-sum"><tbody>{"".join(cells)}</tbody></table>'
    return f'{table}<p class="note">{SOURCES[sampler]} {said}</p>'


def _sum(left: str, parts: Sequence[tuple[bool, str]]) -> str:
    cells = [f"<td>{left}</td><td>=</td>"]
    for index, (minus, text) in enumerate(parts):
        if index or minus:
            cells.append(f"<td>{'−' if minus else '+'}</td>")
        cells.append(f"<td>{text}</td>")
    return "".join(cells)
