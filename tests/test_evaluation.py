"""Sampling and scoring: resumable, seeded, with its conditions; the command around it."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch
from conftest import CARDS, CLASSES

from gendiff import evaluate, evaluation, metrics, speed, weights
from gendiff.__main__ import main
from gendiff.cards import FEATURES
from gendiff.errors import GendiffError
from gendiff.evaluation import Plan, Real, Sampling
from gendiff.metrics import Nearest
from gendiff.nets.reader import Reader, ReaderConfig
from gendiff.readers import PictureReader
from gendiff.results import Metrics

GAN = Plan(sampler=None, steps=None, images=20, batch=8)
DIFFUSION = Plan(sampler="ddim", steps=3, images=20, batch=8)


@pytest.fixture
def real():
    """A reader and real pictures of the shape that the tiny checkpoints make."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = Reader(ReaderConfig(1, 8, {"label": len(CLASSES)}, widths=(4, 6), dropout=0)).eval()
    card = replace(
        CARDS["tiny-gan"], name="shapes-features", family=FEATURES, sha256="f" * 64,
        training={"accuracy": {"label": 0.9}},
    )  # fmt: skip
    reader = PictureReader(card, net)
    x = torch.rand(120, 1, 8, 8, generator=torch.Generator().manual_seed(1)) * 2 - 1
    nearest = Nearest(x[:40])
    features = reader(x).features
    return Real(reader, features[40:80], features[80:], nearest(x[40:80]), nearest)


@pytest.fixture
def evaluated(real, monkeypatch):
    """`python -m gendiff evaluate` finds that reader."""
    monkeypatch.setattr(evaluation, "real", lambda data, folder, weights: real)
    monkeypatch.setattr(speed, "SECONDS", 0.0)  # five rounds are enough here


def run(model, plan, real, folder):
    sampling = Sampling(model, plan, real, folder)
    list(sampling.go())
    return sampling


@pytest.mark.parametrize("plan", [GAN, DIFFUSION], ids=["gan", "diffusion"])
def test_an_interrupted_sampling_goes_on_and_gives_the_same(saved, tmp_path, real, plan):
    name = "tiny-gan" if plan.sampler is None else "tiny-diffusion"
    model = weights.load(saved / name, "cpu", "float32")
    whole = run(model, plan, real, tmp_path / "whole").sample
    broken = Sampling(model, plan, real, tmp_path / "broken")
    steps = broken.go()
    for _ in range(1 if plan.sampler is None else 3):
        next(steps)
    next(steps)  # in the second batch: the first one has been read
    steps.close()
    again = Sampling(model, plan, real, tmp_path / "broken")
    assert again.done == 8 and again.seconds > 0
    list(again.go())
    assert len(again.sample) == len(whole) == 20
    for part, other in zip(vars(again.sample).values(), vars(whole).values(), strict=True):
        torch.testing.assert_close(part, other, rtol=1e-4, atol=1e-5)
    assert list(Sampling(model, plan, real, tmp_path / "broken").go()) == []  # nothing is left


def test_every_class_is_asked_for_equally_and_pictures_are_the_seeds_own(saved, tmp_path, real):
    model = weights.load(saved / "tiny-gan", "cpu", "float32")
    sample = run(model, GAN, real, tmp_path).sample
    assert sample.asked.tolist() == [seed % 3 for seed in range(20)]
    alone = real.reader(model.sample([7], labels=1)).features
    torch.testing.assert_close(sample.features[7:8], alone, rtol=1e-4, atol=1e-5)


def test_a_score_is_what_the_metrics_say_of_the_sample(saved, tmp_path, real):
    model = weights.load(saved / "tiny-diffusion", "cpu", "float32")
    sampling = run(model, DIFFUSION, real, tmp_path)
    score = sampling.score()
    assert score.fid == metrics.frechet(real.test, sampling.sample.features)
    assert score.floor_fid == metrics.frechet(real.test, real.train[:20])
    assert (score.nfe, score.steps, score.images, score.valid) == (3, 3, 20, None)
    assert score.seconds == pytest.approx(sampling.seconds) and score.images_per_second is None
    assert set(score.coverage) == set(CLASSES)
    smaller = replace(DIFFUSION, images=12)
    fewer = Sampling(model, smaller, real, tmp_path)
    assert fewer.score().fid == metrics.frechet(real.test, sampling.sample.features[:12])


def test_guidance_counts_twice(saved, tmp_path, real):
    model = weights.load(saved / "tiny-diffusion", "cpu", "float32")
    assert replace(DIFFUSION, guidance=2.0).calls(model) == 6


def test_an_estimate_is_positive_and_nothing_when_all_is_done(saved, tmp_path, real):
    model = weights.load(saved / "tiny-diffusion", "cpu", "float32")
    assert Sampling(model, DIFFUSION, real, tmp_path).estimate() > 0
    assert run(model, DIFFUSION, real, tmp_path).estimate() == 0


