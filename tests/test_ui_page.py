"""The address, and what stands in a tab before anything has run there."""

from __future__ import annotations

from types import SimpleNamespace

import gradio as gr
import pytest

from gendiff.errors import GendiffError
from gendiff.ui import SESSIONS, launch
from gendiff.ui.page import Page
from gendiff.ui.parts import choice_of, number_in
from gendiff.ui.runs import Pane, Run

RUN = Run(2, [Pane("x", "x", 1, 1, 1)], "test", note="Pre-computed: test")
MESSAGE = {"op": "batch", "ops": [RUN.start(), RUN.end()]}


def failing():
    raise GendiffError("The example of this tab is missing.")


@pytest.fixture
def arrive(monkeypatch):
    """arrive(**query) -> (selected tab, its number, what is on show in one, two, three); show(tab,
    seen) opens a tab by hand. Warnings are kept in said."""
    page, said = Page(), []
    monkeypatch.setattr(gr, "Warning", said.append)
    linked = {"two": lambda link: f"link {link['mode']}"}
    with gr.Blocks() as demo:
        with gr.Tabs() as tabs:
            for name in ("one", "two", "three"):
                with page.tab(name, name.title()):
                    number, text, shown = gr.Number(), gr.Textbox(), gr.Textbox()
                make = {"one": lambda: MESSAGE, "two": lambda: "example", "three": failing}[name]
                page.keep(
                    name,
                    {"two": lambda link: {"n": "4"} if link.get("mode") == "mix" else {}}.get(
                        name
                    ),
                    n=(number, number_in(1, 9)),
                    mode=(text, choice_of("mix", "plain")),
                )
                page.opens_with(name, make, [shown], linked=linked.get(name))
        page.wire(demo, tabs)
    named = {}
    for block in demo.fns.values():
        if block.fn:
            named.setdefault(block.fn.__name__, []).append(block.fn)

    def read(seen=(), **query):
        answer = named["read"][0](seen, SimpleNamespace(query_params=query))
        return answer[0], answer[1:-4], answer[-4], answer[-3:]

    return SimpleNamespace(read=read, show=named["show"], said=said)


def test_without_an_address_the_first_tab_opens_with_its_example(arrive):
    selected, settings, seen, shown = arrive.read()
    assert selected == gr.skip() and settings == [gr.skip()] * 6
    assert seen == ("one",) and shown == [MESSAGE, gr.skip(), gr.skip()]


def test_an_address_fills_the_settings_of_its_tab_only(arrive):
    selected, settings, seen, shown = arrive.read(tab="two", n="7", mode="mix")
    assert selected.selected == "two" and seen == ("two",)
    assert [getattr(update, "get", lambda _: None)("value") for update in settings[2:4]] == [
        7,
        "mix",
    ]
    assert settings[:2] == settings[4:] == [gr.skip()] * 2
    assert shown == [gr.skip(), "link mix", gr.skip()]  # at once, until the link has run
    assert arrive.said == []


@pytest.mark.parametrize(("query", "n"), [({}, 4), ({"n": "7"}, 7)])
def test_a_setting_may_imply_others_that_the_link_leaves_out(arrive, query, n):
    _, settings, *_ = arrive.read(tab="two", mode="mix", **query)
    assert settings[2]["value"] == n
    assert arrive.read(tab="two", mode="plain")[1][2] == gr.skip()
    assert arrive.read(tab="one", mode="mix")[1][0] == gr.skip()


def test_an_example_that_stands_in_for_a_link_says_so(arrive):
    *_, shown = arrive.read(tab="one", n="3")
    start, end = shown[0]["ops"]
    assert start["waiting"] and start["note"] == "An example, until your link has run."
    assert end == MESSAGE["ops"][1] and "waiting" not in MESSAGE["ops"][0]
    *_, shown = arrive.read(tab="one")  # no settings: nothing will run
    assert shown[0] == MESSAGE


def test_damaged_values_are_named_and_the_others_stand(arrive):
    _, settings, seen, _ = arrive.read(tab="two", n="70", mode="mix")
    assert settings[2] == gr.skip() and settings[3]["value"] == "mix"
    assert "cannot be used (n)" in arrive.said[0]
    _, _, seen, shown = arrive.read(tab="nowhere", n="7")
    assert "cannot be used (tab)" in arrive.said[1]
    assert seen == ("one",) and shown[0] == MESSAGE


def test_a_server_remembers_a_bounded_number_of_pages():
    with gr.Blocks(analytics_enabled=False) as demo:
        gr.Textbox()
    launch(demo, server_name="127.0.0.1", prevent_thread_lock=True, quiet=True)
    try:
        for page in range(SESSIONS + 5):
            demo.app.state_holder[f"page {page}"]
        assert len(demo.app.state_holder.session_data) == SESSIONS
    finally:
        demo.close()


def test_a_missing_example_is_said_and_the_settings_are_read_all_the_same(arrive):
    _, settings, _, shown = arrive.read(tab="three", n="7", mode="plain")
    assert settings[4]["value"] == 7 and shown == [gr.skip()] * 3
    assert arrive.said == ["The example of this tab is missing."]


def test_an_example_is_shown_once_and_never_in_place_of_a_links(arrive):
    def show(index, seen, **query):
        return arrive.show[index](seen, SimpleNamespace(query_params=query))

    assert show(1, ("one",)) == [("one", "two"), "example"]
    assert show(1, ("one", "two")) == [("one", "two", "two"), gr.skip()]
    # The tab that the page opens with is filled by what reads the address.
    assert show(0, ())[1] == show(1, (), tab="two", n="3")[1] == gr.skip()
    assert show(0, (), tab="two") == [("one",), MESSAGE]
