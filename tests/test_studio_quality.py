"""Measured points and published rows: what is shown is what was measured, and nothing else."""

from __future__ import annotations

import re

import gradio as gr
import pytest

from gendiff.results import Features, Floor, Metrics, Reference, Score
from gendiff.studio import Studio, quality
from gendiff.studio.contestants import Contestant
from gendiff.studio.quality import PUBLISHED, measured, pareto
from gendiff.ui import charts, compare, compare_quality, quality_page
from gendiff.ui.charts import Axis, Dot, Series, chart
from gendiff.ui.parts import Page

EVIL = "<img src=x onerror=alert(1)>"
SAME = {"images": 1000, "batch": 16, "guidance": 1.0, "kid": 0.002, "kid_std": 0.0004}
SAME |= {"precision": 0.7, "recall": 0.5, "obedience": 0.9, "floor_fid": 1.5}


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
    known = quality.scores(studio, "shapes")
    assert known["tiny-diffusion:ddim-50"].fid == 5.0  # not the guided one, which has 4
    assert "tiny-diffusion:ddim-51" not in known


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
    assert pareto(places) == [True, False, True, True, False, True]
    assert pareto([]) == []


def several(studio, checkpoints):
    """The GAN with N = 1,000 and 250, the diffusion model with three ways at 250, one at 1,000."""
    runs = [scored(None, None, 1, 20.0, 300.0, floor_fid=1.5)]
    runs += [scored(None, None, 1, 26.0, 300.0, images=250, floor_fid=4.5)]
    metrics(studio, "tiny-gan", *runs).write(checkpoints / "tiny-gan")
    runs = [scored("dpmpp_2m", 20, 20, 5.0, 1.0, floor_fid=1.5)]
    runs += [scored("ddim", n, n, 100 / n, 10 / n, images=250, floor_fid=4.5) for n in (5, 10)]
    runs += [scored("dpmpp_2m", 20, 20, 6.0, 1.0, images=250, floor_fid=4.5)]
    metrics(studio, "tiny-diffusion", *runs).write(checkpoints / "tiny-diffusion")
    return [point for one in measured(studio, "shapes") for point in one.points]


def test_the_most_complete_comparison_is_of_one_number_of_pictures(studio, checkpoints):
    points = several(studio, checkpoints)
    assert quality.counts(points) == [250, 1000]
    assert len(quality.comparable(points)) == 4 and len(quality.comparable(points, 1000)) == 2
    assert {one.score.images for one in quality.comparable(points)} == {250}
    assert quality.floor(points, 250) == 4.5 and quality.floor(points, 1000) == 1.5
    assert quality.floor(points, 64) is None
    alone = [point for point in points if point.family == "diffusion"]
    assert quality.counts([*alone, points[-1]])[0] == 250
    # Two families at 1,000 tell more than three samplers of one at 250.
    fewer = [p for p in points if p.family == "diffusion" or p.score.images == 1000]
    assert quality.counts(fewer) == [1000, 250]


def test_scores_are_of_the_number_of_pictures_that_most_contestants_share(studio, checkpoints):
    several(studio, checkpoints)
    both = ["tiny-gan", "tiny-diffusion:dpmpp_2m-20"]
    assert {s.images for s in quality.scores(studio, "shapes", both).values()} == {1000}
    three = [*both, "tiny-diffusion:ddim-5"]
    found = quality.scores(studio, "shapes", three)
    assert [found[spec].fid for spec in three] == [26.0, 6.0, 20.0]
    assert quality.scores(studio, "shapes")["tiny-gan"].fid == 26.0


def test_the_page_draws_one_number_of_pictures_and_its_floor(studio, checkpoints):
    several(studio, checkpoints)
    found = measured(studio, "shapes")
    best, other = quality_page.page(found), quality_page.page(found, 1000)
    assert best.count('data-pick="tiny-gan"') == other.count('data-pick="tiny-gan"') == 3
    assert best.count("ddim-5") == 3 and "ddim-5&" not in other and 'ddim-5"' not in other
    assert "real pictures, N = 250" in best and "real pictures, N = 1,000" not in best
    assert "real pictures, N = 1,000" in other and "250 pictures each" in best
    metrics(studio, "tiny-gan", scored(None, None, 1, 20.0)).write(checkpoints / "tiny-gan")
    html = quality_page.page(measured(studio, "shapes"), 250)
    assert "python -m gendiff evaluate tiny-gan --images 250" in html


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


def test_another_number_of_pictures_can_be_chosen(studio, checkpoints):
    several(studio, checkpoints)
    assert compare_quality._counts(studio, "shapes") == [
        ("250 pictures each (4 points)", "most"),
        ("1,000 pictures each (2 points)", "1000"),
    ]
    picker, board, player, _ = compare_quality._follow(studio, "shapes", "1000")
    assert player["op"] == "idle"  # nothing was made of these pictures
    assert (picker["value"], picker["visible"]) == ("1000", True) and "N = 1,000" in board
    picker, board, *_ = compare_quality._follow(studio, "shapes", "77")
    assert picker["value"] == "most" and "real pictures, N = 250" in board
    assert (
        compare_quality._readable("250") == "250" and compare_quality._readable("most") == "most"
    )
    for wrong in ("0", "many", "-5"):
        with pytest.raises(ValueError):
            compare_quality._readable(wrong)


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


def test_the_bundled_metrics_can_all_be_shown_with_samples_of_both_families():
    studio = Studio(device="cpu")
    for data in ("fashion", "cats"):
        assert "cp-card" in quality_page.page(quality.measured(studio, data))
        start, frames, end = compare_quality._made(studio, data)["ops"]
        assert [pane["id"] for pane in start["panes"]] == ["gan", "diffusion"]
        assert start["note"].startswith("Made beforehand") and end["state"] == "done"
        assert start["captions"][0].startswith("seed ")


@pytest.mark.parametrize("ends", [(0.40, 0.58), (101, 130), (3, 4), (1, 1000), (0.7, 12), (5, 5)])
def test_an_axis_has_at_least_two_ticks_and_at_most_seven(ends):
    for log in (True, False):
        scale = charts._Scale(Axis("x", log), ends, 0, 100)
        ticks = scale.ticks()
        assert 2 <= len(ticks) <= 7 and ticks == sorted(ticks)
        assert all(-1e-6 <= scale(tick) <= 100 + 1e-6 for tick in ticks)


def test_a_small_point_can_be_pressed_within_a_larger_one():
    def drawn(size):
        dots = [Dot(1, 1, "a", "spec", size)]
        return chart("t", [Series("s", "c", dots)], Axis("x", ends=(0, 2)), Axis("y", ends=(0, 2)))

    (r,) = re.findall(r'cp-hit" cx="[\d.]+" cy="[\d.]+" r="(\d+)"', drawn(quality_page._radius(0)))
    assert int(r) >= 10 and "cp-hit" not in drawn(6)
