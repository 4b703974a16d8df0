"""Models from the Hub, against a stand-in server on loopback; huggingface_hub is the real one."""

from __future__ import annotations

import errno
import io
import json
import os
import pickle
import shutil
import threading
import time
from dataclasses import replace

import pytest
import torch
from hub_fixtures import ID, SCHEDULER, unet_files
from hub_server import HubServer
from huggingface_hub import constants, file_download, get_session, hf_hub_download

import gendiff
from gendiff import hub, weights
from gendiff.errors import GendiffError
from gendiff.hub import Name, Settings, catalogue, remote
from gendiff.nets.simple_cnn import FiveLayers, SimpleConfig, SimpleDiscriminator, SimpleGenerator

QUICK = 10.0  # seconds within which a dead network is told


def pulled(text, settings):
    """What pull says: bytes, and the note."""
    _, *steps, note = weights.pull(text, settings)
    return steps, note


def nothing_is_here(settings, name=ID):
    assert hub.find(Name.parse(name), settings) is None
    assert not list(settings.notes.glob("*")) and not list(hub.notes(settings))


# ---- Ids ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("google/ddpm-cifar10-32", Name("google/ddpm-cifar10-32")),
        (" a/b@main ", Name("a/b", "", "main")),
        ("a/b@refs/pr/3", Name("a/b", "", "refs/pr/3")),
        ("x/Y.z_1/gan_cifar10@" + "0" * 40, Name("x/Y.z_1", "gan_cifar10", "0" * 40)),
    ],
)
def test_an_id_is_read(text, name):
    assert Name.parse(text) == name and Name.parse(str(name)) == name


@pytest.mark.parametrize(
    "text",
    [
        "",
        "name",
        "/a/b",
        "a/",
        "a/b/",
        "a//b",
        "../a/b",
        "a/..",
        "a/b/../../c",
        "a/b@../x",
        "a/b@",
        "http://127.0.0.1/a/b",
        "a/b?x=1",
        "a/b#c",
        "a b/c",
        "a/b\n",
        "a%2f/b",
        "a--b/c",
        "a\\b/c",
        "ä/b",
        "a/b\0",
        "-a/b",
        "a/b/c/d/e/f/g",
        "a/" + "b" * 200,
        "~/a",
        "a@b/c",
    ],
)
def test_what_is_no_id_reaches_nothing(text, server, settings):
    if text != "a/b\n":  # white space around an id is forgiven
        with pytest.raises(GendiffError, match="no model id"):
            hub.look(text, settings)
        assert server.log == []


# ---- The way that works -----------------------------------------------------------------------


def test_a_model_comes_from_the_hub_once_and_then_from_the_cache(server, settings, repo):
    steps, note = pulled(ID, settings)
    assert note.facts.licence == "apache-2.0" and note.family == "diffusion"
    done = [step.done for step in steps]
    assert done == sorted(done) and done[-1] == steps[-1].total == note.size
    model = gendiff.load(ID)
    assert model.card.name == ID and model.shape == (3, 8, 8)
    assert model.card.training["source"] == f"{ID}@{repo}"
    assert not [line for line in server.log if line.endswith(".py")]  # no code is even fetched
    server.log.clear()
    for text in (ID, f"{ID}@{repo}"):
        assert torch.equal(gendiff.load(text).sample([3]), model.sample([3]))
        assert hub.look(text, settings).note is not None
    assert server.log == []


def test_with_no_server_at_all_the_cached_model_loads(server, settings, repo):
    pulled(f"{ID}@{repo}", settings)
    server.close()
    assert gendiff.load(ID).shape == (3, 8, 8)


def test_what_huggingface_hub_has_cached_is_used_without_a_request(server, settings, repo):
    for file in ("config.json", "scheduler_config.json", "diffusion_pytorch_model.safetensors"):
        hf_hub_download(ID, file, revision=repo, cache_dir=settings.cache, endpoint=server.url)
    server.log.clear()
    assert gendiff.load(f"{ID}@{repo}").shape == (3, 8, 8)
    assert server.log == []


