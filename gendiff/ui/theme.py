"""The look: one theme, one style sheet, both local."""

from __future__ import annotations

from pathlib import Path

import gradio as gr

STYLE = Path(__file__).with_name("style.css")
SCRIPT = Path(__file__).with_name("page.js")


def theme() -> gr.themes.Base:
    """gradio's default in indigo, with the two font weights whose files are whole (400, 700)."""
    local = gr.themes.LocalFont
    return gr.themes.Default(
        primary_hue="indigo",
        font=[local("Source Sans Pro", weights=(400, 700)), "system-ui", "sans-serif"],
        font_mono=[local("IBM Plex Mono", weights=(400, 700)), "monospace"],
    ).set(
        # gradio's own (neutral 400) has 2.5:1 on white; these have 7:1 and more.
        body_text_color_subdued="*neutral_600",
        body_text_color_subdued_dark="*neutral_400",
        button_primary_background_fill="*primary_600",
        button_primary_background_fill_hover="*primary_700",
        button_primary_text_color="white",
    )
