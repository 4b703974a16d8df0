"""ZeroGPU: long work is lent a GPU for about as long as it takes; elsewhere nothing changes."""

from __future__ import annotations

import inspect
import math
import pickle
import subprocess
import sys
from types import ModuleType

import gradio as gr
import pytest
from conftest import CARDS

from gendiff.errors import GendiffError
from gendiff.hub import Settings
from gendiff.studio import Studio, models, zero
from gendiff.ui import build
from gendiff.ui.parts import on_device


class Spaces(ModuleType):
    """A stand-in for the `spaces` package, as strict as it: what a function takes and gives is
    pickled, its errors lose all but their name unless they are gradio's, and Stop reaches it."""

    def __init__(self):
        super().__init__("spaces")
        self.asked, self.ended, self.known = [], 0, set()

    def GPU(self, task, *, duration):
        assert inspect.isgeneratorfunction(task)
        self.known.add(f"{task.__module__.rpartition('.')[2]}.{task.__name__}")

        def lent(*args):
            self.asked.append(duration(*args))
            items = task(*pickle.loads(pickle.dumps(args)))
            try:
                for item in items:
                    yield pickle.loads(pickle.dumps(item))
            except gr.Error:
                raise
            except Exception as error:
                raise gr.Error(type(error).__name__) from error
            finally:
                items.close()
                self.ended += 1

        return lent


@pytest.fixture(autouse=True)
def fresh():
    zero.attached.cache_clear()
    yield
    zero.attached.cache_clear()


@pytest.fixture
def spaces(monkeypatch):
    fake = Spaces()
    monkeypatch.setitem(sys.modules, "spaces", fake)
    monkeypatch.setenv("SPACES_ZERO_GPU", "true")
    return fake


def count(text, many):
    for i in range(many):
        yield f"{text} {i}"


@pytest.mark.parametrize("setting", [None, "", "0", "false"])
def test_elsewhere_nothing_is_wrapped_or_imported(monkeypatch, setting, saved):
    monkeypatch.setitem(sys.modules, "spaces", None)  # importing it is an error
    if setting is None:
        monkeypatch.delenv("SPACES_ZERO_GPU", raising=False)
    else:
        monkeypatch.setenv("SPACES_ZERO_GPU", setting)
    assert zero.on_gpu(count, lambda *_: 1) is count
    studio = Studio(saved, "cpu", "float32")
    assert studio.near is studio


def test_without_the_package_it_is_an_ordinary_space(monkeypatch):
    monkeypatch.setitem(sys.modules, "spaces", None)
    monkeypatch.setenv("SPACES_ZERO_GPU", "true")
    assert zero.attached() is None and zero.on_gpu(count, lambda *_: 1) is count


def test_the_package_is_there_before_anything_looks_for_a_device():
    code = """
import sys, torch
found = []
torch.cuda.is_available = lambda: found.append("spaces" in sys.modules) or False
from gendiff.studio import Studio
import gendiff.ui
assert not found
sys.modules["spaces"] = type(sys)("spaces")
Studio.with_hub()
assert found and all(found)
"""
    env = {"SPACES_ZERO_GPU": "1", "PATH": "/usr/bin", "HF_HUB_OFFLINE": "1", "HOME": "/nowhere"}
    run = [sys.executable, "-c", code]
    done = subprocess.run(run, capture_output=True, text=True, timeout=120, env=env)
    assert done.returncode == 0, done.stderr


def test_generators_stay_generators_and_functions_functions(spaces):
    lent = zero.on_gpu(count, lambda text, many: 2.0 * many)
    assert inspect.isgeneratorfunction(lent) and lent.__name__ == "count"
    assert inspect.signature(lent) == inspect.signature(count)
    assert [*lent("a", 3)] == ["a 0", "a 1", "a 2"]
    double = zero.on_gpu(lambda x: 2 * x, lambda x: 1.0)
    assert not inspect.isgeneratorfunction(double) and double(4) == 8
    assert len(spaces.asked) == 2
    assert [*lent(many=1, text="b")] == ["b 0"]  # as gradio's cache calls it


def test_stop_reaches_the_work(spaces):
    items = zero.on_gpu(count, lambda *_: 1.0)("a", 10)
    next(items)
    items.close()
    assert spaces.ended == 1


def test_a_guess_grows_with_calls_pictures_and_pixels():
    card = CARDS["tiny-diffusion"]
    one = zero.seconds(card, 10, 1)
    assert zero.seconds(card, 20, 16) == 2 * one and zero.seconds(card, 10, 17) == 2 * one
    large = type(card)(**{**vars(card), "shape": (3, 64, 64)})
    assert zero.seconds(large, 10, 1) == 4 * one


