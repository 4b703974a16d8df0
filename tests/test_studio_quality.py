"""Measured points and published rows: what is shown is what was measured, and nothing else."""

from __future__ import annotations

import re

import gradio as gr
import pytest

from gendiff.results import Features, Floor, Metrics, Reference, Score
from gendiff.studio import Studio, quality
from gendiff.studio.contestants import Contestant
from gendiff.studio.quality import PUBLISHED, find, measured, pareto
from gendiff.ui import compare, compare_quality, quality_page
from gendiff.ui.charts import Axis, Dot, Series, chart
from gendiff.ui.parts import Page

EVIL = "<img src=x onerror=alert(1)>"
SAME = {"images": 1000, "batch": 16, "guidance": 1.0, "kid": 0.002, "kid_std": 0.0004}
SAME |= {"precision": 0.7, "recall": 0.5, "obedience": 0.9}


def scored(sampler, steps, nfe, fid, speed=10.0, **more):
    values = {**SAME, "images_per_second": speed, **more}
    return Score(sampler=sampler, steps=steps, nfe=nfe, fid=fid, **values)


def metrics(studio, name, *runs, **changes):
    card = studio.card(name)
    values = {
        "model": name,
        "weights_sha256": card.sha256,
        "measured": "2026-11-24",
        "command": f"python -m gendiff evaluate {name}",
        "machine": "a test",
        "device": "cpu",
        "dtype": "float32",
        "features": Features("shapes-features", 0.93, 8),
        "reference": Reference("test", 500),
        "floor": Floor(1.5, 0.0001, 1000),
    }
    return Metrics(runs=runs, **{**values, **changes})


@pytest.fixture
def studio(checkpoints):
    studio = Studio(checkpoints, "cpu", "float32")
    metrics(studio, "tiny-gan", scored(None, None, 1, 20.0, 300.0)).write(checkpoints / "tiny-gan")
    runs = [scored("ddim", 10, 10, 12.0, 3.0), scored("ddim", 50, 50, 5.0, 0.6)]
    runs += [scored("dpmpp_2m", 10, 10, 7.0, 3.0), scored("ddim", 50, 100, 4.0, 0.3, guidance=2.0)]
    metrics(studio, "tiny-diffusion", *runs).write(checkpoints / "tiny-diffusion")
    return studio


def test_points_are_what_was_measured(studio):
    diffusion, gan = sorted(measured(studio, "shapes"), key=lambda one: one.name)
    assert [one.score.fid for one in gan.points + diffusion.points] == [20, 12, 5, 7, 4]
    assert gan.points[0].contestant == Contestant("tiny-gan") and not gan.missing
    assert [one.group for one in diffusion.points[:3]] == ["DDIM", "DDIM", "DPM-Solver++"]
    assert gan.points[0].seconds == pytest.approx(1 / 300)
    found = find(diffusion.points, Contestant("tiny-diffusion", "ddim", 50))
    assert found.score.fid == 5.0  # not the guided one
    assert find(diffusion.points, Contestant("tiny-diffusion", "ddim", 51)) is None


def test_what_was_not_measured_is_said_and_not_filled_in(saved):
    found = measured(Studio(saved, "cpu", "float32"), "shapes")
    assert [one.points for one in found] == [(), ()]
    assert all(one.missing.startswith("Not measured yet; run: python -m gend") for one in found)
    html = quality_page.page(found)
    assert "Not measured yet" in html and "evaluate tiny-gan" in html
    assert "Published numbers" in html and "data-pick" not in html


def test_other_weights_and_damage_are_said(studio, checkpoints):
    metrics(studio, "tiny-gan", scored(None, None, 1, 1.0), weights_sha256="0" * 64).write(
        checkpoints / "tiny-gan"
    )
    (checkpoints / "tiny-diffusion" / "metrics.json").write_text("{")
    diffusion, gan = sorted(measured(studio, "shapes"), key=lambda one: one.name)
    assert gan.points == () and "other weights" in gan.missing
    assert diffusion.points == () and "cannot be read" in diffusion.missing


