"""Walks and grids between seeds: where they lead, and that both families decode them."""

import math
import shutil

import numpy as np
import pytest
import torch

from gendiff import latent
from gendiff.errors import GendiffError
from gendiff.images import to_uint8
from gendiff.noise import classes
from gendiff.studio import Studio, decoding
from gendiff.studio import walk as walks

DATA = "shapes"


@pytest.fixture
def studio(saved, device):
    return Studio(saved, device.type, "float32")


@pytest.fixture
def here(saved):
    return Studio(saved, "cpu", "float32")


def lanes(made):
    return made.pair.gan, made.pair.diffusion


def finished(pair, batch=None):
    return [p for p in decoding.diffusion_pictures(pair, batch) if p.pictures is not None]


# ---- Where a walk leads ---------------------------------------------------------------------


@pytest.mark.parametrize("loop", [False, True])
@pytest.mark.parametrize("path", ["slerp", "lerp"])
def test_a_walk_is_the_anchors_weighted(studio, path, loop):
    made = walks.walk(studio, DATA, "5, 2, 9", frames=11, path=path, loop=loop)
    for lane in lanes(made):
        of_seed = dict(zip((5, 2, 9), lane.model.latents([5, 2, 9]), strict=True))
        expected = latent.walk(lane.model.latents([5, 2, 9]), 11, path, loop)
        assert torch.equal(lane.latents, expected)
        for place, (w_a, w_b), point in zip(made.places, lane.weights, expected, strict=True):
            mixed = w_a * of_seed[place.a] + w_b * of_seed[place.b]
            torch.testing.assert_close(mixed.float(), point, rtol=0, atol=1e-5)


def test_places_name_the_seeds_in_order():
    places = walks._places((5, 2, 9), 5, loop=False)
    assert [(p.a, p.b, p.u) for p in places] == [
        *((5, 2, 0.0), (5, 2, 0.5), (2, 9, 0.0), (2, 9, 0.5), (2, 9, 1.0))
    ]
    round_trip = walks._places((5, 2), 4, loop=True)
    assert [(p.a, p.b, p.u) for p in round_trip] == [
        *((5, 2, 0.0), (5, 2, 0.5), (2, 5, 0.0), (2, 5, 0.5))
    ]
    assert [p.position for p in round_trip] == [0.0, 0.5, 1.0, 1.5]


def test_norms_are_measured_in_radii_of_the_shell(studio):
    made = walks.walk(studio, DATA, "1, 2", frames=3)
    for lane in lanes(made):
        dim = math.prod(lane.latents.shape[1:])
        expected = [float(np.linalg.norm(x.cpu().numpy())) / math.sqrt(dim) for x in lane.latents]
        assert lane.dim == dim
        np.testing.assert_allclose(lane.norms, expected, rtol=1e-5)


def test_half_way_the_line_is_shorter_than_the_arc_by_the_cosine(studio):
    made = walks.walk(studio, DATA, "1, 2", frames=3, path="slerp")
    for arc, line in zip(lanes(made), (made.other.gan, made.other.diffusion), strict=True):
        a, b = arc.model.latents([1, 2]).flatten(1).double()
        omega = math.acos(float(a @ b / (a.norm() * b.norm())))
        assert line.norms[1] / arc.norms[1] == pytest.approx(math.cos(omega / 2), rel=1e-5)
        np.testing.assert_allclose(line.norms[[0, 2]], arc.norms[[0, 2]], rtol=1e-5)


def test_the_corners_of_a_grid_are_its_seeds(studio):
    made = walks.grid(studio, DATA, "4-7", side=3)
    for lane in lanes(made):
        torch.testing.assert_close(lane.latents[[0, 2, 6, 8]], lane.model.latents([4, 5, 6, 7]))
        middle = latent.slerp(lane.latents[3], lane.latents[5], 0.5)
        torch.testing.assert_close(lane.latents[4], middle)


# ---- Pictures -------------------------------------------------------------------------------


@pytest.mark.parametrize("batch", [1, 3, 16])
def test_pictures_are_the_models_own(studio, batch):
    made = walks.walk(studio, DATA, "5, 2", frames=7, label=1, steps=4)
    gan, diffusion = lanes(made)
    labels = torch.full((7,), 1, device=studio.device)
    np.testing.assert_array_equal(
        decoding.gan_pictures(made.pair).pictures, to_uint8(gan.model.decode(gan.latents, labels))
    )
    expected = to_uint8(diffusion.model.decode(diffusion.latents, labels, steps=4)).astype(int)
    parts = finished(made.pair, batch)
    assert [part.first for part in parts] == list(range(0, 7, batch))
    got = np.concatenate([part.pictures for part in parts]).astype(int)
    assert got.shape == expected.shape
    # Batches of another size round differently, here and there by one grey level.
    assert np.abs(got - expected).max() <= 1
    assert len(np.unique(got)) > 10


def test_a_sign_of_life_after_each_call(studio):
    made = walks.walk(studio, DATA, "5, 2", frames=3, steps=4)
    news = list(decoding.diffusion_pictures(made.pair, batch=2))
    assert [(p.first, p.count, p.call) for p in news] == [
        *((0, 2, call) for call in (1, 2, 3, 4)),
        *((2, 1, call) for call in (1, 2, 3, 4)),
    ]
    assert [p.pictures is None for p in news] == [True, True, True, False] * 2
    seconds = [p.seconds for p in news]
    assert seconds == sorted(seconds) and seconds[0] > 0


