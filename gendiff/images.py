"""Tensors <-> pictures. Only here pixel ranges are known: [-1, 1] in tensors, 0..255 in files.

Arrays of pictures are (N, H, W, C) uint8, C = 1 or 3.
"""

from __future__ import annotations

import io
import math
import struct
from collections.abc import Iterable
from fractions import Fraction

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from gendiff.errors import GendiffError

PIXELS_MAX = 50_000_000  # an upload beyond this is refused before it is decoded
FORMATS = ("gif", "webp", "mp4", "png")
# What an upload may be. Pillow knows more, and would run Ghostscript on what a stranger sent.
_UPLOADS = ("PNG", "JPEG", "WEBP", "GIF", "BMP")


def to_uint8(x: Tensor) -> np.ndarray:
    """(B, C, H, W) in [-1, 1], what is outside is cut off -> (B, H, W, C) uint8."""
    pixels = ((x.detach().float() + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)
    return pixels.permute(0, 2, 3, 1).contiguous().cpu().numpy()


def from_uint8(pixels: np.ndarray) -> Tensor:
    """(B, H, W, C) uint8 -> (B, C, H, W) float32 in [-1, 1]."""
    return torch.from_numpy(np.array(pixels)).permute(0, 3, 1, 2).float() / 127.5 - 1


def tile(pictures: np.ndarray, columns: int | None = None, gap: int = 0) -> np.ndarray:
    """(N, H, W, C) -> one picture (rows H, columns W, C), row by row, near-square by default.

    Gaps, and places that no picture fills, are white.
    """
    count, height, width, channels = pictures.shape
    columns = columns or math.ceil(math.sqrt(count))
    rows = math.ceil(count / columns)
    sheet = np.full(
        (rows * (height + gap) - gap, columns * (width + gap) - gap, channels), 255, np.uint8
    )
    for index, picture in enumerate(pictures):
        top, left = (index // columns) * (height + gap), (index % columns) * (width + gap)
        sheet[top : top + height, left : left + width] = picture
    return sheet


def untile(sheet: np.ndarray, size: int) -> np.ndarray:
    """A gapless sheet (rows size, columns size, C) -> (N, size, size, C), row by row."""
    rows, columns = sheet.shape[0] // size, sheet.shape[1] // size
    cut = sheet[: rows * size, : columns * size].reshape(rows, size, columns, size, -1)
    return cut.transpose(0, 2, 1, 3, 4).reshape(rows * columns, size, size, -1)


def enlarge(picture: np.ndarray, factor: int) -> np.ndarray:
    """(..., H, W, C) with every pixel as a factor x factor block."""
    return picture.repeat(factor, axis=-3).repeat(factor, axis=-2)


def to_pil(picture: np.ndarray) -> Image.Image:
    """(H, W, 1 or 3) uint8 -> a PIL image, L or RGB."""
    return Image.fromarray(picture[..., 0] if picture.shape[-1] == 1 else picture)


def open_picture(data: bytes, shape: tuple[int, int, int]) -> Tensor:
    """What a person uploads -> (1, C, H, W) in [-1, 1]: upright, cropped to the middle, shrunk.

    PNG, JPEG, WebP, GIF or BMP. The first frame of an animation is taken; transparency is put on
    white; CMYK, 16-bit and palette pictures become grey or RGB.

    Raises:
        GendiffError: empty, no picture of these kinds, damaged, or more than 50 million pixels.
    """
    channels, height, width = shape
    if not data:
        raise GendiffError("The file is empty; choose a picture.")
    try:
        image = Image.open(io.BytesIO(data), formats=_UPLOADS)
        if image.width * image.height > PIXELS_MAX:
            raise Image.DecompressionBombError
        image.verify()  # a PNG's checksums, which decoding does not read; it uses the file up
        image = Image.open(io.BytesIO(data), formats=_UPLOADS)
        image.draft(
            None, (4 * width, 4 * height)
        )  # a large JPEG is decoded at a fraction of its size
        image = _eight_bit(ImageOps.exif_transpose(image))
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise GendiffError(
            "The picture has more than 50 million pixels; shrink it first."
        ) from error
    except UnidentifiedImageError as error:
        raise GendiffError(
            "This file is not a picture that can be read; try PNG or JPEG."
        ) from error
    except (OSError, ValueError, SyntaxError, LookupError, TypeError, struct.error) as error:
        raise GendiffError("The picture is damaged; try another one.") from error
    image = ImageOps.fit(image, (width, height), Image.Resampling.LANCZOS)
    if image.mode == "RGBA":
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    pixels = np.asarray(image.convert("L" if channels == 1 else "RGB"))
    return from_uint8(pixels.reshape(1, height, width, channels))


def _eight_bit(image: Image.Image) -> Image.Image:
    """Any mode -> RGB, or RGBA where something may be transparent."""
    if image.mode.startswith("I"):  # 16-bit grey, which Pillow would cut off at 255
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    transparent = "A" in image.mode or "transparency" in image.info
    return image.convert("RGBA" if transparent else "RGB")


def encode(frames: Iterable[np.ndarray], form: str, fps: float = 12.0, hold: int = 8) -> bytes:
    """Frames (H, W, C) uint8, all of one size -> the bytes of a GIF, WebP, MP4 or a PNG strip.

    The last frame stays for `hold` frames more (not in the strip). WebP and PNG are lossless.

    Raises:
        GendiffError: no frame, an unknown format, or fps out of 0.1..100.
    """
    frames = list(frames)
    if not frames:
        raise GendiffError("There is nothing to export yet; run something first.")
    if form not in FORMATS:
        raise GendiffError(f"There is no export as {form!r}; choose one of {', '.join(FORMATS)}.")
    if not 0.1 <= fps <= 100:
        raise GendiffError(f"An animation has 0.1 to 100 frames a second; got {fps}.")
    if form == "mp4":
        return _mp4([*frames, *[frames[-1]] * hold], fps)
    buffer = io.BytesIO()
    if form == "png":
        to_pil(tile(np.stack(frames), columns=min(len(frames), 10), gap=2)).save(
            buffer, "PNG", optimize=True
        )
        return buffer.getvalue()
    pictures = [to_pil(frame) for frame in frames]
    pace = round(1000 / fps)
    durations = [pace] * (len(pictures) - 1) + [pace * (hold + 1)]
    options = (
        {"lossless": True, "quality": 50, "method": 2} if form == "webp" else {"optimize": False}
    )
    pictures[0].save(
        buffer,
        form.upper(),
        save_all=True,
        append_images=pictures[1:],
        duration=durations,
        loop=0,
        **options,
    )
    return buffer.getvalue()


def _mp4(frames: list[np.ndarray], fps: float) -> bytes:
    """H.264 in MP4, 4:2:0 (what every player shows); sides padded to even numbers."""
    import av  # 60 MB of codecs: only loaded for this

    height, width = (side + side % 2 for side in frames[0].shape[:2])
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=Fraction(fps).limit_denominator(1000))
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.options = {"crf": "16", "preset": "veryfast"}
        for frame in frames:
            padded = np.full((height, width, 3), 255, np.uint8)
            padded[: frame.shape[0], : frame.shape[1]] = frame
            for packet in stream.encode(av.VideoFrame.from_ndarray(padded, format="rgb24")):
                container.mux(packet)
        for packet in stream.encode():
            container.mux(packet)
    return buffer.getvalue()
