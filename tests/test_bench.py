"""The measurements themselves: exact where the truth is known, plausible elsewhere."""

from __future__ import annotations

import json
import math
import time
from dataclasses import asdict
from types import SimpleNamespace

import pytest
import torch
from conftest import randomized
from torch import nn

from gendiff import bench, weights
from gendiff.__main__ import main
from gendiff.assembly import assemble, build
from gendiff.learners import blank_card
from gendiff.machine import Conditions, Startup
from gendiff.recipes import RECIPES
from gendiff.report import Report, table
from gendiff.sample import SAMPLERS


def test_psnr_is_its_definition():
    a = torch.zeros(3, 1, 4, 4)
    b = torch.stack([a[0], a[1] + 0.02, a[2] - 2])
    b[2, :, :2] = 0  # half of the pixels differ by all of the range
    expected = [bench.PSNR_MAX, 40.0, 10 * math.log10(2)]
    assert bench.psnr(a, b).tolist() == pytest.approx(expected, abs=1e-4)


class Sleeper(nn.Module):
    """A network call of 40 ms."""

    def forward(self):
        time.sleep(0.04)


def sleepy(calls, own):
    """A model whose steps are `calls` network calls and `own` seconds of something else."""
    net = Sleeper()

    def trajectory(seeds, *, sampler, steps, eta):
        for _ in range(steps):
            for _ in range(calls):
                net()
            time.sleep(own)
            yield None

    return SimpleNamespace(
        denoiser=SimpleNamespace(net=net),
        device=torch.device("cpu"),
        schedule=SimpleNamespace(T=100),
        trajectory=trajectory,
    )


@pytest.mark.parametrize(
    ("calls", "own", "share"), [(1, 0.0, 0.0), (1, 0.04, 1 / 2), (2, 0.04, 1 / 3), (0, 0.01, 1.0)]
)
def test_overhead_is_what_the_network_does_not_take(calls, own, share):
    measured = bench.sampler_overhead(sleepy(calls, own), "ddim", steps=7)
    assert measured == pytest.approx(share, abs=0.08)


def test_the_network_clock_lets_go_of_the_network():
    net = Sleeper()
    with bench.network_clock(net, torch.device("cpu")) as calls:
        net()
        net()
    net()
    assert len(calls) == 2 and all(0.04 <= seconds < 1 for seconds in calls)
    assert not net._forward_hooks and not net._forward_pre_hooks


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_samplers_cost_at_most_a_twentieth_of_a_step(sampler):
    """16 images of 32x32 with the architecture of fashion-diffusion: the design's bound."""
    card = blank_card(RECIPES["fashion-diffusion"])
    net = randomized(build(card)["net"]).requires_grad_(False).eval()
    model = assemble(card, {"net": net.to(memory_format=torch.channels_last)})
    assert model.shape == (1, 32, 32)
    assert 0 < bench.sampler_overhead(model, sampler, steps=6) <= 0.05


def test_measures_of_a_diffusion_model(saved):
    one = bench.measure(saved / "tiny-diffusion", "cpu", "float32")
    assert (one.name, one.family, one.shape) == ("tiny-diffusion", "diffusion", (1, 8, 8))
    assert [(pace.batch, pace.nfe) for pace in one.paces] == [(1, 20), (16, 20)]
    for pace in one.paces:
        seconds = (
            pace.batch / pace.images_per_second
        )  # of the run, so 20 steps of about the median
        assert 0.2 < seconds / (20 * pace.ms_per_step / 1000) < 20
    assert one.overhead.keys() == SAMPLERS.keys()
    assert all(0 < share < 1 for share in one.overhead.values())
    assert one.load_seconds > one.read_seconds > 0 and (one.peak_mb is None or one.peak_mb > 50)


def test_measures_of_a_gan(saved):
    one = bench.measure(saved / "tiny-gan", "cpu", "float32", quick=True)
    assert [(pace.batch, pace.nfe) for pace in one.paces] == [(1, 1), (16, 1)]
    for pace in one.paces:
        assert pace.images_per_second == pytest.approx(pace.batch / pace.ms_per_step * 1000)
    assert one.overhead == {}


