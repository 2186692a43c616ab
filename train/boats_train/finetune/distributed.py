"""Training in several processes started by `torchrun`.

`torchrun --nproc-per-node=2 --no-python boats-train ...` starts the command twice and passes each
process its rank. The processes communicate through NCCL on GPUs and through gloo on CPUs.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import torch
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel

from boats_runtime.errors import UsageError

TIMEOUT = timedelta(hours=1)
"""Longest wait for the other processes, which may be decoding images from a slow disk."""

CPU = torch.device("cpu")


@dataclass(frozen=True)
class DistributedContext:
    """This process, its rank and device among the processes that train together."""

    rank: int = 0
    world_size: int = 1
    device: torch.device = CPU

    @property
    def is_main(self) -> bool:
        """Whether this process writes and prints."""
        return self.rank == 0

    def all_reduce_sum(self, values: torch.Tensor) -> torch.Tensor:
        """Return the sum of a tensor over all processes, on the device of the tensor.

        All processes must call this with the same shape. One process gets the tensor itself.
        """
        if self.world_size == 1:
            return values
        total = values.to(self.device, copy=True)
        distributed.all_reduce(total)
        return total.to(values.device)

    def all_equal(self, number: int) -> bool:
        """Return whether all processes pass the same number."""
        numbers = torch.zeros(self.world_size, dtype=torch.int64)
        numbers[self.rank] = number
        return len(set(self.all_reduce_sum(numbers).tolist())) == 1

    @contextmanager
    def rank_zero_first(self) -> Iterator[None]:
        """Run the block in rank 0 before the other ranks, for example a download to a cache."""
        if not self.is_main:
            self.barrier()
        try:
            yield
        finally:
            if self.is_main:
                self.barrier()

    def wrap(self, model: nn.Module) -> nn.Module:
        """Return the model with the weights of rank 0 and gradients averaged over the processes."""
        if self.world_size == 1:
            return model
        device_ids = [self.device] if self.device.type == "cuda" else None
        return DistributedDataParallel(model, device_ids=device_ids)

    def barrier(self) -> None:
        """Wait until all processes have reached this call."""
        self.all_reduce_sum(torch.zeros(1))


@contextmanager
def join_distributed() -> Iterator[DistributedContext]:
    """Join the processes started by `torchrun` for the duration of the block.

    Without `torchrun`, the process is rank 0 of 1. With it, the GPU of this process becomes the
    current device of PyTorch.

    Raises:
        UsageError: If there are more processes than GPUs.
    """
    cuda = torch.cuda.is_available()
    if not (distributed.is_available() and distributed.is_torchelastic_launched()):
        yield DistributedContext(device=torch.device("cuda" if cuda else "cpu"))
        return
    device = CPU
    if cuda:
        local_rank, gpus = int(os.environ["LOCAL_RANK"]), torch.cuda.device_count()
        if local_rank >= gpus:
            raise UsageError(
                f"torchrun started more processes than there are GPUs: give --nproc-per-node={gpus}"
            )
        device = torch.device("cuda", local_rank)
        torch.cuda.set_device(device)
    distributed.init_process_group(
        "nccl" if cuda else "gloo", timeout=TIMEOUT, device_id=device if cuda else None
    )
    try:
        yield DistributedContext(distributed.get_rank(), distributed.get_world_size(), device)
    finally:
        distributed.destroy_process_group()
