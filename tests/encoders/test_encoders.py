"""Every encoder of the registry keeps the registry's promises."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from memorywrap.encoders import ENCODERS, PHOTO, create_encoder, folded

IMAGES = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))

# Parameters in millions without the classifier, as published for 32 x 32 (WideResNet: the paper's
# 36.5) or counted from torchvision's documentation less the last layer.
MILLIONS = {
    "compact": 1.6,
    "whitened": 2.0,
    "mobilenet_v2": 2.2,
    "mobilenet_v2_cifar": 2.3,
    "resnet18": 11.2,
    "resnet34": 21.3,
    "efficientnet_b0": 4.0,
    "efficientnet_b0_320": 3.6,  # those of the paper's repository, as counted from it
    "shufflenet_v2": 1.3,
    "shufflenet_v2_x0_5": 0.3,
    "densenet121": 6.9,
    "densenet121_growth12": 1.0,
    "googlenet": 5.6,
    "vit": 3.2,
    "vit_7x384": 6.3,
    "wide_resnet28_10": 36.5,
}


def test_an_unknown_encoder_is_refused_with_the_known_ones():
    with pytest.raises(ValueError, match="unknown encoder 'resnet': expected one of compact, whi"):
        create_encoder("resnet")


def test_every_encoder_of_the_issue_is_there():
    assert set(ENCODERS) == set(MILLIONS) | set(PHOTO)


@pytest.mark.parametrize("name", MILLIONS)
def test_an_encoder_gives_the_embedding_it_announces(name):
    torch.manual_seed(0)
    encoder = create_encoder(name)
    millions = sum(value.numel() for value in encoder.parameters()) / 1e6
    assert millions == pytest.approx(MILLIONS[name], abs=0.06)
    # Statistics that differ from the initial ones, so that folding has something to fold.
    for module in encoder.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 1.5)
    encoder.eval()
    with torch.no_grad():
        embeddings = encoder(IMAGES)
        assert embeddings.shape == (2, encoder.embedding_dim)
        assert torch.isfinite(embeddings).all()
        assert not torch.equal(embeddings[0], embeddings[1])
        torch.testing.assert_close(folded(encoder)(IMAGES), embeddings, rtol=1e-3, atol=1e-4)
        # Alone or in a batch: an image's embedding is its own.
        torch.testing.assert_close(encoder(IMAGES[:1]), embeddings[:1], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    ("convolution", "pool", "joined"),
    [
        (nn.Conv2d(4, 6, 3, padding=1, bias=False), nn.AvgPool2d(2), True),
        (
            nn.Conv2d(4, 6, (3, 2), padding=(1, 0), groups=2),
            nn.AvgPool2d(3),
            True,
        ),  # rows left over
        (nn.Conv2d(4, 6, 3, stride=2), nn.AvgPool2d(2), False),
        (nn.Conv2d(4, 6, 3, padding=1, padding_mode="circular"), nn.AvgPool2d(2), False),
        (nn.Conv2d(4, 6, 3, padding="same"), nn.AvgPool2d(2), False),
        (nn.Conv2d(4, 6, 3), nn.AvgPool2d(3, stride=2), False),
        (nn.Conv2d(4, 6, 3), nn.AvgPool2d(2, padding=1), False),
        (nn.Conv2d(4, 6, 3), nn.AvgPool2d(4, ceil_mode=True), False),
        (nn.Conv2d(4, 6, 3), nn.MaxPool2d(2), False),
    ],
)
def test_an_average_is_folded_into_the_convolution_before_it(convolution, pool, joined):
    network = nn.Sequential(convolution, pool)
    fast = folded(network)
    assert isinstance(fast[1], nn.Identity) == joined
    images = torch.rand(2, 4, 11, 11, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(fast(images), network(images))
    assert type(network[1]) is type(pool)  # the original is left as it was


# Patches from the first layer on; and one that is left as the paper's repository has it, with 2 x 2.
NO_MAP = ("vit", "vit_7x384", "efficientnet_b0_320")


@pytest.mark.parametrize("name", [name for name in MILLIONS if name not in NO_MAP])
def test_a_last_feature_map_has_room_for_places(name):
    """Adapted to 32 x 32: several places are left before the last pooling, not one."""
    encoder = create_encoder(name).eval()
    shapes = []
    for module in encoder.modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_hook(lambda _, __, output: shapes.append(output.shape[-1]))
    with torch.no_grad():
        encoder(IMAGES[:1])
    squeezed = [size for size in shapes if size > 1]  # squeeze-and-excitation works on 1 x 1
    assert shapes[0] >= 31 and squeezed[-1] >= 3


def test_whitening_takes_the_correlations_out_of_patches():
    smooth = torch.nn.functional.interpolate(
        torch.rand(200, 3, 8, 8, generator=torch.Generator().manual_seed(1)), size=32
    )
    encoder = create_encoder("whitened")
    encoder.prepare(smooth)
    with torch.no_grad():
        outputs = encoder.whitening(smooth).transpose(0, 1).flatten(1)
    torch.testing.assert_close(outputs[12:], -outputs[:12])
    correlation = torch.corrcoef(outputs[:12])
    torch.testing.assert_close(correlation, torch.eye(12), atol=1e-3, rtol=0)


@pytest.mark.parametrize(
    "name",
    ["mobilenet_v2_cifar", "efficientnet_b0_320", "densenet121_growth12", "shufflenet_v2_x0_5"],
)
def test_those_of_the_papers_repository_begin_with_the_weights_that_pytorch_gives_a_convolution(
    name,
):
    torch.manual_seed(0)
    for part in create_encoder(name).modules():
        if isinstance(part, nn.Conv2d):
            inputs = part.weight[0].numel()  # uniform within one over the root of the fan-in
            assert 0.3 < part.weight.abs().max().item() * inputs**0.5 <= 1 + 1e-6
