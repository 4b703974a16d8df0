"""Training: a resumed run is the uninterrupted run, a killed one loses nothing, and both learn."""

from __future__ import annotations

import itertools
import math
import os
from dataclasses import replace

import pytest
import torch
from torch import nn

from gendiff import learners
from gendiff.assembly import build
from gendiff.data import SOURCES, DataSet, Source
from gendiff.denoise import Unguided
from gendiff.errors import GendiffError
from gendiff.gan import LOSSES
from gendiff.learners import FAMILIES, Ema, blank_card, plain_state
from gendiff.nets.dcgan import DcganConfig, Discriminator
from gendiff.recipes import RECIPES, Recipe, recipe
from gendiff.train import STATE, Run
from gendiff.weights import load

SHAPES = Source("shapes", "Shapes", (1, 8, 8), ("rows", "columns", "checks", "disc"), "MIT")
GAN = Recipe(
    name="shapes-gan",
    data="shapes",
    family="gan",
    net={"size": 8, "channels": 1, "latent": 4, "width": 8, "classes": 4, "embedding": 4},
    images=1000,
    batch=8,
    rate=1e-3,
    betas=(0.5, 0.99),
    cooldown=0.0,
    ema=1000,
    loss="hinge",
)
DIFFUSION = Recipe(
    name="shapes-diffusion",
    data="shapes",
    family="diffusion",
    net={
        "sample_size": 4,
        "in_channels": 4,
        "out_channels": 4,
        "block_out_channels": [16],
        "down_block_types": ["DownBlock2D"],
        "up_block_types": ["UpBlock2D"],
        "layers_per_block": 1,
        "attention_head_dim": 8,
        "norm_num_groups": 4,
        "num_class_embeds": 5,
    },
    images=1000,
    batch=8,
    rate=1e-2,
    warmup=64,
    cooldown=0.0,
    ema=2000,
    schedule={"name": "cosine", "T": 100},
)
both_families = pytest.mark.parametrize("this", [GAN, DIFFUSION], ids=["gan", "diffusion"])


def four_pictures():
    """(4, 1, 8, 8), one a class, far from each other."""
    u = torch.linspace(-1, 1, 8)
    rows, columns = u.sign()[:, None].expand(8, 8), u.sign()[None].expand(8, 8)
    disc = (u[:, None] ** 2 + u**2 < 0.6).float() * 2 - 1
    return 0.9 * torch.stack([rows, columns, rows * columns, disc])[:, None]


@pytest.fixture(autouse=True)
def shapes(monkeypatch):
    monkeypatch.setattr(learners, "SOURCES", {**SOURCES, "shapes": SHAPES})
    pictures = four_pictures()
    return DataSet(SHAPES, "train", torch.arange(4), lambda indices: pictures[indices])


def steps(run, data, count):
    return list(itertools.islice(run.go(data), count))


def state_of(run):
    """Every number that a run carries, by name."""
    found = {}

    def walk(name, value):
        if isinstance(value, torch.Tensor):
            found[name] = value.detach().cpu().clone()
        elif isinstance(value, dict):
            for key, inner in value.items():
                walk(f"{name}.{key}", inner)
        elif isinstance(value, list | tuple):
            for key, inner in enumerate(value):
                walk(f"{name}.{key}", inner)
        else:
            found[name] = value

    for name, part in run.training.parts().items():
        walk(name, part.state_dict())
    return found


def assert_same(one, other):
    assert one.keys() == other.keys()
    for name, value in one.items():
        same = torch.equal(value, other[name]) if torch.is_tensor(value) else value == other[name]
        assert same, name


# A run


@both_families
def test_a_resumed_run_is_the_uninterrupted_run(this, shapes, tmp_path, device):
    straight = Run(this, tmp_path / "straight", device)
    losses = [progress.losses for progress in steps(straight, shapes, 12)]
    first = Run(this, tmp_path / "broken", device)
    steps(first, shapes, 5)
    first.save()
    steps(first, shapes, 2)  # lost: the run is killed before the next save
    torch.manual_seed(999)
    torch.randn(17)
    second = Run(this, tmp_path / "broken", device)
    assert (second.steps, second.images) == (5, 40) and second.seconds > 0
    rest = steps(second, shapes, 7)
    assert [progress.step for progress in rest] == list(range(6, 13))
    assert [progress.losses for progress in rest] == losses[5:]  # bit for bit
    assert_same(state_of(second), state_of(straight))
    assert second.history == straight.history


