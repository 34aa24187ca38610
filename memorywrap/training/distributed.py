"""One training in several processes, started by torchrun: the same steps as in one process.

Each process encodes its share of the inputs and its share of the memory; the memory embeddings are
then gathered, so that every input sees the whole memory, and batch normalisation uses the statistics
of all shares. What is computed differs from one process by rounding alone.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch import distributed as dist
from torch.nn.parallel import DistributedDataParallel

from memorywrap.classifier import MemoryWrapClassifier
from memorywrap.devices import choose_device
from memorywrap.training.objective import Objective
from memorywrap.training.recipes import Recipe


@dataclass(frozen=True)
class Processes:
    """The processes of one training, seen from one of them."""

    rank: int = 0
    count: int = 1

    @property
    def first(self) -> bool:
        """Whether this is the process that writes files and talks."""
        return self.rank == 0

    def share(self, values: Tensor) -> Tensor:
        """This process's part of a batch."""
        return values.tensor_split(self.count)[self.rank] if self.count > 1 else values

    def total(self, values: Tensor) -> Tensor:
        """The sum over the processes."""
        if self.count > 1:
            dist.all_reduce(values)
        return values

    def wait(self) -> None:
        """Until every process is here."""
        if self.count > 1:
            dist.barrier()


def join(device: str = "auto") -> tuple[Processes, torch.device]:
    """The processes that torchrun started, this one alone without it, and this one's device."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        return Processes(), choose_device(device)
    chosen = choose_device(device)
    if chosen.type == "cuda":
        chosen = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
        torch.cuda.set_device(chosen)
    if not dist.is_initialized():
        dist.init_process_group("nccl" if chosen.type == "cuda" else "gloo")
    return Processes(dist.get_rank(), dist.get_world_size()), chosen


def leave(processes: Processes) -> None:
    """After the last step."""
    if processes.count > 1:
        dist.destroy_process_group()


def share_training(
    model: MemoryWrapClassifier, recipe: Recipe, processes: Processes
) -> Objective | DistributedDataParallel:
    """The objective of a training: called with this process's part of a batch; its gradients are
    those of all processes."""
    if processes.count == 1:
        return Objective(model, recipe)
    _share_statistics(model)
    ids = [model.device.index] if model.device.type == "cuda" else None
    # Buffers are equal already: every process computes them from the statistics of all.
    return DistributedDataParallel(
        Objective(model, recipe, _gathered), device_ids=ids, broadcast_buffers=False
    )


def _gathered(mine: Tensor, size: int) -> Tensor:
    """The embeddings (size, dim) of the whole memory, from every process's share of them."""
    # Processes may hold shares of different sizes: each fills in its rows, and the sum is all.
    rows = torch.arange(size, device=mine.device).tensor_split(dist.get_world_size())
    whole = mine.new_zeros(size, mine.shape[1])
    return _Sum.apply(whole.index_copy(0, rows[dist.get_rank()], mine))


class _Sum(torch.autograd.Function):
    """The sum over the processes; so is its gradient."""

    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        # In float32: gloo has no bfloat16, and shares must add up as in one process.
        summed = values.float().contiguous().clone()
        dist.all_reduce(summed)
        return summed.to(values.dtype)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        summed = gradient.float().contiguous().clone()
        dist.all_reduce(summed)
        return summed.to(gradient.dtype)


class _SharedBatchNorm(nn.BatchNorm2d):
    """Batch normalisation with the statistics of all processes, on any device.

    torch's SyncBatchNorm is for GPUs only.
    """

    def forward(self, inputs: Tensor) -> Tensor:
        if not self.training:
            return super().forward(inputs)
        values = inputs.float()
        count = values.new_full((1,), values.numel() / values.shape[1])
        sums = torch.cat([values.sum(dim=(0, 2, 3)), count])
        sums = _Sum.apply(sums)
        total = sums[-1].detach()
        mean = sums[:-1] / total
        centred = values - mean[:, None, None]
        variance = _Sum.apply(centred.pow(2).sum(dim=(0, 2, 3))) / total
        assert self.running_mean is not None and self.running_var is not None  # it keeps them
        assert self.num_batches_tracked is not None and self.momentum is not None
        with torch.no_grad():
            self.num_batches_tracked += 1
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(variance * total / (total - 1), self.momentum)
        scale = self.weight * torch.rsqrt(variance + self.eps)
        return (centred * scale[:, None, None] + self.bias[:, None, None]).to(inputs.dtype)


def _share_statistics(model: nn.Module) -> None:
    """Let batch normalisation see all processes; names and weights stay."""
    on_gpu = next(model.parameters()).device.type == "cuda"
    for module in list(model.modules()):
        for name, child in module.named_children():
            if type(child) is not nn.BatchNorm2d:
                continue
            if on_gpu:
                shared = nn.SyncBatchNorm.convert_sync_batchnorm(child)
            else:
                shared = _SharedBatchNorm(child.num_features, child.eps, child.momentum)
                shared.load_state_dict(child.state_dict())
            setattr(module, name, shared)
