"""The views of the Compare tab in a real Chromium: each shows something at once, and works."""

from __future__ import annotations

import re

import gradio as gr
import pytest

from gendiff.studio import Studio
from gendiff.ui import compare
from gendiff.ui.parts import Page
from gendiff.ui.theme import SCRIPT, STYLE, theme

expect = pytest.importorskip("playwright.sync_api").expect
pytestmark = [pytest.mark.browser, pytest.mark.timeout(400)]
SLOW = 180_000  # milliseconds for a run on a busy machine
LINK = "?tab=compare&lanes=gan,ddim-2&seeds=0-3&estimate=gan&budget=0.05"


@pytest.fixture(scope="module")
def app(serve):
    """This tab alone, served as the app serves it."""
    studio, page = Studio(), Page()
    with gr.Blocks(analytics_enabled=False) as demo:
        with gr.Tabs() as tabs, page.tab("compare", "Compare"):
            compare.build(studio, page)
        page.wire(demo, tabs)
    script = SCRIPT.read_text(encoding="utf-8")
    return serve(demo.queue(), theme=theme(), css_paths=STYLE, js=script)


@pytest.fixture(scope="module")
def opened(browser, app):
    """One page for all views, as a visitor walks through them; an error of it fails every test."""
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    context.set_default_timeout(120_000)
    tab, wrong = context.new_page(), []
    tab.on("console", lambda said: wrong.append(said.text) if said.type == "error" else None)
    tab.on("pageerror", lambda error: wrong.append(str(error)))
    tab.goto(app + LINK)
    yield tab, wrong
    context.close()


@pytest.fixture
def tab(opened):
    page, wrong = opened
    yield page
    assert not wrong, "\n".join(wrong)


def view(tab, title: str) -> None:
    tab.locator("#compare-view").get_by_text(title, exact=True).click()


def test_a_link_races_and_the_result_stands_in_a_table(tab):
    table = tab.locator("#compare-table")
    expect(table).to_contain_text("DDIM, 2 steps", timeout=SLOW)
    expect(table).to_contain_text("times the fastest", timeout=SLOW)
    expect(tab.locator("#compare-player .gd")).to_have_attribute("data-n", "120", timeout=SLOW)
    with tab.expect_download() as kept:
        tab.locator("#compare-save-md").click()
    text = kept.value.path().read_text(encoding="utf-8")
    assert "# A comparison: fashion" in text and "fashion-diffusion:ddim-2" in text
    assert "## Measured quality: fashion" in text


def test_only_a_link_to_the_race_runs_it(tab):
    pressed = """async (link) => {
        const button = document.querySelector("#compare-run"), was = window.gendiffArrival;
        // what the page itself does when a link's settings are in
        const arrive = window.gradio_config.dependencies.map(({ js }) => String(js))
          .find((js) => js.includes("gendiffArrived"));
        let pressed = false;
        button.click = () => { pressed = true; };
        window.gendiffArrival = link;
        (0, eval)(arrive)();
        await new Promise((done) => setTimeout(done, 500));
        window.gendiffArrival = was;
        delete button.click;
        return pressed;
    }"""
    tab.locator("#compare-run").wait_for(timeout=SLOW)
    assert tab.evaluate(pressed, "?tab=compare&lanes=gan,ddim-2")
    assert tab.evaluate(pressed, "?tab=compare&view=race&lanes=gan,ddim-2")
    assert not tab.evaluate(pressed, "?tab=compare&view=quiz&lanes=gan,ddim-2&room=ABCDEF")
    assert not tab.evaluate(pressed, "?tab=compare")


def test_a_point_of_the_quality_charts_shows_its_samples(tab):
    view(tab, "Quality")
    points = tab.locator("#compare-quality [data-pick='fashion-gan']")
    expect(points.first).to_be_visible(timeout=SLOW)
    points.first.press("Enter")
    player = tab.locator("#compare-quality-player .gd")
    expect(player).to_have_attribute("data-got", "1", timeout=SLOW)
    expect(player).to_contain_text("1 call a picture", timeout=SLOW)


def test_the_quality_is_estimated_here_with_intervals(tab):
    view(tab, "Quality")
    board = tab.locator("#compare-estimate")
    expect(board).to_contain_text("Press Estimate", timeout=SLOW)
    tab.locator("#compare-estimate-run").click()
    expect(board).to_contain_text("GAN, N = 64", timeout=SLOW)
    expect(board.locator(".cp-interval")).to_have_count(2, timeout=SLOW)


def test_a_budget_has_a_plan_and_is_spent(tab):
    view(tab, "Budget")
    table = tab.locator("#compare-budget-table")
    expect(table).to_contain_text("50 ms", timeout=SLOW)
    tab.locator("#compare-budget-run").click()
    expect(table).to_contain_text("of the budget", timeout=SLOW)
    made = tab.locator("#compare-budget-player .gd")
    expect(made).to_have_attribute("data-got", "1", timeout=SLOW)


def test_the_blind_test_is_answered_by_key_and_reveals_the_truth(tab):
    view(tab, "Blind test")
    quiz = tab.locator("#compare-quiz")
    expect(quiz.locator(".qz-pictures img")).to_have_count(1, timeout=SLOW)
    tab.keyboard.press("1")
    expect(quiz.locator(".qz-pictures img")).to_have_count(2, timeout=SLOW)
    expect(quiz).to_contain_text("Its nearest training picture", timeout=SLOW)
    tab.keyboard.press("Enter")
    expect(quiz).to_contain_text("Picture 2 of 10", timeout=SLOW)


