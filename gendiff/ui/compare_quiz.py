"""The view Blind test: real, GAN or diffusion? Alone, or a whole class in one room."""

from __future__ import annotations

import json
import secrets
from pathlib import Path

import gradio as gr

from gendiff.studio import Studio
from gendiff.studio.quiz import SEED_MAX
from gendiff.studio.rooms import Rooms
from gendiff.ui import quiz_service
from gendiff.ui.parts import PRIVATE, Page, number_in
from gendiff.ui.views import View

SEED = 1
WHY = """
**The test.** Ten pictures; each is drawn from real test pictures, the GAN's, or the diffusion
model's, every kind as likely as the others. Who guesses is right a third of the time.

**The interval.** Ten answers say little. The interval (Wilson 1927, 95 %) holds the share of right
answers that you would reach with very many pictures; only if all of it lies above a third did you
see a difference.

**The nearest training picture** answers a second question: has the network copied? It is the most
similar of all training pictures that was found, pixel by pixel (for the cats by a search that
changes one part after the other). Real test pictures have a nearest training picture, too: what is
about as far from its own as they are from theirs is no copy.

**A class** shares a room: everybody answers the same ten pictures on their own device, and the
projector shows the tally. The room plays one quiz until its host starts another one in it: then
all follow, and the score of the round before is kept. No name is asked for; a room closes after
two hours, and all of it is forgotten. Until then its address leads back into it, after a reload,
too: the host to the tally, a visitor to the next picture. The same number is the same quiz, so a
link to it can be shared without a room, too.
"""


def build(studio: Studio, page: Page, view: gr.Radio, data: gr.Radio) -> View:
    """Components and wiring; what of it belongs in the address."""
    here = Path(__file__)
    game = gr.HTML(
        _value(data.value, SEED),
        label="Blind test",
        html_template="",  # built once by the script, never rendered again
        js_on_load="".join(
            here.with_name(name).read_text("utf-8") for name in ("quiz.js", "quiz_rooms.js")
        ),
        head=f"<style>{here.with_name('quiz.css').read_text('utf-8')}</style>",
        apply_default_css=False,
        server_functions=quiz_service.functions(studio, Rooms()),
        elem_id="compare-quiz",
    )
    with gr.Row(elem_classes="actions", elem_id="compare-quiz-choice"):
        seed = gr.Number(
            SEED,
            label="Number of the quiz",
            info="The same number is the same ten pictures.",
            precision=0,
            minimum=0,
            maximum=SEED_MAX,
            scale=3,
            elem_id="compare-quiz-seed",
        )
        new = gr.Button("New quiz", scale=1, elem_id="compare-quiz-new")
    with gr.Accordion("What this tells, and how a class plays", open=False):
        gr.Markdown(WHY)
    quick = {"queue": False, "show_progress": "hidden", **PRIVATE}
    new.click(lambda: secrets.randbelow(10_000), None, seed, **quick)
    seed.change(_value, [data, seed], game, **quick)
    settings = {"quiz": (seed, number_in(0, SEED_MAX))}
    return View(settings, [game], [seed], lambda *asked: [_value(*asked)])


def _value(data: str | None, seed: float | None) -> str:
    return json.dumps({"data": data, "seed": int(seed or 0)})
