"""To the Hub: a checkpoint with its card, also in diffusers' format where there is one; the app.

What is uploaded is first put together in a folder, so that it can be listed, and tried, before
anything leaves this machine.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from gendiff.cards import CONFIG, Card
from gendiff.diffusion import Diffusion
from gendiff.errors import GendiffError
from gendiff.hub import Name, Settings
from gendiff.hub.sentences import not_published
from gendiff.hub.unets import TARGETS, VARIANCES
from gendiff.nets.unet_config import UNetConfig
from gendiff.weights import README, WEIGHTS, load

ROOT = Path(__file__).resolve().parent.parent
SPACE_FILE_MOST = 10_000_000  # bytes; beyond it a Space wants Git LFS
# What the app needs to run, and no more.
SPACE = ("app.py", "README.md", "LICENSE", "requirements.txt", "gendiff", "assets", "checkpoints")
_LEFT_OUT = ("__pycache__", ".pyc", ".partial", ".DS_Store")
# Of a checkpoint's folder: the card shows its pictures by relative links.
_TAKEN = (".json", ".md", ".safetensors", ".png", ".webp")
_UNET, _SCHEDULER = "unet/diffusion_pytorch_model.safetensors", "scheduler/scheduler_config.json"


@dataclass(frozen=True)
class Item:
    """A file to upload: where it is, and its name in the repository."""

    path: Path
    name: str

    @property
    def size(self) -> int:
        return self.path.stat().st_size


def place(text: str) -> str:
    """The repository that a person names; GendiffError unless it is OWNER/NAME."""
    if Name.parse(text) != Name(text):
        raise GendiffError(f"A repository is OWNER/NAME; got {text[:60]!r}.")
    return text


def checkpoint(where: Path, folder: Path, repo: str = "OWNER/NAME") -> list[Item]:
    """Put a checkpoint together in `folder`, as it will be on the Hub; it has been loaded once.

    A diffusion model's network is added in diffusers' format (`unet/`, `scheduler/`), and
    model_index.json where DDPMPipeline would make the same pictures. repo: what its card calls it.

    Raises:
        GendiffError: the checkpoint is damaged, or not one of ours.
    """
    model, card = load(where, "cpu", "float32"), Card.read(where)
    folder.mkdir(parents=True, exist_ok=True)
    for path in where.iterdir():
        if path.suffix in _TAKEN:
            shutil.copyfile(path, folder / path.name)
    if isinstance(model, Diffusion):
        _for_diffusers(model, card, folder, repo)
    return _items(folder)


def space(root: Path = ROOT) -> list[Item]:
    """The files of the app, as a Space runs it.

    Raises:
        GendiffError: a file that a Space does not take.
    """
    found = []
    for name in SPACE:
        if not (root / name).exists():
            raise GendiffError(f"{root} has no {name}; a Space needs it.")
        items = _items(root / name, name) if (root / name).is_dir() else [Item(root / name, name)]
        found += items
    if too_large := [item for item in found if item.size > SPACE_FILE_MOST]:
        one = too_large[0]
        raise GendiffError(
            f"A Space takes no file above {SPACE_FILE_MOST / 1e6:.0f} MB as it is: {one.name} has "
            f"{one.size / 1e6:.1f} MB; store it on the Hub as a model."
        )
    return found


def upload(items: list[Item], repo: str, kind: str, message: str) -> str:
    """One commit with these files; the address of what is then there.

    Args:
        kind: "model" or "space".

    Raises:
        GendiffError: no network, no token, no right to write there.
    """
    from huggingface_hub import CommitOperationAdd, HfApi

    settings, repo = Settings.here(), place(repo)
    api = HfApi(endpoint=settings.endpoint)
    try:
        more = {"space_sdk": "gradio"} if kind == "space" else {}
        api.create_repo(repo, repo_type=kind, exist_ok=True, **more)
        operations = [CommitOperationAdd(item.name, str(item.path)) for item in items]
        done = api.create_commit(
            repo, operations, commit_message=message, repo_type=kind, revision="main"
        )
    except Exception as error:
        raise not_published(error, repo, settings) from error
    return str(done.commit_url)


def _for_diffusers(model: Diffusion, card: Card, folder: Path, repo: str) -> None:
    """unet/ and scheduler/ beside our own files, and a section on the card that says how."""
    (folder / "unet").mkdir(exist_ok=True)
    (folder / "scheduler").mkdir(exist_ok=True)
    tensors = load_file(folder / WEIGHTS)
    own = {key.removeprefix("net."): tensor for key, tensor in tensors.items()}
    save_file(own, folder / _UNET, metadata={"format": "pt"})
    config = {"_class_name": "UNet2DModel", **asdict(UNetConfig.from_dict(card.net))}
    _write(folder / "unet" / CONFIG, config)
    _write(folder / _SCHEDULER, scheduler(model))
    whole = card.space_to_depth == 1 and not card.classes
    if whole:
        parts = {"scheduler": ["diffusers", "DDPMScheduler"], "unet": ["diffusers", "UNet2DModel"]}
        _write(folder / "model_index.json", {"_class_name": "DDPMPipeline", **parts})
    with (folder / README).open("a", encoding="utf-8") as readme:
        readme.write(_section(card, whole, repo))


def scheduler(model: Diffusion) -> dict[str, Any]:
    """The schedule as diffusers' DDPMScheduler reads it."""
    targets = {ours: theirs for theirs, ours in TARGETS.items()}
    variances = {ours: theirs for theirs, ours in reversed(VARIANCES.items())}
    card = model.card.schedule or {}
    values: dict[str, Any] = {
        "_class_name": "DDPMScheduler",
        "num_train_timesteps": model.schedule.T,
        "prediction_type": targets[model.denoiser.target],
        "variance_type": variances[model.variance],
        "clip_sample": model.denoiser.clip_x0,
        "timestep_spacing": "trailing",
    }
    if card.get("name") in ("linear", "scaled_linear"):
        levels = model.schedule.betas
        ends = {"beta_start": float(levels[0]), "beta_end": float(levels[-1])}
        return {**values, "beta_schedule": card["name"], **ends}
    if card.get("name") == "cosine" and card.get("s", 0.008) == 0.008:
        return {**values, "beta_schedule": "squaredcos_cap_v2"}
    return {**values, "trained_betas": model.schedule.betas.to(torch.float64).tolist()}


