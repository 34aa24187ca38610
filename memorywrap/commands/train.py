"""The commands that train and measure: arguments in, library calls, printed lines out."""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from memorywrap import loading
from memorywrap.checkpoints.card import write_card
from memorywrap.checkpoints.config import VARIANTS
from memorywrap.classifier import MemoryWrapClassifier
from memorywrap.data.sets import Split, data_names, describe, load_data, load_test
from memorywrap.devices import use_threads
from memorywrap.encoders import ENCODERS
from memorywrap.measures import accuracy, explanation_report, explanation_tables, trust_report
from memorywrap.measures.explanation_report import Sizes
from memorywrap.measures.reports import write_report
from memorywrap.training import distributed, replicate
from memorywrap.training.loop import Interrupted, epochs_within, train_and_measure
from memorywrap.training.recipes import BANK_SIZE, Training, overridden, recipe_for
from memorywrap.training.replicate import SEEDS, TABLES
from memorywrap.training.runs import RunFolder

_DATA_HELP = data_names()


def add_train(parser: argparse.ArgumentParser) -> None:
    """The arguments of `memorywrap train`."""
    parser.add_argument("--data", required=True, metavar="NAME", help=_DATA_HELP)
    add_download(parser)
    parser.add_argument("--samples", type=int, metavar="N", help="training samples (default: all)")
    parser.add_argument(
        "--out", required=True, metavar="FOLDER", help="run folder; resumed if there"
    )
    parser.add_argument("--recipe", default="fast", choices=("fast", "paper"))
    parser.add_argument("--encoder", default="compact", choices=tuple(ENCODERS))
    parser.add_argument("--variant", default="memory-wrap", choices=VARIANTS)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--title", default="", help="what the page calls the model")
    length = parser.add_mutually_exclusive_group()
    length.add_argument("--epochs", type=int, help="instead of the recipe's")
    length.add_argument("--minutes", type=float, help="as many epochs as fit here")
    _add_set(parser)
    parser.add_argument(
        "--exam",
        action="append",
        default=[],
        metavar="NAME",
        help="also measure on another data set with the same classes, such as svhn",
    )
    parser.add_argument("--precision", default="auto", choices=("auto", "bfloat16", "float32"))
    _add_machine(parser)
    parser.set_defaults(run=_train)


def _train(options: argparse.Namespace) -> int:
    use_threads(options.threads)
    changes = dict(_setting(text) for text in options.set)
    processes, _ = distributed.join(options.device)
    if not processes.first:
        processes.wait()  # the first one fetches, decodes or renders; the others find it cached
    data = load_data(
        options.data, samples=options.samples, seed=options.seed, fetch=options.download
    )
    for name in options.exam:  # what is wrong with it is better known before the training
        load_test(name, data.classes, fetch=options.download)
    if processes.first:
        processes.wait()
    recipe = overridden(recipe_for(options.recipe, options.data, len(data.train)), changes)
    if options.epochs is not None:
        recipe = recipe.lasting(options.epochs)
    training = Training(
        data=data,
        recipe=recipe,
        encoder=options.encoder,
        variant=options.variant,
        seed=options.seed,
        title=options.title,
        precision=options.precision,
    )
    run = RunFolder(options.out)
    if options.minutes is not None:
        if processes.count > 1:
            raise ValueError("--minutes is for one process: give --epochs under torchrun")
        begun = run.config
        epochs = (
            begun["recipe"]["epochs"]
            if begun
            else epochs_within(training, options.minutes, options.device)
        )
        training = replace(training, recipe=recipe.lasting(epochs))
        print(f"{epochs} epochs in about {options.minutes:g} minutes", file=sys.stderr)
    try:
        result = train_and_measure(training, run.path, options.exam, device=options.device)
    except Interrupted as stop:
        print(f"memorywrap train: {stop}", file=sys.stderr)
        return 130
    if result is not None:
        for name, found in result["measured"].items():
            print(f"{name}: {found['accuracy']:.2f} % of {found['images']} images")
        print(f"model: {run.checkpoint}")
    return 0


