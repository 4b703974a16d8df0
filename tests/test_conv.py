"""The fast convolution: the plain one's numbers, in every case that the networks have."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F

from gendiff.nets import conv
from gendiff.nets.conv import Conv2d


def made(channels, out, size=3, **options):
    torch.manual_seed(channels + out)
    return Conv2d(channels, out, size, **options).requires_grad_(False)


def plain(net, x):
    return F.conv2d(x.double(), net.weight.double(), net.bias.double(), net.stride, net.padding)


@pytest.mark.parametrize(
    ("channels", "out", "side", "options"),
    [
        (3, 16, 12, {"padding": 1}),
        (64, 64, 16, {"padding": 1}),
        (64, 96, 32, {"padding": 1}),
        (96, 64, 12, {"padding": 1}),
        (64, 64, 18, {"padding": 1}),
        (64, 64, 4, {"padding": 1}),
        (64, 64, 16, {"padding": 1, "stride": 2}),
        (64, 64, 17, {"padding": 0, "stride": 2}),
        (64, 32, 8, {"size": 1}),
    ],
)
@pytest.mark.parametrize("batch", [1, 3])
def test_every_way_gives_the_plain_numbers(channels, out, side, options, batch):
    net, x = made(channels, out, **options), torch.randn(batch, channels, side, side)
    expected = plain(net, x)
    for given in (x, x.contiguous(memory_format=torch.channels_last)):
        got = net(given)
        assert got.shape == expected.shape and got.dtype == torch.float32
        assert torch.allclose(got.double(), expected, atol=1e-4)


def test_wide_layers_take_winograd_and_narrow_ones_do_not(monkeypatch):
    taken = []
    original = Conv2d._grouped
    monkeypatch.setattr(Conv2d, "_grouped", lambda *a: taken.append(1) or original(*a))
    made(64, 64, padding=1)(torch.randn(1, 64, 16, 16))
    assert len(taken) == 1
    made(32, 64, padding=1)(torch.randn(1, 32, 16, 16))
    made(64, 64, padding=1)(torch.randn(1, 64, 8, 8))
    assert len(taken) == 1


def test_a_picture_of_other_height_and_width_is_no_other_matter():
    net, x = made(64, 64, padding=1), torch.randn(2, 64, 8, 32)
    assert torch.allclose(net(x).double(), plain(net, x), atol=1e-4)


@pytest.mark.parametrize("channels", [8, 64])
def test_changed_weights_are_seen(channels):
    net, x = made(channels, 64, padding=1), torch.randn(1, channels, 16, 16)
    net(x)
    net.weight.mul_(2)
    assert torch.allclose(net(x).double(), plain(net, x), atol=2e-4)
    net.load_state_dict({key: tensor * 0.5 for key, tensor in net.state_dict().items()})
    assert torch.allclose(net(x).double(), plain(net, x), atol=1e-4)


def test_training_has_gradients_and_a_copy_is_independent():
    net, x = Conv2d(64, 64, 3, padding=1), torch.randn(1, 64, 16, 16)
    with torch.no_grad():
        net(x)
    twin = copy.deepcopy(net)
    with torch.no_grad():
        twin.weight.zero_()
    net(x).square().mean().backward()
    assert net.weight.grad.abs().sum() > 0
    with torch.no_grad():
        assert torch.allclose(twin(x), twin.bias[:, None, None].expand(64, 16, 16)[None])


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_other_precisions_are_torchs_own(dtype):
    net, x = made(64, 64, padding=1).to(dtype), torch.randn(1, 64, 16, 16, dtype=dtype)
    assert torch.equal(net(x), F.conv2d(x, net.weight, net.bias, padding=1))


@pytest.mark.parametrize(("channels", "side"), [(8, 8), (64, 16)])
def test_without_onednn_it_still_works(monkeypatch, channels, side):
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: False)
    net, x = made(channels, channels, padding=1), torch.randn(1, channels, side, side)
    assert torch.allclose(net(x).double(), plain(net, x), atol=1e-4)


@pytest.mark.parametrize("bias", [True, False])
def test_weights_in_onednns_order_serve_every_number_of_tiles(bias):
    net = made(64, 96, padding=1, bias=bias)
    for shape in ((1, 64, 16, 16), (5, 64, 32, 16), (2, 64, 64, 64), (1, 64, 16, 16)):
        x = torch.randn(shape)
        given = (x.double(), net.weight.double(), None if net.bias is None else net.bias.double())
        assert torch.allclose(net(x).double(), F.conv2d(*given, padding=1), atol=1e-4)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(("channels", "out"), [(96, 32), (64, 64)])
def test_winograds_gradients_are_the_plain_ones(channels, out, bias, monkeypatch):
    taken = []
    original = conv._Winograd.apply
    monkeypatch.setattr(conv._Winograd, "apply", lambda *a: taken.append(1) or original(*a))
    net = Conv2d(channels, out, 3, padding=1, bias=bias)
    x = torch.randn(4, channels, 16, 16, requires_grad=True)
    slope = torch.randn(4, out, 16, 16)
    net(x).backward(slope)
    assert len(taken) == 1
    inputs = [x, *net.parameters()]
    exact = [tensor.detach().double().requires_grad_() for tensor in inputs]
    F.conv2d(*exact, padding=1).backward(slope.double())
    for tensor, truth in zip(inputs, exact, strict=True):
        error = (tensor.grad - truth.grad).norm() / truth.grad.norm()
        assert float(error) < 1e-5


def test_training_in_bfloat16_is_torchs_own():
    net, x = Conv2d(64, 64, 3, padding=1), torch.randn(4, 64, 16, 16)
    with torch.autocast("cpu", torch.bfloat16):
        got, expected = net(x), F.conv2d(x, net.weight, net.bias, padding=1)
    assert got.dtype == torch.bfloat16 and torch.allclose(got, expected, atol=0.05)
