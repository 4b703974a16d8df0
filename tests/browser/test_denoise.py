"""The Denoise tab in a real Chromium, with a tiny model whose calls can be slowed and counted."""

from __future__ import annotations

import io
import time

import gradio as gr
import numpy as np
import pytest
from PIL import Image

from gendiff.studio import Studio
from gendiff.studio.denoising import Settings, prepare
from gendiff.ui import denoise
from gendiff.ui.exports import sheet
from gendiff.ui.parts import Page
from gendiff.ui.theme import SCRIPT, STYLE, theme

expect = pytest.importorskip("playwright.sync_api").expect
pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]
NAME = "tiny-diffusion"


class Calls:
    """Counts the network's calls, and makes each of them take a while."""

    def __init__(self) -> None:
        self.count, self.seconds = 0, 0.0

    def __call__(self, *_) -> None:
        self.count += 1
        time.sleep(self.seconds)


@pytest.fixture(scope="module")
def studio(saved):
    return Studio(saved, "cpu", "float32")


@pytest.fixture(scope="module")
def calls(studio):
    calls = Calls()
    studio.model(NAME).denoiser.net.register_forward_hook(calls)
    return calls


@pytest.fixture(autouse=True)
def fast(calls):
    yield
    calls.seconds = 0.0


@pytest.fixture(scope="module")
def app(studio, calls, serve):
    """This tab alone, served as the app serves it."""
    page = Page()
    with gr.Blocks(analytics_enabled=False) as demo:
        with gr.Tabs() as tabs, page.tab("denoise", "Denoise"):
            denoise.build(studio, page)
        page.wire(demo, tabs)
    script = SCRIPT.read_text(encoding="utf-8")
    return serve(demo.queue(), theme=theme(), css_paths=STYLE, js=script)


@pytest.fixture
def opened(page, app):
    """opened(query) opens the tab and waits until something is on show."""

    def open_tab(query: str = "", **options):
        tab = page(app + query, **options)
        expect(player(tab)).to_have_attribute("data-state", "done", timeout=30_000)
        return tab

    return open_tab


def player(tab):
    return tab.locator("#denoise-player .gd")


def fact(tab, name: str) -> str:
    return player(tab).locator(".gd-facts > div", has_text=name).first.locator("dd").text_content()


def run(tab, seeds: str) -> None:
    tab.locator("#denoise-seeds input, #denoise-seeds textarea").fill(seeds)
    before = player(tab).get_attribute("data-run")
    tab.locator("#denoise-run").click()
    expect(player(tab)).not_to_have_attribute("data-run", before)


def test_it_opens_with_an_example_that_says_so(opened):
    tab = opened()
    assert "Pre-computed: " in player(tab).locator(".gd-note").text_content()
    assert player(tab).get_attribute("data-n") == "51"
    assert player(tab).locator(".gd-pane").count() == 4


def test_a_link_runs_what_it_says(opened):
    tab = opened("?tab=denoise&seeds=5,9&steps=12&sampler=heun&label=2")
    expect(player(tab)).to_have_attribute("data-n", "13")
    captions = player(tab).locator(".gd-pane").first.locator(".gd-caption").all_text_contents()
    assert captions == ["seed 5, star", "seed 9, star"]
    assert fact(tab, "NFE") == "23"
    assert "steps=12" in tab.url and "sampler=heun" in tab.url


def test_a_damaged_link_is_one_sentence_and_the_rest_runs(opened):
    tab = opened("?tab=denoise&seeds=cat&steps=12&eta=7&label=99")
    warning = tab.get_by_test_id("toast-text")
    expect(warning).to_have_text(
        "This link has values that cannot be used (label, seeds, eta); defaults stand."
    )
    expect(player(tab)).to_have_attribute("data-n", "13")


