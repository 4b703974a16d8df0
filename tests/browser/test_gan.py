"""The GAN tab in a real Chromium, with the bundled GANs."""

from __future__ import annotations

import io

import gradio as gr
import numpy as np
import pytest
from PIL import Image

from gendiff.images import enlarge
from gendiff.studio import Studio
from gendiff.studio.adversarial import Ask, draw
from gendiff.ui import gan
from gendiff.ui.parts import Page
from gendiff.ui.theme import SCRIPT, STYLE, theme

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def studio():
    return Studio()


@pytest.fixture(scope="module")
def app(studio, serve):
    """This tab alone, served as the app serves it."""
    page = Page()
    with gr.Blocks(analytics_enabled=False) as demo:
        with gr.Tabs() as tabs, page.tab("gan", "GAN"):
            gan.build(studio, page)
        page.wire(demo, tabs)
    script = SCRIPT.read_text(encoding="utf-8")
    return serve(demo.queue(), theme=theme(), css_paths=STYLE, js=script)


def seeds_shown(tab) -> list[str]:
    """The grid's captions, once a grid is there."""
    tab.locator("#gan-player .gd-tile").first.wait_for()
    return tab.locator("#gan-player .gd-caption").all_text_contents()


def wait_for_seeds(tab, first: str, count: int) -> None:
    tab.wait_for_function(
        """([first, count]) => {
          const all = [...document.querySelectorAll("#gan-player .gd-caption")];
          return all.length === count && all[0].textContent.startsWith(first);
        }""",
        arg=[first, count],
    )


def test_it_opens_with_an_example_that_says_so(page, app):
    tab = page(app)
    assert seeds_shown(tab) == [f"seed {seed}" for seed in range(24)]
    assert "Pre-computed" in tab.locator("#gan-player .gd-note").text_content()
    assert tab.locator("#gan-detail h3").text_content().startswith("Seed 0")


def test_a_click_shows_one_picture_and_it_can_be_saved(page, app, studio):
    tab = page(app)
    tab.locator("#gan-seeds input").fill("3, 50, 7")
    tab.locator("#gan-run").click()
    wait_for_seeds(tab, "seed 3", 3)
    note = tab.locator("#gan-player .gd-note").text_content()
    assert "NFE 1" in note and studio.conditions() in note
    tab.locator("#gan-player .gd-tile").nth(1).click()
    title = tab.locator("#gan-detail h3", has_text="Seed 50")
    title.wait_for()
    sheet = draw(studio, Ask(studio.cards("gan")[0].name, (3, 50, 7)))
    assert title.text_content() == f"Seed 50, {sheet.names[1]}"
    assert f"{100 * sheet.real[1]:.1f} %" in tab.locator("#gan-detail .vd-odds").text_content()
    with tab.expect_download() as saving:
        tab.locator("#gan-detail .vd-save").click()
    assert saving.value.suggested_filename.startswith(f"{sheet.ask.model}-seed-50-")
    saved = np.asarray(Image.open(io.BytesIO(saving.value.path().read_bytes())))
    assert np.array_equal(saved, enlarge(sheet.pictures[1], 8).squeeze())


def test_the_grid_is_worked_by_keyboard(page, app):
    tab = page(app)
    seeds_shown(tab)
    tab.locator("#gan-player .gd-tile").first.focus()
    tab.keyboard.press("ArrowRight")
    tab.keyboard.press("ArrowDown")
    tab.keyboard.press("Enter")
    seed = tab.locator("#gan-player .gd-tile[aria-pressed=true] .gd-caption").text_content()
    assert seed not in ("seed 0", "seed 1")
    tab.locator("#gan-detail h3", has_text=f"S{seed[1:]}, ").wait_for()


@pytest.mark.parametrize("count", ["0", "2.5", "1000000"])
def test_a_number_of_pictures_out_of_range_is_one_sentence(page, app, count):
    tab = page(app)
    seeds_shown(tab)
    tab.locator("#gan-count input").fill(count)
    tab.locator(
        ".toast-body.error", has_text="How many must be a whole number from 1 to 64"
    ).wait_for()
    assert tab.locator("#gan-seeds input").input_value() == "0-23"


