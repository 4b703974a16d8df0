"""Pictures in and out: exact where the format is, and one sentence for whatever is no picture."""

from __future__ import annotations

import io
import struct
import time
import zlib

import numpy as np
import pytest
import torch
from PIL import Image, ImageFile

from gendiff import images
from gendiff.errors import GendiffError
from gendiff.images import (
    encode,
    enlarge,
    from_uint8,
    open_picture,
    tile,
    to_pil,
    to_uint8,
    untile,
)

RANDOM = np.random.default_rng(0)


def noise(*shape):
    return RANDOM.integers(0, 256, shape, dtype=np.uint8)


def file(picture, form="PNG", **options):
    """The bytes of a numpy or PIL picture."""
    image = picture if isinstance(picture, Image.Image) else Image.fromarray(picture)
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def opened(data, shape=(3, 32, 32)):
    """What an upload becomes, as (H, W, C) uint8."""
    x = open_picture(data, shape)
    assert x.shape == (1, *shape) and x.dtype == torch.float32
    assert float(x.abs().max()) <= 1
    return to_uint8(x)[0]


def assert_near(picture, expected, levels):
    assert picture.shape == np.broadcast_to(expected, picture.shape).shape
    assert int(np.abs(picture.astype(int) - np.asarray(expected, int)).max()) <= levels


# Tensors and arrays


def test_every_grey_level_survives(device):
    pixels = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1).repeat(3, axis=3)
    x = from_uint8(pixels).to(device)
    assert x.shape == (1, 3, 16, 16) and float(x.min()) == -1 and float(x.max()) == 1
    assert np.array_equal(to_uint8(x), pixels)
    assert np.array_equal(to_uint8(x.requires_grad_()), pixels)


def test_half_precision_is_off_by_a_level_at_most():
    pixels = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1)
    assert_near(to_uint8(from_uint8(pixels).bfloat16()), pixels, 1)


def test_what_is_outside_is_cut_off_and_the_rest_rounded():
    x = torch.tensor([-9.0, -1.001, -1.0, -0.997, -0.995, 0.0, 0.999, 1.0, 5.0])
    expected = [0, 0, 0, 0, 1, 128, 255, 255, 255]
    assert to_uint8(x.reshape(1, 1, 1, 9)).flatten().tolist() == expected


def test_channels_move_and_pixels_stay():
    pixels = noise(2, 4, 6, 3)
    x = from_uint8(pixels)
    assert x.shape == (2, 3, 4, 6)
    for n, h, w, c in [(0, 0, 0, 0), (1, 3, 5, 2), (1, 2, 4, 1)]:
        assert float(x[n, c, h, w]) == pytest.approx(pixels[n, h, w, c] / 127.5 - 1)
    read_only = np.asarray(Image.fromarray(pixels[0]))[None]
    assert torch.equal(from_uint8(read_only), x[:1])


