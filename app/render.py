"""What the page says about a prediction and its explanation, as HTML."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from html import escape

from PIL import Image

from memorywrap import Explanation, Prediction
from memorywrap.explanation.figures import FigurePart, figure_parts, percent
from memorywrap.images import to_pil
from memorywrap.what_if import FlipSet

SHOWN = 8  # memory samples on view; the rest are folded
_TOP = 4  # classes on view

EMPTY = """
<div class="mw-empty">
  <p class="mw-empty-lead">No image yet.</p>
  <p>Click an example, drop a photo, or draw: the answer appears here, with the memories behind
  it.</p>
</div>"""

FETCHING = '<div class="mw-fetching"></div>'  # Gradio draws its progress bar over it

_START = {
    "white": "a plain white image",
    "black": "a plain black image",
    "mean": "an image in its average colour",
    "blur": "a blurred image",
    "noise": "images of pure noise, on average,",
}

# A fixed number of steps may be too small: from here on the maps come with a warning.
_CARELESS = 0.05

_SIDES = {
    "example": ("mw-supports", "supports"),
    "counterfactual": ("mw-opposes", "opposes"),
}
_ROLES = {
    "input": ("input", "your image"),
    "example": ("example", "speaks most for the answer"),
    "counterfactual": ("counterfactual", "speaks most against the answer"),
    "contrast": ("contrast", "most similar of another class"),
}


def picture(image: Image.Image, alt: str, classes: str = "") -> str:
    """A small image inside the page, shown with hard pixels."""
    return f'<img class="mw-pixels {classes}" src="{data_url(image)}" alt="{escape(alt)}">'


def data_url(image: Image.Image, format: str = "PNG", **options: int) -> str:
    """The image as a data: address."""
    file = io.BytesIO()
    image.save(file, format, **options)
    text = base64.b64encode(file.getvalue()).decode("ascii")
    return f"data:image/{format.lower()};base64,{text}"


def notice(sentence: str) -> str:
    """A refusal, where the person looks."""
    return f'<p class="mw-notice" role="alert">{escape(sentence)}</p>' if sentence else ""


def refused(sentence: str) -> str:
    """Why there is no answer, where it would be."""
    return f"""
<div class="mw-empty">
  <p class="mw-empty-lead">No answer.</p>
  <p role="alert">{escape(sentence)}</p>
</div>"""


def about(classes: Sequence[str], missing: str | None = None, trouble: str = "") -> str:
    """What the chosen model knows, which memory it lacks, and what went wrong in fetching it."""
    lacks = ""
    if missing is not None:
        lacks = f"""<p>Its memory is drawn from {escape(missing)}, which is not on this server yet.
        </p>"""
    known = escape(", ".join(classes))
    return f"""<div class="mw-about"><p class="mw-quiet">It knows {len(classes)} classes: {known}.
    </p>{lacks}{notice(trouble)}</div>"""


def answer(prediction: Prediction) -> str:
    """The predicted class first, then the runners-up, beside what the model sees."""
    classes, shares = prediction.classes, prediction.probabilities
    order = sorted(range(len(classes)), key=lambda index: -shares[index])
    best = order[0]
    rows = "".join(
        _bar_row(escape(classes[index]), shares[index], percent(shares[index]), "mw-prob")
        for index in order[:_TOP]
    )
    rest = sum(shares[index] for index in order[_TOP:])
    if len(order) > _TOP:
        others = len(order) - _TOP
        word = "class" if others == 1 else "classes"
        rows += _bar_row(f"{others} other {word}", rest, percent(rest), "mw-prob mw-rest")
    size = prediction.pixels.shape[-1]
    sees = picture(
        to_pil(prediction.pixels), f"Your image as the model sees it, {size} by {size} pixels"
    )
    return f"""
<section class="mw-answer" aria-label="Prediction">
  <div class="mw-verdict" role="status">
    <p class="mw-kicker">The model says</p>
    <p class="mw-class">{escape(classes[best])}</p>
    <p class="mw-share">{percent(shares[best])} sure</p>{_trust(prediction)}
  </div>
  <ol class="mw-rows" aria-label="Most probable classes">{rows}</ol>
  <figure class="mw-sees">{sees}<figcaption>what the model sees</figcaption></figure>
  <a class="mw-pill" href="#mw-result" aria-hidden="true" tabindex="-1">{escape(classes[best])}
  <span>{percent(shares[best])} ↓</span></a>
</section>"""


def _trust(prediction: Prediction) -> str:
    """How often such an answer is right, judged by its evidence."""
    if prediction.trust is None:
        return ""
    # Never 0 or 100: nothing is certain that was learned from some thousand answers.
    often = min(max(round(100 * prediction.trust), 1), 99)
    return f"""
    <p class="mw-trust" title="Judged by how far the answer is ahead, how well the memories agree, and
    how alike they are to your image">with such evidence, right {often} times in 100</p>"""


