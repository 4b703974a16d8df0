"""UNet: the same tensors and the same output as diffusers' UNet2DModel, option by option."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from torch import nn

from gendiff.errors import GendiffError
from gendiff.hub.unets import rename_old_attention
from gendiff.nets.unet import SpaceToDepth, UNet
from gendiff.nets.unet_config import UNetConfig

SMALL = {
    "in_channels": 2,
    "out_channels": 3,
    "block_out_channels": (8, 16),
    "down_block_types": ("DownBlock2D", "AttnDownBlock2D"),
    "up_block_types": ("AttnUpBlock2D", "UpBlock2D"),
    "layers_per_block": 1,
    "norm_num_groups": 4,
}
RESNET = {
    "down_block_types": ("AttnDownBlock2D", "DownBlock2D"),
    "downsample_type": "resnet",
    "upsample_type": "resnet",
}
# Each entry differs from SMALL by the options of one line; all parameters are random.
OPTIONS = {
    "small": {},
    "two layers": {"layers_per_block": 2},
    "three layers, three blocks": {
        "layers_per_block": 3,
        "block_out_channels": (8, 12, 16),
        "down_block_types": ("AttnDownBlock2D", "DownBlock2D", "AttnDownBlock2D"),
        "up_block_types": ("UpBlock2D", "AttnUpBlock2D", "UpBlock2D"),
        "attention_head_dim": 4,
    },
    "one block": {
        "block_out_channels": (8,),
        "down_block_types": ("AttnDownBlock2D",),
        "up_block_types": ("UpBlock2D",),
    },
    "asymmetric padding": {"downsample_padding": 0},
    "one head": {"attention_head_dim": None},
    "four heads": {"attention_head_dim": 4},
    "head does not divide": {"attention_head_dim": 6},
    "sin first": {"flip_sin_to_cos": False},
    "frequency shift": {"freq_shift": 1},
    "odd time projection": {
        "block_out_channels": (9, 15),
        "norm_num_groups": 3,
        "attention_head_dim": 5,
        "flip_sin_to_cos": False,
    },
    "centred input": {"center_input_sample": True},
    "scale and shift": {"resnet_time_scale_shift": "scale_shift"},
    "scale and shift, norm": {
        "resnet_time_scale_shift": "scale_shift",
        "attn_norm_num_groups": 2,
    },
    "resnet re-samplers": RESNET,
    "resnet re-samplers, scale and shift": {**RESNET, "resnet_time_scale_shift": "scale_shift"},
    "null re-samplers": {**RESNET, "downsample_type": None, "upsample_type": None},
    "re-samplers of plain blocks": {
        "down_block_types": ("DownBlock2D", "AttnDownBlock2D"),
        "up_block_types": ("UpBlock2D", "AttnUpBlock2D"),
        "downsample_type": "resnet",
        "upsample_type": "resnet",
    },
    "no middle": {"mid_block_type": None},
    "no attention in the middle": {"add_attention": False},
    "middle scale": {"mid_block_scale_factor": 2.0},
    "groups of the middle attention": {"attn_norm_num_groups": 8},
    "learned time": {"time_embedding_type": "learned", "num_train_timesteps": 1000},
    "time width": {"time_embedding_dim": 20},
    "norm eps": {"norm_eps": 0.3},
    "silu": {"act_fn": "silu"},
    "swish": {"act_fn": "swish"},
    "mish": {"act_fn": "mish"},
    "gelu": {"act_fn": "gelu"},
    "relu": {"act_fn": "relu"},
    "class table": {"num_class_embeds": 5},
    "class timestep": {"class_embed_type": "timestep"},
    "class timestep, table size unused": {"class_embed_type": "timestep", "num_class_embeds": 5},
    "class identity": {"class_embed_type": "identity"},
    "dropout at rest": {"dropout": 0.5},
}
TIMES = {"int": 37, "0-d": torch.tensor(999), "1-d": torch.tensor([0, 511])}


def config_of(**options: object) -> UNetConfig:
    return UNetConfig.from_dict({**SMALL, **options})


def randomise(net: nn.Module, seed: int = 0) -> nn.Module:
    """Every parameter random: zero-initialised ones would hide the branch that they end."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for p in net.parameters():
            scale = p[0].numel() ** -0.5 if p.ndim > 1 else 0.3
            p.copy_(scale * torch.randn(p.shape, generator=generator) + (p.ndim == 1) * 0.3)
    return net.eval()


def image(*shape: int, seed: int = 1) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def labels_of(config: UNetConfig) -> torch.Tensor | None:
    if config.class_embed_type == "identity":
        return image(2, 4 * config.block_out_channels[0], seed=2)
    if config.class_embed_type or config.num_class_embeds:
        return torch.tensor([3, 1])
    return None