@both_families
def test_a_run_can_start_from_a_checkpoint(this, shapes, tmp_path):
    """Also a way to change the batch: the optimizer and the warm-up begin anew."""
    first = Run(this, tmp_path / "first", torch.device("cpu"))
    steps(first, shapes, 3)
    card = first.checkpoint()
    again = replace(this, batch=4)
    folder = tmp_path / "first" / "checkpoint"
    second = Run(again, tmp_path / "second", torch.device("cpu"), folder)
    assert second.images == first.images == card.training["images"] == 24
    labels = [0, 1, 2, 3]
    options = {} if this.family == "gan" else {"steps": 4}
    kept = load(folder, "cpu", "float32").sample(range(4), labels=labels, **options)
    torch.testing.assert_close(second.model().sample(range(4), labels=labels, **options), kept)
    if this.family == "gan":
        theirs, mine = load(folder, "cpu", "float32"), second.model()
        torch.testing.assert_close(
            mine.verdict(kept, labels), theirs.verdict(kept, labels), atol=0.02, rtol=0
        )
    steps(second, shapes, 2)
    assert second.images == 32
    second.save()
    third = Run(again, tmp_path / "second", torch.device("cpu"), folder)  # its own state wins
    assert (third.images, third.steps) == (32, 2)


def test_a_checkpoint_of_another_network_is_no_start(shapes, tmp_path):
    first = Run(GAN, tmp_path / "first", torch.device("cpu"))
    first.checkpoint()
    wider = replace(GAN, net={**GAN.net, "width": 12})
    with pytest.raises(GendiffError, match="holds other networks than the recipe shapes-gan"):
        start = tmp_path / "first" / "checkpoint"
        Run(wider, tmp_path / "second", torch.device("cpu"), start)


@both_families
def test_bfloat16_steps_are_near_float32_steps(this, shapes, tmp_path):
    """Autocast: the weights and the optimizer stay float32."""
    exact, rough = (
        Run(this, tmp_path / str(dtype), torch.device("cpu"), dtype=dtype)
        for dtype in (torch.float32, torch.bfloat16)
    )
    one, other = (steps(run, shapes, 3)[-1].losses for run in (exact, rough))
    assert one != other and one == pytest.approx(other, rel=0.05)
    tensors = (value for value in state_of(rough).values() if torch.is_tensor(value))
    assert all(value.dtype != torch.bfloat16 for value in tensors)


@both_families
def test_a_run_starts_from_its_seed_and_leaves_the_global_generator_alone(this, shapes, tmp_path):
    runs = []
    for place in range(2):
        torch.manual_seed(place)
        before = torch.get_rng_state()
        runs.append(Run(this, tmp_path / str(place), torch.device("cpu")))
        steps(runs[-1], shapes, 1)
        assert torch.equal(before, torch.get_rng_state())
    assert_same(state_of(runs[0]), state_of(runs[1]))
    other = Run(replace(this, seed=1), tmp_path / "other", torch.device("cpu"))
    steps(other, shapes, 1)
    part = "generator" if this is GAN else "net"
    assert any(
        not torch.equal(one, two)
        for one, two in zip(
            runs[0].training.parts()[part].parameters(),
            other.training.parts()[part].parameters(),
            strict=True,
        )
    )


@both_families
def test_progress_counts_and_history_averages(this, shapes, tmp_path):
    run = Run(this, tmp_path, torch.device("cpu"))
    seen = steps(run, shapes, 4)
    assert [(p.step, p.images) for p in seen] == [(1, 8), (2, 16), (3, 24), (4, 32)]
    times = [p.seconds for p in seen]
    assert times == sorted(times) and times[0] > 0
    names = {"d_loss", "g_loss"} if this is GAN else {"loss"}
    assert set(seen[0].losses) == names
    (entry,) = run.history
    assert entry["images"] == 0 and entry["steps"] == 4
    for name in names:
        assert entry[name] == pytest.approx(sum(p.losses[name] for p in seen) / 4)
    assert run.reached() is None
    run.steps = 125
    assert run.reached() == 1000
    run.steps = 126
    assert run.reached() is None


