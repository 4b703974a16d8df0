"""Laws of the Studio: models are listed at once, loaded once, and a damaged one harms no other."""

from __future__ import annotations

import json
import re

import pytest
import torch

from gendiff.errors import GendiffError
from gendiff.studio import Studio, service


def test_a_damaged_checkpoint_is_left_out_and_named(checkpoints):
    config = checkpoints / "tiny-gan" / "config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "colour": "red"}))
    studio = Studio(checkpoints, "cpu")
    assert [card.name for card in studio.cards()] == ["tiny-diffusion"]
    assert "colour" in studio.damaged()["tiny-gan"]
    with pytest.raises(GendiffError, match="tiny-diffusion"):
        studio.card("tiny-gan")


def test_altered_weights_are_refused_when_asked_for_and_the_others_load(checkpoints):
    weights = checkpoints / "tiny-gan" / "model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    studio = Studio(checkpoints, "cpu")
    studio.preload().join(30)
    assert studio.model("tiny-diffusion").classes == 3
    with pytest.raises(GendiffError, match="altered"):
        studio.model("tiny-gan")


def test_a_model_is_loaded_once_for_each_dtype(saved):
    studio = Studio(saved, "cpu", "float32")
    assert studio.model("tiny-gan") is studio.model("tiny-gan")
    assert studio.model("tiny-gan", "bfloat16").dtype == torch.bfloat16
    assert studio.model("tiny-gan").dtype == torch.float32
    assert "float32" in studio.conditions() and "bfloat16" in studio.conditions("bfloat16")


def test_real_pictures_are_there_for_both_data_sets(saved):
    studio = Studio(saved, "cpu")
    assert studio.real("fashion").pictures.shape == (256, 32, 32, 1)
    assert studio.real("cats").pictures.shape == (256, 64, 64, 3)
    with pytest.raises(GendiffError, match="real pictures"):
        studio.real("dogs")


@pytest.mark.parametrize(("sampler", "guidance"), [("ddim", 1), ("heun", 1), ("ddpm", 2.5)])
def test_the_calls_that_are_told_are_those_that_are_made(saved, sampler, guidance):
    model = Studio(saved, "cpu").model("tiny-diffusion")
    run = model.trajectory([1], sampler=sampler, steps=7, guidance=guidance)
    assert [*run][-1].nfe == model.network_calls(sampler, 7, guidance)


def test_a_full_device_is_said_in_a_sentence(saved, monkeypatch):
    model = Studio(saved, "cpu").model("tiny-diffusion")

    def full(*_: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(model.denoiser, "output", full)
    with pytest.raises(GendiffError, match="2 pictures at once"):
        [*service.trajectory(model, "0-1", None, "ddim", 5, 1.0, 0.0, "posterior")]
    with pytest.raises(GendiffError, match="even one picture"):
        service.sample(model, "0-1", None, "ddim", 5, 1.0, None)


GOOD = {"seeds": "0-1", "label": None, "sampler": "ddim", "steps": 3, "guidance": 1.0, "eta": 0.0}


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"steps": "abc"}, "The number of steps must be a whole number from 1 to 100; got abc."),
        ({"steps": None}, "The number of steps must be a whole number from 1 to 100; the field"),
        ({"steps": 1.5}, "from 1 to 100; got 1.5."),
        ({"steps": 101}, "from 1 to 100; got 101."),
        ({"guidance": "x"}, "Guidance must be a number from 0 to 20; got x."),
        ({"guidance": float("nan")}, "Guidance must be a number from 0 to 20; got nan."),
        ({"eta": [1]}, "eta must be a number from 0 to 1; got [1]."),
        ({"sampler": ["ddim"]}, "There is no sampler \"['ddim']\"; choose one of ddpm"),
        ({"sampler": "ddpm", "variance": "learned"}, "no variance 'learned'"),
        ({"seeds": {}}, "Seeds are whole numbers"),
    ],
    ids=str,
)
def test_what_is_no_setting_is_one_sentence(saved, wrong, said):
    model = Studio(saved, "cpu").model("tiny-diffusion")
    asked = {**GOOD, "variance": "posterior", **wrong}
    with pytest.raises(GendiffError, match=re.escape(said)):
        service.sample(model, truncation=None, **asked)
    with pytest.raises(GendiffError, match=re.escape(said)):
        next(service.trajectory(model, **asked))


def test_a_gans_truncation_and_a_walks_frames_are_checked(saved):
    model = Studio(saved, "cpu").model("tiny-gan")
    with pytest.raises(GendiffError, match="Truncation must be a number from 0.05 to 10; got x"):
        service.sample(model, truncation="x", **GOOD)
    for frames in ("x", None, 1.5, 1, 65):
        with pytest.raises(GendiffError, match="frames must be a whole number from 2 to 64;"):
            service.interpolate(model, "0, 1", frames, "slerp", None)
    with pytest.raises(GendiffError, match="There is no path"):
        service.interpolate(model, "0, 1", 3, ["slerp"], None)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"index": 1.5}, "number must be a whole number from 0 to 255; got 1.5"),
        ({"index": 256}, "from 0 to 255; got 256"),
        ({"T": "x"}, "whole number from .*; got x"),
        ({"t": "x"}, "t must be a whole number from 0 to 1,000; got x"),
        ({"t": 1001}, "t must be a whole number from 0 to 1,000; got 1001"),
        ({"seed": "x"}, "seed must be a whole number"),
        ({"name": ["linear"]}, "There is no schedule"),
        ({"alpha": "x"}, "alpha must be a number from 0 to 1; got x"),
    ],
    ids=str,
)
def test_what_is_no_level_of_noise_is_one_sentence(saved, wrong, said):
    real = Studio(saved, "cpu").real("fashion")
    asked = {"index": 0, "name": "constant", "T": 1000, "t": 5, "seed": 0, "alpha": 0.9}
    assert service.noise(real, **asked).picture.shape == (32, 32, 1)
    with pytest.raises(GendiffError, match=said):
        service.noise(real, **{**asked, **wrong})


@pytest.mark.parametrize("name", [["cats"], {}, 3, "../cats", "c\0ts", "c" * 10_000])
def test_a_name_that_is_none_is_one_sentence(saved, name):
    studio = Studio(saved, "cpu")
    with pytest.raises(GendiffError, match="There is no model"):
        studio.card(name)
    with pytest.raises(GendiffError, match="no bundled real pictures"):
        studio.real(name)


def test_an_answers_work_is_bounded_in_network_calls(saved, monkeypatch):
    """Heun and guidance call the network twice a step."""
    model = Studio(saved, "cpu").model("tiny-diffusion")
    monkeypatch.setattr(service, "CALLS_MAX", 10)
    assert service.sample(model, **{**GOOD, "steps": 5}, truncation=None).nfe == 5
    twice = {**GOOD, "steps": 5, "guidance": 2}
    said = "2 pictures in 5 steps need 20 network calls, and one answer has at most 10;"
    with pytest.raises(GendiffError, match=said):
        service.sample(model, **twice, truncation=None)
    with pytest.raises(GendiffError, match="1 picture in 6 steps need 11 network calls"):
        service.sample(
            model, **{**GOOD, "seeds": "1", "sampler": "heun", "steps": 6}, truncation=None
        )