def pair(config: UNetConfig) -> tuple[nn.Module, UNet]:
    """diffusers' network and ours, with the same random weights, loaded strictly."""
    diffusers = pytest.importorskip("diffusers")
    theirs = randomise(diffusers.UNet2DModel(**dataclasses.asdict(config)))
    ours = UNet(config).eval()
    ours.load_state_dict(theirs.state_dict(), strict=True)
    return theirs, ours


@pytest.mark.parametrize("name", OPTIONS)
@torch.no_grad()
def test_equals_diffusers(name: str) -> None:
    config = config_of(**OPTIONS[name])
    theirs, ours = pair(config)
    x, labels = image(2, 2, 8, 12), labels_of(config)
    t = torch.tensor([3, 640])
    want = theirs(x, t, class_labels=labels).sample
    assert want.std() > 0.05
    assert (ours(x, t, labels) - want).abs().max() < 1e-5 * max(1, want.abs().max())
    theirs, ours, x = theirs.double(), ours.double(), x.double()
    if config.class_embed_type == "timestep":  # diffusers forgets the cast: float32 into float64
        theirs.class_embedding.register_forward_pre_hook(lambda _, args: (args[0].double(),))
    labels = labels.double() if config.class_embed_type == "identity" else labels
    want = theirs(x, t, class_labels=labels).sample
    assert (ours(x, t, labels) - want).abs().max() < 1e-12 * max(1, want.abs().max())


@pytest.mark.parametrize("name", sorted(OPTIONS.keys() - {"small", "silu", "swish"}))
@torch.no_grad()
def test_every_option_counts(name: str) -> None:
    """The comparison above can fail: without the option the net does not load or not agree."""
    if name in ("dropout at rest", "null re-samplers", "class timestep, table size unused"):
        pytest.skip("equal to another setting by definition")
    config, x = config_of(**OPTIONS[name]), image(2, 2, 8, 12)
    net, plain = randomise(UNet(config)), UNet(config_of())
    try:
        plain.load_state_dict(net.state_dict())
    except RuntimeError:
        return
    t, labels = torch.tensor([3, 640]), labels_of(config)
    assert (net(x, t, labels) - plain.eval()(x, t)).abs().max() > 1e-3


@pytest.mark.parametrize("form", TIMES)
@torch.no_grad()
def test_every_form_of_t(form: str) -> None:
    theirs, ours = pair(config_of())
    x, t = image(2, 2, 8, 8), TIMES[form]
    assert torch.allclose(ours(x, t), theirs(x, t).sample, rtol=0, atol=1e-5)
    each = t.tolist() if form == "1-d" else [int(t)] * 2
    apart = torch.cat([ours(x[i : i + 1], each[i]) for i in range(2)])
    assert torch.allclose(ours(x, t), apart, rtol=0, atol=1e-5)
    assert (ours(x, t) - ours(x, 100)).abs().max() > 1e-3


@torch.no_grad()
def test_fractional_t() -> None:
    theirs, ours = pair(config_of())
    x, t = image(2, 2, 8, 8), torch.tensor([0.25, 17.5])
    assert torch.allclose(ours(x, t), theirs(x, t).sample, rtol=0, atol=1e-5)


@torch.no_grad()
def test_bfloat16() -> None:
    theirs, ours = pair(config_of(num_class_embeds=5))
    exact = ours(image(2, 2, 8, 8), 997, torch.tensor([0, 4]))
    theirs, ours, x = theirs.bfloat16(), ours.bfloat16(), image(2, 2, 8, 8).bfloat16()
    got = ours(x, 997, torch.tensor([0, 4]))
    assert got.dtype == torch.bfloat16
    want = theirs(x, 997, class_labels=torch.tensor([0, 4])).sample
    # bfloat16 has 8 bits: some 20 roundings of 2^-9 relative to the largest value
    assert (got - want).abs().max() < 0.04 * exact.abs().max()
    assert (got - exact).abs().max() < 0.04 * exact.abs().max()


@torch.no_grad()
def test_time_frequencies_survive_a_cast_to_bfloat16() -> None:
    config, t = config_of(), torch.arange(1000)
    exact = UNet(config).time_proj(t)
    k = torch.arange(4, dtype=torch.float64)
    angle = t.double()[:, None] * 10000 ** (-k / 4)
    oracle = torch.cat((angle.cos(), angle.sin()), dim=1)
    assert (exact - oracle).abs().max() < 1e-4  # float32 angles up to 999
    assert torch.equal(UNet(config).bfloat16().time_proj(t), exact)
    assert torch.equal(UNet(config).bfloat16().float().time_proj(t), exact)


