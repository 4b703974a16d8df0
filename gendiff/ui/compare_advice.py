"""The view Which one for me?: four questions, a recommendation, the measurements that it cites."""

from __future__ import annotations

from html import escape

import gradio as gr

from gendiff.studio import Studio
from gendiff.studio.advice import QUESTIONS, Advice, advise
from gendiff.ui.parts import MODEL_WORK, PRIVATE, Page, choice_of, on_device
from gendiff.ui.views import View

NAMES = {"gan": "a GAN", "diffusion": "a diffusion model", "flow": "a normalizing flow"}


def build(studio: Studio, page: Page, view: gr.Radio, data: gr.Radio) -> View:
    """Components and wiring; what of it belongs in the address."""
    with gr.Row():
        with gr.Column(scale=5):
            asked = {
                name: gr.Radio(
                    [(text, answer) for answer, text in offered.items()],
                    label=question,
                    elem_id=f"compare-ask-{name}",
                )
                for name, (question, offered) in QUESTIONS.items()
            }
        with gr.Column(scale=7):
            told = gr.HTML(_waiting(0), elem_id="compare-advice", apply_default_css=False)

    @on_device(lambda *_: 1.0)  # one call is timed
    def recommend(chosen: str, *answers: str | None) -> str:
        given = dict(zip(QUESTIONS, answers, strict=True))
        if not all(given.values()):
            return _waiting(sum(map(bool, answers)))
        return page_of(advise(studio, chosen, given))

    gr.on(
        [part.change for part in asked.values()],
        recommend,
        [data, *asked.values()],
        told,
        show_progress="hidden",
        trigger_mode="always_last",
        **MODEL_WORK,
        **PRIVATE,
    )
    settings = {name: (part, choice_of(*QUESTIONS[name][1])) for name, part in asked.items()}
    return View(settings, [told], list(asked.values()), _again)


def _again(data: str, *answers: str | None) -> list[str]:
    """Other pictures: what stands there was said of the ones before."""
    if not all(answers):
        return [_waiting(sum(map(bool, answers)))]
    return ['<section class="cp-card"><p>Other pictures: choose an answer again.</p></section>']


def _waiting(answered: int) -> str:
    left = len(QUESTIONS) - answered
    return (
        f'<section class="cp-card"><p>Answer {left} {"more " if answered else ""}'
        f"question{'s' * (left != 1)}, and a recommendation stands here.</p></section>"
    )


def page_of(advice: Advice) -> str:
    """The recommendation as markup; what is not ours is escaped."""
    how = (
        f"Here: <b>{escape(advice.contestant.title())}</b> of {escape(advice.contestant.model)}."
        if advice.contestant
        else "This app has no checkpoint of that family for these pictures yet."
    )
    reasons = "".join(f"<li>{escape(reason)}</li>" for reason in advice.reasons)
    evidence = "".join(
        f'<li>{escape(one.text)} <span class="cp-why">({escape(one.source)})</span></li>'
        for one in advice.evidence
    )
    return f"""<section class="cp-card cp-advice" aria-live="polite">
<h3>For you: {NAMES[advice.pick]}</h3><p>{how}</p>
<h4>Why</h4><ul>{reasons}</ul><h4>Measured</h4><ul>{evidence}</ul>
<p class="cp-small">The reasons weigh your answers; the numbers are of these small models, on this
machine. The race and the quality view show how they were measured.</p></section>"""
