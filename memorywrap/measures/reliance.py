"""Does the memory decide? How often an answer changes, and to what, when its evidence is taken away."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from memorywrap.classifier import MemoryWrapClassifier
from memorywrap.what_if import wilson_interval

_CHUNK = 500  # images read at once


@torch.no_grad()
def reliance(classifier: MemoryWrapClassifier, embeddings: Tensor) -> dict[str, Any]:
    """Necessity, follow rate, explanation accuracy and how many answers have a counterfactual, with
    the classifier's own bank; every answer by running the model.

    Args:
        classifier: with a bank.
        embeddings: of the images (n, dim), as `classifier.encode` gives them.

    Returns:
        Of each rate {"percent", "interval" (95 %, in percent), "images" (how many it is a rate of)}:

        - "necessity": all memory samples predicted in the answer's class are taken away; how often
          is the answer another one then? Of the images for which samples are left.
        - "follow_rate": only memory samples predicted in the runner-up's class are left; how often
          is the answer the runner-up then? Of the images for which there are any.
        - "counterfactuals": how many answers have a used sample that is predicted in another class.
        - "explanation_accuracy": how many answers have a top-weighted sample that is predicted in their
          own class (the paper's Table 5).

    Raises:
        ValueError: a model without a bank.
    """
    bank = classifier.require_bank()
    assert bank.predicted is not None  # the classifier completes its bank
    of_class = bank.predicted.masked_fill(~bank.available, -1)
    changed, followed, opposed, agreed = [], [], [], []
    for queries in embeddings.split(_CHUNK):
        logits, weights, _ = (value.cpu() for value in classifier.read(queries, bank))
        answers, runners_up = logits.topk(2, dim=1).indices.unbind(dim=1)
        others = (of_class != answers[:, None]) & bank.available
        now, asked = _answers(classifier, queries, others)
        changed.append((now != answers)[asked])
        now, asked = _answers(classifier, queries, of_class == runners_up[:, None])
        followed.append((now == runners_up)[asked])
        opposed.append(((weights > 0) & others).any(dim=1))
        agreed.append(of_class[weights.argmax(dim=1)] == answers)
    return {
        "necessity": rate(torch.cat(changed)),
        "follow_rate": rate(torch.cat(followed)),
        "counterfactuals": rate(torch.cat(opposed)),
        "explanation_accuracy": rate(torch.cat(agreed)),
    }


def _answers(
    classifier: MemoryWrapClassifier, queries: Tensor, left: Tensor
) -> tuple[Tensor, Tensor]:
    """Predicted classes (n,) with the samples that are left for each, bool (n, memory), and for which
    queries there are any; the classes of the others mean nothing."""
    asked = left.any(dim=1)
    mask = left | ~asked[:, None]
    return classifier.read(queries, mask=mask).logits.argmax(dim=1).cpu(), asked


def rate(found: Tensor) -> dict[str, Any]:
    """A share, from bool (images,): {"percent", "interval" (95 %, in percent), "images"}."""
    count, images = int(found.sum()), len(found)
    if images == 0:
        return {"percent": None, "interval": None, "images": 0}
    interval = [round(100 * end, 2) for end in wilson_interval(count, images)]
    return {"percent": round(100 * count / images, 2), "interval": interval, "images": images}