def test_diversity_is_there_and_follows_the_pictures(tab):
    view(tab, "Diversity")
    board = tab.locator("#compare-diversity")
    expect(board.locator("circle")).to_have_count(192, timeout=SLOW)
    expect(board).to_contain_text("sneaker", timeout=SLOW)
    tab.locator("#compare-data").get_by_text("Cartoon cats").click()
    expect(board).to_contain_text("ginger", timeout=SLOW)
    tab.locator("#compare-data").get_by_text("Fashion-MNIST").click()
    expect(board).to_contain_text("sneaker", timeout=SLOW)


def test_four_answers_are_a_recommendation_with_measurements(tab):
    view(tab, "Which one for me?")
    advice = tab.locator("#compare-advice")
    expect(advice).to_contain_text("For you: a diffusion model", timeout=SLOW)  # an example
    for said in ("Milliseconds", "Each one convincing", "No", "Enough to watch and tune"):
        tab.locator("[id^=compare-ask]").get_by_text(said, exact=True).click()
    expect(advice).to_contain_text("For you: a GAN", timeout=SLOW)
    expect(advice).to_contain_text("ms a picture, 1 network call", timeout=SLOW)


def test_the_view_stands_in_the_address(tab):
    view(tab, "Diversity")
    tab.wait_for_function("new URLSearchParams(location.search).get('view') === 'diversity'")


def test_a_class_follows_its_host_and_a_reload_loses_nothing(tab, page, app):
    view(tab, "Blind test")
    host = tab.locator("#compare-quiz")
    host.locator(".qz-class summary").click()
    host.locator(".qz-open").click()
    code = host.locator(".qz-code").inner_text()
    expect(host.locator(".qz-body")).to_be_hidden()  # the projector is for the tally
    phone = {"width": 390, "height": 844}
    visitor = page(f"{app}?tab=compare&view=quiz&room=AAAAAA", viewport=phone)
    seat = visitor.locator("#compare-quiz")
    expect(seat).to_contain_text("There is no such room", timeout=SLOW)
    expect(seat).to_contain_text("Picture 1 of 10", timeout=SLOW)  # alone
    seat.locator(".qz-class summary").click()
    seat.locator("[name=code]").fill(code.lower())
    seat.get_by_text("Join", exact=True).click()
    expect(seat).to_contain_text(f"You are in room {code}, round 1: quiz 1", timeout=SLOW)
    for choice in ("#compare-quiz-new", "#compare-data"):  # a visitor plays the room's quiz
        expect(visitor.locator(choice)).to_be_hidden()
    picture = seat.locator(".qz-pictures img")
    large = re.compile(r"(2[5-9]\d|3\d\d)(\.\d+)?px")  # of a phone's 390
    expect(picture).to_have_css("width", large, timeout=SLOW)  # the room's quiz is drawn anew
    seat.locator(".qz-gan").dblclick()
    expect(host).to_contain_text("1 visitor, 1 answer, 0 finished", timeout=SLOW)
    visitor.reload()
    expect(seat).to_contain_text("Picture 2 of 10", timeout=SLOW)

    def shown():
        return host.locator(".qz-votes img").evaluate_all("(all) => all.map((one) => one.src)")

    voted = shown()
    tab.locator("#compare-data").get_by_text("Cartoon cats").click()
    expect(host.locator(".qz-start")).to_have_text(
        "Start round 2: quiz 1, Cartoon cats", timeout=SLOW
    )
    tab.wait_for_timeout(2000)  # the tally was drawn again
    assert shown() == voted and len(set(voted)) == 10  # the votes stay beside their pictures
    host.locator(".qz-truth").click()
    expect(host.locator(".qz-vote[data-right]")).to_have_count(10, timeout=SLOW)
    assert host.locator(".qz-votes img").first.bounding_box()["width"] >= 96
    host.locator(".qz-start").click()
    expect(host.locator(".qz-truth")).to_have_attribute("aria-pressed", "false", timeout=SLOW)
    expect(seat).to_contain_text("The host has started round 2", timeout=SLOW)
    expect(seat).to_contain_text("Picture 1 of 10", timeout=SLOW)
    seat.locator(".qz-real").click()
    expect(host).to_contain_text("1 visitor, 1 answer, 0 finished", timeout=SLOW)
    assert seat.locator(".qz-pictures img").first.get_attribute("src") == shown()[0] != voted[0]

    tab.reload()
    expect(host).to_contain_text("Round 2: quiz 1, Cartoon cats", timeout=SLOW)
    expect(host).to_contain_text("1 visitor, 1 answer, 0 finished", timeout=SLOW)
    expect(host.locator(".qz-vote[data-right]")).to_have_count(0)
    expect(host).to_contain_text("Round 1 (quiz 1, Fashion-MNIST)", timeout=SLOW)
    assert f"room={code}" in visitor.url and f"room={code}" in tab.url
    seat.locator(".qz-leave").click()
    expect(seat.locator(".qz-room")).to_be_hidden()
    expect(visitor.locator("#compare-data")).to_be_visible()
    assert "room=" not in visitor.url


def test_a_link_with_two_data_sets_is_refused_in_the_place_of_its_race(browser, app):
    context = browser.new_context(viewport={"width": 390, "height": 844})
    page = context.new_page()
    page.goto(f"{app}?tab=compare&lanes=fashion-gan,cats-diffusion:ddim-2")
    player = page.locator("#compare-player .gd-empty")
    expect(player).to_contain_text("must have learned the same data set", timeout=SLOW)
    expect(page.locator("#compare-player")).not_to_contain_text("until your link has run")
    # The table is of the race that was run beforehand: on a phone nothing of it is cut.
    table = page.locator("#compare-table .cp-table")
    expect(table).to_contain_text("DDIM, 50 steps", timeout=SLOW)
    cut = (
        "node => [...node.querySelectorAll('td')].some(td => td.scrollWidth > td.clientWidth + 1)"
    )
    assert not table.evaluate(cut)
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    context.close()
