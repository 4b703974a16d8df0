"""Several processes: a step of two is the step of one, and only the leader writes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from test_fit import DATA, DIFFUSION, GAN

from gendiff import fit
from gendiff.errors import GendiffError
from gendiff.learners import FAMILIES, Placement
from gendiff.team import Team, joined
from gendiff.train import Run

ROOT = Path(__file__).resolve().parent.parent
CPU = torch.device("cpu")


def gradients(recipe, team):
    """Those of one step from the seed's weights: {name: gradient}, and the step's losses."""
    torch.manual_seed(0)
    learner = FAMILIES[recipe.family](recipe, Placement(CPU, team=team))
    if recipe.family == "gan":
        learner.generator.eval()  # batch norm in training has statistics of a slice
    x, labels = DATA.batch(torch.arange(recipe.batch) * 7)
    losses = learner.step(x, labels, torch.Generator().manual_seed(1), 0)
    nets = {name: part for name, part in learner.parts().items() if name.endswith("or")}
    nets = nets or {"net": learner.net}
    found = {
        f"{net}.{name}": p.grad.clone()
        for net, part in nets.items()
        for name, p in part.named_parameters()
        if p.grad is not None
    }
    return found, team.mean(losses)


def as_a_team(folder):
    """What each of the two processes does (run by torchrun, see below)."""
    with joined(CPU) as (team, device):
        assert team.size == 2 and device == CPU
        assert team.agree(team.leads)  # the leader's word, not one's own
        said = {recipe.family: gradients(recipe, team) for recipe in (GAN, DIFFUSION)}
        run = Run(DIFFUSION, folder / "run", device, team=team)
        for _ in fit.fit(run, DATA, images=DIFFUSION.images):
            team.wait()
        weights = [p.detach() for p in run.training.net.parameters()]
        torch.save({"said": said, "weights": weights}, folder / f"{team.rank}.pt")


def test_a_step_of_two_processes_is_the_step_of_one(tmp_path):
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2"]
    command += ["--standalone", __file__, str(tmp_path)]
    paths = os.pathsep.join([str(ROOT), str(ROOT / "tests")])
    environment = {**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=200
    )
    assert done.returncode == 0, done.stderr[-3000:]
    first, second = (torch.load(tmp_path / f"{rank}.pt") for rank in range(2))
    for recipe in (GAN, DIFFUSION):
        alone, losses = gradients(recipe, Team())
        for other in (first, second):
            theirs, their_losses = other["said"][recipe.family]
            assert their_losses == pytest.approx(losses, rel=1e-4)
            assert theirs.keys() == alone.keys() and len(alone) > 5
            for name, grad in alone.items():
                torch.testing.assert_close(theirs[name], grad, rtol=1e-3, atol=1e-6)
    for mine, yours in zip(first["weights"], second["weights"], strict=True):
        assert torch.equal(mine, yours)
    run = Run(DIFFUSION, tmp_path / "run", CPU)
    assert run.images == DIFFUSION.images  # the leader kept it
    for mine, kept in zip(first["weights"], run.training.net.parameters(), strict=True):
        assert torch.equal(mine, kept.detach())


def test_a_batch_that_cannot_be_shared_is_refused():
    assert [len(part) for part in Team(1, 2).share(torch.zeros(4), torch.zeros(4, 3))] == [2, 2]
    with pytest.raises(GendiffError, match="3 processes cannot share a batch of 4 evenly"):
        Team(0, 3).share(torch.zeros(4))


def test_alone_nothing_is_asked_of_anyone():
    with joined(CPU) as (team, device):
        assert (team.rank, team.size, team.leads, device) == (0, 1, True, CPU)
        assert team.agree(True) and not team.agree(False)
        team.wait()


if __name__ == "__main__":
    as_a_team(Path(sys.argv[1]))
