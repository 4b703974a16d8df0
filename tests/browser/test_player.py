"""The player in a real browser: what was sent is what is seen, and everything is reachable."""

from __future__ import annotations

import io
import re
import threading
import time

import gradio as gr
import numpy as np
import pytest
from PIL import Image

from gendiff.ui.player import (
    Curve,
    Fade,
    Frame,
    Histogram,
    Pane,
    Player,
    Run,
    batch,
    idle,
    stopped,
)
from gendiff.ui.streaming import stream
from gendiff.ui.theme import SCRIPT

expect = pytest.importorskip("playwright.sync_api").expect
pytestmark = [pytest.mark.browser, pytest.mark.timeout(180)]

BUTTONS = ["live", "other", "long", "ready", "same", "many", "repeat", "stop", "idle", "gate"]
EVIL = "<img src=x onerror='window.hacked=1'>"


def pixels(k: int, pane: int, count: int, h: int, w: int, c: int = 3) -> np.ndarray:
    """Noise that depends on the frame and the pane: no two frames are alike."""
    draw = np.random.default_rng([k, pane])
    return draw.integers(0, 256, (count, h, w, c), dtype=np.uint8)


def denoising(n: int, count: int = 16, size: int = 32, **options) -> tuple[Run, list]:
    names = ("x_t", "eps", "x0", "x_{t-1}")
    run = Run(
        n,
        [Pane(name, name, size, size, 3, count, columns=4) for name in names],
        "Denoising",
        curves=[Curve("log-SNR", np.linspace(-5, 5, n), None, "nats")],
        code=["for t = T, ..., 1:", "    eps = network(x_t, t)", "return x_0"],
        **{"captions": [f"seed {i}" for i in range(count)], **options},
    )

    def frame(k: int) -> Frame:
        arrays = [pixels(k, pane, count, size, size) for pane in range(4)]
        facts = {"t": n - k, "alpha_bar_t": (k + 1) / (n + 1)}
        return Frame(arrays, facts, f"<b>{k}</b>{EVIL}<script>hacked=1</script>", k % 3)

    return run, [frame(k) for k in range(n)]


def slowly(frames, seconds: float):
    for frame in frames:
        time.sleep(seconds)
        yield frame


def grid() -> dict:
    captions = [EVIL] + [f"seed {i}" for i in range(1, 64)]
    run = Run(1, [Pane("x", "", 16, 16, 3, 64)], "Samples", captions=captions)
    return run.whole([Frame([pixels(0, 0, 64, 16, 16)])])


def forward(n: int = 41) -> dict:
    run = Run(
        n,
        [Pane("x", "x_t", 16, 16, 1)],
        "Noising",
        curves=[Curve("alpha_bar", np.linspace(1, 0, n)), Curve("log-SNR", [np.inf] * n)],
        autoplay=False,
        note="pre-computed example, seed 0",
    )
    hist = Histogram([1, 2, 3, 2], -4, 4)
    return run.whole([Frame([pixels(k, 0, 1, 16, 16, 1)], {"t": k}, hist=hist) for k in range(n)])


KEYS, LAST = [0, 10, 20, 30, 40], 40
PART = np.random.default_rng(5)
X0, EPS = (PART.normal(scale=s, size=(16, 16, 1)).astype("f4") for s in (0.5, 1))


def faded(k: int) -> np.ndarray:
    """What the server makes of frame k: images.to_uint8."""
    x = (1 - k / LAST) * X0.astype(float) + k / LAST * EPS.astype(float)
    return np.rint((x.astype("f4") + np.float32(1)) * np.float32(127.5)).clip(0, 255)


