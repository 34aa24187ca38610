"""The models of the page, and what visitors ask of them, done together where it waits together."""

from __future__ import annotations

import logging
import threading
import weakref
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import torch
from PIL import Image

from app import metrics
from app.lanes import Lane, NotNow
from app.shelf import ModelError, Shelf
from memorywrap import Explanation, MemoryWrapClassifier, PatchCounterfactual, Prediction
from memorywrap.devices import share_arenas, use_threads, use_threads_here
from memorywrap.images import Box
from memorywrap.patches import looks_together, patch_counterfactuals

_log = logging.getLogger(__name__)
_Result = TypeVar("_Result")

# Done together at most, and waiting at most: of answers and of maps, which take ten times as long.
_TOGETHER, _ANSWERS = 64, 1000
_EXPLAINED, _MAPS = 8, 300
_CHECKED = 20  # samples that a model is asked about before it counts as ready
_NO_MEMORY = "This model has no memory, so there is nothing to explain by examples."
_LOST = "The server has just lost its accelerator and goes on without it: please ask again."


class Models(Shelf):
    """The models on the shelf, and the lanes in which they answer; thread-safe.

    Args:
        folder, device: as for `Shelf`.
    """

    def __init__(self, folder: str | Path, device: str = "auto"):
        use_threads(None)
        share_arenas()
        self._cores = torch.get_num_threads()
        super().__init__(folder, device)
        self.answers = self._lane("answers", self._predict_together, _TOGETHER, _ANSWERS)
        self.guesses = self._lane("guesses", self._guess, 1, _ANSWERS, threads=self._cores)
        self.maps = self._lane("maps", self._explain_together, _EXPLAINED, _MAPS, threads=2)
        self._explained = threading.Lock()  # of the two that follow
        self._explaining = 0  # batches of maps and patches that are under way
        # Found once, for the page as for the files that a person saves.
        self._patches: weakref.WeakKeyDictionary[Prediction, Future[PatchCounterfactual | None]]
        self._patches = weakref.WeakKeyDictionary()
        # Whether the default model answers as it should.
        self.is_ready = False
        self._closed = threading.Event()
        self._warming: threading.Thread | None = None

    def predict(self, name: str, image: Image.Image, box: Box | None) -> Prediction:
        """The prediction for a part of an image, made together with those that others wait for.

        Raises:
            ModelError: as `get`.
            NotNow: too many wait, or a page that is being closed.
        """
        return self.predict_input(name, self.get(name).input(image, box))

    def predict_input(self, name: str, pixels: torch.Tensor) -> Prediction:
        """`predict` of what the model sees, uint8 (3, size, size)."""
        return self.answers.submit(name, pixels).result()

    def suggest_boxes(self, name: str, image: Image.Image) -> list[Box]:
        """Squares of an image to classify, the first guess first.

        Raises:
            ModelError: as `get`.
            NotNow: too many wait, or a page that is being closed.
        """
        return self.guesses.submit(name, image).result()

    def explain(
        self, classifier: MemoryWrapClassifier, prediction: Prediction, **settings: Any
    ) -> Explanation:
        """The explanation of a prediction of one of these models, made together with those that others
        wait for.

        Raises:
            ModelError: a model without memory.
            NotNow: too many wait, or a page that is being closed.
        """
        return self.explain_meanwhile(classifier, prediction, **settings).result()

    def explain_meanwhile(
        self, classifier: MemoryWrapClassifier, prediction: Prediction, **settings: Any
    ) -> Future[Explanation]:
        """`explain`, begun beside what is done next; cancelling it frees its place in the line."""
        if not classifier.has_memory:
            raise ModelError(_NO_MEMORY)
        kind = ("explain", classifier, tuple(sorted(settings.items())))
        return self.maps.submit(kind, _readable(classifier, prediction))

    def patch(
        self, classifier: MemoryWrapClassifier, prediction: Prediction
    ) -> PatchCounterfactual | None:
        """The patch counterfactual of a prediction of one of these models.

        Raises:
            NotNow: too many wait, or a page that is being closed.
        """
        return self.patch_meanwhile(classifier, prediction).result()

    def patch_meanwhile(
        self, classifier: MemoryWrapClassifier, prediction: Prediction
    ) -> Future[PatchCounterfactual | None]:
        """`patch`, begun beside what is done next."""
        if not classifier.has_memory:
            raise ModelError(_NO_MEMORY)
        prediction = _readable(classifier, prediction)
        with self._explained:
            found = self._patches.get(prediction)
            if found is None:
                # Of large pictures each by itself: nobody waits for another's, which would be no sooner there.
                alone = None if looks_together(classifier) else prediction
                found = self.maps.submit(("patch", classifier, alone), prediction)
                self._patches[prediction] = found
                # One that failed holds on to what was asked: it is forgotten, and may be asked again.
                asked = weakref.ref(prediction)
                found.add_done_callback(lambda done: self._forget(asked, done))
        return found

    def _forget(self, asked: weakref.ref[Prediction], done: Future[Any]) -> None:
        prediction = asked()
        if prediction is not None and (done.cancelled() or done.exception() is not None):
            self._patches.pop(prediction, None)

    @staticmethod
    def _lane(
        name: str, work: Callable[..., Sequence[Any]], most: int, room: int, threads: int = 1
    ) -> Lane:
        lane = Lane(name, work, most=most, room=room, threads=threads, seen=metrics.of_lane(name))
        metrics.WAITING.labels(name).set_function(partial(len, lane))
        return lane

    def _predict_together(self, name: str, inputs: list[torch.Tensor]) -> Sequence[Any]:
        return self._surely(name, lambda classifier: classifier.predict_inputs(inputs))

    def _guess(self, name: str, images: list[Image.Image]) -> list[list[Box]]:
        def look(classifier: MemoryWrapClassifier) -> list[list[Box]]:
            if classifier.finder is None:  # the model itself looks at hundreds of squares
                with self._share_of_cores():
                    return [classifier.suggest_boxes(image) for image in images]
            use_threads_here(1, self._cores)  # a few squares at a time are too little for more
            return [classifier.suggest_boxes(image) for image in images]

        return self._surely(name, look)

    def _explain_together(
        self, kind: tuple[str, MemoryWrapClassifier, Any], asked: list[Any]
    ) -> Sequence[Any]:
        what, classifier, settings = kind
        try:
            with self._share_of_cores():
                if what == "patch":
                    return patch_counterfactuals(classifier, asked)
                if what == "explain":
                    return classifier.explain(asked, **dict(settings))
                classifier.warm_paths(asked)
        except torch.AcceleratorError as error:
            self._lose(error)
            raise NotNow(_LOST) from error
        return asked

    @contextmanager
    def _share_of_cores(self) -> Iterator[None]:
        """All cores where nothing else is explained or waits for it as this begins, else a share of them:
        threads that wait for one another on cores that others use take half as much again."""
        with self._explained:
            self._explaining += 1
            among = self._explaining + (len(self.maps) > 0)
        use_threads_here(max(1, self._cores // among), self._cores)
        try:
            yield
        finally:
            with self._explained:
                self._explaining -= 1

    def _surely(self, name: str, work: Callable[[MemoryWrapClassifier], _Result]) -> _Result:
        """The work of a model, on the processor where the accelerator is lost."""
        try:
            return work(self.get(name))
        except torch.AcceleratorError as error:
            self._lose(error)
            return work(self.get(name))

    def warm_up(self, name: str) -> None:
        """Load a model and run it once, so that the first person does not wait for it."""
        try:
            classifier = self.get(name)
            if name == self.default:
                self.is_ready = _answers_rightly(classifier)
            if classifier.bank is not None:
                for index in range(len(classifier.bank)):
                    self.maps.submit(("warm", classifier, index), index).result()
                    if self._closed.wait(0.01):  # whoever asks meanwhile goes first
                        return
        except Exception:  # a model that fails here says so when it is asked
            if not self._closed.is_set():
                _log.warning("warming up %s failed", name, exc_info=True)

    def warm_up_meanwhile(self, name: str) -> None:
        """`warm_up` in a thread of its own, until `close`."""
        self._warming = threading.Thread(target=self.warm_up, args=(name,), daemon=True)
        self._warming.start()

    def close(self) -> None:
        """Begin no explanation any more, and wait for what is under way: an explanation, or the
        memory sample that is being warmed up. Python aborts where it ends while a thread is still
        inside torch."""
        self._closed.set()
        for lane in (self.maps, self.guesses, self.answers):
            lane.close()
        if self._warming is not None:
            self._warming.join()


def _readable(classifier: MemoryWrapClassifier, prediction: Prediction) -> Prediction:
    """The prediction, made anew where its memory lies on an accelerator that the model left."""
    bank = prediction.bank
    if bank is None or bank.embeddings.device.type == classifier.device.type:
        return prediction
    return classifier.predict_inputs([prediction.pixels])[0]


def _answers_rightly(classifier: MemoryWrapClassifier) -> bool:
    """Whether a model reads images of its own bank as they were read when the bank was made, but for a
    few, since each finds itself in the memory now; without a bank, whether it reads at all."""
    bank, size = classifier.bank, classifier.config.image_size
    if bank is None or bank.predicted is None:
        grey = torch.full((3, size, size), 128, dtype=torch.uint8)
        return bool(classifier.predict_inputs([grey])[0].logits.isfinite().all())
    found = classifier.predict_inputs(list(bank.images[:_CHECKED]))
    expected = bank.predicted[:_CHECKED].tolist()
    right = sum(one.predicted == wanted for one, wanted in zip(found, expected, strict=True))
    return right >= 0.8 * len(expected)
