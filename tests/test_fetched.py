"""Models from the Hub in the application: fetched once, then in the tabs like any other."""

from __future__ import annotations

import io
from dataclasses import replace

import gradio as gr
import numpy as np
import pytest
import torch
from hub_fixtures import ID, unet_files

from gendiff.cards import Card
from gendiff.errors import GendiffError
from gendiff.hub import catalogue
from gendiff.images import from_uint8
from gendiff.nets.simple_cnn import SimpleConfig, SimpleDiscriminator, SimpleGenerator
from gendiff.noise import classes
from gendiff.studio import Studio, adversarial, decoding, denoising, models, noising, service, walk
from gendiff.studio.contestants import contestants
from gendiff.studio.fetched import Fetched, Looked, _checked
from gendiff.ui import build, hub, interpolate, verdict
from gendiff.ui.parts import model_picker, offered

GAN = "someone/gans/wgan_cifar10"


@pytest.fixture
def studio(saved, settings):
    return Studio(saved, "cpu", "float32", Fetched(settings))


def gan_file(condition="none"):
    classes = 0 if condition == "none" else 10
    torch.manual_seed(0)
    data = io.BytesIO()
    generator = SimpleGenerator(SimpleConfig(100, (8, 6, 4), 3, classes, condition))
    planes = classes if condition == "one_hot" else 0
    discriminator = SimpleDiscriminator(3, (4, 6, 8), planes)
    saved = {"G": generator.state_dict(), "D": discriminator.state_dict()}
    torch.save(saved, data)
    return data.getvalue()


def test_a_fetched_model_is_in_the_studio_and_after_a_restart_still(studio, repo, settings):
    assert ID not in [card.name for card in studio.cards()]
    looked = studio.fetched.look(ID)
    assert not looked.here and looked.licence == "apache-2.0" and repo in looked.exactly
    *_, card = studio.fetched.pull(ID)
    assert isinstance(card, Card) and card == studio.card(ID)
    assert studio.cards()[-1].name == ID  # the bundled ones, and the default, stay first
    again = Studio(studio.folder, "cpu", "float32", Fetched(settings))
    assert again.card(ID) == card and again.fetched.look(ID).here
    assert np.array_equal(sampled(studio), sampled(again))


def sampled(studio):
    return service.sample(studio.model(ID), "0-1", None, "ddim", 3, 1.0, None).pictures


def test_a_foreign_diffusion_model_works_in_the_tabs(studio, repo):
    list(studio.fetched.pull(ID))
    for sampler in ("ddim", "ddpm", "renoise", "dpmpp_2m", "heun"):
        job = denoising.prepare(studio, denoising.Settings(ID, (1, 2), None, sampler, 4))
        moments = list(job.moments())
        assert moments[-1].pictures[3].shape == (2, 8, 8, 3) and job.captions()[0] == "seed 1"
        for moment in moments[1:]:
            total = sum(term.weight * term.value for term in moment.terms)
            assert total == pytest.approx(moment.pixel, abs=1e-3)
    with pytest.raises(GendiffError, match="knows no classes"):
        denoising.prepare(studio, denoising.Settings(ID, (1,), None, "ddim", 4, guidance=3.0))
    x0 = from_uint8(np.zeros((1, 8, 8, 3), np.uint8))
    levels = noising.make_schedule("cosine", 20, [0.008])
    assert len(noising.forward(studio.model(ID), x0, levels, 0)) == 21


def test_a_conditional_model_without_no_label_says_so(studio, server, tmp_path):
    server.add(ID, unet_files(tmp_path, num_class_embeds=5))
    list(studio.fetched.pull(ID))
    model = studio.model(ID)
    assert model.classes == 5 and model.card.classes == tuple("01234")
    assert model.sample([1], steps=2, labels=4).shape == (1, 3, 8, 8)
    with pytest.raises(GendiffError, match="guidance must stay 1"):
        model.sample([1], steps=2, guidance=2.0)
    with pytest.raises(GendiffError, match="cannot guess without one"):
        model.guess(torch.zeros(1, 3, 8, 8), 3)


def test_a_foreign_gan_works_in_its_tab(studio, server):
    server.add("someone/gans", {"wgan_cifar10/ckpt/best/model.pt": gan_file()})
    list(studio.fetched.pull(GAN))
    sheet = adversarial.draw(studio, adversarial.Ask(GAN, (1, 2)))
    assert sheet.pictures.shape == (2, 32, 32, 3) and np.isnan(sheet.real).all()
    html = verdict.one_picture(sheet.picked(0))
    assert "No verdict of D. Its discriminator gives scores" in html and "D: real" not in html
    assert "someone-gans-wgan_cifar10-seed-1.png" in html
    with pytest.raises(GendiffError, match="gives no verdict"):
        adversarial.mix(studio, adversarial.Ask(GAN, (1, 2)))


