"""The tab About: the two families, when to choose which, credits, how numbers are measured."""

from __future__ import annotations

import gradio as gr

from gendiff.data import SOURCES
from gendiff.studio import Studio
from gendiff.ui.parts import Page

_FAMILIES = """
| | GAN | Diffusion model |
|---|---|---|
| Idea | A generator invents pictures, a discriminator tells them from real ones; each trains the other. | Noise is added to pictures step by step; a network learns to take it off again. |
| One picture costs | one network call | one call per step: 10 to 1000 |
| Quality | sharp early; can look wrong in whole | good details and structure, better with more steps |
| Diversity | may forget whole kinds of pictures (*mode collapse*) | covers the data well |
| Training | a game that may not settle; losses say little | one squared error that falls; slow but steady |
| Walks in latent space | z is small and smooth: made for it | by deterministic DDIM, through noise of the picture's size |

**Choose a GAN** when a picture must be there at once, on small hardware or many times a second.
**Choose diffusion** when variety and fidelity matter more than milliseconds, when training must simply work,
or when you want to steer the result on its way.
"""

_MEASURING = """
- **Time** is the network's work alone: loading, the first warm-up call, encoding and sending pictures are left out,
  and a GPU is waited for. Beside each time stand device, data type, batch size and the number of network calls for
  one picture (NFE). Guidance calls the network twice a step and is counted twice.
- **A seed** fixes a picture: alone or in a batch, today or tomorrow. The same seed in two models is the same noise
  only if their latents have the same shape; a GAN's z and a diffusion model's x_T have not.
- **"any" class** draws the class from the seed, the same one for both families.
- **A run** is one run: every picture of a trajectory comes from the network in that very run. What was computed
  beforehand says so.
"""


def build(studio: Studio, page: Page) -> None:
    """Two screens of text, made from the cards where it is about models."""
    gr.Markdown("## Two families, the same pictures\n" + _FAMILIES, elem_classes="prose")
    gr.Markdown("## How the numbers are measured\n" + _MEASURING, elem_classes="prose")
    gr.Markdown("## What is here\n" + _models(studio) + "\n" + _credits(studio), elem_classes="prose")


def _models(studio: Studio) -> str:
    rows = ["| Model | Family | Weights | Images seen in training | Hours |", "|---|---|---|---|---|"]
    for card in studio.cards():
        weights = sum(card.parameters.values())
        images, hours = card.training.get("images"), card.training.get("hours")
        rows.append(
            f"| {card.title} | {'GAN' if card.family == 'gan' else 'diffusion'} | {weights / 1e6:.1f} million "
            f"| {f'{images:,}' if images else 'not recorded'} | {hours if hours is not None else 'not recorded'} |"
        )
    return "\n".join(rows)


def _credits(studio: Studio) -> str:
    names = dict.fromkeys(card.data for card in studio.cards())
    lines = [
        f"- **{SOURCES[name].title}**: {SOURCES[name].credit}. Licence: {SOURCES[name].licence}; the weights trained on it "
        "carry the same."
        for name in names
    ]
    return "\n".join([*lines, "- **Code**: MIT. Equations and their papers stand beside the code that uses them."])
