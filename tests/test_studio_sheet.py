"""The sheet of a race: everything is in it, nothing from elsewhere, and no markup of others."""

from __future__ import annotations

import base64
import csv
import io
import json
import re

import gradio as gr
import numpy as np
import pytest
from PIL import Image
from test_studio_quality import metrics, scored

from gendiff.__main__ import main
from gendiff.errors import GendiffError
from gendiff.images import enlarge, tile
from gendiff.studio import Studio, budget, race, records, sections, sheet
from gendiff.studio.diversity import Diversity, Group
from gendiff.studio.race import prepare
from gendiff.studio.timeline import Timeline
from gendiff.ui import compare
from gendiff.ui.parts import Page
from gendiff.ui.race_keep import pack, unpack

EVIL = "<img src=x onerror=alert(1)>"


@pytest.fixture
def studio(checkpoints):
    run = scored("ddim", 3, 3, 4.25, coverage={"square": 0.9})
    studio = Studio(checkpoints, "cpu", "float32")
    metrics(studio, "tiny-diffusion", run).write(checkpoints / "tiny-diffusion")
    return studio


@pytest.fixture
def raced(studio):
    """A record and the last pictures."""
    plan = prepare(studio, ["gan", "ddim-3"], [4, 5, 6])
    timeline, results = Timeline(plan, 1), []
    for event in race.run(studio, plan):
        if isinstance(event, race.Lap):
            timeline.add(event)
        elif isinstance(event, race.Result):
            results.append(event)
    return records.record(studio, plan, results), timeline.final()


def pictures_in(text):
    urls = re.findall(r"data:image/png;base64,([A-Za-z0-9+/=]+)", text)
    return [np.asarray(Image.open(io.BytesIO(base64.b64decode(url)))) for url in urls]


