"""The application's pages: the only package that imports gradio."""

from __future__ import annotations

from gendiff.studio import Studio
from gendiff.ui.stubs import without_stubs

with without_stubs():  # before anything else imports it
    import gradio as gr

from gendiff.ui import about, api, compare, denoise, forward, gan, hub, interpolate
from gendiff.ui.pad import UPLOAD_MAX
from gendiff.ui.parts import Page
from gendiff.ui.theme import SCRIPT, STYLE, theme

SHORT = ("gan", "forward")  # tabs whose work takes no longer than to borrow a GPU
# gradio confines style sheets to what is above its footer. On a phone, where the link to the API
# is hidden, its divider would stand alone.
FOOTER = "@media (max-width: 700px) { footer .divider { display: none !important; } }"
QUEUE = 40  # visitors who may wait; beyond it they are told that the app is busy
# Pages that gradio remembers, open or not: 0.4 MB of settings each, and up to 3 MB of the messages
# that they were sent last. Its own default, 10,000, is more than a Space has.
SESSIONS = 200


def build(studio: Studio) -> gr.Blocks:
    """All tabs over one Studio."""
    page = Page()
    with gr.Blocks(
        title="gendiff: GANs and diffusion models",
        analytics_enabled=False,
        delete_cache=(600, 1800),
    ) as demo:
        gr.HTML(
            "<header class='brand'><h1>gendiff</h1>"
            "<p>See, step through and compare GANs and diffusion models that learned the same "
            "pictures.</p></header>",
            head=f"<style>{FOOTER}</style>",
        )
        with gr.Tabs(elem_id="tabs", overflow_behavior="wrap") as tabs:
            for name, title, module in (
                ("gan", "GAN", gan),
                ("interpolate", "Interpolate", interpolate),
                ("denoise", "Denoise", denoise),
                ("forward", "Forward", forward),
                ("compare", "Compare", compare),
                ("about", "About", about),
            ):
                with page.tab(name, title):
                    module.build(studio.near if name in SHORT else studio, page)
        hub.build(studio, demo)
        page.wire(demo, tabs)
        api.publish(studio)
    return demo


def launch(demo: gr.Blocks, **options: object) -> object:
    """Serve it. `options` are `Blocks.launch`'s own; what the design fixes is fixed here."""
    return demo.queue(default_concurrency_limit=8, max_size=QUEUE).launch(
        theme=theme(),
        css_paths=STYLE,
        js=SCRIPT.read_text(encoding="utf-8"),
        ssr_mode=False,
        run_history=False,
        footer_links=["api", "settings"],
        show_error=False,
        max_file_size=f"{UPLOAD_MAX}mb",
        state_session_capacity=SESSIONS,
        **options,
    )