def test_closing_stops_the_work(studio):
    made = walks.walk(studio, DATA, "5, 2", frames=9, steps=10)
    calls = []
    made.pair.diffusion.model.denoiser.net.register_forward_hook(lambda *_: calls.append(1))
    news = decoding.diffusion_pictures(made.pair, batch=3)
    next(news)
    before = len(calls)
    next(news)
    news.close()
    assert len(calls) == before + 1


def test_a_full_device_gets_smaller_batches(studio, monkeypatch):
    made = walks.walk(studio, DATA, "5, 2", frames=5, steps=3)
    expected = np.concatenate([p.pictures for p in finished(made.pair, 1)]).astype(int)
    model, real = made.pair.diffusion.model, made.pair.diffusion.model.trajectory

    def small(seeds, **options):
        if len(list(seeds)) > 2:
            raise torch.OutOfMemoryError("full")
        return real(seeds, **options)

    monkeypatch.setattr(model, "trajectory", small)
    monkeypatch.setattr(decoding, "_BATCH", {})  # no warm-up differs from the batches below
    got = np.concatenate([p.pictures for p in finished(made.pair, 2)]).astype(int)
    assert np.abs(got - expected).max() <= 1
    sizes = [p.count for p in decoding._batches(made.pair, 5) if p.pictures is not None]
    assert sizes == [2, 2, 1]


def test_a_device_too_full_for_one_picture_says_so(studio, monkeypatch):
    made = walks.walk(studio, DATA, "5, 2", frames=2, steps=3)

    def full(*_, **__):
        raise torch.OutOfMemoryError("full")

    monkeypatch.setattr(made.pair.diffusion.model, "trajectory", full)
    with pytest.raises(GendiffError, match="too little free memory"):
        list(decoding._batches(made.pair, 4))


def test_noise_pictures_are_x_T(studio):
    pair = walks.walk(studio, DATA, "5, 2", frames=2).pair
    np.testing.assert_array_equal(decoding.noise_pictures(pair), to_uint8(pair.diffusion.latents))


# ---- Class ----------------------------------------------------------------------------------


def test_any_class_is_the_first_seeds_own(studio):
    drawn = {int(classes([seed], 3)) for seed in range(8)}
    assert len(drawn) > 1
    for seed in range(8):
        pair = walks.walk(studio, DATA, f"{seed}, 99", frames=2).pair
        assert pair.gan.label.tolist() == [int(classes([seed], 3))]
        assert (pair.class_name, pair.drawn_by) == (
            ("round", "square", "star")[int(pair.gan.label)],
            seed,
        )


def test_a_chosen_class_is_nobodys_draw(studio):
    pair = walks.grid(studio, DATA, "1-4", side=2, label=2).pair
    assert (pair.gan.label.tolist(), pair.class_name, pair.drawn_by) == ([2], "star", None)


# ---- What is refused ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"seeds": "7"}, "2 to 4 seeds; you gave 1"),
        ({"seeds": "1-5"}, "2 to 4 seeds; you gave 5"),
        ({"seeds": ""}, "whole numbers"),
        ({"seeds": "cat, dog"}, "whole numbers"),
        ({"seeds": "-1, 3"}, "whole numbers"),
        ({"seeds": "1.5, 3"}, "whole numbers"),
        ({"seeds": f"1, {10**30}"}, "whole number"),
        ({"pair": "dogs"}, "choose from shapes"),
        ({"pair": None}, "choose from shapes"),
        ({"frames": 1}, "Frames must be a whole number from 2 to 120"),
        ({"frames": 121}, "Frames must be"),
        ({"frames": 10**6}, "Frames must be"),
        ({"frames": 2.5}, "Frames must be"),
        ({"frames": math.nan}, "Frames must be"),
        ({"frames": None}, "Frames must be"),
        ({"path": "zigzag"}, "choose slerp or lerp"),
        ({"label": 3}, "class"),
        ({"label": -1}, "class"),
        ({"steps": 1}, "DDIM steps must be"),
        ({"steps": 101}, "DDIM steps must be"),
    ],
)
def test_a_walk_refuses(here, wrong, said):
    with pytest.raises(GendiffError, match=said):
        walks.walk(here, **{"pair": DATA, "seeds": "1, 2", **wrong})


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"seeds": "1, 2, 3"}, "exactly 4 seeds, one for each corner; you gave 3"),
        ({"seeds": "1-5"}, "exactly 4"),
        ({"side": 1}, "Pictures a side must be a whole number from 2 to 8"),
        ({"side": 9}, "Pictures a side must be"),
        ({"path": "zigzag"}, "choose slerp or lerp"),
    ],
)
def test_a_grid_refuses(here, wrong, said):
    with pytest.raises(GendiffError, match=said):
        walks.grid(here, **{"pair": DATA, "seeds": "1-4", **wrong})


def test_a_data_set_needs_both_families(checkpoints):
    assert list(walks.pairs(Studio(checkpoints, "cpu"))) == [DATA]
    shutil.rmtree(checkpoints / "tiny-gan")
    alone = Studio(checkpoints, "cpu")
    assert walks.pairs(alone) == {}
    with pytest.raises(GendiffError, match="No GAN and diffusion model share"):
        walks.walk(alone, DATA, "1, 2")