# Sheets


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(("count", "columns"), [(6, 3), (6, 2), (1, 1), (4, None), (9, None)])
def test_untile_takes_a_sheet_apart(channels, count, columns):
    pictures = noise(count, 8, 8, channels)
    sheet = tile(pictures, columns)
    width = 8 * (columns or round(count**0.5))
    assert sheet.shape == (count * 64 // width, width, channels)
    assert np.array_equal(untile(sheet, 8), pictures)


def test_tiles_go_row_by_row_with_white_gaps():
    pictures = (
        np.zeros((5, 4, 6, 1), np.uint8) + np.arange(1, 6, dtype=np.uint8)[:, None, None, None]
    )
    sheet = tile(pictures, columns=3, gap=2)[..., 0]
    assert sheet.shape == (2 * 4 + 2, 3 * 6 + 2 * 2)
    assert (sheet[:4, :6] == 1).all() and (sheet[:4, 16:22] == 3).all()
    assert (sheet[6:, 8:14] == 5).all()
    covered = np.isin(sheet, [1, 2, 3, 4, 5])
    assert (sheet[~covered] == 255).all() and int(covered.sum()) == 5 * 24


def test_enlarge_repeats_pixels():
    picture = noise(2, 3, 1)
    large = enlarge(picture, 4)
    assert large.shape == (8, 12, 1)
    assert np.array_equal(large[::4, ::4], picture) and np.array_equal(large[3::4, 3::4], picture)
    assert enlarge(noise(5, 2, 3, 3), 2).shape == (5, 4, 6, 3)


def test_to_pil_knows_grey_and_colour():
    grey, colour = noise(4, 5, 1), noise(4, 5, 3)
    assert to_pil(grey).mode == "L" and to_pil(colour).mode == "RGB"
    assert np.array_equal(np.asarray(to_pil(grey)), grey[..., 0])
    assert np.array_equal(np.asarray(to_pil(colour)), colour)


# Uploads that are pictures


@pytest.mark.parametrize("form", ["PNG", "BMP", "WEBP"])
def test_a_picture_of_the_right_size_comes_in_exactly(form):
    pixels = noise(32, 32, 3)
    data = file(pixels, form, **({"lossless": True} if form == "WEBP" else {}))
    assert np.array_equal(opened(data), pixels)


def test_grey_becomes_colour_and_colour_grey():
    grey, colour = noise(32, 32), noise(32, 32, 3)
    assert np.array_equal(opened(file(grey)), grey[..., None].repeat(3, axis=2))
    assert np.array_equal(opened(file(grey), (1, 32, 32))[..., 0], grey)
    luma = (colour * [0.299, 0.587, 0.114]).sum(2, keepdims=True)  # ITU-R BT.601
    assert_near(opened(file(colour), (1, 32, 32)), luma.round(), 1)


@pytest.mark.parametrize("tall", [False, True])
def test_the_middle_is_kept(tall):
    pixels = np.concatenate([np.zeros((32, 16, 3)), noise(32, 32, 3), np.zeros((32, 16, 3))], 1)
    pixels = pixels.astype(np.uint8)
    picture = opened(file(pixels.transpose(1, 0, 2) if tall else pixels))
    middle = pixels[:, 16:48]
    assert np.array_equal(picture, middle.transpose(1, 0, 2) if tall else middle)


@pytest.mark.parametrize("size", [(1, 1), (1, 300), (300, 1), (5, 7), (1024, 768)])
def test_any_size_is_fitted(size):
    for form in ("PNG", "JPEG"):
        flat = np.full((*size, 3), (200, 100, 50), np.uint8)
        assert_near(opened(file(flat, form)), [200, 100, 50], 3)


def test_a_large_jpeg_is_shrunk_as_a_large_png():
    step = np.linspace(0, 255, 640).astype(np.uint8)
    ramp = np.broadcast_to(step[None, :, None], (640, 640, 3))
    assert_near(opened(file(ramp, "JPEG", quality=95)), opened(file(ramp)), 3)


UPRIGHT = {  # EXIF orientation -> what shows the stored pixels upright
    1: lambda p: p,
    2: np.fliplr,
    3: lambda p: np.rot90(p, 2),
    4: np.flipud,
    5: lambda p: p.transpose(1, 0, 2),
    6: lambda p: np.rot90(p, -1),
    7: lambda p: np.rot90(p.transpose(1, 0, 2), 2),
    8: np.rot90,
}


@pytest.mark.parametrize("orientation", UPRIGHT)
def test_pictures_are_turned_upright(orientation):
    exif, pixels = Image.Exif(), noise(32, 32, 3)
    exif[0x0112] = orientation
    assert np.array_equal(opened(file(pixels, exif=exif)), UPRIGHT[orientation](pixels))
    blocks = enlarge(noise(4, 4, 3), 8)
    picture = opened(file(blocks, "JPEG", exif=exif, quality=100, subsampling=0))
    assert_near(picture, UPRIGHT[orientation](blocks), 12)


@pytest.mark.parametrize("form", ["GIF", "WEBP", "PNG"])
def test_of_an_animation_the_first_frame_is_taken(form):
    frames = [Image.new("RGB", (32, 32), c) for c in ("red", "lime", "blue")]
    options = {"lossless": True} if form == "WEBP" else {}
    data = file(frames[0], form, save_all=True, append_images=frames[1:], **options)
    assert Image.open(io.BytesIO(data)).n_frames == 3
    assert_near(opened(data), [255, 0, 0], 0)


def test_cmyk_becomes_colour():
    for ink, colour in (((0, 255, 255, 0), (255, 0, 0)), ((0, 0, 0, 255), (0, 0, 0))):
        data = file(Image.new("CMYK", (40, 40), ink), "JPEG", quality=95)
        assert Image.open(io.BytesIO(data)).mode == "CMYK"
        assert_near(opened(data), colour, 4)


def test_16_bit_keeps_its_range():
    ramp = np.linspace(0, 65535, 32 * 32).astype(np.uint16).reshape(32, 32)
    assert np.array_equal(opened(file(ramp), (1, 32, 32))[..., 0], ramp >> 8)
    dark = np.full((32, 32), 200, np.uint16)  # nearly black, not nearly white
    assert_near(opened(file(dark)), 0, 0)


def test_transparency_is_put_on_white():
    pixels = noise(32, 32, 4)
    alpha = pixels[..., 3:] / 255
    expected = (pixels[..., :3] * alpha + 255 * (1 - alpha)).round()
    assert_near(opened(file(pixels)), expected, 1)
    grey = Image.merge("LA", [Image.new("L", (32, 32), 0), Image.new("L", (32, 32), 51)])
    assert_near(opened(file(grey), (1, 32, 32)), 204, 1)


def test_transparent_palettes_are_put_on_white():
    indices = noise(32, 32) % 3
    image = Image.fromarray(indices, "P")
    image.putpalette([10, 20, 30, 200, 0, 0, 0, 0, 200])
    colours = np.array([[10, 20, 30], [200, 0, 0], [0, 0, 200]])
    assert np.array_equal(opened(file(image)), colours[indices])
    colours[1] = 255
    for data in (file(image, transparency=1), file(image, "GIF", transparency=1)):
        assert np.array_equal(opened(data), colours[indices])


def test_transparent_pixels_do_not_bleed_when_a_picture_is_shrunk():
    pixels = np.zeros((64, 64, 4), np.uint8)
    pixels[:, 32:] = (255, 0, 0, 255)  # left: transparent black
    left, right = opened(file(pixels))[:, [13, 18]].transpose(1, 0, 2)
    assert_near(left, [255, 255, 255], 2)
    assert_near(right, [255, 0, 0], 2)


def test_black_and_white_bitmaps():
    pixels = noise(32, 32) > 127
    assert np.array_equal(opened(file(pixels), (1, 32, 32))[..., 0], pixels * np.uint8(255))


# Uploads that are none


SVG = b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><rect/></svg>'
EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n%%EOF\n"


@pytest.mark.parametrize(
    "data",
    [
        b"hello, I am a text file",
        b"\0" * 5000,
        SVG,
        EPS,
        b"\x89PNG\r\n\x1a\n",
        b"\xff\xd8\xff",
        b"G",
    ],
    ids=["text", "zeros", "svg", "eps", "png-start", "jpeg-start", "one-byte"],
)
def test_what_is_no_picture_is_refused(data):
    with pytest.raises(GendiffError, match=r"not a picture that can be read|damaged"):
        open_picture(data, (3, 32, 32))


def test_formats_that_run_programs_are_not_even_tried():
    """Pillow hands EPS to Ghostscript; TIFF, PSD and others are just more code to attack."""
    for form in ("TIFF", "EPS", "PPM", "ICO", "TGA"):
        with pytest.raises(GendiffError, match="try PNG or JPEG"):
            open_picture(file(noise(32, 32, 3), form), (3, 32, 32))


def test_an_empty_file_is_refused():
    with pytest.raises(GendiffError, match="The file is empty"):
        open_picture(b"", (3, 32, 32))


@pytest.mark.parametrize("form", ["PNG", "JPEG", "GIF", "WEBP", "BMP"])
def test_truncated_pictures_are_refused(form):
    data = file(noise(64, 64, 3), form)
    for part in (0.1, 0.5, 0.9):
        with pytest.raises(GendiffError, match="damaged|not a picture"):
            open_picture(data[: int(len(data) * part)], (3, 32, 32))


def test_a_png_with_one_wrong_byte_is_refused_even_where_it_can_be_decoded():
    rows = np.arange(120, dtype=np.uint8)[:, None, None].repeat(80, 1).repeat(3, 2)
    data = file(rows)
    first, last = data.index(b"IDAT") + 4, data.index(b"IEND") - 8
    assert open_picture(data, (3, 32, 32)).shape == (1, 3, 32, 32)
    for place in range(first, last):
        damaged = bytearray(data)
        damaged[place] ^= 1
        with pytest.raises(GendiffError, match="damaged"):
            open_picture(bytes(damaged), (3, 32, 32))


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
def test_damaged_bytes_are_refused_or_survived():
    """Hundreds of files with a few bytes changed: a picture or one sentence, nothing else."""
    exif = Image.Exif()
    exif[0x0112], exif[0x010E] = 6, "a" * 40
    grey = RANDOM.integers(0, 65536, (16, 16), dtype=np.uint16)
    files = [
        *(file(noise(20, 20, 3), form) for form in ("PNG", "GIF", "WEBP", "BMP")),
        file(noise(20, 20, 3), "JPEG", exif=exif),
        file(noise(20, 20, 4), exif=exif),
        file(grey),
    ]
    outcomes = set()
    for data in files:
        for _ in range(40):
            damaged = bytearray(data)
            for place in RANDOM.integers(0, min(len(data), 200), 3):
                damaged[place] = RANDOM.integers(0, 256)
            try:
                opened(bytes(damaged))
                outcomes.add("picture")
            except GendiffError as error:
                outcomes.add(type(error))
                assert str(error).endswith(".")
    assert outcomes == {"picture", GendiffError}


def bomb(width, height, rows=None):
    """A black 1-bit PNG that says it has that size, a few kilobytes long."""

    def chunk(name, data):
        return (
            struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        )

    pack, row = zlib.compressobj(9), bytes(1 + (width + 7) // 8)
    body = b"".join(pack.compress(row) for _ in range(rows or height))
    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    start = b"\x89PNG\r\n\x1a\n"
    return (
        start + chunk(b"IHDR", header) + chunk(b"IDAT", body + pack.flush()) + chunk(b"IEND", b"")
    )


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize(
    ("size", "rows"),
    [((20_000, 20_000), None), ((10_000, 10_000), 1), ((7_072, 7_072), 1), ((1, 60_000_000), 1)],
)
def test_bombs_are_refused_before_they_are_decoded(size, rows, monkeypatch):
    data = bomb(*size, rows)
    assert len(data) < 200_000

    def load(_):
        raise AssertionError("decoded")

    monkeypatch.setattr(ImageFile.ImageFile, "load", load)
    start = time.perf_counter()
    with pytest.raises(GendiffError, match="more than 50 million pixels"):
        open_picture(data, (3, 32, 32))
    assert time.perf_counter() - start < 0.5


def test_the_limit_is_the_limit(monkeypatch):
    monkeypatch.setattr(images, "PIXELS_MAX", 100)
    opened(bomb(10, 10))
    with pytest.raises(GendiffError, match="million pixels"):
        open_picture(bomb(10, 11), (3, 32, 32))


# Exports


def frames_of(data):
    """All frames (N, H, W, 3), their durations in ms, and whether it loops."""
    with Image.open(io.BytesIO(data)) as image:
        pictures, durations = [], []
        for index in range(image.n_frames):
            image.seek(index)
            pictures.append(np.asarray(image.convert("RGB")))
            durations.append(image.info.get("duration"))
        return np.stack(pictures), durations, image.info.get("loop") == 0


def wide(frames):
    return np.stack(frames) if frames[0].shape[-1] == 3 else np.stack(frames).repeat(3, axis=3)


@pytest.mark.parametrize("channels", [1, 3])
def test_webp_is_lossless(channels):
    frames = list(noise(5, 17, 23, channels))
    pictures, durations, loops = frames_of(encode(frames, "webp", fps=20, hold=3))
    assert np.array_equal(pictures, wide(frames))
    assert durations == [50] * 4 + [200] and loops


def test_a_grey_gif_is_lossless():
    frames = list(noise(5, 17, 23, 1))
    pictures, durations, loops = frames_of(encode(iter(frames), "gif", fps=20, hold=3))
    assert np.array_equal(pictures, wide(frames))
    assert durations == [50] * 4 + [200] and loops


def test_a_colour_gif_is_lossless_with_few_colours():
    palette = noise(200, 3)
    frames = [palette[RANDOM.integers(0, 200, (16, 16))] for _ in range(3)]
    pictures, _, _ = frames_of(encode(frames, "gif"))
    assert np.array_equal(pictures, np.stack(frames))


@pytest.mark.parametrize("channels", [1, 3])
def test_the_png_strip_holds_every_frame(channels):
    frames = list(noise(13, 8, 9, channels))
    with Image.open(io.BytesIO(encode(frames, "png"))) as image:
        sheet = np.asarray(image.convert("RGB"))
    assert np.array_equal(sheet, tile(wide(frames), columns=10, gap=2))


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [(32, 32), (33, 31)])
def test_mp4_shows_every_frame(channels, size):
    av = pytest.importorskip("av", reason="NO av, MP4 NOT TESTED")
    ramp = np.add.outer(np.arange(size[0]), np.arange(size[1]))[..., None] + np.zeros(channels)
    frames = [(ramp + 20 * k).astype(np.uint8) for k in range(6)]
    with av.open(io.BytesIO(encode(frames, "mp4", fps=12, hold=4))) as container:
        stream = container.streams.video[0]
        assert float(stream.average_rate) == 12
        shown = [frame.to_ndarray(format="rgb24") for frame in container.decode(stream)]
    assert len(shown) == 6 + 4
    for picture, frame in zip(shown, wide([*frames, *[frames[-1]] * 4]), strict=True):
        assert picture.shape == (size[0] + size[0] % 2, size[1] + size[1] % 2, 3)
        inside = picture[: size[0], : size[1]].astype(int)
        assert np.abs(inside - frame).mean() < 3  # H.264 with half the colour resolution
        assert np.abs(inside - frame)[4:-4, 4:-4].max() < 12


@pytest.mark.parametrize("form", images.FORMATS)
def test_one_frame_is_enough(form):
    if form == "mp4":
        pytest.importorskip("av", reason="NO av, MP4 NOT TESTED")
    assert len(encode([noise(8, 8, 3)], form)) > 50


def test_bad_exports_are_refused():
    with pytest.raises(GendiffError, match="nothing to export"):
        encode([], "gif")
    with pytest.raises(GendiffError, match="gif, webp, mp4, png"):
        encode([noise(8, 8, 1)], "avi")
    for fps in (0, -1, 1000, float("nan")):
        with pytest.raises(GendiffError, match="frames a second"):
            encode([noise(8, 8, 1)], "gif", fps=fps)