def memories(prediction: Prediction, flip: FlipSet | None = None) -> str:
    """The samples that the prediction used, by falling weight, and some that hold the answer."""
    if prediction.bank is None:
        return """
<section class="mw-memory"><h2>No memory</h2>
<p class="mw-quiet">This model is a plain network: it has no memory bank, so it cannot show which
training samples its answer rests on. Choose another model to compare.</p></section>"""
    used = prediction.used
    largest = float(prediction.weights[used[0]])
    cards = [_memory_card(prediction, index, largest) for index in used]
    more = ""
    if len(cards) > SHOWN:
        more = f"""
  <details class="mw-more"><summary>and {len(cards) - SHOWN} more with less weight</summary>
  <ul class="mw-cards">{"".join(cards[SHOWN:])}</ul></details>"""
    return f"""
<section class="mw-memory" aria-label="Memories used">
  <div class="mw-head"><h2>because of these memories</h2>{LEGEND}</div>
  <p class="mw-quiet">It used {len(used)} of its {len(prediction.bank)} memory samples. The weights
  add up to 100 %.</p>
  <ul class="mw-cards">{"".join(cards[:SHOWN])}</ul>{more}{_runners_up(prediction)}
  {"" if flip is None else _holding(prediction, flip)}
</section>"""


def _holding(prediction: Prediction, flip: FlipSet) -> str:
    """A small set of samples without which the answer would be another."""
    if flip.removed is None:
        words, shown = (
            f"""It would still be {escape(prediction.classes[prediction.predicted])}: no set of up to
            {flip.limit} memories was found that holds this answer.""",
            "",
        )
    else:
        assert prediction.bank is not None
        count = len(flip.removed)
        these = "this memory" if count == 1 else f"these {count} memories"
        words = f"""Without {these} it would say
            <strong>{escape(prediction.classes[flip.predicted])}</strong>."""
        if not flip.exact:
            words += " Fewer might do, too."
        shown = "".join(
            picture(
                to_pil(prediction.bank.images[index]),
                f"Memory sample labelled {prediction.memory(index)['label']}, to be taken away",
            )
            for index in flip.removed
        )
    return f"""
  <div class="mw-flip"><h3>and without some of them?</h3><p>{words}</p><p>{shown}</p></div>"""


def _runners_up(prediction: Prediction) -> str:
    """What speaks for the classes that come next: evidence for one answer alone persuades too
    easily."""
    assert prediction.bank is not None
    items = ""
    for class_, index in prediction.runners_up():
        name, share = escape(prediction.classes[class_]), percent(prediction.probabilities[class_])
        if index is None:
            shown, words = "", "no memory used speaks for it"
        else:
            alt = f"The strongest memory predicted {prediction.classes[class_]}"
            shown = picture(to_pil(prediction.bank.images[index]), alt)
            words = f"its strongest memory has {percent(float(prediction.weights[index]))}"
        items += f"<li>{shown}<span><strong>{name}</strong> {share}: {words}</span></li>"
    return f"""
  <div class="mw-next"><h3>and for the answers that come next</h3><ul>{items}</ul></div>"""


LEGEND = """<p class="mw-legend"><span class="mw-supports">▲ supports</span>
<span class="mw-opposes">▼ opposes</span></p>"""
_MAP_LEGEND = """<p class="mw-legend"><span><i class="mw-blue"></i> blue supports</span>
<span><i class="mw-orange"></i> orange opposes</span></p>"""


def waiting(prediction: Prediction) -> str:
    """The explanation's place, kept at its size until the maps are there."""
    if prediction.bank is None:
        return ""
    roles = ["input"] + [role for role in list(_ROLES)[1:] if getattr(prediction, role) is not None]
    panels = "".join(
        f"""<figure class="mw-panel">{_panel_head(role)}
        <div class="mw-pair">{_parts_image(prediction, role)}
        <div class="mw-blank mw-busy"><span>map …</span></div></div>
        <figcaption>{"&nbsp;<br>&nbsp;"}</figcaption></figure>"""
        for role in roles
    )
    below = '<p class="mw-exact">The maps are on their way …</p>'
    blanks = [
        (_parts_image(prediction, role), '<div class="mw-blank"></div>')
        for role in roles
        if role != "example"
    ]
    return _explanation_frame(panels, _note(prediction) + below, _rivalry(prediction, blanks))


def explained(explanation: Explanation, rivalry: Explanation | None = None) -> str:
    """Each picture beside its map, and how exact the maps are.

    Args:
        explanation: of the predicted class.
        rivalry: of the predicted class against the prediction's rival.
    """
    prediction = explanation.prediction
    panels = "".join(_panel(part) for part in figure_parts(explanation))
    below = _note(prediction) + _exactness(explanation)
    against = ""
    if rivalry is not None and rivalry.against is not None:
        names = [prediction.classes[c] for c in (prediction.predicted, rivalry.against)]
        pairs = [
            (
                picture(part.image, f"The {part.role}"),
                picture(
                    part.map,
                    f"Pixels of the {part.role}: blue for {names[0]}, orange for {names[1]}",
                ),
            )
            for part in figure_parts(rivalry)
            if part.role != "example"
        ]
        against = _rivalry(prediction, pairs) + _warning(rivalry)
    return _explanation_frame(panels, below, against)