def test_the_pareto_front_against_its_definition():
    places = [(1, 20), (10, 12), (50, 5), (10, 7), (100, 5), (1, 20)]
    assert pareto([(*at, 250) for at in places]) == [True, False, True, True, False, True]
    # What 1,000 pictures give does not beat what 250 give: their floor is higher.
    assert pareto([(1, 2, 1000), (5, 3, 250), (5, 4, 250)]) == [True, True, False]
    assert pareto([]) == []


def test_published_rows_are_those_with_two_sources():
    rows = {row.name: row for row in PUBLISHED}
    assert (rows["DDPM"].fid, rows["DDPM"].recall, rows["DDPM"].nfe) == (3.21, 0.57, 1000)
    assert rows["StyleGAN2 + ADA"].recall == 0.49 and rows["LSGM"].recall is None
    assert {name for name, row in rows.items() if row.recall} == {
        *("Denoising diffusion GAN, T = 4", "DDPM", "StyleGAN2 + ADA", "SNGAN")
    }


# ---- The page -------------------------------------------------------------------------------


def test_every_measured_point_is_on_the_page_and_can_be_pressed(studio):
    html = quality_page.page(measured(studio, "shapes"))
    picks = re.findall(r'data-pick="([^"]+)"', html)
    assert set(picks) == {
        *("tiny-gan", "tiny-diffusion:ddim-10", "tiny-diffusion:ddim-50"),
        "tiny-diffusion:dpmpp_2m-10",
    }
    assert len(picks) == 3 * 4  # two curves and the trilemma; the guided run is in the table
    assert "guidance 2" in html and "shapes-features, accuracy 0.930" in html
    assert "500 pictures of the test split" in html and "real train" in html.lower()
    assert "arXiv:2112.07804" in html and "real pictures" in html


def test_the_page_escapes_what_is_not_ours(studio, checkpoints):
    metrics(studio, "tiny-gan", scored(None, None, 1, 1.0), machine=EVIL, command=EVIL).write(
        checkpoints / "tiny-gan"
    )
    html = quality_page.page(measured(studio, "shapes"))
    assert EVIL not in html and "&lt;img" in html
    assert EVIL not in chart(
        EVIL, [Series(EVIL, "c", [Dot(1, 1, EVIL, EVIL)])], Axis(EVIL), Axis(EVIL)
    )


def test_a_chart_puts_its_points_where_they_belong():
    dots = [Dot(1, 10, "a"), Dot(10, 5, "b"), Dot(100, 1, "c")]
    axes = Axis("x", log=True, ends=(1, 100)), Axis("y", ends=(0, 10))
    html = chart("t", [Series("s", "c", dots, joined=True)], *axes, level=(5.0, "half"))
    at = [tuple(map(float, xy)) for xy in re.findall(r'cx="([\d.]+)" cy="([\d.]+)"', html)]
    assert at == [(52, 14), (248, 134), (444, 230)]
    assert 'd="M52.0 14.0L248.0 134.0L444.0 230.0"' in html and "half" in html
    assert chart("t", [], *axes) == ""


def test_pressing_a_point_shows_its_samples(studio):
    page = Page()
    with gr.Blocks() as demo, gr.Tabs(), page.tab("compare", "Compare"):
        compare.build(studio, page)
    handlers = {fn.fn.__name__: fn.fn for fn in demo.fns.values() if fn.fn}

    def pressed(spec):
        return list(handlers["samples"]("shapes", gr.EventData(None, {"spec": spec})))

    start, frames, end = pressed("tiny-diffusion:ddim-4")[-1][0]["ops"]
    assert start["panes"][0]["count"] == compare_quality.SHOWN and end["state"] == "done"
    assert "4 calls a picture" in start["note"]
    for wrong in (EVIL, "tiny-diffusion:ddim-0", "nobody:ddim-3", None):
        with pytest.raises(gr.Error):
            pressed(wrong)


def test_the_bundled_metrics_can_all_be_shown():
    studio = Studio(device="cpu")
    for data in ("fashion", "cats"):
        assert "cp-card" in quality_page.page(quality.measured(studio, data))