def in_part():
    """A run of which every tenth frame is sent, and a listener that sends the others."""
    run = Run(
        LAST + 1,
        [Pane("x", "x_t", 16, 16, 1), Pane("y", "other", 16, 16, 1)],
        "Part",
        noun="t",
        first=0,
        autoplay=False,
        keys=KEYS,
        facts={"signal": [f"{LAST - k} parts" for k in range(LAST + 1)]},
        fade=Fade("x", X0, EPS, *([abs(e - k / LAST) for k in range(LAST + 1)] for e in (1, 0))),
    )

    def frame(k: int) -> Frame:
        arrays = [faded(k)[None].astype(np.uint8), pixels(k, 1, 1, 16, 16, 1)]
        hist = Histogram([1, 2, 3, 2], -1, 1)
        return Frame(arrays, {"error": k}, f"<b>{k}</b>", hist=hist)

    def more(event: gr.EventData):
        told = event._data
        if told["here"] or told["run"] != run.run or told["frame"] == 7:
            return gr.skip()
        return run.frames([told["frame"]], [frame(told["frame"])])

    return run.whole([frame(k) for k in KEYS]), more


def app() -> gr.Blocks:
    whole, gate = denoising(30, 4, 16), threading.Event()

    def live(n: float, seconds: float):
        run, frames = denoising(int(n))
        yield from stream(run, slowly(frames, seconds))

    def long():
        """Ignores Stop: 11 frames, and the others when the gate opens, late as they may be."""
        run, frames = denoising(40, 4, 16)
        for k, frame in enumerate(frames):
            head = [run.start()] if k == 0 else []
            yield batch(*head, run.frames(k, [frame]))
            if k == 10:
                gate.clear()
                gate.wait(120)
        yield run.end(n=40)

    def ready(k: int):
        run, frames = denoising(int(k), 4, 16)
        return run.whole(frames)

    def repeat():
        run = Run(
            6,
            [Pane("a", "a", 16, 16, previous="b"), Pane("b", "b", 16, 16), Pane("c", "c", 16, 16)],
            "Repeat",
            code=["none", "one", "two", "three"],
            lines=[None, None, "b", "c"],
        )
        made = [Frame([pixels(k, p, 1, 16, 16) for p in (1, 2)], line=(1, 2, 3)) for k in range(6)]
        return run.whole(made)

    def thousand():
        run = Run(1000, [Pane("x", "", 16, 16, 1)], "Thousand", strip=None)
        yield from stream(run, (Frame([pixels(k, 0, 1, 16, 16, 1)]) for k in range(1000)))

    with gr.Blocks() as demo:
        with gr.Tabs():
            with gr.Tab("One"):
                n, seconds = gr.Number(100, elem_id="n"), gr.Number(0.0, elem_id="seconds")
                buttons = {name: gr.Button(name, elem_id=name) for name in BUTTONS}
                player = Player(
                    elem_id="one", placeholder="Press it", exports=["gif", "mp4"], label="Empty"
                )
                heard = {name: gr.Textbox(elem_id=name) for name in ("settle", "pick", "export")}
                done, late = gr.Textbox(elem_id="done"), gr.Textbox(elem_id="late")
            with gr.Tab("Two"):
                other = Player(elem_id="two")
            with gr.Tab("Grid"):
                picker = Player(grid(), elem_id="grid")
                picked = gr.Textbox(elem_id="picked")
            with gr.Tab("Forward"):
                Player(forward(), elem_id="forward")
            with gr.Tab("Part", id="part", elem_id="tab-part"):
                start, more = in_part()
                part = Player(start, elem_id="part")
            with gr.Tab("Pair"):
                Player(forward(5), elem_id="left")
                Player(forward(5), elem_id="right")
        quiet = {"show_progress": "hidden"}
        buttons["live"].click(live, [n, seconds], player, **quiet).then(lambda: "yes", None, done)
        buttons["other"].click(live, [n, seconds], other, **quiet).then(lambda: "yes", None, done)
        buttons["long"].click(long, None, player, **quiet).then(lambda: "yes", None, late)
        buttons["gate"].click(gate.set, None, None, queue=False)
        buttons["ready"].click(ready, n, player, **quiet)
        buttons["same"].click(lambda: whole[0].whole(whole[1]), None, player, **quiet)
        buttons["many"].click(thousand, None, player, **quiet)
        buttons["repeat"].click(repeat, None, player, **quiet)
        buttons["stop"].click(lambda: stopped(), None, player, queue=False, **quiet)
        buttons["idle"].click(lambda: idle(), None, player, **quiet)
        for name, box in heard.items():
            getattr(player, name)(hear, box, box, **quiet)
        picker.pick(hear, picked, picked, **quiet)
        part.settle(more, None, part, **quiet)
    return demo