def _section(card: Card, whole: bool, repo: str) -> str:
    """What the card says about diffusers: what loads, and a loop that runs."""
    lines = [
        "",
        "## With diffusers",
        "",
        f'`UNet2DModel.from_pretrained("{repo}", subfolder="unet")` is this network, number for',
        "number, and `scheduler/` its schedule.",
    ]
    if whole:
        lines += [f'`DDPMPipeline.from_pretrained("{repo}")` makes its pictures.']
    else:
        lines += ["DDPMPipeline cannot run it, this loop does:"]
    if card.space_to_depth > 1:
        f = card.space_to_depth
        lines += [f"- the network works on blocks of {f} x {f} pixels as channels;"]
    if card.classes:
        lines += [
            f"- it wants a class for every picture: 0 to {len(card.classes) - 1}, or "
            f"{len(card.classes)} for none."
        ]
    return "\n".join([*lines, "", "```python", *_loop(card, repo), "```", ""])


def _loop(card: Card, repo: str) -> list[str]:
    """Deterministic DDIM with diffusers alone, as `Diffusion.decode` does it."""
    f, shape = card.space_to_depth, ", ".join(map(str, card.shape))
    seen = "x" if f == 1 else f"pixel_unshuffle(x, {f})"
    labels = ", class_labels=labels" if card.classes else ""
    return [
        "import torch",
        "from diffusers import DDIMScheduler, UNet2DModel",
        *(["from torch.nn.functional import pixel_shuffle, pixel_unshuffle"] if f > 1 else []),
        "",
        f'unet = UNet2DModel.from_pretrained("{repo}", subfolder="unet").eval()',
        f'scheduler = DDIMScheduler.from_pretrained("{repo}", subfolder="scheduler")',
        f"scheduler.set_timesteps({min(50, int((card.schedule or {}).get('T', 1000)))})",
        f"x = torch.randn(4, {shape})",
        *([f"labels = torch.arange(4) % {len(card.classes)}"] if card.classes else []),
        "for t in scheduler.timesteps:",
        "    with torch.no_grad():",
        f"        guess = unet({seen}, t{labels}).sample",
        *([f"        guess = pixel_shuffle(guess, {f})"] if f > 1 else []),
        "    x = scheduler.step(guess, t, x, use_clipped_model_output=True).prev_sample",
        "pictures = (x / 2 + 0.5).clamp(0, 1)",
    ]


def _items(folder: Path, start: str = "") -> list[Item]:
    return sorted(_walk(folder, start), key=lambda item: item.name)


def _walk(folder: Path, start: str) -> Iterator[Item]:
    for where, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not name.endswith(_LEFT_OUT)]
        for name in files:
            if not name.endswith(_LEFT_OUT):
                path = Path(where) / name
                inside = path.relative_to(folder).as_posix()
                yield Item(path, f"{start}/{inside}" if start else inside)


def _write(path: Path, values: dict[str, Any]) -> None:
    path.write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")
