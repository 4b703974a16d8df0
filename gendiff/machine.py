"""The machine that numbers are measured on: what it is, its memory, how fast programs start."""

from __future__ import annotations

import http.client
import os
import platform
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from gendiff.device import pick_device, pick_dtype
from gendiff.errors import GendiffError

ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Conditions:
    """Where and how networks ran. memory: what a peak counts."""

    machine: str
    device: str
    dtype: str
    threads: int
    torch: str
    memory: str


@dataclass(frozen=True)
class Startup:
    """Seconds of fresh processes: import gendiff (of which torch), app.py up to its first page."""

    import_gendiff: float
    import_torch: float
    app: float | None


def conditions(device: str | None = None, dtype: str | None = None) -> Conditions:
    """Those of a measurement with these choices, which default as `gendiff.load` has them."""
    where = pick_device(device)
    precision = str(pick_dtype(device, dtype)).removeprefix("torch.")
    memory = "allocated on the device" if where.type == "cuda" else "of the whole process"
    threads = torch.get_num_threads()
    return Conditions(describe(where), where.type, precision, threads, torch.__version__, memory)


def describe(device: torch.device) -> str:
    """The GPU's or the processor's name, and how many cores this process may use."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:  # not Linux
        lines = []
    names = (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    name = next(names, platform.processor() or platform.machine())
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"{name}, {cores} cores"


def reset_peak(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        return
    try:
        Path("/proc/self/clear_refs").write_text("5")  # proc(5): resets VmHWM
    except OSError:  # not Linux: `peak_mb` says None
        return


def peak_mb(device: torch.device) -> float | None:
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    try:
        lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    peak = next((line.split()[1] for line in lines if line.startswith("VmHWM:")), None)
    return None if peak is None else int(peak) / 1024


def startup(app: bool = True, patience: float = 120.0) -> Startup:
    """Fresh processes: one that imports gendiff, one that starts app.py if that file is there.

    Raises:
        GendiffError: a process failed, or app.py showed no page within `patience` seconds.
    """
    code = (
        "import time; a = time.perf_counter(); import torch; b = time.perf_counter(); "
        "import gendiff; print(b - a, time.perf_counter() - a)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        raise GendiffError(f"A new process cannot import gendiff: {_last_line(done.stderr)}.")
    torch_only, both = map(float, done.stdout.split())
    page = (
        first_page([sys.executable, "app.py"], patience)
        if app and (ROOT / "app.py").is_file()
        else None
    )
    return Startup(both, torch_only, page)


def first_page(command: Sequence[str], patience: float) -> float:
    """Seconds from starting a gradio program, in the project's folder, to its first HTTP 200."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    wishes = {"GRADIO_SERVER_NAME": "127.0.0.1", "GRADIO_SERVER_PORT": str(port)}
    with tempfile.TemporaryFile("w+") as said:
        start = time.perf_counter()
        server = subprocess.Popen(
            command, cwd=ROOT, env={**os.environ, **wishes}, stdout=subprocess.DEVNULL, stderr=said
        )
        try:
            while not _answers(port):
                if server.poll() is not None:
                    said.seek(0)
                    raise GendiffError(f"The app stopped by itself: {_last_line(said.read())}.")
                if time.perf_counter() - start > patience:
                    raise GendiffError(f"The app showed no page within {patience:g} seconds.")
                time.sleep(0.05)
            return time.perf_counter() - start
        finally:
            server.kill()
            server.wait()


def _answers(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", "/")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _last_line(text: str) -> str:
    return (text.strip().splitlines() or ["it said nothing"])[-1].rstrip(".")