def test_a_branch_is_asked_for_every_time_and_a_new_commit_is_seen(
    server, settings, repo, tmp_path
):
    pulled(ID, settings)
    newer = server.add(ID, unet_files(tmp_path, seed=1))
    assert newer != repo
    assert hub.look(ID, settings).facts.sha == repo  # cache first
    offer = hub.look(f"{ID}@main", settings)
    assert offer.facts.sha == newer and offer.note is None
    *_, note = weights.pull(f"{ID}@main", settings)
    assert note.facts.sha == newer


def test_weights_that_another_commit_has_are_not_fetched_again(server, settings, repo):
    pulled(ID, settings)
    server.add(ID, {**server.repos[ID].files, "README.md": b"new words"})
    server.log.clear()
    assert pulled(f"{ID}@main", settings)[1].facts.sha != repo
    assert not [line for line in server.log if line.startswith("GET") and "safetensors" in line]


def test_size_and_licence_are_known_before_the_download(server, settings, repo):
    offer = hub.look(ID, settings)
    assert offer.facts.licence == "apache-2.0"
    assert offer.size == sum(
        len(server.repos[ID].files[path])
        for path in (
            "config.json",
            "scheduler_config.json",
            "diffusion_pytorch_model.safetensors",
        )
    )
    assert not [line for line in server.log if "safetensors" in line]


def test_a_slow_line_is_not_taken_for_a_dead_one(server, settings, repo, monkeypatch):
    monkeypatch.setattr(remote, "DEAD", 2.5)
    server.slow = 5.0
    steps, note = pulled(ID, settings)
    assert note.family == "diffusion" and len({step.done for step in steps}) > 8


def test_our_own_format_travels(server, settings, saved):
    files = {path.name: path.read_bytes() for path in (saved / "tiny-gan").iterdir()}
    server.add("me/tiny-gan", files)
    model, local = gendiff.load("me/tiny-gan"), gendiff.load(saved / "tiny-gan")
    assert model.card.name == "me/tiny-gan"
    assert model.card.title == f"{local.card.title} (me/tiny-gan)"  # the bundled one's is the same
    assert torch.equal(model.sample([1, 2]), local.sample([1, 2]))


def test_a_folder_of_a_repository_is_a_model(server, settings):
    data = io.BytesIO()
    generator = SimpleGenerator(SimpleConfig(100, (8, 6, 4)))
    torch.save(
        {"G": generator.state_dict(), "D": SimpleDiscriminator(3, (4, 6)).state_dict()}, data
    )
    server.add("xy/gans", {"gan_cifar10/ckpt/best/model.pt": data.getvalue(), "README.md": b""})
    assert gendiff.load("xy/gans/gan_cifar10").shape == (3, 32, 32)
    with pytest.raises(GendiffError, match="several models.*gan_cifar10"):
        hub.look("xy/gans", settings)


# ---- What goes wrong, each in a sentence of its own -------------------------------------------


def fails(match, text=ID, settings=None, within=QUICK):
    start = time.monotonic()
    with pytest.raises(GendiffError, match=match) as caught:
        pulled(text, settings)
    assert time.monotonic() - start < within
    assert "\n" not in str(caught.value) and str(caught.value).endswith(".")
    nothing_is_here(settings)


def test_offline(monkeypatch, server, settings, repo):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    fails("HF_HUB_OFFLINE is set", settings=settings)
    assert server.log == []


def test_without_a_network_a_branch_is_not_here_but_the_commit_that_is_gets_named(
    server, settings, repo
):
    pulled(ID, settings)
    server.close()
    with pytest.raises(GendiffError, match=f"no '{ID}@main' here, only {ID}@{repo}.*reached"):
        gendiff.load(f"{ID}@main")


def test_refused(server, settings, repo):
    server.close()
    fails("cannot be reached", settings=settings)


def test_an_address_without_a_host(settings, repo):
    fails("cannot be reached", settings=replace(settings, endpoint="http://nowhere.invalid"))


