"""The run, kept: milestones and losses of a training run beside its checkpoint, and in the app."""

from __future__ import annotations

import json
from dataclasses import replace

import gradio as gr
import numpy as np
import pytest
from conftest import CARDS
from PIL import Image
from test_results import METRICS

from gendiff import learning
from gendiff.errors import GendiffError
from gendiff.images import tile, to_pil
from gendiff.results import Features, Floor, Learned, Metrics, Reference
from gendiff.studio import Studio
from gendiff.studio import learning as told
from gendiff.ui import learning as page

CARD = CARDS["tiny-gan"]
HISTORY = [{"images": 2000 * k, "steps": 10, "d_loss": 1.0 + k, "g_loss": 2.0} for k in range(5)]


def pictures(seed, channels=1):
    return np.random.default_rng(seed).integers(0, 256, (16, 8, 8, channels), np.uint8)


def training_run(folder, milestones, channels=1):
    (folder / "milestones").mkdir(parents=True)
    for images in milestones:
        picture = to_pil(tile(pictures(images, channels)))
        picture.save(folder / "milestones" / f"{images:07d}.png")
    to_pil(tile(pictures(99, channels))).save(folder / "sheet.png")
    return folder


@pytest.mark.parametrize("channels", [1, 3])
def test_a_run_is_kept_and_read_back_to_the_pixel(tmp_path, channels):
    card = replace(CARD, shape=(channels, 8, 8))
    run = training_run(tmp_path / "run", (1000, 2000), channels)
    learning.of_run(run, card, 2500, HISTORY).write(tmp_path / "kept")
    found = learning.read(tmp_path / "kept")
    assert found.images == (1000, 2000, 2500) and found.model == "tiny-gan"
    for row, seed in zip(found.pictures, (1000, 2000, 99), strict=True):
        assert np.array_equal(row, pictures(seed, channels))
    assert found.seeds == tuple(range(16)) and found.labels[:4] == (0, 1, 2, 0)
    assert found.losses["d_loss"] == [1, 2, 3, 4, 5] and found.how == "one call"
    assert {path.name for path in (tmp_path / "kept").iterdir()} == {
        "milestones.webp",
        "learning.json",
    }


def test_of_many_milestones_twelve_are_kept_first_and_last_among_them(tmp_path):
    run = training_run(tmp_path / "run", range(100, 3000, 100))
    found = learning.of_run(run, CARD, 5000, HISTORY)
    assert len(found.images) == 12 and found.images[0] == 100 and found.images[-1] == 5000
    assert list(found.images) == sorted(set(found.images))


def test_a_run_from_a_checkpoint_goes_on_with_its_learning(tmp_path):
    first = training_run(tmp_path / "first", (1000, 2000, 4000))
    before = learning.of_run(first, CARD, 5000, HISTORY[:3])
    second = training_run(tmp_path / "second", (8000,))
    later = [{"images": 4000 + 2000 * k, "steps": 9, "d_loss": 7.0, "g_loss": 8.0} for k in (0, 1)]
    found = learning.joined(before, learning.of_run(second, CARD, 9000, later), 4500)
    assert found.images == (1000, 2000, 4000, 8000, 9000)  # 5,000 came after the start
    assert np.array_equal(found.pictures[2], pictures(4000))
    assert np.array_equal(found.pictures[3], pictures(8000))
    assert found.losses["images"] == [0, 2000, 4000, 6000]
    assert found.losses["d_loss"] == [1, 2, 7, 7]
    again = learning.joined(found, learning.of_run(second, CARD, 9000, later), 4500)
    assert again.images == found.images and again.losses == found.losses
    assert np.array_equal(again.pictures, found.pictures)
    other = replace(later := learning.of_run(second, CARD, 9000, HISTORY), how="ddim, 50 steps")
    assert learning.joined(before, other, 4500) is other and later.images == (8000, 9000)


def test_a_long_history_keeps_its_mean_in_few_points():
    history = [{"images": k, "steps": 1 + k % 3, "loss": float(k % 7)} for k in range(1000)]
    curves = learning.losses(history)
    assert len(curves["loss"]) == len(curves["images"]) == 200 and curves["images"][-1] == 999
    weights = [sum(1 + k % 3 for k in range(5 * i, 5 * i + 5)) for i in range(200)]
    exact = np.average([h["loss"] for h in history], weights=[h["steps"] for h in history])
    assert np.average(curves["loss"], weights=weights) == pytest.approx(exact)
    assert learning.losses([]) == {}