def test_how_many_and_new_seeds_write_the_seeds(page, app):
    tab = page(app)
    seeds_shown(tab)
    seeds, count = tab.locator("#gan-seeds input"), tab.locator("#gan-count input")
    seeds.fill("40, 2")
    seeds.press("Enter")
    wait_for_seeds(tab, "seed 40", 2)
    assert count.input_value() == "2"
    count.fill("9")
    wait_for_seeds(tab, "seed 40", 9)
    assert seeds.input_value() == "40-48"
    tab.locator("#gan-new").click()
    tab.wait_for_function(
        "() => !document.querySelector('#gan-seeds input').value.startsWith('40-')"
    )
    first, last = map(int, seeds.input_value().split("-"))
    assert last - first == 8
    wait_for_seeds(tab, f"seed {first}", 9)


def test_truncation_answers_to_the_keyboard(page, app):
    tab = page(f"{app}?tab=gan&seeds=0-3")
    wait_for_seeds(tab, "seed 0", 4)
    length = tab.locator("#gan-detail .vd-small")
    before = length.text_content()
    tab.get_by_role("button", name="More settings").click()
    tab.locator("#gan-truncation input[type=range]").focus()
    tab.keyboard.press("Home")
    tab.wait_for_function(
        "before => document.querySelector('#gan-detail .vd-small').textContent !== before",
        arg=before,
    )
    tab.locator("#gan-detail .vd-small", has_text="|z| = 0.").wait_for()  # 0.1 sqrt(100) at most


def test_the_mix_hides_the_truth_until_it_is_asked_for(page, app):
    tab = page(app)
    seeds_shown(tab)
    tab.get_by_label("Mixed with real").click()
    tiles = tab.locator("#gan-mixed .vd-tiles li")
    tiles.nth(31).wait_for()
    assert not tab.locator("#gan-player").is_visible()
    score = tab.locator("#gan-mixed h3").text_content()
    right = tab.locator("#gan-mixed .vd-right").count()
    assert f"{right} of 32" in score
    truths = tab.locator("#gan-mixed .vd-truth")
    assert not any(truth.is_visible() for truth in truths.all())
    tab.locator("#gan-mixed .vd-tiles input").nth(4).focus()
    tab.keyboard.press("Space")
    assert [truth.is_visible() for truth in truths.all()] == [i == 4 for i in range(32)]
    tab.get_by_role("switch", name="Show what is real").check()
    assert all(truth.is_visible() for truth in truths.all())
    tab.get_by_label("Generated", exact=True).click()
    tab.locator("#gan-player .gd-tile").nth(23).wait_for()
    assert not tiles.first.is_visible()


def test_a_link_shows_what_it_names(page, app, studio):
    card = max(studio.cards("gan"), key=lambda card: len(card.classes))
    label = len(card.classes) - 1
    tab = page(f"{app}?tab=gan&model={card.name}&seeds=5-8&label={label}&truncation=0.8")
    wait_for_seeds(tab, "seed 5", 4)
    tab.locator("#gan-detail h3", has_text=f"Seed 5, {card.classes[label]}").wait_for()
    assert tab.locator("#gan-count input").input_value() == "4"
    tab.get_by_label("Mixed with real").click()
    tab.locator("#gan-mixed .vd-tiles li").nth(7).wait_for()
    for part in ("mode=mixed", f"model={card.name}", "seeds=5-8", "truncation=0.8"):
        assert part in tab.url
    again = page(tab.url)
    again.locator("#gan-mixed .vd-tiles li").nth(7).wait_for()


def test_a_mistake_is_one_sentence_and_nothing_is_lost(page, app):
    tab = page(app)
    before = seeds_shown(tab)
    tab.locator("#gan-seeds input").fill("seven")
    tab.locator("#gan-run").click()
    toast = tab.get_by_test_id("toast-text")
    toast.wait_for()
    assert "Seeds are whole numbers" in toast.text_content()
    assert seeds_shown(tab) == before


@pytest.mark.parametrize("width", [390, 1280])
def test_nothing_is_wider_than_the_page(page, app, width):
    tab = page(app, viewport={"width": width, "height": 720})
    seeds_shown(tab)
    assert tab.evaluate("document.documentElement.scrollWidth") == width
    tab.get_by_label("Mixed with real").click()
    tab.locator("#gan-mixed .vd-tiles li").nth(31).wait_for()
    assert tab.evaluate("document.documentElement.scrollWidth") == width
