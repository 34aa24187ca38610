"""The report of `explanation_report` as tables and curves."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from memorywrap.explanation.methods import INTEGRATED_GRADIENTS
from memorywrap.measures.explanation_report import RANDOM, Sizes
from memorywrap.measures.reports import blank_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def markdown(report: dict[str, Any]) -> str:
    """The report as tables for a document."""
    sizes = Sizes(**report["sizes"])
    parts = [
        _head(report),
        _agreement_table(report, sizes),
        _completeness_line(report, sizes),
        _methods_table(report, sizes),
        _memory_deletion_table(report, sizes),
        _culprits_table(report, sizes),
        _votes_table(report, sizes),
        _rules_table(report, sizes),
    ]
    return "\n\n".join("\n".join(lines) for lines in parts if lines) + "\n"


def _head(report: dict[str, Any]) -> list[str]:
    """What it is of, where the report says it."""
    if "of" not in report:
        return []
    return [f"# {report['of']}", "", f"Measured on {report['date']}, seed {report['seed']}."]


def _agreement_table(report: dict[str, Any], sizes: Sizes) -> list[str]:
    ways = report["agreement"]
    lines = [
        f"All {report['test']:,} test images. Here, and wherever nothing else is said, ± is the sample standard "
        f"deviation over {sizes.redraws} redrawn banks:",
        "",
        "| explanation by the heaviest sample | leave one out | auxiliary memory |",
        "| --- | ---: | ---: |",
    ]
    for name in ways["leave one out"]:
        cells = [_percent(ways[how][name]) for how in ("leave one out", "auxiliary memory")]
        lines.append(f"| {_in_words(name)} | {' | '.join(cells)} |")
    return lines


def _completeness_line(report: dict[str, Any], sizes: Sizes) -> list[str]:
    errors = 100 * np.array(report["completeness"]["errors"])
    return [
        f"Completeness error over {sizes.images} test images: median {np.median(errors):.3f} %, "
        f"95th percentile {np.percentile(errors, 95):.3f} %, maximum {errors.max():.3f} %; "
        f"{_steps_in_words(report['completeness']['steps'])}."
    ]


def _methods_table(report: dict[str, Any], sizes: Sizes) -> list[str]:
    chance = report["methods"][RANDOM]
    lines = [
        f"Areas under deletion and insertion, where deleted pixels become the picture's mean colour "
        f"or white, over {sizes.curves} of them; in brackets the mean difference from "
        f"a random order on the same image ± its standard error; the other columns over "
        f"{sizes.perturbed}; integrated gradients in "
        f"{_steps_in_words(report['methods'][INTEGRATED_GRADIENTS]['steps'])}:",
        "",
        f"| map of the input | {' | '.join(chance['areas'])} | infidelity "
        "| sensitivity | correlation with randomised weights |",
        f"| --- |{' ---: |' * (len(chance['areas']) + 3)}",
    ]
    for method, found in report["methods"].items():
        cells = []
        for name, areas in found["areas"].items():
            cell = f"{np.mean(areas):.3f}"
            if method != RANDOM:
                cell += f" ({_difference(areas, chance['areas'][name])})"
            cells.append(cell)
        last = report["randomisation"].get(method, {}).get("correlation", [None])[-1]
        numbers = [found["infidelity"], found["sensitivity"], last]
        cells += ["" if value is None else f"{value:.3f}" for value in numbers]
        lines.append(f"| {_in_words(method)} | {' | '.join(cells)} |")
    return lines


def _memory_deletion_table(report: dict[str, Any], sizes: Sizes) -> list[str]:
    lines = [
        f"Memory deletion over {sizes.images} images; contributions in "
        f"{_steps_in_words(report['completeness']['steps'])}:",
        "",
        "| order of removal | probability after 1 | after 3 | after 5 | after 10 |",
        "| --- | ---: | ---: | ---: | ---: |",
    ]
    for order, curve in report["memory_deletion"].items():
        cells = [f"{100 * curve[count]:.1f} %" for count in (1, 3, 5, 10)]
        lines.append(f"| {order} | {' | '.join(cells)} |")
    return lines


def _culprits_table(report: dict[str, Any], sizes: Sizes) -> list[str]:
    lines = [
        f"{sizes.planted} planted in each of {sizes.redraws} redrawn banks, looked for through "
        f"{sizes.culprit_images} images; {_steps_in_words(report['culprits']['steps'])}:",
        "",
        "| planted culprits found | area under ROC |",
        "| --- | ---: |",
    ]
    for how, areas in report["culprits"]["areas"].items():
        lines.append(f"| {how} | {_number(areas)} |")
    return lines


def _votes_table(report: dict[str, Any], sizes: Sizes) -> list[str]:
    lines = [
        f"What the majority of the used samples says, over all {report['test']:,} test images and "
        f"{sizes.redraws} redrawn banks:",
        "",
        "| votes of the samples | right | the same as the model |",
        "| --- | ---: | ---: |",
    ]
    for what, told in report["examples"]["votes"].items():
        lines.append(f"| as {what} | {_percent(told['right'])} | {_percent(told['same'])} |")
    return lines


def _rules_table(report: dict[str, Any], sizes: Sizes) -> list[str]:
    found = report["examples"]
    lines = [
        f"Examples by what chooses them. Non-representativeness (less is better) over the "
        f"{_percent(found['with_example'])} of all test images for which every rule finds an example. Cardinality: how "
        f"many different samples are among the first five, of as many images as could have all of the memory's between "
        f"them. The last columns: how well planted samples are found (area under precision and recall) by a copy of the "
        f"model that has learned on with them, in {sizes.redraws} banks.{_planted_line(found, sizes)}",
        "",
        "| rule | input non-representativeness | prediction non-representativeness | cardinality "
        "| shortcut | mixed data |",
        "| --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    for rule in dict.fromkeys([*found["rules"], *found["shortcut"], *(found["mixed"] or ())]):
        of_rule = found["rules"].get(rule, {})
        planted = [(found[kind] or {}).get(rule) for kind in ("shortcut", "mixed")]
        numbers = [of_rule.get("input"), of_rule.get("prediction")]
        cells = ["" if values is None else _number(values) for values in numbers]
        cells.append(_percent(of_rule["cardinality"]) if of_rule else "")
        cells += ["" if values is None else _number(values) for values in planted]
        lines.append(f"| {rule} | {' | '.join(cells)} |")
    return lines


def _planted_line(found: dict[str, Any], sizes: Sizes) -> str:
    """What was planted, and how many images were answered as its class: only these were asked about."""
    what = {
        "shortcut": "one image in ten carries a mark and the label of one class; of {images} images of other "
        "classes with the mark",
        "mixed": "one in ten shows none of the classes, all under one label; of {images} other such pictures",
    }
    told = [
        f" {'Mixed data' if kind == 'mixed' else 'Shortcut'}: {what[kind].format(images=sizes.curves)}, "
        f"{_percent(shares['learned'])} were answered as that class and asked about ({_percent(shares['as it is'])} are "
        f"by the model as it is)."
        for kind, shares in found["answered"].items()
    ]
    return "".join(told)


def draw(report: dict[str, Any]) -> Figure:
    """The report's curves."""
    figure = blank_figure(11, 7)
    axes = figure.subplots(2, 2)
    for axis, name in ((axes[0, 0], "deletion, mean"), (axes[0, 1], "insertion, mean")):
        for method, found in report["methods"].items():
            style = "k--" if method == RANDOM else "-"
            curve = found["curves"][name]
            shares = np.linspace(0, 100, len(curve))
            axis.plot(shares, curve, style, label=_in_words(method))
        axis.set(title=f"pixel {name} colour", xlabel="% of pixels", ylabel="probability")
    axes[0, 0].legend(fontsize="small")
    for order, curve in report["memory_deletion"].items():
        axes[1, 0].plot(curve, label=order)
    axes[1, 0].set(title="memory deletion", xlabel="samples removed", ylabel="probability")
    axes[1, 0].legend(fontsize="small")
    for method, found in report["randomisation"].items():
        axes[1, 1].plot(
            range(1, 1 + len(found["layers"])), found["correlation"], label=_in_words(method)
        )
    axes[1, 1].set(
        title="randomised weights, top layer first", xlabel="layers", ylabel="rank correlation"
    )
    return figure


