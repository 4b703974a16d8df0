"""The discriminator's verdicts as markup: one picture, large; the mix of real and generated ones.

Names are escaped; every other value is a number of ours. The looks are in verdict.css.
"""

from __future__ import annotations

from html import escape
from pathlib import Path

import numpy as np

from gendiff.images import enlarge
from gendiff.studio.adversarial import Mixed, Picked
from gendiff.ui.api import data_url

FEW = 15  # pictures of a mix that have room to be twice as large
FACTOR = 8  # a saved picture's pixels are blocks of this side
_BLUE, _WHITE, _ORANGE = np.array([[33, 102, 172], [247, 247, 247], [179, 88, 6]], np.float64)


def style() -> str:
    """The style sheet, as an element for the page's head."""
    return f"<style>{Path(__file__).with_suffix('.css').read_text('utf-8')}</style>"


def percent(p: float, digits: int = 1) -> str:
    """0.831 -> "83.1 %"; what only rounding makes 0 or 100 is "<0.1 %" or ">99.9 %"."""
    least = 10.0**-digits
    if 0 < p < least / 200:
        return f"<{least:g} %"
    if 1 - least / 200 < p < 1:
        return f">{100 - least:g} %"
    return f"{100 * p:.{digits}f} %"


def one_picture(one: Picked) -> str:
    """Large, with its seed, class, D's two probabilities, z, and a link that saves it."""
    title = f"Seed {one.seed}" + (f", {escape(one.name)}" if one.name else "")
    url = data_url(enlarge(one.picture, FACTOR))
    height, width = (FACTOR * side for side in one.picture.shape[:2])
    words = [one.model.replace("/", "-"), f"seed-{one.seed}", *one.name.split()]
    odds = f"<p>No verdict of D. {escape(one.no_verdict)}</p>"
    if not np.isnan(one.real):
        odds = "".join(
            f'<div class="vd-{word}"><dt>D: {word}</dt><dd>{escape(percent(p))}</dd>{_bar(p)}'
            "</div>"
            for word, p in (("real", one.real), ("fake", 1 - one.real))
        )
        odds = f'<dl class="vd-odds">{odds}</dl>'
    return f"""<section class="vd-one" aria-live="polite" aria-label="The picked picture">
<img class="vd-large" src="{url}" alt="{title}, enlarged">
<div class="vd-title"><h3>{title}</h3>
<a class="vd-save" href="{url}" download="{escape("-".join(words), quote=True)}.png"
title="{width} × {height} pixels">Save PNG</a></div>
{odds}
{_strip(one.z)}
</section>"""


def mixture(mixed: Mixed, conditions: str) -> str:
    """The mix, D's verdict under each picture, its accuracy; a switch, or a press, the truth."""
    tiles = "".join(_tile(mixed, index) for index in range(len(mixed.pictures)))
    few = len(mixed.pictures) <= FEW
    kind = "vd-tiles vd-few" if few else "vd-tiles"
    return f"""<section class="vd-mix">{_score(mixed, conditions)}
<ol class="{kind}" aria-label="{len(mixed.pictures)} pictures, mixed">{tiles}</ol></section>"""


def _score(mixed: Mixed, conditions: str) -> str:
    count, right = len(mixed.pictures), int(mixed.right.sum())
    is_real = np.array([seed is None for seed in mixed.seeds])
    real, fake = (int(mixed.right[kind].sum()) for kind in (is_real, ~is_real))
    low, high = (f"{100 * edge:.0f}" for edge in mixed.chance)
    score = f"{100 * mixed.accuracy:.0f}&nbsp;%"
    return f"""<div class="vd-score">
<h3>D is right on {right} of {count}: {score}</h3>
<div class="vd-gauge">{_bar(mixed.accuracy)}<i>50 %: guessing</i></div>
<dl class="vd-facts">
<div><dt>Real, taken as real</dt><dd>{real} of {is_real.sum()}</dd></div>
<div><dt>Generated, caught</dt><dd>{fake} of {count - is_real.sum()}</dd></div>
</dl>
<p>At 50 % D could only guess: G's pictures would be as good as real to it, which is where training
aims. A coin scores {low} to {high}&nbsp;% on {count} pictures (95 times in 100).</p>
<label class="vd-switch"><input type="checkbox" role="switch" class="vd-reveal"><i></i>
Show what is real</label>
<p class="vd-small">Or press a picture, or point at it. Under each: D's verdict, and how sure it
is. No network was trained on these real ones. D: {count} pictures in {1e3 * mixed.seconds:.0f} ms
({escape(conditions)}).</p>
</div>"""


def _tile(mixed: Mixed, index: int) -> str:
    real, seed, right = float(mixed.real[index]), mixed.seeds[index], mixed.right[index]
    word, p = ("real", real) if real >= 0.5 else ("fake", 1 - real)
    truth = "real" if seed is None else f"fake <small>seed {seed}</small>"
    sign, spoken = ("✓", "D is right") if right else ("✗", "D is wrong")
    name = f", {escape(mixed.names[index])}" if mixed.names[index] else ""
    return f"""<li class="{"vd-right" if right else "vd-wrong"}"><label>
<input type="checkbox" aria-label="Picture {index + 1}{name}: show the truth">
<img src="{data_url(mixed.pictures[index])}" alt="">
<span class="vd-said">{word} {escape(percent(p, 0))}</span>
<span class="vd-truth"><b aria-hidden="true">{sign}</b>
<span class="vd-spoken">{spoken}: it is</span> {truth}</span></label></li>"""


def _bar(p: float) -> str:
    return f'<span class="vd-bar" aria-hidden="true"><b style="width:{100 * p:.2f}%"></b></span>'


def colours(z: np.ndarray) -> np.ndarray:
    """Numbers (Z,) -> RGB (Z, 3) uint8: -3 blue, 0 white, 3 orange, safe for the colour-blind."""
    at = np.clip(np.asarray(z, np.float64) / 3, -1, 1)[:, None]
    ends = np.where(at < 0, _BLUE, _ORANGE)
    return (_WHITE + np.abs(at) * (ends - _WHITE)).round().astype(np.uint8)


def _strip(z: np.ndarray) -> str:
    """z as a strip of colours, its scale, and its length beside that of most draws, sqrt(Z)."""
    size, length = len(z), float(np.linalg.norm(z))
    ends = f"{z.min():.2f} to {z.max():.2f}".replace("-", "−")
    return f"""<p class="vd-scale">z, {size} numbers <span aria-hidden="true">−3<i></i>3</span></p>
<img class="vd-z" src="{data_url(colours(z)[None])}" alt="z as colours, from {ends}">
<p class="vd-small">|z| = {length:.1f}, usual is √{size} = {size**0.5:.1f}</p>"""
