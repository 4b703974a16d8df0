"""What bfloat16 was measured to change, beside the choice of it."""

from __future__ import annotations

import shutil
from dataclasses import replace

import pytest

from gendiff import overview
from gendiff.results import Metrics, Rounded
from gendiff.studio import Studio
from gendiff.ui.precision import effect
from gendiff.weights import BUNDLED


@pytest.fixture
def studio(tmp_path):
    """One bundled checkpoint, to be measured as a test likes."""
    shutil.copytree(BUNDLED / "fashion-diffusion", tmp_path / "fashion-diffusion")
    return Studio(tmp_path, "cpu", "float32")


def measured(studio, **changes):
    folder = studio.folder / "fashion-diffusion"
    replace(Metrics.read(folder), **changes).write(folder)


def test_what_was_measured_is_said_with_its_conditions(studio):
    measured(studio, bfloat16=Rounded("dpmpp_2m", 20, 250, 0.88022, 0.88125, 0.001, 58.6, 51.7))
    assert effect(studio, "fashion-diffusion") == (
        "bfloat16, measured on 250 pictures, dpmpp_2m 20 steps: FID 0.8802; float32 at the same "
        "seeds: 0.8812. PSNR between them 59 dB (median)."
    )


def test_nothing_is_claimed_that_was_not_measured(studio):
    found = Rounded("ddim", 5, 250, 1.0, 1.0, 0.1, 50.0, 40.0)
    measured(studio, bfloat16=None)
    assert "not measured" in effect(studio, "fashion-diffusion")
    measured(studio, bfloat16=found, weights_sha256="0" * 64)  # of other weights
    assert "not measured" in effect(studio, "fashion-diffusion")
    (studio.folder / "fashion-diffusion" / "metrics.json").write_text("{")
    assert "not measured" in effect(studio, "fashion-diffusion")
    assert "not measured" in effect(studio, None)


def test_each_bundled_model_says_what_its_file_says():
    studio = Studio(device="cpu")
    for card, metrics in overview.cards(BUNDLED):
        known = metrics is not None and metrics.bfloat16 is not None
        assert ("PSNR" in effect(studio, card.name)) == known