def _in_words(name: str) -> str:
    return name.replace("_", " ")


def _steps_in_words(steps: Sequence[int]) -> str:
    """How many steps were taken; they were chosen image by image, as the page does."""
    return f"automatic steps, {np.median(steps):g} (median) of {min(steps)} to {max(steps)}"


def _difference(areas: Sequence[float], chance: Sequence[float]) -> str:
    """Mean difference over the same images, and its standard error."""
    apart = np.subtract(areas, chance)
    if len(apart) < 2:
        return f"{apart.mean():+.3f}"
    return f"{apart.mean():+.3f} ± {apart.std(ddof=1) / len(apart) ** 0.5:.3f}"


def _number(values: Sequence[float | None]) -> str:
    """Mean and sample standard deviation of those that are known."""
    known = [value for value in values if value is not None]
    if len(known) < 2:
        return f"{known[0]:.3f}" if known else ""
    return f"{np.mean(known):.3f} ± {np.std(known, ddof=1):.3f}"


def _percent(values: Sequence[float | None]) -> str:
    """The same of shares, in percent."""
    known = [100 * value for value in values if value is not None]
    if len(known) < 2:
        return f"{known[0]:.1f} %" if known else ""
    return f"{np.mean(known):.1f} ± {np.std(known, ddof=1):.1f} %"