def test_every_step_is_there_without_the_server(opened):
    tab = opened("?tab=denoise&seeds=7&steps=10&sampler=ddpm")
    asked = []
    tab.on("request", lambda request: asked.append(request.url))
    player(tab).focus()
    tab.keyboard.press("Home")
    expect(player(tab).locator(".gd-where")).to_have_text("step 0 / 10")
    current = player(tab).locator(".gd-code [aria-current]")
    expect(current).to_have_text("x_T ~ N(0, I)")
    seen = []
    for number in range(1, 11):
        tab.keyboard.press("ArrowRight")
        expect(player(tab)).to_have_attribute("data-step", str(number))
        expect(player(tab).locator(".gd-where")).to_have_text(f"step {number} / 10")
        seen.append((fact(tab, "ᾱ"), player(tab).locator(".gd-html b").text_content()))
    expect(current).to_have_text("return x₀")
    assert len(set(seen)) == 10
    tab.keyboard.press("Shift+ArrowLeft")
    expect(player(tab)).to_have_attribute("data-step", "0")
    tab.keyboard.press("End")
    expect(player(tab)).to_have_attribute("data-step", "10")
    # "settle", which no handler of this tab listens to, may be the only thing that is said
    assert asked == []


def test_the_pictures_are_the_networks(opened, studio):
    tab = opened("?tab=denoise&seeds=7&steps=10")
    moment = list(prepare(studio, Settings(NAME, (7,), steps=10)).moments())[6]
    player(tab).focus()
    tab.keyboard.press("Home")
    for _ in range(6):
        tab.keyboard.press("ArrowRight")
    expect(player(tab)).to_have_attribute("data-step", "6")
    read = """canvas => [...canvas.getContext("2d").getImageData(0, 0, 8, 8).data]"""
    expect(player(tab).locator(".gd-where")).to_have_text("step 6 / 10")
    for index, picture in enumerate(moment.pictures):
        shown = player(tab).locator(".gd-pane canvas").nth(index).evaluate(read)
        grey = np.array(shown, np.uint8).reshape(8, 8, 4)[..., :1]
        assert np.array_equal(grey, picture[0])


def test_steps_come_live_and_stop_stops(opened, calls):
    tab = opened()
    calls.seconds, before = 0.4, calls.count
    run(tab, "100-103")
    expect(player(tab)).to_have_attribute("data-state", "live")
    tab.wait_for_function("document.querySelector('#denoise-player .gd').dataset.got > 2")
    tab.locator("#denoise-stop").click()
    expect(player(tab)).to_have_attribute("data-state", "stopped")
    got = int(player(tab).get_attribute("data-got"))
    assert 2 < got < 51
    assert settled(calls) - before < 50
    player(tab).focus()
    tab.keyboard.press("Home")
    expect(player(tab)).to_have_attribute("data-step", "0")


def test_a_visitor_who_leaves_stops_the_work(opened, calls):
    tab = opened()
    calls.seconds, before = 0.4, calls.count
    run(tab, "200")
    tab.wait_for_function("document.querySelector('#denoise-player .gd').dataset.got > 2")
    tab.close()
    assert 2 <= settled(calls) - before < 50


def settled(calls: Calls) -> int:
    """The number of calls when no more are made for a second."""
    for _ in range(20):
        before = calls.count
        time.sleep(1)
        if calls.count == before:
            return before
    raise AssertionError("the network is still working for nobody")


@pytest.mark.parametrize(
    ("seeds", "said"),
    [
        ("cat", "'cat' is not"),
        ("1" + "0" * 30, "Seeds are whole numbers"),
        ("0-16", "at most 16 pictures"),
    ],
)
def test_bad_seeds_are_one_sentence_and_the_picture_stays(opened, seeds, said):
    tab = opened()
    before = player(tab).get_attribute("data-run")
    tab.locator("#denoise-seeds input, #denoise-seeds textarea").fill(seeds)
    tab.locator("#denoise-run").click()
    expect(tab.get_by_test_id("toast-text")).to_contain_text(said)
    assert player(tab).get_attribute("data-run") == before
    assert player(tab).get_attribute("data-state") == "done"
    assert player(tab).locator(".gd-pane canvas").first.is_visible()


