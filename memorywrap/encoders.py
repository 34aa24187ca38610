"""The registry of image encoders: image (3, height, width) -> embedding (dim,).

An encoder is any module that maps (batch, 3, height, width) to (batch, embedding_dim) and says its
`embedding_dim`. To add one, write a function that builds it and put `@_register("name")` above.
Where it has a method `prepare(images)`, training calls it once, with normalised training images.
"""

from __future__ import annotations

import copy
from collections.abc import Callable

import torch
import torchvision
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.fusion import fuse_conv_bn_eval

_FAINT = 5e-4  # variance below which whitening stops enlarging what is mostly noise
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
    """A copy for inference with batch normalisation and average pooling folded into the convolutions
    before them.

    The same function up to rounding, with fewer products and passes over memory, forwards and
    backwards. Reaches what stands in one `nn.Sequential`, with pooling allowed between convolution
    and normalisation: an average does not mind a scale and a shift, nor does a maximum while the
    scale is positive.
    """
    encoder = copy.deepcopy(encoder).eval().requires_grad_(False)
    for block in [module for module in encoder.modules() if isinstance(module, nn.Sequential)]:
        for place, norm in enumerate(block):
            if place == 0 or not isinstance(norm, nn.BatchNorm2d):
                continue
            rising = isinstance(block[place - 1], nn.MaxPool2d) and bool((norm.weight > 0).all())
            pooled = place > 1 and (rising or isinstance(block[place - 1], nn.AvgPool2d))
            before = place - 2 if pooled else place - 1
            if type(block[before]) is nn.Conv2d:
                block[before] = fuse_conv_bn_eval(block[before], norm)
                block[place] = nn.Identity()
        for place, pool in enumerate(block):
            before = block[place - 1]
            if place > 0 and _can_join(before, pool):
                block[place - 1], block[place] = _joined(before, pool), nn.Identity()
    return encoder


def _can_join(convolution: nn.Module, pool: nn.Module) -> bool:
    """Whether `_joined` can make one of the two: in single steps, with zeros around, and windows of
    the pool that are square and lie side by side."""
    return (
        type(convolution) is nn.Conv2d
        and type(pool) is nn.AvgPool2d
        and (convolution.stride, convolution.dilation) == ((1, 1), (1, 1))
        and (convolution.padding_mode, type(convolution.padding)) == ("zeros", tuple)
        and (type(pool.kernel_size), pool.stride) == (int, pool.kernel_size)
        and (pool.padding, pool.ceil_mode, pool.divisor_override) == (0, False, None)
    )


def _joined(convolution: nn.Conv2d, pool: nn.AvgPool2d) -> nn.Conv2d:
    """One convolution in larger steps. Its kernel is the mean of shifted kernels, one for each of the
    outputs that were averaged: (size + side - 1)^2 products in place of size^2 side^2."""
    side = pool.kernel_size
    joined = nn.Conv2d(
        convolution.in_channels,
        convolution.out_channels,
        tuple(size + side - 1 for size in convolution.kernel_size),
        stride=side,
        padding=convolution.padding,
        groups=convolution.groups,
        bias=False,
    )
    shifted = [
        functional.pad(convolution.weight, (x, side - 1 - x, y, side - 1 - y))
        for y in range(side)
        for x in range(side)
    ]
    joined.weight = nn.Parameter(torch.stack(shifted).mean(dim=0), requires_grad=False)
    joined.bias = convolution.bias
    return joined


def mirrored(encoder: Callable[[Tensor], Tensor], images: Tensor) -> Tensor:
    """The mean of the embeddings (batch, dim) of images (batch, 3, height, width) and of their mirror
    images: what is left or right of the picture then makes no difference."""
    both = encoder(torch.cat([images, images.flip(3)]))
    return both.unflatten(0, (2, -1)).mean(dim=0)


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
        self.whitening.weight.copy_(torch.cat([filters, -filters]))
        self.whitening.bias.zero_()


def _pooled(inputs: int, outputs: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for count, pool in ((inputs, [nn.MaxPool2d(2)]), (outputs, [])):
        convolution = nn.Conv2d(count, outputs, 3, padding=1, bias=False)
        nn.init.dirac_(convolution.weight.data[:count])
        layers += [convolution, *pool, nn.BatchNorm2d(outputs), nn.SiLU()]
    return nn.Sequential(*layers)


@_register("whitened")
def _whitened() -> nn.Module:
    return WhitenedEncoder()


@_register("mobilenet_v2")
def _mobilenet_v2() -> nn.Module:
    """torchvision's MobileNetV2; two strides of 2 become 1, since 32 x 32 leaves no room for five."""
    network = torchvision.models.mobilenet_v2(weights=None)
    network.features[0][0].stride = (1, 1)
    network.features[2].conv[1][0].stride = (1, 1)
    return _headless(network, "classifier")


@_register("resnet18")
def _resnet18() -> nn.Module:
    network = torchvision.models.resnet18(weights=None)
    network.conv1 = nn.Conv2d(3, 64, 3, padding=1, bias=False)
    network.maxpool = nn.Identity()  # 32 x 32 leaves room for three of the five halvings
    return _headless(network, "fc")


@_register("efficientnet_b0")
def _efficientnet_b0() -> nn.Module:
    network = torchvision.models.efficientnet_b0(weights=None)
    network.features[0][0].stride = (1, 1)
    network.features[2][0].block[1][0].stride = (1, 1)
    return _headless(network, "classifier")


@_register("shufflenet_v2")
def _shufflenet_v2() -> nn.Module:
    network = torchvision.models.shufflenet_v2_x1_0(weights=None)
    network.conv1[0].stride = (1, 1)
    network.maxpool = nn.Identity()
    return _headless(network, "fc")


@_register("densenet121")
def _densenet121() -> nn.Module:
    network = torchvision.models.densenet121(weights=None)
    network.features.conv0 = nn.Conv2d(3, 64, 3, padding=1, bias=False)
    network.features.pool0 = nn.Identity()
    return _headless(network, "classifier")


@_register("googlenet")
def _googlenet() -> nn.Module:
    # No dropout: it would strike the embedding itself, the query's and the memory's differently.
    network = torchvision.models.googlenet(
        weights=None, aux_logits=False, init_weights=False, dropout=0.0
    )
    network.conv1.conv = nn.Conv2d(3, 64, 3, padding=1, bias=False)
    network.maxpool1 = network.maxpool2 = nn.Identity()
    return _headless(network, "fc")


@_register("vit")
def _vit() -> nn.Module:
    """torchvision's vision transformer, small, with patches of 4 x 4 pixels."""
    network = torchvision.models.VisionTransformer(
        image_size=32, patch_size=4, num_layers=6, num_heads=4, hidden_dim=256, mlp_dim=512
    )
    return _headless(network, "heads")


@_register("wide_resnet28_10")
def _wide_resnet28_10() -> nn.Module:
    """Zagoruyko & Komodakis, arXiv 1605.07146: 28 layers, ten times as wide as ResNet."""
    channels = 16
    layers: list[nn.Module] = [nn.Conv2d(3, channels, 3, padding=1, bias=False)]
    for width, stride in ((160, 1), (320, 2), (640, 2)):
        for block in range(4):
            layers.append(_PreActivation(channels, width, stride if block == 0 else 1))
            channels = width
    layers += [nn.BatchNorm2d(channels), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    network = nn.Sequential(*layers)
    network.embedding_dim = channels
    return network


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
    network.embedding_dim = linear[0].in_features
    setattr(network, head, nn.Identity())
    return network
