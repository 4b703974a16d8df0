"""Laws of the Studio: models are listed at once, loaded once, and a damaged one harms no other."""

from __future__ import annotations

import json

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
