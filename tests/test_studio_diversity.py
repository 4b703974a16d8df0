"""Diversity: distances with exact oracles, the map, and what stands there before anyone waits."""

from __future__ import annotations

import gradio as gr
import numpy as np
import pytest

from gendiff.errors import GendiffError
from gendiff.images import from_uint8
from gendiff.readers import load_reader
from gendiff.studio import Studio, bank, diversity
from gendiff.studio.diversity import Diversity, Group, make, project, stored
from gendiff.ui import compare, compare_diversity
from gendiff.ui.parts import Page


@pytest.fixture
def studio(saved):
    return Studio(saved, "cpu", "float32")


def group(pictures, kind="gan"):
    none = np.zeros(0, int)
    return Group(kind, pictures, None, none, pictures[:0], "a test")


def test_neighbours_among_themselves():
    grey = np.array([0, 10, 15, 255], np.uint8)
    pictures = np.broadcast_to(grey[:, None, None, None], (4, 8, 8, 3)).copy()
    expected = np.array([10, 5, 5, 240]) / 127.5
    np.testing.assert_allclose(group(pictures).among(), expected, rtol=1e-5)
    assert group(pictures[[0, 0, 1]]).among().tolist()[:2] == [0, 0]  # a copy


def test_the_closest_pairs_come_first_and_no_picture_is_in_two():
    grey = np.array([0, 10, 15, 200, 255, 203, 90], np.uint8)
    made = group(np.broadcast_to(grey[:, None, None, None], (7, 8, 8, 1)).copy())
    pairs = made.pairs()
    assert [pair[:2] for pair in pairs] == [(3, 5), (1, 2), (0, 6)]  # and (0, 1), (1, 0) no more
    np.testing.assert_allclose([pair[2] for pair in pairs], np.array([3, 5, 90]) / 127.5, 1e-5)
    assert made.pairs(1) == pairs[:1] and group(made.pictures[:1]).pairs() == []


def test_real_pictures_are_the_mark_beside_the_coverage():
    studio = Studio(device="cpu")
    for data in ("fashion", "cats"):
        shares, count = diversity.recognized(studio, data)
        classes = next(card.classes for card in studio.cards() if card.data == data)
        assert tuple(shares) == tuple(classes) and count == 256
        assert 0.8 < np.mean([*shares.values()]) <= 1 and min(shares.values()) > 0.4
        html = compare_diversity.board_of(studio, stored(data), stored=True)
        first = next(iter(shares.values()))
        assert f'title="real test pictures: {100 * first:.0f} %"' in html
        assert html.count("another below") == 3 * diversity.CLOSEST
        assert html.count("training below") == 3 * diversity.CLOSEST
    assert diversity.recognized(studio, "dogs") == ({}, 0)


def test_the_map_keeps_distances_in_a_plane():
    random = np.random.default_rng(0)
    flat = random.normal(size=(30, 2)) * [3, 1]
    basis = np.linalg.qr(random.normal(size=(50, 2)))[0].T
    (a, b), shown = project([(flat @ basis)[:10], (flat @ basis)[10:]])
    assert shown == pytest.approx(1) and (len(a), len(b)) == (10, 20)
    made = np.concatenate([a, b])
    apart = np.linalg.norm(made[:, None] - made[None], axis=-1)
    np.testing.assert_allclose(apart, np.linalg.norm(flat[:, None] - flat[None], axis=-1))
    assert made[:, 0].var() > made[:, 1].var()
    noise = random.normal(size=(200, 40))
    assert project([noise])[1] < 0.3
    assert project([np.zeros((3, 5))])[1] == 0


def test_the_map_is_of_features_where_a_network_reads_the_data():
    real = Studio(device="cpu").real("fashion").pictures[:40]
    shifted = np.roll(real, 2, axis=2)  # other pixels, the same thing
    made = Diversity("fashion", 0, (group(real, "real"), group(shifted), group(255 - real)))
    reader = load_reader("fashion")
    read = [reader(from_uint8(one.pictures)).features.numpy() for one in made.groups]
    for own, expected in zip(made.map.places, project(read)[0], strict=True):
        np.testing.assert_allclose(own, expected, atol=1e-6)
    assert made.map.of == "features of fashion-features" and 0 < made.map.shown < 1
    real_at, shifted_at, inverted_at = made.map.places
    near, far = (np.linalg.norm(real_at - at, axis=1).mean() for at in (shifted_at, inverted_at))
    assert near < far / 2
    other = Diversity("shapes", 0, (group(real, "real"), group(shifted)))
    assert other.map.of == "pixels"


