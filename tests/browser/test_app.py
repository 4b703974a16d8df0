"""The whole app in a real Chromium: every tab, in four sizes, with the bundled checkpoints.

Screenshots land in screenshots/ (not kept in the repository), to be looked at.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from gendiff.studio import Studio
from gendiff.ui import build
from gendiff.ui.theme import SCRIPT, STYLE, theme

pytestmark = pytest.mark.browser

SHOTS = Path(__file__).resolve().parents[2] / "screenshots"
TABS = {
    "gan": "GAN",
    "interpolate": "Interpolate",
    "denoise": "Denoise",
    "forward": "Forward",
    "compare": "Compare",
}
SIZES = {
    "normal": {"viewport": {"width": 1440, "height": 900}},
    "dark": {"viewport": {"width": 1440, "height": 900}, "color_scheme": "dark"},
    "projector": {"viewport": {"width": 1280, "height": 720}},
    "phone": {"viewport": {"width": 390, "height": 844}, "has_touch": True},
}


@pytest.fixture(scope="module")
def app(serve):
    demo = build(Studio())
    script = SCRIPT.read_text(encoding="utf-8")
    return serve(demo.queue(), theme=theme(), css_paths=STYLE, js=script)


def player(tab, name):
    return tab.locator(f"#{name}-player [data-state]").first


def wait_for_pictures(tab, name):
    tab.wait_for_function(
        """(name) => {
          const root = document.querySelector(`#${name}-player [data-state]`);
          if (!root || !Number(root.dataset.got)) return false;
          // Of a run that is sent in part, its keys are all that comes by itself.
          const { got, n, state } = root.dataset;
          return got === n || ["playing", "paused", "done"].includes(state);
        }""",
        arg=name,
        timeout=90_000,
    )


# What a tab teaches with: the formula with a step's numbers, the norms against the shell, the
# curves and the signal left at T.
TAUGHT = {
    "denoise": ["#denoise-player .gd-sum", "#denoise-player .gd-code"],
    "interpolate": ["#interpolate-player .gd-chart svg", "#interpolate-player .gd-html"],
    "forward": ["#forward-gauge .fw-gauge", "#forward-player .gd-chart svg"],
}


def visible(part):
    part.wait_for()  # a box asked for while the part is drawn anew is None
    return part


@pytest.mark.parametrize("size", SIZES)
def test_every_tab_shows_something_at_once(page, app, size):
    tab = page(app + ("?__theme=dark" if size == "dark" else ""), **SIZES[size])
    SHOTS.mkdir(exist_ok=True)
    for name, title in TABS.items():
        tab.get_by_role("tab", name=title, exact=True).click()
        wait_for_pictures(tab, name)
        tab.wait_for_timeout(400)
        tab.screenshot(path=SHOTS / f"{size}-{name}.png", full_page=size == "phone")
        wide = tab.evaluate("document.documentElement.scrollWidth - window.innerWidth")
        assert wide <= 0, f"{name} is {wide} pixels too wide"
    tab.get_by_role("tab", name="About", exact=True).click()
    tab.get_by_text("Two families, the same pictures").wait_for()
    wide = tab.evaluate("document.documentElement.scrollWidth - window.innerWidth")
    assert wide <= 0, f"About is {wide} pixels too wide"
    hidden = """() => [...document.querySelectorAll("#tab-about :is(table, .cp-card)")]
      .filter((part) => part.scrollWidth > part.clientWidth + 1).length"""
    assert tab.evaluate(hidden) == 0  # every column of every table is there to be read
    assert "David Revoy" in tab.locator("#tab-about, [role=tabpanel]:visible").last.inner_text()
    tab.screenshot(path=SHOTS / f"{size}-about.png", full_page=True)


@pytest.mark.parametrize("name", TABS)
def test_a_projector_shows_pictures_transport_and_numbers_without_scrolling(page, app, name):
    tab = page(app + f"?tab={name}", **SIZES["projector"])
    wait_for_pictures(tab, name)
    numbers = ".gd-lanes" if name == "compare" else ".gd-facts"
    parts = [".gd-stage"] if name == "gan" else [".gd-stage", ".gd-play", ".gd-seek", numbers]
    parts = [f"#{name}-player {part}" for part in parts]
    parts += TAUGHT.get(name, [])
    for part in parts:
        box = None
        while box is None:  # what is played is drawn anew, frame by frame
            box = visible(tab.locator(part).last).bounding_box()
        assert box["y"] >= 0 and box["y"] + box["height"] <= 720, part
    canvas = tab.locator(f"#{name}-player canvas").first.bounding_box()
    assert canvas["height"] >= 190  # big enough to be seen from the last row


@pytest.mark.parametrize("name", TABS)
def test_on_a_phone_the_picture_comes_before_the_settings(page, app, name):
    tab = page(app + f"?tab={name}", **SIZES["phone"])
    wait_for_pictures(tab, name)
    picture = tab.locator(f"#{name}-player canvas").first.bounding_box()
    button = tab.locator(f"#{name}-run").bounding_box()
    assert picture["y"] < 500 and picture["y"] + picture["height"] < 844
    assert button["y"] > picture["y"] + picture["height"]
    assert tab.locator("footer .divider:visible").count() == 0  # it would stand alone
    if name != "compare":  # beside the picture, on the first screen
        assert button["y"] + button["height"] <= 844


# What a person can use or read in the open rail, apart from its run row, and the run row.
RAIL = """
  const rail = [...document.querySelectorAll(`#tab-${name} .rail`)]
    .find((one) => one.checkVisibility());
  const run = rail.querySelector(".run") ?? rail.querySelector(".actions");
  const kinds = "button, input, textarea, canvas, [data-testid=block-info]";
  const parts = [...rail.querySelectorAll(kinds)]
    .filter((part) => part.checkVisibility() && !run.contains(part));
  const covered = (part) => {
    const it = part.getBoundingClientRect(), row = run.getBoundingClientRect();
    const beside = it.right <= row.left || it.left >= row.right;
    return !beside && it.bottom > row.top && it.top < row.bottom;
  };
  const said = (list) => list.map((part) => part.outerHTML.slice(0, 120));
