"""The comparison of initial weights: the same networks, other numbers to begin with, a row each."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from bench import initial_weights
from memorywrap.encoders import ENCODERS, create_encoder


@pytest.fixture
def registry(monkeypatch):
    """What is registered here is forgotten afterwards."""
    for name, build in initial_weights.REDRAWN.items():
        monkeypatch.setitem(ENCODERS, name, build)


def depthwise(network):
    """The mean size of the weights of its depthwise filters, which have one input channel each."""
    filters = [
        part.weight.abs().mean()
        for part in network.modules()
        if isinstance(part, nn.Conv2d) and part.groups > 1
    ]
    assert len(filters) == 17
    return torch.stack(filters).mean().item()


def test_weights_by_the_fan_are_alike_in_both_networks(registry):
    # Of nine inputs to a depthwise filter PyTorch draws to 1/3; of 9 x channels outputs torchvision far less.
    fan_in = [
        depthwise(create_encoder(name)) for name in ("mobilenet_v2_by_fan_in", "mobilenet_v2_cifar")
    ]
    fan_out = [
        depthwise(create_encoder(name))
        for name in ("mobilenet_v2", "mobilenet_v2_cifar_by_fan_out")
    ]
    assert fan_in == pytest.approx([1 / 6] * 2, rel=0.05)
    assert fan_out[0] == pytest.approx(fan_out[1], rel=0.1)
    assert max(fan_out) < min(fan_in) / 3


def test_a_row_for_each_even_before_the_first_run(registry, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(sys, "argv", ["initial_weights", "--out", str(tmp_path), "--print"])
    initial_weights.main()
    table = capsys.readouterr().out
    assert [f"| 0 | {name} | paper |" in table for name in initial_weights.ALL] == [True] * 4


def test_the_table_in_the_docs_is_that_of_its_run_folders(monkeypatch, registry, tmp_path):
    measured = Path(__file__).parents[2] / "docs/measured/weights"
    shutil.copytree(measured, tmp_path, dirs_exist_ok=True)
    monkeypatch.setattr(sys, "argv", ["initial_weights", "--out", str(tmp_path), "--print"])
    initial_weights.main()
    for table in (tmp_path, measured):
        assert "| 3 | mobilenet_v2_cifar | paper |" in (table / "initial-weights.md").read_text()
    assert (tmp_path / "initial-weights.md").read_text() == (
        measured / "initial-weights.md"
    ).read_text()
