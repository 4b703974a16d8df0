"""Noise: a picture's randomness is its seed's, whatever stands beside it."""

from __future__ import annotations

import math
import time
from collections import Counter

import numpy as np
import pytest
import torch

from gendiff.errors import GendiffError, whole
from gendiff.noise import SEED_MAX, Noise, checked, classes, parse, resolve_labels


def test_a_seed_draws_the_same_numbers_in_any_batch(device):
    alone = Noise([7], device)
    batch = Noise([3, 7, SEED_MAX, 7], device)
    for shape in ((4,), (1, 8, 8), ()):
        one, many = alone.randn(*shape), batch.randn(*shape)
        assert many.shape == (4, *shape) and many.device.type == device.type
        assert torch.equal(one[0], many[1]) and torch.equal(one[0], many[3])
        assert not torch.equal(many[0], many[1])
        expected = Noise([7]).randn(*shape) if shape == (4,) else one.cpu()
        assert torch.equal(one.cpu(), expected)


def test_draws_follow_each_other_and_are_normal():
    noise = Noise(range(50))
    draws = torch.stack([noise.randn(1000) for _ in range(4)])
    assert len({float(x) for x in draws[:, 0, 0]}) == 4
    assert abs(float(draws.mean())) < 4.5 / 200_000**0.5
    assert float(draws.var()) == pytest.approx(1, abs=4.5 * (2 / 200_000) ** 0.5)


def test_like_takes_shape_and_dtype_but_the_same_numbers():
    x = torch.zeros(2, 3, 4, dtype=torch.float64)
    drawn = Noise([1, 2]).like(x)
    assert drawn.shape == x.shape and drawn.dtype == torch.float64
    assert torch.equal(drawn, Noise([1, 2]).randn(3, 4).double())


def test_the_global_generator_is_left_alone():
    before = torch.get_rng_state()
    Noise([1]).randn(9), classes([1, 2], 3)
    assert torch.equal(before, torch.get_rng_state())


def test_classes_are_the_seeds_own_and_uniform():
    drawn = classes(range(3000), 10)
    assert drawn.dtype == torch.int64
    assert torch.equal(classes([5, 2999, 5], 10), drawn[[5, 2999, 5]])
    counts = Counter(drawn.tolist())
    # chi^2 with 9 degrees of freedom: beyond 33 once in 10,000
    assert set(counts) == set(range(10))
    assert sum((n - 300) ** 2 / 300 for n in counts.values()) < 33


def test_every_seed_up_to_the_largest_has_its_own_stream():
    """A CPU generator reads 32 bits of its seed: one more and seeds would coincide."""
    seeds = [0, 1, 2**16, 2**31, SEED_MAX - 1, SEED_MAX]
    assert len({float(x) for x in Noise(seeds).randn(1)[:, 0]}) == len(seeds)


def test_the_class_is_not_drawn_from_the_noises_stream():
    """Else a class would tell something about the first pixel."""
    streams = (torch.Generator().manual_seed(seed) for seed in range(500))
    same = torch.tensor([int(torch.randint(10, (), generator=stream)) for stream in streams])
    agree = (classes(range(500), 10) == same).float().mean()
    assert float(agree) == pytest.approx(0.1, abs=4.5 * math.sqrt(0.09 / 500))


def test_naming_the_class_that_a_seed_draws_changes_nothing():
    noise = Noise([4])
    classes([4], 10)
    assert torch.equal(noise.randn(5), Noise([4]).randn(5))


@pytest.mark.parametrize(
    ("seeds", "says"),
    [
        ([], "at least one"),
        ([-1], "from 0 to 4,294,967,295; got -1"),
        ([SEED_MAX + 1], "4294967296"),
        ([10**30], "whole number"),
        ([1.5], "got 1.5"),
        (["7"], "got 7"),
        (["abc"], "got abc"),
        ([None], "the field is empty"),
        ([True], "got True"),
        ([float("nan")], "got nan"),
        ([float("inf")], "got inf"),
        (7, "list of whole numbers"),
        ("7", "list of whole numbers"),
        (None, "list of whole numbers"),
    ],
)
def test_bad_seeds_are_refused(seeds, says):
    for take in (
        checked,
        Noise,
        lambda s: classes(s, 3),
        lambda s: resolve_labels(0, s, 3, "cpu"),
    ):
        with pytest.raises(GendiffError, match=says):
            take(seeds)


def test_whole_numbers_of_every_kind_are_seeds():
    kinds = [7, 7.0, np.int64(7), np.uint8(7), np.float64(7), torch.tensor(7)]
    assert checked(kinds) == [7] * 6
    assert all(type(seed) is int for seed in checked(kinds))
    assert (
        checked(torch.arange(3)) == checked(np.arange(3)) == checked(iter(range(3))) == [0, 1, 2]
    )


