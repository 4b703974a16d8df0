"""Driving a run: what is kept and when, that a stop is clean, and the command `train`."""

from __future__ import annotations

import os
import signal
from dataclasses import replace
from types import MappingProxyType

import numpy as np
import pytest
import torch
from PIL import Image

import gendiff
from gendiff import commands, fit, recipes, train, weights
from gendiff.__main__ import main
from gendiff.data import SOURCES, DataSet
from gendiff.errors import GendiffError
from gendiff.recipes import Recipe
from gendiff.train import Run

BATCH = 4
GAN = Recipe(
    name="tiny-gan",
    data="fashion",
    family="gan",
    net={"size": 32, "channels": 1, "latent": 4, "width": 2, "classes": 10, "embedding": 2},
    images=6 * BATCH,
    batch=BATCH,
    rate=1e-2,  # so that six steps show
)
UNET = {
    "sample_size": 16,
    "in_channels": 4,
    "out_channels": 4,
    "block_out_channels": [8],
    "layers_per_block": 1,
    "down_block_types": ["DownBlock2D"],
    "up_block_types": ["UpBlock2D"],
    "norm_num_groups": 4,
    "num_class_embeds": 11,
}
DIFFUSION = replace(GAN, name="tiny-diffusion", family="diffusion", net=UNET)
CPU = torch.device("cpu")


def pictures(indices):
    """A picture for each index."""
    return torch.stack([torch.full((1, 32, 32), int(i) / 100 - 0.5) for i in indices])


DATA = DataSet(SOURCES["fashion"], "train", torch.arange(100) % 10, pictures)


def steps_kept(folder):
    """How many steps the state in a folder has seen."""
    return torch.load(folder / train.STATE, weights_only=True)["steps"]


