"""A new encoder is one function under a name."""

from __future__ import annotations

import pytest
import tiny
import torch
from torch import nn

from memorywrap import register_encoder
from memorywrap.encoders import ENCODERS, create_encoder


def _flat(dim: object) -> nn.Module:
    network = nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 5))
    network.embedding_dim = dim
    return network


def test_a_registered_encoder_is_built_trained_and_explained(monkeypatch) -> None:
    monkeypatch.setitem(ENCODERS, "flat", None)  # taken out again after the test

    @register_encoder("flat")
    def flat() -> nn.Module:
        return _flat(5)

    model = tiny.classifier(encoder="flat")
    assert model.bank.embeddings.shape == (12, 5)
    assert model.explain(tiny.picture(), steps=2).input_map.shape == (3, 32, 32)
    model.requires_grad_(True).train()
    model(torch.rand(4, 3, 32, 32), torch.rand(6, 3, 32, 32)).sum().backward()
    assert model.encoder[1].weight.grad.abs().sum() > 0


def test_an_encoder_that_hides_its_size_is_refused(monkeypatch) -> None:
    monkeypatch.setitem(ENCODERS, "flat", lambda: _flat("5"))
    with pytest.raises(ValueError, match="encoder 'flat': expected an attribute embedding_dim"):
        create_encoder("flat")
