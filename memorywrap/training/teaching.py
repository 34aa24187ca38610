"""A model taught with few pictures, in seconds: an encoder that knows photographs, and a head of its own.

The encoder stays as it is. What is learned is a projection of its features, in which pictures of a class
lie together, and the head that reads the memory there; counterfactual memories make the memory decide.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cache
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn import functional
from tqdm import tqdm

from memorywrap.checkpoints.config import Config, library_versions
from memorywrap.classifier import MemoryWrapClassifier
from memorywrap.data.banks import bank_recipe, draw_bank
from memorywrap.data.sets import ImageData, known_data_set, load_data
from memorywrap.encoders import PHOTO, FrozenEncoder, PhotoEncoder, Projected, create_encoder
from memorywrap.familiarity import nearest_of
from memorywrap.images import of_side, to_unit
from memorywrap.layer import MemoryWrapLayer
from memorywrap.measures.reliance import reliance
from memorywrap.training.objective import counterfactual_loss

ENCODER = "efficientnet_lite0"
BANK = 200  # memory samples at most: as many as a person can look at

_DIM = 128
_STEPS, _BATCH, _RATE, _DROPPED = 200, 64, 3e-3, 0.3
_MEMORY = 100  # samples that a step reads
_SHARED = 200
_SMOOTHING = 0.05
_FOLDS = 5  # models that are asked about pictures which they did not see
_AT_ONCE = 2  # of them that learn
_INITIAL = threading.Lock()  # initial weights come from the chance of the whole process
_TOGETHER = 16  # pictures encoded at once
_BAR = "{desc}: {percentage:3.0f} %|{bar}| {elapsed}"

Progress = Callable[[float], None]


@dataclass(frozen=True, eq=False)
class Lesson:
    """What is taught with.

    Attributes:
        images: uint8 (n, 3, side, side), as the encoder sees them.
        labels: int64 (n,), which of the classes each is.
        classes: their names.
        features: (n, 2, features), of each picture and of its mirror image; see `looked_at`.
    """

    images: Tensor
    labels: Tensor
    classes: Sequence[str]
    features: Tensor


@dataclass(frozen=True, eq=False)
class Taught:
    """What came of it.

    Attributes:
        classifier: the model.
        unseen: int64 (n,), what a model that had not seen it said of each picture.
    """

    classifier: MemoryWrapClassifier
    unseen: Tensor


@cache
def pretrained(encoder: str) -> tuple[PhotoEncoder, FrozenEncoder]:
    """An encoder for photographs with its weights, and as it is used; read once.

    Raises:
        PretrainedError: they are not to be had.
        ValueError: no encoder for photographs of that name.
    """
    if encoder not in PHOTO:
        raise ValueError(f"unknown encoder {encoder!r}: expected one of {', '.join(PHOTO)}")
    made = create_encoder(encoder)
    assert isinstance(made, PhotoEncoder)
    made.load_pretrained()
    made.eval().requires_grad_(False)
    mean, std = (torch.tensor(value)[:, None, None] for value in (made.photo.mean, made.photo.std))
    return made, FrozenEncoder(made, mean, std, mirror=False)


@torch.no_grad()
def looked_at(
    images: Tensor, encoder: str = ENCODER, progress: Progress = lambda part: None
) -> Tensor:
    """Features (n, 2, features) of uint8 pictures (n, 3, side, side) and of their mirror images: what takes
    the time of teaching, and is the same for every lesson."""
    _, frozen = pretrained(encoder)
    found = []
    for at in range(0, len(images), _TOGETHER):
        pixels = to_unit(images[at : at + _TOGETHER])
        both = frozen.embed(torch.cat([pixels, pixels.flip(3)]))
        found.append(both.unflatten(0, (2, -1)).transpose(0, 1))
        progress(min(1.0, (at + _TOGETHER) / len(images)))
    return torch.cat(found)


def teach(
    lesson: Lesson,
    *,
    title: str = "Taught",
    encoder: str = ENCODER,
    seed: int = 0,
    progress: Progress = lambda part: None,
) -> Taught:
    """Teach a model.

    Args:
        lesson: two pictures of each class at least.
        title: what the model is called.
        encoder: what looked at the pictures.
        seed: of all chance.
        progress: told of the part that is done.

    Raises:
        ValueError: fewer than two classes, or fewer than two pictures of one.
    """
    counts = lesson.labels.bincount(minlength=len(lesson.classes)).tolist()
    if len(counts) < 2:
        raise ValueError("classes: expected at least two")
    for name, count in zip(lesson.classes, counts, strict=True):
        if count < 2:
            raise ValueError(f"class {name}: expected at least two pictures, received {count}")
    unseen = torch.full_like(lesson.labels, -1)
    parts = _folds(lesson.labels, seed)
    every = torch.arange(len(unseen))
    rests = [every[~torch.isin(every, part)] for part in parts]

    def learned(rows: Tensor) -> _Head:
        return _learned(lesson.features[rows], lesson.labels[rows], len(counts), seed)

    # Their steps are too small to be shared between cores, so each core has heads of its own.
    with ThreadPoolExecutor(_AT_ONCE, "teaches") as pool:
        heads = []
        for head in pool.map(learned, [*rests, every]):
            heads.append(head)
            progress(len(heads) / (len(parts) + 1))
    for part, rest, head in zip(parts, rests, heads, strict=False):
        unseen[part] = head.answers(lesson.features[part, 0], lesson.features[rest, 0])
    return Taught(_assembled(lesson, heads[-1], title, encoder, seed), unseen)


def teach_from(data: ImageData, *, title: str, encoder: str, seed: int) -> Taught:
    """Teach a model with a data set in the encoder's size of images, and measure it on the test images.

    Raises:
        ValueError: fewer than two classes, or fewer than two training images of one.
    """
    counts = data.train.labels.bincount(minlength=len(data.classes)).tolist()
    for name, count in zip(data.classes, counts, strict=True):
        if count < 2:
            raise ValueError(
                f"class {name}: expected two pictures to learn from and one to test with, received "
                f"{count} to learn from"
            )
    with tqdm(total=1.0, desc="looking at the pictures", leave=False, bar_format=_BAR) as bar:
        features = looked_at(data.train.images, encoder, lambda part: bar.update(part - bar.n))
    lesson = Lesson(data.train.images, data.train.labels, data.classes, features)
    with tqdm(total=1.0, desc="learning", leave=False, bar_format=_BAR) as bar:
        taught = teach(
            lesson,
            title=title,
            encoder=encoder,
            seed=seed,
            progress=lambda part: bar.update(part - bar.n),
        )
    classifier = taught.classifier
    record = known_data_set(data.name)
    if record is not None and record.public:
        # Other people's pictures are no part of a checkpoint, and are drawn in the size that they have.
        version = data.version
        own = load_data(
            data.name, samples=version.get("samples"), seed=version.get("seed", 0), test=False
        )
        recipe = bank_recipe(own, min(BANK, len(own.train)), seed)
        assert recipe is not None  # of what is public, there is one
        drawn = draw_bank(recipe)
        pixels = of_side(drawn.images, classifier.config.image_size)
        classifier.config = replace(classifier.config, bank=recipe)
        classifier.set_bank(classifier.make_bank(pixels, drawn.labels))
    right = classifier.classify(data.test.images).logits.argmax(dim=1).cpu() == data.test.labels
    seen = {"images": len(right), "accuracy": 100 * float(right.float().mean())}
    decides = reliance(classifier, classifier.encode(data.test.images))
    measured = {data.name: {**seen, **decides}}
    classifier.config = replace(classifier.config, data=dict(data.version), measured=measured)
    return taught


def memory_of(features: Tensor, labels: Tensor, size: int = BANK) -> Tensor:
    """Which pictures make a memory of at most `size`, in order: all where there is room, else as many of
    each class, those whose mean stays nearest to that of the class (herding; Welling, ICML 2009).

    Args:
        features: (n, dim).
        labels: int64 (n,).
        size: of the memory.

    Raises:
        ValueError: more classes than samples.
    """
    if len(labels) <= size:
        return torch.arange(len(labels))
    unit = functional.normalize(features, dim=1)
    each = labels.bincount()
    if int((each > 0).sum()) > size:
        raise ValueError(f"memory: {int((each > 0).sum())} classes, expected {size} at most")
    queues = [_herded(unit, (labels == label).nonzero()[:, 0], size) for label in labels.unique()]
    chosen: list[int] = []
    for place in range(max(map(len, queues))):
        chosen += [queue[place] for queue in queues if place < len(queue)]
    return torch.tensor(sorted(chosen[:size]))


def _herded(unit: Tensor, rows: Tensor, most: int) -> list[int]:
    """The rows of a class, those first whose mean is near that of all, `most` of them."""
    mean, total = unit[rows].mean(dim=0), torch.zeros(unit.shape[1])
    left, order = rows.tolist(), list[int]()
    while left and len(order) < most:
        away = ((total + unit[left]) / (len(order) + 1) - mean).norm(dim=1)
        order.append(left.pop(int(away.argmin())))
        total = total + unit[order[-1]]
    return order


def _folds(labels: Tensor, seed: int) -> list[Tensor]:
    """The pictures in parts of all classes, none of which holds all of a class."""
    chance = torch.Generator().manual_seed(seed)
    parts = min(_FOLDS, int(labels.bincount().clamp(min=1).min()))
    places = torch.zeros_like(labels)
    for label in labels.unique():
        rows = (labels == label).nonzero()[:, 0]
        places[rows[torch.randperm(len(rows), generator=chance)]] = torch.arange(len(rows)) % parts
    return [(places == part).nonzero()[:, 0] for part in range(parts)]


class _Head(nn.Module):
    """The projection and the layer, over features that are standardised."""

    def __init__(self, features: Tensor, classes: int):
        super().__init__()
        seen = features.flatten(0, 1)
        # The spread of a feature is guessed from few pictures: as if so many more had the mean spread.
        spread, count = seen.var(dim=0), len(features)
        shared = (count * spread + _SHARED * spread.mean()) / (count + _SHARED)
        self.centre, self.scale = seen.mean(dim=0), shared.sqrt() + 1e-3
        self.projection = nn.Linear(seen.shape[1], _DIM)
        self.layer = MemoryWrapLayer(_DIM, classes)

    def standard(self, features: Tensor) -> Tensor:
        return (features - self.centre) / self.scale

    @torch.no_grad()
    def answers(self, features: Tensor, memory: Tensor) -> Tensor:
        """The classes (n,) that it says."""
        queries, kept = (self.projection(self.standard(one)) for one in (features, memory))
        return self.layer.read(queries, kept, self.layer.weights(queries, kept)).argmax(dim=1)

    @torch.no_grad()
    def folded(self) -> tuple[Tensor, Tensor]:
        """Weight and bias of the projection of features as they are."""
        weight = self.projection.weight / self.scale
        return weight, self.projection.bias - weight @ self.centre


@torch.enable_grad()
def _learned(features: Tensor, labels: Tensor, classes: int, seed: int) -> _Head:
    """Learned from features (n, 2, dim): each picture is read with others as its memory, never itself. One
    that is alone in its class has its mirror image there, or it would learn that the memory is wrong."""
    count, chance = len(labels), torch.Generator().manual_seed(seed)
    with _INITIAL, torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        head = _Head(features, classes)
    seen = head.standard(features)
    is_alone = (labels.bincount(minlength=classes) == 1)[labels]
    optimizer = torch.optim.AdamW(head.parameters(), lr=_RATE, fused=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, _RATE, _STEPS)
    for _ in range(_STEPS):
        rows = torch.randint(count, (_BATCH,), generator=chance)
        memory = torch.randperm(count, generator=chance)[:_MEMORY]
        others = (rows[:, None] != memory) | is_alone[rows, None]
        asked, beside = (_chosen(len(one), seen.shape[2], chance) for one in (rows, memory))
        other_side = torch.zeros_like(labels).index_copy(0, memory, 1 - beside.sides)
        asked = asked._replace(sides=torch.where(is_alone[rows], other_side[rows], asked.sides))
        queries, kept = (
            head.projection(seen[at, one.sides] * one.scale)
            for at, one in ((rows, asked), (memory, beside))
        )
        weights = head.layer.weights(queries, kept, others)
        logits = head.layer.read(queries, kept, weights)
        told = weights @ functional.one_hot(labels[memory], classes).float()
        # Pictures of a class come to lie together where the memory, too, is to tell the class.
        right = told.gather(1, labels[rows, None]).clamp(min=1e-3).log().sum()
        loss = functional.cross_entropy(
            logits, labels[rows], label_smoothing=_SMOOTHING, reduction="sum"
        )
        loss = loss - right + counterfactual_loss(
            head.layer, queries.detach(), kept.detach(), labels[rows], labels[memory]
        )  # fmt: skip
        optimizer.zero_grad()
        (loss / _BATCH).backward()
        optimizer.step()
        schedule.step()
    return head.eval().requires_grad_(False)


class _Chosen(NamedTuple):
    """What of pictures is shown."""

    sides: Tensor  # (n,): 0 the picture, 1 its mirror image
    scale: Tensor  # (n, features): some are dropped; few pictures are learned by heart otherwise


def _chosen(count: int, features: int, chance: torch.Generator) -> _Chosen:
    sides = torch.randint(2, (count,), generator=chance)
    drawn = torch.randint(256, (count, features), generator=chance, dtype=torch.uint8)
    return _Chosen(sides, (drawn >= round(256 * _DROPPED)) / (1 - _DROPPED))


def _assembled(
    lesson: Lesson, head: _Head, title: str, encoder: str, seed: int
) -> MemoryWrapClassifier:
    made, _ = pretrained(encoder)
    config = Config(
        title=title,
        encoder=encoder,
        classes=list(lesson.classes),
        image_size=made.photo.image_size,
        mean=made.photo.mean,
        std=made.photo.std,
        projection=_DIM,
        seed=seed,
        recipe={"name": "taught", "steps": _STEPS, "pictures": len(lesson.labels)},
        versions=library_versions(),
    )
    classifier = MemoryWrapClassifier(config).eval().requires_grad_(False)
    projected = cast(Projected, classifier.encoder)
    projected.encoder.load_state_dict(made.state_dict())
    weight, bias = head.folded()
    projected.projection.load_state_dict({"weight": weight, "bias": bias})
    classifier.head.load_state_dict(head.layer.state_dict())
    kept = memory_of(lesson.features[:, 0], lesson.labels)
    classifier.set_bank(classifier.make_bank(lesson.images[kept], lesson.labels[kept]))
    classifier.set_familiarity(nearest_of(lesson.features[:, 0], made.kinds))
    return classifier
