"""Every picture that may come in: from the shelf, from a person's disk, from a person's hand."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from PIL import Image

from gendiff.errors import GendiffError
from gendiff.images import from_uint8, to_uint8
from gendiff.studio import Real, pictures

GREY, RGB = (1, 8, 8), (3, 8, 8)


def picture(shape, seed=0):
    channels, height, width = shape
    draw = np.random.default_rng(seed)
    return from_uint8(draw.integers(0, 256, (1, height, width, channels), dtype=np.uint8))


def test_the_shelf_has_one_of_each_class_first():
    labels = np.array([2, 2, 0, 1, 0, 1])
    real = Real(np.zeros((6, 4, 4, 1), np.uint8), labels)
    assert pictures.shelf(real, 5) == [2, 3, 0, 1, 4]
    assert pictures.shelf(real) == [2, 3, 0, 1, 4, 5]


@pytest.mark.parametrize("index", [-1, 6, 0.5, None])
def test_a_number_without_a_picture_is_refused(index):
    real = Real(np.arange(6, dtype=np.uint8).reshape(6, 1, 1, 1), np.zeros(6))
    assert pictures.bundled(real, 5.0)[0, 0, 0] == 5
    with pytest.raises(GendiffError, match="numbered 0 to 5"):
        pictures.bundled(real, index)


@pytest.mark.parametrize("shape", [GREY, RGB])
def test_a_drawing_arrives_as_it_was_packed(shape):
    x0 = picture(shape)
    text = pictures.packed(to_uint8(x0)[0])
    assert torch.equal(pictures.drawn({"pixels": text}, shape), x0)


@pytest.mark.parametrize(
    "sent",
    [
        None,
        "text",
        [],
        {},
        {"pixels": None},
        {"pixels": 7},
        {"pixels": ""},
        {"pixels": "AAAA"},
        {"pixels": "A" * 10**6},
        {"pixels": "?" * 88},
        {"pixels": "é" * 88},
    ],
)
def test_what_is_no_drawing_is_refused(sent):
    with pytest.raises(GendiffError):
        pictures.drawn(sent, GREY)


def encoded(image, form, **options):
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def rotated():
    """Lies on its side; EXIF says so: upright, its left half is white."""
    image = Image.new("L", (8, 8))
    image.paste(255, (0, 4, 8, 8))
    exif = Image.Exif()
    exif[0x0112] = 6
    return encoded(image, "JPEG", exif=exif, quality=100)


def half_transparent():
    image = Image.new("RGBA", (8, 8), (0, 0, 0, 0))
    image.paste((0, 0, 0, 255), (4, 0, 8, 8))
    return encoded(image, "PNG")


def halves(left, right, mode="L", size=8):
    image = Image.new(mode, (size, size), right)
    image.paste(left, (0, 0, size // 2, size))
    return image


@pytest.mark.parametrize(
    ("data", "left", "right"),
    [
        (rotated(), 255, 0),
        (half_transparent(), 255, 0),
        (encoded(halves((0, 0, 0, 0), (0, 0, 0, 255), "CMYK"), "JPEG", quality=100), 255, 0),
        (encoded(Image.fromarray(np.full((8, 8), 65535, np.uint16)), "PNG"), 255, 255),
        (encoded(Image.new("RGB", (1, 1), (255, 255, 255)), "PNG"), 255, 255),
        (
            encoded(
                halves(255, 0), "GIF", save_all=True, append_images=[Image.new("L", (8, 8), 128)]
            ),
            255,
            0,
        ),
        (encoded(halves(1, 0, "1"), "PNG"), 255, 0),
    ],
    ids=["exif", "alpha", "cmyk", "16-bit", "1x1", "animated", "bilevel"],
)
@pytest.mark.parametrize("shape", [GREY, RGB])
def test_odd_uploads_become_the_picture_that_one_sees(data, left, right, shape):
    seen = pictures.uploaded(data, shape).astype(int)
    assert seen.shape == (*shape[1:], shape[0])
    assert np.abs(seen[:, :3] - left).max() <= 8
    assert np.abs(seen[:, 5:] - right).max() <= 8


@pytest.mark.parametrize(
    "data",
    [
        None,
        b"",
        b"no picture",
        encoded(Image.effect_noise((64, 64), 50), "PNG")[:900],
        encoded(Image.new("1", (20_000, 20_000)), "PNG"),
    ],
    ids=["none", "empty", "text", "truncated", "20000x20000"],
)
def test_what_is_no_picture_is_refused_in_one_sentence(data):
    with pytest.raises(GendiffError) as refused:
        pictures.uploaded(data, RGB)
    assert str(refused.value).endswith(".")
    assert "\n" not in str(refused.value)
