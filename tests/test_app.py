"""The real app with the bundled checkpoints: its public interface, its page."""

from __future__ import annotations

import base64
import io
import re
import socket
import subprocess
import sys
import threading
import time
from itertools import pairwise
from pathlib import Path

import httpx
import numpy as np
import psutil
import pytest
from gradio_client import Client
from gradio_client.exceptions import AppError
from PIL import Image

import gendiff
from gendiff.images import to_uint8

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def app(tmp_path_factory):
    """app.py as a person starts it; gives its address."""
    log = tmp_path_factory.mktemp("app") / "log"
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    with log.open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "gendiff", "app", "--port", port, "--device", "cpu"],
            cwd=ROOT,
            stdout=out,
            stderr=subprocess.STDOUT,
        )
    try:
        yield _address(log, process), process
    finally:
        process.terminate()
        process.wait(20)


def _address(log: Path, process: subprocess.Popen) -> str:
    for _ in range(600):
        if found := re.search(r"http://127\.0\.0\.1:\d+", log.read_text(errors="replace")):
            return found[0]
        assert process.poll() is None, log.read_text()
        time.sleep(0.2)
    raise AssertionError(f"no address after two minutes: {log.read_text()}")


@pytest.fixture(scope="module")
def client(app):
    return Client(app[0], verbose=False)


def picture(url: str) -> np.ndarray:
    with Image.open(io.BytesIO(base64.b64decode(url.removeprefix("data:image/png;base64,")))) as i:
        return np.asarray(i)


def test_models_are_the_bundled_ones_cheapest_first(client):
    models = client.predict(api_name="/models")
    assert [model["name"] for model in models] == [card.name for card in gendiff.models()]
    assert {"fashion-gan", "fashion-diffusion", "cats-gan", "cats-diffusion"} <= {
        model["name"] for model in models
    }


@pytest.mark.parametrize("name", ["fashion-gan", "fashion-diffusion"])
def test_sample_is_what_the_package_gives(client, name):
    options = {} if name.endswith("gan") else {"steps": 4}
    made = client.predict(name, "5, 9", "3", api_name="/sample", **options)
    own = gendiff.sample(gendiff.load(name, "cpu"), [5, 9], labels=3, **options)
    for url, pixels in zip(made["pictures"], to_uint8(own), strict=True):
        difference = picture(url).astype(int) - pixels[..., 0].astype(int)
        assert np.abs(difference).max() <= 1  # rounding, another batch and thread count
    assert made["seeds"] == [5, 9] and made["labels"] == [3, 3]
    assert made["nfe"] == (1 if name.endswith("gan") else 4)
    assert (
        made["seconds"] > 0 and "float32" in made["conditions"] or "bfloat16" in made["conditions"]
    )


def test_cats_have_colour(client):
    made = client.predict("cats-gan", "0-1", api_name="/sample")
    assert [picture(url).shape for url in made["pictures"]] == [(64, 64, 3)] * 2


def test_trajectory_streams_each_step(client):
    job = client.submit("fashion-diffusion", "0", "any", "ddim", 5, api_name="/trajectory")
    job.result(timeout=120)
    steps = job.outputs()
    assert [step["index"] for step in steps] == [0, 1, 2, 3, 4]
    assert steps[-1]["s"] == 0 and steps[-1]["nfe"] == 5
    for before, after in pairwise(steps):
        assert before["x_s"] == after["x_t"]  # one run: a step starts where the last one ended
    own = [*gendiff.trajectory(gendiff.load("fashion-diffusion", "cpu"), [0], steps=5)]
    for step, wanted in zip(steps, own, strict=True):
        eps = to_uint8(wanted.eps / 3)[0, ..., 0].astype(int)
        assert np.abs(picture(step["eps"][0]) - eps).max() <= 1
        log_snr = np.log(step["alpha_bar"] / (1 - step["alpha_bar"]))
        assert step["log_snr"] == pytest.approx(log_snr) == pytest.approx(wanted.log_snr)
        assert 0 < step["beta"] <= 1 and step["sigma"] == 0


