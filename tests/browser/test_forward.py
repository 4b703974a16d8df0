"""The Forward tab in a real Chromium, with the bundled diffusion models."""

from __future__ import annotations

import base64
import io
from urllib.parse import quote

import gradio as gr
import numpy as np
import pytest
from hub_fixtures import ID
from PIL import Image

from gendiff.studio import Studio
from gendiff.studio.fetched import Fetched
from gendiff.ui import build, examples, forward
from gendiff.ui.parts import Page
from gendiff.ui.theme import SCRIPT, STYLE, theme

expect = pytest.importorskip("playwright.sync_api").expect
pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]
SLOW = 60_000  # milliseconds for a run on a busy machine


@pytest.fixture(scope="module")
def studio():
    return Studio()


@pytest.fixture(scope="module")
def app(studio, serve):
    """This tab alone, served as the app serves it; its example is computed now."""
    page, patch = Page(), pytest.MonkeyPatch()
    made = forward.example(studio)
    bundled = examples.read
    patch.setattr(examples, "read", lambda tab: made if tab == "forward" else bundled(tab))
    with gr.Blocks(analytics_enabled=False) as demo:
        with gr.Tabs() as tabs, page.tab("forward", "Forward"):
            forward.build(studio, page)
        page.wire(demo, tabs)
    script = SCRIPT.read_text(encoding="utf-8")
    options = {"theme": theme(), "css_paths": STYLE, "js": script, "show_error": False}
    yield serve(demo.queue(), max_file_size="20mb", **options)
    patch.undo()


def player(tab):
    return tab.locator("#forward-player .gd")


def opened(tab):
    """The tab, once its example has arrived; at rest on a level in the middle."""
    expect(player(tab)).to_have_attribute("data-n", "1001", timeout=SLOW)
    tab.locator("#forward-player .gd-seek").fill("300")
    expect(player(tab)).to_have_attribute("data-state", "paused")
    return tab


def next_run(tab, act, note: str = "noise seed") -> str:
    """What is said about the run that `act` starts."""
    before = player(tab).get_attribute("data-run")
    act()
    expect(player(tab)).not_to_have_attribute("data-run", before, timeout=SLOW)
    expect(tab.locator("#forward-player .gd-note")).to_contain_text(note, timeout=SLOW)
    return tab.locator("#forward-player .gd-note").text_content()


def board(tab) -> np.ndarray:
    """The pad's pixels, (h, w, 4)."""
    return np.array(
        tab.evaluate("""() => {
          const board = document.querySelector("#forward-pad .gp-board");
          const { width, height } = board;
          const { data } = board.getContext("2d").getImageData(0, 0, width, height);
          return { data: [...data], shape: [height, width, 4] };
        }""")["data"],
        np.uint8,
    ).reshape(32, 32, 4)


def first_frame(tab) -> np.ndarray:
    """x_0 as the player shows it, (32, 32)."""
    tab.locator("#forward-player .gd-seek").fill("0")
    expect(tab.locator("#forward-player .gd-where")).to_contain_text("t 0 /")  # it is painted
    url = tab.evaluate(
        'document.querySelector("#forward-player .gd-stage canvas").toDataURL("image/png")'
    )
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(url.split(",")[1]))))[..., 0]


def upload(tab, name: str, data: bytes) -> None:
    with tab.expect_file_chooser() as choosing:
        tab.locator("#forward-upload").click()
    choosing.value.set_files({"name": name, "mimeType": "image/png", "buffer": data})


def test_it_opens_with_an_example_that_says_so(page, app):
    tab = page(app)
    expect(tab.locator("#forward-player .gd-note")).to_contain_text("Pre-computed", timeout=SLOW)
    expect(tab.locator("#forward-player .gd-stage canvas")).to_have_count(3)
    expect(tab.locator("#forward-pad .gp-item")).to_have_count(16)
    expect(tab.locator("#forward-player .gd-chart")).to_have_count(4)


def test_the_pictures_and_the_slider_need_no_scrolling(page, app):
    tab = opened(page(app))
    for part in (".gd-stage", ".gd-play", ".gd-seek"):
        box = tab.locator(f"#forward-player {part}").bounding_box()
        assert box["y"] >= 0 and box["y"] + box["height"] <= 720


def test_every_t_is_there_at_once_and_whole_after_a_rest(page, app):
    tab = opened(page(app))
    painted = tab.evaluate(
        """async () => {
            const root = document.querySelector("#forward-player .gd");
            const slider = root.querySelector(".gd-seek"), canvas = root.querySelector("canvas");
            const look = () => canvas.getContext("2d").getImageData(0, 0, 32, 32).data.join();
            const seen = new Set();
            for (let t = 300; t < 340; t++) {
                slider.value = t;
                slider.dispatchEvent(new Event("input", { bubbles: true }));
                await new Promise(requestAnimationFrame);
                await 0;
                seen.add(look());
            }
            return seen.size;
        }"""
    )
    assert painted == 40  # each in the next frame that the browser paints: no server is asked
    got = int(player(tab).get_attribute("data-got"))
    tab.locator("#forward-player .gd-seek").fill("777")
    expect(tab.locator("#forward-player .gd-where")).to_have_text("t 777 / 1000")
    table = tab.locator("#forward-player .fw-words table")
    expect(table).to_contain_text("Chain, 777 steps", timeout=SLOW)
    assert int(player(tab).get_attribute("data-got")) > got
    expect(tab.locator("#forward-player .gd-old")).to_have_count(0)
    tab.wait_for_function("new URLSearchParams(location.search).get('t') === '777'")


