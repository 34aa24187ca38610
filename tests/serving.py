"""What the tests of the page share: checkpoints, a running server, hand-made image files."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
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
    from memorywrap.checkpoints.config import Config

    folder = tmp_path_factory.mktemp("checkpoints")
    tiny.classifier(title="Random", memory=20, data={"name": "digits"}).save_pretrained(
        folder / "digits"
    )
    tiny.classifier("std", title="Plain").save_pretrained(folder / "plain")
    recipe = {"dataset": "cifar10", "seed": 0, "size": 100}
    later = MemoryWrapClassifier(Config("Later", "compact", tiny.CLASSES, bank=recipe))
    later.save_pretrained(folder / "later")
    return folder


@pytest.fixture(scope="session")
def page(
    page_checkpoints: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[SimpleNamespace]:
    """The page on a free port: `url`, and the `models` behind it. It finds no data sets."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRADIO_TEMP_DIR", str(tmp_path_factory.mktemp("uploads")))
        patch.setenv("MEMORYWRAP_DATA", str(tmp_path_factory.mktemp("data")))
        with serving(page_checkpoints) as page:
            # Untrained, the model would predict one class for all: then nothing could speak
            # against it.
            bank = page.models.get("digits").bank
            bank.predicted.copy_(bank.labels)
            yield page


@contextmanager
def serving(checkpoints: Path) -> Iterator[SimpleNamespace]:
    """The page with the models of a folder."""
    from app.models import Models
    from app.page import build, launch_options

    models = Models(checkpoints)
    demo = build(models)
    _, url, _ = demo.launch(
        server_name="127.0.0.1", quiet=True, prevent_thread_lock=True, **launch_options(models)
    )
    yield SimpleNamespace(url=url.rstrip("/"), models=models, demo=demo)
    demo.close()
    models.close()


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
    return tiny.encoded
