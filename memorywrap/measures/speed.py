"""How long a model takes on this machine, beside the published way of explaining it.

The published procedure (the paper's script for heatmaps) is written here against our own modules: it
encodes the whole memory at every call and hands input and used memory to Captum, two path steps to a
batch. That mixes the steps, see `attribution`; its completeness error shows how much that matters.
"""

from __future__ import annotations

import copy
import platform
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import captum.attr
import numpy as np
import torch
from PIL import Image
from torch import Tensor

from memorywrap.checkpoints.config import library_versions
from memorywrap.classifier import MemoryWrapClassifier
from memorywrap.devices import available_cores
from memorywrap.edits import Edit, edited
from memorywrap.encoders import FrozenEncoder
from memorywrap.explanation.baselines import DEFAULT
from memorywrap.explanation.explanation import explain
from memorywrap.explanation.integrated_gradients import Case, integrated_gradients
from memorywrap.explanation.path_cache import PathCache
from memorywrap.images import to_pil, to_unit
from memorywrap.patches import patch_counterfactual
from memorywrap.prediction import Prediction

PUBLISHED_STEPS, PUBLISHED_BATCH = 40, 2
_BATCH = 64
_INPUTS = 6  # explanations are timed on so many different inputs, once each
_TOGETHER = 32  # requests explained in common batches


@dataclass
class Report:
    """What `memorywrap bench` prints.

    Attributes:
        machine: processor, cores, threads, versions.
        model: what was measured.
        milliseconds: of every run, by what was run.
        completeness_errors: of every explanation, by how it was made.
    """

    machine: dict[str, Any]
    model: dict[str, Any]
    milliseconds: dict[str, list[float]] = field(default_factory=dict)
    completeness_errors: dict[str, list[float]] = field(default_factory=dict)

    def time(
        self, what: str, run: Callable[[int], Any], repeats: int, images: int = 1
    ) -> list[Any]:
        """Run it with 0, 1, ... and note the milliseconds per image; returns the results."""
        results, times = [], []
        for number in range(repeats):
            started = time.perf_counter()
            results.append(run(number))
            if torch.cuda.is_available():  # which returns before it is done
                torch.cuda.synchronize()
            times.append(1000 * (time.perf_counter() - started) / images)
        self.milliseconds[what] = times
        return results

    def median(self, what: str) -> float:
        """Median milliseconds."""
        return median(self.milliseconds[what])

    def to_dict(self) -> dict[str, Any]:
        """Medians and all that they were taken from."""
        return {
            "machine": self.machine,
            "model": self.model,
            "median_ms": {what: self.median(what) for what in self.milliseconds},
            "milliseconds": self.milliseconds,
            "completeness_error": {
                how: median(errors) for how, errors in self.completeness_errors.items()
            },
            "ratios": self.ratios(),
        }

    def ratios(self) -> dict[str, float]:
        """How many times longer the published procedure takes."""
        return {
            what: self.median(_PUBLISHED) / self.median(what)
            for what in (_COLD, _WARM)
            if {_PUBLISHED, what} <= self.milliseconds.keys()
        }

    def table(self) -> str:
        """The report for people."""
        lines = [f"{name}: {value}" for name, value in (self.machine | self.model).items()]
        width = max(len(what) for what in self.milliseconds)
        lines += ["", f"{'milliseconds':{width}}  median    best  runs"]
        for what, times in self.milliseconds.items():
            lines.append(f"{what:{width}} {median(times):7.2f} {min(times):7.2f} {len(times):5d}")
        return "\n".join([*lines, "", *self.conclusions()])

    def markdown(self) -> str:
        """The report for a document."""
        facts = [f"{name} {value}" for name, value in (self.machine | self.model).items()]
        lines = [f"Measured by `memorywrap bench`: {', '.join(facts)}.", ""]
        lines += ["| what | median ms | best ms | runs |", "| --- | ---: | ---: | ---: |"]
        for what, times in self.milliseconds.items():
            lines.append(f"| {what} | {median(times):.2f} | {min(times):.2f} | {len(times)} |")
        return "\n".join([*lines, "", *(f"- {line}" for line in self.conclusions())])

    def conclusions(self) -> list[str]:
        """What the numbers say beside the published procedure, one sentence each."""
        lines = [
            f"the published procedure takes {ratio:.1f} times as long as our {what}"
            for what, ratio in self.ratios().items()
        ]
        for how, errors in self.completeness_errors.items():
            lines.append(
                f"completeness error, {how}: median {100 * median(errors):.2f} %, "
                f"worst {100 * max(errors):.2f} %, of {len(errors)}"
            )
        return lines


_COLD = "explanation, nothing prepared"
_WARM = "explanation, paths of the memory prepared"
_PUBLISHED = "explanation, published procedure"