def test_a_foreign_gan_with_a_discriminator_judges(studio, server):
    name = "someone/gans/cgan_cifar10"
    server.add("someone/gans", {"cgan_cifar10/ckpt/best/model.pt": gan_file("one_hot")})
    list(studio.fetched.pull(name))
    sheet = adversarial.draw(studio, adversarial.Ask(name, (1, 2), 3))
    assert sheet.names == ("3", "3") and ((sheet.real > 0) & (sheet.real < 1)).all()
    with pytest.raises(GendiffError, match="no bundled real pictures"):
        adversarial.mix(studio, adversarial.Ask(name, (1, 2)))


@pytest.fixture
def ten(studio, server, tmp_path, monkeypatch):
    """A diffusion model and two GANs, one with classes, of one data set; all are here."""
    gans = (GAN, "someone/gans/cgan_cifar10")
    files = {f"{GAN.split('/')[-1]}/ckpt/best/model.pt": gan_file()}
    shas = server.add(
        "someone/gans", {**files, "cgan_cifar10/ckpt/best/model.pt": gan_file("norm")}
    )
    sha = server.add(ID, unet_files(tmp_path, sample_size=32))
    about = ("r", (), 1, {}, "MIT", "me", "quick", None)
    listed = (
        catalogue.Entry(ID, sha, "diffusion", "Ten, DDPM", "ten", *about),
        catalogue.Entry(gans[0], shas, "gan", "Ten, WGAN", "ten", *about),
        catalogue.Entry(gans[1], shas, "gan", "Ten, cGAN", "ten", *about),
    )
    monkeypatch.setattr(catalogue, "entries", lambda: listed)
    for entry in listed:
        list(studio.fetched.pull(entry.id))
    return gans


def test_every_pair_that_learned_the_same_walks(studio, ten):
    names = [f"{gan},{ID}" for gan in ten]
    assert set(walk.pairs(studio)) == {"shapes", *names}
    for name in names:
        way = walk.walk(studio, name, "1, 2", frames=2, steps=2)
        assert decoding.gan_pictures(way.pair).pictures.shape == (2, 32, 32, 3)
        *_, last = decoding.diffusion_pictures(way.pair)
        assert last.pictures.shape == (2, 32, 32, 3)
    titles = dict(map(reversed, interpolate._titles(studio)))
    assert [titles[name] for name in names] == ["Ten: WGAN and DDPM", "Ten: cGAN and DDPM"]


def test_where_the_classes_differ_each_lane_draws_its_own_and_none_can_be_chosen(studio, ten):
    name = f"{ten[1]},{ID}"
    assert studio.card(ten[1]).classes and not studio.card(ID).classes
    pair = walk.walk(studio, name, "5, 2", frames=2).pair
    assert pair.gan.label.tolist() == [int(classes([5], 10))] and pair.diffusion.label is None
    assert (pair.class_name, pair.drawn_by) == ("", None)
    assert [value for _, value in interpolate._classes(studio, name)] == ["any"]
    with pytest.raises(GendiffError, match="different classes"):
        walk.walk(studio, name, "5, 2", frames=2, label=3)


def test_a_fetched_model_of_the_bundled_data_has_a_pair_of_its_own(studio, server, saved):
    folder = saved / "tiny-diffusion"
    server.add(ID, {path.name: path.read_bytes() for path in folder.iterdir()})
    list(studio.fetched.pull(ID))
    assert list(walk.pairs(studio)) == ["shapes", f"tiny-gan,{ID}"]
    assert walk.pairs(studio)["shapes"][1].name == "tiny-diffusion"
    used = hub.where(studio, studio.card(ID))
    assert (
        used
        == f"choose it in Denoise, Forward and Interpolate; race it in Compare as {ID}:ddim-50"
    )
    one, other = contestants(studio, ["gan", f"{ID}:ddim-50"])
    assert (one.model, other.model) == ("tiny-gan", ID)


def test_where_a_model_has_no_partner_the_box_says_so(studio, server, repo):
    list(studio.fetched.pull(ID))
    used = hub.where(studio, studio.card(ID))
    assert used.startswith("choose it in Denoise and Forward; for Interpolate and Compare a GAN")
    assert used in hub.facts(studio.fetched.look(ID), used)


def test_only_some_of_them_stay_in_memory(studio, server, tmp_path, monkeypatch):
    for index in range(3):
        server.add(f"{ID}-{index}", unet_files(tmp_path, seed=index))
        list(studio.fetched.pull(f"{ID}-{index}"))
    size = sum(studio.card(f"{ID}-0").parameters.values())
    monkeypatch.setattr(models, "WEIGHTS_MOST", 2 * size)
    bundled = studio.model("tiny-gan")
    first = studio.model(f"{ID}-0")
    for index in (1, 0, 2):
        studio.model(f"{ID}-{index}")
    assert studio.model(f"{ID}-0") is first and studio.model("tiny-gan") is bundled
    assert f"{ID}-1" not in [name for name, _ in studio._models]


