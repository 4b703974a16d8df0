"""How a model learned: the same seeds along its training, with the losses; in the player."""

from __future__ import annotations

import math

import gradio as gr

from gendiff.studio import Studio
from gendiff.studio import learning as told
from gendiff.studio.learning import Story
from gendiff.ui.parts import PRIVATE, bounded
from gendiff.ui.player import Curve, Frame, Message, Pane, Player, Run

_QUICK = {"queue": False, "show_progress": "hidden", **PRIVATE}


def build(studio: Studio) -> None:
    """A fold with a model picker and a player; nothing where no checkpoint tells its story."""
    cards = told.told(studio)
    if not cards:
        return
    with gr.Accordion("How they learned", open=False, elem_id="learning") as fold:
        gr.Markdown(
            "The same 16 seeds, drawn at milestones of the training. Play it, or step with the "
            "arrow keys. A GAN's losses are a game and need not fall; a diffusion model's is one "
            "error that does."
        )
        model = gr.Dropdown(
            [(card.title, card.name) for card in cards],
            value=cards[0].name,
            label="Model",
            elem_id="learning-model",
        )
        player = Player(
            label="How a model learned", exports=["gif"], beside=True, elem_id="learning-player"
        )

    @bounded
    def show(name: str) -> Message:
        return message(told.story(studio, name))

    fold.expand(show, model, player, **_QUICK)
    model.input(show, model, player, **_QUICK)


def message(story: Story) -> Message:
    """The whole run: a frame for each milestone."""
    learned, card = story.learning, story.card
    count, (_, height, width, channels) = len(learned.seeds), learned.pictures.shape[1:]
    names = [card.classes[label] for label in learned.labels] if card.classes else []
    images = [float(seen) for seen in learned.images]
    where = learned.losses.get("images", [])
    curves = [
        Curve(name.replace("_", " "), values, where, "loss")
        for name, values in learned.losses.items()
        if name != "images"
    ]
    if len(story.measured) > 1:  # one point is no curve; its frame says it
        distances = [
            story.measured[seen].fid if seen in story.measured else math.nan
            for seen in learned.images
        ]
        curves.append(Curve(f"FID ({story.network})", distances, images, "FID"))
    run = Run(
        n=len(images),
        panes=[Pane("x", "", height, width, channels, count)],
        label=f"{card.title}: 16 seeds along the training",
        captions=[f"seed {seed}, {name}" for seed, name in zip(learned.seeds, names, strict=True)]
        if names
        else [f"seed {seed}" for seed in learned.seeds],
        curves=curves,
        axis=images,
        axis_label="images seen",
        noun="milestone",
        fps=2.0,
        note=f"Pre-computed during the training of {card.title}, {learned.how}, averaged weights.",
    )
    return run.whole([Frame([learned.pictures[k]], _facts(story, k)) for k in range(run.n)])


def _facts(story: Story, k: int) -> dict[str, float | str]:
    seen = story.learning.images[k]
    facts: dict[str, float | str] = {"images seen": f"{seen:,}"}
    if (found := story.measured.get(seen)) is not None:
        facts[f"FID of {found.of} ({story.network})"] = found.fid
        if found.obedience is not None:
            facts["recognized as asked"] = f"{found.obedience:.0%}"
        if found.valid is not None:
            facts["valid cats"] = f"{found.valid:.0%}"
    return facts
