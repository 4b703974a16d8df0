"""metrics.json: written and read back the same; what is damaged is said so."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from gendiff.errors import GendiffError
from gendiff.results import Features, Floor, Learned, Metrics, Reference, Rounded, Score, Speed

SCORE = Score(
    sampler="dpmpp_2m",
    steps=20,
    nfe=20,
    images=1000,
    batch=16,
    guidance=1.0,
    fid=3.5,
    kid=0.01,
    kid_std=0.002,
    precision=0.8,
    recall=0.7,
    coverage={"bag": 0.9},
    images_per_second=4.5,
    speed=Speed(batch=16, rounds=5, median=4.25, threads=1, machine="a machine"),
)
METRICS = Metrics(
    model="tiny-diffusion",
    weights_sha256="ab" * 32,
    measured="2026-11-24",
    command="python -m gendiff evaluate tiny-diffusion",
    machine="a machine",
    device="cpu",
    dtype="float32",
    features=Features("fashion-features", 0.93, 128),
    reference=Reference("test", 10_000),
    floor=Floor(0.5, 0.0001, 1000),
    runs=(SCORE, replace(SCORE, sampler=None, steps=None, nfe=1)),
    learning=(Learned(images=1000, fid=80.0),),
    bfloat16=Rounded("dpmpp_2m", 20, 250, 3.6, 3.5, 0.01, 40.0, 30.0),
)


def test_what_is_written_is_read_back(tmp_path):
    METRICS.write(tmp_path)
    assert Metrics.read(tmp_path) == METRICS
    assert [path.name for path in tmp_path.iterdir()] == ["metrics.json"]
    assert next(iter(json.loads((tmp_path / "metrics.json").read_text()))) == "format"


def test_a_checkpoint_that_was_never_measured_has_none(tmp_path):
    assert Metrics.read(tmp_path) is None


def test_the_headline_is_first():
    assert METRICS.headline is METRICS.runs[0]


def test_numbers_keep_six_digits(tmp_path):
    replace(METRICS, floor=Floor(1 / 3, 2e-7 / 3, 10)).write(tmp_path)
    assert Metrics.read(tmp_path).floor == Floor(0.333333, 6.66667e-8, 10)


@pytest.mark.parametrize(
    "damage",
    [
        lambda values: {},
        lambda values: [],
        lambda values: {**values, "format": 2},
        lambda values: {**values, "unknown": 1},
        lambda values: {**values, "floor": 3},
        lambda values: {**values, "runs": [{"sampler": "ddim"}]},
        lambda values: {**values, "runs": [{**values["runs"][0], "speed": {"batch": 16}}]},
        lambda values: {key: value for key, value in values.items() if key != "features"},
        lambda values: {**values, "runs": []},
    ],
)
def test_a_damaged_file_is_one_clear_sentence(tmp_path, damage):
    path = tmp_path / "metrics.json"
    path.write_text(json.dumps(damage(METRICS.plain())))
    with pytest.raises(GendiffError, match="measure the checkpoint again"):
        Metrics.read(tmp_path)


def test_a_file_that_is_no_json_is_said_so(tmp_path):
    (tmp_path / "metrics.json").write_text('{"format": 1, ')
    with pytest.raises(GendiffError, match="cannot be read as JSON"):
        Metrics.read(tmp_path)


def test_what_is_no_number_is_not_written(tmp_path):
    with pytest.raises(GendiffError, match="not a finite number"):
        replace(METRICS, floor=Floor(float("nan"), 0.0, 10)).write(tmp_path)


def test_a_folder_that_cannot_be_written_is_said_so(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(GendiffError, match="cannot be written"):
        METRICS.write(tmp_path / "file")