def test_silent(server, settings, repo, monkeypatch):
    monkeypatch.setattr(remote, "DEAD", 0.5)
    server.silent = True
    fails("does not answer", settings=settings)


def test_the_patience_with_a_silent_hub_is_within_the_bound():
    assert remote.QUIET + 1 < remote.DEAD < QUICK


def test_one_deadline_for_all_that_is_asked_before_a_download(server, settings, repo, monkeypatch):
    monkeypatch.setattr(remote, "DEAD", 1.5)
    for server.mute in ("README.md", "config.json"):  # the list of files came; then the line died
        fails("does not answer", settings=settings, within=3.5)
    assert f"GET /api/models/{ID}/tree/{repo}" in server.log


def test_one_deadline_from_a_press_to_the_first_byte(server, settings, repo, monkeypatch):
    monkeypatch.setattr(remote, "DEAD", 4.0)
    start, steps = time.monotonic(), weights.pull(ID, settings)
    assert next(steps).facts.sha == repo
    server.mute = "config.json"
    time.sleep(3.0)  # as if it had taken that long to tell
    with pytest.raises(GendiffError, match="Nothing comes of config.json"):
        list(steps)
    assert time.monotonic() - start < 6.0  # and not 3 + 4


def test_a_call_that_is_given_up_ends_and_closes_nobody_elses_connection(server, settings, repo):
    offer = hub.look(ID, settings)
    session, before = get_session(), set(threading.enumerate())
    server.close()
    with pytest.raises(GendiffError, match="cannot be reached"):
        list(hub.fetch(offer, settings))
    for thread in set(threading.enumerate()) - before:
        thread.join(3.0)
        assert not thread.is_alive()
    assert get_session() is session and not session.is_closed


def test_silent_in_the_middle(server, settings, repo, monkeypatch):
    monkeypatch.setattr(remote, "DEAD", 2.0)
    offer = hub.look(ID, settings)
    server.silent = True
    with pytest.raises(GendiffError, match="does not answer"):
        list(hub.fetch(offer, settings))
    nothing_is_here(settings)


def test_gone_in_the_middle(server, settings, repo):
    offer = hub.look(ID, settings)
    server.close()
    start = time.monotonic()
    with pytest.raises(GendiffError, match="cannot be reached"):
        list(hub.fetch(offer, settings))
    assert time.monotonic() - start < QUICK
    nothing_is_here(settings)


@pytest.fixture
def files(server):
    """Another server that keeps the large files, as the real Hub has one."""
    other = HubServer()
    other.repos, server.files_at = server.repos, other.url
    yield other
    other.close()


def test_large_files_come_from_another_server(server, files, settings, repo):
    assert pulled(ID, settings)[1].family == "diffusion"
    weights_at = f"GET /{ID}/resolve/{repo}/diffusion_pytorch_model.safetensors"
    assert weights_at in files.log and weights_at not in server.log


