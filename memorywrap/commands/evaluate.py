"""`memorywrap evaluate`: measure a model, and its explanations, on a data set."""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Sequence
from datetime import date
from typing import Any

from memorywrap import loading
from memorywrap.checkpoints.card import rate_in_words
from memorywrap.classifier import MemoryWrapClassifier
from memorywrap.commands.shared import add_download, add_machine, at_least, model_name
from memorywrap.data.sets import Split, data_names, describe, known_data_set, load_test
from memorywrap.devices import use_threads
from memorywrap.measures import (
    accuracy,
    counterfactuals,
    explanation_report,
    explanation_tables,
    reliance,
)
from memorywrap.measures.explanation_report import Sizes
from memorywrap.measures.explanations import Agreement, redrawn_agreements
from memorywrap.measures.patches import measure_patches
from memorywrap.measures.reports import write_report
from memorywrap.prediction import GRID
from memorywrap.training.recipes import BANK_SIZE


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Its arguments."""
    parser.add_argument("--checkpoint", required=True, metavar="FOLDER")
    parser.add_argument(
        "--data", required=True, metavar="NAME", help=f"{data_names()}; NAME:train for that split"
    )
    add_download(parser)
    parser.add_argument(
        "--memories",
        type=at_least(0),
        default=0,
        metavar="K",
        help="also evaluate with memories drawn again K times from the training data, as in the "
        "paper: 500 test images share one",
    )
    parser.add_argument(
        "--memory",
        type=at_least(1),
        metavar="N",
        help="samples in such a memory (default: as in training)",
    )
    parser.add_argument(
        "--memories-from",
        default="own",
        choices=("own", "whole"),
        help="the model's own training images (default), or all of the data set's, as the published scripts "
        "do for explanations",
    )
    parser.add_argument(
        "--seed", type=int, help="of what is drawn (default: of memories the model's, else 0)"
    )
    parser.add_argument(
        "--explanations",
        metavar="FOLDER",
        help="measure the explanations too, which takes minutes: writes explanations.md, .json, .png",
    )
    parser.add_argument(
        "--patches",
        action="store_true",
        help="look for patch counterfactuals, too: how many are found, how small, how fast",
    )
    parser.add_argument(
        "--second",
        metavar="FOLDER",
        help="a model trained independently: how often their pieces change its answer as well",
    )
    parser.add_argument(
        "--counterfactuals",
        action="store_true",
        help="compare memory samples and pieces with counterfactuals of a search (IM1, IM2), which takes "
        "minutes",
    )
    parser.add_argument(
        "--images",
        type=at_least(1),
        metavar="N",
        help="test images to explain, or to look for counterfactuals of, at most (default: 200); --explanations "
        "takes some minutes with few, too: all test images are asked about with banks drawn anew",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    add_machine(parser)


def run(options: argparse.Namespace) -> int:
    """Runs it; returns the exit code."""
    use_threads(options.threads)
    classifier = loading.load_classifier(
        options.checkpoint, device=options.device, fetch=options.download
    )
    if options.explanations is not None and not classifier.has_memory:
        raise ValueError("--explanations: this model has no memory, so there is nothing to explain")
    if options.explanations is not None and classifier.frozen.has_cells:
        raise ValueError(
            "--explanations: it measures maps of pixels, and those of this model are of feature cells"
        )
    if (options.patches or options.counterfactuals) and not classifier.has_memory:
        raise ValueError("this model has no memory that counterfactuals could come from")
    if options.second is not None and not options.patches:
        raise ValueError("--second: it is asked about patch counterfactuals: add --patches")
    looks = options.patches or options.counterfactuals or options.explanations is not None
    if options.images is not None and not looks:
        raise ValueError(
            "--images: of --explanations, --patches and --counterfactuals; else all images are asked"
        )
    if not options.memories and (options.memory is not None or options.memories_from == "whole"):
        raise ValueError(
            "--memory, --memories-from: of memories that are drawn again: add --memories"
        )
    if options.seed is not None and not (options.memories or looks):
        raise ValueError("--seed: nothing is drawn: add --memories")
    if options.memories and not classifier.has_memory:
        raise ValueError("--memories: this model has no memory")
    options.images = options.images or 200
    config = classifier.config
    data, test = load_test(
        options.data, config.classes, fetch=options.download, size=config.image_size
    )
    queries = classifier.encode(test.images)
    predicted = accuracy.answers(classifier, queries)
    table = accuracy.confusion(predicted, test.labels, len(config.classes))
    result = {
        "checkpoint": str(options.checkpoint),
        "data": options.data,
        "data_version": describe(data.version),
        "images": len(test),
        "accuracy": round(accuracy.accuracy(predicted, test.labels), 2),
        "classes": list(config.classes),
        "confusion": table.tolist(),
    }
    if classifier.has_memory:
        result["reliance"] = reliance.reliance(classifier, queries)
    if options.memories and classifier.has_memory:
        memory = options.memory or config.recipe.get("memory", BANK_SIZE)
        whole = options.memories_from == "whole"
        record = known_data_set(config.data.get("name", ""))
        if whole and record is not None and record.rendered:
            raise ValueError("--memories-from whole: what is rendered has no whole: leave it out")
        train = loading.training_images(config, fetch=options.download, whole=whole)
        memory = min(memory, len(train))
        agreed = redrawn_agreements(
            classifier,
            queries,
            test.labels,
            train,
            memories=options.memories,
            memory=memory,
            seed=config.seed if options.seed is None else options.seed,
        )
        found = [100 * (one.accuracy or 0.0) for one in agreed]
        result["memories"] = {
            "samples": memory,
            "accuracies": [round(value, 2) for value in found],
            "mean": round(statistics.fmean(found), 2),
            "deviation": round(statistics.stdev(found), 2) if len(found) > 1 else None,
            "from": options.memories_from,
            "agreement": {
                name: _mean_share(agreed, name) for name in vars(agreed[0]) if name != "accuracy"
            },
        }
    if not options.json:
        print(_evaluation_text(result), flush=True)
    if options.patches:
        result["patches"] = _measure_patches(options, classifier, test)
        if not options.json:
            print(_patches_text(result["patches"]), flush=True)
    if options.counterfactuals:
        train = loading.training_images(config, loading.DRAWN_FROM, fetch=options.download)
        compared = counterfactuals.measure_counterfactuals(
            classifier, test, train, images=options.images, seed=options.seed or 0
        )
        result["counterfactuals"] = compared
        if not options.json:
            print("\n" + counterfactuals.markdown(compared), end="", flush=True)
    if options.explanations is not None:
        of = f"{config.title} ({model_name(options)}) on {result['data_version']}"
        report = _measure_explanations(options, classifier, test, of)
        result["explanations"] = report
        if not options.json:
            print("\n" + explanation_tables.markdown(report), end="")
    if options.json:
        print(json.dumps(result))
    return 0


def _measure_explanations(
    options: argparse.Namespace, classifier: MemoryWrapClassifier, test: Split, of: str
) -> dict[str, Any]:
    train = loading.training_images(classifier.config, loading.DRAWN_FROM, fetch=options.download)
    report = explanation_report.measure_explanations(
        classifier, test, train, Sizes(images=options.images), seed=options.seed or 0
    )
    report = {"of": of, "date": date.today().isoformat(), "seed": options.seed or 0, **report}
    text, figure = explanation_tables.markdown(report), explanation_tables.draw(report)
    write_report(options.explanations, "explanations", report, text, figure)
    return report


def _measure_patches(
    options: argparse.Namespace, classifier: MemoryWrapClassifier, test: Split
) -> dict[str, Any]:
    second = None
    if options.second is not None:
        second = loading.load_classifier(
            options.second, device=options.device, fetch=options.download
        )
    return measure_patches(
        classifier, test, images=options.images, second=second, seed=options.seed or 0
    )


def _patches_text(found: dict[str, Any]) -> str:
    cells, taken = (
        f"{of['median']:g} (half of them {of['quartiles'][0]:g} to {of['quartiles'][1]:g})"
        if of["median"] is not None
        else "-"
        for of in (found["cells"], found["milliseconds"])
    )
    lines = [
        "",
        f"patch counterfactual found {rate_in_words(found['found'])}",
        f"cells of {GRID * GRID}: {cells}; milliseconds: {taken}",
    ]
    if "changed" in found:
        rates = {name: rate_in_words(rate) for name, rate in found.items() if "percent" in rate}
        lines += [
            f"the second model changes its answer, too {rates['changed']}; "
            f"with as many cells elsewhere {rates['changed by chance']}",
            f"and to the same class {rates['followed']}; "
            f"with as many cells elsewhere {rates['followed by chance']}",
        ]
    return "\n".join(lines)


def _mean_share(found: Sequence[Agreement], name: str) -> float | None:
    """In percent, over the evaluations that have one."""
    shares = [share for one in found if (share := getattr(one, name)) is not None]
    return round(100 * statistics.fmean(shares), 2) if shares else None


def _evaluation_text(result: dict[str, Any]) -> str:
    lines = [
        f"{result['data']}, {result['data_version']}",
        f"accuracy {result['accuracy']:.2f} % of {result['images']} images with the model's own bank"
        if "memories" in result
        else f"accuracy {result['accuracy']:.2f} % of {result['images']} images",
    ]
    if "memories" in result:
        redrawn = result["memories"]
        spread = f" +- {redrawn['deviation']:.2f}" if redrawn["deviation"] is not None else ""
        count = len(redrawn["accuracies"])
        lines.append(
            f"accuracy {redrawn['mean']:.2f}{spread} % with memories of {redrawn['samples']} samples "
            f"drawn {count} times"
        )
        shares = {
            name: "-" if share is None else f"{share:.2f} %"
            for name, share in redrawn["agreement"].items()
        }
        lines.append(
            f"their top sample is predicted as the image is: {shares['explanation_accuracy']}; accuracy "
            f"where it is {shares['accuracy_with_example']}, elsewhere "
            f"{shares['accuracy_with_counterfactual']}"
        )
    if "reliance" in result:
        rates = {name: rate_in_words(rate) for name, rate in result["reliance"].items()}
        lines += [
            f"necessity {rates['necessity']}: without its memories of that class, the answer is another",
            f"follow rate {rates['follow_rate']}: with memories of the runner-up alone, it is the answer",
            f"explanation accuracy {rates['explanation_accuracy']}: the top memory is of the same class",
            f"answers with a counterfactual in memory {rates['counterfactuals']}",
        ]
    names = result["classes"]
    width = max(len(name) for name in names)
    column = max(5, *(len(str(count)) + 1 for row in result["confusion"] for count in row))
    lines += ["", "rows: true class, columns: predicted class"]
    lines.append(" " * width + "".join(name[: column - 1].rjust(column) for name in names))
    for name, row in zip(names, result["confusion"], strict=True):
        lines.append(name.rjust(width) + "".join(str(count).rjust(column) for count in row))
    return "\n".join(lines)
