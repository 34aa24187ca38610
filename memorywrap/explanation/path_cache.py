"""What an explanation needs to know of memory samples whatever the image: their way from a start.

Along the path, a memory sample's embedding depends on the sample, the start and the step, never on
the input; so it is computed once, with its derivative (forward mode), and kept.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from memorywrap.explanation.baselines import STARTS
from memorywrap.explanation.passes import Embed, chunk_size
from memorywrap.explanation.quadrature import first_panels, halves, nodes_of, product_rule

_VIEWED, _MOST_VIEWED = 16, 1000  # samples that are looked at together, and that are remembered
_WARM_CUTS = 2  # how often panels are cut into halves ahead of time

# PyTorch keeps the level of forward-mode derivatives per process, not per thread: a second one that
# ends meanwhile takes the first one's level away.
_ONE_AT_A_TIME = threading.Lock()


class PathCache:
    """Embeddings of memory samples along their paths, and the derivatives; grows as it is asked.

    Rows are kept under a digest of the sample's pixels, so edits of a bank keep what is known. The
    owner starts a new cache when the encoder's weights change.

    Args:
        embed: what is explained (batch, channels, height, width) -> embeddings (batch, dim).
        view: images (batch, 3, height, width) in [0, 1] -> what is explained of them; those images
            themselves when not given.
        most_bytes: beyond this size, the steps that were not asked for the longest are forgotten.
    """

    def __init__(self, embed: Embed, view: Embed | None = None, most_bytes: int = 256 * 2**20):
        self.embed = embed
        self.view = view
        self.most_bytes = most_bytes
        self._viewed: dict[bytes, Tensor] = {}  # sample key -> what is explained of it
        self._lock = threading.Lock()  # of what is kept
        # (start, step, with derivative) -> sample key -> row or rows (dim,)
        self._rows: dict[tuple[str, float, bool], dict[bytes, Tensor]] = {}

    def __len__(self) -> int:
        return sum(len(rows) for rows in self._rows.values())

    @property
    def size(self) -> int:
        """Bytes of all rows kept."""
        return sum(_bytes_of(rows) for rows in self._rows.values())

    def viewed(self, keys: Sequence[bytes], images: Tensor) -> Tensor:
        """What is explained of memory samples (samples, 3, height, width), remembered by their keys."""
        if self.view is None:
            return images
        with self._lock:
            known = {key: self._viewed[key] for key in keys if key in self._viewed}
        missing = [row for row, key in enumerate(keys) if key not in known]
        for part in (missing[at : at + _VIEWED] for at in range(0, len(missing), _VIEWED)):
            found = self.view(images[part])
            known |= {keys[row]: one.clone() for row, one in zip(part, found, strict=True)}
        with self._lock:
            self._viewed |= known
            for key in list(self._viewed)[:-_MOST_VIEWED]:
                del self._viewed[key]
        return torch.stack([known[key] for key in keys])

    def embeddings(
        self, keys: Sequence[bytes], pixels: Tensor, start: str, steps: Sequence[float]
    ) -> Tensor:
        """Embeddings (steps, samples, dim) of samples (samples, 3, height, width) on their paths."""
        return self._gather(keys, pixels, start, steps, derivative=False)[..., 0]

    def derivatives(
        self, keys: Sequence[bytes], pixels: Tensor, start: str, steps: Sequence[float]
    ) -> tuple[Tensor, Tensor]:
        """Embeddings and their derivatives by the step, each (steps, samples, dim)."""
        rows = self._gather(keys, pixels, start, steps, derivative=True)
        return rows[..., 0], rows[..., 1]

    def warm(self, keys: Sequence[bytes], pixels: Tensor, start: str) -> None:
        """Compute ahead of time what an explanation with automatic steps asks for: the panels that
        it begins with, and those that they are cut into before few explanations go on."""
        if self.view is not None:  # see `memorywrap.explanation.cells`
            self.embeddings(keys, pixels, start, [0.0, 1.0])
            return
        panels = newest = first_panels()
        for _ in range(_WARM_CUTS):
            newest = [half for panel in newest for half in halves(panel)]
            panels = panels + newest
        self.derivatives(keys, pixels, start, nodes_of(panels, product_rule()))
        self.embeddings(keys, pixels, start, sorted({end for panel in panels for end in panel}))

    def _gather(
        self,
        keys: Sequence[bytes],
        pixels: Tensor,
        start: str,
        steps: Sequence[float],
        derivative: bool,
    ) -> Tensor:
        with self._lock:
            blocks = [self._rows.setdefault((start, step, derivative), {}) for step in steps]
        asked = {  # each sample and step once, however often they are named
            (step, key): (block, step, row)
            for block, step in zip(blocks, steps, strict=True)
            for row, key in enumerate(keys)
            if key not in block
        }
        missing = list(asked.values())
        size = chunk_size(pixels.device)
        for first in range(0, len(missing), size):
            chunk = missing[first : first + size]
            ends = pixels[[row for _, _, row in chunk]]
            blank = STARTS[start](ends)
            at = torch.tensor([step for _, step, _ in chunk]).to(ends)[:, None, None, None]
            points = blank + at * (ends - blank)
            # What is kept serves later explanations, in whatever precision this one was asked for.
            full = torch.autocast(pixels.device.type, enabled=False)
            with torch.no_grad(), full:
                if derivative:
                    with _ONE_AT_A_TIME, _differentiable_attention():
                        pair = torch.func.jvp(self.embed, (points,), (ends - blank,))
                    rows = torch.stack(pair, dim=-1)  # (chunk, dim, 2)
                else:
                    rows = self.embed(points)[..., None]  # (chunk, dim, 1)
            with self._lock:
                for (block, _, row), value in zip(chunk, rows.unbind(), strict=True):
                    block[keys[row]] = value.clone()  # no view, which would keep the whole chunk
        found = torch.stack([torch.stack([block[key] for key in keys]) for block in blocks])
        with self._lock:
            for step, block in zip(steps, blocks, strict=True):  # asked for last, forgotten last
                self._rows.pop((start, step, derivative), None)
                self._rows[start, step, derivative] = block
            excess = self.size - self.most_bytes
            while excess > 0 and len(self._rows) > 1:
                excess -= _bytes_of(self._rows.pop(next(iter(self._rows))))
        return found


def _bytes_of(rows: dict[bytes, Tensor]) -> int:
    """Of rows that are all of one size."""
    return len(rows) * next(iter(rows.values())).nbytes if rows else 0


@contextmanager
def _differentiable_attention() -> Iterator[None]:
    """Vision transformers attend by single operations: the fused ones have no forward-mode
    derivative."""
    fused = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with sdpa_kernel(SDPBackend.MATH):
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fused)
