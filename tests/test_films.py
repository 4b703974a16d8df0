"""Sheets and films: files hold exactly what the library gives, lines say how it was made."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

import gendiff
from gendiff import films
from gendiff.__main__ import main
from gendiff.batches import in_batches
from gendiff.images import encode, enlarge, tile, to_uint8
from gendiff.studio.denoising import EPS_SCALE


def sheet(pictures):
    """16-fold: the tiny models' 8 pixels become 128."""
    return enlarge(tile(to_uint8(pictures)), 16)


def read(path):
    with Image.open(path) as image:
        return np.asarray(image)


def run(capsys, *argv):
    """Exit code, stdout, stderr."""
    code = main([str(word) for word in argv])
    out, err = capsys.readouterr()
    return code, out, err


def test_sample_of_a_gan(saved, tmp_path, capsys):
    path, out = saved / "tiny-gan", tmp_path / "new" / "folder" / "sheet.PNG"
    options = ("--seeds", "3, 7-9", "--label", "Square", "--truncation", "0.7")
    code, said, err = run(capsys, "sample", path, *options, "--device", "cpu", "--out", out)
    model = gendiff.load(path, "cpu")
    expected = sheet(gendiff.sample(model, [3, 7, 8, 9], labels=1, truncation=0.7))[..., 0]
    assert code == 0 and err == ""
    assert np.array_equal(read(out), expected)
    for words in (
        "tiny-gan: 4 pictures",
        "seeds 3, 7-9",
        "1 network call each",
        "cpu, ",
        str(out),
    ):
        assert words in said


def test_sample_of_a_diffusion_model_in_two_batches(saved, tmp_path, capsys, monkeypatch):
    path, out = saved / "tiny-diffusion", tmp_path / "sheet.png"
    options = {"sampler": "heun", "steps": 6, "guidance": 2.5, "spacing": "linspace"}
    flags = [word for key, value in options.items() for word in (f"--{key}", value)]
    common = ("--seeds", "0-4", "--device", "cpu", "--dtype", "float32")
    batches = []

    def in_threes(work, seeds, labels):
        def noted(part, y):
            batches.append(part.tolist())
            return work(part, y)

        return in_batches(noted, seeds, labels, batch=3)

    monkeypatch.setattr(films, "in_batches", in_threes)
    code, said, _ = run(capsys, "sample", path, *flags, *common, "--out", out)
    assert batches == [[0, 1, 2], [3, 4]]
    model = gendiff.load(path, "cpu", "float32")
    expected = sheet(gendiff.sample(model, range(5), **options))[..., 0]
    assert code == 0
    # Other batches may round one grey level differently.
    assert np.abs(read(out).astype(int) - expected).max() <= 1
    # Heun calls twice a step but for the last one, guidance doubles that: 2 * (2 * 6 - 1).
    assert "22 network calls each, cpu, float32" in said


@pytest.mark.parametrize(
    ("what", "frames"),
    [
        ("x_t", lambda steps: [*(step.x_t for step in steps), steps[-1].x_s]),
        ("x0", lambda steps: [step.x0 for step in steps]),
        ("eps", lambda steps: [step.eps / EPS_SCALE for step in steps]),
    ],
)
def test_trajectory_shows_the_denoisers_own_frames(saved, tmp_path, capsys, what, frames):
    path, out = saved / "tiny-diffusion", tmp_path / "strip.png"
    flags = ("--sampler", "ddpm", "--variance", "posterior", "--steps", 5, "--label", 2)
    where = ("--device", "cpu", "--dtype", "float32", "--what", what, "--out", out)
    code, said, _ = run(capsys, "trajectory", path, "--seeds", "0-3", *flags, *where)
    model = gendiff.load(path, "cpu", "float32")
    steps = gendiff.trajectory(
        model, range(4), sampler="ddpm", variance="posterior", steps=5, labels=2
    )
    expected = [sheet(x) for x in frames(list(steps))]
    assert code == 0
    assert out.read_bytes() == encode(expected, "png")
    assert f"{len(expected)} frames" in said and "5 steps, 5 network calls" in said


def test_a_long_trajectory_is_thinned_and_keeps_both_ends(saved, tmp_path, capsys):
    path, out = saved / "tiny-diffusion", tmp_path / "strip.png"
    flags = ("--seeds", 1, "--steps", 100, "--frames", 4, "--device", "cpu", "--dtype", "float32")
    code, said, _ = run(capsys, "denoise", path, *flags, "--out", out)
    model = gendiff.load(path, "cpu", "float32")
    steps = list(gendiff.trajectory(model, [1], steps=100))
    shown = [steps[0].x_t, steps[50].x_t, steps[99].x_t, steps[99].x_s]
    assert code == 0 and "4 frames" in said
    assert out.read_bytes() == encode([sheet(x) for x in shown], "png")


@pytest.mark.parametrize("form", ["gif", "webp", "mp4", "png"])
def test_every_film_format(saved, tmp_path, capsys, form):
    if form == "mp4":
        pytest.importorskip("av")
    out = tmp_path / f"film.{form}"
    flags = ("--seeds", "0-3", "--steps", 3, "--out", out)
    assert run(capsys, "trajectory", saved / "tiny-diffusion", *flags)[0] == 0
    if form == "mp4":
        assert out.read_bytes()[4:8] == b"ftyp"
    else:
        with Image.open(out) as image:
            assert image.format == form.upper()
            assert form == "png" or image.n_frames == 4


@pytest.mark.parametrize("name", ["tiny-gan", "tiny-diffusion"])
def test_interpolate_walks_as_the_library_does(saved, tmp_path, capsys, name):
    out = tmp_path / "walk.png"
    flags = ("--seeds", "1,2,3", "--frames", 3, "--path", "lerp", "--label", "star")
    where = ("--device", "cpu", "--dtype", "float32", "--out", out)
    code, said, _ = run(capsys, "interpolate", saved / name, *flags, *where)
    model = gendiff.load(saved / name, "cpu", "float32")
    expected = [sheet(x) for x in gendiff.interpolate(model, [1, 2, 3], 3, "lerp", labels=2)]
    assert code == 0 and "3 frames" in said
    assert out.read_bytes() == encode(expected, "png")