def _rivalry(prediction: Prediction, pairs: Sequence[tuple[str, str]]) -> str:
    """Which pixels speak for the predicted class rather than for its rival."""
    if prediction.rival is None:
        return ""
    first, second = (
        escape(prediction.classes[index]) for index in (prediction.predicted, prediction.rival)
    )
    shown = "".join(f'<div class="mw-pair">{image}{map_}</div>' for image, map_ in pairs)
    return f"""<div class="mw-rivalry" role="group" aria-label="{first} rather than {second}">
  <div class="mw-head"><h3>why {first} and not {second}?</h3><p class="mw-legend"><span><i
  class="mw-blue"></i> blue for {first}</span> <span><i class="mw-orange"></i> orange for
  {second}</span></p></div><div class="mw-panels">{shown}</div></div>"""


def _note(prediction: Prediction) -> str:
    if prediction.counterfactual is not None:
        return ""
    shown = "No memory is of another class."
    if prediction.contrast is not None:
        shown = """The contrast is the most similar memory of another class; it had weight 0. Its map
        shows what it would do beside the others."""
    return f"""<p class="mw-note"><strong>No counterfactual in memory.</strong> Every memory that the
    model used speaks for its answer, so there is none that speaks against it. {shown}</p>"""


def _explanation_frame(panels: str, below: str, rivalry: str = "") -> str:
    return f"""
<section class="mw-explanation" aria-label="Explanation">
  <div class="mw-head"><h2>which pixels mattered</h2>{_MAP_LEGEND}</div>
  <div class="mw-panels">{panels}</div>
  {rivalry}{below}
</section>"""


def _warning(explanation: Explanation) -> str:
    """A person should not have to open anything to learn that a map is not to be trusted."""
    error = explanation.completeness_error
    if error is None or (explanation.converged and error <= _CARELESS):
        return ""
    return f"""<p class="mw-warning" role="status"><strong>⚠ Read these maps with care.</strong>
        They miss the model's score by {percent(error)}, even after {explanation.steps} steps.</p>"""


def _exactness(explanation: Explanation) -> str:
    if explanation.completeness_error is None:
        method = explanation.method.replace("_", " ")
        return f"""<p class="mw-exact">How exact: {escape(method)} gives no sum that could be
        checked.</p>"""
    error = percent(explanation.completeness_error)
    warning = _warning(explanation)
    return f"""{warning}
<details class="mw-exact"><summary>how exact: off by <strong>{error}</strong></summary>
<p>The coloured pixels of the input and of all used memories should add up to how much the model's
score changes on the way from {_START[explanation.baseline]} to this one. They miss it
by {error} (the completeness error of integrated gradients, {explanation.steps} steps).</p></details>"""


def _panel(part: FigurePart) -> str:
    name = _ROLES[part.role][0]
    second = picture(
        part.map, f"Map of the {name}: blue pixels support the answer, orange pixels oppose it"
    )
    details = part.caption.split(", ")[1:]
    return f"""<figure class="mw-panel">{_panel_head(part.role)}
      <div class="mw-pair">{picture(part.image, f"The {name}")}{second}</div>
      <figcaption>{_two_lines(details)}</figcaption></figure>"""


def _panel_head(role: str) -> str:
    name, words = _ROLES[role]
    return f"<h3>{name}</h3><p class='mw-quiet'>{words}</p>"


def _two_lines(details: Sequence[str]) -> str:
    lines = [", ".join(details[:2]), ", ".join(details[2:])]
    return "<br>".join(escape(line) or "&nbsp;" for line in lines)


def _parts_image(prediction: Prediction, role: str) -> str:
    if role == "input":
        return picture(to_pil(prediction.pixels), "The input")
    assert prediction.bank is not None
    return picture(to_pil(prediction.bank.images[getattr(prediction, role)]), f"The {role}")


def _memory_card(prediction: Prediction, index: int, largest: float) -> str:
    sample = prediction.memory(index)
    css, word = _SIDES[sample["role"]]
    label, predicted = escape(sample["label"]), escape(sample["predicted"])
    assert prediction.bank is not None
    image = picture(
        to_pil(prediction.bank.images[index]),
        f"Memory sample labelled {sample['label']}, {word} the answer",
    )
    read = f"predicted {predicted}"
    if sample["label"] != sample["predicted"]:
        read = f"<strong>⚠ {read}</strong>"
    share = percent(sample["weight"])
    arrow = "▲" if sample["role"] == "example" else "▼"
    return f"""<li class="mw-card {css}">{image}
      <div><p class="mw-label">{label} <span class="mw-read">{read}</span></p>
      <p class="mw-word">{arrow} {word}</p>
      <div class="mw-weight"><span class="mw-number">{share}</span><span class="mw-bar"
      aria-hidden="true"><i style="width:{sample["weight"] / largest:.1%}"></i></span></div></div></li>"""


def _bar_row(name: str, share: float, number: str, classes: str) -> str:
    return f"""<li class="{classes}"><span class="mw-name">{name}</span>
      <span class="mw-bar" aria-hidden="true"><i style="width:{share:.1%}"></i></span>
      <span class="mw-number">{number}</span></li>"""
