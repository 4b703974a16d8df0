"""The Interpolate tab in a real browser, with tiny models."""

from __future__ import annotations

import io
import re
import time

import gradio as gr
import pytest
from PIL import Image

from gendiff.studio import Studio
from gendiff.ui import interpolate
from gendiff.ui.parts import Page
from gendiff.ui.theme import SCRIPT, STYLE, theme

expect = pytest.importorskip("playwright.sync_api").expect
pytestmark = [pytest.mark.browser, pytest.mark.timeout(240)]
PATIENCE = 60_000  # ms: the processor may be shared


@pytest.fixture(scope="module")
def studio(saved):
    return Studio(saved, "cpu", "float32")


@pytest.fixture(scope="module")
def address(studio, serve):
    """The tab beside another one that opens first."""
    page = Page()
    with gr.Blocks(analytics_enabled=False) as demo:
        with gr.Tabs(elem_id="tabs") as tabs:
            with page.tab("first", "First"):
                gr.Markdown("Here is nothing.")
            with page.tab("interpolate", "Interpolate"):
                interpolate.build(studio, page)
        page.wire(demo, tabs)
    look = {"theme": theme(), "css_paths": STYLE, "js": SCRIPT.read_text(encoding="utf-8")}
    return serve(demo.queue(), show_error=False, **look)


def player(page):
    return page.locator(".gd")


def wait_for(page, state: str = "done"):
    expect(player(page)).to_have_attribute("data-state", state, timeout=PATIENCE)


def opened(page, address: str, query: str = "tab=interpolate", **options):
    """The tab with its example at rest."""
    tab = page(f"{address}?{query}", reduced_motion="reduce", **options)
    wait_for(tab)
    return tab


def run_id(page) -> str:
    return player(page).get_attribute("data-run")


def choose(page, frames: int | None = None, seeds: str | None = None) -> None:
    if seeds is not None:
        page.get_by_role("textbox", name=re.compile("Seeds:")).fill(seeds)
    if frames is not None:
        page.get_by_label("number input for Frames").fill(str(frames))
        page.keyboard.press("Tab")


def test_it_opens_with_a_labelled_example(page, address):
    tab = page(address, reduced_motion="reduce")
    tab.get_by_role("tab", name="Interpolate", exact=True).click()
    wait_for(tab)
    expect(tab.locator(".gd-note")).to_contain_text("Pre-computed")
    expect(tab.locator(".gd-pane > figcaption")).to_contain_text(
        [re.compile(r"GAN: z-walk \(100 dims\)"), re.compile(r"Diffusion: xT-walk \(.* dims\)")]
    )
    expect(tab.locator(".gd-chart")).to_have_count(1)


def test_a_walk_is_made_played_and_kept_in_the_address(page, address):
    tab = opened(page, address)
    before = run_id(tab)
    choose(tab, frames=9, seeds="4, 8")
    tab.locator("#interpolate-run").click()
    expect(player(tab)).not_to_have_attribute("data-run", before, timeout=PATIENCE)
    wait_for(tab)
    expect(player(tab)).to_have_attribute("data-got", "9")
    expect(tab.get_by_placeholder("Ready.")).to_have_value(re.compile(r"^Done: GAN .* diffusion"))
    assert "seeds=4%2C+8" in tab.url and "frames=9" in tab.url
    asked = []
    tab.on("request", lambda request: asked.append(request.url))
    player(tab).focus()
    tab.keyboard.press("Home")
    expect(tab.locator(".gd-facts")).to_contain_text("seeds4")
    tab.keyboard.press("ArrowRight")
    expect(player(tab)).to_have_attribute("data-step", "1")
    expect(tab.locator(".gd-facts")).to_contain_text("4 → 8")
    assert [url for url in asked if "queue" not in url and "heartbeat" not in url] == []


def test_the_same_request_is_not_computed_again(page, address, studio):
    tab = opened(page, address)
    choose(tab, frames=5, seeds="14, 8")
    example = run_id(tab)
    tab.locator("#interpolate-run").click()
    expect(player(tab)).not_to_have_attribute("data-run", example, timeout=PATIENCE)
    wait_for(tab)
    first, calls = run_id(tab), []
    net = studio.model("tiny-diffusion").denoiser.net
    hook = net.register_forward_hook(lambda *_: calls.append(1))
    other = opened(page, address, "tab=interpolate&frames=5&seeds=14, 8")
    expect(player(other)).to_have_attribute("data-run", first, timeout=PATIENCE)
    wait_for(other)
    hook.remove()
    assert calls == []


