"""Published networks as encoders, fitted to 32 x 32 pixels: torchvision's, and a wide ResNet."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from memorywrap.encoders.registry import register_encoder

# torchvision is imported where it is asked for: it takes longer than all the rest.


@register_encoder("mobilenet_v2")
def _mobilenet_v2() -> nn.Module:
    """torchvision's MobileNetV2; two strides of 2 become 1, since 32 x 32 leaves no room for five."""
    from torchvision import models

    network = models.mobilenet_v2(weights=None)
    network.features[0][0].stride = (1, 1)
    network.features[2].conv[1][0].stride = (1, 1)
    return _headless(network, "classifier")


@register_encoder("mobilenet_v2_cifar")
def _mobilenet_v2_cifar() -> nn.Module:
    """MobileNetV2 as the paper's repository trains it: ReLU, an expanding convolution in every block, convolved
    shortcuts where the channels change, and the initial weights that PyTorch gives a convolution."""
    channels = 32
    layers: list[nn.Module] = [nn.Conv2d(3, channels, 3, padding=1, bias=False)]
    layers += [nn.BatchNorm2d(channels), nn.ReLU()]
    for expansion, width, blocks, stride in (
        (1, 16, 1, 1),
        (6, 24, 2, 1),
        (6, 32, 3, 2),
        (6, 64, 4, 2),
        (6, 96, 3, 1),
        (6, 160, 3, 2),
        (6, 320, 1, 1),
    ):
        for block in range(blocks):
            layers.append(_Inverted(channels, width, expansion, stride if block == 0 else 1))
            channels = width
    layers += [nn.Conv2d(channels, 1280, 1, bias=False), nn.BatchNorm2d(1280), nn.ReLU()]
    layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    return _announced(nn.Sequential(*layers), 1280)


@register_encoder("resnet18")
def _resnet18() -> nn.Module:
    from torchvision import models

    return _small_resnet(models.resnet18(weights=None))


@register_encoder("resnet34")
def _resnet34() -> nn.Module:
    from torchvision import models

    return _small_resnet(models.resnet34(weights=None))


def _small_resnet(network: Any) -> nn.Module:
    network.conv1 = nn.Conv2d(3, 64, 3, padding=1, bias=False)
    network.maxpool = nn.Identity()  # 32 x 32 leaves room for three of the five halvings
    return _headless(network, "fc")


@register_encoder("efficientnet_b0")
def _efficientnet_b0() -> nn.Module:
    from torchvision import models

    network = models.efficientnet_b0(weights=None)
    network.features[0][0].stride = (1, 1)
    network.features[2][0].block[1][0].stride = (1, 1)
    return _headless(network, "classifier")


@register_encoder("efficientnet_b0_320")
def _efficientnet_b0_320() -> nn.Module:
    """EfficientNet-B0 as the paper's repository has it: it ends with the last block, at 320 numbers, with
    dropout, and begins with the weights that PyTorch gives a convolution."""
    from torchvision import models

    network = models.efficientnet_b0(weights=None, stochastic_depth_prob=0.0)  # nor has theirs
    network.features[0][0].stride = (1, 1)
    features = nn.Sequential(*network.features[:-1], nn.AdaptiveAvgPool2d(1), nn.Flatten())
    return _announced(drawn_by_fan_in(nn.Sequential(features, nn.Dropout(0.2))), 320)


@register_encoder("shufflenet_v2_x0_5")
def _shufflenet_v2_x0_5() -> nn.Module:
    """The half-width ShuffleNet V2 of the paper's repository."""
    from torchvision import models

    network = models.shufflenet_v2_x0_5(weights=None)
    network.conv1[0].stride = (1, 1)
    network.maxpool = nn.Identity()
    return _headless(network, "fc")


@register_encoder("shufflenet_v2")
def _shufflenet_v2() -> nn.Module:
    from torchvision import models

    network = models.shufflenet_v2_x1_0(weights=None)
    network.conv1[0].stride = (1, 1)
    network.maxpool = nn.Identity()
    return _headless(network, "fc")


@register_encoder("densenet121")
def _densenet121() -> nn.Module:
    from torchvision import models

    network = models.densenet121(weights=None)
    network.features.conv0 = nn.Conv2d(3, 64, 3, padding=1, bias=False)
    network.features.pool0 = nn.Identity()
    return _headless(network, "classifier")


@register_encoder("densenet121_growth12")
def _densenet121_growth12() -> nn.Module:
    """The narrow DenseNet of the paper's repository: as deep as DenseNet-121, growing by 12 channels, not 32, from
    the weights that PyTorch gives a convolution."""
    from torchvision import models

    network = models.DenseNet(growth_rate=12, block_config=(6, 12, 24, 16), num_init_features=24)
    network.features.conv0 = nn.Conv2d(3, 24, 3, padding=1, bias=False)
    network.features.norm0 = network.features.relu0 = network.features.pool0 = nn.Identity()
    return _headless(drawn_by_fan_in(network), "classifier")