def test_xet_is_not_used(server, files, settings, repo, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", False)
    server.xet = True
    assert pulled(ID, settings)[1].family == "diffusion"
    assert f"GET /{ID}/resolve/{repo}/diffusion_pytorch_model.safetensors" in files.log
    assert not [line for line in server.log + files.log if "xet" in line]


@pytest.mark.parametrize("fault", ["silent", "stalled"])
def test_a_silent_file_server_behind_a_living_hub(files, settings, repo, monkeypatch, fault):
    monkeypatch.setattr(remote, "QUIET", 0.5)
    monkeypatch.setattr(remote, "DEAD", 2.0)
    setattr(files, fault, True)
    fails("Nothing comes of diffusion.*though .* answers", settings=settings, within=6)


def test_a_file_server_that_is_gone_behind_a_living_hub(files, settings, repo):
    files.close()
    fails("Nothing comes of diffusion.*though .* answers", settings=settings)


def test_gated(server, settings, repo):
    server.gated = True
    fails("gated.*this page fetches public models only.*gendiff pull someone", settings=settings)
    fails("gated.*accept its terms.*set HF_TOKEN", settings=replace(settings, token=None))


def test_disabled(server, settings, repo):
    server.disabled = True
    fails("disabled", settings=settings)


def test_no_such_repository(settings):
    fails("no model some/thing", "some/thing", settings)


@pytest.mark.parametrize("revision", ["v9", "1" * 40])
def test_no_such_revision(settings, repo, revision):
    fails("no revision", f"{ID}@{revision}", settings)


def test_no_such_file(server, settings, repo):
    server.hidden = {"diffusion_pytorch_model.safetensors"}
    fails("no file diffusion_pytorch_model.safetensors", settings=settings)


@pytest.mark.parametrize(
    ("status", "match"),
    [(500, "out of order"), (503, "out of order"), (429, "fewer"), (403, "403")],
)
def test_a_status(server, settings, repo, status, match):
    server.status = status
    fails(match, settings=settings)


def test_no_hub_at_all(server, settings, repo):
    server.dumb = True
    fails("not what a Hub says", settings=settings)


@pytest.mark.timeout(60)
def test_cut_off(server, settings, repo, monkeypatch):
    server.cut = True
    monkeypatch.setattr(time, "sleep", lambda _: None)  # huggingface_hub's pauses between resumes
    fails("broke off", settings=settings)


@pytest.mark.timeout(60)
def test_weights_that_always_break_off(server, settings, repo, monkeypatch):
    for file in ("config.json", "scheduler_config.json"):
        hf_hub_download(ID, file, revision=repo, cache_dir=settings.cache, endpoint=server.url)
    offer = hub.look(ID, settings)
    server.cut = True
    monkeypatch.setattr(time, "sleep", lambda _: None)
    with pytest.raises(GendiffError, match="broke off in the middle of diffusion_pytorch"):
        list(hub.fetch(offer, settings))
    nothing_is_here(settings)


def test_same_size_corruption_is_found_and_removed(server, settings, repo):
    server.corrupt = True
    fails("arrived damaged", settings=settings)
    server.corrupt = False
    assert pulled(ID, settings)[1].family == "diffusion"  # nothing damaged was left behind


def test_corruption_in_the_cache_is_found(server, settings, repo):
    _, note = pulled(ID, settings)
    path = (note.folder / note.form.weights).resolve()
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(GendiffError, match="damaged or gone"):
        gendiff.load(ID)
    path.unlink()
    with pytest.raises(GendiffError, match="damaged or gone"):
        gendiff.load(ID)
    assert hub.forget(ID, settings) and not hub.forget(ID, settings)
    assert gendiff.load(ID).shape == (3, 8, 8)


def test_a_file_that_was_only_touched_is_hashed_and_passes(server, settings, repo):
    _, note = pulled(ID, settings)
    os.utime(note.folder / note.form.weights, (1, 1))
    assert gendiff.load(ID).shape == (3, 8, 8)


def test_no_room(server, settings, repo, monkeypatch):
    usage = shutil.disk_usage(settings.cache.parent)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=100))
    fails("disk is full", settings=settings)


def test_the_disk_fills_up_on_the_way(server, settings, repo, monkeypatch):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(file_download, "http_get", full)
    fails("disk is full", settings=settings)


def test_a_cache_that_cannot_be_written(server, settings, repo, tmp_path):
    blocked = tmp_path / "blocked"
    blocked.write_text("a file, not a folder")
    fails("cannot be kept", settings=replace(settings, cache=blocked))


def test_cancelled(server, settings, repo):
    offer = hub.look(ID, settings)
    with pytest.raises(GendiffError, match="cancelled"):
        list(hub.fetch(offer, settings, cancelled=lambda: True))
    nothing_is_here(settings)


def test_the_iterator_can_be_abandoned(server, settings, repo):
    offer = hub.look(ID, settings)
    steps = hub.fetch(offer, settings)
    next(steps)
    steps.close()
    nothing_is_here(settings)


