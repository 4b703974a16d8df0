"""The command line, in-process: its lists, its app, and that misuse ends in one sentence."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
import torch

from gendiff import films
from gendiff.__main__ import main
from gendiff.studio import Studio

ROOT = Path(__file__).resolve().parent.parent


def run(capsys, *argv):
    """Exit code, stdout, stderr."""
    code = main([str(word) for word in argv])
    out, err = capsys.readouterr()
    return code, out, err


def test_models_as_a_table_and_as_json(saved, capsys):
    code, out, _ = run(capsys, "models", saved)
    lines = out.splitlines()
    assert code == 0 and len(lines) == 3
    assert lines[0].split()[:4] == ["name", "title", "family", "data"]
    assert {line.split()[0] for line in lines[1:]} == {"tiny-gan", "tiny-diffusion"}

    code, out, _ = run(capsys, "models", saved, "--json")
    records = {record["name"]: record for record in json.loads(out)}
    files = [path for path in (saved / "tiny-gan").iterdir()]
    assert code == 0
    assert records["tiny-gan"] == {
        "name": "tiny-gan",
        "title": "Tiny GAN",
        "family": "gan",
        "data": "shapes",
        "parameters": 0,
        "bytes": sum(path.stat().st_size for path in files),
        "images": None,
        "licence": "MIT",
    }


def test_models_of_an_empty_folder(tmp_path, capsys):
    code, out, _ = run(capsys, "models", tmp_path)
    assert code == 0 and "no checkpoints" in out


def test_models_in_a_process_of_its_own(saved):
    done = subprocess.run(
        [sys.executable, "-m", "gendiff", "models", saved],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert "tiny-diffusion" in done.stdout and "MIT" in done.stdout


MISUSE = [
    ("", "COMMAND"),
    ("fly", "invalid choice"),
    ("sample", "NAME"),
    ("sample {gan}", "--out"),
    ("sample nobody --out {tmp}/a.png", "no checkpoint 'nobody'"),
    ("sample {tmp} --out {tmp}/a.png", "no checkpoint"),
    ("sample {gan} --seeds=-1 --out {tmp}/a.png", "Seeds are whole numbers"),
    ("sample {gan} --seeds 1.5 --out {tmp}/a.png", "Seeds are whole numbers"),
    ("sample {gan} --seeds cat --out {tmp}/a.png", "Seeds are whole numbers"),
    ("sample {gan} --seeds 9-3 --out {tmp}/a.png", "backwards"),
    ("sample {gan} --seeds 0-1024 --out {tmp}/a.png", "more than 1024"),
    (f"sample {{gan}} --seeds {10**30} --out {{tmp}}/a.png", "Seeds are whole numbers"),
    ("sample {gan} --label 3 --out {tmp}/a.png", "class"),
    ("sample {gan} --label cat --out {tmp}/a.png", "round, square, star"),
    ("sample {gan} --steps 5 --out {tmp}/a.png", "--steps is not for tiny-gan"),
    ("sample {gan} --truncation 99 --out {tmp}/a.png", "Truncation"),
    ("sample {net} --truncation 1 --out {tmp}/a.png", "--truncation is not for tiny-diffusion"),
    ("sample {net} --steps 101 --out {tmp}/a.png", "from 1 to 100"),
    ("sample {net} --steps 0 --out {tmp}/a.png", "from 1 to 100"),
    ("sample {net} --steps many --out {tmp}/a.png", "--steps"),
    ("sample {net} --sampler magic --out {tmp}/a.png", "magic"),
    ("sample {net} --eta 2 --out {tmp}/a.png", "eta"),
    ("sample {net} --guidance 99 --out {tmp}/a.png", "Guidance"),
    ("sample {net} --sampler ddpm --variance learned --out {tmp}/a.png", "variance"),
    ("sample {gan} --device tpu --out {tmp}/a.png", "tpu"),
    ("sample {gan} --dtype int8 --out {tmp}/a.png", "int8"),
    ("sample {gan} --out {tmp}/a.gif", "must end in .png"),
    ("sample {gan} --out {tmp}/a", "must end in .png"),
    ("sample {gan} --out {tmp}/folder.png", "cannot be written"),
    ("sample {gan} --out {tmp}/file/a.png", "cannot be made"),
    ("trajectory {gan} --out {tmp}/a.gif", "no trajectory"),
    ("trajectory {net} --out {tmp}/a.avi", "must end in .gif or"),
    ("trajectory {net} --frames 2 --out {tmp}/a.gif", "frames"),
    ("trajectory {net} --what noise --out {tmp}/a.gif", "noise"),
    ("interpolate {gan} --seeds 1 --out {tmp}/a.gif", "two seeds"),
    ("interpolate {gan} --frames 1 --out {tmp}/a.gif", "frames"),
    ("interpolate {gan} --path straight --out {tmp}/a.gif", "straight"),
    ("models {tmp}/nowhere", "no folder"),
    ("train nobody", "no recipe 'nobody'"),
    ("train fashion-gan --images 0", "--images"),
    ("train fashion-gan --batch=-4", "--batch"),
    ("train fashion-gan --minutes=-1", "--minutes"),
    ("train fashion-gan --minutes nan", "--minutes"),
    ("train fashion-gan --every 0", "--every"),
    ("train fashion-gan --threads 0", "--threads"),
    ("train fashion-gan --folder {tmp}/file", "cannot be made"),
    ("bench nobody --quick", "no checkpoint 'nobody'"),
]


@pytest.mark.parametrize(("line", "words"), MISUSE, ids=[line or "nothing" for line, _ in MISUSE])
def test_misuse_is_exit_code_2_and_one_sentence(saved, tmp_path, capsys, line, words):
    (tmp_path / "file").touch()
    (tmp_path / "folder.png").mkdir()
    places = {"gan": saved / "tiny-gan", "net": saved / "tiny-diffusion", "tmp": tmp_path}
    before = sorted(tmp_path.rglob("*"))
    code, out, err = run(capsys, *(word.format(**places) for word in line.split()))
    assert code == 2
    assert out == ""
    assert err.startswith("gendiff: ") and err.endswith("\n") and len(err.splitlines()) == 1
    assert words in err and "Traceback" not in err
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has CUDA")
def test_cuda_where_there_is_none(saved, tmp_path, capsys):
    flags = ("--device", "cuda", "--out", tmp_path / "a.png")
    code, _, err = run(capsys, "sample", saved / "tiny-gan", *flags)
    assert code == 2 and "no CUDA device" in err


def test_a_damaged_checkpoint(checkpoints, tmp_path, capsys):
    weights = checkpoints / "tiny-gan" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-8])
    code, _, err = run(capsys, "sample", checkpoints / "tiny-gan", "--out", tmp_path / "a.png")
    assert code == 2 and "truncated or altered" in err


def test_a_device_that_is_full(saved, tmp_path, capsys, monkeypatch):
    def full(*_, **__):
        raise torch.OutOfMemoryError("CUDA out of memory.\nTried to allocate 3 GiB.")

    monkeypatch.setattr(films.bench, "warm_up", full)
    code, _, err = run(capsys, "sample", saved / "tiny-gan", "--out", tmp_path / "a.png")
    assert code == 2 and "too little free memory" in err


def test_ctrl_c_leaves_no_traceback(saved, tmp_path, capsys, monkeypatch):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(films.bench, "warm_up", interrupt)
    code, _, err = run(capsys, "sample", saved / "tiny-gan", "--out", tmp_path / "a.png")
    assert code == 130 and err == "interrupted\n"


@pytest.mark.parametrize(
    "command", ["", "models", "sample", "trajectory", "train", "bench", "app"]
)
def test_help(command, capsys):
    with pytest.raises(SystemExit) as stop:
        main([*command.split(), "--help"])
    assert stop.value.code == 0
    assert capsys.readouterr().out.startswith("usage: python -m gendiff")


@pytest.fixture
def pages(monkeypatch):
    """A stand-in for gendiff.ui that serves nothing and notes, in order, what is done."""
    seen = SimpleNamespace(done=[], block_thread=lambda: seen.done.append("served"))
    ui = ModuleType("gendiff.ui")
    ui.build = lambda studio: vars(seen).update(studio=studio) or seen
    ui.launch = lambda demo, **options: demo.done.append(options)
    monkeypatch.setitem(sys.modules, "gendiff.ui", ui)
    monkeypatch.setattr(Studio, "share_cores", lambda self: None)
    monkeypatch.setattr(Studio, "preload", lambda self: seen.done.append("models"))
    return seen


def test_app_hands_its_options_on_and_loads_models_once_the_page_is_there(pages, capsys):
    flags = ("--port", 7999, "--share", "--device", "cpu", "--dtype", "bfloat16")
    assert run(capsys, "app", *flags)[0] == 0
    options = {"server_name": "127.0.0.1", "server_port": 7999, "share": True}
    assert pages.done == [{**options, "prevent_thread_lock": True}, "models", "served"]
    assert (pages.studio.device.type, pages.studio.dtype) == ("cpu", torch.bfloat16)


def test_app_on_a_port_that_is_taken(pages, capsys, monkeypatch):
    def launch(*_, **__):
        raise OSError("Cannot find empty port in range: 7999-7999. You can specify another.")

    monkeypatch.setattr(sys.modules["gendiff.ui"], "launch", launch)
    code, _, err = run(capsys, "app", "--port", 7999)
    assert code == 2 and len(err.splitlines()) == 1
    assert err.endswith("there: Cannot find empty port in range: 7999-7999.\n")
    assert pages.done == []  # a thread that loads models would abort a process that ends


def test_app_without_gradio(capsys, monkeypatch):
    monkeypatch.delitem(sys.modules, "gendiff.ui", raising=False)
    monkeypatch.setitem(sys.modules, "gradio", None)
    code, _, err = run(capsys, "app")
    assert code == 2 and "gradio" in err and "requirements.txt" in err