def test_a_run_without_a_sheet_tells_nothing(tmp_path):
    assert learning.of_run(tmp_path, CARD, 10, HISTORY) is None
    assert learning.read(tmp_path) is None


@pytest.mark.parametrize("damage", ["cut", "gone", "short", "no json"])
def test_damaged_files_are_one_sentence(tmp_path, damage):
    run = training_run(tmp_path / "run", (1000,))
    folder = tmp_path / "kept"
    learning.of_run(run, CARD, 2000, HISTORY).write(folder)
    sheet, index = folder / "milestones.webp", folder / "learning.json"
    if damage == "cut":
        sheet.write_bytes(sheet.read_bytes()[:40])
    elif damage == "gone":
        sheet.unlink()
    elif damage == "short":
        Image.new("L", (128, 8)).save(sheet, "WEBP", lossless=True)
    else:
        index.write_text("{")
    with pytest.raises(GendiffError, match="get the checkpoint again"):
        learning.read(folder)


def test_a_folder_that_cannot_be_written_is_said_so(tmp_path):
    (tmp_path / "file").write_text("")
    found = learning.of_run(training_run(tmp_path / "run", (1000,)), CARD, 2000, HISTORY)
    with pytest.raises(GendiffError, match="cannot be written"):
        found.write(tmp_path / "file")


# In the app


@pytest.fixture
def studio(checkpoints, tmp_path):
    run = training_run(tmp_path / "run", (1000, 2000))
    learning.of_run(run, CARD, 2500, HISTORY).write(checkpoints / "tiny-gan")
    return Studio(checkpoints, "cpu", "float32")


def measured(studio):
    metrics = Metrics(
        **{
            **vars(METRICS),
            "model": "tiny-gan",
            "weights_sha256": studio.card("tiny-gan").sha256,
            "features": Features("shapes-features", 0.9, 6),
            "reference": Reference("test", 40),
            "floor": Floor(0.1, 0.0, 40),
            "learning": tuple(
                Learned(images=images, fid=fid, of=250, obedience=0.5)
                for images, fid in ((2000, 33.0), (2500, 22.0))
            ),
        }
    )
    metrics.write(studio.folder / "tiny-gan")


def test_the_player_gets_a_frame_a_milestone_with_the_losses(studio):
    assert [card.name for card in told.told(studio)] == ["tiny-gan"]
    start, frames, end = page.message(told.story(studio, "tiny-gan"))["ops"]
    assert start["n"] == 3 and start["axis"] == [1000, 2000, 2500]
    assert [curve["label"] for curve in start["curves"]] == ["d loss", "g loss"]
    assert [frame["facts"]["images seen"] for frame in frames["frames"]] == [
        "1,000",
        "2,000",
        "2,500",
    ]
    assert end["state"] == "done"


def test_what_was_measured_stands_at_its_milestone(studio):
    measured(studio)
    start, frames, _ = page.message(told.story(studio, "tiny-gan"))["ops"]
    assert start["curves"][-1]["y"] == [None, 33.0, 22.0]
    facts = [frame["facts"] for frame in frames["frames"]]
    assert facts[1]["FID of 250 (shapes-features)"] == 33.0
    assert facts[1]["recognized as asked"] == "50%" and len(facts[0]) == 1


def test_numbers_of_other_weights_are_not_shown(studio):
    measured(studio)
    path = studio.folder / "tiny-gan" / "metrics.json"
    values = json.loads(path.read_text())
    path.write_text(json.dumps({**values, "weights_sha256": "0" * 64}))
    assert told.story(studio, "tiny-gan").measured == {}


def test_a_model_that_kept_nothing_says_so(studio):
    with pytest.raises(GendiffError, match="nothing was kept"):
        told.story(studio, "tiny-diffusion")


def test_the_fold_is_there_where_there_is_something_to_tell(studio, saved):
    def blocks(of):
        with gr.Blocks() as demo:
            page.build(of)
        return demo

    with_story = blocks(studio)
    show = next(block.fn for block in with_story.fns.values() if block.fn)
    assert show("tiny-gan")["op"] == "batch"
    assert not blocks(Studio(saved, "cpu", "float32")).fns
