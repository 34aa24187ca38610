"""Captum's methods with memory held by closure."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from memorywrap import MemoryWrapLayer
from memorywrap.explanation.explanation import methods
from memorywrap.explanation.methods import INTEGRATED_GRADIENTS, METHODS, Case

OURS = [name for name in methods() if name != INTEGRATED_GRADIENTS]


def attribute(method, embed, layer, case, **settings):
    """Maps of the input, of the shown samples, and of the contrast."""
    (found,) = METHODS[method].attribute(embed, layer, [case], **settings)
    return found.input_map, found.memory_maps, found.contrast_map


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


def test_occlusion_covers_places_whatever_number_of_channels_they_have() -> None:
    """Feature cells have more than three."""
    torch.manual_seed(0)
    image, memory, layer = torch.rand(12, 8, 8), torch.rand(2, 12, 8, 8), MemoryWrapLayer(12, 2)
    seen = []

    def embed(pictures: Tensor) -> Tensor:
        seen.append(len(pictures))
        return pictures.mean(dim=(2, 3))

    map_, *_ = attribute("occlusion", embed, layer, Case(image, memory, 0), baseline="mean")
    assert map_.shape == image.shape and sum(seen) < 30  # nine places, and what all methods ask
    assert torch.allclose(map_, map_[:1].expand_as(map_))  # a place is covered in all channels


@pytest.mark.parametrize("method", OURS)
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


@pytest.mark.parametrize("method", OURS)
def test_an_unknown_baseline_is_named(linear_scene, method) -> None:
    _, _, layer, image, memory = linear_scene
    with pytest.raises(ValueError, match="unknown baseline 'pink': expected one of white"):
        attribute(method, _ChannelMeans(), layer, Case(image, memory, 0), baseline="pink")


@pytest.mark.parametrize("method", ["smoothgrad", "gradient_shap"])
def test_chance_is_its_own_in_several_threads_and_leaves_that_of_others_alone(method) -> None:
    torch.manual_seed(3)
    encoder = nn.Sequential(nn.Conv2d(3, 4, 3), nn.SiLU(), nn.Flatten(), nn.Linear(4 * 36, 5))
    layer, case = MemoryWrapLayer(5, 3), Case(torch.rand(3, 8, 8), torch.rand(4, 3, 8, 8), 1)
    expected, *_ = attribute(method, encoder, layer, case)
    state = torch.get_rng_state(), np.random.get_state()[1]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: attribute(method, encoder, layer, case)[0], range(64)))
    for one in found:
        torch.testing.assert_close(one, expected)
    assert torch.equal(torch.get_rng_state(), state[0])
    assert (np.random.get_state()[1] == state[1]).all()