def test_the_box_is_there_unless_it_is_closed(studio, settings):
    def ids(demo):
        return {getattr(block, "elem_id", None) for block in demo.blocks.values()}

    assert {"hub-id", "hub-run", "hub-cancel"} <= ids(build(studio))
    studio.fetched.settings = replace(settings, access="closed")
    with gr.Blocks() as demo:
        hub.build(studio, demo)
    assert "hub-run" not in ids(demo)


def test_what_the_command_line_fetched_is_there_when_a_page_is_opened(studio, settings, repo):
    demo = build(studio)
    list(Fetched(settings).pull(ID))  # as another process would
    (arrive,) = [
        one.fn for one in demo.fns.values() if getattr(one.fn, "__name__", "") == "arrive"
    ]
    assert all(update["choices"] for update in arrive())
    assert ID in [card.name for card in studio.cards()]
    assert any(ID in dict(update["choices"]).values() for update in arrive())


def test_a_model_that_only_another_process_knows_is_found_when_it_is_asked_for(
    studio, settings, repo
):
    list(Fetched(settings).pull(ID))
    assert studio.card(ID).name == ID
    with pytest.raises(GendiffError, match="no model"):
        studio.card("someone/else")


def test_the_address_may_name_a_model_that_came_later(studio, repo):
    with gr.Blocks():
        read = offered(model_picker(studio, "diffusion"))
    with pytest.raises(ValueError):
        read(ID)
    list(studio.fetched.pull(ID))
    assert read(ID) == ID


def test_a_typed_model_is_fetched_once_its_size_and_licence_stood_there(
    studio, server, repo, tmp_path
):
    with gr.Blocks() as demo:
        hub.build(studio, demo)
    (pull,) = [one.fn for one in demo.fns.values() if getattr(one.fn, "__name__", "") == "pull"]
    for about in (None, "", "<p>0.2 MB; licence: apache-2.0.</p>"):
        *_, (line, shown) = pull(ID, about)
        assert line.startswith("Press Download again to fetch 0.2 MB, licence: apache-2.0")
        assert "0.2 MB" in shown and "licence: apache-2.0" in shown and repo in shown
    server.add(ID, unet_files(tmp_path, seed=1))
    *_, (line, shown) = pull(ID, shown)  # the same words, of an older commit
    assert "again" in line and repo not in shown
    assert not [one for one in server.log if "safetensors" in one] and not studio.fetched.cards()
    server.log.clear()
    *_, (line, _) = pull(ID, shown)
    assert "is here" in line and studio.card(ID)
    assert len([one for one in server.log if "/tree/" in one]) == 1  # one press asks once
    *_, (line, shown) = pull(ID, "")  # here already: nothing is fetched, so nothing is asked
    assert "is here" in line and "choose it in Denoise and Forward" in shown


def test_what_stood_there_goes_when_another_model_is_asked_for(studio, server, repo):
    with gr.Blocks() as demo:
        hub.build(studio, demo)
    (look,) = [one.fn for one in demo.fns.values() if getattr(one.fn, "__name__", "") == "look"]
    (about, _), (shown, line) = look(ID)
    assert about == "" and "0.2 MB" in shown and line == "Ready."
    answers = look("nobody/nothing")
    assert next(answers)[0] == ""
    assert next(answers) == ("", "Nothing to show of nobody/nothing.")
    with pytest.raises(gr.Error, match="no model nobody/nothing"):
        next(answers)


def test_only_a_download_that_runs_can_be_cancelled():
    assert hub._cancelled("1.0 of 2.0 MB").startswith("Cancelled")
    assert hub._cancelled("Asking the Hub \N{HORIZONTAL ELLIPSIS}").startswith("Cancelled")
    assert hub._cancelled("Tiny is here: choose it.") == "Tiny is here: choose it."
    assert hub._cancelled("") == ""


def test_what_others_wrote_is_escaped(studio):
    bad = Looked("a/b", "a/b@c", "<script>x</script>", 10**6, "<b>", "", "", False)
    assert "<script>" not in hub.facts(bad) and "&lt;b&gt;" in hub.facts(bad)
    assert "1.0 MB" in hub.facts(bad)


def test_a_listed_model_says_whether_its_entry_was_checked():
    looked = Looked("a/b", "a/b@c", "T", 10**6, "MIT", "", "", False, _checked(None))
    assert "not yet checked" in hub.facts(looked)
    assert _checked("2027-01-02").endswith("checked on 2027-01-02")
