"""Patch counterfactuals: the few cells of a memory sample with which a picture would be another class.

Found by running the model, never by estimate: attribution only decides what is tried first.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor

from memorywrap.classifier import MemoryWrapClassifier
from memorywrap.devices import bfloat16_pays, half_precision
from memorywrap.encoders.frozen import in_full_precision
from memorywrap.images import to_unit
from memorywrap.prediction import GRID, PatchCounterfactual, Prediction

_SOURCES = 3  # samples tried where the first does not lead to another answer
# Cells that are replaced at once, by falling attribution: most answers change with a few.
_COUNTS = ((1, 2, 3), (4, 6, 8), (12, 16, 24), (32, 48, GRID * GRID))
_SMALL = 64  # pixels of a side up to which other alignments, and fewer pieces, can be tried in time
_REFINED = 2  # alignments with the fewest cells that are looked at more closely
_MOVES = 24  # ways to join pieces that are tried at once
_MANY = 6  # cells from which on the gradient says first which are not needed
_CLEAR, _HALF_CLEAR = 1e-3, 0.03  # logits that an answer must be ahead: less can be rounding

_Found = TypeVar("_Found")
_Try = tuple[int, Iterable[int]]  # an alignment, and the cells that are taken from the sample
# A part of a search: it yields what is to be looked at and is sent how far the sample's class is ahead in each.
_Steps = Generator[Sequence[_Try], Any, _Found]


def patch_counterfactual(
    classifier: MemoryWrapClassifier, prediction: Prediction
) -> PatchCounterfactual | None:
    """The fewest cells found that make the model answer another class, taken from the prediction's
    counterfactual, or else its contrast.

    The sample is laid over the picture at a few alignments. At each, cells are ordered by attribution
    of the sample's class against the predicted one, halfway between picture and sample; the first
    ones are replaced, and those that are not needed are put back. Fewer cells may exist: not all sets
    are tried. Where the sample does not lead to another answer, the next most similar do.

    Args:
        classifier: a model with memory.
        prediction: one of its predictions.

    Returns:
        None where all memory is predicted in the predicted class, or nothing was found.

    Raises:
        ValueError: the prediction of a plain network.
    """
    (found,) = patch_counterfactuals(classifier, [prediction])
    return found


@torch.inference_mode(mode=False)
def patch_counterfactuals(
    classifier: MemoryWrapClassifier, predictions: Sequence[Prediction]
) -> list[PatchCounterfactual | None]:
    """`patch_counterfactual` of each; what all look at next goes through the encoder together, which takes less
    time than one after the other."""
    searches = [_SourceBySource(classifier, prediction) for prediction in predictions]
    while waiting := [search for search in searches if search.tries]:
        together = [search for search in waiting if search.goes_with(waiting[0])]
        first = waiting[0].now
        pictures = [search.now.pictures(search.tries) for search in together]
        with half_precision(classifier.device, first.half):
            seen = classifier.encode(torch.cat(pictures)).to(first.bank.embeddings.dtype)
        logits = classifier.read(seen, first.bank).logits.float().cpu()
        for search, part in zip(together, logits.split([*map(len, pictures)]), strict=True):
            search.go_on(search.now.margins(part))
    return [search.found for search in searches]


def looks_together(classifier: MemoryWrapClassifier) -> bool:
    """Whether several predictions of a model are searched together sooner than one after the other."""
    return classifier.config.image_size <= _SMALL


class _Part(Generic[_Found]):
    """A part of a search that is under way.

    Attributes:
        tries: what it is to look at next; nothing where it has come to its end.
        found: what it came to.
    """

    tries: Sequence[_Try]
    found: _Found

    def __init__(self, steps: _Steps[_Found]):
        self._steps = steps
        self.go_on(None)

    def go_on(self, margins: Tensor | None) -> None:
        """With what it has seen in its tries; None for the first of them."""
        try:
            self.tries = self._steps.send(margins)
        except StopIteration as done:
            self.tries, self.found = (), done.value


class _SourceBySource(_Part[PatchCounterfactual | None]):
    """The search for one prediction, with one sample after the other; `now` is that with the present one."""

    now: _Search

    def __init__(self, classifier: MemoryWrapClassifier, prediction: Prediction):
        super().__init__(self._all(classifier, prediction))

    def goes_with(self, other: _SourceBySource) -> bool:
        """Whether both look with one precision and read one memory. Of large pictures one search alone fills
        the encoder, and several the memory."""
        one, another = self.now, other.now
        alike = one.half == another.half and one.bank is another.bank
        return self is other or (alike and one.is_quick)

    def _all(
        self, classifier: MemoryWrapClassifier, prediction: Prediction
    ) -> _Steps[PatchCounterfactual | None]:
        for source in islice(_sources(prediction), _SOURCES):
            self.now = _Search(classifier, prediction, source)
            found = yield from self.now.run()
            if found is not None:
                return found
        return None


def _sources(prediction: Prediction) -> Iterator[int]:
    """Bank indices of samples of other predicted classes: counterfactual or contrast first."""
    bank = prediction.require_bank()
    first = prediction.other
    if first is None:
        return
    yield first
    for index in prediction.similarity.argsort(descending=True, stable=True).tolist():
        if index != first and bank.available[index] and prediction.role(index) != "example":
            yield index


class _Search:
    """The search with the cells of one sample."""

    def __init__(self, classifier: MemoryWrapClassifier, prediction: Prediction, source: int):
        self.classifier, self.prediction, self.source = classifier, prediction, source
        self.bank = prediction.require_bank()
        assert self.bank.predicted is not None
        self.target = int(self.bank.predicted[source])
        size = prediction.pixels.shape[-1]
        self.is_quick = looks_together(classifier)
        step = max(size // 16, 1)
        moves = [(0, 0), (-step, 0), (step, 0), (0, -step), (0, step)]
        self.alignments = [
            ((down, right), mirrored)
            for mirrored in ((False, True) if classifier.config.mirror else (False,))
            for down, right in (moves if self.is_quick else moves[:1])
        ]
        self.samples = torch.stack(
            [_moved(self.bank.images[source], *how) for how in self.alignments]
        )
        self.cell_of = cell_numbers(size)
        device = classifier.device
        self.may_halve = self.is_quick and device.type == "cpu" and bfloat16_pays(device)
        self.half = False  # whether the encoder looks in bfloat16 now

    def run(self) -> _Steps[PatchCounterfactual | None]:
        """The fewest cells found that lead to the sample's class, in the fewest pieces."""
        # Looks in bfloat16 take half as long. What they lead to is looked at again in full precision, and
        # where it does not hold there, all of it is.
        for half in (True, False) if self.may_halve else (False,):
            self.half = half
            found = yield from self._fewest()
            self.half = False
            if found is None:
                continue
            at, cells = found
            if half:
                cells = yield from self._pruned(at, cells)
            verified = self._verified(at, cells)
            if verified is not None:
                return verified
        return None

    def _fewest(self) -> _Steps[tuple[int, frozenset[int]] | None]:
        """The alignment and its cells that lead to the sample's class, as they are looked at now."""
        order = self.attributions().argsort(dim=1, descending=True, stable=True).tolist()
        flips: list[tuple[int, frozenset[int]]] = []
        for counts in _COUNTS:
            flips = yield from self._first_flips(order, counts)
            if flips:
                break
        chosen = [at for at, _ in flips[:_REFINED]]
        kept = yield from _side_by_side([self._needed(at, cells) for at, cells in flips[:_REFINED]])
        fewest = min(map(len, kept), default=0)
        found = [
            (at, cells) for at, cells in zip(chosen, kept, strict=True) if len(cells) == fewest
        ]
        if self.is_quick:
            joined = yield from _side_by_side(
                [self._joined(at, cells, order[at]) for at, cells in found]
            )
            found = [(at, cells) for (at, _), cells in zip(found, joined, strict=True)]
        return min(found, key=lambda one: (len(one[1]), _pieces(one[1]), one[0]), default=None)

    def attributions(self) -> Tensor:
        """(alignments, cells): what each cell would add to the margin of the sample's class, to first
        order, halfway between picture and sample."""
        picture = to_unit(self.prediction.pixels[None], self.classifier.device)
        samples = to_unit(self.samples, self.classifier.device)
        return self._added((picture + samples) / 2, samples)

    def _added(self, pictures: Tensor, samples: Tensor) -> Tensor:
        """(pictures, cells): what each cell adds to the margin where it comes from the sample in place of the
        input, to first order at these pictures (n, 3, size, size), samples likewise."""
        classifier = self.classifier
        pictures = pictures.detach().requires_grad_(True)
        memory = self.bank.embeddings.float()
        head: Any = in_full_precision(classifier.head)
        with half_precision(classifier.device, self.half):
            queries = classifier.frozen.in_full_precision().embed(pictures).float()
        usable = self.bank.available.to(classifier.device).expand(len(queries), -1)
        logits = head.read(queries, memory, head.weights(queries, memory, usable))
        margin = logits[:, self.target] - logits[:, self.prediction.predicted]
        (gradient,) = torch.autograd.grad(margin.sum(), pictures)
        way = samples - to_unit(self.prediction.pixels[None], classifier.device)
        by_pixel = (gradient * way).sum(dim=1).flatten(1).cpu()
        cells = torch.zeros(len(samples), GRID * GRID)
        return cells.index_add_(1, self.cell_of.flatten(), by_pixel)

    def pictures(self, tries: Sequence[_Try]) -> Tensor:
        """uint8 (tries, 3, size, size), with these cells taken from the sample at these alignments."""
        samples = self.samples[[at for at, _ in tries]]
        cells = [cells for _, cells in tries]
        return laid_over(self.prediction.pixels, samples, cells, self.cell_of)

    def margins(self, logits: Tensor) -> Tensor:
        """(n,): how far the sample's class is ahead, by logits (n, classes)."""
        others = logits.clone()
        others[:, self.target] = float("-inf")
        clear = _HALF_CLEAR if self.half else _CLEAR
        return logits[:, self.target] - others.amax(dim=1) - clear

    def _picture(self, at: int, cells: Iterable[int]) -> Tensor:
        return self.pictures([(at, cells)])[0]

    def _first_flips(
        self, order: list[list[int]], counts: tuple[int, ...]
    ) -> _Steps[list[tuple[int, frozenset[int]]]]:
        """The alignments that some of these numbers of cells suffice for, with the fewest that do: the
        best first, by number and then by margin."""
        tries = [(at, frozenset(row[:count])) for at, row in enumerate(order) for count in counts]
        margins = (yield tries).tolist()
        flips = [
            (len(cells), -margin, at, cells)
            for (at, cells), margin in zip(tries, margins, strict=True)
            if margin > 0
        ]
        first: dict[int, frozenset[int]] = {}
        for _, _, at, cells in sorted(flips, key=lambda flip: flip[:3]):
            first.setdefault(at, cells)
        return list(first.items())

    def _needed(self, at: int, cells: frozenset[int]) -> _Steps[frozenset[int]]:
        """Without the cells that are not needed, many or few."""
        if len(cells) > _MANY:
            cells = yield from self._thinned(at, cells)
        return (yield from self._pruned(at, cells))

    def _thinned(self, at: int, cells: frozenset[int]) -> _Steps[frozenset[int]]:
        """Without most of the cells that are not needed: those go first that the gradient says the least of."""
        sample = to_unit(self.samples[at][None], self.classifier.device)
        while len(cells) > 1:
            changed = to_unit(self._picture(at, cells)[None], self.classifier.device)
            worth = self._added(changed, sample)[0].tolist()
            spare = sorted(cells, key=worth.__getitem__)[:-1]
            fewer = yield from self._without_some(at, cells, spare)
            if fewer == cells:
                break
            cells = fewer
        return cells

    def _pruned(self, at: int, cells: frozenset[int]) -> _Steps[frozenset[int]]:
        """Without the cells that are not needed: each of those left has been put back, and is."""
        needed: frozenset[int] = frozenset()
        while len(cells) > 1:
            each = sorted(cells - needed)
            tries = [(at, cells - {cell}) for cell in each]
            margins = (yield tries) if tries else Tensor()
            order = margins.argsort(descending=True, stable=True).tolist()
            spare = [each[row] for row in order if margins[row] > 0][: len(cells) - 1]
            if spare:
                needed = cells.difference(spare)
                cells = yield from self._without_some(at, cells, spare)
            elif len(each) == len(cells):
                break
            else:  # what was needed beside others is asked again without them
                needed = frozenset()
        return cells

    def _without_some(
        self, at: int, cells: frozenset[int], spare: list[int]
    ) -> _Steps[frozenset[int]]:
        """Each of the spare cells can go, all at once perhaps not: as many as can, the first ones first."""
        low, high = 0, len(spare) + 1
        while high - low > 1:
            counts = sorted({low + max(1, (high - low) * part // 4) for part in (1, 2, 3)})
            margins = yield [(at, cells.difference(spare[:count])) for count in counts]
            enough = [
                count for count, margin in zip(counts, margins.tolist(), strict=True) if margin > 0
            ]
            low, above = max(enough, default=low), high
            high = min((count for count in counts if count > low), default=above)
        return cells.difference(spare[:low])

    def _joined(self, at: int, cells: frozenset[int], order: list[int]) -> _Steps[frozenset[int]]:
        """No more cells in fewer pieces, where one that stands apart can be moved to the others."""
        while True:
            moves = {
                cells - {apart} | {beside}
                for apart in cells
                for other in cells - {apart}
                for beside in _neighbours(other)
                if beside not in cells
            }
            fewer = [move for move in moves if _pieces(move) < _pieces(cells)]
            fewer.sort(key=lambda move: sorted(map(order.index, move)))
            tries = [(at, move) for move in fewer[:_MOVES]]
            margins = (yield tries) if tries else torch.zeros(1)
            if float(margins.max()) <= 0:
                return cells
            cells = yield from self._pruned(at, fewer[int(margins.argmax())])

    def _verified(self, at: int, cells: frozenset[int]) -> PatchCounterfactual | None:
        """The result, where the model by itself answers the changed picture so."""
        (answer,) = self.classifier.predict_inputs([self._picture(at, cells)], self.bank)
        if answer.predicted != self.target:
            return None
        shift, mirrored = self.alignments[at]
        places = tuple(sorted(divmod(cell, GRID) for cell in cells))
        return PatchCounterfactual(self.source, places, shift, mirrored, self.samples[at], answer)


def _side_by_side(parts: Sequence[_Steps[_Found]]) -> _Steps[list[_Found]]:
    """What several parts of a search come to, which look together."""
    all_parts = [_Part(one) for one in parts]
    while waiting := [part for part in all_parts if part.tries]:
        margins = yield [one for part in waiting for one in part.tries]
        sizes = [len(part.tries) for part in waiting]
        for part, ahead in zip(waiting, margins.split(sizes), strict=True):
            part.go_on(ahead)
    return [part.found for part in all_parts]


def cell_numbers(size: int) -> Tensor:
    """(size, size): the number of the cell that each pixel belongs to, row by row."""
    place = torch.arange(size) * GRID // size
    return place[:, None] * GRID + place


def laid_over(
    picture: Tensor, samples: Tensor, cells: Sequence[Iterable[int]], cell_of: Tensor
) -> Tensor:
    """(n, 3, size, size): the picture (3, size, size) with the cells of some numbers taken from each of the
    samples (n, 3, size, size)."""
    chosen = torch.zeros(len(samples), GRID * GRID, dtype=torch.bool)
    for row, numbers in enumerate(cells):
        chosen[row, list(numbers)] = True
    return torch.where(chosen[:, None, cell_of], samples, picture)


def _moved(pixels: Tensor, shift: tuple[int, int], mirrored: bool) -> Tensor:
    """The picture (3, height, width) moved down and right by pixels; its border fills what is free."""
    for dim, by in zip((1, 2), shift, strict=True):
        last = pixels.shape[dim] - 1
        pixels = pixels.index_select(dim, (torch.arange(last + 1) - by).clamp(0, last))
    return pixels.flip(2) if mirrored else pixels


def _neighbours(cell: int) -> list[int]:
    row, column = divmod(cell, GRID)
    around = ((row - 1, column), (row + 1, column), (row, column - 1), (row, column + 1))
    return [GRID * r + c for r, c in around if 0 <= r < GRID and 0 <= c < GRID]


def _pieces(cells: Iterable[int]) -> int:
    """How many pieces the cells are in, those that share a side being one."""
    left, pieces = set(cells), 0
    while left:
        pieces += 1
        reached = [left.pop()]
        while reached:
            near = left.intersection(_neighbours(reached.pop()))
            left -= near
            reached += near
    return pieces