def test_the_rate_warms_up(shapes, tmp_path):
    run = Run(DIFFUSION, tmp_path, torch.device("cpu"))
    rates = []
    for _ in steps(run, shapes, 0), *range(12):
        rates.append(run.training.optimizer.param_groups[0]["lr"])
        steps(run, shapes, 1)
    expected = [1e-2] + [1e-2 * min(1, (8 * k + 1) / 64) for k in range(12)]
    assert rates == pytest.approx(expected)


def test_the_rate_cools_down_over_the_last_images(shapes, tmp_path):
    cooling = replace(GAN, images=80, cooldown=0.5)
    run, rates = Run(cooling, tmp_path, torch.device("cpu")), []
    for _ in range(10):
        steps(run, shapes, 1)
        rates += [group["lr"] for group in run.training.g_optimizer.param_groups]
    factors = [1, 1, 1, 1, 1, 1, 0.8, 0.6, 0.4, 0.2]
    assert rates == pytest.approx([1e-3 * factor for factor in factors])
    assert cooling.cooled(80) == cooling.cooled(90) == 0
    assert replace(cooling, cooldown=0.0).cooled(80) == 1


@both_families
def test_both_families_overfit_four_images(this, shapes, tmp_path, device):
    wide = {"width": 16} if this is GAN else {"block_out_channels": [32]}
    quick = replace(this, net={**this.net, **wide}, batch=16, rate=4e-3 if this is GAN else 1e-2)
    run = Run(quick, tmp_path, device)
    steps(run, shapes, 500 if this is GAN else 220)
    model, truth = run.model(), four_pictures().to(device)
    options = {} if this is GAN else {"steps": 15}
    labels = torch.arange(16, device=device) % 4
    drawn = model.sample(range(16), labels=labels, **options)
    error = (drawn - truth[labels]).square().flatten(1).mean(1)
    assert float(error.max()) < 0.2  # half way to the nearest other picture it would be more
    far = (truth[:, None] - truth[None]).square().flatten(2).mean(2)
    assert float((far + 9 * torch.eye(4, device=device)).min()) > 0.8


# Saving


@both_families
@pytest.mark.parametrize("at", ["os.replace", "torch.save"])
def test_a_failed_save_leaves_the_last_state_whole(this, at, shapes, tmp_path, monkeypatch):
    run = Run(this, tmp_path, torch.device("cpu"))
    steps(run, shapes, 1)
    run.save()
    before = (tmp_path / STATE).read_bytes()
    steps(run, shapes, 1)

    def half(*arguments, **_):
        if at == "torch.save":
            arguments[1].write_bytes(b"half a file")
            raise RuntimeError("PytorchStreamWriter failed writing file")
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(at, half)
        with pytest.raises(GendiffError, match="cannot be written.*is the disk full"):
            run.save()
    assert [path.name for path in tmp_path.iterdir()] == [STATE]
    assert (tmp_path / STATE).read_bytes() == before
    assert Run(this, tmp_path, torch.device("cpu")).steps == 1
    run.save()
    assert Run(this, tmp_path, torch.device("cpu")).steps == 2


def test_a_kill_while_writing_leaves_the_last_state_whole(shapes, tmp_path, monkeypatch):
    """Whatever ends the process in mid-save: the file that counts has not been touched."""
    run = Run(GAN, tmp_path, torch.device("cpu"))
    steps(run, shapes, 1)
    run.save()

    def killed(state, path):
        path.write_bytes(b"half a file")
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(torch, "save", killed)
        steps(run, shapes, 1)
        with pytest.raises(KeyboardInterrupt):
            run.save()
    again = Run(GAN, tmp_path, torch.device("cpu"))
    assert again.steps == 1
    again.save()
    assert [path.name for path in tmp_path.iterdir()] == [STATE]


