"""Ways through a latent space: ends, norms, corners."""

from __future__ import annotations

import math

import pytest
import torch

from gendiff.errors import GendiffError
from gendiff.latent import FRAMES_MAX, PATHS, grid, lerp, slerp, walk


def latents(count, *shape, seed=0, dtype=torch.float32):
    return torch.randn(count, *shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


@pytest.mark.parametrize("path", PATHS.values(), ids=PATHS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("shape", [(100,), (3, 8, 8), (1,)])
def test_the_ends_are_exact(path, dtype, shape):
    for seed in range(20):
        a, b = latents(2, *shape, seed=seed).to(dtype)
        assert torch.equal(path(a, b, 0.0), a) and torch.equal(path(a, b, 1.0), b)
        assert path(a, b, 0.3).dtype == dtype and path(a, b, 0.3).shape == shape


def test_lerp_is_the_straight_line():
    a, b = latents(2, 50, dtype=torch.float64)
    for u in (0.1, 0.5, 0.8, torch.tensor(0.25)):
        torch.testing.assert_close(lerp(a, b, u), (1 - u) * a + u * b)


def test_slerp_keeps_the_norm_and_turns_evenly():
    a, b = latents(2, 1, 8, 8, dtype=torch.float64)
    b = b * a.norm() / b.norm()
    omega = math.acos(float((a * b).sum() / (a.norm() * b.norm())))
    for u in (0.0, 0.1, 0.25, 0.5, 0.9, 1.0):
        point = slerp(a, b, u)
        torch.testing.assert_close(point.norm(), a.norm(), rtol=1e-12, atol=0)
        cosine = float((a * point).sum() / a.norm() ** 2)
        assert math.acos(min(cosine, 1)) == pytest.approx(u * omega, abs=1e-7)
        torch.testing.assert_close(slerp(a, b, torch.tensor(u)), point, rtol=1e-6, atol=1e-6)


def test_half_way_lerp_leaves_the_shell_and_slerp_stays():
    a, b = latents(2, 100_000)
    shell = math.sqrt(100_000)
    assert float(lerp(a, b, 0.5).norm()) == pytest.approx(shell / math.sqrt(2), rel=0.02)
    assert float(slerp(a, b, 0.5).norm()) == pytest.approx(shell, rel=0.02)


def test_nearly_parallel_latents_keep_the_norm_in_float32():
    a = latents(1, 1000)[0]
    b = a + 1e-5 * latents(1, 1000, seed=1)[0]
    b = b * (a.norm() / b.norm())
    for u in (0.2, 0.5):
        torch.testing.assert_close(slerp(a, b, u).norm(), a.norm(), rtol=1e-6, atol=0)


@pytest.mark.parametrize("factor", [1.0, -1.0, 2.0, -0.5])
def test_parallel_and_antiparallel_latents_take_the_line(factor):
    a = latents(1, 30)[0]
    for u in (0.0, 0.25, 0.5, 1.0):
        point = slerp(a, factor * a, u)
        assert point.isfinite().all()
        torch.testing.assert_close(point, (1 - u + u * factor) * a, rtol=1e-5, atol=1e-6)


def test_the_origin_has_no_direction_but_does_no_harm():
    a, origin = latents(1, 30)[0], torch.zeros(30)
    for u in (0.0, 0.5, 1.0):
        assert slerp(a, origin, u).isfinite().all() and slerp(origin, a, u).isfinite().all()
    assert torch.equal(slerp(origin, origin, 0.5), origin)


@pytest.mark.parametrize("path", PATHS)
def test_a_walk_visits_its_anchors(path):
    anchors = latents(4, 1, 4, 4)
    points = walk(anchors, 13, path)
    assert points.shape == (13, 1, 4, 4)
    assert torch.equal(points[[0, 4, 8, 12]], anchors)
    torch.testing.assert_close(points[2], PATHS[path](anchors[0], anchors[1], 0.5))
    uneven = walk(anchors, 10, path)  # the anchors fall on frames 0, 3, 6, 9
    assert torch.equal(uneven[[0, 3, 6, 9]], anchors)
    assert torch.equal(walk(anchors[:2], 2, path), anchors[:2])


@pytest.mark.parametrize("path", PATHS)
def test_a_loop_returns_without_repeating_the_start(path):
    anchors = latents(3, 20)
    points = walk(anchors, 12, path, loop=True)
    assert torch.equal(points[[0, 4, 8]], anchors)
    torch.testing.assert_close(points[10], PATHS[path](anchors[2], anchors[0], 0.5))
    assert not torch.allclose(points[11], anchors[0])
    torch.testing.assert_close(
        points[11], PATHS[path](anchors[2], anchors[0], 0.75), rtol=1e-5, atol=1e-5
    )


@pytest.mark.parametrize("path", PATHS)
def test_a_grid_has_its_corners_and_its_edges(path):
    corners = latents(4, 2, 3)
    points = grid(corners, 3, 5, path).reshape(3, 5, 2, 3)
    assert torch.equal(points[[0, 0, -1, -1], [0, -1, 0, -1]], corners)
    torch.testing.assert_close(points[0], walk(corners[:2], 5, path))
    torch.testing.assert_close(points[:, 0], walk(corners[[0, 2]], 3, path))
    middle = PATHS[path](points[1, 0], points[1, -1], 0.5)
    torch.testing.assert_close(points[1, 2], middle)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ((latents(1, 5), 4), "at least two seeds"),
        ((latents(2, 5), 1), "number of frames must be .* from 2 to 1,000; got 1"),
        ((latents(2, 5), FRAMES_MAX + 1), "got 1001"),
        ((latents(2, 5), 2.5), "got 2.5"),
        ((latents(2, 5), "many"), "got many"),
        ((latents(2, 5), 4, "straight"), "slerp or lerp"),
    ],
)
def test_bad_walks_are_refused(arguments, says):
    with pytest.raises(GendiffError, match=says):
        walk(*arguments)


def test_bad_grids_are_refused():
    with pytest.raises(GendiffError, match="exactly four"):
        grid(latents(3, 5), 3, 3)
    with pytest.raises(GendiffError, match="from 2 to"):
        grid(latents(4, 5), 1, 3)


def test_walks_stay_on_the_device(device):
    points = walk(latents(2, 7).to(device), 4)
    assert points.device.type == device.type
    torch.testing.assert_close(points.cpu(), walk(latents(2, 7), 4))
