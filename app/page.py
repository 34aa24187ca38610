"""The page: what stands where, and which event leads to what."""

from __future__ import annotations

from html import escape
from pathlib import Path
from typing import Any

import gradio as gr
from PIL import Image

from app import render
from app.api import METHODS, add_endpoints
from app.models import Models
from app.story import EXAMPLES, Story
from app.uploads import GuardedBlocks
from memorywrap.explanation.baselines import BASELINES
from memorywrap.explanation.explanation import INTEGRATED_GRADIENTS, has_baseline

_STATIC = Path(__file__).parent / "static"
KEPT = 3600  # seconds that an uploaded image stays in the server's temporary folder
_FONTS = ["system-ui", "-apple-system", "Segoe UI", "Roboto", "Helvetica Neue", "sans-serif"]
_MONO = ["ui-monospace", "SFMono-Regular", "Menlo", "Consolas", "monospace"]

_PRIVATE: dict[str, Any] = {"api_visibility": "private"}

_HEADER = """
<div class="mw-title"><h1>Memory Wrap</h1><p>a classifier that shows its evidence</p></div>"""

_DARK = """
<button id="mw-dark" type="button" aria-pressed="false" aria-label="Dark colours">
<svg viewBox="0 0 24 24" width="20" height="20" aria-hidden="true"><circle cx="12" cy="12" r="8.5"
fill="none" stroke="currentColor" stroke-width="2"/><path d="M12 3.5a8.5 8.5 0 0 1 0 17z"
fill="currentColor"/></svg></button>"""

_FOOTER = f"""
<footer class="mw-footer">
<section><h2>How it works</h2><p>The model keeps a small memory: images that it knows from its
training. It compares your image with each of them and gives the most similar ones a weight; most get
none. Its answer is made from your image and from those memories together, so you can see what it
leaned on. The maps show which pixels pushed the answer up (blue) or down (orange).</p></section>
<section><h2>What happens to my image</h2><p>It stays on this server, in a temporary folder, and is
deleted after {KEPT // 60} to {2 * KEPT // 60} minutes. The same goes for the
figure made from a drawing; the drawing itself is never stored. Nothing is
sent anywhere else.</p></section>
<section><h2>Read more</h2><p><a href="https://arxiv.org/abs/2106.01440" rel="noreferrer">The paper:
Memory Wrap (arXiv 2106.01440)</a><br>La Rosa, Capobianco, Nardi, 2021</p></section>
</footer>"""


