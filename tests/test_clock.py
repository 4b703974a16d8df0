"""The clock counts production, not waiting."""

from __future__ import annotations

import time

import pytest
import torch

from gendiff.clock import now, timed


def test_the_consumers_time_is_left_out():
    def work():
        for item in "abc":
            time.sleep(0.05)
            yield item

    seen = []
    for item, seconds in timed(work()):
        seen.append((item, seconds))
        time.sleep(0.2)
    assert [item for item, _ in seen] == list("abc")
    times = [seconds for _, seconds in seen]
    assert times == sorted(times) and times[0] >= 0.05
    assert 0.15 <= times[-1] < 0.55  # 0.75 if a consumer's pause were counted


def test_abandoning_it_abandons_the_work():
    closed = []

    def work():
        try:
            yield from range(10)
        finally:
            closed.append(True)

    clock = timed(work())
    next(clock)
    clock.close()
    assert closed == [True]


def test_an_error_of_the_work_comes_through():
    def work():
        yield 1
        raise ValueError("broken")

    clock = timed(work())
    assert next(clock)[0] == 1
    with pytest.raises(ValueError, match="broken"):
        next(clock)


def test_it_also_reads_plain_lists_and_nothing():
    assert [item for item, _ in timed([1, 2])] == [1, 2]
    assert list(timed([])) == []


@pytest.mark.cuda
def test_now_waits_for_the_device():
    x = torch.randn(8192, 8192, device="cuda")
    x @ x
    start = now("cuda")
    for _ in range(10):
        y = x @ x
    queued = time.perf_counter() - start
    worked = now("cuda") - start
    assert y.isfinite().any()
    assert worked > 2 * queued