def add_evaluate(parser: argparse.ArgumentParser) -> None:
    """The arguments of `memorywrap evaluate`."""
    parser.add_argument("--checkpoint", required=True, metavar="FOLDER")
    parser.add_argument(
        "--data", required=True, metavar="NAME", help=f"{_DATA_HELP}; NAME:train for that split"
    )
    add_download(parser)
    parser.add_argument(
        "--memories",
        type=int,
        default=0,
        metavar="K",
        help="also evaluate with memories drawn again K times from the training data, as in the "
        "paper: 500 test images share one",
    )
    parser.add_argument(
        "--memory", type=int, metavar="N", help="samples in such a memory (default: as in training)"
    )
    parser.add_argument("--seed", type=int, help="of the memories (default: the model's)")
    parser.add_argument(
        "--explanations",
        metavar="FOLDER",
        help="measure the explanations too, which takes minutes: writes explanations.md, .json, .png",
    )
    parser.add_argument(
        "--images",
        type=int,
        default=200,
        metavar="N",
        help="test images to explain for that, at most (default: 200)",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    _add_machine(parser)
    parser.set_defaults(run=_evaluate)


def _evaluate(options: argparse.Namespace) -> int:
    use_threads(options.threads)
    if options.images < 1:
        raise ValueError(f"--images: expected at least 1, received {options.images}")
    classifier = loading.load_classifier(
        options.checkpoint, device=options.device, fetch=options.download
    )
    if options.explanations is not None and not classifier.has_memory:
        raise ValueError("--explanations: this model has no memory, so there is nothing to explain")
    config = classifier.config
    data, test = load_test(options.data, config.classes, fetch=options.download)
    predicted = accuracy.predictions(classifier, test.images)
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
    if options.memories and classifier.has_memory:
        memory = options.memory or config.recipe.get("memory", BANK_SIZE)
        train = loading.training_images(config, fetch=options.download)
        found = accuracy.redrawn_accuracies(
            classifier,
            test,
            train,
            memories=options.memories,
            memory=memory,
            seed=config.seed if options.seed is None else options.seed,
        )
        result["memories"] = {
            "samples": memory,
            "accuracies": [round(value, 2) for value in found],
            "mean": round(statistics.fmean(found), 2),
            "deviation": round(statistics.stdev(found), 2) if len(found) > 1 else None,
        }
    if not options.json:
        print(_evaluation_text(result), flush=True)
    if options.explanations is not None:
        report = _measure_explanations(options, classifier, test)
        result["explanations"] = report
        if not options.json:
            print("\n" + explanation_tables.markdown(report), end="")
    if options.json:
        print(json.dumps(result))
    return 0


def _measure_explanations(
    options: argparse.Namespace, classifier: MemoryWrapClassifier, test: Split
) -> dict[str, Any]:
    train = loading.training_images(classifier.config, loading.DRAWN_FROM, fetch=options.download)
    report = explanation_report.measure_explanations(
        classifier, test, train, Sizes(images=options.images), seed=options.seed or 0
    )
    text, figure = explanation_tables.markdown(report), explanation_tables.draw(report)
    write_report(options.explanations, "explanations", report, text, figure)
    return report


def add_gauge(parser: argparse.ArgumentParser) -> None:
    """The arguments of `memorywrap gauge`."""
    parser.add_argument("--checkpoint", required=True, metavar="FOLDER", help="a local folder")
    parser.add_argument(
        "--data", required=True, metavar="NAME", help="images it did not learn from: half to fit on"
    )
    parser.add_argument(
        "--exam",
        action="append",
        default=[],
        metavar="NAME",
        help="other such images, to compare on only",
    )
    add_download(parser)
    parser.add_argument("--out", metavar="FOLDER", help="also write trust.md, .json and .png there")
    parser.add_argument("--seed", type=int, default=0, help="of the halves")
    _add_machine(parser)
    parser.set_defaults(run=_gauge)


def _gauge(options: argparse.Namespace) -> int:
    use_threads(options.threads)
    if not Path(options.checkpoint).is_dir():
        raise ValueError(f"there is no checkpoint folder {options.checkpoint} to write into")
    if options.data in options.exam:
        raise ValueError("--exam: expected other images than those of --data")
    classifier = loading.load_classifier(
        options.checkpoint, device=options.device, fetch=options.download
    )
    sets = {
        name: load_test(name, classifier.config.classes, fetch=options.download)[1]
        for name in (options.data, *options.exam)
    }
    held_out = sets.pop(options.data)
    gauge, report = trust_report.fit_gauge(
        classifier, held_out, sets, name=options.data, seed=options.seed
    )
    text = trust_report.markdown(report)
    if options.out is not None:
        write_report(options.out, "trust", report, text, trust_report.draw(report))
    print(text)
    better = trust_report.is_better(report)
    classifier.config = replace(classifier.config, trust=gauge.to_dict() if better else None)
    classifier.save_pretrained(options.checkpoint)
    write_card(options.checkpoint)
    if better:
        print(f"{options.checkpoint} now says with each answer how likely it is right")
    else:
        print(f"left out of {options.checkpoint}: it does not judge better than plain confidence")
    return 0


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
    names = result["classes"]
    width = max(len(name) for name in names)
    column = max(5, *(len(str(count)) + 1 for row in result["confusion"] for count in row))
    lines += ["", "rows: true class, columns: predicted class"]
    lines.append(" " * width + "".join(name[: column - 1].rjust(column) for name in names))
    for name, row in zip(names, result["confusion"], strict=True):
        lines.append(name.rjust(width) + "".join(str(count).rjust(column) for count in row))
    return "\n".join(lines)


def add_replicate(parser: argparse.ArgumentParser) -> None:
    """The arguments of `memorywrap replicate`."""
    parser.add_argument("table", metavar="TABLE", help=", ".join(TABLES))
    parser.add_argument(
        "--out", required=True, metavar="FOLDER", help="run folders, TABLE.md and TABLE.csv"
    )
    add_download(parser)
    parser.add_argument("--seeds", type=int, default=SEEDS, metavar="N", help="runs per row")
    parser.add_argument("--samples", nargs="+", metavar="N", help="only these rows: 1000 ... all")
    parser.add_argument("--variants", nargs="+", choices=VARIANTS, default=VARIANTS)
    parser.add_argument("--encoder", choices=tuple(ENCODERS), help="instead of the table's")
    parser.add_argument("--recipe", choices=("fast", "paper"), help="instead of the table's")
    _add_set(parser)
    parser.add_argument(
        "--print", action="store_true", help="train nothing: the table of the runs there are"
    )
    _add_machine(parser)
    parser.set_defaults(run=_replicate)


def _replicate(options: argparse.Namespace) -> int:
    use_threads(options.threads)
    sizes = None
    if options.samples is not None:
        sizes = [None if text == "all" else int(text) for text in options.samples]
    changed = {
        "encoder": options.encoder,
        "recipe": options.recipe,
        "settings": [_setting(text) for text in options.set],
    }
    wanted = replicate.rows(options.table, variants=options.variants, samples=sizes, **changed)
    table = replicate.rows(options.table, **changed)  # those not asked for now may have runs
    folder = Path(options.out)

    def write(*_: Any) -> list[dict[str, Any]]:
        lines = replicate.results(table, folder)
        # Without any run, the files that are there may be of other settings, such as those of --set.
        if any(line["runs"] for line in lines):
            texts = {".md": replicate.markdown(lines), ".csv": replicate.as_csv(lines)}
            for suffix, text in texts.items():
                (folder / f"{options.table}{suffix}").write_text(text, encoding="utf-8")
        return lines

    if not options.print:
        try:
            left_out = replicate.replicate(
                wanted,
                folder,
                range(options.seeds),
                device=options.device,
                fetch=options.download,
                after=write,
            )
            for sentence in left_out:
                print(f"memorywrap replicate: {sentence}", file=sys.stderr)
        except Interrupted as stop:
            print(f"memorywrap replicate: {stop}", file=sys.stderr)
            return 130
    lines = write()
    print(replicate.markdown(lines), end="")
    if not any(line["runs"] for line in lines):
        print(
            f"memorywrap replicate: {folder} has no finished run of {options.table} with these "
            "settings, so no table was written",
            file=sys.stderr,
        )
    return 0


def _setting(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals:
        raise ValueError(f"--set: expected NAME=VALUE, received {text!r}")
    return name, value


def add_download(parser: argparse.ArgumentParser) -> None:
    """The argument `--download`, wherever a data set may be missing."""
    parser.add_argument(
        "--download", action="store_true", help="fetch the data set where it is missing"
    )


def _add_set(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="change a setting of the recipe, such as batch=256 or augment.flip=true",
    )


def _add_machine(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or mps")
    parser.add_argument("--threads", type=int, help="processor cores to use (default: all)")