def test_a_pace_counts_steps_and_leaves_the_warm_up_out(saved, monkeypatch):
    model = weights.load(saved / "tiny-diffusion", "cpu", "float32")
    sizes = []
    hook = model.denoiser.net.register_forward_pre_hook(lambda _, x: sizes.append(len(x[0])))
    assert bench.pace(model, 16, 20).nfe == 20
    hook.remove()
    assert sizes == [16] * 21
    assert bench.pace(model, 1, 500).nfe == 100  # the schedule has no more


@pytest.mark.parametrize(("name", "nfe"), [("tiny-gan", 1), ("tiny-diffusion", 20)])
def test_precision_compares_the_same_seeds_in_both_types(saved, name, nfe):
    one = bench.precision(saved / name, "cpu")
    models = {dtype: weights.load(saved / name, "cpu", dtype) for dtype in ("float32", "bfloat16")}
    options = {} if name == "tiny-gan" else {"sampler": "dpmpp_2m", "steps": 20}
    a, b = (model.sample(range(16), **options) for model in models.values())
    values = bench.psnr(a, b)
    assert (one.images, one.nfe) == (16, nfe)
    assert one.psnr_median == pytest.approx(float(values.median()), abs=0.5)
    assert one.psnr_lowest == pytest.approx(float(values.min()), abs=0.5)
    assert 15 < one.psnr_lowest <= one.psnr_median < bench.PSNR_MAX


def test_a_table_is_as_wide_as_it_must_be():
    rows = [("a", "10", "-"), ("longer", "9", "MIT")]
    assert table(("name", "count", "x"), rows) == (
        "name    count  x\na          10  -\nlonger      9  MIT"
    )


def report(overhead, startup=None):
    pace = bench.Pace(16, 12.345, 64.8, 20)
    one = bench.Measures(
        "cats-x", "diffusion", (3, 64, 64), 7, 0.1, 0.004, (pace,), overhead, 512.4
    )
    where = Conditions("A processor, 2 cores", "cpu", "float32", 2, "2.9", "of the whole process")
    exact = bench.Precision("cats-x", 57.64, 51.2, 16, 20, 1.0, 2.0)
    return Report(where, startup, (one,), (exact,))


def test_a_report_says_everything_it_knows():
    text = report({"ddpm": 0.031, "ddim": 0.007}, Startup(2.5, 2.25, 6.54)).text()
    for words in (
        "A processor, 2 cores: cpu, float32, 2 threads, torch 2.9",
        "57.6 dB",
        "import gendiff 2.50 s (torch alone 2.25 s); app.py to its page 6.5 s",
    ):
        assert words in text
    row = ["cats-x", "3x64x64", "16", "20", "12.35", "64.80", "3.1%", "512", "100.0", "4.0"]
    assert row in [line.split() for line in text.splitlines()]
    assert "app.py" not in report({}, Startup(2.5, 2.25, None)).text()
    assert "import gendiff" not in report({}).text()


def test_the_command_prints_a_table_or_json(saved, capsys):
    names = [str(saved / name) for name in ("tiny-gan", "tiny-diffusion")]
    flags = ["--quick", "--device", "cpu", "--dtype", "float32"]
    assert main(["bench", *names, *flags, "--precision", "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result.keys() == {"conditions", "startup", "checkpoints", "precision"}
    assert result["conditions"]["threads"] == torch.get_num_threads()
    assert [one["name"] for one in result["checkpoints"]] == ["tiny-gan", "tiny-diffusion"]
    assert [one["nfe"] for one in result["precision"]] == [1, 5]
    assert result["startup"] is None

    assert main(["bench", names[0], *flags]) == 0
    assert "images/s" in capsys.readouterr().out


def test_the_command_with_nothing_to_measure(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(weights, "BUNDLED", tmp_path)
    assert main(["bench", "--quick"]) == 2
    assert "no bundled checkpoints" in capsys.readouterr().err


def test_a_report_is_json():
    assert json.loads(json.dumps(asdict(report({"ddim": 0.01}))))["precision"][0]["images"] == 16
