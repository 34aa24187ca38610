"""Patch counterfactuals: the few cells of a memory sample with which a picture would be another class.

Found by running the model, never by estimate: attribution only decides what is tried first.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any

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


@torch.inference_mode(mode=False)
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
    for source in islice(_sources(prediction), _SOURCES):
        search = _Search(classifier, prediction, source)
        found = search.run()
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
        self.is_quick = size <= _SMALL
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

    def run(self) -> PatchCounterfactual | None:
        """The fewest cells found that lead to the sample's class, in the fewest pieces."""
        # Looks in bfloat16 take half as long. What they lead to is looked at again in full precision, and
        # where it does not hold there, all of it is.
        for half in (True, False) if self.may_halve else (False,):
            self.half = half
            found = self._fewest()
            self.half = False
            if found is None:
                continue
            at, cells = found
            verified = self._verified(at, self._pruned(at, cells) if half else cells)
            if verified is not None:
                return verified
        return None

    def _fewest(self) -> tuple[int, frozenset[int]] | None:
        """The alignment and its cells that lead to the sample's class, as they are looked at now."""
        order = self.attributions().argsort(dim=1, descending=True, stable=True).tolist()
        some = (self._first_flips(order, counts) for counts in _COUNTS)
        flips = next((flips for flips in some if flips), [])
        found = []
        for at, cells in flips[:_REFINED]:
            if len(cells) > _MANY:
                cells = self._thinned(at, cells)
            found.append((at, self._pruned(at, cells)))
        fewest = min((len(cells) for _, cells in found), default=0)
        found = [(at, cells) for at, cells in found if len(cells) == fewest]
        if self.is_quick:
            found = [(at, self._joined(at, cells, order[at])) for at, cells in found]
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

    def margins(self, tries: Sequence[tuple[int, Iterable[int]]]) -> Tensor:
        """(tries,): how far the sample's class is ahead, with these cells taken from it at these
        alignments."""
        pictures = torch.stack([self._picture(at, cells) for at, cells in tries])
        with half_precision(self.classifier.device, self.half):
            seen = self.classifier.encode(pictures)
        logits = self.classifier.read(seen.to(self.bank.embeddings.dtype), self.bank).logits.float()
        others = logits.clone()
        others[:, self.target] = float("-inf")
        return (logits[:, self.target] - others.amax(dim=1)).cpu() - (
            _HALF_CLEAR if self.half else _CLEAR
        )

    def _picture(self, at: int, cells: Iterable[int]) -> Tensor:
        return laid_over(self.prediction.pixels, self.samples[at], cells, self.cell_of)

    def _first_flips(
        self, order: list[list[int]], counts: tuple[int, ...]
    ) -> list[tuple[int, frozenset[int]]]:
        """The alignments that some of these numbers of cells suffice for, with the fewest that do: the
        best first, by number and then by margin."""
        tries = [(at, frozenset(row[:count])) for at, row in enumerate(order) for count in counts]
        margins = self.margins(tries).tolist()
        flips = [
            (len(cells), -margin, at, cells)
            for (at, cells), margin in zip(tries, margins, strict=True)
            if margin > 0
        ]
        first: dict[int, frozenset[int]] = {}
        for _, _, at, cells in sorted(flips, key=lambda flip: flip[:3]):
            first.setdefault(at, cells)
        return list(first.items())

    def _thinned(self, at: int, cells: frozenset[int]) -> frozenset[int]:
        """Without most of the cells that are not needed: those go first that the gradient says the least of."""
        sample = to_unit(self.samples[at][None], self.classifier.device)
        while len(cells) > 1:
            changed = to_unit(self._picture(at, cells)[None], self.classifier.device)
            worth = self._added(changed, sample)[0].tolist()
            fewer = self._without_some(at, cells, sorted(cells, key=worth.__getitem__)[:-1])
            if fewer == cells:
                break
            cells = fewer
        return cells

    def _pruned(self, at: int, cells: frozenset[int]) -> frozenset[int]:
        """Without the cells that are not needed: each of those left has been put back, and is."""
        needed: frozenset[int] = frozenset()
        while len(cells) > 1:
            each = sorted(cells - needed)
            margins = self.margins([(at, cells - {cell}) for cell in each]) if each else Tensor()
            order = margins.argsort(descending=True, stable=True).tolist()
            spare = [each[row] for row in order if margins[row] > 0][: len(cells) - 1]
            if spare:
                needed = cells.difference(spare)
                cells = self._without_some(at, cells, spare)
            elif len(each) == len(cells):
                break
            else:  # what was needed beside others is asked again without them
                needed = frozenset()
        return cells

    def _without_some(self, at: int, cells: frozenset[int], spare: list[int]) -> frozenset[int]:
        """Each of the spare cells can go, all at once perhaps not: as many as can, the first ones first."""
        low, high = 0, len(spare) + 1
        while high - low > 1:
            counts = sorted({low + max(1, (high - low) * part // 4) for part in (1, 2, 3)})
            margins = self.margins([(at, cells.difference(spare[:count])) for count in counts])
            enough = [
                count for count, margin in zip(counts, margins.tolist(), strict=True) if margin > 0
            ]
            low, above = max(enough, default=low), high
            high = min((count for count in counts if count > low), default=above)
        return cells.difference(spare[:low])

    def _joined(self, at: int, cells: frozenset[int], order: list[int]) -> frozenset[int]:
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
            margins = self.margins(tries) if tries else torch.zeros(1)
            if float(margins.max()) <= 0:
                return cells
            cells = self._pruned(at, fewer[int(margins.argmax())])

    def _verified(self, at: int, cells: frozenset[int]) -> PatchCounterfactual | None:
        """The result, where the model by itself answers the changed picture so."""
        (answer,) = self.classifier.predict_inputs([self._picture(at, cells)], self.bank)
        if answer.predicted != self.target:
            return None
        shift, mirrored = self.alignments[at]
        places = tuple(sorted(divmod(cell, GRID) for cell in cells))
        return PatchCounterfactual(self.source, places, shift, mirrored, self.samples[at], answer)


def cell_numbers(size: int) -> Tensor:
    """(size, size): the number of the cell that each pixel belongs to, row by row."""
    place = torch.arange(size) * GRID // size
    return place[:, None] * GRID + place


def laid_over(picture: Tensor, sample: Tensor, cells: Iterable[int], cell_of: Tensor) -> Tensor:
    """The picture (3, size, size) with the cells of these numbers taken from the sample, likewise."""
    chosen = torch.zeros(GRID * GRID, dtype=torch.bool)
    chosen[list(cells)] = True
    return torch.where(chosen[cell_of], sample, picture)


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
