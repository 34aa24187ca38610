"""What the tests of the page share: checkpoints, a running server, hand-made image files."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
import tiny
from PIL import Image, ImageDraw, ImageFont


@pytest.fixture(scope="session")
def page_checkpoints(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder checkpoints/ with small untrained models: one, one without memory, and one whose
    memory has still to be drawn from its data set."""
    from memorywrap import MemoryWrapClassifier
    from memorywrap.checkpoint import Config

    folder = tmp_path_factory.mktemp("checkpoints")
    tiny.classifier(title="Random", memory=20).save_pretrained(folder / "digits")
    tiny.classifier("std", title="Plain").save_pretrained(folder / "plain")
    recipe = {"dataset": "svhn", "seed": 0, "size": 100}
    later = MemoryWrapClassifier(Config("Later", "compact", tiny.CLASSES, bank=recipe))
    later.save_pretrained(folder / "later")
    return folder


@pytest.fixture(scope="session")
def page(
    page_checkpoints: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[SimpleNamespace]:
    """The page on a free port: `url`, and the `models` behind it."""
    from app.models import Models
    from app.page import build, launch_options

    patch = pytest.MonkeyPatch()
    patch.setenv("GRADIO_TEMP_DIR", str(tmp_path_factory.mktemp("uploads")))
    models = Models(page_checkpoints)
    # Untrained, the model would predict one class for all: then nothing could speak against it.
    bank = models.get("digits").bank
    bank.predicted.copy_(bank.labels)
    demo = build(models)
    _, url, _ = demo.launch(
        server_name="127.0.0.1", quiet=True, prevent_thread_lock=True, **launch_options()
    )
    yield SimpleNamespace(url=url.rstrip("/"), models=models, demo=demo)
    demo.close()
    patch.undo()


@pytest.fixture
def number_plate() -> Image.Image:
    """A picture with three digits, 480 x 240."""
    image = Image.new("RGB", (480, 240), (24, 58, 122))
    font = ImageFont.load_default(170)
    ImageDraw.Draw(image).text((240, 120), "247", "white", font, anchor="mm")
    return image


@pytest.fixture
def encoded() -> Callable[..., bytes]:
    """Encodes an image as the bytes of a file."""

    def encode(image: Image.Image, format: str = "PNG", **options: object) -> bytes:
        file = io.BytesIO()
        image.save(file, format, **options)
        return file.getvalue()

    return encode
