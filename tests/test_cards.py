"""The model card: what the checkpoint knows, nothing else."""

from __future__ import annotations

from dataclasses import replace

import pytest
import yaml
from conftest import CARDS
from test_results import METRICS

from gendiff import overview, readme
from gendiff.__main__ import main
from gendiff.cards import Card
from gendiff.errors import GendiffError
from gendiff.readme import text
from gendiff.weights import BUNDLED


def test_the_card_credits_the_data_and_says_how_it_was_trained():
    card = replace(
        CARDS["tiny-gan"],
        credit="Drawn by A. Person",
        licence="CC BY 4.0",
        training={"images": 12_345, "hours": 0.5},
    )
    page = text(card)
    assert page.startswith("---\nlicense: cc-by-4.0\n")
    assert "Drawn by A. Person. Licence: CC BY 4.0" in page
    assert "- Images: 12,345" in page and "- Hours: 0.5" in page
    assert 'gendiff.load("tiny-gan")' in page


def test_the_card_tells_two_kinds_of_generator_apart():
    card = CARDS["tiny-gan"]
    smooth = replace(card, net={**card.net, "upsample": "bilinear"})
    says = "the generator enlarges by interpolation"
    assert says in text(smooth) and says not in text(card)


def test_what_is_not_known_is_said_so():
    page = text(CARDS["tiny-diffusion"])
    assert "Not recorded." in page and "the network predicts v" in page


FOLDERS = sorted(path.parent for path in BUNDLED.glob("*/config.json"))


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_a_bundled_card_is_what_its_measurements_say(folder):
    assert (folder / "README.md").read_text(encoding="utf-8") == readme.page(folder)
    for path in folder.iterdir():
        assert path.stat().st_size < 10_000_000, path


def test_the_project_shows_the_measured_numbers():
    project = (BUNDLED.parent / "README.md").read_text(encoding="utf-8")
    assert overview.with_numbers(project, BUNDLED) == project
    with pytest.raises(GendiffError, match="lacks the marks"):
        overview.with_numbers("no marks", BUNDLED)


def test_measured_numbers_stand_in_the_card_with_their_conditions(checkpoints):
    folder = checkpoints / "tiny-diffusion"
    card = Card.read(folder)
    replace(METRICS, model=card.name, weights_sha256=card.sha256).write(folder)
    readme.refresh(folder)
    page = (folder / "README.md").read_text()
    header = yaml.safe_load(page.split("---")[1])
    metrics = header["model-index"][0]["results"][0]["metrics"]
    assert metrics[0]["type"] == "fid" and metrics[0]["value"] == 3.5
    assert "1000 pictures" in metrics[0]["name"] and header["library_name"] == "gendiff"
    assert "| dpmpp_2m 20 steps | 20 | 1,000 | 3.50 |" in page
    assert "tiny-gan: " in page  # its pair
    replace(METRICS, weights_sha256="0" * 64).write(folder)
    assert "Not measured yet." in readme.page(folder)  # those are of other weights


def test_every_card_of_a_folder_is_made_anew(checkpoints):
    readme_file = checkpoints / "tiny-gan" / "README.md"
    readme_file.write_text("old")
    assert main(["cards", str(checkpoints)]) == 0
    assert readme_file.read_text() == readme.page(checkpoints / "tiny-gan")
