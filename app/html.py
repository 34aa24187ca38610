"""HTML from the templates in app/templates; whatever is put into one is escaped."""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import Any

import gradio as gr
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from PIL import Image
from torch import Tensor

from memorywrap.explanation.figures import OPPOSE, SUPPORT, percent
from memorywrap.images import to_pil

_APP = Path(__file__).parent


def render(template: str, **values: Any) -> str:
    """The HTML of a template, by its name without the ending."""
    return _TEMPLATES.get_template(f"{template}.html").render(values)


def place(value: str = "", elem_id: str | None = None) -> gr.HTML:
    """A place on the page for HTML that the server writes."""
    return gr.HTML(value, js_on_load=None, apply_default_css=False, elem_id=elem_id)


def scripted(name: str, *helpers: str, before: str = "", **properties: Any) -> gr.HTML:
    """A component of our own, from its HTML and JavaScript in app/static.

    Args:
        name: of both files, without the ending.
        helpers: files of JavaScript that stand before its own, likewise.
        before: JavaScript that stands before all of them.
        properties: of the component.
    """
    return gr.HTML(
        html_template=static(f"{name}.html"),
        js_on_load="".join([before, *(static(f"{one}.js") for one in (*helpers, name))]),
        apply_default_css=False,
        **{"value": None, **properties},
    )


def static(name: str) -> str:
    """The text of a file in app/static."""
    return (_APP / "static" / name).read_text(encoding="utf-8")


def encoded(image: Image.Image | Tensor, format: str = "PNG", **options: int) -> bytes:
    """An image, or pixels uint8 (3, height, width), as the bytes of a file."""
    file = io.BytesIO()
    image = to_pil(image) if isinstance(image, Tensor) else image
    image.save(file, format, **options)
    return file.getvalue()


def data_url(image: Image.Image | Tensor, format: str = "PNG", **options: int) -> str:
    """An image, or pixels uint8 (3, height, width), as a data: address."""
    text = base64.b64encode(encoded(image, format, **options)).decode("ascii")
    return f"data:image/{format.lower()};base64,{text}"


_TEMPLATES = Environment(
    loader=FileSystemLoader(_APP / "templates"),
    autoescape=True,
    trim_blocks=True,
    lstrip_blocks=True,
    undefined=StrictUndefined,
)
_TEMPLATES.filters |= {"percent": percent, "data_url": data_url}
_TEMPLATES.globals |= {"SUPPORT": SUPPORT, "OPPOSE": OPPOSE}
