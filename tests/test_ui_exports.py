"""Exports of the player: what is in the files, and what is refused."""

from __future__ import annotations

import base64
import io
from types import SimpleNamespace

import gradio as gr
import numpy as np
import pytest
from PIL import Image

from gendiff.ui import exports
from gendiff.ui.exports import sheet, wire_exports
from gendiff.ui.player import Frame, Pane, Player, Run, RunStore

RNG = np.random.default_rng(0)
GREY = [RNG.integers(0, 256, (4, 8, 8, 1), np.uint8) for _ in range(3)]
COLOUR = [RNG.integers(0, 256, (1, 8, 8, 3), np.uint8) for _ in range(3)]


@pytest.fixture
def export(monkeypatch):
    """export(event data) runs the handler over a store with one run, named "kept"."""
    store = RunStore()
    run = Run(
        n=3, panes=[Pane("a", "a", 8, 8, 1, 4), Pane("b", "b", 8, 8, 3)], label="", run="kept"
    )
    store.add(run.whole([Frame(panes) for panes in zip(GREY, COLOUR, strict=True)]))
    monkeypatch.setattr(exports, "shared_store", lambda: store)
    with gr.Blocks() as demo:
        wire_exports(Player(), gr.Textbox(), "test", panes=[1], fps=10, hold=2)
    handlers = {block.fn.__name__: block.fn for block in demo.fns.values() if block.fn}
    return lambda **data: handlers["export"](SimpleNamespace(_data=data))


def opened(made):
    kind, data = made["url"].removeprefix("data:").split(";base64,")
    return kind, base64.b64decode(data)


def test_one_picture_is_enlarged_by_a_whole_factor():
    picture = COLOUR[0]
    made = sheet([picture])
    assert made.shape == (256, 256, 3)
    assert np.array_equal(made[::32, ::32], picture[0])
    assert np.array_equal(made, np.kron(picture[0], np.ones((32, 32, 1), np.uint8)))


def test_a_grid_stays_within_its_sheet_and_panes_lie_side_by_side():
    made = sheet([GREY[0], COLOUR[0]])
    # 2 x 2 tiles of 8 with a gap of 1 are 17; a gap of 2; then the colour pane's 8
    factor = made.shape[1] // 27
    assert made.shape == (17 * factor, 27 * factor, 3) and max(made.shape) <= exports.SHEET
    small = made[::factor, ::factor]
    assert np.array_equal(small[:8, :8], GREY[0][0].repeat(3, axis=2))
    assert np.array_equal(small[9:17, 9:17], GREY[0][3].repeat(3, axis=2))
    assert np.array_equal(small[:8, 19:], COLOUR[0][0])
    assert (small[:, 17:19] == 255).all()


def test_a_picture_that_is_shown_alone_is_exported_alone():
    made = sheet([GREY[0], COLOUR[0]], chosen=[0], only=2)
    assert np.array_equal(made[::32, ::32], GREY[0][2])
    assert np.array_equal(sheet([GREY[0]], only=99), sheet([GREY[0]], only=3))


def test_large_sheets_are_not_enlarged():
    big = np.zeros((16, 512, 512, 3), np.uint8)
    side = 4 * 512 + 3 * 32
    assert sheet([big]).shape == (side, side, 3)


def test_webp_holds_every_frame_without_loss(export):
    kind, data = opened(export(run="kept", format="webp", tile=None))
    assert kind == "image/webp"
    with Image.open(io.BytesIO(data)) as film:
        assert film.n_frames == 3
        for index, panes in enumerate(COLOUR):
            film.seek(index)
            assert np.array_equal(np.asarray(film.convert("RGB"))[::32, ::32], panes[0])


def test_gif_and_mp4_have_the_frames(export):
    made = export(run="kept", format="gif", tile=None)
    assert made["name"] == "gendiff-test.gif"
    with Image.open(io.BytesIO(opened(made)[1])) as film:
        assert (film.format, film.n_frames, film.size) == ("GIF", 3, (256, 256))
        assert film.info["duration"] == 100
    av = pytest.importorskip("av")
    kind, data = opened(export(run="kept", format="mp4", tile=None))
    with av.open(io.BytesIO(data)) as film:
        assert kind == "video/mp4"
        assert len(list(film.decode(video=0))) == 3 + 2


def test_a_strip_shows_all_frames(export):
    kind, data = opened(export(run="kept", format="png", tile=None))
    with Image.open(io.BytesIO(data)) as strip:
        assert kind == "image/png"
        assert strip.width == 3 * 200 + 2 * 2 and strip.height == 200


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"run": "gone", "format": "gif"}, "no longer kept"),
        ({"format": "gif"}, "no longer kept"),
        ({"run": "kept", "format": "exe"}, "one of gif"),
        ({"run": "kept", "format": ["gif"]}, "one of gif"),
        ({"run": "kept"}, "one of gif"),
        ({}, "one of gif"),
    ],
    ids=str,
)
def test_what_cannot_be_exported_is_one_sentence(export, asked, said):
    with pytest.raises(gr.Error, match=said):
        export(**asked)


@pytest.mark.parametrize("tile", [-1, 99, "1", None, 1.5, {}])
def test_a_tile_that_makes_no_sense_does_no_harm(export, tile):
    assert export(run="kept", format="png", tile=tile)["url"].startswith("data:image/png")
