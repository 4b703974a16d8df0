"""D's verdicts as markup: the numbers that stand there, and that names cannot become markup."""

from __future__ import annotations

import base64
import io
import re

import numpy as np
import pytest
from PIL import Image

from gendiff.images import enlarge
from gendiff.studio.adversarial import Mixed, Picked
from gendiff.ui import verdict

PICTURE = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3) * 10


def pixels(url: str) -> np.ndarray:
    head, data = url.split(",")
    assert head == "data:image/png;base64"
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(data))))


def picked(**changes) -> Picked:
    values = {"model": "cats-gan", "picture": PICTURE, "seed": 7, "name": "ankle boot"}
    return Picked(**{**values, "real": 0.831, "z": np.array([3.0, -4.0]), **changes})


@pytest.mark.parametrize(
    ("p", "digits", "text"),
    [
        (0.831, 1, "83.1 %"),
        (0.831, 0, "83 %"),
        (0.0, 1, "0.0 %"),
        (1.0, 1, "100.0 %"),
        (0.0004, 1, "<0.1 %"),
        (0.9996, 1, ">99.9 %"),
        (0.0006, 1, "0.1 %"),
        (0.004, 0, "<1 %"),
        (0.996, 0, ">99 %"),
        (0.5, 0, "50 %"),
    ],
)
def test_percent(p, digits, text):
    assert verdict.percent(p, digits) == text


def test_one_picture_is_lossless_and_named_by_model_seed_and_class():
    html = verdict.one_picture(picked())
    shown, saved = re.search(r'src="(.+?)"', html)[1], re.search(r'href="(.+?)"', html)[1]
    assert np.array_equal(pixels(shown), enlarge(PICTURE, 8))
    assert saved == shown
    assert 'download="cats-gan-seed-7-ankle-boot.png"' in html
    assert "<h3>Seed 7, ankle boot</h3>" in html
    assert re.findall(r"<dt>(.+?)</dt><dd>(.+?)</dd>", html) == [
        ("D: real", "83.1 %"),
        ("D: fake", "16.9 %"),
    ]
    assert "|z| = 5.0, usual is √2 = 1.4" in html


def test_a_picture_without_class():
    html = verdict.one_picture(picked(name=""))
    assert "<h3>Seed 7</h3>" in html
    assert 'download="cats-gan-seed-7.png"' in html


def test_names_cannot_become_markup():
    bad = '"><script>alert(1)</script>'
    one = verdict.one_picture(picked(name=bad, model=bad))
    pictures, real = np.zeros((2, 4, 4, 1), np.uint8), np.array([0.9, 0.1])
    mixed = verdict.mixture(Mixed(pictures, (bad, bad), (None, 3), real, 0.1), bad)
    for html in (one, mixed):
        assert "<script" not in html
        assert "&lt;script&gt;" in html


def test_colours_run_from_blue_over_white_to_orange_and_stay_there():
    got = verdict.colours(np.array([-9, -3, 0, 1.5, 3, 9]))
    assert got.tolist() == [
        [33, 102, 172],
        [33, 102, 172],
        [247, 247, 247],
        [213, 168, 126],  # half way to orange: 247 - 34, 247 - 79.5, 247 - 120.5
        [179, 88, 6],
        [179, 88, 6],
    ]


def test_a_strip_has_one_pixel_a_number():
    z = np.linspace(-2, 2, 100)
    strip = re.findall(r'src="(.+?)"', verdict.one_picture(picked(z=z)))[1]
    assert np.array_equal(pixels(strip), verdict.colours(z)[None])


def test_a_mix_says_what_is_right():
    pictures = np.arange(4 * 16, dtype=np.uint8).reshape(4, 4, 4, 1)
    real = np.array([0.83, 0.9, 0.004, 0.1])
    mixed = Mixed(pictures, ("bag", "bag", "coat", "coat"), (None, 12, None, 8), real, 0.0421)
    html = verdict.mixture(mixed, "CPU, 1 thread, float32, batch 4, NFE 1")
    assert "D is right on 2 of 4: 50&nbsp;%" in html
    assert "A coin scores 1 to 99&nbsp;% on 4 pictures" in html
    assert "D: 4 pictures in 42 ms\n(CPU, 1 thread, float32, batch 4, NFE 1)" in html
    assert re.findall(r"<dd>(.+?)</dd>", html) == ["1 of 2", "1 of 2"]
    tiles = html.split("<li ")[1:]
    plain = [re.sub(r"<[^>]+>|\s+", " ", "<" + tile).split() for tile in tiles]
    assert [" ".join(words) for words in plain] == [
        "real 83 % ✓ D is right: it is real",
        "real 90 % ✗ D is wrong: it is fake seed 12",
        "fake &gt;99 % ✗ D is wrong: it is real",
        "fake 90 % ✓ D is right: it is fake seed 8",
    ]
    for tile, picture in zip(tiles, pictures, strict=True):
        assert np.array_equal(pixels(re.search(r'src="(.+?)"', tile)[1]), picture[..., 0])
    assert 'aria-label="Picture 3, coat: show the truth"' in html


@pytest.mark.parametrize(("count", "few"), [(2, True), (15, True), (16, False)])
def test_a_few_of_a_mix_are_larger(count, few):
    pictures, known = np.zeros((count, 4, 4, 1), np.uint8), ("bag",) * count
    mixed = Mixed(pictures, known, (None, *range(count - 1)), np.full(count, 0.5), 0.1)
    assert ('class="vd-tiles vd-few"' in verdict.mixture(mixed, "CPU")) is few


def test_the_style_sheet_stays_in_its_element():
    css = verdict.style()
    assert css.startswith("<style>") and css.count("</") == 1
    assert css.count("{") == css.count("}") > 10
    assert "http" not in css
