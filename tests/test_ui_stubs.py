"""Importing gradio writes nothing beside its own files, and takes nothing away."""

from __future__ import annotations

import inspect
import subprocess
import sys

import gradio as gr
import pytest

from gendiff.ui.stubs import without_stubs

IMPORT = """
import inspect, pathlib
written = []
pathlib.Path.write_text = lambda self, *a, **k: written.append(self.name)
import gendiff.ui, gradio
from gradio import component_meta
assert inspect.getfile(gradio.Slider).endswith("slider.py")
print([name for name in written if name.endswith(".pyi")])
"""


def test_the_pages_import_gradio_without_its_stubs():
    done = subprocess.run(
        [sys.executable, "-c", IMPORT], capture_output=True, text=True, timeout=120, check=True
    )
    assert done.stdout.strip() == "[]"


def test_only_gradios_classes_have_no_file_and_only_inside():
    before = inspect.getfile
    with without_stubs():
        with pytest.raises(OSError, match="Slider"):
            inspect.getfile(gr.Slider)
        assert inspect.getfile(subprocess.Popen).endswith("subprocess.py")
    assert inspect.getfile is before
