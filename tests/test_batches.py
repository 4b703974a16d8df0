"""Work in batches that shrink when memory is short."""

from __future__ import annotations

import pytest
import torch

from gendiff.batches import BATCH, in_batches
from gendiff.errors import GendiffError


def test_the_joined_result_is_the_result(device):
    x, labels = torch.randn(10, 3, device=device), torch.arange(10, device=device)
    sizes = []

    def work(part, y):
        sizes.append(len(part))
        return part * 2 + y[:, None]

    torch.testing.assert_close(in_batches(work, x, labels, batch=4), x * 2 + labels[:, None])
    assert sizes == [4, 4, 2]


def test_without_labels_and_by_default_64_at_once():
    sizes = []

    def work(part, y):
        assert y is None
        sizes.append(len(part))
        return part

    x = torch.arange(2 * BATCH + 1)
    assert torch.equal(in_batches(work, x, None), x)
    assert sizes == [64, 64, 1]


def test_batches_are_halved_until_they_fit():
    tried = []

    def work(part, _):
        tried.append(len(part))
        if len(part) > 3:
            raise torch.OutOfMemoryError
        return part

    x = torch.arange(20)
    assert torch.equal(in_batches(work, x, None, batch=16), x)
    assert tried == [16, 8, 4, *[2] * 10]


def test_not_even_one_fits():
    def work(part, _):
        raise torch.OutOfMemoryError

    with pytest.raises(GendiffError, match="too little free memory for even one picture"):
        in_batches(work, torch.arange(5), None)


def test_other_errors_come_through():
    def work(part, _):
        raise RuntimeError("shapes")

    with pytest.raises(RuntimeError, match="shapes"):
        in_batches(work, torch.arange(5), None)


@pytest.mark.cuda
def test_a_full_device_is_answered_by_smaller_batches():
    free, _ = torch.cuda.mem_get_info()
    each = free // 6  # five fit, with what the allocator needs; sixteen do not
    sizes = []

    def work(part, _):
        held = torch.empty(len(part), each, dtype=torch.uint8, device="cuda")
        sizes.append(len(held))
        return part

    x = torch.arange(16)
    assert torch.equal(in_batches(work, x, None, batch=16), x)
    assert sizes == [4] * 4
