"""The layers of DESIGN.md section 2: a row imports rows below it, and gradio stays in ui."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "gendiff"
ROWS = [  # from the bottom; a name stands for a module or for all modules of a package
    {"errors"},
    {"results", "device"},
    {"schedule", "noise", "latent", "images", "clock", "batches", "cards", "team", "intervals"},
    {"sources"},
    {"cats", "mixtures"},
    {"readme", "learning"},
    {"nets", "data", "recipes", "overview"},
    {"denoise"},
    {"gan", "flow", "sample"},
    {"diffusion"},
    {"hub", "assembly"},
    {"weights"},
    {""},  # gendiff itself: the public names
    {"learners"},
    {"train", "readers", "publish", "machine"},
    {"fit", "bench", "speed", "teach", "metrics", "inception"},
    {"report", "evaluation"},
    {"studio"},
    {"ui", "films", "exchange", "evaluate"},
    {"commands", "compare"},
    {"__main__"},
]
RANK = {name: rank for rank, row in enumerate(ROWS) for name in row}
TOGETHER = {"hub", "nets", "studio", "ui"}  # packages whose modules may import each other
ONLY_IN = {  # what must not be imported elsewhere
    "gradio": {"ui"},
    "huggingface_hub": {"hub", "publish"},
    "av": {"images"},
    "safetensors": {"hub", "publish", "weights"},
}
NOWHERE = {"diffusers", "transformers", "robohash", "pickle5", "dill", "matplotlib"}


def module_of(path):
    """errors.py -> "errors", ui/player.py -> "ui.player", __init__.py -> ""."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


MODULES = {module_of(path): path for path in sorted(PACKAGE.rglob("*.py"))}
every_module = pytest.mark.parametrize("module", MODULES, ids=lambda name: name or "gendiff")


def imports(path):
    """Every dotted name that a file imports, wherever in the file."""
    package = path.parent.relative_to(ROOT).parts
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else ()
            start = ".".join([*above, *([node.module] if node.module else [])])
            yield from (f"{start}.{alias.name}" for alias in node.names)


def ours(name):
    """The module of ours that a dotted name means, or None."""
    first, _, rest = name.partition(".")
    if first != "gendiff":
        return None
    while rest and rest not in MODULES:
        rest = rest.rpartition(".")[0]  # a name inside the module
    return rest


def row_of(module):
    return module.partition(".")[0]


@every_module
def test_every_module_has_a_row(module):
    assert row_of(module) in RANK, f"gendiff/{module} is new: give it a row in DESIGN.md and here"


@every_module
def test_a_module_imports_only_rows_below(module):
    mine = row_of(module)
    for name in imports(MODULES[module]):
        target = ours(name)
        if target is None or (row_of(target) == mine and mine in TOGETHER):
            continue
        assert RANK[row_of(target)] < RANK[mine], f"gendiff/{module} must not import {name}"


@every_module
def test_third_parties_stay_where_they_belong(module):
    for name in imports(MODULES[module]):
        top = name.partition(".")[0]
        assert top not in NOWHERE, f"gendiff/{module} must not import {top}"
        assert row_of(module) in ONLY_IN.get(top, {row_of(module)}), f"gendiff/{module}: {top}"
        if row_of(module) == "ui":
            assert top not in ("torch", "torchvision", "safetensors"), f"gendiff/{module}: {top}"


def test_the_reader_of_imports_sees_them_all():
    """The tests above would pass if it saw nothing."""
    assert {"torch", "gendiff.errors.GendiffError"} <= set(imports(MODULES["schedule"]))
    assert "gendiff.schedule" in set(imports(MODULES["assembly"]))
    assert "av" in set(imports(MODULES["images"]))  # inside a function
    assert (
        ours("gendiff.errors.GendiffError") == "errors" and ours("gendiff.schedule") == "schedule"
    )
    assert ours("gendiff") == ours("gendiff.load") == "" and ours("torch.nn") is None
    assert ours("gendiff.ui.player.Player") == "ui.player"


def test_app_py_only_builds_and_launches():
    path = ROOT / "app.py"
    assert {ours(name) for name in imports(path)} <= {None, "studio", "ui"}
    assert len(path.read_text().splitlines()) < 30


def test_there_is_no_drawer_for_odds_and_ends():
    names = {module.rpartition(".")[2] for module in MODULES}
    assert not names & {"utils", "util", "helpers", "common", "misc"}


IMPORT = """
import sys, time

class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"gradio", "huggingface_hub", "diffusers", "torchvision",
                                      "robohash", "av", "requests", "httpx"}:
            raise ImportError(f"gendiff imported {name}")

sys.meta_path.insert(0, Refuse())
start = time.process_time()
import torch
between, state = time.process_time(), torch.get_rng_state()
import gendiff
end = time.process_time()
assert callable(gendiff.sample) and torch.equal(state, torch.get_rng_state())
assert "gendiff.ui" not in sys.modules and "gendiff.data" not in sys.modules
print(between - start, end - between)
"""


def test_importing_gendiff_needs_no_gradio_and_takes_hardly_longer_than_torch():
    done = subprocess.run(
        [sys.executable, "-c", IMPORT], cwd=ROOT, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    torch_seconds, more = map(float, done.stdout.split())
    assert more < 0.35 * torch_seconds


PUBLIC = """
import gendiff
from gendiff.denoise import Denoiser, FiniteDenoiser, GaussianDenoiser, Guided, Prediction
from gendiff.latent import grid, lerp, slerp, walk
from gendiff.noise import Noise
from gendiff.sample import Step, ddim, ddpm, dpmpp_2m, heun, renoise, times
from gendiff.schedule import (
    Schedule, constant, cosine, from_betas, linear, scaled_linear, sigmoid
)
gendiff.models, gendiff.load, gendiff.sample, gendiff.trajectory, gendiff.interpolate
gendiff.Card, gendiff.GendiffError, gendiff.Step, gendiff.__version__
gendiff.schedule.Schedule, gendiff.noise.Noise, gendiff.denoise.Denoiser, gendiff.latent.slerp
"""


def test_the_names_that_others_call_are_there():
    exec(PUBLIC, {})