def test_another_architecture_is_refused_and_not_kept(server, settings, tmp_path):
    files = unet_files(tmp_path)
    config = {**json.loads(files["config.json"]), "block_out_channels": [8, 24]}
    server.add(ID, {**files, "config.json": json.dumps(config).encode()})
    fails("another architecture", settings=settings)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"colour": "red"}, "colour"),
        ({"time_embedding_type": "fourier"}, "fourier"),
        ({"_class_name": "UNet2DConditionModel"}, "UNet2DConditionModel"),
        ({"in_channels": 4}, "4 channels"),
        ({"sample_size": None}, "sample_size"),
        ({"block_out_channels": "wide"}, "config.json|block"),
        ({"norm_num_groups": 3}, "groups"),
    ],
)
def test_an_unknown_option_is_named_before_the_weights_are_fetched(
    server, settings, tmp_path, change, match
):
    files = unet_files(tmp_path)
    config = {**json.loads(files["config.json"]), **change}
    server.add(ID, {**files, "config.json": json.dumps(config).encode()})
    fails(match, settings=settings)
    with pytest.raises(GendiffError, match=match):
        hub.look(ID, settings)  # what Show does
    assert not [line for line in server.log if "safetensors" in line]


def test_another_program_s_model_of_our_files_names_is_refused_when_it_is_shown(server, settings):
    server.add(ID, {"config.json": b'{"model_type": "vit"}', "model.safetensors": b"x" * 2000})
    with pytest.raises(GendiffError, match="describes no model of a kind that is known here"):
        hub.look(ID, settings)
    server.add(ID, {"config.json": b" " * 300_000, "model.safetensors": b"x" * 2000})
    with pytest.raises(GendiffError, match="no configuration"):
        hub.look(ID, settings)
    assert not [line for line in server.log if "safetensors" in line]


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"_class_name": "EulerDiscreteScheduler"}, "EulerDiscreteScheduler"),
        ({"thresholding": True}, "thresholding"),
        ({"rescale_betas_zero_snr": True}, "rescale_betas_zero_snr"),
        ({"clip_sample_range": 2.0}, "clip_sample_range"),
        ({"variance_type": "learned"}, "variance_type"),
        ({"prediction_type": "flow"}, "prediction_type"),
        ({"beta_schedule": "laplace"}, "beta_schedule"),
        ({"colour": "red"}, "colour"),
        ({"beta_start": "low"}, "scheduler_config.json"),
        ({"num_train_timesteps": 0}, "T, the number"),
        ({"trained_betas": [0.1, 2.0]}, "beta"),
    ],
)
def test_an_unknown_scheduler_option_is_named(server, settings, tmp_path, change, match):
    files = unet_files(tmp_path)
    scheduler = json.dumps({**SCHEDULER, **change}).encode()
    server.add(ID, {**files, "scheduler_config.json": scheduler})
    fails(match, settings=settings)


class Bomb:
    """What a malicious pickle does."""

    def __reduce__(self):
        return os.mkdir, (self.folder,)


def test_a_pickle_that_runs_something_is_refused(server, settings, tmp_path):
    bomb = Bomb()
    bomb.folder = str(tmp_path / "exploded")
    plain, zipped = io.BytesIO(), io.BytesIO()
    pickle.dump({"G": bomb}, plain)
    torch.save({"G": bomb}, zipped)
    for data in (plain, zipped):
        for path in ("ckpt/best/model.pt", "pytorch_model.bin"):
            server.add(ID, {path: data.getvalue()})
            fails("refused", settings=settings)
    files = unet_files(tmp_path)
    del files["diffusion_pytorch_model.safetensors"]
    server.add(ID, {**files, "diffusion_pytorch_model.bin": zipped.getvalue()})
    fails("refused", settings=settings)
    assert not (tmp_path / "exploded").exists()


