"""The pre-computed examples: kept, read, refused."""

from __future__ import annotations

import pytest

from gendiff.__main__ import main
from gendiff.errors import GendiffError
from gendiff.studio import Studio
from gendiff.studio.models import ASSETS
from gendiff.ui import examples


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(examples, "FOLDER", tmp_path / "examples")
    examples._kept.cache_clear()
    yield tmp_path / "examples"
    examples._kept.cache_clear()


def test_what_was_written_is_read():
    message = {"op": "batch", "ops": [{"note": "Prä-computed ∑", "x": [1, None, 0.5]}]}
    size = examples.write("gan", message)
    assert examples.read("gan") == message
    assert examples.read("gan") is examples.read("gan")
    assert size == (examples.FOLDER / "gan.json.gz").stat().st_size


def test_the_same_message_gives_the_same_file(folder):
    examples.write("gan", {"op": "idle"})
    first = (folder / "gan.json.gz").read_bytes()
    examples.write("gan", {"op": "idle"})
    assert (folder / "gan.json.gz").read_bytes() == first
    assert [path.name for path in folder.iterdir()] == ["gan.json.gz"]


def test_a_new_one_replaces_what_was_read():
    examples.write("gan", {"op": "idle"})
    examples.read("gan")
    examples.write("gan", {"op": "batch", "ops": []})
    assert examples.read("gan") == {"op": "batch", "ops": []}


def test_too_much_is_refused_and_the_old_one_stays(monkeypatch):
    examples.write("gan", {"op": "idle"})
    monkeypatch.setattr(examples, "BYTES_MAX", 40)
    with pytest.raises(GendiffError, match="choose fewer"):
        examples.write("gan", {"op": "batch", "ops": list(range(1000))})
    assert examples.read("gan") == {"op": "idle"}


def test_a_missing_or_damaged_example_says_what_to_do(folder):
    with pytest.raises(GendiffError, match="missing; run python -m gendiff examples walk"):
        examples.read("walk")
    examples.write("walk", {"op": "batch", "ops": list(range(100))})
    whole = (folder / "walk.json.gz").read_bytes()
    for damaged in (b"", whole[:30], b"x" + whole, whole[:-9] + b"000000000"):
        (folder / "walk.json.gz").write_bytes(damaged)
        examples._kept.cache_clear()
        with pytest.raises(GendiffError, match="damaged"):
            examples.read("walk")


def test_an_unknown_tab_ends_with_a_sentence(capsys):
    assert main(["examples", "cats"]) == 2
    assert "no tab 'cats'; choose from gan" in capsys.readouterr().err


def test_an_example_names_the_weights_that_made_it(saved, monkeypatch, capsys):
    """Computed by the command, with tiny checkpoints."""
    monkeypatch.setattr(examples, "Studio", lambda: Studio(saved, "cpu", "float32"))
    assert main(["examples", "denoise"]) == 0
    assert capsys.readouterr().out.startswith("denoise: ")
    card = Studio(saved).card("tiny-diffusion")
    assert examples.made_by("denoise") == {"tiny-diffusion": card.sha256} and card.sha256
    assert examples.read("denoise")["op"] == "batch"


@pytest.mark.parametrize("tab", examples.TABS)
def test_the_bundled_examples_belong_to_the_bundled_weights(tab, monkeypatch):
    monkeypatch.setattr(examples, "FOLDER", ASSETS / "examples")
    made, studio = examples.made_by(tab), Studio()
    assert made
    now = {name: studio.card(name).sha256 for name in made}
    assert made == now, f"the weights have changed: run python -m gendiff examples {tab}"
