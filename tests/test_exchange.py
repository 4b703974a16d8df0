"""The commands that talk to the Hub, against the stand-in: the list compared, a model fetched."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hub_fixtures import ID, unet_files

from gendiff import hub
from gendiff.__main__ import main
from gendiff.hub import catalogue

FILES = ("config.json", "scheduler_config.json", "diffusion_pytorch_model.safetensors")


@pytest.fixture
def entry(server, settings, tmp_path, monkeypatch):
    """A list of one model, which is on the Hub as listed."""
    files = unet_files(tmp_path)
    sha, size = server.add(ID, files), sum(len(files[name]) for name in FILES)
    one = catalogue.Entry(
        ID, sha, "diffusion", "Tiny", "tiny", "8 x 8", (), size, {}, "MIT", "me", "quick", None
    )
    listed(monkeypatch, one)
    return one


def listed(monkeypatch, *entries):
    monkeypatch.setattr(catalogue, "entries", lambda: entries)


def test_a_list_that_is_right_is_said_to_be(entry, capsys):
    assert main(["models", "--check"]) == 0
    (row,) = [line for line in capsys.readouterr().out.splitlines() if ID in line]
    assert entry.revision[:8] in row and "as listed" in row and "not yet checked" in row


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"bytes": 10**8}, "listed are 100,000,000"),
        ({"sha256": {FILES[2]: "0" * 64}}, "another sha256"),
        ({"revision": "1" * 40}, "no revision"),
        ({"id": "some/thing"}, "no model some/thing"),
        ({"id": f"{ID}/deeper"}, "no format"),
    ],
)
def test_whatever_is_not_as_listed_is_named_and_the_rest_compared(
    entry, capsys, monkeypatch, change, said
):
    listed(monkeypatch, replace(entry, **change), replace(entry, checked="2026-11-01"))
    assert main(["models", "--check"]) == 1
    told = capsys.readouterr()
    assert said in told.out and "as listed" in told.out and "2026-11-01" in told.out
    assert "1 of 2 are not as listed" in told.err


def test_the_tables_fit_into_a_terminal(settings, server, capsys):
    assert main(["pull"]) == 0
    server.status = 429
    assert main(["models", "--check"]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 120 and len(lines) > 4 * len(catalogue.entries()) - 9


def test_pull_of_what_is_here_says_how_to_refresh_it(server, settings, repo, tmp_path, capsys):
    assert main(["pull", ID]) == 0
    assert "@main" not in capsys.readouterr().out
    server.add(ID, unet_files(tmp_path, seed=1))
    assert main(["pull", ID]) == 0
    said = capsys.readouterr().out
    assert f"python -m gendiff pull {ID}@main" in said and repo in said
    assert main(["pull", f"{ID}@main"]) == 0
    assert repo not in capsys.readouterr().out


def test_without_a_network_nothing_is_said_about_the_list(entry, server, capsys):
    server.close()
    assert main(["models", "--check"]) == 2
    told = capsys.readouterr()
    assert "cannot be reached" in told.err and told.err.count("\n") == 1 and not told.out


def test_pull_says_size_and_licence_fetches_lists_and_forgets(entry, server, capsys):
    assert main(["pull", ID]) == 0
    said = capsys.readouterr().out.splitlines()
    assert "licence: MIT" in said[0] and " MB" in said[0]
    assert f'gendiff.load("{ID}@{entry.revision}")' in said[-1]
    server.log.clear()
    assert main(["pull"]) == 0 and server.log == []
    _, row, below = capsys.readouterr().out.splitlines()
    assert row.startswith(ID) and row.endswith("not yet checked") and below == "    here; quick"
    assert main(["pull", ID]) == 0
    assert f"python -m gendiff pull {ID}@main" not in capsys.readouterr().out  # the list's commit
    assert main(["pull", "--forget", ID]) == 0
    assert main(["pull", "--forget", ID]) == 2
    assert "is not here" in capsys.readouterr().err


def test_pull_fetches_what_it_has_shown_and_no_newer_commit(
    server, settings, repo, tmp_path, capsys, monkeypatch
):
    look = hub.look

    def then_moved(text, *more):
        offer = look(text, *more)
        monkeypatch.setattr(hub, "look", look)
        server.add(ID, unet_files(tmp_path, seed=1))  # main is another commit from now on
        return offer

    monkeypatch.setattr(hub, "look", then_moved)
    assert main(["pull", ID]) == 2
    told = capsys.readouterr()
    assert ID in told.out and f"no revision '{repo}'" in told.err
    assert not [line for line in server.log if "safetensors" in line]