@pytest.mark.parametrize(
    ("files", "match"),
    [
        (["network.pkl", "README.md"], "network.pkl.*running"),
        (["model.h5"], "model.h5"),
        (["config.json", "model.pt"], "no format"),
        (["pytorch_model.bin", "discriminator.bin", "models.py"], "no format"),
        (["unet/config.json", "unet/diffusion_pytorch_model.safetensors.index.json"], "several"),
        ([], "no format"),
    ],
)
def test_a_format_that_is_not_known_is_refused_without_a_download(server, settings, files, match):
    server.add(ID, dict.fromkeys(files, b"x"))
    fails(match, settings=settings)
    assert not [line for line in server.log if line.startswith("GET") and "/resolve/" in line]


def test_torn_weights_are_a_sentence(server, settings, tmp_path):
    files = unet_files(tmp_path)
    server.add(ID, {**files, "diffusion_pytorch_model.safetensors": b"torn" * 500})
    fails("no valid safetensors", settings=settings)
    server.add(ID, {"pytorch_model.bin": b"PK\3\4 torn" * 200})
    fails("no file of PyTorch's", settings=settings)


# ---- Settings -----------------------------------------------------------------------------------


def test_a_model_beyond_the_limit_is_refused_before_it_is_fetched(server, settings, repo):
    fails("GENDIFF_HUB_MAX_GB", settings=replace(settings, most=1000))
    assert not [line for line in server.log if "/resolve/" in line]


def test_the_environment_sets_access_and_size(monkeypatch, server, settings, repo):
    assert Settings.here().access == "open" and Settings.here().most == 10**9
    monkeypatch.setenv("GENDIFF_HUB_MAX_GB", "0.5")
    monkeypatch.setenv("GENDIFF_HUB", "closed")
    closed = Settings.here()
    assert closed.most == 5 * 10**8 and closed.endpoint == server.url
    with pytest.raises(GendiffError, match="switched off"):
        hub.look(ID, closed)
    monkeypatch.setenv("GENDIFF_HUB", "list")
    with pytest.raises(GendiffError, match="models of the list"):
        hub.look(ID, Settings.here())
    assert server.log == []


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("GENDIFF_HUB", "ajar"),
        ("GENDIFF_HUB_MAX_GB", "much"),
        ("GENDIFF_HUB_MAX_GB", "-1"),
        ("GENDIFF_HUB_MAX_GB", "nan"),
        ("GENDIFF_HUB_MAX_GB", "inf"),
    ],
)
def test_a_setting_that_is_none_is_named(monkeypatch, name, value):
    monkeypatch.setenv(name, value)
    with pytest.raises(GendiffError, match=name):
        Settings.here()


# ---- The list -----------------------------------------------------------------------------------


def test_the_list_is_whole():
    entries = catalogue.entries()
    assert len({entry.id for entry in entries}) == len(entries)
    for entry in entries:
        assert entry.name.pinned and entry.family in ("gan", "diffusion") and entry.bytes > 0
        assert all(len(value) == 64 for value in entry.sha256.values())
        assert entry.resolution and entry.pace and entry.credit
    first = [entry for entry in catalogue.offered() if entry.data == entries[0].data]
    assert {entry.family for entry in first} == {"gan", "diffusion"}
    assert all(entry.licence for entry in catalogue.offered())
    assert any(not entry.licence for entry in entries)


def test_the_list_pins_and_its_hashes_are_binding(server, settings, tmp_path, monkeypatch):
    sha = server.add(ID, unet_files(tmp_path))
    entry = catalogue.Entry(
        ID, sha, "diffusion", "Tiny", "tiny", "8 x 8", (), 1, {}, "MIT", "me", "quick", None
    )
    monkeypatch.setattr(catalogue, "entries", lambda: (entry,))
    offer = hub.look(ID, settings)
    assert offer.name.revision == sha and offer.facts.title == "Tiny"
    assert not [line for line in server.log if "/revision/" in line or "README" in line]
    wrong = replace(entry, sha256={"diffusion_pytorch_model.safetensors": "0" * 64})
    monkeypatch.setattr(catalogue, "entries", lambda: (wrong,))
    server.log.clear()
    for way in (hub.look, pulled):
        with pytest.raises(GendiffError, match="is not the file that our list names"):
            way(ID, settings)
    assert not [line for line in server.log if "safetensors" in line]


