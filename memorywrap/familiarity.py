"""Is a picture of anything the model knows? Judged from its embedding, learned from pictures of other things.

A network that learned digits alone has no way to say that a letter is none. A small network over its
embeddings learns to: from images of the known classes, and from pictures of other things (outlier
exposure; Hendrycks et al., arXiv 1812.04606).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from memorywrap.caching import cached_property

REFUSED = 0.02  # share of pictures of known classes that may be called unlike everything known

FEW = 0.05  # the same of the few pictures that somebody teaches with
NEAREST = 3  # of which one may look alike by chance

_HIDDEN = 256
_STEPS, _BATCH, _RATE, _DECAY = 6000, 512, 2e-3, 0.5


@dataclass(frozen=True, eq=False)
class Familiarity:
    """A network with one hidden layer over embeddings, on the processor.

    Attributes:
        centre, scale: (dim,), what embeddings are standardised by.
        weights, offsets: (hidden, dim) and (hidden,), of the hidden layer.
        readout: (hidden,), of the output.
        offset: (), likewise: chosen so that 0 is the border of what is known.
    """

    centre: Tensor
    scale: Tensor
    weights: Tensor
    offsets: Tensor
    readout: Tensor
    offset: Tensor

    def __call__(self, embeddings: Tensor) -> Tensor:
        """(n, dim) -> float32 (n,) on the processor: log odds that each shows something known, shifted
        so that below 0 it is unlike everything known."""
        standard = (embeddings.float().cpu() - self.centre) / self.scale
        hidden = functional.linear(standard, self.weights, self.offsets).relu()
        return hidden @ self.readout + self.offset

    def tensors(self) -> dict[str, Tensor]:
        """For the checkpoint."""
        return dict(vars(self))

    @classmethod
    def from_tensors(cls, tensors: dict[str, Tensor], dim: int) -> Familiarity:
        """From a checkpoint.

        Raises:
            ValueError: a tensor is missing, unknown, of another shape, or not finite.
        """
        names = list(cls.__dataclass_fields__)
        if set(tensors) != set(names):
            raise ValueError(f"familiarity: expected the tensors {', '.join(names)}")
        found = cls(**{name: tensors[name].float() for name in names})
        hidden = len(found.offsets)
        shapes = [(dim,), (dim,), (hidden, dim), (hidden,), (hidden,), ()]
        for name, shape in zip(names, shapes, strict=True):
            value = getattr(found, name)
            if tuple(value.shape) != shape or not value.isfinite().all():
                raise ValueError(f"familiarity: {name}: expected finite numbers of shape {shape}")
        return found


@dataclass(frozen=True, eq=False)
class Nearest:
    """How alike something is to the `NEAREST` pictures that a model was taught with, where nothing else is
    known: as good a judge as any, on the features of an encoder that has seen a thousand kinds of things.

    Attributes:
        features: (pictures, dim), of these pictures.
        border: (), the mean similarity below which a picture is unlike everything known.
        kinds: (kinds, dim + 1), weights and bias by which the encoder told its kinds of things apart; two
            pictures are the more alike, the more they look like the same kinds. None where that is not known.
    """

    features: Tensor
    border: Tensor
    kinds: Tensor | None = None

    def __call__(self, features: Tensor) -> Tensor:
        """As of `Familiarity`, in units of a hundredth of the similarity."""
        return 100 * (_nearest(_signatures(features, self.kinds) @ self._known.T) - self.border)

    @cached_property
    def _known(self) -> Tensor:
        return _signatures(self.features, self.kinds)

    def tensors(self) -> dict[str, Tensor]:
        """For the checkpoint."""
        kinds = {} if self.kinds is None else {"kinds": self.kinds}
        return {"features": self.features, "border": self.border, **kinds}

    @classmethod
    def from_tensors(cls, tensors: dict[str, Tensor], dim: int) -> Nearest:
        """From a checkpoint.

        Raises:
            ValueError: a tensor is missing, unknown, of another shape, or not finite.
        """
        fits = set(tensors) - {"kinds"} == {"features", "border"}
        fits = fits and tensors["features"].ndim == 2 and tensors["features"].shape[1] == dim
        fits = fits and len(tensors["features"]) > 0 and tensors["border"].shape == ()
        kinds = tensors.get("kinds")
        fits = fits and (kinds is None or (kinds.ndim == 2 and kinds.shape[1] == dim + 1))
        if not fits or not all(value.isfinite().all() for value in tensors.values()):
            raise ValueError(
                f"familiarity: expected finite features (pictures, {dim}), a border, and kinds (n, {dim + 1}) "
                "if any"
            )
        return cls(**{name: value.float() for name, value in tensors.items()})


def nearest_of(features: Tensor, kinds: Tensor | None = None) -> Nearest:
    """From the features (n, dim) of the pictures that a model is taught with: of these, `FEW` are less
    alike to all others than the border.

    Args:
        features: (n, dim), as the encoder gives them.
        kinds: see `Nearest`.

    Raises:
        ValueError: fewer than two.
    """
    if len(features) < 2:
        raise ValueError(f"features: expected at least 2 pictures, received {len(features)}")
    features = features.float().cpu()
    signatures = _signatures(features, kinds)
    others = ~torch.eye(len(features), dtype=torch.bool)
    alike = (signatures @ signatures.T)[others].reshape(len(features), -1)
    return Nearest(features, _nearest(alike).quantile(FEW), kinds)


def _signatures(features: Tensor, kinds: Tensor | None) -> Tensor:
    """What pictures are compared by, (n, numbers) of unit length: their features (n, dim) and, where kinds are
    known, how much each looks like every kind, squared so that the few that it looks like most count most."""
    features = features.float().cpu()
    unit = functional.normalize(features, dim=1)
    if kinds is None:
        return unit
    logits = functional.linear(features, kinds[:, :-1], kinds[:, -1])
    looks = (logits - logits.mean(dim=1, keepdim=True)).relu().square()
    return torch.cat([unit, functional.normalize(looks, dim=1)], dim=1) / 2**0.5


def _nearest(alike: Tensor) -> Tensor:
    """The mean (n,) of the greatest of similarities (n, pictures)."""
    return alike.topk(min(NEAREST, alike.shape[1]), dim=1).values.mean(dim=1)


def from_tensors(tensors: dict[str, Tensor], dim: int) -> Familiarity | Nearest:
    """Whichever of the two a checkpoint holds, for embeddings or features of `dim` numbers.

    Raises:
        ValueError: neither.
    """
    kind = Nearest if "border" in tensors else Familiarity
    return kind.from_tensors(tensors, dim)


def fit_familiarity(known: Tensor, others: Tensor, held_out: Tensor, seed: int = 0) -> Familiarity:
    """Learn to tell what is known from what is not.

    Args:
        known: embeddings (n, dim) of images of the known classes.
        others: embeddings (m, dim) of images of none of them.
        held_out: embeddings (k, dim) of images of the known classes that nothing was learned from:
            of these, `REFUSED` are called unlike everything known.
        seed: of initial weights and batches.
    """
    inputs = torch.cat([known, others]).float().cpu()
    wanted = torch.cat([torch.ones(len(known)), torch.zeros(len(others))])
    centre, scale = inputs.mean(dim=0), inputs.std(dim=0) + 1e-6
    inputs = (inputs - centre) / scale
    with torch.random.fork_rng(devices=[]), torch.enable_grad():
        torch.manual_seed(seed)
        hidden, output = nn.Linear(inputs.shape[1], _HIDDEN), nn.Linear(_HIDDEN, 1)
        network = nn.Sequential(hidden, nn.ReLU(), nn.Dropout(0.3), output)
        optimizer = torch.optim.AdamW(network.parameters(), weight_decay=_DECAY)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, _RATE, _STEPS)
        for _ in range(_STEPS):
            rows = torch.randint(len(inputs), (_BATCH,))
            found = network(inputs[rows])[:, 0]
            optimizer.zero_grad()
            functional.binary_cross_entropy_with_logits(found, wanted[rows]).backward()
            optimizer.step()
            schedule.step()
    layers = (hidden.weight, hidden.bias, output.weight[0], output.bias[0])
    learned = Familiarity(centre, scale, *(value.detach().clone() for value in layers))
    border = learned(held_out).quantile(REFUSED)
    return Familiarity(**{**learned.tensors(), "offset": learned.offset - border})