@pytest.mark.parametrize("form", ["html", "md"])
def test_a_sheet_holds_settings_machine_command_and_lossless_pictures(studio, raced, form):
    record, final = raced
    text = sheet.write(form, record, final)
    for word in (
        "4, 5, 6",
        record["date"],
        record["machine"],
        record["command"],
        "DDIM, 3 steps",
        "4.25",
    ):
        assert word in text
    assert "not measured yet" in text and f"{record['results'][1]['seconds']:.3f}" in text
    for shown, own in zip(pictures_in(text), final, strict=True):
        grid = tile(own, gap=1)
        np.testing.assert_array_equal(shown, enlarge(grid, 512 // max(grid.shape[:2]))[..., 0])
    assert not re.findall(r"(?:src|href)=\"https?:", text)


def test_json_and_csv_are_the_record(studio, raced):
    record, final = raced
    assert json.loads(sheet.write("json", record, final)) == record
    rows = list(csv.DictReader(io.StringIO(sheet.write("csv", record, final))))
    assert {row["section"] for row in rows} == {"race"}
    of = {(row["contestant"], row["measure"]): row["value"] for row in rows}
    assert of["tiny-gan", "seconds"] == str(record["results"][0]["seconds"])
    assert of["tiny-diffusion:ddim-3", "quality.fid"] == "4.25" and of["", "seeds"] == "[4, 5, 6]"
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d UTC", of["", "date"])
    with pytest.raises(GendiffError, match="A sheet is html, md"):
        sheet.write("pdf", record, final)


@pytest.mark.parametrize("form", ["html", "md"])
def test_words_of_others_are_escaped_and_a_lame_lane_is_said(studio, raced, form):
    record, final = raced
    record["machine"] = record["results"][0]["title"] = EVIL
    record["results"][0] |= {"failed": EVIL, "seconds": None}
    text = sheet.write(form, record, [None, final[1]])
    assert EVIL not in text and "&lt;img" in text and "could not race" in text
    assert len(pictures_in(text)) == 1


def test_the_sheet_holds_the_whole_comparison(studio, raced):
    record, final = raced
    spent = list(budget.spend(studio, budget.plans(studio, "shapes", 0.3)[0]))[-1]
    bought = records.budget(studio, "shapes", 0.3, [spent])
    own = np.concatenate([lap.pictures() for lap in spent.laps])
    few = {**records.conditions(studio), "data": "shapes", "first_seed": 0, "real": 9}
    few |= {"confidence": 0.95, "command": "python -m gendiff compare gan --estimate 64"}
    few["estimates"] = [
        {
            **{"contestant": "tiny-gan", "title": "GAN", "nfe": 1, "images": 64, "valid": None},
            "kid": {"value": 0.01, "low": 0.0, "high": 0.02},
            "obedience": {"value": 0.5, "low": 0.25, "high": 0.75},
        }
    ]
    rng = np.random.default_rng(0)
    seen = {kind: rng.integers(0, 256, (6, 8, 8, 1), np.uint8) for kind in ("real", "gan")}
    rms = np.array([0.5, 0.1, 0.5, 0.3, 0.5, 0.5])
    groups = (
        Group("real", seen["real"], None, np.arange(0), own[:0], "real"),
        Group("gan", seen["gan"], rms, np.array([1, 3]), seen["real"][:2], "gan"),
    )
    more = [
        sections.measured(studio, "shapes"),
        sections.estimated(few),
        sections.budget(bought, [own]),
        sections.diverse(studio, Diversity("shapes", 1, groups)),
    ]
    for form in ("html", "md"):
        text = sheet.write(form, record, final, more)
        for said in ("A comparison: shapes", "Race: shapes", "Measured quality: shapes"):
            assert said in text
        for said in ("What 300 ms bought", "Diversity: shapes, square", "10.0 (0.0 to 20.0)"):
            assert said in text
        assert "50.0 % (25.0 to 75.0)" in text
        assert len(pictures_in(text)) == 2 + 1 + 2 + 1  # lanes, budget, two kinds, copies
        (svg,) = re.findall(r"data:image/svg\+xml;base64,([A-Za-z0-9+/=]+)", text)
        assert base64.b64decode(svg).count(b"<circle") == 12
        assert "GAN: closest to training pictures" in text and "0.100, 0.300" in text
        assert "N = 1,000: square 90.0 %" in text and "in the app alone: Compare, Budget" in text
        assert not re.findall(r"(?:src|href)=\"https?:", text) and "thread, torch" in text
    whole = json.loads(sheet.write("json", record, final, more))
    assert {"measured", "estimate", "budget", "diversity"} < set(whole)
    assert whole["budget"]["budget"] == 0.3 and len(whole["diversity"]["map"][0]) == 6
    assert whole["diversity"]["groups"][1]["to_training_closest"] == [0.1, 0.3]
    rows = list(csv.DictReader(io.StringIO(sheet.write("csv", record, final, more))))
    assert {row["section"] for row in rows} == {"race", *(one.name for one in more)}
    of = {(row["section"], row["contestant"], row["measure"]): row["value"] for row in rows}
    assert of["measured", "tiny-diffusion:ddim-3", "fid"] == "4.25"
    assert of["budget", bought["results"][0]["contestant"], "images"] == str(len(own))
    assert of["diversity", "gan", "to_training_closest"] == "[0.1, 0.3]"
    assert of["estimate", "tiny-gan", "kid.high"] == "0.02"


def test_the_command_writes_a_sheet(saved, tmp_path, capsys):
    words = ["compare", "gan", "ddim-2", "--seeds", "0-1", "--checkpoints", str(saved)]
    out = tmp_path / "deep" / "race.html"
    assert main([*words, "--device", "cpu", "--out", str(out)]) == 0
    assert len(pictures_in(out.read_text())) == 2
    capsys.readouterr()
    assert main([*words, "--out", str(tmp_path / "race.pdf")]) == 2
    assert "must end in .html or .md" in capsys.readouterr().err


@pytest.fixture
def keeps(studio):
    """What the buttons of the page call, a form each."""
    page = Page()
    with gr.Blocks() as demo, gr.Tabs(), page.tab("compare", "Compare"):
        compare.build(studio, page)
    return [fn.fn for fn in demo.fns.values() if fn.fn and fn.fn.__name__ == "keep"]


def test_the_app_gives_the_sheet_as_a_download(keeps, raced):
    record, final = raced
    made = [keep("shapes", {"record": record, "pictures": final}, None) for keep in keeps]
    assert [one["name"] for one in made] == [f"gendiff-comparison.{form}" for form in sheet.FORMS]
    text = base64.b64decode(made[3]["url"].partition(",")[2])
    whole = json.loads(text)
    (measured,) = whole.pop("measured")  # the GAN was not measured
    assert whole == record and measured["model"] == "tiny-diffusion"


def test_what_is_of_another_data_set_is_not_kept(keeps, raced):
    record, final = raced
    other = {"record": {**record, "data": "cats"}, "pictures": final}
    mine, theirs = (
        sections.Section("budget", of, "", {"of": of}, (), ()) for of in ("shapes", "cats")
    )

    def kept(*made):
        url = keeps[3](*made)["url"]
        return json.loads(base64.b64decode(url.partition(",")[2]))

    assert set(kept("shapes", other, theirs)) == {"measured"}
    assert kept("shapes", None, theirs, mine)["budget"] == {"of": "shapes"}
    url = keeps[0]("shapes", other, mine)["url"]
    text = base64.b64decode(url.partition(",")[2]).decode()
    assert "A comparison: shapes" in text and "Race" not in text
    with pytest.raises(gr.Error, match="run a race first"):
        keeps[0]("dogs", other, theirs, mine)


def test_the_sheet_tells_modes_beside_the_valid_cats_alone(studio, raced):
    record, final = raced
    known = record["results"][1]["quality"]
    known |= {"valid": 0.03, "images": 500, "modes": 15, "modes_uniform": 14.9, "novelty": 0.1}
    text = sheet.write("html", record, final)
    assert "15 of 15 valid pictures; as many perfect draws: 15" in text and "10.0 %" in text


def test_pictures_survive_an_example(raced):
    for one in raced[1]:
        np.testing.assert_array_equal(unpack(json.loads(json.dumps(pack(one)))), one)
    assert unpack(pack(None)) is None
