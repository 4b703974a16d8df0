"""What is said of the machine, and the clock for whole programs, on programs with known times."""

from __future__ import annotations

import mmap
import socket
import sys

import pytest
import torch

from gendiff import machine
from gendiff.errors import GendiffError

SERVER = """
import http.server, os, time

class Page(http.server.BaseHTTPRequestHandler):
    asked = 0
    def do_GET(self):
        Page.asked += 1
        self.send_response(503 if Page.asked < 3 else 200)
        self.end_headers()
    def log_message(self, *_):
        pass

time.sleep(1)
port = int(os.environ["GRADIO_SERVER_PORT"])
print("x" * 200_000, port, flush=True)
http.server.HTTPServer((os.environ["GRADIO_SERVER_NAME"], port), Page).serve_forever()
"""


def test_conditions_are_those_of_the_choices(device):
    for dtype in ("float32", "bfloat16"):
        where = machine.conditions(device.type, dtype)
        assert (where.device, where.dtype) == (device.type, dtype)
        assert where.threads == torch.get_num_threads() and where.torch == torch.__version__
        assert where.machine == machine.describe(device) != ""


def test_a_machine_that_tells_nothing_still_has_a_name(monkeypatch):
    def missing(*_, **__):
        raise FileNotFoundError

    monkeypatch.setattr(machine.Path, "read_text", missing)
    assert machine.describe(torch.device("cpu")).split(",")[0]
    assert machine.peak_mb(torch.device("cpu")) is None


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_the_peak_is_the_highest_since_it_was_reset():
    cpu = torch.device("cpu")
    machine.reset_peak(cpu)
    low = machine.peak_mb(cpu)
    with mmap.mmap(-1, 100 * 2**20) as block:  # from the system: malloc may have as much, freed
        block.write(bytes([1]) * len(block))
    high = machine.peak_mb(cpu)
    machine.reset_peak(cpu)
    assert 90 < high - low < 200
    assert machine.peak_mb(cpu) < high - 50


def test_the_first_page_counts_only_when_it_is_there(monkeypatch):
    ports = []

    def noted(port):
        ports.append(port)
        return answers(port)

    answers = machine._answers
    monkeypatch.setattr(machine, "_answers", noted)
    seconds = machine.first_page([sys.executable, "-c", SERVER], patience=30)
    assert 1 < seconds < 30
    with pytest.raises(OSError):  # nobody is left to answer
        socket.create_connection(("127.0.0.1", ports[0]), timeout=5).close()


def test_an_app_that_dies_says_why():
    code = "raise SystemExit('first line\\nno such theme.')"
    with pytest.raises(GendiffError, match="stopped by itself: no such theme.$"):
        machine.first_page([sys.executable, "-c", code], patience=30)


def test_an_app_that_shows_nothing_is_ended():
    with pytest.raises(GendiffError, match="no page within 0.5 seconds"):
        machine.first_page([sys.executable, "-c", "import time; time.sleep(99)"], patience=0.5)


def test_start_up_counts_torch_apart():
    start = machine.startup(app=False)
    assert start.import_gendiff > start.import_torch > 0
    assert start.app is None


def test_start_up_of_a_package_that_cannot_be_imported(tmp_path, monkeypatch):
    (tmp_path / "torch.py").touch()
    (tmp_path / "gendiff.py").write_text("import nowhere_to_be_found")
    monkeypatch.setattr(machine, "ROOT", tmp_path)
    with pytest.raises(GendiffError, match="nowhere_to_be_found"):
        machine.startup()
