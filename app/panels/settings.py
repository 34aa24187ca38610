"""How the maps are made; folded away, for nothing has to be set before the first answer."""

from __future__ import annotations

import gradio as gr

from app.answers import METHODS
from app.story import PRIVATE, Updates
from app.uploads import speaks
from memorywrap.explanation.baselines import BASELINES, DEFAULT
from memorywrap.explanation.methods import INTEGRATED_GRADIENTS, has_baseline


class Settings:
    """Method, baseline and steps of the maps."""

    def __init__(self) -> None:
        with gr.Accordion("Settings", open=False, elem_id="mw-settings"):
            self.method = gr.Dropdown(
                [(name.replace("_", " "), name) for name in METHODS],
                value=METHODS[0],
                label="How the maps are made",
                info="Only integrated gradients can tell how exact they are.",
            )
            self.baseline = gr.Radio(
                list(BASELINES),
                value=DEFAULT,
                label="Baseline of the maps",
                info="The image from which the maps measure. Some ways have none.",
            )
            self.steps = gr.Dropdown(
                [("automatic", 0), *((str(n), n) for n in (8, 16, 32, 64, 128))],
                value=0,
                label="Steps of the maps",
                info="Automatic takes more steps where they are needed, until the sum fits. A fixed "
                "number may be too small, and a larger one is not always more exact.",
            )

    @property
    def components(self) -> list[gr.Dropdown | gr.Radio]:
        """In the order of the arguments of what makes the maps."""
        return [self.method, self.baseline, self.steps]

    def wire(self) -> None:
        """Attach the events."""
        self.method.change(speaks(self.chosen), self.method, [self.baseline, self.steps], **PRIVATE)

    def chosen(self, method: str) -> Updates:
        """Another way was chosen: what it has no use for cannot be set."""
        return {
            self.baseline: gr.update(interactive=has_baseline(method)),
            self.steps: gr.update(interactive=method == INTEGRATED_GRADIENTS),
        }
