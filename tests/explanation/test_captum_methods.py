"""Captum's methods with memory held by closure."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from memorywrap import MemoryWrapLayer
from memorywrap.explanation.captum_methods import METHODS, attribute
from memorywrap.explanation.integrated_gradients import Case


class _ChannelMeans(nn.Module):
    def forward(self, images: Tensor) -> Tensor:
        return images.mean(dim=(2, 3))


@pytest.fixture
def linear_scene():
    """F = a . mean(input) + b . mean(sample): one sample has weight 1 whatever its similarity."""
    a, b = torch.tensor([1.0, -2.0, 3.0]), torch.tensor([0.5, 4.0, -1.0])
    classifier = nn.Linear(6, 1, bias=False)
    classifier.weight.data = torch.cat([a, b])[None]
    layer = MemoryWrapLayer(3, 1, classifier=classifier)
    torch.manual_seed(0)
    return a, b, layer, torch.rand(3, 8, 8), torch.rand(1, 3, 8, 8)


@pytest.mark.parametrize("method", ["saliency", "smoothgrad"])
def test_gradient_methods_find_the_weights_of_a_linear_model(linear_scene, method) -> None:
    a, b, layer, image, memory = linear_scene
    map_, maps, _ = attribute(method, _ChannelMeans(), layer, Case(image, memory, 0, shown=[0]))
    torch.testing.assert_close(map_, (a / 64)[:, None, None].expand(3, 8, 8))
    torch.testing.assert_close(maps[0], (b / 64)[:, None, None].expand(3, 8, 8))


def test_input_x_gradient_on_a_linear_model(linear_scene) -> None:
    a, b, layer, image, memory = linear_scene
    map_, maps, _ = attribute(
        "input_x_gradient", _ChannelMeans(), layer, Case(image, memory, 0, shown=[0])
    )
    torch.testing.assert_close(map_, (a / 64)[:, None, None] * image)
    torch.testing.assert_close(maps[0], (b / 64)[:, None, None] * memory[0])


def test_occlusion_finds_what_painting_over_a_patch_changes(linear_scene) -> None:
    a, _, layer, image, memory = linear_scene
    image[:] = 1.0  # equal to the white baseline: painting white changes nothing
    image[:, 2:4, 2:4] = 0.0  # but here
    map_, *_ = attribute(
        "occlusion", _ChannelMeans(), layer, Case(image, memory, 0), baseline="white"
    )
    assert float(map_[:, 6:, 6:].abs().max()) < 1e-6
    # Whitening a 2 x 2 hole raises F by sum(a) * 4 / 64, so it attributes minus that.
    assert float(map_[0, 2, 2]) == pytest.approx(-float(a.sum()) * 4 / 64, rel=1e-4)


@pytest.mark.parametrize("method", METHODS)
def test_maps_have_the_shape_of_their_picture_and_repeat(method) -> None:
    torch.manual_seed(1)
    encoder = nn.Sequential(nn.Conv2d(3, 4, 3), nn.SiLU(), nn.Flatten(), nn.Linear(4 * 36, 5))
    layer = MemoryWrapLayer(5, 3)
    image, memory = torch.rand(3, 8, 8), torch.rand(4, 3, 8, 8)
    first = attribute(method, encoder, layer, Case(image, memory, 1, shown=[2, 0]))
    torch.rand(1), np.random.rand(1)  # chance elsewhere makes no difference
    second = attribute(method, encoder, layer, Case(image, memory, 1, shown=[2, 0]))
    assert first[0].shape == image.shape
    assert set(first[1]) == {0, 2}
    assert float(first[0].abs().sum()) > 0
    torch.testing.assert_close(first[0], second[0])
    torch.testing.assert_close(first[1][2], second[1][2])


@pytest.mark.parametrize("method", ["saliency", "occlusion"])
def test_the_contrast_is_attributed_as_if_it_stood_beside_the_used_samples(method) -> None:
    torch.manual_seed(2)
    encoder = nn.Sequential(nn.Conv2d(3, 4, 3), nn.SiLU(), nn.Flatten(), nn.Linear(4 * 36, 5))
    layer = MemoryWrapLayer(5, 3)
    image, memory = torch.rand(3, 8, 8), torch.rand(4, 3, 8, 8)
    input_map, maps, contrast = attribute(
        method, encoder, layer, Case(image, memory[:3], 1, shown=[1], contrast=(memory[3], b"3"))
    )
    beside = attribute(method, encoder, layer, Case(image, memory, 1, shown=[3]))
    torch.testing.assert_close(contrast, beside[1][3])
    assert float(contrast.abs().sum()) > 0
    alone = attribute(method, encoder, layer, Case(image, memory[:3], 1, shown=[1]))
    torch.testing.assert_close(input_map, alone[0])  # what is used stays as it is
    torch.testing.assert_close(maps[1], alone[1][1])
    assert alone[2] is None


def test_unknown_method_is_named(linear_scene) -> None:
    _, _, layer, image, memory = linear_scene
    with pytest.raises(ValueError, match="unknown method 'magic': expected one of saliency"):
        attribute("magic", _ChannelMeans(), layer, Case(image, memory, 0))