def build(models: Models) -> gr.Blocks:
    """The page and its endpoints."""
    story = Story(models)
    with GuardedBlocks(
        title="Memory Wrap", analytics_enabled=False, delete_cache=(KEPT, KEPT)
    ) as demo:
        current = gr.State(None)
        with gr.Row(elem_id="mw-top"):
            _html(_HEADER)
            model = gr.Dropdown(
                story.choices(),
                value=models.default or None,
                label="Model",
                container=False,
                elem_id="mw-model",
                visible=len(models.names) > 1,
            )
            _html(_DARK, "mw-scheme")
        with gr.Row(elem_id="mw-model-note"):
            about = _html("")
            fetch = gr.Button("", size="sm", visible=False, elem_id="mw-fetch")
        with gr.Row(elem_id="mw-columns"):
            with gr.Column(elem_id="mw-input"):
                with gr.Tabs() as tabs:
                    with gr.Tab("Photo", id="photo"):
                        photo = gr.Image(
                            type="filepath",
                            sources=["upload", "clipboard", "webcam"],
                            webcam_options=gr.WebcamOptions(mirror=False),
                            label="Your image",
                            show_label=False,
                            buttons=[],
                            height=300,
                            placeholder="Drop a photo here\nor click to choose one",
                            elem_id="mw-photo",
                        )
                        stage = gr.HTML(
                            value=None,
                            html_template=_read("crop.html"),
                            js_on_load=_read("crop.js"),
                            apply_default_css=False,
                            src="",
                            width=1,
                            height=1,
                            visible=False,
                            elem_id="mw-crop",
                        )
                    with gr.Tab("Draw", id="draw"):
                        pad = gr.HTML(
                            value="",
                            html_template=_read("pad.html"),
                            js_on_load=_read("pad.js"),
                            apply_default_css=False,
                            elem_id="mw-draw",
                        )
                notice = _html("", "mw-notice-place")
                button = gr.Button("Explain", variant="primary", elem_id="mw-explain")
                examples = gr.HTML(
                    value=None,
                    html_template=_example_buttons(),
                    js_on_load=_EXAMPLES_JS,
                    apply_default_css=False,
                    elem_id="mw-examples",
                )
                with gr.Accordion("Settings", open=False, elem_id="mw-settings"):
                    method = gr.Dropdown(
                        [(name.replace("_", " "), name) for name in METHODS],
                        value=METHODS[0],
                        label="How the maps are made",
                        info="Only integrated gradients can tell how exact they are.",
                    )
                    baseline = gr.Radio(
                        list(BASELINES),
                        value="white",
                        label="Baseline of the maps",
                        info="The image from which the maps measure. Some ways have none.",
                    )
                    steps = gr.Dropdown(
                        [("automatic", 0), *((str(n), n) for n in (8, 16, 32, 64, 128))],
                        value=0,
                        label="Steps of the maps",
                        info="Of integrated gradients: more are more exact and take longer.",
                    )
            with gr.Column(elem_id="mw-result"):
                answer = _html(render.EMPTY)
                memories = _html("")
                maps = _html("")
                with gr.Row(elem_id="mw-downloads"):
                    figure = gr.DownloadButton("Save the figure (PNG)", size="sm", visible=False)
                    numbers = gr.DownloadButton("Save the numbers (JSON)", size="sm", visible=False)
        _html(_FOOTER)

        settings = [model, method, baseline, steps]
        asked = gr.State(None)  # a new value asks for the maps
        screen = [
            current, stage, photo, pad, notice, answer, memories, maps, figure, numbers, asked
        ]  # fmt: skip
        explaining = asked.change(
            story.explained,
            [asked, current, model, method, baseline, steps],
            [maps, figure, numbers],
            show_progress="minimal",
            show_progress_on=maps,
            concurrency_limit=1,
            concurrency_id="explain",
            **_PRIVATE,
        )
        for event, function, inputs in (
            (photo.input, story.opened, [photo, model]),
            (examples.pick, story.example, [examples, model]),
            (stage.moved, story.moved, [current, stage, model]),
            (stage.suggest, story.suggested, [current, model]),
            (stage.whole, story.whole, [current, model]),
            (stage.other, story.closed, None),
            (pad.drawn, story.drawn, [pad, model]),
            (pad.wiped, story.wiped, None),
            (button.click, story.pressed, [current, model]),
            *((setting.input, story.again, [current, model]) for setting in settings),
        ):
            # Whatever begins anew makes the maps of before pointless. Registered before the event
            # itself: the browser takes them in order, and would cancel the new maps otherwise.
            event(None, cancels=explaining)
            event(
                function,
                inputs,
                screen,
                preprocess=function != story.opened,  # the file is ours to check and to decode
                show_progress="hidden",
                # One at a time, so that the last thing a person did is also the last on the page.
                concurrency_limit=1,
                concurrency_id="mw-classify",
                **_PRIVATE,
                trigger_mode="always_last",
            )
        method.change(
            lambda chosen: [
                gr.update(interactive=has_baseline(chosen)),
                gr.update(interactive=chosen == INTEGRATED_GRADIENTS),
            ],
            method,
            [baseline, steps],
            show_progress="hidden",
            **_PRIVATE,
        )
        if models.names:
            for event in (demo.load, model.change):
                event(story.chosen, model, [about, fetch], show_progress="hidden", **_PRIVATE)
            begun = fetch.click(
                story.downloading, model, [about, fetch], show_progress="hidden", **_PRIVATE
            )
            fetched = begun.then(
                story.downloaded,
                model,
                [about, fetch, model],
                show_progress_on=about,
                concurrency_limit=1,
                **_PRIVATE,
            )
            # The picture on the page can be answered now; a new choice did not ask for it.
            fetched.success(
                story.again,
                [current, model],
                screen,
                show_progress="hidden",
                **_PRIVATE,
            )
        for event in (examples.pick, photo.input):
            event(
                lambda: gr.Tabs(selected="photo"),
                None,
                tabs,
                show_progress="hidden",
                **_PRIVATE,
            )
        add_endpoints(models)
    return demo.queue(max_size=60, default_concurrency_limit=2)


def launch_options() -> dict[str, Any]:
    """What launch() is told wherever the page is hosted: nothing leaves, nothing large comes in."""
    return {
        "theme": _theme(),
        "css": _read("style.css"),
        "js": _read("page.js"),
        "footer_links": ["api"],
        "max_file_size": "10mb",
        "show_error": False,
        "share": False,
        "ssr_mode": False,
        "run_history": False,
        "enable_monitoring": False,
        "pwa": False,
        "mcp_server": False,
    }


def _html(value: str, elem_id: str | None = None) -> gr.HTML:
    return gr.HTML(value, js_on_load=None, apply_default_css=False, elem_id=elem_id)


def _theme() -> gr.themes.Base:
    theme = gr.themes.Base(
        primary_hue="blue", neutral_hue="slate", radius_size="md", font=_FONTS, font_mono=_MONO
    )
    # Gradio's own choices are too pale for text: at least 4.5 to 1 against what is behind.
    return theme.set(
        button_primary_background_fill="*primary_600",
        button_primary_background_fill_hover="*primary_700",
        block_info_text_color="*neutral_500",
        block_info_text_color_dark="*neutral_400",
        input_placeholder_color="*neutral_500",
    )


def _example_buttons() -> str:
    buttons = "".join(
        f'<button type="button" data-number="{number}" aria-label="Example: {escape(name)}">'
        f'<img src="{_thumbnail(path)}" alt=""></button>'
        for number, path in enumerate(EXAMPLES)
        for name in [path.stem.partition("-")[2].replace("-", " ")]
    )
    return f'<p class="mw-kicker">or try an example</p><div class="mw-thumbs">{buttons}</div>'


_EXAMPLES_JS = """
element.querySelectorAll('button').forEach((button) => button.addEventListener('click', () => {
  props.value = Number(button.dataset.number);
  trigger('pick');
}));
"""


def _thumbnail(path: Path) -> str:
    image = Image.open(path).convert("RGB")
    image.thumbnail((160, 160))
    return render.data_url(image)


def _read(name: str) -> str:
    return (_STATIC / name).read_text(encoding="utf-8")
