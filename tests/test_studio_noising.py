"""Forward noising: both ways to x_t against the equations."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from gendiff import schedule
from gendiff.errors import GendiffError
from gendiff.images import from_uint8, to_uint8
from gendiff.noise import Noise
from gendiff.studio import noising
from gendiff.studio.noising import PARAMETERS, forward, make_schedule

SCHEDULES = {name: [parameter.default for parameter in own] for name, own in PARAMETERS.items()}
GREY, RGB = (1, 8, 8), (3, 8, 8)


class Recorder:
    """Stands for a network: keeps what it is asked, and answers half of it."""

    device, card = torch.device("cpu"), SimpleNamespace(title="Recorder")

    def __init__(self, shape, trained=None):
        self.shape, self.schedule = shape, trained or schedule.cosine(1000)
        self.asked: list[tuple[torch.Tensor, torch.Tensor]] = []

    def guess(self, x_t, t):
        self.asked.append((x_t, t))
        return 0.5 * x_t


def picture(shape, seed=0):
    channels, height, width = shape
    draw = np.random.default_rng(seed)
    return from_uint8(draw.integers(0, 256, (1, height, width, channels), dtype=np.uint8))


@pytest.mark.parametrize("name", SCHEDULES)
def test_both_ways_follow_their_equations(name):
    x0, levels = picture(RGB), make_schedule(name, 60, SCHEDULES[name])
    found = forward(Recorder(RGB), x0, levels, seed=7)
    noise = Noise([7])
    eps, walked, chain = noise.like(x0.double()), x0.double(), {0: x0.double()}
    for t in range(1, 61):
        beta = levels.betas[t - 1]
        walked = (1 - beta).sqrt() * walked + beta.sqrt() * noise.like(walked)
        chain[t] = walked
    for level in found:
        alpha_bar = torch.prod(1 - levels.betas[: level.t])
        x_t = alpha_bar.sqrt() * x0.double() + (1 - alpha_bar).sqrt() * eps
        assert level.alpha_bar == pytest.approx(float(alpha_bar), rel=1e-9)
        for way, own, x in (
            (level.closed, level.closed_noise, x_t),
            (level.chain, level.chain_noise, chain[level.t]),
        ):
            assert np.abs(way.astype(int) - to_uint8(x).astype(int)).max() <= 1
            added = (x - alpha_bar.sqrt() * x0).numpy()
            assert own.mean == pytest.approx(added.mean(), abs=1e-7)
            assert own.variance == pytest.approx(added.var(ddof=1), abs=1e-7)


@pytest.mark.parametrize("name", SCHEDULES)
def test_the_added_noise_has_the_predicted_mean_and_variance(name):
    shape = (3, 128, 128)
    found = forward(Recorder(shape), picture(shape), make_schedule(name, 200, SCHEDULES[name]), 0)
    assert found[0].deviation == 0
    assert all(0 < level.deviation < 4.5 for level in found[1:])
    assert found[25].variance_error == pytest.approx(
        (1 - found[25].alpha_bar) * (2 / (3 * 128**2 - 1)) ** 0.5
    )


def test_a_deviation_is_seen():
    level = forward(Recorder(GREY), picture(GREY), schedule.linear(100), 0)[50]
    shifted = noising.Moments(level.noise / 64**0.5 * 5, level.noise**2)
    wrong = noising.Level(**{**level.__dict__, "closed_noise": shifted})
    assert wrong.deviation == pytest.approx(5)


@pytest.mark.parametrize(
    ("T", "shape", "count"),
    [(1, GREY, 2), (100, GREY, 101), (1000, GREY, 101), (1000, RGB, 51), (37, RGB, 38)],
)
def test_levels_reach_from_the_picture_to_the_end(T, shape, count):
    found = forward(Recorder(shape), picture(shape), schedule.linear(T), 0)
    t = [level.t for level in found]
    assert len(t) == count == len(set(t))
    assert t[0] == 0 and t[-1] == T and t == sorted(t)
    assert max(np.diff(t)) - min(np.diff(t)) <= 1


def test_every_level_is_there_on_request_and_costs_one_call():
    model, x0 = Recorder(RGB), picture(RGB)
    way = noising.journey(model, x0, schedule.cosine(300), 7)
    assert model.asked == []
    found = way.levels([123, 7])
    assert [level.t for level in found] == [123, 7]
    assert [len(x_t) for x_t, _ in model.asked] == [2]
    (key,) = way.levels(way.keys[9:10])
    again = forward(model, x0, schedule.cosine(300), 7)[9]
    assert key.t == again.t and np.array_equal(key.chain, again.chain)
    assert key.chain_noise == again.chain_noise
    assert key.closed_noise.variance == pytest.approx(again.closed_noise.variance, rel=1e-12)
    assert way.signal[123] == found[0].signal and way.noise[123] == found[0].noise
    assert len(way.signal) == len(way.chain) == len(way.chain_noise) == 301


def test_the_network_gets_x_t_and_its_own_level():
    model = Recorder(GREY)
    levels = schedule.linear(300)
    x0 = picture(GREY)
    found = forward(model, x0, levels, 3)
    x_t = torch.cat([x for x, _ in model.asked])
    told = torch.cat([t for _, t in model.asked]).tolist()
    assert told == [level.asked for level in found]
    eps = Noise([3]).like(x0)
    trained = model.schedule.log_snr(torch.arange(1, 1001))
    for row, level in zip(x_t, found, strict=True):
        t = torch.tensor([level.t])
        torch.testing.assert_close(row[None], levels.add_noise(x0, t, eps), atol=1e-6, rtol=0)
        off = to_uint8(0.5 * row[None])[0].astype(int) - level.guess[0].astype(int)
        assert np.abs(off).max() <= 1
        error = (0.5 * row - x0).square().mean().sqrt() * 127.5
        assert level.error == pytest.approx(float(error), rel=1e-5)
        if level.t:
            best = (trained - float(levels.log_snr(level.t))).abs().min()
            assert abs(level.gap) == pytest.approx(float(best), abs=1e-9)
            assert abs(level.gap) < 0.1


def test_on_the_networks_own_schedule_it_is_told_t():
    found = forward(Recorder(GREY), picture(GREY), schedule.cosine(1000), 0)
    assert [level.asked for level in found] == [1, *range(10, 1001, 10)]
    assert all(level.gap == 0 for level in found)


def test_levels_that_the_network_does_not_know_get_its_nearest():
    trained = schedule.linear(100)  # its last level still has signal
    wanted = torch.tensor([float("inf"), -50.0, float("-inf")], dtype=torch.float64)
    asked, gap = noising.same_noise(trained, wanted)
    assert asked.tolist() == [1, 100, 100]
    assert gap.tolist() == [0, float(trained.log_snr(100)) + 50, 0]


def test_a_real_network_guesses_as_when_asked_once(diffusion):
    x0 = picture(diffusion.shape)
    found = forward(diffusion, x0, schedule.linear(50), 1)
    eps = Noise([1]).like(x0)
    for level in found[::10]:
        x_t = schedule.linear(50).add_noise(x0, level.t, eps).to(diffusion.device)
        alone = to_uint8(diffusion.guess(x_t, level.asked))
        assert np.abs(alone.astype(int) - level.guess.astype(int)).max() <= 1


def test_the_seed_decides_and_nothing_else():
    x0, levels = picture(GREY), schedule.cosine(40)
    one, same, other = (forward(Recorder(GREY), x0, levels, seed) for seed in (5, 5, 6))
    assert all(
        np.array_equal(a.closed, b.closed) and np.array_equal(a.chain, b.chain)
        for a, b in zip(one, same, strict=True)
    )
    assert not np.array_equal(one[-1].closed, other[-1].closed)
    assert not np.array_equal(one[-1].closed, one[-1].chain)


def test_the_histogram_counts_every_value():
    x0 = picture(GREY)
    found = forward(Recorder(GREY), x0, schedule.cosine(1000), 0)
    width = 2 * noising.REACH / noising.BINS
    for level, x in ((found[0], x0), (found[-1], Noise([0]).like(x0))):
        edges = np.arange(noising.BINS + 1) * width - noising.REACH
        inside = np.clip(x.numpy(), -noising.REACH, noising.REACH - 1e-6)
        assert sum(level.counts) == level.values == 64
        # The end is noise with 5e-5 of signal: a value may cross an edge.
        moved = np.abs(np.histogram(inside, edges)[0] - level.counts).sum()
        assert moved <= (0 if level.t == 0 else 2)


def test_a_picture_of_another_shape_is_refused():
    with pytest.raises(GendiffError, match="8 x 8 pixels, grey"):
        forward(Recorder(GREY), picture(RGB), schedule.linear(10), 0)


def test_signal_left_tells_schedules_that_do_not_end_in_noise():
    left = {T: noising.signal_left(schedule.linear(T)) for T in (50, 200, 1000)}
    assert left[200] == pytest.approx(0.364, abs=5e-4)
    assert left[50] > left[200] > noising.SIGNAL_MAX > left[1000]


@pytest.mark.parametrize("name", SCHEDULES)
def test_schedules_are_the_named_ones(name):
    made = make_schedule(name, 100, [*SCHEDULES[name], None, None, None][:3])
    parameters = {p.name: p.default for p in PARAMETERS[name]}
    assert torch.equal(made.betas, schedule.named(name, T=100, **parameters).betas)


@pytest.mark.parametrize(
    ("name", "T", "values", "says"),
    [
        ("spiral", 10, [], "no schedule 'spiral'"),
        ("cosine", 0, [0.008], "from 1 to 1,000; got 0"),
        ("cosine", 1001, [0.008], "from 1 to 1,000"),
        ("cosine", 10.5, [0.008], "whole number"),
        ("cosine", None, [0.008], "whole number"),
        ("cosine", float("nan"), [0.008], "whole number"),
        ("cosine", float("inf"), [0.008], "whole number"),
        ("cosine", 10, [], "s goes from 0 to 1; the field is empty"),
        ("cosine", 10, [float("nan")], "got nan"),
        ("linear", 10, [0.1, 1.0], "beta_T goes from"),
        ("linear", 10, [-0.1, 0.1], "beta_1 goes from"),
        ("constant", 10, [1.0], "alpha goes from"),
        ("sigmoid", 10, [3, -3, 1], "start below end"),
    ],
)
def test_a_schedule_that_cannot_be_is_refused(name, T, values, says):
    with pytest.raises(GendiffError, match=says):
        make_schedule(name, T, values)