def test_default_config_is_that_of_diffusers() -> None:
    diffusers = pytest.importorskip("diffusers")
    with torch.device("meta"):
        theirs = diffusers.UNet2DModel()
        ours = UNet(UNetConfig())
    shapes = {k: v.shape for k, v in theirs.state_dict().items()}
    assert {k: v.shape for k, v in ours.state_dict().items()} == shapes
    known = {k: tuple(v) if isinstance(v, list) else v for k, v in theirs.config.items()}
    known = {k: v for k, v in known.items() if not k.startswith("_")}
    assert dataclasses.asdict(UNetConfig()) == known
    assert UNetConfig.from_dict(theirs.config) == UNetConfig()


@torch.no_grad()
def test_old_attention_names() -> None:
    net = randomise(UNet(config_of()))
    old = {}
    for name, tensor in net.state_dict().items():
        for a, b in (
            ("to_q", "query"),
            ("to_k", "key"),
            ("to_v", "value"),
            ("to_out.0", "proj_attn"),
        ):
            name = name.replace(f".{a}.", f".{b}.")
        old[name] = tensor
    assert sum("proj_attn" in name for name in old) == 2 * (1 + 1 + 2)  # down, middle, up
    new = rename_old_attention(old)
    assert list(new) == list(net.state_dict())
    assert all(torch.equal(new[k], v) for k, v in net.state_dict().items())
    assert rename_old_attention(new) == new
    other = {"down_blocks.0.key.weight": torch.zeros(1)}  # only attention layers are renamed
    assert list(rename_old_attention(other)) == list(other)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("time_embedding_type", "fourier"),
        ("down_block_types", ["SkipDownBlock2D", "AttnSkipDownBlock2D"]),
        ("up_block_types", ["AttnUpBlock2D", "CrossAttnUpBlock2D"]),
        ("mid_block_type", "UNetMidBlock2DCrossAttn"),
        ("resnet_time_scale_shift", "spatial"),
        ("class_embed_type", "projection"),
        ("act_fn", "geglu"),
        ("downsample_type", "fir"),
        ("upsample_type", "fir"),
        ("downsample_padding", 2),
    ],
)
def test_refused_by_name(key: str, value: object) -> None:
    first = value[0] if key == "down_block_types" else value
    first = value[1] if key == "up_block_types" else first
    with pytest.raises(GendiffError, match=f"{key} {first!r} is not supported"):
        config_of(**{key: value})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"block_out_channels": [8, 16, 16]}, "one entry for each block"),
        ({"layers_per_block": 0}, "at least 1"),
        ({"norm_num_groups": 5}, "5 norm groups do not divide 8"),
        ({"norm_num_groups": None}, "norm groups"),
        ({"attn_norm_num_groups": 7}, "7 norm groups do not divide 16"),
        ({"attention_head_dim": 17}, "attention_head_dim must be 1 to 16 here, not 17"),
        ({"attention_head_dim": 0}, "attention_head_dim"),
        ({"time_embedding_type": "learned"}, "num_train_timesteps"),
        ({"num_class_embeds": 0}, "num_class_embeds"),
    ],
)
def test_impossible_configs(options: dict[str, object], message: str) -> None:
    with pytest.raises(GendiffError, match=message):
        UNet(config_of(**options))


def test_config_from_dict() -> None:
    config = UNetConfig.from_dict({"_class_name": "UNet2DModel", "attention_head_dim": None})
    assert config.attention_head_dim is None
    assert UNetConfig.from_dict({}).attention_head_dim == 8
    assert config_of(block_out_channels=[8, 16]) == config_of()
    with pytest.raises(GendiffError, match=r"\(colour, width\); choose another model"):
        config_of(width=3, colour=1)


@pytest.mark.parametrize("shape", [(2, 3, 8, 8), (2, 8, 8), (2, 2, 8, 7), (2, 2, 9, 8)])
def test_images_of_a_wrong_shape(shape: tuple[int, ...]) -> None:
    with pytest.raises(GendiffError, match=r"\(B, 2, H, W\).*multiples of 2"):
        UNet(config_of())(torch.zeros(shape), 0)


def test_wrong_labels() -> None:
    with pytest.raises(GendiffError, match="no classes"):
        UNet(config_of())(image(2, 2, 8, 8), 0, torch.tensor([0, 1]))
    for kind in ("timestep", "identity"):
        with pytest.raises(GendiffError, match="give it labels"):
            UNet(config_of(class_embed_type=kind))(image(2, 2, 8, 8), 0)


