"""Encoders as they are used when they are trained: folded, with preprocessing, and told apart."""

from __future__ import annotations

import copy
import hashlib
import weakref
from collections.abc import Callable, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import skip_init
from torch.nn.utils.fusion import fuse_conv_bn_eval

from memorywrap.encoders.photo import PhotoEncoder, Projected

_FOLDED: weakref.WeakValueDictionary[Any, nn.Module] = weakref.WeakValueDictionary()


class Weights:
    """Weights as they stand, told from any others.

    Args:
        tensors: parameters and buffers, always of one module and in one order.

    Attributes:
        fingerprint: digest of their values in float32; the same for equal weights on any device.
    """

    def __init__(self, tensors: Sequence[Tensor]):
        self._seen = _seen(tensors)
        # Held on to: memory that was given back is soon another tensor's, at the same address.
        self._held = [tensor.untyped_storage() for tensor in tensors]
        digest = hashlib.blake2b(digest_size=12)
        for tensor in tensors:
            digest.update(tensor.detach().cpu().float().contiguous().numpy().data)
        self.fingerprint = digest.hexdigest()

    def still(self, tensors: Sequence[Tensor]) -> bool:
        """Whether nobody has changed, moved or replaced them; far quicker than a new digest.

        Changes through `tensor.data`, and within `torch.inference_mode` of tensors that were made
        there, leave no trace and are not noticed.
        """
        return self._seen == _seen(tensors)


def tensors_of(module: nn.Module) -> list[Tensor]:
    """Parameters and buffers of a module and all in it, always in one order. It is asked before every
    answer, and walks a third as long as torch's own lists with their names."""
    own = [*module._parameters.values(), *module._buffers.values()]
    found = [tensor for tensor in own if tensor is not None]
    for child in module._modules.values():
        if child is not None:
            found += tensors_of(child)
    return found


def _seen(tensors: Sequence[Tensor]) -> list[tuple[int, int]]:
    # In-place updates raise a tensor's version; moves and replacements change its address.
    return [
        (tensor.data_ptr(), 0 if tensor.is_inference() else tensor._version) for tensor in tensors
    ]


class FrozenEncoder:
    """An encoder as it stands, in evaluation mode and as fast as it goes, with its preprocessing.

    A copy: what happens to the encoder later does not reach it, nor do gradients go back. Dropped, not
    copied, where its owner is copied or pickled.

    Args:
        encoder: images (batch, 3, height, width), normalised -> embeddings (batch, dim).
        mean, std: (3, 1, 1), of the normalisation of pixels in [0, 1].
        mirror: whether to embed each image together with its mirror image, see `mirrored`.
    """

    def __init__(self, encoder: nn.Module, mean: Tensor, std: Tensor, *, mirror: bool):
        # Made under inference mode, the copy could never be differentiated.
        with torch.inference_mode(mode=False), torch.no_grad():
            self.network = folded(encoder)
            # torch's own annotations do not know of it.
            self.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
            self.mean, self.std = mean.detach().clone(), std.detach().clone()
        self.mirror = mirror

    def embed(self, pixels: Tensor) -> Tensor:
        """Embeddings (batch, dim) of images (batch, 3, height, width) in [0, 1], in the precision of
        the encoder; differentiable by the pixels."""
        return embed(self.network, pixels, self.mean, self.std, mirror=self.mirror)

    def features(self, pixels: Tensor) -> Tensor:
        """What embeddings are a projection of, (batch, features) of images (batch, 3, height, width) in
        [0, 1]; the embeddings themselves where nothing is projected."""
        network = self.network
        seen = network.encoder if isinstance(network, Projected) else network
        return embed(seen, pixels, self.mean, self.std, mirror=self.mirror)

    def project(self, features: Tensor) -> Tensor:
        """Embeddings (batch, dim) of features."""
        network = self.network
        return network.projection(features) if isinstance(network, Projected) else features

    @property
    def has_cells(self) -> bool:
        """Whether it goes by feature cells, which explanations are then of; else they are of pixels."""
        cut = isinstance(self.network, (PhotoEncoder, Projected)) and self.network.has_cells
        return cut and not self.mirror

    def cells(self, pixels: Tensor) -> Tensor:
        """What explanations are of: feature cells (batch, channels, rows, columns) of images (batch, 3,
        height, width) in [0, 1], or those images themselves."""
        if not self.has_cells:
            return pixels
        with torch.no_grad():
            return cast(Projected, self.network).cells(normalised(pixels, self.mean, self.std))

    def embed_cells(self, cells: Tensor) -> Tensor:
        """Embeddings (batch, dim) of what `cells` gives; differentiable."""
        if not self.has_cells:
            return self.embed(cells)
        return cast(Projected, self.network).rest(cells)

    def places(self, pixels: Tensor) -> Tensor:
        """What embeddings are the mean of, (batch, dim, rows, columns) of images (batch, 3, height, width) in
        [0, 1], where it goes by feature cells."""
        with torch.no_grad():
            return cast(Projected, self.network).places(self.cells(pixels))

    def in_full_precision(self) -> FrozenEncoder:
        """Itself, or a float32 copy where it is of half precision: rounding would spoil what an
        explanation adds up."""
        network = in_full_precision(self.network)
        if network is self.network:
            return self
        return FrozenEncoder(network, self.mean.float(), self.std.float(), mirror=self.mirror)


