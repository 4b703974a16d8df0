"""To the Hub: what is pushed loads in diffusers number for number, and nothing leaves unasked."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace

import pytest
import torch
from conftest import CARDS, randomized
from hub_server import HubServer
from huggingface_hub import constants

import gendiff
from gendiff import publish, readme, weights
from gendiff.__main__ import main
from gendiff.assembly import build
from gendiff.errors import GendiffError
from gendiff.weights import save

diffusers = pytest.importorskip("diffusers")
BUNDLED = sorted(path.parent.name for path in weights.BUNDLED.glob("*/config.json"))
PLAIN = replace(
    CARDS["tiny-diffusion"],
    name="plain",
    classes=(),
    space_to_depth=1,
    target="eps",
    schedule={"name": "linear", "T": 40},
    net={
        **CARDS["tiny-diffusion"].net,
        "in_channels": 1,
        "out_channels": 1,
        "sample_size": 8,
        "num_class_embeds": None,
    },
)


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    standin = HubServer()
    monkeypatch.setattr(constants, "ENDPOINT", standin.url)
    monkeypatch.setenv("HF_TOKEN", "hf_of_the_test")
    yield standin
    standin.close()


@pytest.fixture
def plain(tmp_path):
    """A checkpoint without classes and blocks: DDPMPipeline can run it."""
    nets = {part: randomized(net).state_dict() for part, net in build(PLAIN).items()}
    save(nets, PLAIN, tmp_path / "plain")
    return tmp_path / "plain"


def test_the_network_is_the_same_in_diffusers(saved, tmp_path):
    publish.checkpoint(saved / "tiny-diffusion", tmp_path / "out")
    theirs = diffusers.UNet2DModel.from_pretrained(tmp_path / "out", subfolder="unet").eval()
    model = gendiff.load(saved / "tiny-diffusion", "cpu", "float32")
    x, t, labels = torch.randn(2, 4, 4, 4), torch.tensor([3, 70]), torch.tensor([1, 3])
    with torch.no_grad():
        ours, other = model.denoiser.net.net(x, t, labels), theirs(x, t, labels).sample
    assert other.abs().max() > 0.1 and torch.allclose(ours, other, atol=1e-5)
    assert not (tmp_path / "out" / "model_index.json").exists()
    card = (tmp_path / "out" / "README.md").read_text()
    assert card.startswith("---\n") and "DDPMPipeline cannot" in card


@pytest.mark.parametrize("blocks", [True, False], ids=["blocks-and-classes", "plain"])
def test_the_loop_on_the_card_makes_our_pictures(saved, plain, tmp_path, blocks):
    where, out = saved / "tiny-diffusion" if blocks else plain, tmp_path / "out"
    publish.checkpoint(where, out, repo=str(out))
    card = (out / "README.md").read_text("utf-8")
    (code,) = re.findall(r"```python\n(import torch.*?)```", card, re.DOTALL)
    assert ("pixel_unshuffle(x, 2)" in code) == ("class_labels" in code) == blocks
    names = {}
    torch.manual_seed(0)
    exec(code, names)
    model = gendiff.load(where, "cpu", "float32")
    torch.manual_seed(0)
    x_T = torch.randn(4, *model.shape)
    ours = model.decode(x_T, names.get("labels"), steps=len(names["scheduler"].timesteps))
    assert torch.allclose(names["pictures"], ours / 2 + 0.5, atol=2e-3)
    assert names["pictures"].std() > 0.05


@pytest.mark.parametrize("name", ["cosine", "linear", "scaled_linear", "sigmoid"])
def test_the_scheduler_is_the_same_in_diffusers(plain, tmp_path, name):
    card = json.loads((plain / "config.json").read_text())
    (plain / "config.json").write_text(json.dumps({**card, "schedule": {"name": name, "T": 40}}))
    publish.checkpoint(plain, tmp_path / "out")
    theirs = diffusers.DDPMScheduler.from_pretrained(tmp_path / "out", subfolder="scheduler")
    ours = gendiff.load(plain).schedule
    assert torch.allclose(theirs.alphas_cumprod.double(), ours.alpha_bars[1:], atol=1e-6)
    again = gendiff.load(publish_without_ours(tmp_path / "out"))
    assert torch.allclose(again.schedule.alpha_bars, ours.alpha_bars, atol=1e-6)


def publish_without_ours(folder):
    """What is left for a program that knows only diffusers' files."""
    for name in ("config.json", "model.safetensors"):
        (folder / name).unlink()
    return folder