def hear(before: str, event: gr.EventData) -> str:
    facts = {key: value for key, value in event._data.items() if key != "run"}
    return f"{before}{facts};"


@pytest.fixture(scope="module")
def url(serve, browser) -> str:
    return serve(app())


def finished(page, box: str = "done") -> None:
    """Until the handler of a run has ended."""
    page.wait_for_function(f"document.querySelector('#{box} textarea').value === 'yes'")


def heard(page, count: int, box: str) -> list[str]:
    """What a listener in Python has heard, as soon as it is `count` events."""
    many = f"document.querySelector('#{box} textarea').value.split(';').length > {count}"
    page.wait_for_function(many)
    return page.locator(f"#{box} textarea").input_value().split(";")[:-1]


def root(page, name: str = "one"):
    return page.locator(f"#{name} .gd")


def wait(page, name: str = "one", **facts) -> None:
    """Until the player's data attributes are these."""
    wanted = "".join(f"[data-{key}='{value}']" for key, value in facts.items())
    page.wait_for_selector(f"#{name} .gd{wanted}", state="attached")


def press(page, name: str, **fields) -> None:
    for field, value in fields.items():
        page.locator(f"#{field} input").fill(str(value))
    page.locator(f"#{name}").click()


def seek(page, step: int, name: str = "one") -> None:
    """Move the slider as a hand does, and wait for the next painted frame."""
    page.locator(f"#{name} .gd-seek").evaluate(
        """(slider, step) => new Promise((done) => {
            slider.value = step;
            slider.dispatchEvent(new Event("input", { bubbles: true }));
            requestAnimationFrame(() => setTimeout(done));
        })""",
        step,
    )


def canvas(page, pane: int = 0, name: str = "one") -> np.ndarray:
    """What the canvas holds, (H, W, 4)."""
    shape, data = (
        page.locator(f"#{name} .gd-frame canvas")
        .nth(pane)
        .evaluate(
            """(canvas) => {
            const { width, height } = canvas;
            const data = canvas.getContext("2d").getImageData(0, 0, width, height).data;
            return [[height, width], Array.from(data)];
        }"""
        )
    )
    return np.array(data, np.uint8).reshape(*shape, 4)


