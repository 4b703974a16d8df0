"""What all tests share: one thread, the choice of device, and tiny models in real checkpoints."""

from __future__ import annotations

import shutil

import pytest
import torch
from hub_fixtures import repo, server, settings  # noqa: F401

from gendiff.assembly import build
from gendiff.weights import Card, load, save

CLASSES = ("round", "square", "star")
GAN_NET = {"size": 8, "channels": 1, "latent": 6, "width": 4, "classes": 3, "embedding": 2}
UNET = {
    "sample_size": 4,
    "in_channels": 4,
    "out_channels": 4,
    "block_out_channels": [8, 16],
    "layers_per_block": 1,
    "down_block_types": ["DownBlock2D", "AttnDownBlock2D"],
    "up_block_types": ["AttnUpBlock2D", "UpBlock2D"],
    "attention_head_dim": 8,
    "norm_num_groups": 4,
    "num_class_embeds": 4,
}
TINY = {
    "data": "shapes",
    "shape": (1, 8, 8),
    "classes": CLASSES,
    "parameters": {},
    "licence": "MIT",
}
CARDS = {
    "tiny-gan": Card(name="tiny-gan", title="Tiny GAN", family="gan", net=GAN_NET, **TINY),
    "tiny-diffusion": Card(
        name="tiny-diffusion",
        title="Tiny diffusion",
        family="diffusion",
        net=UNET,
        schedule={"name": "cosine", "T": 100},
        target="v",
        space_to_depth=2,
        **TINY,
    ),
}


def pytest_addoption(parser):
    parser.addoption("--run-slow", action="store_true", help="also the tests marked slow")
    parser.addoption(
        "--device",
        choices=("cpu", "cuda"),
        help="cpu: leave out the tests marked cuda; cuda: only these, and fail without a device",
    )


def pytest_configure(config):
    torch.set_num_threads(1)


@pytest.hookimpl(tryfirst=True)  # before xdist's own, which reads the groups
def pytest_collection_modifyitems(config, items):
    # Under xdist's loadgroup: a module to a process, and all browser tests, which are the longest,
    # to one: two Chromiums that draw starve each other and the server on two cores.
    items.sort(key=lambda item: "browser" not in item.path.parts)
    for item in items:
        group = "browser" if "browser" in item.path.parts else item.path.stem
        item.add_marker(pytest.mark.xdist_group(group))
    if not config.getoption("--run-slow"):
        for item in items:
            if "slow" in item.keywords:
                item.add_marker(pytest.mark.skip(reason="takes many minutes: --run-slow runs it"))
    asked = config.getoption("--device")
    if asked == "cuda" and not torch.cuda.is_available():
        raise pytest.UsageError("--device cuda, but PyTorch finds no CUDA device")
    if asked is not None:
        kept = [item for item in items if ("cuda" in item.keywords) == (asked == "cuda")]
        config.hook.pytest_deselected(items=[item for item in items if item not in kept])
        items[:] = kept
    elif not torch.cuda.is_available():
        for item in items:
            if "cuda" in item.keywords:
                item.add_marker(pytest.mark.skip(reason="NO CUDA DEVICE, NOT TESTED THERE"))


@pytest.fixture(params=["cpu", pytest.param("cuda", marks=pytest.mark.cuda)])
def device(request):
    """The test runs on the CPU and, where there is one, on a CUDA device."""
    return torch.device(request.param)


@pytest.fixture(scope="session")
def saved(tmp_path_factory):
    """A folder with one checkpoint of each family; nobody writes to it."""
    folder = tmp_path_factory.mktemp("saved")
    for name, card in CARDS.items():
        save(
            {part: randomized(net).state_dict() for part, net in build(card).items()},
            card,
            folder / name,
        )
    return folder


@pytest.fixture
def checkpoints(saved, tmp_path):
    """A copy of it, to be damaged."""
    return shutil.copytree(saved, tmp_path / "checkpoints")


@pytest.fixture
def gan(saved, device):
    return load(saved / "tiny-gan", device.type, "float32")


@pytest.fixture
def diffusion(saved, device):
    return load(saved / "tiny-diffusion", device.type, "float32")


def randomized(net, seed=0):
    """Every weight drawn anew, so that no layer starts as zero and every input matters."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in net.parameters():
            scale = 1 / max(parameter[0].numel(), 1) ** 0.5 if parameter.dim() > 1 else 0.3
            parameter.copy_(scale * torch.randn(parameter.shape, generator=generator))
        for name, buffer in net.named_buffers():
            if name.endswith("running_var"):
                buffer.copy_(0.5 + torch.rand(buffer.shape, generator=generator))
    return net
