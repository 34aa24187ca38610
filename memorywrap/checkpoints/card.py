"""The model card of a checkpoint: README.md beside it, made from config.json alone.

`python -m memorywrap.checkpoints.card FOLDER...` writes the cards of checkpoints that are there already.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from memorywrap.checkpoints.config import Config
from memorywrap.checkpoints.folder import FAMILIARITY, CheckpointError, read_config
from memorywrap.data.sets import describe, known_data_set

CARD = "README.md"

# What the Hugging Face Hub reads.
_HEADER = """\
---
license: mit
library_name: memorywrap
pipeline_tag: image-classification
tags:
- memory-wrap
- explanation-by-example
- interpretability
---
"""
_KINDS = {
    "memory-wrap": "It reads the image together with a bank of memory samples "
    "(Memory Wrap, [arXiv 2106.01440](https://arxiv.org/abs/2106.01440)), "
    "so each prediction comes with the samples that it used and their weights.",
    "baseline": "It reads nothing but the memory samples that resemble the image: "
    "the baseline of Memory Wrap ([arXiv 2106.01440](https://arxiv.org/abs/2106.01440)).",
    "std": "It is the plain network, without memory, to compare others with.",
}


def model_card(config: Config, *, doubts: bool = False) -> str:
    """The card in Markdown: what the model is, its data, recipe, accuracy, use and limits.

    Args:
        config: of the model.
        doubts: whether it can say of a picture that it is unlike everything it knows.
    """
    sections = [
        f"# {config.title}\n\nAn image classifier for {len(config.classes)} classes: "
        f"{', '.join(config.classes)}. {_KINDS[config.variant]}",
        "## Use\n\n```python\nfrom memorywrap import MemoryWrapClassifier\n\n"
        'classifier = MemoryWrapClassifier.from_pretrained("the folder of this file")\n'
        'classifier.predict("image.png")\n```\n\n'
        "Made for teaching, and for research on explanations. Do not let it decide where a wrong "
        "answer harms somebody.",
        f"## Data\n\n{_data(config)}",
        f"## Training\n\n{_training(config)}",
        f"## Accuracy\n\n{_accuracy(config)}",
        f"## Limits\n\n{_limits(config, doubts)}",
    ]
    if config.variant != "std":
        sections.insert(-1, f"## Does the memory decide?\n\n{_reliance(config)}")
    fonts = config.data.get("fonts")
    if fonts:
        sections.append(
            f"## Fonts\n\n<details><summary>The {len(fonts)} font files that were drawn with, "
            "none of which is copied here</summary>\n\n"
            f"{', '.join(f'`{name}`' for name in sorted(fonts))}\n\n</details>"
        )
    return _HEADER + "\n" + "\n\n".join(sections) + "\n"


def overview(configs: Sequence[Config]) -> str:
    """What models reach, as a table for a document."""
    rows = [
        f"| {config.title} | {name} | {found['images']:,} | {found['accuracy']:.2f} % | "
        f"{rate_in_words(found['necessity'])} | {rate_in_words(found['follow_rate'])} |"
        for config in configs
        for name, found in config.measured.items()
        if "necessity" in found
    ]
    head = "| model | data | images | accuracy | necessity | follow rate |"
    return "\n".join([head, "| --- | --- | ---: | ---: | ---: | ---: |", *rows]) + "\n"


def write_card(folder: str | Path) -> Path:
    """Write the card of a checkpoint folder; returns its path.

    Raises:
        CheckpointError: the folder has no readable config.json.
    """
    path = Path(folder) / CARD
    doubts = (Path(folder) / FAMILIARITY).is_file()
    path.write_text(model_card(read_config(folder), doubts=doubts), encoding="utf-8")
    return path


def _data(config: Config) -> str:
    data = config.data
    if not data:
        return "Not recorded."
    record = known_data_set(data["name"])
    if record is not None and record.account:
        return record.account.format_map(data)
    drawn = f", of which {data['samples']:,} were drawn" if "samples" in data else ""
    return f"{describe(data)}{drawn}."


def _training(config: Config) -> str:
    size = config.image_size
    facts = {
        "encoder": config.encoder,
        "variant": config.variant,
        "distance": config.distance,
        "input": f"{size} x {size} pixels",
        "seed": config.seed,
        **{"recipe" if name == "name" else name: value for name, value in config.recipe.items()},
        **config.versions,
    }
    if config.start is not None:
        facts["began with the weights of"] = config.start["title"]
        facts |= {f"{name} of that": value for name, value in config.start["recipe"].items()}
    rows = [f"| {name} | {_value(value)} |" for name, value in facts.items()]
    return "\n".join(["| setting | value |", "| --- | --- |", *rows])


def _value(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {_value(part)}" for name, part in value.items())
    if isinstance(value, (list, tuple)):
        return ", ".join(map(str, value)) or "none"
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)


def _accuracy(config: Config) -> str:
    if not config.measured:
        return "Not measured."
    rows = [
        f"| {name} | {found['images']:,} | {found['accuracy']:.2f} % | {_redrawn(found)} |"
        for name, found in config.measured.items()
    ]
    head = "| data | images | with the bank of this model | with memories drawn again |"
    return "\n".join([head, "| --- | ---: | ---: | ---: |", *rows])


def _reliance(config: Config) -> str:
    rows = [
        f"| {name} | {rate_in_words(found['necessity'])} | {rate_in_words(found['follow_rate'])} | "
        f"{rate_in_words(found['counterfactuals'])} |"
        for name, found in config.measured.items()
        if "necessity" in found
    ]
    if not rows:
        return "Not measured."
    head = "| data | necessity | follow rate | answers with a counterfactual in memory |"
    words = (
        "Necessity: all memory samples predicted in the answer's class are taken away; how often is "
        "the answer another one then? Follow rate: only those predicted in the runner-up's class are "
        "left; how often is the runner-up the answer then? In brackets the 95 % confidence interval."
    )
    return "\n".join([head, "| --- | ---: | ---: | ---: |", *rows, "", words])


def rate_in_words(found: dict) -> str:
    """A rate, as `memorywrap.measures.reliance` gives it, with its interval."""
    if found["percent"] is None:
        return "-"
    low, high = found["interval"]
    return f"{found['percent']:.1f} % ({low:.1f} to {high:.1f})"


def _redrawn(found: dict) -> str:
    values = found.get("redrawn")
    if not values:
        return "-"
    return f"{sum(values) / len(values):.2f} % (mean of {len(values)})"


def _limits(config: Config, doubts: bool) -> str:
    limits = [
        "It always answers one of its classes; beside that it says where an image is unlike everything that "
        "it knows, which it sometimes misses."
        if doubts
        else "It always answers one of its classes: it cannot say that an image shows none of them.",
        "Its probabilities were not calibrated: 90 % need not mean right nine times in ten."
        + (
            "" if config.trust is None else " Its trust gauge was, on images it did not learn from."
        ),
        f"It sees one square of {config.image_size} x {config.image_size} pixels and no more.",
    ]
    record = known_data_set(config.data.get("name", ""))
    if record is not None and record.limits:
        limits.append(record.limits)
    if config.bank is not None:
        limits.append(
            f"Its bank of {config.bank['size']} samples is drawn from {config.bank['dataset']}, "
            "which has to be on the machine."
        )
    return "\n".join(f"- {limit}" for limit in limits)


def main() -> int:
    """Writes the card of each folder on the command line; with --table first, prints `overview`."""
    folders = sys.argv[1:]
    if folders[:1] == ["--table"]:
        print(overview([read_config(folder) for folder in folders[1:]]), end="")
        return 0
    for folder in folders:
        try:
            print(write_card(folder))
        except (CheckpointError, OSError) as error:
            print(error, file=sys.stderr)
            return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