def laid_out(arrays: np.ndarray, columns: int, gap: int) -> np.ndarray:
    """The grid as the canvas should hold it: transparent gaps, opaque pictures."""
    count, h, w, c = arrays.shape
    rows = -(-count // columns)
    sheet = np.zeros((rows * h + (rows - 1) * gap, columns * w + (columns - 1) * gap, 4), np.uint8)
    for i, one in enumerate(arrays):
        y, x = (i // columns) * (h + gap), (i % columns) * (w + gap)
        sheet[y : y + h, x : x + w, :3] = one
        sheet[y : y + h, x : x + w, 3] = 255
    return sheet


def test_a_live_run_is_kept_whole_and_shown_exactly(page, url):
    opened = page(url)
    wait(opened, state="idle", n=0)
    assert root(opened).locator(".gd-empty").inner_text() == "Press it"
    press(opened, "live", n=100)
    wait(opened, state="live")
    wait(opened, state="done", got=100, n=100, step=99)
    for step in (0, 37, 98):
        seek(opened, step)
        for pane in range(4):
            want = laid_out(pixels(step, pane, 16, 32, 32), 4, 2)
            assert np.array_equal(canvas(opened, pane), want)
        assert root(opened).locator(".gd-html").inner_html() == f"<b>{step}</b>"
    assert opened.evaluate("window.hacked") is None


def test_scrubbing_paints_in_the_next_frame_and_asks_nobody(page, url):
    opened = page(url)
    press(opened, "ready", n=30)
    wait(opened, got=30)
    opened.keyboard.press("Escape")
    seek(opened, 0)
    opened.wait_for_timeout(500)  # what the first rest tells the server
    asked = []
    opened.on("request", lambda request: asked.append(request.url))
    painted = opened.evaluate(
        """async () => {
            const slider = document.querySelector("#one .gd-seek");
            const canvas = document.querySelector("#one .gd-frame canvas");
            const look = () => canvas.getContext("2d").getImageData(0, 0, 8, 8).data.join();
            const seen = new Set();
            for (let step = 1; step < 30; step++) {
                slider.value = step;
                slider.dispatchEvent(new Event("input", { bubbles: true }));
                await new Promise(requestAnimationFrame);
                await 0;
                seen.add(look());
            }
            return seen.size;
        }"""
    )
    assert painted == 29
    # A pause of 150 ms tells the server of a rest; a busy machine may make one. No step asks.
    assert len(asked) < 10


def test_a_tab_that_was_never_opened_gets_every_frame_and_plays_them(page, url):
    opened = page(url)
    press(opened, "other", n=60)
    finished(opened)
    opened.get_by_role("tab", name="Two", exact=True).click()
    wait(opened, "two", got=60, state="playing")
    wait(opened, "two", got=60, state="done", step=59)
    seek(opened, 11, "two")
    assert np.array_equal(canvas(opened, 2, "two"), laid_out(pixels(11, 2, 16, 32, 32), 4, 2))


def test_a_tab_opened_during_a_run_catches_up(page, url):
    opened = page(url)
    press(opened, "other", n=60, seconds=0.2)
    opened.wait_for_timeout(1500)
    opened.get_by_role("tab", name="Two", exact=True).click()
    wait(opened, "two", state="live")
    opened.get_by_role("tab", name="One", exact=True).click()
    opened.get_by_role("tab", name="Two", exact=True).click()
    wait(opened, "two", got=60, state="done")


def test_stop_keeps_what_came_drops_what_comes_and_a_new_run_starts(page, url):
    opened = page(url)
    press(opened, "long")
    wait(opened, state="live", got=11)
    press(opened, "stop")
    wait(opened, state="stopped", got=11)
    expect(root(opened).locator(".gd-status")).to_have_text("Stopped after 11 of 40")
    press(opened, "gate")
    finished(opened, "late")
    assert root(opened).get_attribute("data-got") == "11"
    assert root(opened).get_attribute("data-state") == "stopped"
    press(opened, "live", n=20)
    wait(opened, state="done", got=20, n=20)


def test_a_new_run_replaces_the_old_one_whose_messages_are_dropped(page, url):
    opened = page(url)
    press(opened, "long")
    wait(opened, state="live", got=11)
    press(opened, "live", n=20)
    wait(opened, state="done", got=20, n=20)
    press(opened, "gate")
    finished(opened, "late")
    assert root(opened).get_attribute("data-got") == "20"
    assert root(opened).get_attribute("data-state") == "done"


def test_what_arrives_at_once_is_played_and_played_again(page, url):
    opened = page(url)
    opened.wait_for_selector("#one .gd")
    opened.evaluate(
        """() => {
            window.played = [];
            const player = document.querySelector("#one .gd");
            const note = ({ state, step }) => played.push([state, Number(step)]);
            new MutationObserver(() => note(player.dataset))
                .observe(player, { attributeFilter: ["data-state", "data-step"] });
        }"""
    )
    for _ in range(2):  # the second message equals the first
        opened.evaluate("played.length = 0")
        press(opened, "same")
        opened.wait_for_function("played.some(([state]) => state === 'playing')")
        wait(opened, state="done", step=29)
        assert min(step for state, step in opened.evaluate("played") if state == "playing") < 5


def test_reduced_motion_rests_at_the_end(page, url):
    opened = page(url, reduced_motion="reduce")
    opened.wait_for_selector("#one .gd")
    opened.evaluate(
        """() => {
            window.states = [];
            const player = document.querySelector("#one .gd");
            const watcher = new MutationObserver(() => states.push(player.dataset.state));
            watcher.observe(player, { attributes: true });
        }"""
    )
    press(opened, "ready", n=12)
    wait(opened, state="done", step=11)
    states = opened.evaluate("states")
    assert "done" in states and "playing" not in states


def test_keys(page, url):
    opened = page(url)
    press(opened, "ready", n=30)
    wait(opened, got=30)
    player = root(opened)
    player.focus()
    for key, step in [
        ("Home", 0), ("ArrowRight", 1), ("Shift+ArrowRight", 11), ("ArrowLeft", 10),
        ("Shift+ArrowLeft", 0), ("ArrowLeft", 0), ("End", 29), ("ArrowRight", 29),
    ]:  # fmt: skip
        opened.keyboard.press(key)
        wait(opened, state="paused", step=step)
    opened.keyboard.press("Space")
    wait(opened, state="playing")
    opened.keyboard.press("Space")
    wait(opened, state="paused")
    opened.keyboard.press("f")
    opened.wait_for_function("document.fullscreenElement?.matches('.gd')")
    assert player.get_attribute("data-full") == ""
    opened.keyboard.press("f")
    opened.wait_for_function("!document.fullscreenElement")
    assert player.get_attribute("data-full") is None
    slider = player.locator(".gd-seek")
    slider.focus()
    opened.keyboard.press("Home")
    opened.keyboard.press("Shift+ArrowRight")
    wait(opened, step=10)
    expect(slider).to_have_attribute("aria-valuetext", "step 11 of 30, t = 20")  # with the paint


def test_keys_without_a_focus_go_to_the_only_player_in_view(page, url):
    opened = page(url, viewport={"width": 1280, "height": 2400})
    opened.get_by_role("tab", name="Forward", exact=True).click()
    wait(opened, "forward", state="paused", step=0, n=41)
    opened.evaluate("document.activeElement.blur()")
    opened.keyboard.press("ArrowRight")
    wait(opened, "forward", step=1)
    opened.get_by_role("tab", name="Pair", exact=True).click()
    wait(opened, "left", state="paused", got=5)
    wait(opened, "right", state="paused", got=5)
    opened.evaluate("document.activeElement.blur()")
    opened.keyboard.press("ArrowRight")
    opened.wait_for_timeout(300)
    assert root(opened, "left").get_attribute("data-step") == "0"
    assert root(opened, "right").get_attribute("data-step") == "0"
    root(opened, "right").focus()
    opened.keyboard.press("ArrowRight")
    wait(opened, "right", step=1)
    assert root(opened, "left").get_attribute("data-step") == "0"


def test_settle_is_told_once_where_a_hand_comes_to_rest(page, url):
    opened = page(url)
    press(opened, "ready", n=30)
    wait(opened, got=30)
    root(opened).locator(".gd-seek").evaluate(
        """(slider) => {
            for (const step of [3, 9, 14, 21]) {
                slider.value = step;
                slider.dispatchEvent(new Event("input", { bubbles: true }));
            }
        }"""
    )
    heard(opened, 1, "settle")
    opened.wait_for_timeout(400)
    assert heard(opened, 1, "settle") == ["{'frame': 21, 'here': True}"]


def test_a_picture_of_a_grid_is_picked_by_hand_and_by_key(page, url):
    opened = page(url)
    opened.get_by_role("tab", name="Grid", exact=True).click()
    wait(opened, "grid", state="done", n=1, got=1)
    tiles = root(opened, "grid").locator(".gd-tile")
    assert tiles.count() == 64
    assert tiles.first.locator(".gd-caption").text_content() == EVIL
    assert opened.evaluate("window.hacked") is None
    columns = len(set(tiles.evaluate_all("tiles => tiles.map(tile => tile.style.left)")))
    tiles.nth(5).click()
    assert heard(opened, 1, "picked") == ["{'tile': 5, 'frame': 0}"]
    assert tiles.nth(5).get_attribute("aria-pressed") == "true"
    tiles.nth(5).focus()
    for key in ("ArrowRight", "ArrowDown", "ArrowLeft", "ArrowLeft"):
        opened.keyboard.press(key)
    assert opened.evaluate("document.activeElement.dataset.tile") == str(4 + columns)
    opened.keyboard.press("Enter")
    assert heard(opened, 2, "picked")[1] == f"{{'tile': {4 + columns}, 'frame': 0}}"


def test_a_picked_picture_of_a_run_is_shown_alone_and_escape_goes_back(page, url):
    opened = page(url)
    press(opened, "ready", n=6)
    wait(opened, got=6)
    seek(opened, 2)
    root(opened).locator(".gd-tile").nth(3).click()
    opened.wait_for_function("document.querySelector('#one canvas').width === 16")
    opened.wait_for_timeout(100)
    for pane in range(4):
        assert np.array_equal(canvas(opened, pane)[:, :, :3], pixels(2, pane, 4, 16, 16)[3])
    assert root(opened).get_by_role("button", name="All 4", exact=True).is_visible()
    root(opened).focus()
    opened.keyboard.press("ArrowRight")
    wait(opened, step=3)
    opened.wait_for_timeout(100)
    assert np.array_equal(canvas(opened)[:, :, :3], pixels(3, 0, 4, 16, 16)[3])
    opened.keyboard.press("Escape")
    opened.wait_for_function("document.querySelector('#one canvas').width === 67")
    assert heard(opened, 1, "pick") == ["{'tile': 3, 'frame': 2}"]


def test_facts_curves_code_and_histogram_follow_the_frame(page, url):
    opened = page(url)
    press(opened, "ready", n=30)
    wait(opened, got=30)
    seek(opened, 10)
    player = root(opened)
    assert player.locator("dt").all_inner_texts() == ["t", "ᾱt"]
    assert player.locator("dd").all_inner_texts() == ["20", "0.3548"]
    assert player.locator("[aria-current]").inner_text().strip() == "eps = network(x_t, t)"
    assert player.locator(".gd-chart b").inner_text() == "−1.552 nats"
    chart = player.locator(".gd-chart svg")
    chart.click(position={"x": chart.bounding_box()["width"] - 2, "y": 20})
    wait(opened, step=29)
    player.locator(".gd-thumb").first.click()
    wait(opened, step=0)
    opened.get_by_role("tab", name="Forward", exact=True).click()
    bars = root(opened, "forward").locator(".gd-bars").get_attribute("d")
    heights = [float(y) for y in re.findall(r"V([\d.]+)H", bars)]
    assert heights[2] < heights[1] == heights[3] < heights[0]
    assert root(opened, "forward").locator(".gd-chart b").all_inner_texts() == ["1", "–"]
    assert root(opened, "forward").locator(".gd-note").inner_text().startswith("pre-computed")


def test_the_picture_is_saved_as_png_and_other_formats_are_asked_for(page, url):
    opened = page(url)
    press(opened, "ready", n=6)
    wait(opened, got=6)
    seek(opened, 4)
    menu = root(opened).locator(".gd-menu summary")
    menu.click()
    with opened.expect_download() as download:
        root(opened).get_by_role("button", name="This picture (PNG)").click()
    with open(download.value.path(), "rb") as file:
        saved = np.asarray(Image.open(io.BytesIO(file.read())))
    sheet = laid_out(pixels(4, 0, 4, 16, 16), 4, 1)
    scale = saved.shape[0] // sheet.shape[0]
    assert scale >= 4
    assert np.array_equal(saved[::scale, ::scale][:, : sheet.shape[1]], sheet)
    assert np.array_equal(saved[scale - 1 :: scale, scale - 1 :: scale][:, :67], sheet)
    menu.click()
    root(opened).get_by_role("button", name="Whole run (GIF)").click()
    assert heard(opened, 1, "export") == ["{'frame': 4, 'tile': None, 'format': 'gif'}"]


def test_speed_and_loop(page, url):
    opened = page(url)
    press(opened, "ready", n=30)
    wait(opened, got=30)
    root(opened).get_by_label("Speed").select_option("4")
    root(opened).get_by_role("button", name="Loop").click()
    seek(opened, 25)
    root(opened).get_by_role("button", name="Play").click()
    wait(opened, state="playing", step=3)  # past the end, from the start
    opened.wait_for_timeout(1000)
    wait(opened, state="playing")
    root(opened).get_by_role("button", name="Pause").click()
    wait(opened, state="paused")


def test_a_thousand_frames_all_arrive_and_can_be_reached(page, url):
    opened = page(url)
    press(opened, "many")
    wait(opened, got=1000)
    for step in (0, 500, 999):
        seek(opened, step)
        assert np.array_equal(canvas(opened)[:, :, :1], pixels(step, 0, 1, 16, 16, 1)[0])


def open_part(page, url, query=""):
    opened = page(url + query)
    opened.get_by_role("tab", name="Part", exact=True).click()
    wait(opened, "part", state="paused", n=41)
    return opened


def test_between_the_frames_that_were_sent_the_browser_computes_the_same_bytes(page, url):
    opened = open_part(page, url)
    for k in (3, 7, 21, 39):
        seek(opened, k, "part")
        assert np.array_equal(canvas(opened, 0, "part")[:, :, :1], faded(k))
    seek(opened, 7, "part")  # of which the server says nothing
    player = root(opened, "part")
    assert player.locator(".gd-where").inner_text() == "t 7 / 40"
    assert player.locator("dd").all_inner_texts() == ["33 parts", "…"]
    assert np.array_equal(canvas(opened, 1, "part")[:, :, :1], pixels(10, 1, 1, 16, 16, 1)[0])
    classes = player.locator(".gd-pane").evaluate_all("panes => panes.map(p => p.className)")
    assert ["gd-old" in one for one in classes] == [False, True]
    x = np.clip((1 - 7 / LAST) * X0 + 7 / LAST * EPS, -0.999, 0.999)
    counts = np.histogram(x, np.linspace(-1, 1, 5))[0]
    bars = player.locator(".gd-bars").get_attribute("d")
    heights = [float(y) for y in re.findall(r"V([\d.]+)H", bars)]
    tall = [min(count / 256 / 0.5, 0.8) for count in counts]
    assert heights == pytest.approx([118 - h / 0.8 * 110 for h in tall], abs=0.06)


def test_where_somebody_rests_the_rest_of_a_frame_follows(page, url):
    opened = open_part(page, url)
    seek(opened, 23, "part")
    wait(opened, "part", got=6, step=23)
    player = root(opened, "part")
    expect(player.locator("dd")).to_have_text(["17 parts", "23"])
    assert player.locator(".gd-html").inner_text() == "23"
    assert np.array_equal(canvas(opened, 1, "part")[:, :, :1], pixels(23, 1, 1, 16, 16, 1)[0])
    assert player.locator(".gd-old").count() == 0
    player.focus()
    opened.keyboard.press("ArrowRight")
    wait(opened, "part", got=7, step=24)


def test_a_run_in_part_plays_what_was_sent(page, url):
    opened = open_part(page, url)
    opened.evaluate(
        """() => {
            window.steps = new Set();
            const player = document.querySelector("#part .gd");
            new MutationObserver(() => steps.add(Number(player.dataset.step)))
                .observe(player, { attributeFilter: ["data-step"] });
        }"""
    )
    root(opened, "part").get_by_role("button", name="Play", exact=True).click()
    wait(opened, "part", state="done", step=40)
    assert set(opened.evaluate("[...steps]")) <= set(KEYS)


def test_a_pane_that_repeats_another_shows_the_frame_before(page, url):
    opened = page(url)
    press(opened, "repeat")
    wait(opened, got=6)
    for k in (0, 3, 5):
        seek(opened, k)
        before = pixels(k - 1, 1, 1, 16, 16) if k else np.full((1, 16, 16, 3), 128, np.uint8)
        assert np.array_equal(canvas(opened, 0)[:, :, :3], before[0])
        assert np.array_equal(canvas(opened, 1)[:, :, :3], pixels(k, 1, 1, 16, 16)[0])


def test_several_lines_are_marked_in_turn_and_the_last_one_stays(page, url):
    opened = page(url)
    press(opened, "repeat")
    wait(opened, got=6)
    opened.evaluate(
        """() => {
            window.marked = [];
            const code = document.querySelector("#one .gd-code");
            new MutationObserver(() => {
                const made = document.querySelector("#one .gd-made figcaption");
                marked.push([code.querySelector("[aria-current]")?.innerText, made?.innerText]);
            }).observe(code, { subtree: true, attributes: true });
        }"""
    )
    seek(opened, 2)
    expect(root(opened).locator(".gd-code [aria-current]")).to_have_text("three")
    seen = list(dict.fromkeys(map(tuple, opened.evaluate("marked"))))
    assert [one for one in seen if one[0]][-3:] == [("one", None), ("two", "b"), ("three", "c")]


def test_a_link_names_a_frame_and_the_address_follows_the_hand(page, url):
    with_address = page(url + "?tab=part&t=23")
    script = SCRIPT.read_text(encoding="utf-8")
    with_address.evaluate(f"({script})()")  # the app gives it to launch; this page has it now
    with_address.get_by_role("tab", name="Part", exact=True).click()
    wait(with_address, "part", state="paused", step=23)
    root(with_address, "part").focus()
    with_address.keyboard.press("ArrowRight")
    with_address.wait_for_function("location.search === '?tab=part&t=24'")
    with_address.keyboard.press("Space")
    wait(with_address, "part", state="done", step=40)
    with_address.wait_for_function("location.search === '?tab=part'")


def test_idle_empties_the_player(page, url):
    opened = page(url)
    press(opened, "ready", n=6)
    wait(opened, got=6)
    press(opened, "idle")
    wait(opened, state="idle", n=0, got=0)
    assert root(opened).locator("canvas").count() == 0
    assert root(opened).locator(".gd-empty").is_visible()


@pytest.mark.parametrize("width, height", [(1280, 720), (1440, 900), (390, 844)])
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_it_fits_the_screen_and_the_finger(page, url, width, height, theme):
    opened = page(f"{url}?__theme={theme}", viewport={"width": width, "height": height})
    press(opened, "ready", n=30)
    wait(opened, got=30)
    opened.keyboard.press("Escape")
    assert opened.evaluate("document.documentElement.scrollWidth <= innerWidth")
    stage, bar = (root(opened).locator(part).bounding_box() for part in (".gd-stage", ".gd-bar"))
    assert stage["height"] <= 0.53 * height + 40
    if width > 1000:
        assert bar["y"] + bar["height"] - stage["y"] < 0.8 * height
    controls = ".gd-bar :is(button:not(.gd-thumb), summary, select)"
    for control in root(opened).locator(controls).all():
        box = control.bounding_box()
        if box:  # what is not in a closed menu
            assert box["height"] >= 44 and box["width"] >= 44
    for frame in root(opened).locator("canvas").all():
        box = frame.bounding_box()
        assert box["x"] >= 0 and box["x"] + box["width"] <= width


def test_it_is_named_and_announced(page, url):
    opened = page(url)
    assert root(opened).get_attribute("aria-label") == "Empty"
    press(opened, "live", n=5)
    wait(opened, state="done", got=5)
    group = opened.get_by_role("group", name="Denoising")
    assert group.get_by_role("slider", name="step").count() == 1
    assert group.get_by_role("img", name="Denoising: x_t", exact=True).count() == 1
    live = group.locator("[aria-live=polite]")
    # Five frames may come so fast that they are played, or slower than that: it sounds the same.
    expect(live).to_have_text("step 5 of 5, t = 1, done")
    seek(opened, 1)
    expect(live).to_have_text("step 2 of 5, t = 4")
