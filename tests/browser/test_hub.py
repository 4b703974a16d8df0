"""The box "More models" in a real Chromium, against the stand-in Hub."""

from __future__ import annotations

from urllib.parse import quote

import pytest
from hub_fixtures import ID

from gendiff.studio import Studio
from gendiff.studio.fetched import Fetched
from gendiff.ui import build
from gendiff.ui.theme import SCRIPT, STYLE, theme

pytestmark = [pytest.mark.browser, pytest.mark.timeout(600)]


@pytest.fixture
def app(serve, saved, settings, repo):
    demo = build(Studio(saved, "cpu", "float32", Fetched(settings)))
    script = SCRIPT.read_text(encoding="utf-8")
    return serve(demo.queue(), theme=theme(), css_paths=STYLE, js=script)


def choose(tab, name):
    wish = tab.locator("#hub-id input")
    wish.fill(name)
    wish.press("Enter")


def says(tab, words):
    tab.wait_for_function(
        "(words) => document.querySelector('#hub .status :is(textarea, input)').value"
        ".includes(words)",
        arg=words,
    )


def toast(tab, words):
    tab.get_by_test_id("toast-text").filter(has_text=words).first.wait_for()


def test_a_model_is_shown_cancelled_fetched_and_then_in_its_tabs(page, app, server):
    tab = page(app + "?tab=about")
    tab.locator("#hub").wait_for()
    tab.wait_for_function(  # it stands apart from what is above it
        "document.querySelector('#hub').getBoundingClientRect().top"
        " - document.querySelector('#tabs').getBoundingClientRect().bottom >= 8"
    )
    tab.locator("#hub button").first.click()
    choose(tab, ID)
    tab.locator("#hub-show").click()
    about = tab.locator("#hub-about").get_by_text("licence: apache-2.0")
    about.wait_for()
    assert "0.2 MB" in about.inner_text() and ID in about.inner_text()
    assert not [line for line in server.log if "safetensors" in line]

    server.slow = 60.0
    tab.locator("#hub-run").click()  # its size and licence stand there: fetched at once
    says(tab, " of 0.2 MB")
    tab.locator("#hub-cancel").click()
    says(tab, "Cancelled")
    server.slow = 0.0
    tab.locator("#hub-run").click()
    says(tab, "is here")
    tab.locator("#hub-cancel").click()
    tab.wait_for_timeout(500)
    says(tab, "is here")  # what is over cannot be cancelled

    tab.locator("#hub-about").get_by_text("choose it in Denoise and Forward").wait_for()
    choose(tab, "nobody/nothing")
    tab.wait_for_function("!document.querySelector('#hub-about').innerText.trim()")
    for name, label in (("Denoise", "Model"), ("Forward", "Data and network")):
        tab.get_by_role("tab", name=name, exact=True).click()
        picker = f"input[aria-label='{label}']:visible"
        tab.locator(picker).first.focus()  # opens it
        tab.get_by_role("option", name=ID).first.wait_for()
        tab.locator(picker).first.blur()
    link = page(app + f"?tab=denoise&model={quote(ID, '')}&steps=3&seeds=5")
    link.wait_for_function(
        "document.querySelector('#denoise-player [data-state]')?.dataset.got === '4'"
    )


def test_what_goes_wrong_is_told_and_the_box_lives_on(page, app, server):
    tab = page(app + "?tab=about")
    tab.locator("#hub button").first.click()
    choose(tab, "../etc/passwd")
    tab.locator("#hub-show").click()
    toast(tab, "is no model id")
    choose(tab, "nobody/nothing")
    tab.locator("#hub-run").click()
    toast(tab, "The Hub has no model nobody/nothing")
    says(tab, "Not downloaded: nobody/nothing.")
    server.corrupt = True
    choose(tab, ID)
    tab.locator("#hub-run").click()
    says(tab, "Press Download again to fetch 0.2 MB, licence: apache-2.0")
    assert not [line for line in server.log if "safetensors" in line]
    tab.locator("#hub-run").click()
    toast(tab, "arrived damaged")
    server.corrupt = False
    tab.locator("#hub-run").click()
    says(tab, "is here")