def test_whole_names_what_is_wrong():
    assert whole("It", 5, 1, 5) == 5
    with pytest.raises(GendiffError, match="^It must be a whole number from 1 to 5,000; got 0.$"):
        whole("It", 0, 1, 5000)
    with pytest.raises(GendiffError) as caught:
        whole("It", "x" * 10_000, 1, 5)
    assert len(str(caught.value)) < 120
    with pytest.raises(GendiffError) as caught:
        whole("It", "\ud800", 1, 5)  # JSON can carry it, no encoding can
    assert str(caught.value).encode().endswith(b"got ?.")


# Seeds as people write them


@pytest.mark.parametrize(
    ("text", "seeds"),
    [
        ("7", [7]),
        (7, [7]),
        ("0-63", list(range(64))),
        (" 3 - 5 ", [3, 4, 5]),
        ("1, 5, 9-12", [1, 5, 9, 10, 11, 12]),
        ("1;5\n9\t10", [1, 5, 9, 10]),
        ("[4, 2]", [4, 2]),
        ([4, 2], [4, 2]),
        ((4,), [4]),
        (range(3), [0, 1, 2]),
        ("5,5", [5, 5]),
        ("4294967295", [SEED_MAX]),
        ("007", [7]),
        ("5-5", [5]),
    ],
)
def test_seeds_as_people_write_them(text, seeds):
    assert parse(text) == seeds


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "'' is not"),
        ("   ", "'' is not"),
        ("[]", "'' is not"),
        ([], "'' is not"),
        ("-3", "'-3' is not"),
        ("5, -3", "is not"),
        (-3, "'-3' is not"),
        ("1.5", "'1.5' is not"),
        (1.5, "'1.5' is not"),
        ("7e3", "is not"),
        ("seven", "'seven' is not"),
        (None, "'None' is not"),
        (True, "'True' is not"),
        ("0x10", "is not"),
        ("1-2-3", "is not"),
        ("--5", "is not"),
        ("٣", "is not"),
        ("７", "is not"),
        ("²", "is not"),
        ("10-5", "runs backwards; write 5-10"),
        ("4294967296", "whole number"),
        (str(10**30), "is not"),
        ("0-64", "more than 64"),
        ("0-999999999999", "more than 64"),
        ("1," * 65 + "1", "more than 64"),
        ([1] * 65, "more than 64"),
    ],
)
def test_what_are_no_seeds(text, says):
    with pytest.raises(GendiffError, match=says):
        parse(text)


def test_most_is_the_limit():
    assert parse("0-3", most=4) == [0, 1, 2, 3]
    with pytest.raises(GendiffError, match="more than 3 seeds"):
        parse("0-3", most=3)


@pytest.mark.parametrize("text", ["1" + " " * 200_000 + "x", "-" * 200_000, "9" * 200_000])
def test_a_huge_text_is_refused_at_once(text):
    start = time.perf_counter()
    with pytest.raises(GendiffError) as caught:
        parse(text)
    assert time.perf_counter() - start < 1
    assert len(str(caught.value)) < 200


# Classes


def test_labels_are_resolved(device):
    seeds = [3, 1, 4]
    assert resolve_labels(None, seeds, 0, device) is None
    for given, expected in [
        (None, classes(seeds, 5).tolist()),
        (2, [2, 2, 2]),
        (np.int64(2), [2, 2, 2]),
        ([0, 1, 4], [0, 1, 4]),
        (torch.tensor([4, 4, 0]), [4, 4, 0]),
        (torch.tensor(1), [1, 1, 1]),
    ]:
        labels = resolve_labels(given, seeds, 5, device)
        assert labels.tolist() == expected and labels.dtype == torch.int64
        assert labels.device.type == device.type


@pytest.mark.parametrize(
    ("labels", "count", "says"),
    [
        (1, 0, "knows no classes"),
        (5, 5, "from 0 to 4; got 5"),
        (-1, 5, "got -1"),
        (1.5, 5, "got 1.5"),
        (1.0, 5, "got 1.0"),
        (True, 5, "got True"),
        ("dress", 5, "got dress"),
        ([0, None, 1], 5, "got"),
        ([[0, 1, 2]], 5, "got"),
        ([0, [1], 2], 5, "got"),
        (10**30, 5, "got 1000"),
        ([0, 1], 5, "3 seeds but 2 classes"),
        ([], 5, "whole number|3 seeds but 0 classes"),
    ],
)
def test_bad_labels_are_refused(labels, count, says):
    with pytest.raises(GendiffError, match=says):
        resolve_labels(labels, [1, 2, 3], count, "cpu")
