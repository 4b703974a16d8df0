"""Networks that read pictures: what they read, what passes as a valid cat, how they learn."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

import gendiff
from gendiff import readers, teach, weights
from gendiff.cards import FEATURES
from gendiff.data import PARTS, cat_picture, combination_index, open_data, visible
from gendiff.errors import GendiffError
from gendiff.nets.reader import Reader, ReaderConfig

CPU = torch.device("cpu")
HEADS = {**PARTS, "background": 6}
TINY = {"channels": 3, "size": 64, "heads": HEADS, "patch": 8, "widths": (8, 12), "dropout": 0.0}
needs_cats = pytest.mark.skipif(
    __import__("importlib.util").util.find_spec("robohash") is None, reason="no robohash"
)


def some_cats(count, seed=0):
    random = torch.Generator().manual_seed(seed)
    return torch.stack([torch.randint(n, (count,), generator=random) for n in HEADS.values()], 1)


def painted(codes):
    return cat_picture(codes[:, :5], codes[:, 5])


# The network


def test_features_and_logits_have_the_shapes_that_the_configuration_says():
    net = Reader(ReaderConfig(**TINY)).eval()
    features = net(torch.zeros(5, 3, 64, 64))
    assert features.shape == (5, 12)
    assert {name: t.shape[1] for name, t in net.read(features).items()} == HEADS


def test_a_picture_is_read_the_same_alone_and_in_a_batch():
    net, x = Reader(ReaderConfig(**TINY)).eval(), torch.randn(6, 3, 64, 64)
    torch.testing.assert_close(
        readers.read(net, x).features[2], readers.read(net, x[2:3]).features[0]
    )


# Valid cats


@needs_cats
def test_a_cat_is_at_no_distance_from_itself_and_at_the_closed_form_from_a_brighter_one():
    codes = some_cats(20)
    assert readers.cat_distance(painted(codes), codes).max() < 1e-6
    shifted = readers.cat_distance(painted(codes) + 0.1, codes)
    torch.testing.assert_close(shifted, torch.full((20,), 0.1), rtol=1e-4, atol=0)


@needs_cats
def test_a_small_wrong_spot_is_as_far_as_in_the_worst_window():
    codes = some_cats(4)
    x = painted(codes)
    x[:, :, 24:32, 24:32] += 0.4  # exactly one window
    torch.testing.assert_close(
        readers.cat_distance(x, codes), torch.full((4,), 0.4), rtol=1e-4, atol=0
    )


@needs_cats
def test_a_mouth_is_hidden_where_and_only_where_every_mouth_looks_the_same():
    codes = some_cats(300)
    other = codes.clone()
    other[:, 3] = (codes[:, 3] + 5) % 10
    same = (painted(codes) - painted(other)).abs().amax((1, 2, 3)) < 0.02
    assert torch.equal(readers.hides_mouth(codes), same)
    assert 0 < int(same.sum()) < 300


@needs_cats
def test_broken_cats_differ_from_the_real_ones_in_every_way_that_they_should():
    codes = some_cats(64)
    made = readers.broken(codes, seed=0)
    assert set(made) == {"blended", "pasted", "blurred", "noisy"}
    for name, x in made.items():
        far = readers.cat_distance(x, codes)
        least = 0.95 if name == "pasted" else 1.0  # some stranger's face is the cat's own
        assert float((far > 0.01).double().mean()) >= least, name
    # A blend is the mean of two cats that differ in one visible part.
    assert torch.equal(made["blended"], readers.broken(codes, seed=0)["blended"])
    assert not torch.equal(made["blended"], readers.broken(codes, seed=1)["blended"])
    noise = (made["noisy"] - painted(codes)).square().mean().sqrt()
    assert float(noise) == pytest.approx(0.15, rel=0.02)


@needs_cats
def test_how_surely_a_cat_is_read_is_said_by_the_parts_that_can_be_seen():
    codes = some_cats(40)
    net, x = Reader(ReaderConfig(**TINY)).eval(), painted(codes)
    reading = readers.read(net, x)
    logits = net.read(net(x))
    surely = torch.stack([logits[name].softmax(1).amax(1) for name in PARTS], 1)
    read = torch.stack([reading.kinds[name] for name in HEADS], 1)
    surely[readers.hides_mouth(read), 3] = 1.0
    torch.testing.assert_close(reading.confidence, surely.amin(1))
    assert set(reading.kinds) == set(HEADS)  # the background is read all the same


def test_valid_needs_both_a_sure_reading_and_a_close_painting():
    reading = readers.Reading(
        features=torch.zeros(4, 1),
        kinds={},
        confidence=torch.tensor([0.99, 0.5, 0.99, 0.2]),
        distance=torch.tensor([0.01, 0.01, 0.9, 0.9]),
    )
    assert reading.valid.tolist() == [True, False, False, False]


# The bundled networks

bundled = pytest.mark.parametrize("data", ["fashion", "cats"])


def data_or_skip(data, split, limit):
    try:
        return open_data(data, split, limit)
    except GendiffError as error:
        pytest.skip(str(error))


@bundled
def test_the_bundled_reader_is_as_accurate_as_its_card_says(data):
    reader, pictures = readers.load_reader(data), data_or_skip(data, "test", 500)
    reading = reader(pictures.batch(torch.arange(500))[0])
    assert reading.features.shape == (500, reader.dim)
    said = reader.card.training["accuracy"]
    if data == "fashion":
        right = (reading.kinds["label"] == pictures.labels).double().mean()
        assert said["label"] >= 0.92
        assert float(right) == pytest.approx(said["label"], abs=4 * math.sqrt(0.08 * 0.92 / 500))
        return
    assert min(said.values()) >= 0.98
    codes = readers.seen(pictures.attributes(torch.arange(500)))
    assert (reading.codes == codes).double().mean() >= 0.98


@needs_cats
def test_the_bundled_reader_passes_real_cats_and_refuses_broken_ones():
    reader, pictures = readers.load_reader("cats"), data_or_skip("cats", "test", 256)
    i = torch.arange(256)
    assert reader(pictures.batch(i)[0]).valid.double().mean() >= 0.98
    said = reader.card.training["passes_as_valid"]
    assert said["real"] >= 0.99
    for name, x in readers.broken(pictures.attributes(i), seed=1).items():
        share = float(reader(x).valid.double().mean())
        assert share <= said[name] + 0.08, name


def test_readers_are_not_among_the_models():
    assert all(card.family in ("gan", "diffusion") for card in gendiff.models())
    with pytest.raises(GendiffError, match="reads pictures and makes none"):
        gendiff.load("fashion-features", "cpu")


def test_a_reader_wants_pictures_of_its_shape():
    with pytest.raises(GendiffError, match="reads pictures of"):
        readers.load_reader("fashion")(torch.zeros(2, 3, 64, 64))


def test_data_without_a_reader_is_said_so():
    with pytest.raises(GendiffError, match="There is no checkpoint"):
        readers.load_reader("shapes")


# Teaching


def tiny_lesson(**changes):
    lesson = replace(teach.LESSONS["cats-features"], net=TINY, images=64, batch=16)
    return replace(lesson, **changes)


@needs_cats
def test_teaching_repeats_itself_and_leaves_a_checkpoint(tmp_path, monkeypatch):
    monkeypatch.setattr(teach, "EXAM", 40)
    losses = []
    for _ in range(2):
        session = teach.Teaching(tiny_lesson(), CPU)
        losses.append([step.loss for step in session.go()])
    assert losses[0] == losses[1] and len(losses[0]) == 4
    card = session.finish(tmp_path / "cats-features", command="how")
    assert card.family == FEATURES and card.training["images"] == 64
    assert set(card.training["accuracy"]) == set(HEADS)
    assert set(card.training["passes_as_valid"]) == {
        "real",
        "blended",
        "pasted",
        "blurred",
        "noisy",
    }
    again, nets = weights.load_nets(tmp_path / "cats-features", "cpu", "float32")
    assert again == card
    x = painted(some_cats(8))
    torch.testing.assert_close(nets["net"](x), session.net(x), rtol=0.02, atol=0.02)


@needs_cats
def test_a_mixture_has_the_shares_as_targets_and_hidden_mouths_none():
    data = open_data("cats", "train", 500)
    random = torch.Generator().manual_seed(0)
    x, targets = teach._cats(data, torch.arange(200), random)
    assert x.shape == (200, 3, 64, 64)
    for name, target in targets.items():
        total = target.sum(1)
        if name == "mouth":
            assert set(total.round().tolist()) == {0.0, 1.0}
        else:
            torch.testing.assert_close(total, torch.ones(200))
    mixed = float((targets["body"].amax(1) < 0.999).double().mean())
    assert 0.04 < mixed < 0.25  # MIXED times the share of the parts that are changed
    assert targets["fur"][:, 6].sum() == 0  # looks like fur 2, so is called that
    codes = data.attributes(torch.arange(200))
    assert combination_index(visible(codes[:, :5])).shape == (200,)


@needs_cats
def test_a_loss_that_is_no_number_stops_the_lesson():
    session = teach.Teaching(tiny_lesson(rate=1e30, images=320), CPU)
    with pytest.raises(GendiffError, match="no longer a number"):
        for _ in session.go():
            pass