# ---- Foreign GANs -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("folder", "condition", "planes", "heads", "verdict"),
    [
        ("gan_r1reg_cifar10", "none", 0, 0, True),
        ("cgan_cifar10", "one_hot", 10, 0, True),
        ("cgan_cbn_cifar10", "norm", 10, 0, True),
        ("acgan_cifar10", "norm", 0, 10, True),
        ("wgan_gp_cifar10", "none", 0, 0, False),
    ],
)
def test_the_cifar_gans_load(tmp_path, folder, condition, planes, heads, verdict):
    classes = 0 if condition == "none" else 10
    torch.manual_seed(0)
    generator = SimpleGenerator(SimpleConfig(100, (16, 12, 8), 3, classes, condition))
    discriminator = SimpleDiscriminator(3, (8, 12, 16), planes, heads)
    best = tmp_path / folder / "ckpt" / "best"
    best.mkdir(parents=True)
    saved = {"G": generator.state_dict(), "D": discriminator.state_dict()}
    torch.save(saved, best / "model.pt")
    model = gendiff.load(tmp_path / folder, "cpu", "float32")
    assert model.shape == (3, 32, 32) and model.classes == classes
    z = model.latents([5, 6])
    labels = torch.tensor([3, 4]) if classes else None
    assert z.shape == (2, 100)
    x = generator.eval()(z, labels)
    assert torch.equal(model.decode(z, labels), x)
    if verdict:
        expected = torch.sigmoid(discriminator.eval()(x, labels))
        assert torch.allclose(model.verdict(x, labels), expected)
    else:
        with pytest.raises(GendiffError, match="scores, not probabilities"):
            model.verdict(x, labels)


def test_the_published_sizes_are_those_of_our_classes():
    """hub.md: 12,141,827 parameters; G and D of r1reg take 90,671,160 bytes, cgan 819,200 more."""
    plain = [SimpleGenerator(SimpleConfig()), SimpleDiscriminator(3, (256, 512, 1024))]
    assert sum(p.numel() for p in plain[0].parameters()) == 12_141_827
    assert size(plain) == 90_671_160
    cgan = [
        SimpleGenerator(SimpleConfig(classes=10, condition="one_hot")),
        SimpleDiscriminator(3, (256, 512, 1024), 10),
    ]
    assert size(cgan) == 90_671_160 + 819_200
    five = FiveLayers(SimpleConfig(widths=(512, 256, 128, 64)))
    assert sum(p.numel() for p in five.parameters()) == 3_576_704 and size([five]) == 14_314_528


def size(nets):
    tensors = [tensor for net in nets for tensor in net.state_dict().values()]
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


def test_a_dcgan_of_huggan_loads(tmp_path):
    torch.manual_seed(0)
    generator = FiveLayers(SimpleConfig(widths=(16, 12, 8, 4)))
    torch.save(generator.state_dict(), tmp_path / "pytorch_model.bin")
    model = gendiff.load(tmp_path, "cpu", "float32")
    z = model.latents([1, 2])
    assert model.shape == (3, 64, 64) and torch.equal(model.decode(z), generator.eval()(z))
    with pytest.raises(GendiffError, match="Only its generator"):
        model.verdict(model.decode(z), None)


@pytest.mark.parametrize(
    "saved",
    [
        [1, 2],
        {"G": {}, "D": {}},
        {"G": {"first_conv.weight": torch.zeros(3)}, "D": {}},
        {"model.0.weight": torch.zeros(100, 8, 4, 4)},
        {"generator": 1},
    ],
)
@pytest.mark.parametrize("path", ["ckpt/best/model.pt", "pytorch_model.bin"])
def test_other_tensors_are_another_architecture(tmp_path, saved, path):
    (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
    torch.save(saved, tmp_path / path)
    with pytest.raises(GendiffError, match="another architecture"):
        gendiff.load(tmp_path)