def test_a_pipeline_makes_the_same_pictures_where_it_can(plain, tmp_path):
    publish.checkpoint(plain, tmp_path / "out")
    pipe = diffusers.DDPMPipeline.from_pretrained(tmp_path / "out")
    pipe.set_progress_bar_config(disable=True)
    model = gendiff.load(plain, "cpu", "float32")
    x_T, z = model.latents([5]), []
    draws = iter([x_T])

    def draw(shape, *_, **__):
        if (first := next(draws, None)) is not None:
            return first
        z.append(torch.randn(shape))
        return z[-1]

    with pytest.MonkeyPatch.context() as patch:
        for module in ("pipelines.ddpm.pipeline_ddpm", "schedulers.scheduling_ddpm"):
            patch.setattr(f"diffusers.{module}.randn_tensor", draw)
        theirs = pipe(num_inference_steps=40, output_type="np").images
    ours = ddpm_with(model, x_T, z)
    assert torch.allclose(
        (ours / 2 + 0.5).clamp(0, 1)[0, 0], torch.tensor(theirs)[0, :, :, 0], atol=1e-3
    )


def ddpm_with(model, x_T, draws):
    """Our DDPM with given noise instead of a seed's."""

    class Given:
        seeds = [5]
        left = iter(draws)

        def like(self, x):
            return next(self.left)

    levels = gendiff.sample.times(40, 40)
    run = gendiff.sample.ddpm(model.denoiser, x_T, levels, noise=Given(), variance="posterior")
    return gendiff.sample.last(run)


def test_a_gan_is_pushed_as_it_is(saved, tmp_path):
    items = publish.checkpoint(saved / "tiny-gan", tmp_path / "out")
    assert [item.name for item in items] == ["README.md", "config.json", "model.safetensors"]
    original, again = gendiff.load(saved / "tiny-gan"), gendiff.load(tmp_path / "out")
    assert torch.equal(original.sample([1]), again.sample([1]))


def test_what_the_card_shows_is_pushed_with_it(saved, tmp_path):
    folder = shutil.copytree(saved / "tiny-diffusion", tmp_path / "tiny-diffusion")
    (folder / "sheet.png").write_bytes(b"a sheet")
    (folder / "milestones.webp").write_bytes(b"milestones")
    readme.refresh(folder)
    names = {item.name for item in publish.checkpoint(folder, tmp_path / "out")}
    text = (tmp_path / "out" / "README.md").read_text("utf-8")
    links = {link for link in re.findall(r"\]\(([^)\s]+)\)", text) if "://" not in link}
    assert links == {"sheet.png"} and links <= names and "milestones.webp" in names


@pytest.mark.parametrize("name", BUNDLED)
def test_no_link_of_a_bundled_card_is_broken_on_the_hub(name):
    text = (weights.BUNDLED / name / "README.md").read_text("utf-8")
    links = {link for link in re.findall(r"\]\(([^)\s]+)\)", text) if "://" not in link}
    pushed = {
        path.name for path in (weights.BUNDLED / name).iterdir() if path.suffix in publish._TAKEN
    }
    assert links <= pushed


def test_a_damaged_checkpoint_is_not_published(checkpoints, tmp_path):
    with (checkpoints / "tiny-gan" / "model.safetensors").open("ab") as file:
        file.write(b"more")
    with pytest.raises(GendiffError, match="truncated or altered"):
        publish.checkpoint(checkpoints / "tiny-gan", tmp_path / "out")


def test_push_uploads_and_what_is_there_loads(server, saved, tmp_path, capsys, monkeypatch):
    assert main(["push", str(saved / "tiny-diffusion"), "--repo", "me/tiny"]) == 0
    assert f"{server.url}/me/tiny/commit/" in capsys.readouterr().out
    sent = server.pushed["me/tiny"]
    assert {"README.md", "config.json", "model.safetensors", "unet/config.json"} <= sent.keys()
    server.add("me/tiny", sent)
    for name in ("HF_HUB_CACHE", "HF_ASSETS_CACHE"):
        monkeypatch.setattr(constants, name, str(tmp_path / name))
    template = f"{server.url}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    model, local = gendiff.load("me/tiny"), gendiff.load(saved / "tiny-diffusion")
    assert torch.equal(model.sample([1], steps=2), local.sample([1], steps=2))


