"""The GAN's pictures and D's verdicts: laws against the model itself, and by hand."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from PIL import Image

from gendiff.errors import GendiffError
from gendiff.gan import truncated
from gendiff.images import from_uint8, tile, to_uint8
from gendiff.noise import classes
from gendiff.studio import Studio, models
from gendiff.studio.adversarial import Ask, Mixed, draw, mix

CLASSES = ("round", "square", "star")


@pytest.fixture
def studio(saved, tmp_path, monkeypatch):
    """Tiny models, and 30 real pictures that all differ: picture i has class i % 3."""
    pictures = np.random.default_rng(0).integers(0, 256, (30, 8, 8, 1), np.uint8)
    Image.fromarray(tile(pictures, columns=5)[..., 0]).save(tmp_path / "real-shapes.png")
    labels = [i % 3 for i in range(30)]
    (tmp_path / "real-shapes.json").write_text(json.dumps({"size": 8, "labels": labels}))
    monkeypatch.setattr(models, "ASSETS", tmp_path)
    models._real.cache_clear()
    yield Studio(saved, "cpu", "float32")
    models._real.cache_clear()


def test_a_sheet_is_what_the_model_draws(studio):
    seeds = (3, 1, 4, 1000)
    sheet, model = draw(studio, Ask("tiny-gan", seeds)), studio.model("tiny-gan")
    assert np.array_equal(sheet.pictures, to_uint8(model.sample(seeds)))
    assert np.array_equal(sheet.z, model.latents(seeds).numpy())
    assert sheet.names == tuple(CLASSES[label] for label in classes(seeds, 3))
    assert sheet.seconds > 0


def test_the_verdict_is_on_the_picture_as_shown(studio):
    seeds = tuple(range(8))
    sheet, model = draw(studio, Ask("tiny-gan", seeds)), studio.model("tiny-gan")
    expected = model.verdict(from_uint8(sheet.pictures), classes(seeds, 3)).numpy()
    assert np.allclose(sheet.real, expected, atol=1e-6)
    assert np.ptp(sheet.real) > 1e-4  # or the test above could not fail


def test_a_seed_is_the_same_picture_alone_and_in_any_batch(studio):
    sheet = draw(studio, Ask("tiny-gan", tuple(range(20))))
    alone = draw(studio, Ask("tiny-gan", (17,)))
    difference = sheet.pictures[17].astype(int) - alone.pictures[0]
    assert np.abs(difference).max() <= 1  # a grey level: sums in another order
    assert sheet.pictures[17].std() > 0
    assert np.array_equal(sheet.z[17], alone.z[0])


def test_a_class_holds_for_all_and_naming_the_drawn_one_changes_nothing(studio):
    sheet = draw(studio, Ask("tiny-gan", (0, 1, 2, 3), label=2))
    assert sheet.names == ("star",) * 4
    drawn = int(classes([7], 3)[0])
    anyone, named = (draw(studio, Ask("tiny-gan", (7,), label)) for label in (None, drawn))
    assert np.array_equal(anyone.pictures, named.pictures)


def test_truncation_cuts_z_and_none_does_not(studio):
    seeds = tuple(range(32))
    free = draw(studio, Ask("tiny-gan", seeds))
    cut = draw(studio, Ask("tiny-gan", seeds, truncation=0.5))
    assert np.abs(free.z).max() > 1.5
    assert np.abs(cut.z).max() <= 0.5
    assert np.array_equal(cut.z, truncated(torch.from_numpy(free.z), 0.5).numpy())


def test_the_same_question_costs_one_call(studio):
    assert draw(studio, Ask("tiny-gan", (1, 2))) is draw(studio, Ask("tiny-gan", (1, 2)))
    assert mix(studio, Ask("tiny-gan", (1, 2))) is mix(studio, Ask("tiny-gan", (1, 2)))
    assert draw(studio, Ask("tiny-gan", (1, 2))) is not draw(studio, Ask("tiny-gan", (2, 1)))


def test_picked_has_everything_of_one_picture(studio):
    sheet = draw(studio, Ask("tiny-gan", (5, 6, 9)))
    one = sheet.picked(2)
    assert (one.model, one.seed, one.name) == ("tiny-gan", 9, sheet.names[2])
    assert np.array_equal(one.picture, sheet.pictures[2])
    assert np.array_equal(one.z, sheet.z[2])
    assert one.real == sheet.real[2]
    for index in (-1, 3):
        with pytest.raises(GendiffError, match="3 pictures"):
            sheet.picked(index)


def test_a_mix_is_half_generated_and_half_real_without_repeats(studio):
    ask = Ask("tiny-gan", tuple(range(100, 110)))
    sheet, mixed, real = draw(studio, ask), mix(studio, ask), studio.real("shapes")
    assert len(mixed.pictures) == 20
    assert sorted(seed for seed in mixed.seeds if seed is not None) == list(ask.seeds)
    found = set()
    for picture, seed, name in zip(mixed.pictures, mixed.seeds, mixed.names, strict=True):
        if seed is None:
            (index,) = np.flatnonzero((real.pictures == picture).all((1, 2, 3)))
            assert name == CLASSES[real.labels[index]]
            found.add(int(index))
        else:
            assert np.array_equal(picture, sheet.pictures[seed - 100])
            assert name == sheet.names[seed - 100]
    assert len(found) == 10


def test_a_mix_is_judged_in_its_own_order(studio):
    mixed, model = mix(studio, Ask("tiny-gan", (4, 5, 6))), studio.model("tiny-gan")
    labels = torch.tensor([CLASSES.index(name) for name in mixed.names])
    expected = model.verdict(from_uint8(mixed.pictures), labels).numpy()
    assert np.allclose(mixed.real, expected, atol=1e-6)
    assert np.ptp(mixed.real) > 1e-4


def test_a_mix_follows_its_first_seed_and_is_shuffled(studio):
    orders = [mix(studio, Ask("tiny-gan", tuple(range(s, s + 12)))).seeds for s in range(4)]
    shapes = {tuple(seed is None for seed in order) for order in orders}
    assert len(shapes) == 4  # 12 of 24 places: 2.7 million shapes
    ask = Ask("tiny-gan", tuple(range(12)))
    first = mix(studio, ask)
    mix.cache_clear()
    again = mix(studio, ask)
    assert again is not first and again.seeds == first.seeds
    assert np.array_equal(again.pictures, first.pictures)


def test_a_mix_of_one_class_has_only_that_class(studio):
    mixed = mix(studio, Ask("tiny-gan", tuple(range(16)), label=1))
    assert mixed.names == ("square",) * 20  # there are 10 real ones, so 10 generated ones
    assert sum(seed is None for seed in mixed.seeds) == 10


def test_a_mix_has_at_most_16_of_each(studio):
    mixed = mix(studio, Ask("tiny-gan", tuple(range(64))))
    assert mixed.seeds.count(None) == 16
    assert sorted(seed for seed in mixed.seeds if seed is not None) == list(range(16))


def test_accuracy_by_hand():
    mixed = Mixed(
        pictures=np.zeros((4, 2, 2, 1), np.uint8),
        names=("",) * 4,
        seeds=(None, 7, None, 8),
        real=np.array([0.9, 0.9, 0.49, 0.1], np.float32),
        seconds=0.0,
    )
    assert mixed.right.tolist() == [True, False, False, True]
    assert mixed.accuracy == 0.5
    assert mixed.chance == pytest.approx((0.01, 0.99))  # 1.96 / (2 sqrt(4)) = 0.49


def test_even_odds_count_as_real():
    pictures, real = np.zeros((2, 1, 1, 1), np.uint8), np.array([0.5, 0.5], np.float32)
    assert Mixed(pictures, ("", ""), (None, 3), real, 0.0).right.tolist() == [True, False]


def test_what_a_person_can_put_right_is_said(studio):
    cases = {
        "no GAN": Ask("tiny-diffusion", (0,)),
        "no model": Ask("nobody", (0,)),
        "at most 64": Ask("tiny-gan", tuple(range(65))),
        "class must be": Ask("tiny-gan", (0,), label=3),
        "Truncation must be": Ask("tiny-gan", (0,), truncation=0.01),
        "least one seed": Ask("tiny-gan", ()),
        "whole number": Ask("tiny-gan", (-1,)),
    }
    for said, ask in cases.items():
        with pytest.raises(GendiffError, match=said):
            draw(studio, ask)
        with pytest.raises(GendiffError, match=said):
            mix(studio, ask)


def test_a_class_without_real_pictures_is_said(studio, monkeypatch):
    real = models.Real(np.zeros((1, 8, 8, 1), np.uint8), np.array([0]))
    monkeypatch.setattr(studio, "real", lambda data: real)
    with pytest.raises(GendiffError, match="no bundled real pictures of this class"):
        mix(studio, Ask("tiny-gan", (0,), label=1))


@pytest.mark.cuda
def test_cuda_draws_what_the_cpu_draws(saved):
    ask = Ask("tiny-gan", tuple(range(16)))
    cpu, cuda = (draw(Studio(saved, name, "float32"), ask) for name in ("cpu", "cuda"))
    assert np.abs(cpu.pictures.astype(int) - cuda.pictures).max() <= 1
    assert np.allclose(cpu.real, cuda.real, atol=2e-3)