def in_full_precision(module: nn.Module) -> nn.Module:
    """The module, or a float32 copy of one of half precision."""
    halves = any(weight.dtype.itemsize < 4 for weight in module.parameters())
    return copy.deepcopy(module).float() if halves else module


def embed(network: nn.Module, pixels: Tensor, mean: Tensor, std: Tensor, *, mirror: bool) -> Tensor:
    """Embeddings (batch, dim) of images (batch, 3, height, width) in [0, 1]."""
    images = normalised(pixels, mean, std)
    return mirrored(network, images) if mirror else network(images)


def normalised(pixels: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    """Images (batch, 3, height, width) in [0, 1] as an encoder takes them."""
    images = (pixels.to(mean.dtype) - mean) / std
    return images.contiguous(memory_format=torch.channels_last)


def folded(encoder: nn.Module) -> nn.Module:
    """A copy for inference with batch normalisation and average pooling folded into the convolutions
    before them.

    The same function up to rounding, with fewer products and passes over memory, forwards and
    backwards. Reaches what stands in one `nn.Sequential`, with pooling allowed between convolution
    and normalisation: an average does not mind a scale and a shift, nor does a maximum while the
    scale is positive.
    """
    if isinstance(encoder, Projected):
        projected = copy.copy(encoder)
        projected._modules = {  # its own, so that the encoder that was given keeps what it has
            "encoder": _folded_once(encoder.encoder),
            "projection": copy.deepcopy(encoder.projection),
        }
        return projected.eval().requires_grad_(False)
    encoder = copy.deepcopy(encoder).eval().requires_grad_(False)
    if isinstance(encoder, PhotoEncoder):
        encoder.fold()
    for block in [module for module in encoder.modules() if isinstance(module, nn.Sequential)]:
        for place, norm in enumerate(block):
            if place == 0 or not isinstance(norm, nn.BatchNorm2d):
                continue
            rising = isinstance(block[place - 1], nn.MaxPool2d) and bool((norm.weight > 0).all())
            pooled = place > 1 and (rising or isinstance(block[place - 1], nn.AvgPool2d))
            before = place - 2 if pooled else place - 1
            convolution = block[before]
            if type(convolution) is nn.Conv2d:
                block[before] = fuse_conv_bn_eval(convolution, norm)
                block[place] = nn.Identity()
        for place in range(1, len(block)):
            convolution, pool = block[place - 1], block[place]
            if (
                isinstance(convolution, nn.Conv2d)
                and isinstance(pool, nn.AvgPool2d)
                and _can_join(convolution, pool)
            ):
                block[place - 1], block[place] = _joined(convolution, pool), nn.Identity()
    return encoder


def _folded_once(encoder: nn.Module) -> nn.Module:
    """`folded` of what is projected: one copy for all that have the same weights, as the taught models of a
    class have."""
    tensors = tensors_of(encoder)
    kinds = sorted({(str(tensor.device), str(tensor.dtype)) for tensor in tensors})
    key = (type(encoder), Weights(tensors).fingerprint, tuple(kinds))
    found = _FOLDED.get(key)
    if found is None:
        found = _FOLDED[key] = folded(encoder)
    return found


def _can_join(convolution: nn.Conv2d, pool: nn.AvgPool2d) -> bool:
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
    side = cast(int, pool.kernel_size)
    height, width = convolution.kernel_size
    joined = skip_init(  # fresh weights would be drawn from the chance of others
        nn.Conv2d,
        convolution.in_channels,
        convolution.out_channels,
        (height + side - 1, width + side - 1),
        stride=side,
        padding=cast(tuple[int, int], convolution.padding),
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