@register_encoder("googlenet")
def _googlenet() -> nn.Module:
    from torchvision import models

    # No dropout: it would strike the embedding itself, the query's and the memory's differently.
    network = models.googlenet(weights=None, aux_logits=False, init_weights=False, dropout=0.0)
    network.conv1.conv = nn.Conv2d(3, 64, 3, padding=1, bias=False)
    network.maxpool1 = network.maxpool2 = nn.Identity()
    return _headless(network, "fc")


@register_encoder("vit")
def _vit() -> nn.Module:
    """torchvision's vision transformer, small, with patches of 4 x 4 pixels."""
    from torchvision import models

    network = models.VisionTransformer(
        image_size=32, patch_size=4, num_layers=6, num_heads=4, hidden_dim=256, mlp_dim=512
    )
    return _headless(network, "heads")


@register_encoder("vit_7x384")
def _vit_7x384() -> nn.Module:
    """The vision transformer of the paper's journal version: 7 layers of 384, 12 heads, 8 x 8 patches."""
    from torchvision import models

    network = models.VisionTransformer(
        image_size=32, patch_size=4, num_layers=7, num_heads=12, hidden_dim=384, mlp_dim=384
    )
    return _headless(network, "heads")


@register_encoder("wide_resnet28_10")
def _wide_resnet28_10() -> nn.Module:
    """Zagoruyko & Komodakis, arXiv 1605.07146: 28 layers, ten times as wide as ResNet."""
    channels = 16
    layers: list[nn.Module] = [nn.Conv2d(3, channels, 3, padding=1, bias=False)]
    for width, stride in ((160, 1), (320, 2), (640, 2)):
        for block in range(4):
            layers.append(_PreActivation(channels, width, stride if block == 0 else 1))
            channels = width
    layers += [nn.BatchNorm2d(channels), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    return _announced(drawn_by_fan_out(nn.Sequential(*layers)), channels)


# Where every convolution is normalised after it, both start the same function; what differs is how fast each layer
# learns.


def drawn_by_fan_in(network: nn.Module) -> nn.Module:
    """The network with the initial weights that PyTorch gives a convolution."""
    for part in network.modules():
        if isinstance(part, nn.Conv2d):
            part.reset_parameters()
    return network


def drawn_by_fan_out(network: nn.Module) -> nn.Module:
    """The network with the initial weights of He et al. (arXiv 1502.01852), which torchvision gives most of its
    convolutions."""
    for part in network.modules():
        if isinstance(part, nn.Conv2d):
            nn.init.kaiming_normal_(part.weight, mode="fan_out")
    return network


class _Inverted(nn.Module):
    """An inverted residual block (Sandler et al., arXiv 1801.04381): wide within, narrow at its ends."""

    def __init__(self, inputs: int, outputs: int, expansion: int, stride: int) -> None:
        super().__init__()
        width = expansion * inputs
        self.layers = nn.Sequential(
            nn.Conv2d(inputs, width, 1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.Conv2d(width, width, 3, stride, padding=1, groups=width, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.Conv2d(width, outputs, 1, bias=False),
            nn.BatchNorm2d(outputs),
        )
        self.adds = stride == 1
        self.shortcut: nn.Module = nn.Identity()
        if self.adds and inputs != outputs:
            self.shortcut = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, bias=False), nn.BatchNorm2d(outputs)
            )

    def forward(self, inputs: Tensor) -> Tensor:
        found = self.layers(inputs)
        return found + self.shortcut(inputs) if self.adds else found


class _PreActivation(nn.Module):
    """A residual block that normalises before it convolves."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.before = nn.Sequential(nn.BatchNorm2d(inputs), nn.ReLU())
        self.layers = nn.Sequential(
            nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU(),
            nn.Conv2d(outputs, outputs, 3, padding=1, bias=False),
        )
        same = inputs == outputs and stride == 1
        self.shortcut = None if same else nn.Conv2d(inputs, outputs, 1, stride, bias=False)

    def forward(self, inputs: Tensor) -> Tensor:
        activated = self.before(inputs)
        kept = inputs if self.shortcut is None else self.shortcut(activated)
        return kept + self.layers(activated)


def _headless(network: nn.Module, head: str) -> nn.Module:
    """The network without its classifier, which leaves the embedding as its output."""
    linear = [
        module for module in getattr(network, head).modules() if isinstance(module, nn.Linear)
    ]
    setattr(network, head, nn.Identity())
    return _announced(network, linear[0].in_features)


def _announced(network: nn.Module, dim: int) -> nn.Module:
    """The network with its size of an embedding as `Encoder` wants it."""
    setattr(network, "embedding_dim", dim)  # noqa: B010  (a plain assignment is no attribute of a Module to mypy)
    return network
