"""A stand-in Hub with a small model on it, and settings that point there: for several modules."""

from __future__ import annotations

import json
import os

import pytest
import torch
from hub_server import HubServer
from huggingface_hub import constants
from safetensors.torch import save_file

from gendiff.hub import Settings, formats, unets

UNET = {
    "_class_name": "UNet2DModel",
    "sample_size": 8,
    "in_channels": 3,
    "out_channels": 3,
    "block_out_channels": [8, 16],
    "layers_per_block": 1,
    "down_block_types": ["DownBlock2D", "AttnDownBlock2D"],
    "up_block_types": ["AttnUpBlock2D", "UpBlock2D"],
    "attention_head_dim": None,
    "norm_num_groups": 4,
}
SCHEDULER = {"_class_name": "DDPMScheduler", "num_train_timesteps": 50, "clip_sample": True}
ID = "someone/tiny-ddpm"


def unet_files(tmp_path, seed=0, **changed):
    """A repository in diffusers' flat format, with random weights."""
    config = {**UNET, **changed}
    folder = tmp_path / f"made-{seed}-{len(changed)}"
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config))
    torch.manual_seed(seed)
    net = formats.UNet(unets.network(folder / "config.json"))
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.normal_(0, 0.2)
    save_file(net.state_dict(), folder / "diffusion_pytorch_model.safetensors")
    (folder / "scheduler_config.json").write_text(json.dumps(SCHEDULER))
    (folder / "README.md").write_text("---\nlicense: apache-2.0\ntags: [x]\n---\n# Tiny\n")
    (folder / "modeling.py").write_text("raise SystemExit('code from a repository was run')")
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    for name in list(os.environ):
        if name.lower().endswith("_proxy") or name.startswith("GENDIFF_HUB"):
            monkeypatch.delenv(name)
    standin = HubServer()
    # what HF_ENDPOINT sets, but that is read when huggingface_hub is imported
    template = constants.HUGGINGFACE_CO_URL_TEMPLATE.replace(constants.ENDPOINT, standin.url)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr(constants, "ENDPOINT", standin.url)
    yield standin
    standin.close()


@pytest.fixture
def settings(server, tmp_path, monkeypatch):
    """The environment's settings point to the stand-in and to folders of this test's own."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_ASSETS_CACHE", str(tmp_path / "assets"))
    return Settings.here(token=False)


@pytest.fixture
def repo(server, tmp_path):
    """A small DDPM on the stand-in; its commit's hash."""
    return server.add(ID, unet_files(tmp_path))