def test_the_app_is_pushed_as_one_commit_of_a_gradio_space(server, capsys, monkeypatch):
    monkeypatch.setattr(publish, "SPACE", ("app.py", "README.md", "requirements.txt"))
    assert main(["push", "--space", "me/app"]) == 0
    assert f"{server.url}/me/app/commit/" in capsys.readouterr().out
    assert server.pushed["me/app"] == {
        name: (publish.ROOT / name).read_bytes() for name in publish.SPACE
    }
    assert (server.created["me/app"]["type"], server.created["me/app"]["sdk"]) == (
        "space",
        "gradio",
    )
    assert len([line for line in server.log if "/commit/" in line]) == 1


def test_a_file_that_a_space_does_not_take_is_refused_by_the_dry_run_too(
    server, tmp_path, capsys, monkeypatch
):
    for name in publish.SPACE:
        (tmp_path / name).write_text("x")
    with (tmp_path / "README.md").open("wb") as file:
        file.truncate(publish.SPACE_FILE_MOST + 1)
    own = publish.space
    monkeypatch.setattr(publish, "space", lambda: own(tmp_path))
    for more in (["--dry-run"], []):
        assert main(["push", "--space", "me/app", *more]) == 2
        assert "README.md has 10.0 MB" in capsys.readouterr().err
    assert server.log == []


def test_a_dry_run_lists_and_sends_nothing(server, saved, capsys):
    where = str(saved / "tiny-diffusion")
    assert main(["push", where, "--repo", "me/tiny", "--dry-run"]) == 0
    said = capsys.readouterr().out
    assert "unet/config.json" in said and "nothing was sent" in said
    assert main(["push", "--space", "me/app", "--dry-run"]) == 0
    said = capsys.readouterr().out
    assert "app.py" in said and "checkpoints/fashion-gan/config.json" in said
    assert ".pyc" not in said and "tests/" not in said and ".venv" not in said
    assert server.log == []


@pytest.mark.parametrize("status", [401, 403, 500])
def test_no_right_to_write_is_a_sentence(server, saved, capsys, status):
    server.status = status
    assert main(["push", str(saved / "tiny-gan"), "--repo", "me/tiny"]) == 2
    assert "does not let you write to me/tiny" in capsys.readouterr().err


def test_no_network_is_a_sentence(server, saved, capsys):
    server.close()
    assert main(["push", str(saved / "tiny-gan"), "--repo", "me/tiny"]) == 2
    assert "nothing was published" in capsys.readouterr().err


def test_a_space_refuses_what_it_does_not_take(tmp_path):
    for name in publish.SPACE:
        (tmp_path / name).write_text("x")
    assert len(publish.space(tmp_path)) == len(publish.SPACE)
    (tmp_path / "LICENSE").unlink()
    with pytest.raises(GendiffError, match="no LICENSE"):
        publish.space(tmp_path)
    (tmp_path / "LICENSE").mkdir()
    with (tmp_path / "LICENSE" / "large.bin").open("wb") as file:
        file.truncate(publish.SPACE_FILE_MOST + 1)
    with pytest.raises(GendiffError, match="LICENSE/large.bin"):
        publish.space(tmp_path)


@pytest.mark.parametrize(
    "words",
    [
        ["push"],
        ["push", "fashion-gan"],
        ["push", "--repo", "a/b"],
        ["push", "fashion-gan", "--repo", "a/b", "--space", "a/b"],
        ["push", "fashion-gan", "--space", "a/b"],
        ["push", "nothing-like-it", "--repo", "a/b"],
        ["push", "fashion-gan", "--repo", "b"],
        ["push", "fashion-gan", "--repo", "a/b@main"],
        ["push", "fashion-gan", "--repo", "bad", "--dry-run"],
        ["push", "--space", "bad", "--dry-run"],
        ["pull", "--forget"],
        ["pull", "nothing"],
    ],
)
def test_misuse_is_one_sentence(words, capsys, server):
    assert main(words) == 2
    said = capsys.readouterr().err
    assert said.startswith("gendiff: ") and said.count("\n") == 1
    assert server.log == []
