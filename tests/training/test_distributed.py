"""Training on several processes gives what one gives."""

from __future__ import annotations

import os
import socket
from dataclasses import replace

import pytest
import torch
from colours import SHORT, TINY, assert_same, tiny_encoder
from torch import nn

from memorywrap.encoders import ENCODERS
from memorywrap.training import distributed
from memorywrap.training.augment import Augment
from memorywrap.training.distributed import Processes
from memorywrap.training.loop import train
from memorywrap.training.runs import RunFolder

KINDS = ("memory-wrap", "memory-wrap apart", "std")


def _train_as(rank, count, port, folder, queue):
    os.environ.update(
        MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port), RANK=str(rank), WORLD_SIZE=str(count)
    )
    torch.set_num_threads(1)

    def encoder():
        torch.manual_seed(0)
        network = tiny_encoder()
        network[-1] = nn.Identity()  # dropout's chance differs between one process and two
        return network

    ENCODERS["tiny"] = encoder
    found = {}
    for kind in KINDS:
        variant, _, apart = kind.partition(" ")
        # An odd batch and memory, so that the shares differ in size.
        recipe = replace(
            SHORT,
            epochs=1,
            batch=15,
            memory=7,
            apart=bool(apart),
            counterfactual_memories=0.5 if kind == "memory-wrap" else 0.0,
            augment=Augment(translate=2, flip=True),
        )
        tiny = replace(TINY, recipe=recipe, variant=variant)
        model = train(tiny, folder / kind, device="cpu", progress=False)
        found |= {f"{kind} {name}": value.numpy() for name, value in model.state_dict().items()}
    processes, _ = distributed.join("cpu")
    distributed.leave(processes)
    if rank == 0:
        queue.put(found)


@pytest.mark.slow
def test_two_processes_equal_one(tmp_path):
    spawn = torch.multiprocessing.get_context("spawn")
    found = []
    for count in (1, 2):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        queue = spawn.Queue()
        arguments = (count, port, tmp_path / str(count), queue)
        workers = [
            spawn.Process(target=_train_as, args=(rank, *arguments)) for rank in range(count)
        ]
        for worker in workers:
            worker.start()
        found.append({name: torch.from_numpy(v) for name, v in queue.get(timeout=120).items()})
        for worker in workers:
            worker.join(30)
            assert worker.exitcode == 0
    assert_same(*found, rtol=1e-3, atol=1e-4)
    for kind in KINDS:
        rows = [RunFolder(tmp_path / count / kind).metrics()[0] for count in ("1", "2")]
        assert rows[0]["loss"] == pytest.approx(rows[1]["loss"], rel=1e-3)
        assert rows[0]["accuracy"] == pytest.approx(rows[1]["accuracy"], abs=100 / 45 + 0.01)


def test_a_process_alone_shares_with_nobody():
    values = torch.arange(5)
    assert torch.equal(Processes().share(values), values)
    assert [Processes(rank, 2).share(values).tolist() for rank in (0, 1)] == [[0, 1, 2], [3, 4]]
