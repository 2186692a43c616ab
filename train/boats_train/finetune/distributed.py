"""Several processes that train one network together, as `torchrun` starts them, or one alone.

`torchrun --nproc-per-node=2 --no-python boats-train ...` starts the same command twice and tells
each its rank. The processes meet in PyTorch's process group: NCCL between GPUs, gloo without.
"""

import itertools
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta

import torch
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel

from boats_runtime.errors import UsageError

TIMEOUT = timedelta(hours=1)
"""How long one process waits for the others, who may be decoding photos from a slow disk."""

_TIMES = itertools.count()


@dataclass(frozen=True)
class DistributedContext:
    """This process among those that train together; by itself where nothing else is said.

    Attributes:
        rank: This process, from 0. Rank 0 writes and prints.
        world_size: How many there are.
        device: Where this one computes.
    """

    rank: int = 0
    world_size: int = 1
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    @property
    def is_main(self) -> bool:
        """Whether this process writes and prints."""
        return self.rank == 0

    def all_reduce_sum(self, values: torch.Tensor) -> torch.Tensor:
        """Adds up a tensor over the processes; all of them must call this, with the same shape.

        Returns:
            The sum, on the tensor's own device; with one process the tensor itself.
        """
        if self.world_size == 1:
            return values
        total = values.to(self.device, copy=True)
        distributed.all_reduce(total)
        return total.to(values.device)

    def all_equal(self, number: int) -> bool:
        """Says whether all processes came with the same number."""
        numbers = torch.zeros(self.world_size, dtype=torch.int64)
        numbers[self.rank] = number
        return len(set(self.all_reduce_sum(numbers).tolist())) == 1

    @contextmanager
    def rank_zero_first(self) -> Iterator[None]:
        """Lets rank 0 do something first, like a download, that the others then find done."""
        if not self.is_main:
            self.barrier()
        try:
            yield
        finally:
            if self.is_main:
                self.barrier()

    def wrap(self, model: nn.Module) -> nn.Module:
        """Wraps a model so that its gradients are the processes' mean; alone it stays as it is.

        Its weights become those of rank 0. Buffers are not kept equal later: what is trained here
        has none that change.
        """
        if self.world_size == 1:
            return model
        on_gpu = [self.device] if self.device.type == "cuda" else None
        return DistributedDataParallel(model, device_ids=on_gpu, broadcast_buffers=False)

    def barrier(self) -> None:
        """Waits until every process has come here."""
        self.all_reduce_sum(torch.zeros(1))


@contextmanager
def join_distributed() -> Iterator[DistributedContext]:
    """Joins the processes that `torchrun` started, until the block ends for all of them.

    Without `torchrun` nothing is joined, and the one process is rank 0 of 1. With it this process's
    GPU becomes PyTorch's current one: a network that is moved to `cuda` in the block goes there.

    Raises:
        UsageError: There are more processes than GPUs.
    """
    cuda = torch.cuda.is_available()
    if not (distributed.is_available() and distributed.is_torchelastic_launched()):
        yield DistributedContext(device=torch.device("cuda" if cuda else "cpu"))
        return
    device = torch.device("cpu")
    if cuda:
        local, gpus = int(os.environ["LOCAL_RANK"]), torch.cuda.device_count()
        if local >= gpus:
            raise UsageError(
                f"torchrun started more processes than there are GPUs: give --nproc-per-node={gpus}"
            )
        device = torch.device("cuda", local)
        torch.cuda.set_device(device)
    meeting = distributed.rendezvous("env://", timeout=TIMEOUT)  # type: ignore[attr-defined]
    store, rank, count = next(meeting)
    # Under a name of its own each time: the addresses of an earlier meeting are still there.
    store = distributed.PrefixStore(f"boats-{next(_TIMES)}", store)  # type: ignore[attr-defined]
    distributed.init_process_group(
        "nccl" if cuda else "gloo",
        store=store,
        rank=rank,
        world_size=count,
        timeout=TIMEOUT,
        device_id=device if cuda else None,
    )
    try:
        yield DistributedContext(rank, count, device)
    finally:
        distributed.destroy_process_group()
