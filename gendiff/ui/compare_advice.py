"""The view Which one for me?: four questions, a recommendation, the measurements that it cites."""

from __future__ import annotations

from html import escape

import gradio as gr

from gendiff.studio import Studio
from gendiff.studio.advice import QUESTIONS, Advice, advise
from gendiff.ui.parts import QUICK, Page, bounded, choice_of
from gendiff.ui.views import View

EXAMPLE = {"speed": "second", "aim": "both", "likelihood": "no", "training": "little"}
NAMES = {"gan": "a GAN", "diffusion": "a diffusion model", "flow": "a normalizing flow"}


def build(studio: Studio, page: Page, view: gr.Radio, data: gr.Radio) -> View:
    """Components and wiring; what of it belongs in the address."""

    @bounded
    def recommend(chosen: str, *answers: str | None) -> str:
        return page_of(advise(studio, chosen, dict(zip(QUESTIONS, answers, strict=True))))

    with gr.Row():
        with gr.Column(scale=5):
            asked = {
                name: gr.Radio(
                    [(text, answer) for answer, text in offered.items()],
                    value=EXAMPLE[name],
                    label=question,
                    elem_id=f"compare-ask-{name}",
                )
                for name, (question, offered) in QUESTIONS.items()
            }
        with gr.Column(scale=7):
            told = gr.HTML(
                page_of(advise(studio, data.value, EXAMPLE)) if data.value else "",
                elem_id="compare-advice",
                apply_default_css=False,
            )
    gr.on(
        [part.change for part in asked.values()],
        recommend,
        [data, *asked.values()],
        told,
        trigger_mode="always_last",
        **QUICK,
    )
    settings = {name: (part, choice_of(*QUESTIONS[name][1])) for name, part in asked.items()}
    return View(settings, [told], list(asked.values()), lambda *now: [recommend(*now)])


def page_of(advice: Advice) -> str:
    """The recommendation as markup; what is not ours is escaped."""
    how = (
        f"Here: <b>{escape(advice.contestant.title())}</b> of {escape(advice.contestant.model)}."
        if advice.contestant
        else "This app has no checkpoint of that family for these pictures yet."
    )
    head = "For you" if advice.meets else "Nothing here meets all of it. The nearest"
    reasons = "".join(f"<li>{escape(reason)}</li>" for reason in advice.reasons)
    evidence = "".join(
        f'<li>{escape(one.text)} <span class="cp-why">({escape(one.source)})</span></li>'
        for one in advice.evidence
    )
    return f"""<section class="cp-card cp-advice" aria-live="polite">
<h3>{head}: {NAMES[advice.pick]}</h3><p>{how}</p>
<h4>Why</h4><ul>{reasons}</ul><h4>Measured</h4><ul>{evidence}</ul>
<p class="cp-small">Likelihood and speed rule families out; your other answers are weighed. They
start with an example: choose your own. The numbers are of these small models. A race that is run
here replaces the speeds that were measured beforehand.</p></section>"""