@both_families
def test_a_loss_that_is_no_number_stops_the_run(this, shapes, tmp_path):
    run = Run(this, tmp_path, torch.device("cpu"))
    steps(run, shapes, 2)
    run.save()
    before = (tmp_path / STATE).read_bytes()
    broken = DataSet(
        SHAPES, "train", torch.arange(4), lambda i: torch.full((len(i), 1, 8, 8), math.nan)
    )
    with pytest.raises(GendiffError, match="no longer a number after 24 images.*intact"):
        steps(run, broken, 5)
    assert (tmp_path / STATE).read_bytes() == before
    again = Run(this, tmp_path, torch.device("cpu"))
    assert again.steps == 2
    assert all(math.isfinite(v) for p in steps(again, shapes, 2) for v in p.losses.values())


@both_families
def test_another_recipe_is_refused_but_a_longer_one_goes_on(this, shapes, tmp_path):
    run = Run(this, tmp_path, torch.device("cpu"))
    steps(run, shapes, 1)
    run.save()
    for change, says in [({"rate": 1.0}, "rate"), ({"batch": 4, "seed": 5}, "batch, seed")]:
        with pytest.raises(GendiffError, match=rf"another recipe \({says} differ\)"):
            Run(replace(this, **change), tmp_path, torch.device("cpu"))
    longer = Run(replace(this, images=10**6), tmp_path, torch.device("cpu"))
    assert longer.steps == 1


@pytest.mark.parametrize("content", ["nothing", "text", "half", "other"])
def test_a_state_that_cannot_be_read_is_one_sentence(content, shapes, tmp_path):
    run = Run(GAN, tmp_path, torch.device("cpu"))
    run.save()
    data = (tmp_path / STATE).read_bytes()
    if content == "other":
        torch.save({"weights": torch.ones(3)}, tmp_path / STATE)
    else:
        broken = {"nothing": b"", "text": b"state " * 50, "half": data[: len(data) // 2]}
        (tmp_path / STATE).write_bytes(broken[content])
    with pytest.raises(GendiffError, match="state.pt cannot be read; delete it to start again"):
        Run(GAN, tmp_path, torch.device("cpu"))


def test_no_code_of_a_state_is_run(tmp_path):
    class Trap:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "trapped"),)

    torch.save({"recipe": Trap()}, tmp_path / STATE)
    with pytest.raises(GendiffError, match="cannot be read"):
        Run(GAN, tmp_path, torch.device("cpu"))
    assert not (tmp_path / "trapped").exists()


# What comes out


@both_families
def test_a_checkpoint_is_the_averaged_model(this, shapes, tmp_path, device):
    run = Run(this, tmp_path, device)
    steps(run, shapes, 3)
    card = run.checkpoint(machine="a test")
    model = load(tmp_path / "checkpoint", device.type, "float32")
    assert model.card == card
    assert card.training["images"] == 24 and card.training["machine"] == "a test"
    assert card.shape == (1, 8, 8) and card.classes == SHAPES.classes and card.licence == "MIT"
    nets = build(card)
    assert card.parameters == {k: sum(p.numel() for p in n.parameters()) for k, n in nets.items()}
    options = {} if this is GAN else {"steps": 4}
    torch.testing.assert_close(  # but for float16
        run.model().sample(range(4), **options),
        model.sample(range(4), **options),
        rtol=0,
        atol=0.02,
    )
    ema = run.training.ema.net.state_dict()
    now = run.training.parts()["generator" if this is GAN else "net"].state_dict()
    assert any(not torch.equal(ema[k], now[k]) for k in ema if ema[k].is_floating_point())
    assert run.sheet().shape == (32, 32, 1)


