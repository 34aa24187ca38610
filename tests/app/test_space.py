"""The page as a Hugging Face Space starts it, with and without the package that lends GPUs."""

from __future__ import annotations

import runpy
import sys
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest
from gradio_client import Client, handle_file
from lending import lender

from app.models import Models
from app.zero_gpu import BorrowingModels

__all__ = ["lender"]

ROOT = Path(__file__).parents[2]


@pytest.fixture
def start(monkeypatch, page_checkpoints, tmp_path):
    """Runs space.py with small models and notes which of them it warms up; `serve` adds a client."""
    open_pages = []

    def run(package: object, *, serve: bool = False) -> SimpleNamespace:
        warmed = []
        monkeypatch.setitem(sys.modules, "spaces", package)  # None: not installed
        # The fixture's models in place of those beside space.py.
        monkeypatch.setattr("app.models.Models", lambda _: Models(page_checkpoints))
        monkeypatch.setattr(
            "app.zero_gpu.BorrowingModels", lambda _, lend: BorrowingModels(page_checkpoints, lend)
        )
        warm_up = lambda self, name: warmed.append((name, threading.current_thread()))  # noqa: E731
        monkeypatch.setattr(Models, "warm_up", warm_up)
        monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "uploads"))
        space = SimpleNamespace(**runpy.run_path(str(ROOT / "space.py")), warmed=warmed)
        if serve:
            _, url, _ = space.demo.launch(
                server_name="127.0.0.1",
                quiet=True,
                prevent_thread_lock=True,
                **space.launch_options(space.models),
            )
            open_pages.append(space.demo)
            space.client = Client(url, verbose=False)
        return space

    yield run
    for page in open_pages:
        page.close()


@pytest.fixture
def plate(number_plate, tmp_path):
    number_plate.save(tmp_path / "plate.png")
    return handle_file(tmp_path / "plate.png")


def test_without_the_package_it_is_the_plain_page_warmed_up_meanwhile(start):
    space = start(None)
    ((name, thread),) = space.warmed
    assert name == "digits" and thread is not threading.main_thread()
    assert {"models", "classify", "explain"} <= {fn.api_name for fn in space.demo.fns.values()}


def test_the_package_alone_lends_nothing(start, lender):
    """It is there on a Space without ZeroGPU, too."""
    assert type(start(lender).models) is Models
    assert lender.durations == {}


@pytest.mark.slow
def test_on_zero_gpu_explanations_alone_borrow_a_gpu(start, lender, monkeypatch, plate):
    monkeypatch.setenv("SPACES_ZERO_GPU", "true")
    space = start(lender, serve=True)
    assert len(lender.durations) == 1 and max(lender.durations.values()) <= 10
    space.client.predict(api_name="/models")
    plain = space.client.predict(plate, api_name="/classify")
    assert lender.sent == []
    answer, gallery = space.client.predict(plate, steps=2, api_name="/explain")
    assert len(lender.sent) == 2
    assert {name: answer[name] for name in plain} == plain
    assert len(gallery) == 3 + (answer["patch_counterfactual"] is not None)


@pytest.mark.slow
def test_with_the_quota_used_up_every_question_is_answered(start, lender, monkeypatch, plate):
    monkeypatch.setenv("SPACES_ZERO_GPU", "true")
    space = start(lender, serve=True)
    lent, _ = space.client.predict(plate, steps=2, api_name="/explain")
    lender.refusal = "You have exceeded your ZeroGPU quota"
    assert space.client.predict(plate, api_name="/classify")["predicted"] == lent["predicted"]
    answer, gallery = space.client.predict(plate, steps=2, api_name="/explain")
    assert gallery and answer["contributions"]["input"] == pytest.approx(
        lent["contributions"]["input"], abs=1e-5
    )
    assert len(lender.sent) == 2
