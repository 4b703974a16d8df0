"""Training by several processes, as torchrun starts them: one a GPU, or one a core.

Every process makes the same batch with the same random numbers, computes with its own slice of it,
and takes the mean of all gradients before the optimizer's step. So a step of N processes is the
step of one, but for rounding, and every process holds the same weights. (Batch norm, on the
processor, and mode seeking are the exceptions: their statistics are those of a slice.)
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
import torch.distributed as dist
from torch import Tensor, nn

from gendiff.errors import GendiffError


class Team:
    """The processes that train together.

    Attributes:
        rank: this process, from 0; only 0 writes and reports.
        size: how many there are; 1 where nobody started a team.
    """

    def __init__(self, rank: int = 0, size: int = 1) -> None:
        self.rank, self.size = rank, size

    @property
    def leads(self) -> bool:
        """Whether this is the process that writes and reports."""
        return self.rank == 0

    def share(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        """This process's slice of each tensor's first dimension.

        Raises:
            GendiffError: the team does not divide that dimension.
        """
        if len(tensors[0]) % self.size:
            raise GendiffError(
                f"{self.size} processes cannot share a batch of {len(tensors[0])} evenly; "
                "choose a batch that they divide."
            )
        return tuple(tensor.chunk(self.size)[self.rank] for tensor in tensors)

    def average_gradients(self, net: nn.Module) -> None:
        """Replace each gradient by its mean over the team."""
        if self.size == 1:
            return
        grads = [p.grad for p in net.parameters() if p.grad is not None]
        flat = torch.cat([grad.flatten() for grad in grads])
        dist.all_reduce(flat)
        for grad, mean in zip(grads, flat.split([g.numel() for g in grads]), strict=True):
            grad.copy_(mean.view_as(grad) / self.size)

    def mean(self, losses: Mapping[str, Tensor]) -> dict[str, float]:
        """Each 0-d loss, averaged over the team, as a number."""
        values = torch.stack([loss.detach().double() for loss in losses.values()])
        if self.size > 1:
            dist.all_reduce(values)
        return dict(zip(losses, (values / self.size).tolist(), strict=True))

    def wait(self) -> None:
        """Until all are here."""
        if self.size > 1:
            dist.barrier()

    def agree(self, word: bool) -> bool:
        """What the leader says: all must stop at the same step."""
        if self.size == 1:
            return word
        said = torch.tensor([int(word)], device=_device())
        dist.broadcast(said, src=0)
        return bool(said)


@contextmanager
def joined(device: torch.device) -> Iterator[tuple[Team, torch.device]]:
    """The team that torchrun's environment describes, and this process's device; alone without it.

    Raises:
        GendiffError: there are fewer GPUs than processes here.
    """
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        yield Team(), device
        return
    if device.type == "cuda":
        local = int(os.environ.get("LOCAL_RANK", "0"))
        if local >= torch.cuda.device_count():
            raise GendiffError(
                f"There are {torch.cuda.device_count()} GPUs here; start as many processes."
            )
        torch.cuda.set_device(local)
        device = torch.device("cuda", local)
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        yield Team(dist.get_rank(), size), device
    finally:
        dist.destroy_process_group()


def _device() -> torch.device:
    """Where the team's messages must lie: nccl carries CUDA tensors only."""
    return torch.device("cuda" if dist.get_backend() == "nccl" else "cpu")