@pytest.mark.parametrize("data", ["fashion", "cats"])
def test_a_class_of_each_data_set_is_there_beforehand(data):
    made = stored(data)
    assert made.label == diversity.DEFAULT[data]
    assert [one.kind for one in made.groups] == ["real", "gan", "diffusion"]
    for one in made.groups:
        assert len(one.pictures) == len(one.rms) == diversity.SEEDS
        assert len(one.nearest) == diversity.CLOSEST
        np.testing.assert_array_equal(one.closest, np.argsort(one.rms)[: diversity.CLOSEST])
        apart = one.pictures[one.closest].astype(float) - one.nearest
        rms = np.sqrt((apart.reshape(len(apart), -1) ** 2).mean(1)) / 127.5
        np.testing.assert_allclose(rms, one.rms[one.closest], atol=5e-3)
    html = compare_diversity.board_of(Studio(device="cpu"), made, stored=True)
    assert html.count("<circle") == 3 * diversity.SEEDS and "Made beforehand" in html
    assert html.count("<figure><img") == 6 * diversity.CLOSEST  # alike, and copies
    assert f"Map of the features of {data}-features" in html and html.count("in pixels<") == 2


@pytest.mark.parametrize("data", ["dogs", "fashion-class", "../fashion", ""])
def test_where_there_is_nothing_nothing_is_shown(data):
    assert stored(data) is None


def test_a_damaged_file_is_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(bank, "FOLDER", tmp_path)
    (tmp_path / "shapes.npz").write_bytes(b"")
    (tmp_path / "shapes-class.npz").write_bytes(b"junk")
    assert stored("shapes") is None


def test_it_is_made_with_the_seeds_and_the_class_that_it_says(studio):
    *news, made = make(studio, "shapes", 2)
    assert isinstance(made, Diversity) and "of 64" in news[0]
    gan, diffusion = made.groups  # no real pictures of this data set
    for one, name in ((gan, "tiny-gan"), (diffusion, "tiny-diffusion")):
        own, labels = bank.samples(studio.model(name), range(64), 2)
        assert np.abs(own.astype(int) - one.pictures).max() <= 1 and set(labels) == {2}
        assert one.rms is None  # nor a training set
    html = compare_diversity.board_of(studio, made, stored=False)
    assert "training set is not installed" in html and "Not measured yet" in html
    assert "Map of the pixels" in html  # nobody reads these
    assert "star" in html and made.stale(studio) == []


@pytest.mark.parametrize(("data", "label"), [("dogs", 0), ("shapes", 3), ("shapes", -1)])
def test_what_is_not_there_is_refused(studio, data, label):
    with pytest.raises(GendiffError):
        list(make(studio, data, label))


def test_what_was_written_is_read(studio, tmp_path, monkeypatch):
    monkeypatch.setattr(bank, "FOLDER", tmp_path)
    (tmp_path / "shapes.npz").touch()
    groups = tuple(
        Group(
            kind, p := np.full((7, 4, 4, 1), k, np.uint8), np.arange(7.0), np.arange(6), p[:6], "x"
        )
        for k, kind in enumerate(bank.KINDS)
    )
    diversity.write(Diversity("shapes", 1, groups))
    again = stored("shapes")
    assert again.label == 1
    for one, own in zip(again.groups, groups, strict=True):
        np.testing.assert_array_equal(one.pictures, own.pictures)
        assert one.source == "x"
    diversity._stored.cache_clear()


def test_the_view_makes_a_class(studio, monkeypatch):
    page = Page()
    with gr.Blocks() as demo, gr.Tabs(), page.tab("compare", "Compare"):
        compare.build(studio, page)
    run = {fn.fn.__name__: fn.fn for fn in demo.fns.values() if fn.fn}["sample_class"]
    board, message, said, part = list(run("shapes", "1"))[-1]
    assert "square" in board and said == "Done." and part.title == "Diversity: shapes, square"
    assert [pane["count"] for pane in message["ops"][0]["panes"]] == [64, 64]
    for wrong in ("9", "dragon"):
        with pytest.raises(gr.Error):
            list(run("shapes", wrong))
