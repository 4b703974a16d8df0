"""Checkpoints: what is saved is what is loaded, and whatever is damaged is one sentence."""

from __future__ import annotations

import hashlib
import json
import math
import os
import pickle
from dataclasses import asdict, replace

import pytest
import torch
from safetensors.torch import load_file, save_file

import gendiff
from gendiff import weights
from gendiff.assembly import build
from gendiff.device import pick_dtype
from gendiff.errors import GendiffError
from gendiff.weights import CONFIG, WEIGHTS, Card, load, models, save

FAMILIES = ["tiny-gan", "tiny-diffusion"]
both_families = pytest.mark.parametrize("name", FAMILIES)


def edited(folder, change):
    """config.json with change(values) done to it."""
    values = json.loads((folder / CONFIG).read_text())
    change(values)
    (folder / CONFIG).write_text(json.dumps(values))


def reweighted(folder, change):
    """model.safetensors with change(tensors) done to it, and the hash to match."""
    tensors = load_file(folder / WEIGHTS)
    change(tensors)
    save_file(tensors, folder / WEIGHTS)
    rehashed(folder)


def rehashed(folder):
    digest = hashlib.sha256((folder / WEIGHTS).read_bytes()).hexdigest()
    edited(folder, lambda values: values.update(sha256=digest))


def nets_of(model):
    if model.card.family == "gan":
        return {"generator": model.generator, "discriminator": model.discriminator}
    return {"net": model.denoiser.net.net}


# What is saved is what is loaded


@both_families
def test_a_checkpoint_comes_back_as_it_was(saved, device, name):
    folder = saved / name
    tensors, model = load_file(folder / WEIGHTS), load(folder, device.type, "float32")
    loaded = {
        f"{part}.{key}": tensor
        for part, net in nets_of(model).items()
        for key, tensor in net.state_dict().items()
    }
    assert loaded.keys() == tensors.keys()
    for key, tensor in loaded.items():
        assert tensor.device.type == device.type
        assert torch.equal(tensor.cpu(), tensors[key].to(tensor.dtype))
        if tensors[key].is_floating_point():
            assert tensors[key].dtype == torch.float16 and tensor.dtype == torch.float32
    for net in nets_of(model).values():
        assert not net.training and not any(p.requires_grad for p in net.parameters())
        convolutions = [p for p in net.parameters() if p.dim() == 4]
        assert all(p.is_contiguous(memory_format=torch.channels_last) for p in convolutions)
    assert model.device.type == device.type and model.dtype == torch.float32
    assert model.shape == (1, 8, 8) and model.classes == 3


@both_families
def test_the_card_is_config_json(saved, name):
    card = Card.read(saved / name)
    values = json.loads((saved / name / CONFIG).read_text())
    assert values == json.loads(json.dumps(asdict(card)))
    assert card.shape == (1, 8, 8) and card.classes == ("round", "square", "star")
    digest = hashlib.sha256((saved / name / WEIGHTS).read_bytes()).hexdigest()
    assert card.sha256 == digest
    assert sorted(p.name for p in (saved / name).iterdir()) == ["README.md", CONFIG, WEIGHTS]


@both_families
def test_saving_again_changes_nothing(saved, tmp_path, name):
    model = load(saved / name, "cpu", "float32")
    again = save(
        {k: n.state_dict() for k, n in nets_of(model).items()}, model.card, tmp_path / "x"
    )
    assert again == model.card
    assert (tmp_path / "x" / WEIGHTS).read_bytes() == (saved / name / WEIGHTS).read_bytes()


@both_families
def test_half_the_size_costs_less_than_a_grey_level(saved, tmp_path, name):
    """The weights before and after they were float16, in the same float32 network."""
    torch.manual_seed(0)
    card = Card.read(saved / name)
    before = build(card)
    for net in before.values():  # as small as trained weights, and no layer zero
        for parameter in net.parameters():
            torch.nn.init.normal_(parameter, std=0.1)
    state = {part: net.eval().state_dict() for part, net in before.items()}
    save(state, card, tmp_path / name)
    after = nets_of(load(tmp_path / name, "cpu", "float32"))
    label, t = torch.tensor([1]), torch.tensor([50])
    inputs = {"generator": (1, 6), "discriminator": (1, 1, 8, 8), "net": (1, 4, 4, 4)}
    for part, net in before.items():
        given = torch.randn(inputs[part])
        rest = (t, label) if part == "net" else (label,)
        with torch.no_grad():
            off = (net(given, *rest) - after[part](given, *rest)).abs().max()
        assert 0 < float(off) < 1 / 255  # half a grey level