def bench(
    classifier: MemoryWrapClassifier, *, repeats: int = 30, batches: Sequence[int] = ()
) -> Report:
    """Time a classifier on inputs made from its own bank.

    Args:
        classifier: in evaluation mode, with a bank.
        repeats: of the short measurements.
        batches: so many images at once as well, each time.

    Raises:
        ValueError: the classifier has no memory bank.
    """
    bank = classifier.require_bank()
    pixels = _inputs(classifier)  # uint8 (inputs, 3, size, size)
    predictions = classifier.predict([image.permute(1, 2, 0).numpy() for image in pixels])
    used = [len(prediction.used) for prediction in predictions]
    report = Report(
        machine=machine(),
        model={
            "model": f"{classifier.config.title} ({classifier.config.encoder})",
            "memory samples": f"{len(bank)}, of which {median(used):g} used (median)",
        },
    )
    _time_answers(report, classifier, pixels, predictions, repeats)
    _time_explanations(report, classifier, predictions)
    published = report.time(_PUBLISHED, lambda i: _published(classifier, predictions[i]), _INPUTS)
    report.completeness_errors["published procedure"] = published
    for size in batches:
        _time_batch(report, classifier, predictions, size, repeats)
    return report


def _time_answers(
    report: Report,
    classifier: MemoryWrapClassifier,
    pixels: Tensor,
    predictions: Sequence[Prediction],
    repeats: int,
) -> None:
    """Embeddings, predictions and what comes before and after them."""
    arrays = [image.permute(1, 2, 0).numpy() for image in pixels]

    def no_class(i: int) -> Edit:
        return Edit("no_class", predictions[i % _INPUTS].predicted)

    alone = to_unit(pixels, classifier.device)
    batch = alone.repeat(_BATCH // _INPUTS + 1, 1, 1, 1)[:_BATCH]
    embed = torch.no_grad()(classifier.frozen.embed)
    embed(batch)  # the first pass chooses kernels and allocates
    report.time(
        f"encoder, per image in batches of {_BATCH}", lambda _: embed(batch), repeats, _BATCH
    )
    report.time("encoder, one image", lambda i: embed(alone[i % _INPUTS, None]), repeats)
    report.time(
        "classification, in process", lambda i: classifier.predict(arrays[i % _INPUTS]), repeats
    )
    report.time(
        "what if a used sample were gone, in process",
        lambda i: classifier.predict(
            predictions[i % _INPUTS], without=predictions[i % _INPUTS].used[:1]
        ),
        repeats,
    )
    report.time(
        "what if all memories of its class were gone, in process",
        lambda i: classifier.predict(
            predictions[i % _INPUTS], bank=edited(classifier, [no_class(i)])
        ),
        repeats,
    )
    report.time(
        "patch counterfactual, in process",
        lambda i: patch_counterfactual(classifier, predictions[i % _INPUTS]),
        _INPUTS,
    )
    photos = [_photograph(image) for image in pixels]
    report.time(
        "first guess at the square of a photograph",
        lambda i: classifier.suggest_box(photos[i]),
        _INPUTS,
    )


def _time_explanations(
    report: Report, classifier: MemoryWrapClassifier, predictions: Sequence[Prediction]
) -> None:
    """Explanations alone and together, with the paths of the memory prepared and not."""
    bank = classifier.require_bank()

    def ours(caches: list[PathCache]) -> Callable[[int], float]:
        def run(i: int) -> float:
            again = classifier.predict_inputs([predictions[i].pixels])
            (found,) = explain(again, classifier.head, caches[i])
            return found.completeness_error or 0.0

        return run

    def caches() -> list[PathCache]:
        return [PathCache(classifier.paths().embed) for _ in predictions]

    report.time(_COLD, ours(caches()), _INPUTS)
    # As the page prepares them behind its start, but of the samples alone that will be used.
    prepared, (common, *_) = caches(), caches()
    for cache, prediction in zip(prepared, predictions, strict=True):
        contrast = [] if prediction.contrast is None else [prediction.contrast]
        chosen = [*prediction.used, *contrast]
        samples = to_unit(bank.images[chosen], classifier.device)
        for one in (cache, common):
            one.warm([bank.keys[index] for index in chosen], samples, DEFAULT)
    report.completeness_errors["ours"] = report.time(_WARM, ours(prepared), _INPUTS)
    report.time(
        "the same, map of the input alone",
        lambda i: _input_only(classifier, predictions[i], prepared[i]),
        _INPUTS,
    )
    requests = [predictions[i % _INPUTS] for i in range(_TOGETHER)]
    report.time(
        f"explanation, each of {_TOGETHER} requests together, paths prepared",
        lambda _: explain(requests, classifier.head, common),
        2,
        _TOGETHER,
    )


def _time_batch(
    report: Report,
    classifier: MemoryWrapClassifier,
    predictions: Sequence[Prediction],
    size: int,
    repeats: int,
) -> None:
    """Answers and explanations of so many images at once, per image, of `_INPUTS` different ones, the paths of
    the memory prepared; the encoder also in bfloat16 and compiled, where there is a GPU for that."""
    some = [predictions[i % _INPUTS] for i in range(size)]
    pixels = torch.stack([one.pixels for one in some])
    images = to_unit(pixels, classifier.device)

    def timed(what: str, work: Callable[[], Any], times: int) -> None:
        work()  # the first chooses kernels, and compiles
        report.time(f"{what}, {size} at once, per image", lambda _: work(), times, size)

    with torch.no_grad():
        timed("encoder", lambda: classifier.frozen.embed(images), repeats)
        if classifier.device.type == "cuda":
            for name, embed in _faster(classifier.frozen).items():
                try:
                    timed(f"encoder {name}", partial(embed, images), repeats)
                except Exception as error:  # the compiler raises many kinds; the other times stand
                    print(f"encoder {name}, {size} at once: {error}", file=sys.stderr)
    timed("classification", lambda: classifier.predict_inputs(list(pixels)), repeats)
    timed("explanation", lambda: classifier.explain(some), 2)


def _faster(frozen: FrozenEncoder) -> dict[str, Callable[[Tensor], Tensor]]:
    """Other forms of an encoder, which pay on a GPU: what gives its embeddings, by name."""
    network = copy.deepcopy(frozen.network).bfloat16()
    half = FrozenEncoder(
        network, frozen.mean.bfloat16(), frozen.std.bfloat16(), mirror=frozen.mirror
    )
    torch._dynamo.reset()  # each size is compiled for itself
    return {
        "in bfloat16": half.embed,
        "compiled": torch.compile(frozen.embed, dynamic=False),
        "in bfloat16 and compiled": torch.compile(half.embed, dynamic=False),
    }


def machine() -> dict[str, Any]:
    """What the numbers depend on."""
    graphics = torch.cuda.get_device_name() if torch.cuda.is_available() else "none"
    return {
        "processor": _processor(),
        "cores": available_cores(),
        "threads": torch.get_num_threads(),
        "GPU": graphics,
        "Python": platform.python_version(),
        **library_versions(),
    }


def _inputs(classifier: MemoryWrapClassifier) -> Tensor:
    """Memory samples moved by two pixels and paler: like them, but in no memory."""
    images = classifier.require_bank().images
    chosen = images[torch.linspace(0, len(images) - 1, _INPUTS).long()]
    return (chosen.roll((2, 1), dims=(2, 3)).float() * 0.8 + 25).to(torch.uint8)


def _photograph(pixels: Tensor) -> Image.Image:
    """A picture of 800 x 600, blurred patches all over, with a part that resembles the memory."""
    patches = np.random.default_rng(0).integers(60, 200, (60, 80, 3), dtype=np.uint8)
    canvas = Image.fromarray(patches).resize((800, 600), Image.Resampling.BICUBIC)
    canvas.paste(to_pil(pixels).resize((300, 300)), (380, 160))
    return canvas


def _input_only(classifier: MemoryWrapClassifier, prediction: Prediction, cache: PathCache) -> None:
    """An explanation without the maps of memory samples, which cost passes of their own."""
    bank = classifier.require_bank()
    case = Case(
        to_unit(prediction.pixels, classifier.device),
        to_unit(bank.images[prediction.used], classifier.device),
        prediction.predicted,
        keys=[bank.keys[index] for index in prediction.used],
    )
    integrated_gradients(cache.embed, classifier.head, [case], cache=cache)


def _published(classifier: MemoryWrapClassifier, prediction: Prediction) -> float:
    """The published procedure for one image; returns its completeness error."""
    encoder, mean, std = classifier.encoder, classifier.mean, classifier.std
    bank = to_unit(classifier.require_bank().images, classifier.device)
    image = to_unit(prediction.pixels[None], classifier.device)
    auxiliary = bank.flip(0)  # the script draws another memory to predict the memory samples with

    def model(images: Tensor, memory: Tensor) -> Tensor:
        queries, embeddings = encoder((images - mean) / std), encoder((memory - mean) / std)
        return classifier.head(queries, embeddings)

    with torch.no_grad():
        model(image, bank)
        model(bank, auxiliary)
    reduced = bank[prediction.used]
    target = prediction.predicted
    maps = captum.attr.IntegratedGradients(model).attribute(
        (image, reduced),
        baselines=(torch.ones_like(image), torch.ones_like(reduced)),
        target=target,
        n_steps=PUBLISHED_STEPS,
        internal_batch_size=PUBLISHED_BATCH,
    )
    with torch.no_grad():
        end = model(image, reduced)[0, target]
        start = model(torch.ones_like(image), torch.ones_like(reduced))[0, target]
    change = float(end - start)
    return abs(sum(float(map_.sum()) for map_ in maps) - change) / abs(change)


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
