"""The model card: what the checkpoint knows, nothing else."""

from __future__ import annotations

from dataclasses import replace

from conftest import CARDS

from gendiff.cards import text


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


def test_what_is_not_known_is_said_so():
    page = text(CARDS["tiny-diffusion"])
    assert "Not recorded." in page and "the network predicts v" in page
