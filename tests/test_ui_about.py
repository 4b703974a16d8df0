"""The tab About: its table, and one wording of the credits."""

from __future__ import annotations

import shutil

import gradio as gr
import pytest

from gendiff.cards import FEATURES
from gendiff.sources import CATS, FASHION
from gendiff.studio import Studio
from gendiff.ui import about
from gendiff.ui.parts import Page
from gendiff.weights import BUNDLED, Card


@pytest.fixture
def said():
    """said(studio): everything that the tab says."""

    def of(studio):
        with gr.Blocks() as demo:
            about.build(studio, Page())
        parts = [block.value for block in demo.blocks.values() if hasattr(block, "value")]
        return "\n".join(part for part in parts if isinstance(part, str))

    return of


def test_the_app_and_the_readme_credit_in_the_same_words(said):
    readme, app = (BUNDLED.parent / "README.md").read_text(encoding="utf-8"), said(Studio())
    for source in (CATS, FASHION):
        assert source.credited() in readme and source.credited() in app
    assert readme.count("David Revoy") == app.count("David Revoy") == 1
    assert CATS.licence in CATS.credited() and FASHION.licence in FASHION.credited()
    for path in BUNDLED.glob("cats-*"):
        assert Card.read(path).credit == CATS.credit, path


def test_every_model_is_a_row_whose_cells_name_their_columns(said):
    studio = Studio()
    text = said(studio)
    assert all(card.family != FEATURES for card in studio.cards())
    for card in studio.cards():
        row = text.partition(f'<th scope="row">{card.title}</th>')[2].partition("</tr>")[0]
        assert row.count("<td data-name=") == len(about._HEAD) - 1
        assert f'data-name="Images seen"><span>{card.training["images"]:,}<' in row


def test_a_damaged_file_costs_its_numbers_and_nothing_else(said, tmp_path):
    for name in ("fashion-gan", "fashion-diffusion"):
        shutil.copytree(BUNDLED / name, tmp_path / name)
    (tmp_path / "fashion-gan" / "metrics.json").write_text("{")
    (tmp_path / "fashion-diffusion" / "config.json").write_text("{")
    text = said(Studio(tmp_path, "cpu"))
    assert "not measured" in text and "metrics.json cannot be read" in text
    assert "**fashion-diffusion** is left out" in text
