"""The samplers as a student reads them: pseudo-code, and a step's update with its numbers in it."""

from __future__ import annotations

from collections.abc import Sequence

from gendiff.studio.denoising import Moment

_LOOP = (
    "x_T ~ N(0, I)",
    "for each level t, next level s:",
    "  ε = network(xₜ, t)",
    "  x̂₀ = (xₜ − √(1−ᾱₜ) ε) / √ᾱₜ",
)
_RETURN = "return x₀"
DRAW, UPDATE = 0, 4  # the lines of ALGORITHMS that draw x_T, and that make x_s

ALGORITHMS: dict[str, tuple[str, ...]] = {
    "ddpm": (*_LOOP, "  xₛ = w₀ x̂₀ + wₜ xₜ + σₜ z", _RETURN),
    "ddim": (*_LOOP, "  xₛ = √ᾱₛ x̂₀ + √(1−ᾱₛ−σₜ²) ε + σₜ z", _RETURN),
    "renoise": (*_LOOP, "  xₛ = √ᾱₛ x̂₀ + √(1−ᾱₛ) z", _RETURN),
    "dpmpp_2m": (*_LOOP, "  xₛ = wₜ xₜ + w₀ x̂₀ − w₀′ x̂₀′", _RETURN),
    "heun": (*_LOOP, "  xₛ = xₜ + Δ/2 (vₜ + vₛ)", _RETURN),
}
# Where the algorithm and its symbols come from; said under the formula.
SOURCES: dict[str, str] = {
    "ddpm": "DDPM, Ho et al. 2020, Algorithm 2 with the mean of Eq. 7; β = 1 − ᾱ_t/ᾱ_s is the noise of the "
    "whole jump from s to t, and α = 1 − β.",
    "ddim": "DDIM, Song et al. 2021, Eq. 12: guess the picture, then go back to the next level with the same noise.",
    "renoise": "Guess the picture, then noise the guess again, with new noise, to the next lower level.",
    "dpmpp_2m": "DPM-Solver++ (2M), Lu et al. 2022: a = √ᾱ, b = √(1−ᾱ), h = ½ (log-SNR_s − log-SNR_t), "
    "r = h / (2 h of the step before); x̂₀′ is the guess of the step before.",
    "heun": "Heun's rule on the probability-flow ODE, after Karras et al. 2022: v = √ᾱ ε − √(1−ᾱ) x̂₀; v_s is a second "
    "network call at the end of the step, Δ the change of the angle atan(√(1−ᾱ) / √ᾱ).",
}


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
_SPAN = f"{_sub(_mi('a'), 's')}<mo>(</mo>{_minus(_ONE, '<msup><mi>e</mi><mrow><mo>−</mo><mi>h</mi></mrow></msup>')}<mo>)</mo>"
_HALF = _frac("<mi>Δ</mi>", "<mn>2</mn>")
# (sampler, quantity) -> its weight in letters. The sign of x0_before's weight is the minus between the terms.
_WEIGHTS = {
    ("ddpm", "x0"): _frac(_A_S + _BETA, _REST_T),
    ("ddpm", "x_t"): _frac(
        _root(_mi("α")) + "<mo>(</mo>" + _REST_S + "<mo>)</mo>",
        _REST_T,
    ),
    ("ddpm", "z"): _SIGMA,
    ("ddim", "x0"): _A_S,
    ("ddim", "eps"): _root(_REST_S),
    ("ddim with noise", "eps"): _root(
        _minus(_ONE, _BAR_S, f"<msup><mrow>{_SIGMA}</mrow><mn>2</mn></msup>")
    ),
    ("ddim", "z"): _SIGMA,
    ("renoise", "x0"): _A_S,
    ("renoise", "z"): _root(_REST_S),
    ("dpmpp_2m", "x_t"): _frac(_sub(_mi("b"), "s"), _sub(_mi("b"), "t")),
    ("dpmpp_2m", "x0"): f"{_SPAN}<mo>(</mo>{_ONE}<mo>+</mo>{_mi('r')}<mo>)</mo>",
    ("dpmpp_2m", "x0_before"): f"{_SPAN}{_mi('r')}",
    ("heun", "v_t"): _HALF,
    ("heun", "v_s"): _HALF,
}


def number(value: float) -> str:
    """Four decimals, a true minus sign."""
    return f"{value:.4f}".replace("-0.0000", "0.0000").replace("-", "−")


def _math(inside: str) -> str:
    return f"<math>{inside}</math>"


def update(sampler: str, moment: Moment, pixel: str) -> str:
    """The update that made x_s, in letters, with this step's weights, and at one pixel: a table.

    pixel: which pixel the last row is about, for example "middle pixel of seed 7".
    """
    if not moment.terms:
        return (
            f"<p>{_math(_sub(_mi('x'), 'T') + '<mo>∼</mo><mi>N</mi><mo>(</mo><mn>0</mn><mo>,</mo><mi>I</mi><mo>)</mo>')} "
            "Pure noise: every pixel is drawn on its own, and the seed decides the draw. The next frame "
            "is the first step.</p>"
        )
    kind = sampler
    if sampler == "ddim" and moment.sigma_t > 0:
        kind = "ddim with noise"
    letters, weights, products = [], [], []
    for term in moment.terms:
        name = _QUANTITIES[term.quantity]
        minus = term.quantity == "x0_before"
        letters.append(
            (
                minus,
                _math(
                    _WEIGHTS.get((kind, term.quantity), _WEIGHTS.get((sampler, term.quantity), ""))
                    + name
                ),
            )
        )
        weights.append((term.weight < 0, f"{number(abs(term.weight))} {_math(name)}"))
        sign = "−" if term.weight < 0 else ""
        products.append((False, f"({sign}{number(abs(term.weight))} · {number(term.value)})"))
    left = _math(_X_S)
    rows = (
        ("Update", left, letters),
        ("This step", left, weights),
        (pixel, f"<b>{number(moment.pixel)}</b>", products),
    )
    body = "".join(
        f"<tr><th>{name}</th>{_sum(result, parts)}</tr>" for name, result, parts in rows
    )
    return f'<table class="gd-sum"><tbody>{body}</tbody></table><p class="note">{SOURCES[sampler]}</p>'


def _sum(result: str, parts: Sequence[tuple[bool, str]]) -> str:
    cells = [f"<td>{result}</td><td>=</td>"]
    for index, (minus, text) in enumerate(parts):
        if index or minus:
            cells.append(f"<td>{'−' if minus else '+'}</td>")
        cells.append(f"<td>{text}</td>")
    return "".join(cells)