@both_families
def test_bfloat16_is_the_same_picture_roughly(saved, device, name):
    options = {} if name == "tiny-gan" else {"steps": 5}
    exact, rough = (load(saved / name, device.type, d) for d in ("float32", "bfloat16"))
    assert rough.dtype == torch.bfloat16
    assert all(p.dtype == torch.bfloat16 for n in nets_of(rough).values() for p in n.parameters())
    one, other = exact.sample(range(8), **options), rough.sample(range(8), **options)
    assert other.dtype == torch.float32
    error = float(((one - other) ** 2).mean())
    assert 0 < error < 10**-2.5 * 4  # PSNR above 25 dB, peak to peak 2


@both_families
def test_the_default_dtype_and_device_are_the_best_there_are(saved, name):
    model = load(saved / name)
    assert model.device.type == ("cuda" if torch.cuda.is_available() else "cpu")
    assert model.dtype == pick_dtype(None, None)
    assert pick_dtype("cpu", "bfloat16") == torch.bfloat16
    assert pick_dtype("cpu", "float32") == torch.float32


def test_loading_leaves_the_global_generator_alone_for_who_seeded_it(saved):
    """Two loads of one checkpoint are one model, whatever was drawn before."""
    torch.manual_seed(1)
    one = load(saved / "tiny-gan", "cpu", "float32").sample([1])
    torch.manual_seed(2)
    assert torch.equal(one, load(saved / "tiny-gan", "cpu", "float32").sample([1]))


# Finding them


def test_models_are_listed_cheapest_first(checkpoints):
    (checkpoints / "notes").mkdir()
    (checkpoints / "a-file").write_text("x")
    edited(checkpoints / "tiny-gan", lambda v: v.update(parameters={"generator": 400, "d": 100}))
    edited(checkpoints / "tiny-diffusion", lambda v: v.update(parameters={"net": 11}))
    assert [card.name for card in models(checkpoints)] == ["tiny-gan", "tiny-diffusion"]
    edited(checkpoints / "tiny-diffusion", lambda v: v.update(parameters={"net": 9}))
    assert [card.name for card in models(checkpoints)] == ["tiny-diffusion", "tiny-gan"]
    assert models(checkpoints / "notes") == [] and models(checkpoints / "nowhere") == []


def test_bundled_checkpoints_have_names(saved, monkeypatch):
    monkeypatch.setattr(weights, "BUNDLED", saved)
    assert load("tiny-gan", "cpu").card.name == "tiny-gan"
    with pytest.raises(GendiffError, match="'nope'; bundled are: tiny-diffusion, tiny-gan"):
        load("nope")


@pytest.mark.parametrize("where", ["nope", "no/pe", "x" * 5000, "nul\0byte", "../..x", "~"])
def test_what_is_nowhere_is_not_loaded(where):
    with pytest.raises(GendiffError, match="There is no checkpoint") as caught:
        gendiff.load(where)
    assert len(str(caught.value)) < 400