"""
MANY = f"(name) => {{ {RAIL} return parts.length; }}"
COVERED = f"(name) => {{ {RAIL} return said(parts.filter(covered)); }}"
COVERED_WHERE_SCROLLED_TO = f"""(name) => {{ {RAIL}
  return said(parts.filter((part) => {{
    part.scrollIntoView({{ block: "nearest", behavior: "instant" }});
    return covered(part);
  }}));
}}"""
SEEN_THROUGH = f"""(name) => {{ {RAIL}
  window.scrollTo({{ top: 0, behavior: "instant" }});
  const {{ left, top, width, height }} = run.getBoundingClientRect(), over = [];
  for (let x = 0.02; x < 1; x += 0.04) for (let y = 0.05; y < 0.95; y += 0.1) {{
    const seen = document.elementFromPoint(left + x * width, top + y * height);
    if (!run.contains(seen) && parts.includes(seen)) over.push(seen);
  }}
  return said(over);
}}"""


@pytest.mark.parametrize("name", TABS)
def test_the_run_row_is_in_sight_and_covers_nothing(page, app, name):
    tab = page(app + f"?tab={name}", **SIZES["projector"])
    wait_for_pictures(tab, name)
    sizes = [SIZES[size]["viewport"] for size in ("normal", "projector")]
    for size in sizes:
        tab.set_viewport_size(size)
        visible(tab.locator(f"#{name}-run"))
        assert tab.evaluate(COVERED, name) == []  # as it opens, everything has its place
    many = tab.evaluate(MANY, name)
    visible(tab.locator(f"#tab-{name} .rail").get_by_text("More settings")).click()
    tab.wait_for_function(f"([name, many]) => ({MANY})(name) > many", arg=[name, many])
    tab.wait_for_timeout(400)  # it unfolds
    for size in sizes:
        tab.set_viewport_size(size)
        assert tab.evaluate(SEEN_THROUGH, name) == []
        box = visible(tab.locator(f"#{name}-run")).bounding_box()
        assert box["y"] + box["height"] <= size["height"]
        assert tab.evaluate(COVERED_WHERE_SCROLLED_TO, name) == []


def test_a_link_is_not_rewritten_before_somebody_touches_the_page(page, app):
    link = app + "?tab=denoise&steps=6&seeds=3&step=2"
    tab = page(link)
    tab.wait_for_function(
        """() => {
          const root = document.querySelector("#denoise-player [data-state]");
          return root?.dataset.n === "7" && root.dataset.state === "paused";
        }""",
        timeout=90_000,
    )
    tab.wait_for_timeout(1000)
    assert tab.url == link
    tab.locator("#denoise-player .gd").press("ArrowRight")
    tab.wait_for_function("location.search === '?tab=denoise&steps=6&seeds=3&step=3'")
    steps = tab.get_by_role("spinbutton", name="Steps").first
    steps.fill("5")
    steps.press("Enter")
    tab.wait_for_function("location.search.includes('seeds=3&sampler=ddim&steps=5')")


def test_the_address_follows_the_tab_and_brings_it_back(page, app):
    tab = page(app)
    tab.get_by_role("tab", name="Denoise", exact=True).click()
    tab.wait_for_function("new URLSearchParams(location.search).get('tab') === 'denoise'")
    steps = tab.get_by_role("spinbutton", name="Steps").first
    steps.fill("6")
    steps.press("Enter")
    tab.wait_for_function("new URLSearchParams(location.search).get('steps') === '6'")
    again = page(tab.url)
    again.wait_for_function(  # the link runs its settings: 6 steps and the draw of x_T
        "document.querySelector('#denoise-player [data-state]')?.dataset.got === '7'",
        timeout=90_000,
    )


def test_a_damaged_link_is_said_and_harmless(page, app):
    tab = page(app + "?tab=denoise&steps=elephant&seeds=-4")
    tab.get_by_test_id("toast-text").first.wait_for()
    assert "link" in tab.get_by_test_id("toast-text").first.inner_text().lower()
    page(app + "?tab=nowhere").get_by_role("tab", name="GAN", exact=True).wait_for()


@pytest.mark.parametrize(
    ("name", "label", "typed", "said"),
    [
        ("denoise", "Steps", "5000", "from 1 to 1,000; got 5000"),
        ("denoise", "Steps", "", "no number"),
        ("interpolate", "Frames", "1", "from 2 to 120; got 1"),
        ("forward", "Steps T", "0", "from 1 to 1,000; got 0"),
    ],
)
def test_a_number_beyond_the_sliders_ends_is_answered_and_stays(
    page, app, capfd, name, label, typed, said
):
    tab = page(app + f"?tab={name}")
    wait_for_pictures(tab, name)
    run = player(tab, name).get_attribute("data-run")
    field = tab.get_by_role("spinbutton", name=label).first
    field.fill(typed)
    tab.locator(f"#{name}-run").click()
    tab.get_by_test_id("toast-text").last.wait_for()
    assert said in tab.get_by_test_id("toast-text").last.inner_text()
    assert field.input_value() == typed
    assert player(tab, name).get_attribute("data-run") == run
    assert "Traceback" not in "".join(capfd.readouterr())


def test_stop_really_stops(page, app):
    tab = page(app + "?tab=denoise")
    wait_for_pictures(tab, "denoise")
    steps = tab.get_by_role("spinbutton", name="Steps").first
    steps.fill("400")
    steps.press("Enter")
    tab.locator("#denoise-run").click()
    tab.wait_for_function(
        "Number(document.querySelector('#denoise-player [data-state]').dataset.n) > 100"
    )
    tab.locator("#denoise-stop").click()
    tab.wait_for_function(
        "document.querySelector('#denoise-player [data-state]').dataset.state === 'stopped'"
    )
    got = player(tab, "denoise").get_attribute("data-got")
    tab.wait_for_timeout(1500)
    assert player(tab, "denoise").get_attribute("data-got") == got