def test_of_several_mistakes_the_last_one_is_said_until_the_next_run(opened):
    tab = opened()
    said = tab.get_by_test_id("toast-text").filter(visible=True)
    for seeds in ("cat", "-4", "0-16"):
        tab.locator("#denoise-seeds input, #denoise-seeds textarea").fill(seeds)
        tab.locator("#denoise-run").click()
        expect(said.last).to_contain_text(seeds if seeds != "0-16" else "at most 16 pictures")
    expect(said).to_have_count(1)
    ready = tab.locator(".status :is(input, textarea)")
    colour = ready.evaluate("field => getComputedStyle(field, '::placeholder').color")
    assert colour == "rgba(0, 0, 0, 0)"
    run(tab, "3")
    expect(said).to_have_count(0)


def test_more_steps_than_levels_are_one_sentence(opened):
    tab = opened()
    tab.get_by_text("More settings").click()
    tab.locator("#denoise-every").click()
    expect(tab.get_by_label("number input for Steps")).to_have_value("1000")
    tab.locator("#denoise-run").click()
    expect(tab.get_by_test_id("toast-text")).to_contain_text("from 1 to 100")


def save(tab, form: str) -> bytes:
    player(tab).locator(".gd-menu summary").click()
    with tab.expect_download() as download:
        player(tab).locator(f"button[data-format={form}]").click()
    assert download.value.suggested_filename == f"gendiff-denoise.{form}"
    return download.value.path().read_bytes()


def test_exports_hold_every_frame(opened, studio):
    tab = opened("?tab=denoise&seeds=7&steps=10")
    moments = list(prepare(studio, Settings(NAME, (7,), steps=10)).moments())
    with Image.open(io.BytesIO(save(tab, "webp"))) as film:
        assert film.n_frames == 11
        for index, moment in enumerate(moments):
            film.seek(index)
            wanted = sheet([moment.pictures[3]])[..., 0]
            assert np.array_equal(np.asarray(film.convert("L")), wanted)
    with Image.open(io.BytesIO(save(tab, "gif"))) as film:
        assert film.n_frames == 11
    assert save(tab, "mp4")[4:8] == b"ftyp"


@pytest.mark.parametrize(("width", "height"), [(1440, 900), (1280, 720), (390, 844)])
@pytest.mark.parametrize("mode", ["light", "dark"])
def test_it_fits_the_window(opened, width, height, mode):
    tab = opened(f"?__theme={mode}", viewport={"width": width, "height": height})
    assert tab.evaluate("document.documentElement.scrollWidth") <= width
    play = player(tab).locator(".gd-play").bounding_box()
    if width > 700:
        assert play["y"] + play["height"] <= height  # pictures and transport without scrolling
        button = tab.locator("#denoise-run").bounding_box()
        assert button["y"] + button["height"] <= height


FULL = """root => {
    const formula = root.querySelector(".gd-html");
    const lines = [...root.querySelectorAll(".gd-code li")];
    return {
        cut: formula.scrollWidth - formula.clientWidth,
        pane: root.querySelector(".gd-stage canvas").getBoundingClientRect().width,
        lines: new Set(lines.map((line) => line.offsetHeight)).size,
    };
}"""


@pytest.mark.parametrize("sampler", ["ddpm", "dpmpp_2m"])
def test_a_projectors_full_screen_shows_more_than_the_page(opened, sampler):
    tab = opened(f"?tab=denoise&sampler={sampler}&steps=5&seeds=7")
    expect(player(tab)).to_have_attribute("data-n", "6", timeout=60_000)
    expect(player(tab).locator(".gd-sum")).to_be_visible(timeout=60_000)
    before = player(tab).evaluate(FULL)
    player(tab).focus()
    tab.keyboard.press("f")
    expect(player(tab)).to_have_attribute("data-full", "")
    larger = "(pane) => document.querySelector('.gd-stage canvas').clientWidth > pane"
    tab.wait_for_function(larger, arg=before["pane"])
    full = player(tab).evaluate(FULL)
    assert full["cut"] <= 0 and full["lines"] == 1  # formula and algorithm are whole