def test_eta_and_variance_reach_the_sampler(client):
    def run(**options):
        made = client.predict("fashion-diffusion", "3", steps=3, api_name="/sample", **options)
        return made["pictures"]

    assert run(eta=1.0) != run() == run(eta=0.0)
    assert run(sampler="ddpm", variance="beta") != run(sampler="ddpm")
    options = {"sampler": "ddpm", "steps": 3, "variance": "beta"}
    job = client.submit("fashion-diffusion", "3", api_name="/trajectory", **options)
    job.result(timeout=120)
    assert [step["sigma"] > 0 for step in job.outputs()] == [True, True, False]


def test_interpolate_and_noise(client):
    frames = client.predict("fashion-gan", "1, 2", 5, api_name="/interpolate")
    assert len(frames) == 5 and len({*frames}) == 5
    clean = client.predict("fashion", 3, t=0, api_name="/noise")
    assert clean["alpha_bar"] == 1 and clean["log_snr"] is None
    noisy = client.predict("fashion", 3, t=900, api_name="/noise")
    assert noisy["alpha_bar"] < 0.1 and noisy["picture"] != clean["picture"]
    options = {"schedule": "constant", "T": 200, "t": 100, "alpha": 0.98}
    constant = client.predict("fashion", 3, api_name="/noise", **options)
    assert constant["alpha_bar"] == pytest.approx(0.98**100)
    with pytest.raises(AppError, match="alpha"):
        client.predict("fashion", 3, api_name="/noise", **{**options, "alpha": 2.0})


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        (("fashion-gan", "-3"), "seed"),
        (("fashion-gan", "1.5"), "seed"),
        (("fashion-gan", "abc"), "seed"),
        (("fashion-gan", "1" + "0" * 30), "seed"),
        (("fashion-gan", ""), "seed"),
        (("fashion-gan", "0-1000000"), "64"),
        (("fashion-gan", "0", "99"), "class"),
        (("no-such-model", "0"), "no model"),
        (("fashion-diffusion", "0", "any", "ddim", 1001), "1,000"),
        (("fashion-diffusion", "0", "any", "ddim", 0), "1,000"),
        (("fashion-diffusion", "0", "any", "magic", 5), "sampler"),
        (("fashion-diffusion", "0-63", "any", "ddim", 1000), "trajectory"),
    ],
)
def test_bad_requests_get_one_clear_sentence(client, asked, words):
    with pytest.raises(AppError, match=re.compile(words, re.IGNORECASE)):
        client.predict(*asked, api_name="/sample")
    assert client.predict(api_name="/models")  # the server lives on


def test_only_the_public_functions_are_named(client):
    named = client.view_api(return_format="dict", print_info=False)["named_endpoints"]
    assert {*named} == {"/models", "/sample", "/trajectory", "/interpolate", "/noise"}


def test_ten_visitors_at_once_all_finish(app):
    """Ten clients ask for 16 pictures in 5 steps at once; two work, the others wait their turn."""
    results: list[int] = []

    def visit(seed: int) -> None:
        one = Client(app[0], verbose=False)
        seeds = f"{seed}-{seed + 15}"
        made = one.predict("fashion-diffusion", seeds, "any", "ddim", 5, api_name="/sample")
        results.append(len(made["pictures"]))

    visitors = [threading.Thread(target=visit, args=(16 * i,)) for i in range(10)]
    for visitor in visitors:
        visitor.start()
    for visitor in visitors:
        visitor.join(200)
    assert results == [16] * 10


def test_memory_stays_put_over_many_runs(app, client):
    """1,000 runs fit in 2 GB; here 120 after a warm-up, and what they add is bounded by that."""
    process = psutil.Process(app[1].pid)
    for seed in range(30):
        client.predict("fashion-gan", f"{seed}-{seed + 15}", api_name="/sample")
    before = process.memory_info().rss
    for seed in range(120):
        client.predict("fashion-gan", f"{seed}-{seed + 15}", api_name="/sample")
    after = process.memory_info().rss
    assert after < 2e9
    assert (after - before) / 120 * 1000 < 0.8e9


def test_the_page_names_nothing_from_elsewhere(app):
    page = httpx.get(app[0]).text
    loaded = re.findall(r'(?:src|href)="(https?://[^"]+)"', page)
    assert [url for url in loaded if "127.0.0.1" not in url] == []