def test_a_real_picture_is_chosen_and_stands_in_the_address(page, app):
    tab = opened(page(app))
    item = tab.locator("#forward-pad .gp-item").nth(2)
    said = next_run(tab, item.click)
    name = tab.locator("#forward-pad .gp-name").text_content()
    assert said.startswith(name)
    expect(item).to_have_attribute("aria-pressed", "true")
    number = name.rsplit(" ", 1)[1]
    tab.wait_for_function(f"location.search.includes('picture={number}&')")
    assert player(tab).get_attribute("data-step") == "300"  # the same place on the way
    assert np.array_equal(first_frame(tab), board(tab)[..., 0])


def test_a_number_without_a_picture_is_answered_and_the_board_stays(page, app):
    tab = opened(page(app))  # an error in the console, as of an answer 500, fails it
    name = tab.locator("#forward-pad .gp-name").text_content()
    tab.get_by_text("More settings").click()
    number = tab.locator("#forward-picture input")
    number.fill("999")
    number.press("Enter")
    toast = tab.get_by_test_id("toast-text")
    expect(toast.last).to_contain_text("numbered 0 to 255; got 999", timeout=SLOW)
    assert tab.locator("#forward-pad .gp-name").text_content() == name


def test_a_drawing_is_noised_as_it_was_drawn(page, app):
    tab = opened(page(app))
    next_run(tab, tab.locator("#forward-pad .gp-clear").click, "your own picture")
    box = tab.locator("#forward-pad .gp-board").bounding_box()
    tab.mouse.move(box["x"] + 0.25 * box["width"], box["y"] + 0.5 * box["height"])
    tab.mouse.down()
    tab.mouse.move(box["x"] + 0.75 * box["width"], box["y"] + 0.5 * box["height"], steps=4)
    next_run(tab, tab.mouse.up, "your own picture")
    drawn = board(tab)[..., 0]
    assert (drawn[15:17, 9:23] > 200).all()
    assert not drawn[:12].any() and not drawn[20:].any()
    assert np.array_equal(first_frame(tab), drawn)
    tab.wait_for_function("!location.search.includes('picture=')")


def test_an_upload_is_noised_and_a_bad_one_loses_nothing(page, app):
    tab = opened(page(app))
    buffer = io.BytesIO()
    Image.linear_gradient("L").save(buffer, "PNG")
    next_run(tab, lambda: upload(tab, "gradient.png", buffer.getvalue()), "your own picture")
    before, run = board(tab), player(tab).get_attribute("data-run")
    assert (np.diff(before[..., 0].astype(int), axis=0) > 0).all()
    bomb = io.BytesIO()
    Image.new("1", (20_000, 20_000)).save(bomb, "PNG")
    toast = tab.get_by_test_id("toast-text")
    for name, data, says in (
        ("text.png", b"no picture", "not a picture"),
        ("empty.png", b"", "empty"),
        ("cut.png", buffer.getvalue()[:300], "damaged"),
        ("bomb.png", bomb.getvalue(), "50 million"),
        ("film.png", bytes(21 * 2**20), "This file has 21 MB; choose one of at most 20 MB."),
    ):
        upload(tab, name, data)
        expect(toast.last).to_contain_text(says, timeout=SLOW)
    assert np.array_equal(board(tab), before)
    assert player(tab).get_attribute("data-run") == run


def test_a_schedule_that_keeps_the_picture_is_called_out(page, app):
    tab = opened(page(app))
    meter = tab.get_by_role("meter")
    gauge = tab.locator("#forward-gauge")
    expect(gauge).to_contain_text("Good")
    calm = meter.locator("i").evaluate("bar => getComputedStyle(bar).backgroundColor")
    next_run(tab, tab.get_by_role("button", name="Linear, T = 200", exact=True).click)
    expect(gauge).to_contain_text("36.4 %")
    expect(gauge).to_contain_text("Too much")
    expect(meter).to_have_attribute("aria-valuenow", "36.36")
    assert meter.locator("i").evaluate("bar => getComputedStyle(bar).backgroundColor") != calm
    expect(tab.locator("#forward-player .fw-words")).to_contain_text("of the cosine schedule")
    tab.wait_for_function("location.search.includes('schedule=linear&T=200&p1=0.0001&p2=0.02')")


