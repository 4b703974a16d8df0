"""Inception in place of our own features: with random weights in the file's own format."""

from __future__ import annotations

import argparse
from types import SimpleNamespace

import pytest
import torch

from gendiff import evaluate, inception
from gendiff.errors import GendiffError
from gendiff.readers import Reading

fidelity = pytest.importorskip("torch_fidelity.feature_extractor_inceptionv3")


def own_reader(x):
    return Reading(x.flatten(1), {"label": torch.arange(len(x))}, torch.ones(len(x)))


@pytest.fixture(scope="module")
def downloads(tmp_path_factory):
    """torch's folder of downloads, with a file of random weights."""
    folder = tmp_path_factory.mktemp("hub") / "checkpoints"
    folder.mkdir()
    blank = folder / "blank.pth"
    torch.save({}, blank)
    network = fidelity.FeatureExtractorInceptionV3
    with pytest.MonkeyPatch.context() as patch, torch.random.fork_rng():
        torch.manual_seed(0)
        patch.setattr(network, "load_state_dict", lambda *_, **__: None)
        net = network("inception-v3-compat", ["2048"], str(blank))
    torch.save(net.state_dict(), folder / inception.WEIGHTS)
    return folder


@pytest.fixture
def there(downloads, monkeypatch):
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(downloads.parent))
    return downloads / inception.WEIGHTS


def test_the_features_are_inceptions_and_the_rest_is_the_readers(there):
    reader = inception.with_inception(own_reader, inception.weights())
    x = torch.rand(3, 1, 32, 32) * 2 - 1
    reading = reader(x)
    assert reading.features.shape == (3, reader.dim) and reading.features.dtype == torch.float32
    assert float(reading.features.std(0).sum()) > 0  # it looks at the pictures
    assert torch.allclose(reading.features, reader(x.expand(-1, 3, -1, -1)).features, rtol=1e-3)
    assert torch.equal(reading.kinds["label"], torch.arange(3))
    assert (reader.name, reader.accuracy, len(reader.sha256)) == ("inception-v3", None, 64)


def test_it_is_used_where_its_weights_are(there, monkeypatch, tmp_path):
    assert evaluate._features(None) == evaluate._features("inception") == there
    assert evaluate._features("own") is None
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    assert evaluate._features(None) is None
    with pytest.raises(GendiffError, match="needs torch-fidelity and its weights"):
        evaluate._features("inception")


def test_numbers_in_other_features_are_not_mixed(monkeypatch):
    before = SimpleNamespace(weights_sha256="w", features="own", runs=("run",))
    monkeypatch.setattr(evaluate.Metrics, "read", lambda folder: before)
    card = SimpleNamespace(sha256="w")
    assert evaluate._kept(None, card, SimpleNamespace(features="own")) == ["run"]
    assert evaluate._kept(None, card, SimpleNamespace(features="inception")) == []


@pytest.mark.parametrize("content", [b"", b"no weights"])
def test_a_file_that_is_not_its_weights_is_one_sentence(content, tmp_path):
    (tmp_path / "weights.pth").write_bytes(content)
    with pytest.raises(GendiffError, match="does not hold Inception's weights"):
        inception.with_inception(own_reader, tmp_path / "weights.pth")


def test_the_option_is_on_the_command_line():
    parser = argparse.ArgumentParser()
    evaluate.options(parser)
    assert parser.parse_args(["fashion-gan"]).features is None
    with pytest.raises(SystemExit):
        parser.parse_args(["fashion-gan", "--features", "vgg"])
