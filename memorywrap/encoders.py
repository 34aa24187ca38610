"""The registry of image encoders: image (3, height, width) -> embedding (dim,).

An encoder is any module that maps (batch, 3, height, width) to (batch, embedding_dim) and says its
`embedding_dim`. To add one, write a function that builds it and put `@_register("name")` above.
"""

from __future__ import annotations

import copy
from collections.abc import Callable

import torchvision
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

ENCODERS: dict[str, Callable[[], nn.Module]] = {}


def create_encoder(name: str) -> nn.Module:
    """A freshly initialised encoder of that name, with the attribute `embedding_dim`.

    Raises:
        ValueError: no encoder of that name.
    """
    if name not in ENCODERS:
        raise ValueError(f"unknown encoder {name!r}: expected one of {', '.join(ENCODERS)}")
    return ENCODERS[name]()


def _register(name: str) -> Callable[[Callable[[], nn.Module]], Callable[[], nn.Module]]:
    def add(build: Callable[[], nn.Module]) -> Callable[[], nn.Module]:
        ENCODERS[name] = build
        return build

    return add


def folded(encoder: nn.Module) -> nn.Module:
    """A copy for inference with batch normalisation folded into the convolutions before it.

    The same function up to rounding, in fewer passes over memory, forwards and backwards. Reaches
    what stands in one `nn.Sequential`, with average pooling allowed in between: in evaluation mode
    both are linear, so their order does not matter.
    """
    encoder = copy.deepcopy(encoder).eval().requires_grad_(False)
    for block in [module for module in encoder.modules() if isinstance(module, nn.Sequential)]:
        for place, norm in enumerate(block):
            before = place - 1
            if before > 0 and isinstance(block[before], nn.AvgPool2d):
                before -= 1
            if isinstance(norm, nn.BatchNorm2d) and type(block[before]) is nn.Conv2d:
                block[before] = fuse_conv_bn_eval(block[before], norm)
                block[place] = nn.Identity()
    return encoder


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


@_register("compact")
def _compact() -> nn.Module:
    return CompactEncoder()


@_register("mobilenet_v2")
def _mobilenet_v2() -> nn.Module:
    """torchvision's MobileNetV2; two strides of 2 become 1, since 32 x 32 leaves no room for five."""
    network = torchvision.models.mobilenet_v2(weights=None)
    network.features[0][0].stride = (1, 1)
    network.features[2].conv[1][0].stride = (1, 1)
    network.embedding_dim = network.last_channel
    network.classifier = nn.Identity()
    return network