def test_a_file_or_an_empty_folder_is_no_checkpoint(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(GendiffError, match="There is no checkpoint"):
        load(tmp_path / "file")
    with pytest.raises(GendiffError, match="is no checkpoint: it has no config.json"):
        load(tmp_path)


@pytest.mark.parametrize(
    ("device", "dtype", "says"),
    [
        ("tpu", None, 'The device is "cpu" or "cuda"; got \'tpu\''),
        ("cpu", "float16", 'The dtype is "float32" or "bfloat16"; got \'float16\''),
    ],
)
def test_unknown_devices_and_dtypes_are_refused(saved, device, dtype, says):
    with pytest.raises(GendiffError, match=says):
        load(saved / "tiny-gan", device, dtype)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_without_cuda_asking_for_it_is_an_error(saved):
    with pytest.raises(GendiffError, match="no CUDA device"):
        load(saved / "tiny-gan", "cuda")


@pytest.mark.parametrize("card", models(), ids=lambda card: card.name)
def test_the_bundled_checkpoints_are_whole(card):
    folder = weights.BUNDLED / card.name  # named as its folder
    model = load(card.name, "cpu", "float32")
    assert model.card == card == Card.read(folder)
    assert card.sha256 and all(file.stat().st_size < 10_000_000 for file in folder.iterdir())
    for part, net in nets_of(model).items():
        assert card.parameters[part] == sum(p.numel() for p in net.parameters())


# Damage


def truncate(folder):
    data = (folder / WEIGHTS).read_bytes()
    (folder / WEIGHTS).write_bytes(data[: len(data) // 2])


def truncate_unhashed(folder):
    truncate(folder)
    edited(folder, lambda v: v.update(sha256=""))


def flip_a_bit(folder):
    data = bytearray((folder / WEIGHTS).read_bytes())
    data[-100] ^= 1
    (folder / WEIGHTS).write_bytes(data)


def empty(folder):
    (folder / WEIGHTS).write_bytes(b"")
    rehashed(folder)


def swap_for_text(folder):
    (folder / WEIGHTS).write_text("weights " * 100)
    rehashed(folder)


def remove(name):
    return lambda folder: (folder / name).unlink()


def write_config(text):
    return lambda folder: (folder / CONFIG).write_bytes(text)


def without(key):
    return lambda folder: edited(folder, lambda v: v.pop(key))


def change(**values):
    return lambda folder: edited(folder, lambda v: v.update(values))


def change_net(**values):
    return lambda folder: edited(folder, lambda v: v["net"].update(values))


def drop_a_tensor(folder):
    reweighted(folder, lambda tensors: tensors.pop(sorted(tensors)[0]))


def add_a_tensor(folder):
    reweighted(folder, lambda tensors: tensors.update({"elsewhere.weight": torch.ones(3)}))


def cut_a_tensor(folder):
    key = next(k for k, t in load_file(folder / WEIGHTS).items() if t.dim() == 4 and len(t) > 1)
    reweighted(folder, lambda tensors: tensors.update({key: tensors[key][:1].clone()}))


DAMAGE = {  # what happens to the folder, what the sentence says
    "no weights": (remove(WEIGHTS), "model.safetensors is missing"),
    "no config": (remove(CONFIG), "it has no config.json"),
    "truncated": (truncate, "truncated or altered"),
    "truncated, no hash": (truncate_unhashed, "no valid safetensors file"),
    "one bit": (flip_a_bit, "truncated or altered"),
    "empty": (empty, "no valid safetensors file"),
    "text": (swap_for_text, "no valid safetensors file"),
    "a tensor less": (drop_a_tensor, "the file lacks 1 tensors"),
    "a tensor more": (add_a_tensor, r"has unknown 1 tensors \(elsewhere.weight\)"),
    "a shape": (cut_a_tensor, "has wrong shapes for 1 tensors"),
    "bad JSON": (write_config(b'{"name": '), "cannot be read as JSON"),
    "no text": (write_config(b"\xff\xfe\x00"), "cannot be read as JSON"),
    "a list": (write_config(b"[]"), "no object at all"),
    "nothing": (write_config(b"{}"), "is incomplete"),
    "unknown key": (change(colour="red"), "does not know: colour"),
    "no net": (without("net"), "is incomplete.*net"),
    "no shape": (without("shape"), "is incomplete.*shape"),
    "unknown family": (change(family="vae"), "no family 'vae'; it must be gan or diffusion"),
    "unknown net key": (change_net(wings=2), "wings"),
    "net is a list": (change(net=[1]), "card's net cannot be understood"),
    "shape is text": (change(shape="big"), "card's shape cannot be understood"),
    "shape is a number": (change(shape=3), "is incomplete"),
    "shape is negative": (change(shape=[1, -8, 8]), "card's shape cannot be understood"),
    "name is a number": (change(name=7), "card's name cannot be understood"),
    "classes are numbers": (change(classes=[1, 2, 3]), "card's classes cannot be understood"),
    "parameters are text": (change(parameters={"net": "many"}), "card's parameters cannot"),
    "another shape": (change(shape=[3, 8, 8]), "contradicts itself"),
    "other classes": (change(classes=["a", "b"] * 4), "contradicts itself"),
    "no classes": (change(classes=[]), "contradicts itself"),
}
DAMAGE_OF_ONE = {
    "tiny-gan": {
        "wider": (change_net(width=8), "has wrong shapes for"),
        "larger": (change_net(size=16), "contradicts itself"),
        "odd size": (change_net(size=9), "power of two"),
        "size is text": (change_net(size="8"), "is not understood"),
        "width is text": (change_net(width="4"), "width must be a whole number"),
        "no width": (change_net(width=0), "width must be a whole number"),
        "endless": (change_net(width=10**9), "width must be a whole number"),
    },
    "tiny-diffusion": {
        "wider": (change_net(block_out_channels=[8, 32]), "has wrong shapes for"),
        "deeper": (change_net(layers_per_block=2), "the file lacks"),
        "unknown block": (change_net(mid_block_type="Magic"), "'Magic' is not supported"),
        "blocks are a number": (change_net(block_out_channels=8), "is not understood"),
        "blocks are text": (change_net(block_out_channels=["8", "16"]), "is not understood"),
        "blocks are negative": (change_net(block_out_channels=[-8, 16]), r"not understood|divide"),
        "no schedule": (change(schedule=None), "no schedule ''"),
        "unknown schedule": (change(schedule={"name": "steep"}), "no schedule 'steep'"),
        "bad T": (change(schedule={"name": "cosine", "T": "x"}), "from 1 to 10,000; got x"),
        "schedule is a list": (change(schedule={"name": ["cosine"]}), "There is no schedule"),
        "a damaged schedule's model": (
            change(schedule={"name": "cosine", "T": -1}),
            "^tiny-diffusion: its config.json is damaged; get the checkpoint again. .*; got -1.$",
        ),
        "odd parameter": (change(schedule={"name": "cosine", "q": 1}), "cannot take these"),
        "schedule is text": (change(schedule="cosine"), "card's schedule cannot be understood"),
        "unknown target": (change(target="score"), "one of eps, x0, v; got 'score'"),
        "no blocks": (change(space_to_depth=0), "contradicts itself"),
        "larger blocks": (change(space_to_depth=4), "contradicts itself"),
    },
}
CASES = [
    pytest.param(name, *case, id=f"{name}-{what}")
    for name in FAMILIES
    for what, case in {**DAMAGE, **DAMAGE_OF_ONE[name]}.items()
]


@pytest.mark.parametrize(("name", "damage", "says"), CASES)
def test_damage_is_one_sentence(checkpoints, name, damage, says):
    folder = checkpoints / name
    damage(folder)
    with pytest.raises(GendiffError, match=says) as caught:
        load(folder, "cpu")
    sentence = str(caught.value)
    assert sentence.endswith((".", "?")) and len(sentence) < 500 and "\n" not in sentence


def test_no_code_of_a_checkpoint_is_run(checkpoints, tmp_path):
    class Trap:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "trapped"),)

    folder = checkpoints / "tiny-gan"
    (folder / WEIGHTS).write_bytes(pickle.dumps(Trap()))
    rehashed(folder)
    with pytest.raises(GendiffError, match="no valid safetensors"):
        load(folder, "cpu")
    assert not (tmp_path / "trapped").exists()


# Saving


def state_of(name, folder):
    model = load(folder / name, "cpu", "float32")
    return {part: net.state_dict() for part, net in nets_of(model).items()}, model.card


@pytest.mark.parametrize(
    "at", ["os.replace", "gendiff.weights.save_file", "pathlib.Path.write_text"]
)
def test_a_full_disk_leaves_the_old_checkpoint_whole(checkpoints, monkeypatch, at):
    state, card = state_of("tiny-gan", checkpoints)
    folder = checkpoints / "tiny-gan"
    before = {path.name: path.read_bytes() for path in folder.iterdir()}

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(at, full)
        with pytest.raises(GendiffError, match="No space left.*is the disk full"):
            save(state, replace(card, title="Another"), folder)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    load(folder, "cpu")


def test_a_folder_that_cannot_be_made_is_one_sentence(saved, tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(GendiffError, match="cannot be written"):
        save(*state_of("tiny-gan", saved), tmp_path / "file")


@pytest.mark.parametrize("value", [math.nan, math.inf, 1e6])
def test_weights_that_float16_cannot_hold_are_not_saved(checkpoints, value):
    state, card = state_of("tiny-gan", checkpoints)
    state["generator"]["layers.0.weight"][0, 0, 0, 0] = value
    with pytest.raises(GendiffError, match="generator.layers.0.weight.*diverged"):
        save(state, card, checkpoints / "tiny-gan")
    load(checkpoints / "tiny-gan", "cpu")
