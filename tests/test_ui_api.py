"""The public interface's documentation: what /gradio_api/info says of types."""

from __future__ import annotations

import re

import gradio as gr
import pytest

from gendiff.sample import SAMPLERS
from gendiff.schedule import CONSTRUCTORS
from gendiff.studio import Studio
from gendiff.ui import api


@pytest.fixture(scope="module")
def named(saved):
    with gr.Blocks() as demo:
        api.publish(Studio(saved, "cpu", "float32"))
    return demo.get_api_info()["named_endpoints"]


def types(one):
    return {p["parameter_name"]: p["python_type"]["type"] for p in one["parameters"]}


def test_every_answer_has_a_type_with_its_fields(named):
    answers = {
        name: [answer["python_type"]["type"] for answer in one["returns"]]
        for name, one in named.items()
    }
    assert answers["/interpolate"] == ["list[str]"]
    for name, fields in (
        ("/models", "name title family data shape classes licence"),
        ("/sample", "pictures seeds labels seconds nfe conditions"),
        ("/trajectory", "index total t s nfe beta alpha_bar sigma log_snr x_t eps x0 x_s"),
        ("/noise", "picture alpha_bar log_snr"),
    ):
        (said,) = answers[name]
        assert re.findall(r"(\w+): ", said) == fields.split()
        assert "Any" not in said
    assert "pictures: list[str]" in answers["/sample"][0]
    assert "labels: None | list[int]" in answers["/sample"][0]


def test_choices_are_named_and_complete(named):
    offered = types(named["/sample"])["sampler"]
    assert set(re.findall(r"'(\w+)'", offered)) == set(SAMPLERS)
    assert "'slerp'" in types(named["/interpolate"])["path"]
    offered = types(named["/noise"])["schedule"]
    assert set(re.findall(r"'(\w+)'", offered)) == set(CONSTRUCTORS)
    assert {"eta", "variance"} <= {*types(named["/sample"])}
    assert types(named["/noise"])["t"] == "int"
    assert not any("Any" in kind for one in named.values() for kind in types(one).values())
