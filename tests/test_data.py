from __future__ import annotations

import gzip
import math
import os
import shutil
import subprocess
import sys
from pathlib import Path
from urllib.error import URLError

import numpy as np
import pytest
import torch
from PIL import Image

from gendiff import cats, data, sources
from gendiff.errors import GendiffError

needs_fashion = pytest.mark.skipif(
    not data._FASHION_FOLDER.is_dir() and "GENDIFF_DATA" not in os.environ,
    reason="FASHION-MNIST IS NOT INSTALLED, NOT TESTED: apt install dataset-fashion-mnist",
)
needs_cats = pytest.mark.skipif(
    cats.find_spec("robohash") is None,
    reason="THE CATS ARE NOT INSTALLED, NOT TESTED: pip install robohash==2.0",
)
INSTALLED = [
    pytest.param("fashion", marks=needs_fashion),
    pytest.param("cats", marks=needs_cats),
    "ring",
    "grid",
]


@pytest.fixture(autouse=True, scope="session")
def one_cache(tmp_path_factory):
    """The parts are shrunk anew, once, into a folder of the tests' own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        cats._part_table.cache_clear()
        yield
    cats._part_table.cache_clear()


@pytest.fixture
def empty_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    cats._part_table.cache_clear()
    yield tmp_path / "gendiff"
    cats._part_table.cache_clear()


# Every data set


@pytest.mark.parametrize("name", INSTALLED)
def test_items_have_the_promised_shape_type_and_range(name):
    source = data.SOURCES[name]
    for split in data.SPLITS:
        items = data.open_data(name, split)
        x, labels = items.batch(torch.arange(300))
        assert x.shape == (300, *source.shape) and x.dtype == torch.float32
        assert x.min() >= -1 and x.max() <= 1 and x.std() > 0.1
        assert labels.dtype == items.labels.dtype == torch.int64
        assert torch.equal(labels, items.labels[:300]) and items.labels.shape == (len(items),)
        assert items.source is source and items.split == split
        assert set(items.labels.tolist()) == set(range(len(source.classes)))


@pytest.mark.parametrize("name", INSTALLED)
def test_an_index_gives_the_same_item_in_any_batch(name):
    items = data.open_data(name, "test")
    shuffled = torch.randperm(len(items), generator=torch.Generator().manual_seed(3))[:40]
    x, labels = items.batch(shuffled)
    again = data.open_data(name, "test")
    for k, i in enumerate(shuffled.tolist()):
        alone, label = again.batch(torch.tensor([i]))
        assert torch.equal(alone[0], x[k]) and label[0] == labels[k]


@pytest.mark.parametrize("name", INSTALLED)
def test_test_and_heldout_are_the_same_and_not_the_training_items(name):
    first = torch.arange(50)
    test, heldout, train = (data.open_data(name, s) for s in ("test", "heldout", "train"))
    assert len(test) == len(heldout) < len(train)
    assert torch.equal(test.batch(first)[0], heldout.batch(first)[0])
    assert not torch.equal(test.batch(first)[0], train.batch(first)[0])


@pytest.mark.parametrize("name", INSTALLED)
def test_limit_keeps_the_first_items_of_every_class(name):
    few, every = data.open_data(name, limit=500), data.open_data(name)
    some = torch.tensor([0, 7, 499])
    assert len(few) == 500
    assert all(map(torch.equal, few.batch(some), every.batch(some)))
    assert len(set(few.labels.tolist())) == len(few.source.classes)
    assert len(data.open_data(name, limit=10**9)) == len(every)


@pytest.mark.parametrize("name", INSTALLED)
@pytest.mark.parametrize("bad", [[-1], [500], [0, 500], [[0, 1]]])
def test_indices_out_of_range_are_refused(name, bad):
    with pytest.raises(GendiffError, match=r"0\.\.499"):
        data.open_data(name, limit=500).batch(torch.tensor(bad))


def test_no_indices_make_an_empty_batch():
    x, labels = data.open_data("ring").batch(torch.arange(0))
    assert x.shape == (0, 2) and labels.shape == (0,)


def test_bad_names_are_refused_with_the_choice():
    with pytest.raises(GendiffError, match="fashion, cats, ring, grid"):
        data.open_data("dogs")
    with pytest.raises(GendiffError, match="train, test, heldout"):
        data.open_data("ring", "validation")
    with pytest.raises(GendiffError, match="one or more"):
        data.open_data("ring", limit=0)
    with pytest.raises(GendiffError, match="'ring' or 'grid'"):
        data.mixture("cats")
    with pytest.raises(GendiffError, match="only the data set 'cats'"):
        data.open_data("ring").attributes(torch.arange(3))


def test_sources_say_what_a_model_card_needs():
    assert list(data.SOURCES) == ["fashion", "cats", "ring", "grid"]
    for name, source in data.SOURCES.items():
        assert source.name == name and len(set(source.classes)) == len(source.classes)
        assert all((source.title, source.licence, source.credit, source.source, source.install))
    assert [len(s.classes) for s in data.SOURCES.values()] == [10, 15, 8, 25]
    assert "David Revoy" in data.SOURCES["cats"].credit
    assert data.SOURCES["cats"].licence == "CC BY 4.0"
    with pytest.raises(TypeError):
        data.SOURCES["dogs"] = data.SOURCES["cats"]


def test_importing_reads_and_loads_nothing(tmp_path):
    code = (
        "import sys, gendiff.cats as d; assert d._part_table.cache_info().currsize == 0;"
        "assert not {'torchvision', 'robohash', 'gradio'} & set(sys.modules), sys.modules"
    )
    root = Path(data.__file__).parents[1]
    env = {**os.environ, "XDG_CACHE_HOME": str(tmp_path), "PYTHONPATH": str(root)}
    subprocess.run([sys.executable, "-c", code], check=True, env=env)
    assert not list(tmp_path.iterdir())


def test_the_hash_is_splitmix64():
    published = [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4, 0x06C45D188009454F]  # of seed 0
    assert sources.hashed(np.arange(3)).tolist() == published


# Fashion-MNIST


def gzip_idx(path: Path, values: np.ndarray) -> None:
    sizes = np.array(values.shape, ">i4").tobytes()
    path.write_bytes(gzip.compress(bytes((0, 0, 8, values.ndim)) + sizes + values.tobytes()))


@pytest.fixture
def toy_fashion(tmp_path, monkeypatch):
    pixels = np.random.default_rng(0).integers(0, 256, (5, 28, 28), dtype=np.uint8)
    for stem in ("train", "t10k"):
        gzip_idx(tmp_path / f"{stem}-images-idx3-ubyte.gz", pixels)
        gzip_idx(tmp_path / f"{stem}-labels-idx1-ubyte.gz", np.arange(5, dtype=np.uint8))
    monkeypatch.setenv("GENDIFF_DATA", str(tmp_path))
    return tmp_path, pixels


def test_idx_files_are_read_padded_and_scaled(toy_fashion):
    _, pixels = toy_fashion
    x, labels = data.open_data("fashion").batch(torch.arange(5))
    assert labels.tolist() == [0, 1, 2, 3, 4]
    expected = np.full((5, 1, 32, 32), -1, np.float64)
    expected[:, 0, 2:30, 2:30] = pixels / 127.5 - 1
    np.testing.assert_allclose(x.numpy(), expected, atol=1e-6, rtol=0)
    assert torch.equal(((x + 1) * 127.5).round().byte()[:, 0, 2:30, 2:30], torch.tensor(pixels))


@pytest.mark.parametrize("damage", ["missing", "not gzip", "cut", "wrong rank", "short", "empty"])
def test_missing_and_damaged_files_name_the_command(toy_fashion, damage):
    path = toy_fashion[0] / "train-images-idx3-ubyte.gz"
    if damage == "missing":
        path.unlink()
    elif damage == "not gzip":
        path.write_bytes(b"<html>not found</html>")
    elif damage == "cut":
        path.write_bytes(path.read_bytes()[:-500])
    elif damage == "wrong rank":
        gzip_idx(path, np.zeros(5, np.uint8))
    elif damage == "short":
        path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes())[:-1]))
    else:
        path.write_bytes(gzip.compress(b""))
    with pytest.raises(GendiffError, match="apt install dataset-fashion-mnist"):
        data.open_data("fashion")
    assert len(data.open_data("fashion", "test")) == 5


def test_a_failed_download_names_the_command(empty_cache, monkeypatch):
    datasets = pytest.importorskip("torchvision").datasets

    def offline(*args, **kwargs):
        raise URLError("no network")

    monkeypatch.delenv("GENDIFF_DATA", raising=False)
    monkeypatch.setattr(data, "_FASHION_FOLDER", empty_cache / "nowhere")
    monkeypatch.setattr(datasets, "FashionMNIST", offline)
    with pytest.raises(GendiffError, match="no network.*apt install dataset-fashion-mnist"):
        data.open_data("fashion")


@needs_fashion
def test_fashion_has_its_counts_and_a_black_border():
    for split, count in (("train", 60_000), ("test", 10_000)):
        items = data.open_data("fashion", split)
        assert len(items) == count
        assert torch.bincount(items.labels).tolist() == [count // 10] * 10
        for first in range(0, count, 5_000):
            border = items.batch(torch.arange(first, first + 5_000))[0]
            border[..., 2:30, 2:30] = -1
            assert (border == -1).all()


@needs_fashion
def test_fashion_equals_torchvision(empty_cache, monkeypatch):
    """The same files through torchvision, which is also the way without the Debian package."""
    pytest.importorskip("torchvision")
    ours = data.open_data("fashion", "test")
    raw = empty_cache / "FashionMNIST" / "raw"
    raw.mkdir(parents=True)
    folder = Path(os.environ.get("GENDIFF_DATA") or data._FASHION_FOLDER)
    for path in folder.glob("*.gz"):
        with gzip.open(path) as packed, open(raw / path.stem, "wb") as unpacked:
            shutil.copyfileobj(packed, unpacked)
    monkeypatch.delenv("GENDIFF_DATA", raising=False)
    monkeypatch.setattr(data, "_FASHION_FOLDER", empty_cache / "nowhere")
    theirs = data.open_data("fashion", "test")
    assert torch.equal(ours.labels, theirs.labels)
    every = torch.arange(10_000)
    assert torch.equal(ours.batch(every)[0], theirs.batch(every)[0])


# The cats


def test_combinations_and_indices_are_inverse():
    every = torch.arange(data.COMBINATIONS)
    parts = data.combination(every)
    assert data.COMBINATIONS == 360_000 and parts.shape == (360_000, 5)
    assert torch.equal(data.combination_index(parts), every)
    assert parts.amin(0).tolist() == [0] * 5 and parts.amax(0).tolist() == [14, 9, 14, 9, 15]
    for index in (0, 123_456, 359_999):
        known = np.unravel_index(index, tuple(data.PARTS.values()))
        assert data.combination(index).tolist() == [int(k) for k in known]
    assert data.combination(every.reshape(600, 600)).shape == (600, 600, 5)


@pytest.mark.parametrize("index", [-1, 360_000])
def test_combinations_out_of_range_are_refused(index):
    with pytest.raises(GendiffError, match=r"0\.\.359999"):
        data.combination(index)


def test_a_tenth_of_the_combinations_and_of_every_part_is_held_out():
    every = torch.arange(data.COMBINATIONS)
    out = data.is_held_out(every)
    assert 0.095 < out.double().mean() < 0.105
    parts = data.combination(every)
    seen = data.combination_index(data.visible(parts))
    for kind in range(5):
        for value in range(int(parts[:, kind].max()) + 1):
            mine = parts[:, kind] == value
            draws = len(seen[mine].unique())  # cats that look alike share one draw
            # Six standard deviations of a fair draw of a tenth, doubled for uneven weights.
            assert abs(out[mine].double().mean() - 0.1) < 12 * math.sqrt(0.09 / draws)
    backwards = every.flip(0)
    assert torch.equal(data.is_held_out(backwards), out.flip(0))
    assert out[[28, 55, 56]].tolist() == data.is_held_out(torch.tensor([28, 55, 56])).tolist()


def test_the_split_never_changes():
    """A literal: trained models rely on what was kept from them."""
    first = torch.arange(200)
    assert first[data.is_held_out(first)].tolist() == [
        1,
        5,
        7,
        9,
        23,
        26,
        39,
        40,
        42,
        55,
        57,
        66,
        69,
        70,
        71,
        82,
        87,
        103,
        119,
        124,
        131,
        133,
        135,
        151,
        162,
        181,
        193,
    ]


@needs_cats
def test_train_and_heldout_are_all_cats_once():
    train, heldout = data.open_data("cats", "train"), data.open_data("cats", "heldout")
    keys = []
    for items, is_out in ((train, False), (heldout, True)):
        codes = items.attributes(torch.arange(len(items)))
        combinations = data.combination_index(codes[:, :5])
        assert (data.is_held_out(combinations) == is_out).all()
        assert torch.equal(codes[:, 0], items.labels)
        share = torch.bincount(codes[:, 5], minlength=6).double() / len(items)
        assert share.sub(1 / 6).abs().max() < 1e-9
        keys.append(combinations * 6 + codes[:, 5])
    assert torch.equal(torch.cat(keys).sort().values, torch.arange(360_000 * 6))


@needs_cats
def test_the_first_cats_are_a_fair_sample_of_distinct_combinations():
    codes = data.open_data("cats", limit=30_000).attributes(torch.arange(30_000))
    assert len(data.combination_index(codes[:, :5]).unique()) == 30_000
    for kind, radix in enumerate((*data.PARTS.values(), len(data.BACKGROUNDS))):
        count = torch.bincount(codes[:, kind], minlength=radix).double()
        sigma = math.sqrt(30_000 / radix * (1 - 1 / radix))
        assert (count - 30_000 / radix).abs().max() < 6 * sigma


@needs_cats
def test_cats_equal_pillow_alpha_composite():
    table = cats._part_table(torch.device("cpu"))
    colour, alpha = table.split((3, 1), dim=1)
    straight = torch.cat([colour / alpha.clamp_min(1e-9), alpha], dim=1)  # as Pillow wants it
    pixels = (straight * 255).round().byte().permute(0, 2, 3, 1).contiguous().numpy()
    layers = [Image.fromarray(p) for p in pixels]
    first = np.cumsum([0, *data.PARTS.values()])
    items = data.open_data("cats", "test")
    x, _ = items.batch(torch.arange(60))
    for picture, code in zip(x, items.attributes(torch.arange(60)).tolist(), strict=True):
        known = Image.new("RGBA", (64, 64), (*data.BACKGROUNDS[code[5]], 255))
        for kind in range(5):
            known.alpha_composite(layers[first[kind] + code[kind]])
        ours = (picture.permute(1, 2, 0).numpy() + 1) * 127.5
        assert np.abs(ours - np.asarray(known.convert("RGB"), np.float32)).max() <= 2


@needs_cats
def test_parts_are_shrunk_as_pillow_shrinks_premultiplied_pictures():
    folder = Path(cats.find_spec("robohash").submodule_search_locations[0]) / "sets" / "set4"
    files = [f for kind in sorted(folder.iterdir()) for f in sorted(kind.glob("*.png"))]
    table = cats._part_table(torch.device("cpu"))
    for k in range(0, 66, 6):
        with Image.open(files[k]) as image:  # RGBa is Pillow's premultiplied mode
            small = image.convert("RGBa").resize((64, 64), Image.Resampling.BOX)
        known = np.frombuffer(small.tobytes(), np.uint8).reshape(64, 64, 4)
        assert np.abs(table[k].permute(1, 2, 0).numpy() * 255 - known).max() <= 1.01


def pixel_distance(codes: torch.Tensor) -> torch.Tensor:
    """The largest difference of any pixel, in 1/255, between all pairs of codes (n, 6)."""
    x = data.cat_picture(codes[:, :5], codes[:, 5]).flatten(1) * 127.5
    return torch.stack([(x - one).abs().amax(1) for one in x])


@needs_cats
@pytest.mark.parametrize("kind", range(6))
def test_cats_look_alike_exactly_when_their_visible_parts_agree(kind):
    """For each kind of part, on every accessory and on several coats: all pairs of its values."""
    radix = (*data.PARTS.values(), len(data.BACKGROUNDS))[kind]
    for accessory in range(16):
        for body in (0, 2, 9, 13):
            codes = torch.tensor([[body, 3, 3, 3, accessory, 0]]).repeat(radix, 1)
            codes[:, kind] = torch.arange(radix)
            seen = torch.cat([data.visible(codes[:, :5]), codes[:, 5:]], dim=1)
            same = (seen[:, None] == seen[None]).all(-1)
            distance = pixel_distance(codes)
            assert (distance[same] < 2).all() and (distance[~same] > 16).all()


def test_no_held_out_picture_is_among_the_training_pictures():
    every = torch.arange(data.COMBINATIONS)
    seen = data.combination_index(data.visible(data.combination(every)))
    out = data.is_held_out(every)
    assert len(seen.unique()) == 15 * 9 * 15 * (14 * 10 + 2)
    assert not torch.isin(seen[out], seen[~out]).any()
    parts = data.visible(data.combination(every))
    assert torch.equal(data.visible(parts), parts)


@needs_cats
def test_a_part_out_of_range_is_not_another_part():
    with pytest.raises(IndexError):
        data.cat_picture(torch.tensor([[15, 0, 0, 0, 0]]), torch.tensor([0]))


@needs_cats
def test_parts_are_premultiplied_and_cached_once(empty_cache):
    made = cats._part_table(torch.device("cpu"))
    assert made.shape == (66, 4, 64, 64) and made.dtype == torch.float32
    assert made.min() >= 0 and (made[:, :3] <= made[:, 3:] + 1e-6).all() and made.max() <= 1
    files = list(empty_cache.iterdir())
    assert len(files) == 1
    cats._part_table.cache_clear()
    assert torch.equal(cats._part_table(torch.device("cpu")), made)
    files[0].write_bytes(files[0].read_bytes()[:1000])
    cats._part_table.cache_clear()
    with pytest.warns(UserWarning, match="damaged"):
        assert torch.equal(cats._part_table(torch.device("cpu")), made)
    assert torch.equal(torch.from_numpy(np.load(files[0])), made)


def test_missing_artwork_names_the_command(empty_cache, monkeypatch):
    monkeypatch.setattr(cats, "find_spec", lambda name: None)
    with pytest.raises(GendiffError, match="pip install robohash==2.0"):
        data.open_data("cats")
    assert not empty_cache.exists()


# Mixtures in two dimensions


@pytest.mark.parametrize("name", ["ring", "grid"])
def test_density_integrates_to_one_and_is_the_mixture(name):
    law = data.mixture(name)
    axis = torch.linspace(-1, 1, 801, dtype=torch.float64)
    cells = torch.cartesian_prod(axis, axis)
    mass = law.log_density(cells).exp().sum() * (axis[1] - axis[0]) ** 2
    assert abs(mass - 1) < 1e-6
    normals = torch.distributions.MultivariateNormal(
        law.centres.double(), law.std**2 * torch.eye(2, dtype=torch.float64)
    )
    weights = torch.distributions.Categorical(torch.ones(len(law.centres)).double())
    known = torch.distributions.MixtureSameFamily(weights, normals)
    x = cells[::997]
    torch.testing.assert_close(law.log_density(x), known.log_prob(x), rtol=1e-12, atol=1e-9)


@pytest.mark.parametrize("name", ["ring", "grid"])
@pytest.mark.parametrize("way", ["sample", "batch"])
def test_points_have_the_modes_moments(name, way):
    law, count = data.mixture(name), 60_000
    if way == "sample":
        x, modes = law.sample(count, torch.Generator().manual_seed(1))
    else:
        x, modes = data.open_data(name).batch(torch.arange(count))
    k = len(law.centres)
    share = torch.bincount(modes, minlength=k).double() / count
    assert (share - 1 / k).abs().max() < 5 * math.sqrt((1 - 1 / k) / k / count)
    z = (x - law.centres[modes]).double() / law.std
    assert z.mean(0).abs().max() < 5 / math.sqrt(count)
    assert (z.T @ z / count - torch.eye(2)).abs().max() < 5 * math.sqrt(2 / count)
    # Kolmogorov and Smirnov: the distance to the normal law has 1.95 / sqrt(n) as its 0.1 % point.
    normal = torch.special.ndtr(z.sort(0).values)
    rank = (torch.arange(count, dtype=torch.float64) + 0.5)[:, None] / count
    assert (normal - rank).abs().max() < 1.95 / math.sqrt(count)
    assert torch.equal(torch.cdist(x, law.centres).argmin(1), modes)


def test_the_generator_decides_the_sample():
    law = data.mixture("grid")
    a, b, c = (law.sample(50, torch.Generator().manual_seed(s))[0] for s in (5, 5, 6))
    assert torch.equal(a, b) and not torch.equal(a, c)