@torch.no_grad()
def test_no_label_is_the_last_row() -> None:
    net, x = randomise(UNet(config_of(num_class_embeds=5))), image(2, 2, 8, 8)
    assert torch.equal(net(x, 9), net(x, 9, torch.tensor([4, 4])))
    assert (net(x, 9) - net(x, 9, torch.tensor([0, 3]))).abs().amax(dim=(1, 2, 3)).min() > 1e-3


@torch.no_grad()
def test_a_new_network_says_zero_and_its_residual_blocks_pass_on() -> None:
    net = UNet(config_of())
    assert torch.equal(net(image(2, 2, 8, 8), 9), torch.zeros(2, 3, 8, 8))
    h, emb = image(2, 8, 8, 8), image(2, 32)
    assert torch.equal(net.down_blocks[0].resnets[0](h, emb), h)


@pytest.mark.parametrize("name", OPTIONS)
def test_gradients_reach_every_parameter(name: str) -> None:
    config = config_of(**OPTIONS[name])
    net = randomise(UNet(config)).double()
    labels = labels_of(config)
    labels = labels.double() if config.class_embed_type == "identity" else labels
    net(image(2, 2, 8, 12).double(), torch.tensor([3, 640]), labels).square().sum().backward()
    for parameter_name, p in net.named_parameters():
        assert p.grad is not None, parameter_name
        # a key's bias adds the same number to every score of a query: softmax ignores it
        if not parameter_name.endswith("to_k.bias"):
            assert p.grad.abs().max() > 1e-9, parameter_name


def test_dropout_only_in_training() -> None:
    net, x = randomise(UNet(config_of(dropout=0.5))), image(2, 2, 8, 8)
    with torch.no_grad():
        assert torch.equal(net(x, 3), net(x, 3))
        net.train()
        assert not torch.equal(net(x, 3), net(x, 3))


@pytest.mark.parametrize("name", OPTIONS)
@torch.no_grad()
def test_channels_last(name: str) -> None:
    config = config_of(**OPTIONS[name])
    net = randomise(UNet(config))
    x, labels = image(2, 2, 8, 12), labels_of(config)
    want = net(x, 640, labels)
    assert want.is_contiguous()
    last = torch.channels_last
    got = net.to(memory_format=last)(x.to(memory_format=last), 640, labels)
    assert got.is_contiguous(memory_format=last)
    assert (got - want).abs().max() < 1e-5 * max(1, want.abs().max())


class Spy(nn.Module):
    """Returns its input; remembers how it was called."""

    def forward(self, x: torch.Tensor, t: object, labels: object = None) -> torch.Tensor:
        self.called = (x, t, labels)
        return x


@pytest.mark.parametrize("factor", [1, 2, 4])
def test_space_to_depth_is_a_permutation(factor: int) -> None:
    spy, labels = Spy(), torch.tensor([1, 2])
    x = torch.arange(2 * 3 * 8 * 12, dtype=torch.float32).reshape(2, 3, 8, 12)
    assert torch.equal(SpaceToDepth(spy, factor)(x, 7, labels), x)
    inner, t, seen = spy.called
    assert inner.shape == (2, 3 * factor**2, 8 // factor, 12 // factor)
    assert t == 7 and seen is labels
    # each number once, so white noise (independent, equal variances) stays white
    assert torch.equal(inner.flatten(1).sort(dim=1).values, x.flatten(1))
    # and a channel is one phase of the pixel grid
    assert torch.equal(inner[:, factor - 1], x[:, 0, 0::factor, factor - 1 :: factor])


@torch.no_grad()
def test_space_to_depth_of_a_unet() -> None:
    net = SpaceToDepth(randomise(UNet(config_of(in_channels=12, out_channels=12))), 2)
    x = image(2, 3, 8, 8).to(memory_format=torch.channels_last)
    want = net.net(x.reshape(2, 3, 4, 2, 4, 2).permute(0, 1, 3, 5, 2, 4).reshape(2, 12, 4, 4), 5)
    want = want.reshape(2, 3, 2, 2, 4, 4).permute(0, 1, 4, 2, 5, 3).reshape(2, 3, 8, 8)
    assert torch.allclose(net(x, 5), want, rtol=0, atol=1e-5)
    plain = randomise(UNet(config_of()))
    assert torch.equal(SpaceToDepth(plain, 1)(image(2, 2, 8, 8), 5), plain(image(2, 2, 8, 8), 5))


def test_space_to_depth_refuses() -> None:
    with pytest.raises(GendiffError, match="at least 1, not 0"):
        SpaceToDepth(Spy(), 0)
    with pytest.raises(GendiffError, match="multiples of 4, not"):
        SpaceToDepth(Spy(), 4)(torch.zeros(1, 3, 8, 6), 0)