def test_what_runs_took_corrects_what_is_asked_for(spaces, monkeypatch):
    clock = iter(range(0, 10**6, 100))  # every run takes 100 seconds
    monkeypatch.setattr(zero.time, "monotonic", lambda: next(clock))
    lent = zero.on_gpu(count, lambda model, many: many)
    for model, many in (("a", 20), ("a", 10), ("b", 10), ("b", 1000)):
        list(lent(model, many))
    ratio = (zero.START + 100) / (zero.START + 20)
    first, second, other, most = spaces.asked
    assert first == zero.START + zero.MARGIN * 20
    assert second == math.ceil(zero.START + zero.MARGIN * ratio * 10) > other
    assert other == zero.START + zero.MARGIN * 10 and most == zero.MOST


def test_a_quick_run_asks_for_less_and_a_short_one_says_little():
    cost = zero.Cost()
    cost.learn("quick", 40, 2)
    cost.learn("short", 0.1, 3)
    assert cost.duration("quick", 40) < cost.duration("new", 40)
    assert cost.duration("short", 40) < 1.4 * cost.duration("new", 40)


def test_a_sentence_comes_through_and_nonsense_costs_no_gpu(spaces):
    def estimate(seeds):
        if seeds == "nonsense":
            raise GendiffError("Seeds are numbers.")
        return 1.0

    @on_device(estimate)
    def work(seeds):
        yield seeds
        raise GendiffError("The device is full.")

    with pytest.raises(gr.Error, match="Seeds are numbers"):
        list(work("nonsense"))
    assert spaces.asked == []
    with pytest.raises(gr.Error, match="The device is full"):
        list(work("1"))
    assert len(spaces.asked) == 1


@pytest.fixture
def handlers(spaces, saved):
    """The page's functions that share the queue of model work, by name."""
    demo = build(Studio(saved, "cpu", "float32"))
    found = [one for one in demo.fns.values() if one.concurrency_id == "model"]
    return {f"{one.fn.__module__.rpartition('.')[2]}.{one.fn.__name__}": one.fn for one in found}


GIVEN = {  # handler: what its components hold
    "denoise.denoise": ("tiny-diffusion", "any", "0-1", "ddim", 4, 1, 0, "posterior", "auto"),
    "compare_race.racing": ("shapes", ["gan", "ddim-4"], "0-1", 2, "any"),
    "compare_budget.spend": ("shapes", "0.05"),
    "api.sample": ("tiny-gan", "0-1", "any", "ddim", 4, 1.0, 0.0),
    "api.trajectory": ("tiny-diffusion", "0", "any", "heun", 4, 1.0, 0.0, "posterior"),
    "api.interpolate": ("tiny-gan", "0, 1", 3, "slerp", "any"),
    "interpolate.run": ("shapes", "walk", "0, 1", 3, 2, "slerp", False, "any", 3),
}

# handlers that only pass their values on to one that is lent a GPU
OUTER = {"compare_quality.samples": "compare_quality.sample"}


@pytest.mark.parametrize("name", GIVEN)
def test_long_work_is_lent_a_gpu(handlers, spaces, name):
    result = handlers[name](*GIVEN[name])
    if inspect.isgenerator(result):
        assert len(list(result)) >= 1
    assert len(spaces.asked) == 1 and 10 <= spaces.asked[0] <= 20
    assert spaces.ended == 1


def test_no_long_work_is_forgotten(handlers, spaces):
    assert len(handlers) >= 10
    assert {OUTER.get(name, name) for name in handlers} == spaces.known


def test_models_are_placed_at_the_start_and_warmed_where_they_run(spaces, saved, monkeypatch):
    warmed = []
    monkeypatch.setattr(models, "warm_up", lambda model, batch: warmed.append(model))
    studio = Studio(saved, "cpu", "float32")
    studio.place()
    placed = dict(studio._models)
    assert {name for name, _ in placed} == {"tiny-gan", "tiny-diffusion"} and not warmed
    model = studio.model("tiny-gan")
    assert model is placed["tiny-gan", "float32"] and warmed == [model]
    assert studio.model("tiny-gan") is model and len(warmed) == 1


def test_short_work_has_its_models_on_the_processor(spaces, saved):
    studio = Studio(saved, "cpu", "float32")
    assert studio.near is not studio and studio.near is studio.near
    assert studio.near.device.type == "cpu" and studio.near.cards() == studio.cards()
    studio.preload().join(30)
    assert not studio._models and len(studio.near._models) == 2


def test_with_hub_places_models_where_a_gpu_is_acted(spaces, saved, settings, monkeypatch):
    placed = []
    monkeypatch.setattr(Studio, "place", lambda self: placed.append(self.device.type))
    monkeypatch.setattr(models, "pick_device", lambda name: models.torch.device(name or "cuda"))
    monkeypatch.setattr(models, "pick_dtype", lambda *_: models.torch.float32)
    monkeypatch.setattr(Settings, "here", lambda token=None: settings)
    Studio.with_hub()
    Studio.with_hub("cpu")
    assert placed == ["cuda"]