def test_ema_is_the_formula():
    """w <- d w + (1 - d) new with d = 0.5^(batch / min(half_life, images / 20))."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))
    ema = Ema(net, half_life=100)
    expected = {name: p.detach().clone() for name, p in net.named_parameters()}
    assert not any(p.requires_grad for p in ema.net.parameters()) and not ema.net.training
    for batch, images, half_life in [(8, 8, 0.4), (8, 400, 20), (50, 10_000, 100)]:
        with torch.no_grad():
            for p in net.parameters():
                p.add_(torch.randn_like(p))
        net(torch.randn(8, 3))
        decay = 0.5 ** (batch / half_life)
        for name, p in net.named_parameters():
            expected[name] = decay * expected[name] + (1 - decay) * p.detach()
        ema.update(net, batch, images)
        for name, p in ema.net.named_parameters():
            torch.testing.assert_close(p, expected[name], rtol=1e-6, atol=1e-7)
        for own, theirs in zip(ema.net.buffers(), net.buffers(), strict=True):
            assert torch.equal(own, theirs)


@pytest.mark.parametrize("classes", [0, 3])
@pytest.mark.parametrize("logits", [1, 2])
def test_a_plain_discriminator_is_the_spectral_normed_one(classes, logits):
    torch.manual_seed(0)
    config = DcganConfig(16, 1, width=4, classes=classes, logits=logits)
    normed, plain = Discriminator(config, spectral=True), Discriminator(config)
    x, labels = torch.randn(5, 1, 16, 16), torch.arange(5) % 3 if classes else None
    normed(x, labels)
    before = {name: tensor.clone() for name, tensor in normed.state_dict().items()}
    state = plain_state(normed)
    assert normed.training
    assert_same(before, normed.state_dict())  # reading it has not moved the power iteration
    plain.load_state_dict(state)  # strict: exactly the names of the plain network
    torch.testing.assert_close(plain(x, labels), normed.eval()(x, labels))


# Losses and recipes


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize(
    "extra", [{}, {"critic_steps": 2, "r1": 0.1, "mode_seeking": 1.0}], ids=["plain", "extra"]
)
def test_every_loss_takes_a_finite_step(loss, extra, shapes, tmp_path):
    net = {**GAN.net, "logits": LOSSES[loss].logits}
    run = Run(replace(GAN, loss=loss, net=net, **extra), tmp_path, torch.device("cpu"))
    before = state_of(run)
    for progress in steps(run, shapes, 2):
        assert all(math.isfinite(value) for value in progress.losses.values())
    after = state_of(run)
    assert all(value.isfinite().all() for value in after.values() if torch.is_tensor(value))
    for net in ("generator", "discriminator"):
        key = next(k for k in before if k.startswith(f"{net}.layers.0.") and "weight" in k)
        assert not torch.equal(before[key], after[key])


def test_losses_that_do_not_fit_are_refused(tmp_path):
    batch = {"net": {**GAN.net, "norm": "batch"}}
    for change, says in [
        ({**batch, "loss": "wgan_gp"}, "which batch norm mixes with the others'"),
        ({**batch, "r1": 0.1}, "which batch norm mixes with the others'"),
        ({"net": {**GAN.net, "norm": "none"}}, "norm is spectral or batch or layer; got 'none'"),
        ({"loss": "softmax"}, "needs a network with logits = 2; shapes-gan has 1"),
        ({"net": {**GAN.net, "logits": 2}}, "needs a network with logits = 1"),
        ({"mode_seeking": 1.0, "batch": 7}, "pairs of pictures; choose a batch that 2 divides"),
        ({"loss": "wasserstein"}, "no loss 'wasserstein'; choose one of minimax"),
    ]:
        with pytest.raises(GendiffError, match=says):
            Run(replace(GAN, **change), tmp_path, torch.device("cpu"))


def test_the_slope_at_real_pictures_is_bounded_every_sixteenth_step(shapes, tmp_path, monkeypatch):
    asked, before = [], learners.r1_penalty

    def counted(net, real, labels):
        asked.append(run.images)
        return before(net, real, labels)

    monkeypatch.setattr(learners, "r1_penalty", counted)
    net = {**GAN.net, "norm": "layer"}
    run = Run(replace(GAN, net=net, r1=0.1), tmp_path, torch.device("cpu"))
    steps(run, shapes, 33)
    assert asked == [16 * 8 * k for k in range(3)]


@pytest.mark.parametrize("weight", [0.0, 1.0])
def test_mode_seeking_asks_for_pairs_of_one_class(weight, shapes, tmp_path):
    run, asked = Run(replace(GAN, mode_seeking=weight), tmp_path, torch.device("cpu")), []
    run.training.generator.register_forward_pre_hook(lambda _, given: asked.append(given[1]))
    steps(run, shapes, 4)
    alike = [torch.equal(labels[::2], labels[1::2]) for labels in asked]
    assert alike == [bool(weight)] * 4


def test_batch_norm_sees_real_and_generated_pictures_apart(shapes, tmp_path):
    net = {**GAN.net, "norm": "batch"}
    run = Run(replace(GAN, net=net), tmp_path, torch.device("cpu"))
    means = []
    norm = next(m for m in run.training.discriminator.modules() if isinstance(m, nn.BatchNorm2d))
    norm.register_forward_pre_hook(lambda _, inputs: means.append(inputs[0].shape[0]))
    steps(run, shapes, 1)
    assert means == [8, 8, 8]  # real, generated; the same generated ones for G
    run.checkpoint()
    model = load(tmp_path / "checkpoint", "cpu", "float32")
    x = model.sample(range(4), labels=[0, 1, 2, 3])
    whole, alone = model.verdict(x, [0, 1, 2, 3]), model.verdict(x[:1], [0])
    torch.testing.assert_close(whole[:1], alone)  # a verdict does not depend on the company
    torch.testing.assert_close(run.model().verdict(x, [0, 1, 2, 3]), whole, atol=0.02, rtol=0)


def test_guidance_is_built_in_and_the_card_says_so(shapes, tmp_path):
    guided = replace(DIFFUSION, guidance=1.5)
    run = Run(guided, tmp_path, torch.device("cpu"))
    steps(run, shapes, 60)
    assert run.history[-1]["loss"] < 1
    assert run.checkpoint().training["guidance_built_in"] == 1.5
    assert isinstance(run.training.denoiser.net, Unguided)
    plain = Run(DIFFUSION, tmp_path / "plain", torch.device("cpu"))
    assert "guidance_built_in" not in plain.checkpoint().training


@pytest.mark.parametrize("target", ["eps", "x0", "v"])
def test_every_target_learns(target, shapes, tmp_path):
    run = Run(replace(DIFFUSION, target=target), tmp_path, torch.device("cpu"))
    losses = [progress.losses["loss"] for progress in steps(run, shapes, 40)]
    assert sum(losses[-8:]) < 0.8 * sum(losses[:8])


def test_the_levels_of_a_batch_cover_the_schedule_and_labels_are_dropped(shapes, tmp_path):
    run = Run(replace(DIFFUSION, batch=50, drop_label=0.3), tmp_path, torch.device("cpu"))
    asked, labels = [], []

    def spy(module, arguments):
        asked.append(arguments[1] + 1), labels.append(arguments[2])

    run.training.net.register_forward_pre_hook(spy)
    steps(run, shapes, 8)
    for t in asked:
        slices = (t - 1).sort().values // 2  # T = 100, one from each of 50 slices (but for ends)
        assert int(t.min()) >= 1 and int(t.max()) <= 100
        assert slices.unique().numel() >= 48
    dropped = (torch.cat(labels) == 4).float().mean()
    assert float(dropped) == pytest.approx(0.3, abs=4.5 * math.sqrt(0.3 * 0.7 / 400))
    assert set(torch.cat(labels).tolist()) == {0, 1, 2, 3, 4}


@pytest.mark.parametrize("name", RECIPES)
def test_the_recipes_are_consistent(name):
    this = recipe(name)
    assert this.name == name == f"{this.data}-{this.family}"
    assert this.family in FAMILIES and this.loss in LOSSES
    nets = build(blank_card(this))
    size = 2 * sum(p.numel() for net in nets.values() for p in net.parameters())
    assert size < 9_900_000  # bytes in float16: a checkpoint's file stays under 10 MB


def test_an_unknown_recipe_is_refused():
    with pytest.raises(GendiffError, match="no recipe 'dogs'; choose one of fashion-gan"):
        recipe("dogs")
