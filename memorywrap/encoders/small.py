"""Small encoders for 32 x 32 images that two processor cores can train."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from memorywrap.encoders.registry import register_encoder

_FAINT = 5e-4  # variance below which whitening stops enlarging what is mostly noise


class CompactEncoder(nn.Module):
    """A small residual network for 32 x 32 images, in the line of ResNet-9 and airbench.

    Smooth activations and average pooling in place of ReLU and max-pooling: the logit then has few
    kinks along the path of integrated gradients, so that explanations need few steps.
    """

    embedding_dim = 256

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            _convolution(3, 32),
            _convolution(32, 64, pool=True),  # (batch, 64, 16, 16)
            _Residual(64),
            _convolution(64, 128, pool=True),  # (batch, 128, 8, 8)
            _convolution(128, 256, pool=True),  # (batch, 256, 4, 4)
            _Residual(256),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
        )

    def forward(self, images: Tensor) -> Tensor:
        """(batch, 3, 32, 32) -> (batch, 256)."""
        return self.layers(images)


def _convolution(inputs: int, outputs: int, pool: bool = False) -> nn.Sequential:
    layers: list[nn.Module] = [nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)]
    if pool:
        layers.append(nn.AvgPool2d(2))
    return nn.Sequential(*layers, nn.BatchNorm2d(outputs), nn.SiLU())


class _Residual(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            _convolution(channels, channels), _convolution(channels, channels)
        )

    def forward(self, inputs: Tensor) -> Tensor:
        return inputs + self.layers(inputs)


@register_encoder("compact")
def _compact() -> nn.Module:
    return CompactEncoder()


class WhitenedEncoder(nn.Module):
    """A network for 32 x 32 images that learns fast, after airbench (Jordan, arXiv 2404.00498).

    Its first layer is not learned: it takes the correlations out of 2 x 2 patches of the training
    images, as they stand and negated. Every other convolution starts as the identity.
    """

    embedding_dim = 256

    def __init__(self) -> None:
        super().__init__()
        self.whitening = nn.Conv2d(3, 24, 2)  # (batch, 24, 31, 31)
        self.whitening.weight.requires_grad_(False)
        self.layers = nn.Sequential(
            nn.SiLU(),
            _pooled(24, 64),  # (batch, 64, 15, 15)
            _pooled(64, 256),  # (batch, 256, 7, 7)
            _pooled(256, 256),  # (batch, 256, 3, 3)
            nn.MaxPool2d(3),
            nn.Flatten(),
        )

    def forward(self, images: Tensor) -> Tensor:
        """(batch, 3, 32, 32) -> (batch, 256)."""
        return self.layers(self.whitening(images))

    @torch.no_grad()
    def prepare(self, images: Tensor) -> None:
        """Set the whitening from normalised training images (n, 3, 32, 32)."""
        # On the processor: not every device knows double precision.
        patches = functional.unfold(images.cpu(), 2).transpose(1, 2).reshape(-1, 12).double()
        values, vectors = torch.linalg.eigh(torch.cov(patches.T))
        filters = (vectors / torch.sqrt(values + _FAINT)).T.reshape(12, 3, 2, 2)
        self.whitening.load_state_dict(
            {"weight": torch.cat([filters, -filters]), "bias": filters.new_zeros(24)}
        )


def _pooled(inputs: int, outputs: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for count, pool in ((inputs, [nn.MaxPool2d(2)]), (outputs, [])):
        convolution = nn.Conv2d(count, outputs, 3, padding=1, bias=False)
        nn.init.dirac_(convolution.weight.data[:count])
        layers += [convolution, *pool, nn.BatchNorm2d(outputs), nn.SiLU()]
    return nn.Sequential(*layers)


@register_encoder("whitened")
def _whitened() -> nn.Module:
    return WhitenedEncoder()
