"""Attribution to feature cells: complete, and the same as one long path where the encoder is linear."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from memorywrap.explanation.cells import cell_gradients
from memorywrap.explanation.methods import Case
from memorywrap.explanation.path_cache import PathCache
from memorywrap.layer import MemoryWrapLayer


class Second(nn.Module):
    """The second part of an encoder: cells (n, 4, 3, 3) -> (n, 8)."""

    def __init__(self, linear: bool):
        super().__init__()
        self.mix, self.linear = nn.Conv2d(4, 8, 1), linear

    def forward(self, cells):
        mixed = self.mix(cells)
        return (mixed if self.linear else mixed.tanh()).mean(dim=(2, 3))


@pytest.fixture(params=[True, False], ids=["linear", "curved"])
def second(request) -> Second:
    torch.manual_seed(1)
    return Second(request.param).eval().requires_grad_(False)


@pytest.fixture
def layer() -> MemoryWrapLayer:
    torch.manual_seed(2)
    return MemoryWrapLayer(8, 3).eval().requires_grad_(False)


@pytest.fixture
def case() -> Case:
    torch.manual_seed(3)
    return Case(
        image=torch.randn(4, 3, 3), memory=torch.randn(5, 4, 3, 3), target=1, shown=[0, 2],
        contrast=(torch.randn(4, 3, 3), b"contrast"), keys=[bytes([at]) for at in range(5)],
    )  # fmt: skip


def logit(second, layer, image, memory):
    return layer(second(image[None]), second(memory))[0, 1]


def test_all_that_is_attributed_adds_up_to_the_change_of_the_logit(second, layer, case):
    (found,) = cell_gradients(layer, [case], PathCache(second), baseline="mean", steps=32)
    starts = [
        one.mean(dim=(-2, -1), keepdim=True).expand_as(one) for one in (case.image, case.memory)
    ]
    change = logit(second, layer, case.image, case.memory) - logit(second, layer, *starts)
    assert found.change == pytest.approx(float(change), abs=1e-4)
    total = found.input_total + float(found.memory_totals.sum())
    assert total == pytest.approx(found.change, abs=0.01 * abs(found.change) + 1e-3)
    assert float(found.input_map.sum()) == pytest.approx(found.input_total, abs=1e-3)
    for place, map_ in found.memory_maps.items():
        assert float(map_.sum()) == pytest.approx(float(found.memory_totals[place]), abs=1e-3)
    assert set(found.memory_maps) == {0, 2} and found.contrast_map is not None
    assert found.steps == 32 and found.converged is None


def test_with_a_linear_second_part_it_is_integrated_gradients(layer, case):
    torch.manual_seed(1)
    second = Second(linear=True).eval().requires_grad_(False)
    (found,) = cell_gradients(layer, [case], PathCache(second), baseline="mean")
    start = case.image.mean(dim=(1, 2), keepdim=True).expand_as(case.image)
    starts = case.memory.mean(dim=(2, 3), keepdim=True).expand_as(case.memory)
    total, points = torch.zeros_like(case.image), 1000
    for step in range(points):
        at = (step + 0.5) / points
        image = (start + at * (case.image - start)).requires_grad_()
        memory = starts + at * (case.memory - starts)
        (gradient,) = torch.autograd.grad(logit(second, layer, image, memory), image)
        total += gradient / points
    torch.testing.assert_close(found.input_map, total * (case.image - start), atol=2e-3, rtol=0.02)


def test_steps_grow_until_the_sum_is_right(layer, case, monkeypatch):
    torch.manual_seed(1)
    second = Second(linear=False).eval().requires_grad_(False)
    monkeypatch.setattr("memorywrap.explanation.cells.TOLERANCE", 1e-9)
    (few,) = cell_gradients(layer, [case], PathCache(second), baseline="border")
    assert few.steps > 16 and few.completeness_error >= 0
    monkeypatch.setattr("memorywrap.explanation.cells._MOST", 16)
    (stopped,) = cell_gradients(layer, [case], PathCache(second), baseline="border")
    assert stopped.steps == 16 and stopped.converged is False


def test_what_cells_have_no_start_of_is_refused(second, layer, case):
    with pytest.raises(ValueError, match="border, mean"):
        cell_gradients(layer, [case], PathCache(second), baseline="white")
    with pytest.raises(ValueError, match="at least 1"):
        cell_gradients(layer, [case], PathCache(second), baseline="mean", steps=0)


def test_what_is_viewed_holds_where_others_forget_it_meanwhile():
    pictures = torch.rand(2, 3, 8, 8)

    def view(images):
        cache._viewed.clear()  # as another thread does with many samples
        return images + 1

    cache = PathCache(lambda images: images, view=view)
    first = cache.viewed([b"a"], pictures[:1])
    both = cache.viewed([b"a", b"b"], pictures)
    assert torch.equal(both, pictures + 1) and torch.equal(both[:1], first)
    assert set(cache._viewed) == {b"a", b"b"}
