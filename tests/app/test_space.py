"""The page as a Hugging Face Space starts it, with and without the package that lends GPUs."""

from __future__ import annotations

import functools
import pickle
import runpy
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from gradio_client import Client, handle_file

from app.models import Models

ROOT = Path(__file__).parents[2]
LENT = ("opened", "drawn", "explained", "classify_image", "explain_image")


@pytest.fixture
def start(monkeypatch, page_checkpoints):
    """Runs space.py with small models and notes which of them it warmed up."""

    def run(lender: object) -> SimpleNamespace:
        warmed: list[str] = []
        monkeypatch.setitem(sys.modules, "spaces", lender)  # None: not installed
        # The fixture's models in place of those beside space.py.
        monkeypatch.setattr("app.models.Models", lambda _: Models(page_checkpoints))
        monkeypatch.setattr(Models, "warm_up", lambda self, name: warmed.append(name))
        content = runpy.run_path(str(ROOT / "space.py"))
        return SimpleNamespace(demo=content["demo"], warmed=warmed, options=content)

    return run


class Lender:
    """Stands in for the package `spaces`: a borrowed process gets and gives pickles."""

    def __init__(self) -> None:
        self.durations: dict[str, int] = {}
        self.calls: list[str] = []

    def GPU(self, duration: int):
        def decorate(function):
            self.durations[function.__name__] = duration

            @functools.wraps(function)
            def lent(*args, **kwargs):
                self.calls.append(function.__name__)
                args, kwargs = pickle.loads(pickle.dumps((args, kwargs)))
                return pickle.loads(pickle.dumps(function(*args, **kwargs)))

            return lent

        return decorate


def test_without_the_package_it_is_the_plain_page_warmed_up(start):
    started = start(None)
    assert started.warmed == ["digits"]
    assert {"models", "classify", "explain"} <= {fn.api_name for fn in started.demo.fns.values()}


def test_with_the_package_every_function_that_runs_a_model_borrows_a_gpu(start):
    lender = Lender()
    started = start(lender)
    assert set(LENT) <= set(lender.durations)
    assert "list_models" not in lender.durations  # a visitor's quota is not spent on a list
    assert max(lender.durations.values()) <= 30
    assert started.warmed == ["digits"]  # the package is also there on a Space without ZeroGPU


def test_on_zero_gpu_no_model_is_loaded_by_the_process_without_a_gpu(start, monkeypatch):
    monkeypatch.setenv("SPACES_ZERO_GPU", "true")
    assert start(Lender()).warmed == []


def test_answers_travel_from_the_borrowed_process(start, monkeypatch, tmp_path, number_plate):
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "uploads"))
    lender = Lender()
    started = start(lender)
    launch = started.options["launch_options"]()
    _, url, _ = started.demo.launch(
        server_name="127.0.0.1", quiet=True, prevent_thread_lock=True, **launch
    )
    try:
        number_plate.save(tmp_path / "plate.png")
        client = Client(url, verbose=False)
        image = handle_file(tmp_path / "plate.png")
        plain = client.predict(image, api_name="/classify")
        answer, gallery = client.predict(image, steps=2, api_name="/explain")
        assert answer["predicted"] == plain["predicted"] and gallery
    finally:
        started.demo.close()
    assert lender.calls == ["classify_image", "explain_image"]


def test_updates_of_the_page_can_be_pickled(page_checkpoints):
    from app.story import Story

    picked = Story(Models(page_checkpoints)).example(0, "digits")
    copied = pickle.loads(pickle.dumps(picked))
    assert copied[0] == picked[0]  # what the page is about goes to the next borrowed process
    assert copied[1].constructor_args["value"] == picked[1].constructor_args["value"]
