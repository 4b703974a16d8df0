"""A real browser, a page that forgives nothing, and a server for it."""

from __future__ import annotations

import os
import shutil
import socket
import warnings
from collections.abc import Callable, Iterator
from urllib.parse import urlparse

import pytest

os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.fixture(scope="session")
def browser() -> Iterator:
    """The system's Chromium; skips, and says so, where there is none."""
    names = ("chromium", "chromium-browser", "google-chrome")
    path = next(filter(None, map(shutil.which, names)), None)
    reason = "" if path else "no Chromium on this machine: nothing was tested in a browser"
    try:
        from playwright.sync_api import sync_playwright
    except ModuleNotFoundError:
        reason = "playwright is not installed: nothing was tested in a browser"
    if reason:
        warnings.warn(reason, stacklevel=1)
        pytest.skip(reason)
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=path, args=ARGUMENTS)
        yield chromium
        chromium.close()


@pytest.fixture
def page(browser) -> Iterator[Callable]:
    """page(url, **context options) opens a page. The test fails if any page of it logs an error,
    throws one, or asks a host other than this machine for anything.

    A field that gradio finds invalid is answered with HTTP 422, which Chromium logs: allowed.
    """
    wrong: list[str] = []
    contexts = []

    def on_console(message) -> None:
        if message.type == "error" and "422" not in message.text:
            wrong.append(f"console: {message.text}")

    def on_request(request) -> None:
        url = urlparse(request.url)
        if url.scheme not in ("data", "blob") and url.hostname not in ("127.0.0.1", "localhost"):
            wrong.append(f"request to elsewhere: {request.url}")

    def open_page(url: str, **options):
        context = browser.new_context(**{"viewport": {"width": 1280, "height": 720}, **options})
        context.set_default_timeout(120_000)  # a busy machine is no error
        contexts.append(context)
        opened = context.new_page()
        opened.on("console", on_console)
        opened.on("pageerror", lambda error: wrong.append(f"page error: {error}"))
        opened.on("request", on_request)
        opened.goto(url)
        return opened

    yield open_page
    for context in contexts:
        context.close()
    assert not wrong, "\n".join(wrong)


@pytest.fixture(scope="module")
def serve() -> Iterator[Callable]:
    """serve(demo, **launch) starts a gr.Blocks on a free local port and returns its address; it
    is closed when the module's tests are over."""
    started = []

    def start(demo, **launch) -> str:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        options = {"ssr_mode": False, "run_history": False, "quiet": True, **launch}
        demo.launch(server_name="127.0.0.1", server_port=port, prevent_thread_lock=True, **options)
        started.append(demo)
        return f"http://127.0.0.1:{port}/"

    yield start
    for demo in started:
        demo.close()