def test_a_damaged_file_says_what_to_do(saved, tmp_path, real):
    model = weights.load(saved / "tiny-gan", "cpu", "float32")
    path = run(model, GAN, real, tmp_path).path
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(GendiffError, match="delete it"):
        Sampling(model, GAN, real, tmp_path)


@pytest.mark.parametrize("bad", [{"images": 0}, {"images": 3}, {"batch": 0}])
def test_a_senseless_plan_is_refused(bad):
    with pytest.raises(GendiffError, match="must be a whole number"):
        Plan(**bad)


def test_data_that_nobody_reads_is_said_so():
    with pytest.raises(GendiffError, match="no network here that reads"):
        evaluation.real("ring")


def test_bfloat16_is_close_to_float32_and_float32_to_itself(saved, real, monkeypatch):
    found = evaluation.rounded(saved / "tiny-gan", GAN, real, "cpu")
    assert 20 < found.psnr_lowest <= found.psnr_median < 120
    assert 0 < found.between < found.fid
    load = evaluation.load
    monkeypatch.setattr(evaluation, "load", lambda where, device, dtype: load(where, device))
    same = evaluation.rounded(saved / "tiny-gan", GAN, real, "cpu")
    assert same.fid == same.fid_float32 and same.psnr_lowest == 120
    assert same.between == pytest.approx(0, abs=1e-6)


# The command


def command(*words):
    return main(["evaluate", *map(str, words)])


def test_the_command_writes_metrics_and_the_card(checkpoints, tmp_path, capsys, evaluated):
    folder, cache = checkpoints / "tiny-gan", tmp_path / "cache"
    assert command(folder, "--images", 20, "--cache", cache) == 0
    said = capsys.readouterr()
    assert "floor: 20 real train pictures" in said.out and "about 00:0" in said.err
    found = Metrics.read(folder)
    assert found.headline.images == 20 and found.headline.sampler is None
    assert found.weights_sha256 == weights.Card.read(folder).sha256
    assert f"{found.headline.fid:.2f}" in (folder / "README.md").read_text()
    before = (folder / "metrics.json").read_text()
    assert command(folder, "--images", 20, "--cache", cache, "--json") == 0  # it is all there
    assert json.loads(capsys.readouterr().out)[0]["runs"] == json.loads(before)["runs"]


def test_other_ways_and_other_numbers_of_pictures_are_added(checkpoints, tmp_path, evaluated):
    folder = checkpoints / "tiny-diffusion"
    cache = ("--cache", tmp_path / "cache")
    assert command(folder, "--images", 8, "--steps", 2, *cache) == 0
    assert command(folder, "--images", 8, "--steps", 2, "--sampler", "ddim", *cache) == 0
    assert command(folder, "--images", 12, "--steps", 2, *cache) == 0
    rows = [(run.sampler, run.images) for run in Metrics.read(folder).runs]
    assert rows == [("dpmpp_2m", 12), ("dpmpp_2m", 8), ("ddim", 8)]  # the most pictures lead


def test_a_row_of_fewer_pictures_has_its_own_floor_and_the_headline_stays(
    checkpoints, tmp_path, evaluated, real
):
    folder = checkpoints / "tiny-gan"
    for images in (20, 12):
        assert command(folder, "--images", images, "--cache", tmp_path / "cache") == 0
    found = Metrics.read(folder)
    assert [run.images for run in found.runs] == [20, 12] and found.floor.images == 20
    floors = [metrics.frechet(real.test, real.train[:images]) for images in (20, 12)]
    assert [run.floor_fid for run in found.runs] == pytest.approx(floors, rel=1e-5)
    assert floors[0] != floors[1] and found.runs[0].fid != found.runs[1].fid


def test_speed_is_of_the_fastest_round_so_that_pauses_do_not_count(saved, monkeypatch):
    model = weights.load(saved / "tiny-diffusion", "cpu", "float32")
    options = {"sampler": "heun", "steps": 10, "guidance": 1.0}
    rounds = []
    whole, call = [9.0, 0.4, 0.2, 7.0, 0.3, 0.2], speed._call

    def paused(model, options):
        rounds.append(call(model, options))
        return whole[len(rounds) - 1]

    monkeypatch.setattr(speed, "SECONDS", 0.0)
    monkeypatch.setattr(speed, "_call", paused)
    pace, how = speed.measure(model, model.network_calls("heun", 10), options)
    assert pace == pytest.approx(speed.BATCH / (19 * 0.2))
    assert how.median == pytest.approx(speed.BATCH / (19 * 0.3))
    assert (how.rounds, how.batch, how.threads) == (5, 16, torch.get_num_threads())
    assert len(rounds) == 6 and min(rounds) > 0  # the first one warms up


def test_a_round_is_a_few_calls_and_abandons_the_rest_of_the_run(saved):
    model = weights.load(saved / "tiny-diffusion", "cpu", "float32")
    made = []
    model.denoiser.register_forward_hook(lambda *_: made.append(1))
    assert speed._call(model, {"sampler": "heun", "steps": 10}) > 0
    assert len(made) == 2 * speed.STEPS