@pytest.mark.parametrize("recipe", [GAN, DIFFUSION], ids=lambda recipe: recipe.family)
def test_a_run_leaves_all_that_it_should(tmp_path, monkeypatch, recipe):
    monkeypatch.setattr(train, "MILESTONES", (5, 16, 1000))
    run = Run(recipe, tmp_path, CPU)
    facts = {"command": "how", "machine": "where"}
    seen = [p.images for p in fit.fit(run, DATA, images=recipe.images, facts=facts)]
    assert seen == [4, 8, 12, 16, 20, 24]
    files = {str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*.*")}
    assert files == {
        "state.pt",
        "sheet.png",
        "milestones/0000005.png",
        "milestones/0000016.png",
        *(
            f"{folder}/{name}"
            for folder in ("checkpoint", "milestones/0000005", "milestones/0000016")
            for name in ("README.md", "config.json", "model.safetensors")
        ),
    }
    assert gendiff.load(tmp_path / "milestones" / "0000016").card.training["images"] == 16
    assert gendiff.load(tmp_path / "checkpoint", "cpu").card.training == {
        **facts,
        "images": 24,
        "hours": round(run.seconds / 3600, 3),
    }
    with Image.open(tmp_path / "sheet.png") as image:
        assert np.array_equal(np.asarray(image), run.sheet()[..., 0])
    with Image.open(tmp_path / "milestones" / "0000005.png") as image:
        assert not np.array_equal(np.asarray(image), run.sheet()[..., 0])


def test_a_run_in_two_parts_is_the_run_in_one(tmp_path):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    list(fit.fit(Run(GAN, whole, CPU), DATA, images=24, every=1e-9))  # sheets disturb nothing
    list(fit.fit(Run(GAN, parts, CPU), DATA, images=10))
    assert steps_kept(parts) == 3
    rest = list(fit.fit(Run(GAN, parts, CPU), DATA, images=24))
    assert [progress.step for progress in rest] == [4, 5, 6]
    hashes = [weights.Card.read(folder / "checkpoint").sha256 for folder in (whole, parts)]
    assert hashes[0] == hashes[1] != ""


def test_a_kill_costs_at_most_an_interval(tmp_path, monkeypatch):
    clock = iter(range(0, 10_000, 60))  # a minute passes at each look
    monkeypatch.setattr(fit.time, "monotonic", lambda: next(clock))
    steps = fit.fit(Run(GAN, tmp_path, CPU), DATA, images=400, every=3)
    kept = []
    for progress in steps:
        state = tmp_path / train.STATE
        kept.append(steps_kept(tmp_path) if state.exists() else 0)
        if progress.step == 6:
            break
    steps.close()
    # Three looks a step where something is kept (start, step, kept), two where not.
    assert kept == [0, 2, 2, 4, 4, 6]
    assert steps_kept(tmp_path) == 6


def test_abandoning_keeps_nothing(tmp_path):
    steps = fit.fit(Run(GAN, tmp_path, CPU), DATA, images=24)
    next(steps)
    steps.close()
    assert list(tmp_path.iterdir()) == []


def test_time_and_word_end_a_run(tmp_path, monkeypatch):
    assert list(fit.fit(Run(GAN, tmp_path, CPU), DATA, images=24, minutes=0)) == []
    assert list(tmp_path.iterdir()) == []
    seconds = iter([0.0, 59.0, 60.0, *[60.0] * 9])
    with monkeypatch.context() as patch:
        patch.setattr(fit.time, "monotonic", lambda: next(seconds))
        run = Run(GAN, tmp_path, CPU)
        assert len(list(fit.fit(run, DATA, images=400, minutes=1, every=9))) == 2
    assert steps_kept(tmp_path) == 2
    stopped = iter([False, True])
    assert len(list(fit.fit(run, DATA, images=400, stopped=lambda: next(stopped)))) == 2
    assert steps_kept(tmp_path) == 4


def test_a_run_that_is_done_does_nothing(tmp_path):
    list(fit.fit(Run(GAN, tmp_path, CPU), DATA, images=8))
    before = (tmp_path / train.STATE).read_bytes()
    assert list(fit.fit(Run(GAN, tmp_path, CPU), DATA, images=8)) == []
    assert (tmp_path / train.STATE).read_bytes() == before


def test_a_loss_that_is_no_number_leaves_the_last_good_state(tmp_path):
    run = Run(GAN, tmp_path, CPU)
    list(fit.fit(run, DATA, images=8))
    broken = replace(DATA, items=lambda indices: pictures(indices) * float("nan"))
    with pytest.raises(GendiffError, match="no longer a number"):
        list(fit.fit(run, broken, images=24, every=1e-9))
    assert steps_kept(tmp_path) == 2
    assert Run(GAN, tmp_path, CPU).images == 8


def test_what_cannot_be_written_is_said(tmp_path):
    run = Run(GAN, tmp_path / "run", CPU)
    (tmp_path / "file").touch()
    with pytest.raises(GendiffError, match="checkpoint cannot be written"):
        fit.export(run, tmp_path / "file")
    (tmp_path / "run" / "sheet.png").mkdir()
    with pytest.raises(GendiffError, match="sheet.png cannot be written"):
        fit.keep(run)


def test_setting_aside_never_overwrites(tmp_path):
    folder = tmp_path / "run"
    assert fit.set_aside(folder) is None
    for number in (1, 2, 3):
        folder.mkdir()
        (folder / str(number)).touch()
        assert fit.set_aside(folder) == tmp_path / f"run-{number}"
    assert all((tmp_path / f"run-{number}" / str(number)).is_file() for number in (1, 2, 3))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_is_noted_and_the_second_counts(number, monkeypatch):
    def usual(*_):
        raise InterruptedError

    before = signal.signal(number, usual)
    try:
        with fit.interruptible() as stopped:
            assert not stopped()
            os.kill(os.getpid(), number)
            assert stopped()
            with pytest.raises(InterruptedError):
                os.kill(os.getpid(), number)
        with fit.interruptible():
            pass
        assert signal.getsignal(number) is usual
    finally:
        signal.signal(number, before)


@pytest.fixture
def tiny(tmp_path, monkeypatch):
    """Tiny recipes on made-up data, installed into a folder of the test's."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(weights, "BUNDLED", tmp_path / "checkpoints")
    named = {recipe.name: recipe for recipe in (GAN, DIFFUSION)}
    monkeypatch.setattr(recipes, "RECIPES", MappingProxyType(named))
    monkeypatch.setattr(commands, "open_data", lambda name: DATA)
    return tmp_path


def test_train_resume_and_install(tiny, capsys):
    assert main(["train", "tiny-gan", "--images", "8", "--device", "cpu", "--threads", "1"]) == 0
    out, err = capsys.readouterr()
    assert "0 of 8 images" in out and f"checkpoint: {os.path.join('runs', 'tiny-gan')}" in out
    assert "8/8" in err and "images/s" in err and "g_loss" in err and "left" in err
    assert not (tiny / "checkpoints").exists()

    assert main(["train", "tiny-gan", "--device", "cpu", "--install"]) == 0
    out, _ = capsys.readouterr()
    assert "8 of 24 images" in out and "installed as checkpoints/tiny-gan" in out
    card = weights.Card.read(tiny / "checkpoints" / "tiny-gan")
    assert card.training["images"] == 24
    assert card.training["command"] == "python -m gendiff train tiny-gan"
    assert "cores" in card.training["machine"] and card.training["hours"] >= 0
    kept = weights.Card.read(tiny / "runs" / "tiny-gan" / "checkpoint")
    assert card.sha256 == kept.sha256
    assert main(["sample", str(tiny / "checkpoints" / "tiny-gan"), "--out", "a.png"]) == 0


def test_train_installs_what_is_there_without_training(tiny, capsys):
    assert main(["train", "tiny-diffusion", "--minutes", "0", "--install"]) == 2
    assert "Nothing has been trained" in capsys.readouterr().err
    assert main(["train", "tiny-diffusion", "--images", "4"]) == 0
    assert main(["train", "tiny-diffusion", "--minutes", "0", "--install"]) == 0
    assert weights.Card.read(tiny / "checkpoints" / "tiny-diffusion").training["images"] == 4


def test_train_afresh_keeps_the_old_run(tiny, capsys):
    folder = tiny / "mine"
    command = ["train", "tiny-gan", "--images", "8", "--folder", str(folder)]
    assert main(command) == 0
    assert main([*command, "--batch", "2"]) == 2
    assert "batch differ" in capsys.readouterr().err
    assert main([*command, "--batch", "2", "--fresh"]) == 0
    assert "mine-1" in capsys.readouterr().out
    assert (steps_kept(folder), steps_kept(tiny / "mine-1")) == (4, 2)
    facts = weights.Card.read(folder / "checkpoint").training
    assert facts["command"] == "python -m gendiff train tiny-gan --images 8 --batch 2"


def test_ctrl_c_finishes_the_step_saves_and_installs_nothing(tiny, monkeypatch, capsys):
    batches = []

    def interrupted(indices):
        batches.append(indices)
        if len(batches) == 3:  # in the middle of the third step
            os.kill(os.getpid(), signal.SIGINT)
        return pictures(indices)

    monkeypatch.setattr(commands, "open_data", lambda name: replace(DATA, items=interrupted))
    assert main(["train", "tiny-gan", "--install"]) == 130
    out, err = capsys.readouterr()
    assert steps_kept(tiny / "runs" / "tiny-gan") == 3
    assert "12 images" in out and "goes on" in err and "Traceback" not in err
    assert not (tiny / "checkpoints").exists()
