"""Chance of a training: by seed and place alone, and lent for the time being."""

from __future__ import annotations

import pytest
import torch

from memorywrap.training.chance import generator, own_chance, seed_torch

CPU = torch.device("cpu")


def test_every_place_has_a_chance_of_its_own_and_always_the_same():
    places = [(0, 0), (0, 1), (1, 0), (1, 1)]
    seeds = [generator(seed, *place).initial_seed() for seed in (3, 4) for place in places]
    assert len(set(seeds)) == 8
    again = [generator(seed, *place).initial_seed() for seed in (3, 4) for place in places]
    assert again == seeds


def test_what_is_drawn_within_changes_nothing_without():
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    with own_chance(CPU):
        seed_torch(1, CPU)
        first = torch.rand(3)
    assert torch.equal(torch.rand(3), expected)
    with own_chance(CPU):
        seed_torch(1, CPU)
        assert torch.equal(torch.rand(3), first)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_the_gpus_chance_is_given_back_too():
    gpu = torch.device("cuda")
    torch.manual_seed(7)
    expected = torch.rand(3, device=gpu)
    torch.manual_seed(7)
    with own_chance(gpu):
        seed_torch(1, gpu)
        assert not torch.equal(torch.rand(3, device=gpu), expected)
    assert torch.equal(torch.rand(3, device=gpu), expected)