def test_only_the_schedules_own_parameters_are_seen(page, app):
    tab = opened(page(app))
    tab.get_by_text("More settings").click()
    offset = tab.get_by_label("s, the offset at t = 0", exact=True)
    expect(offset).to_be_visible()
    tab.locator("#forward-schedule input").click()
    next_run(tab, tab.get_by_role("option", name="Sigmoid").click)
    for label, value in (("start", "-3"), ("end", "3"), ("τ", "1")):
        expect(tab.get_by_label(label, exact=True)).to_have_value(value)
    expect(offset).to_have_count(0)
    tab.get_by_label("τ", exact=True).fill("99")
    expect(tab.locator("#forward-gauge")).to_contain_text("tau goes from 0.05 to 20; got 99.")


def test_arrow_keys_on_the_number_of_steps_count(page, app):
    tab = opened(page(app))
    steps = tab.locator("#forward-T input[type=range]")
    next_run(tab, lambda: steps.press("ArrowLeft"))
    expect(player(tab)).to_have_attribute("data-n", "1000", timeout=SLOW)  # t = 0 .. 999


def test_a_link_that_names_a_schedule_alone_has_its_defaults(page, app):
    tab = page(app + "?tab=forward&schedule=linear&T=20")
    tab.wait_for_function("document.querySelector('#forward-T input')?.value === '20'")
    tab.wait_for_function(
        "document.querySelector('#forward-player [data-state]')?.dataset.n === '21'"
    )
    assert tab.locator(".toast-body").count() == 0


def test_a_link_reproduces_the_view(page, app):
    levels = "schedule=sigmoid&T=500&p1=-4&p2=3&p3=0.8"
    tab = page(f"{app}?tab=forward&model=cats-diffusion&picture=3&{levels}&seed=4&t=123")
    note = tab.locator("#forward-player .gd-note")
    expect(note).to_contain_text("real picture 3, noise seed 4; 51 network calls", timeout=SLOW)
    assert "Cartoon cats" in note.text_content()
    axis = tab.locator("#forward-player .gd-chart svg").first
    expect(axis).to_contain_text("500")
    expect(tab.locator("#forward-pad .gp-name")).to_contain_text("real picture 3")
    # Six colours instead of three: all tools stay in the rail.
    rail, clear = (tab.locator(part).bounding_box() for part in (".rail", ".gp-clear"))
    assert clear["x"] + clear["width"] <= rail["x"] + rail["width"]
    expect(tab.locator("#forward-gauge")).to_contain_text("T = 500")
    # t is no key level: the chain and the guess follow, and the address keeps it.
    expect(player(tab)).to_have_attribute("data-step", "123")
    expect(player(tab)).to_have_attribute("data-got", "52", timeout=SLOW)
    expect(tab.locator("#forward-player .fw-words")).to_contain_text("Chain, 123 steps")
    tab.wait_for_function("new URLSearchParams(location.search).get('t') === '123'")


def test_new_noise_is_other_noise_at_the_same_place(page, app):
    tab = opened(page(app))
    said = next_run(tab, tab.locator("#forward-new").click)
    assert "noise seed 0;" not in said
    assert player(tab).get_attribute("data-step") == "300"


@pytest.mark.parametrize("theme_name", ["light", "dark"])
def test_nothing_is_wider_than_a_phone(page, app, theme_name):
    tab = page(f"{app}?__theme={theme_name}", viewport={"width": 390, "height": 844})
    expect(player(tab)).to_have_attribute("data-n", "1001", timeout=SLOW)
    assert tab.evaluate("document.documentElement.scrollWidth") <= 390


def test_a_link_to_a_model_without_real_pictures_asks_for_one(page, serve, saved, settings, repo):
    """A model from the Hub, fetched after the page was built."""
    studio = Studio(saved, "cpu", "float32", Fetched(settings))
    demo = build(studio)
    list(studio.fetched.pull(ID))
    app = serve(demo.queue(), theme=theme(), css_paths=STYLE, js=SCRIPT.read_text("utf-8"))
    tab = page(f"{app}?tab=forward&model={quote(ID, '')}&steps=3")
    expect(tab.locator("#forward-player")).to_contain_text(
        "draw or upload a picture", timeout=SLOW
    )
    expect(tab.locator("#forward-pad .gp-name")).to_have_text("Draw or upload a picture")
    expect(tab.locator("#forward-pad .gp-item")).to_have_count(0)
    assert not tab.get_by_test_id("toast-text").all_inner_texts()
    box = tab.locator("#forward-pad .gp-board").bounding_box()
    tab.mouse.move(box["x"] + 20, box["y"] + 20)
    tab.mouse.down()
    tab.mouse.move(box["x"] + 60, box["y"] + 60)
    tab.mouse.up()
    expect(player(tab)).to_have_attribute("data-n", "1001", timeout=SLOW)
    expect(tab.locator("#forward-player .gd-note")).to_contain_text("your own picture")