def test_what_was_measured_can_be_timed_again_alone(
    checkpoints, tmp_path, capsys, evaluated, monkeypatch
):
    folder, cache = checkpoints / "tiny-gan", ("--cache", tmp_path / "cache")
    assert command(folder, "--speed", *cache) == 2
    assert "leave --speed out" in capsys.readouterr().err
    for images in (20, 12):
        assert command(folder, "--images", images, *cache) == 0
    before = Metrics.read(folder)
    how = replace(before.headline.speed, rounds=77)
    monkeypatch.setattr(speed, "measure", lambda model, nfe, options: (123.0, how))
    assert command(folder, "--speed", *cache) == 0
    after = Metrics.read(folder)
    assert {run.images_per_second for run in after.runs} == {123.0}
    assert "fastest of 77 rounds" in capsys.readouterr().out
    assert [run.fid for run in after.runs] == [run.fid for run in before.runs]
    assert "123.00" in (folder / "README.md").read_text()


def test_the_table_has_a_row_for_every_sampler_and_keeps_what_it_has(
    checkpoints, tmp_path, evaluated, monkeypatch
):
    monkeypatch.setattr(evaluate, "TABLE", {2: 8, 3: 6, 50: 8})
    folder = checkpoints / "tiny-diffusion"
    words = (folder, "--images", 8, "--steps", 2, "--table", "--most-steps", 3)
    words = (*words, "--cache", tmp_path / "cache")
    assert command(*words) == 0
    rows = Metrics.read(folder).runs
    assert [(row.sampler, row.steps, row.images) for row in rows] == [
        ("dpmpp_2m", 2, 8), ("ddpm", 2, 8), ("ddim", 2, 8),
        ("ddpm", 3, 6), ("ddim", 3, 6), ("dpmpp_2m", 3, 6),
    ]  # fmt: skip
    monkeypatch.setattr(evaluate, "_run", None)  # nothing is measured twice
    assert command(*words) == 0
    assert Metrics.read(folder).runs == rows


def test_other_weights_start_anew(checkpoints, tmp_path, evaluated):
    folder = checkpoints / "tiny-gan"
    assert command(folder, "--images", 8, "--bfloat16", "--cache", tmp_path) == 0
    old = Metrics.read(folder)
    assert old.bfloat16.images == 8
    net, card = weights.load(folder, "cpu", "float32"), weights.Card.read(folder)
    states = {"generator": net.generator, "discriminator": net.discriminator}
    net.generator.requires_grad_(False)
    for parameter in net.generator.parameters():
        parameter.mul_(1.1)
    weights.save({name: part.state_dict() for name, part in states.items()}, card, folder)
    assert "Not measured yet" in (folder / "README.md").read_text()
    assert command(folder, "--images", 8, "--cache", tmp_path) == 0
    new = Metrics.read(folder)
    assert new.weights_sha256 != old.weights_sha256 and new.headline.fid != old.headline.fid
    assert new.bfloat16 is None


def test_milestones_are_scored_in_order(checkpoints, saved, tmp_path, evaluated):
    folder, run_folder = checkpoints / "tiny-gan", tmp_path / "run"
    for images in (2000, 1000):
        net = weights.load(saved / "tiny-gan", "cpu", "float32")
        card = replace(weights.Card.read(folder), training={"images": images})
        states = {"generator": net.generator, "discriminator": net.discriminator}
        place = run_folder / "milestones" / f"{images:07d}"
        weights.save({name: part.state_dict() for name, part in states.items()}, card, place)
    words = (folder, "--images", 8, "--learning", run_folder, "--cache", tmp_path / "cache")
    assert command(*words) == 0
    assert [one.images for one in Metrics.read(folder).learning] == [1000, 2000]


def test_nothing_is_written_where_it_is_not_wanted(checkpoints, tmp_path, evaluated):
    assert command(checkpoints / "tiny-gan", "--images", 8, "--no-write", "--cache", tmp_path) == 0
    assert Metrics.read(checkpoints / "tiny-gan") is None


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("nothing-there",), "There is no checkpoint"),
        (("{}", "--images", "2"), "must be a whole number"),
        (("{}", "--steps", "0"), "must be a whole number"),
        (("{}", "--guidance", "-1"), "Guidance goes from"),
        (("{}", "--learning", "/nowhere"), "keeps no weights of milestones"),
        (("{}", "{}", "--learning", "/nowhere"), "goes with the one checkpoint"),
    ],
)
def test_misuse_ends_with_one_sentence(checkpoints, tmp_path, capsys, evaluated, words, sentence):
    words = [word.format(checkpoints / "tiny-diffusion") for word in words]
    few = () if "--images" in words else ("--images", 4)
    assert command(*words, *few, "--cache", tmp_path) == 2
    said = capsys.readouterr().err.strip().splitlines()
    assert sentence in said[-1] and said[-1].startswith("gendiff: ")