def test_a_grid_between_four_seeds(page, address):
    tab = opened(page, address)
    before = run_id(tab)
    tab.get_by_label("Grid", exact=True).check()
    expect(tab.get_by_role("textbox", name="Seeds: four corners")).to_have_value("3, 12, 25, 40")
    expect(tab.get_by_label("number input for Frames")).to_be_hidden()
    tab.get_by_label("number input for Pictures a side").fill("3")
    tab.keyboard.press("Tab")
    tab.locator("#interpolate-run").click()
    expect(player(tab)).not_to_have_attribute("data-run", before, timeout=PATIENCE)
    wait_for(tab)
    expect(tab.locator(".gd-pane")).to_have_count(2)
    tiles = tab.locator(".gd-pane").first.locator(".gd-tile")
    expect(tiles).to_have_count(9)
    expect(tiles.nth(8)).to_have_attribute("aria-label", re.compile("seed 40"))
    tiles.nth(8).click()
    expect(tiles).to_have_count(1)


def test_a_link_runs_what_it_names(page, address):
    query = "view=grid&seeds=5, 6, 7, 9&side=2&path=lerp&label=2"
    tab = opened(page, address, f"tab=interpolate&{query}")
    expect(tab.locator(".gd-tile")).to_have_count(8)
    expect(tab.locator(".gd-note")).to_contain_text("class star")
    seeds = tab.get_by_role("textbox", name="Seeds: four corners")
    expect(seeds).to_have_value("5, 6, 7, 9")
    expect(tab.locator("#interpolate-run")).to_have_text("Make the grid")


def test_a_damaged_link_keeps_the_defaults(page, address):
    tab = opened(page, address, "tab=interpolate&seeds=cat&frames=1e9")
    expect(tab.get_by_test_id("toast-text").first).to_contain_text("seeds, frames")
    expect(tab.get_by_role("textbox", name="Seeds: two to four")).to_have_value("3, 12, 25")


def test_bad_seeds_are_one_sentence_and_nothing_is_lost(page, address):
    tab = opened(page, address)
    before = run_id(tab)
    choose(tab, seeds="1, 2, 3, 4, 5")
    tab.locator("#interpolate-run").click()
    said = tab.get_by_test_id("toast-text")
    expect(said).to_have_text("A walk leads through 2 to 4 seeds; you gave 5.", timeout=PATIENCE)
    assert run_id(tab) == before
    expect(player(tab)).to_have_attribute("data-state", "done")


def test_stop_really_stops(page, address, studio):
    tab = opened(page, address)
    choose(tab, frames=120, seeds="6, 16")
    calls = []

    def slow(*_) -> None:
        calls.append(1)
        time.sleep(0.05)

    hook = studio.model("tiny-diffusion").denoiser.net.register_forward_hook(slow)
    tab.locator("#interpolate-run").click()
    wait_for(tab, "live")
    for _ in range(600):  # a loaded machine takes its time to the first call
        if calls:
            break
        time.sleep(0.05)
    tab.locator("#interpolate-stop").click()
    wait_for(tab, "stopped")
    time.sleep(1)  # the call that ran, and the sign of life after it
    at_rest = len(calls)
    time.sleep(1)
    hook.remove()
    assert 0 < at_rest == len(calls) < 20 * 15
    expect(tab.get_by_placeholder("Ready.")).to_have_value("Stopped.")


def test_exports(page, address):
    tab = opened(page, address, "tab=interpolate&seeds=21,22&frames=5&loop=false&steps=2")
    expect(player(tab)).to_have_attribute("data-got", "5", timeout=PATIENCE)
    wait_for(tab)
    saved = {}
    for item in (
        *("Whole run (GIF)", "Whole run (WebP)", "Whole run (MP4)", "Strip of frames (PNG)"),
    ):
        tab.locator(".gd-menu > summary").click()
        with tab.expect_download(timeout=PATIENCE) as download:
            tab.get_by_role("button", name=item, exact=True).click()
        saved[download.value.suggested_filename] = download.value.path().read_bytes()
    pictures = {
        form: Image.open(io.BytesIO(saved[f"gendiff-interpolate.{form}"]))
        for form in ("gif", "webp", "png")
    }
    assert {form: (p.format, getattr(p, "n_frames", 1)) for form, p in pictures.items()} == {
        **{"gif": ("GIF", 5), "webp": ("WEBP", 5), "png": ("PNG", 1)}
    }
    factor, tall, wide = 25, 8 + 2 + 8, 8  # a tiny picture becomes 200 pixels wide
    assert pictures["png"].size == (5 * wide * factor + 4 * 2, tall * factor)
    assert saved["gendiff-interpolate.mp4"][4:8] == b"ftyp"


@pytest.mark.parametrize("look", ["light", "dark"])
def test_it_fits_the_window(page, address, look):
    tab = opened(page, address, f"tab=interpolate&__theme={look}")
    overflow = "document.documentElement.scrollWidth - innerWidth"
    bar = tab.locator(".gd-bar").bounding_box()
    assert bar["y"] + bar["height"] <= 720  # pictures and transport without scrolling
    assert tab.evaluate(overflow) <= 0
    tab.set_viewport_size({"width": 390, "height": 844})
    tab.wait_for_timeout(500)
    assert tab.evaluate(overflow) <= 0
