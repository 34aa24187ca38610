"""A stand-in for the package `spaces` on ZeroGPU hardware, and for a GPU that only it can lend."""

from __future__ import annotations

import io
import multiprocessing
import os
import pickle
import threading
from collections.abc import Callable
from typing import Any

import gradio as gr
import pytest
import torch

from memorywrap import MemoryWrapClassifier

_PATIENCE = 60  # seconds


class Lender:
    """Lends a "GPU" to each call, in a process forked for it that is sent a pickle and sends one
    back. As the package itself, it runs the call in a thread there and says by a Gradio error what
    went wrong.

    Attributes:
        durations: seconds that each decorated function asks for, by name.
        sent: bytes of the pickles, two per call.
        refusal: what is said instead of lending, if not None.
    """

    def __init__(self) -> None:
        self.durations: dict[str, int] = {}
        self.sent: list[int] = []
        self.refusal: str | None = None
        self._borrower = False

    @property
    def here(self) -> bool:
        """Whether this process has the GPU."""
        return self._borrower

    def GPU(self, duration: int) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
        def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
            self.durations[function.__name__] = duration

            def lent(*args: Any, **kwargs: Any) -> Any:
                if self.refusal is not None:
                    raise gr.Error(
                        self.refusal, title="ZeroGPU quota exceeded", print_exception=False
                    )
                return self._run(function, args, kwargs)

            return lent

        return decorate

    def _run(self, function: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        context = multiprocessing.get_context("fork")
        here, there = context.Pipe()
        process = context.Process(target=self._serve, args=(function, there), daemon=True)
        process.start()
        there.close()
        try:
            question = _dumps((args, kwargs))
            here.send_bytes(question)
            if not here.poll(_PATIENCE):
                raise gr.Error("GPU task aborted", title="ZeroGPU worker error")
            answer = here.recv_bytes()
        except (EOFError, OSError) as error:
            raise gr.Error("GPU task aborted", title="ZeroGPU worker error") from error
        finally:
            process.kill()
            process.join()
        self.sent += [len(question), len(answer)]
        result, failed = pickle.loads(answer)
        if failed is not None:
            raise gr.Error(failed, title="ZeroGPU worker error")
        return result

    def _serve(self, function: Callable[..., Any], connection: Any) -> None:
        self._borrower = True

        def work() -> None:
            try:
                args, kwargs = pickle.loads(connection.recv_bytes())
                answer = _dumps((function(*args, **kwargs), None))
            except Exception as error:
                answer = _dumps((None, type(error).__name__))
            connection.send_bytes(answer)

        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        os._exit(0)  # nothing of the tests' own ends in here


class _Pickler(pickle.Pickler):
    def reducer_override(self, value: Any) -> Any:
        if isinstance(value, torch.Tensor):
            raise TypeError("between processes a tensor is shared memory")
        return NotImplemented


def _dumps(value: Any) -> bytes:
    file = io.BytesIO()
    _Pickler(file).dump(value)
    return file.getvalue()


@pytest.fixture
def lender(monkeypatch: pytest.MonkeyPatch) -> Lender:
    """A lender, on a machine where torch is made to say that there is a GPU: a model that is moved
    there can be run in a lent call only. (It stays where it is, so that no GPU is needed.)"""
    lender = Lender()
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    move = MemoryWrapClassifier.to

    def to(self: MemoryWrapClassifier, device: Any) -> MemoryWrapClassifier:
        if torch.device(device).type != "cuda":
            return move(self, device)
        self.register_buffer("on_gpu", torch.ones(1), persistent=False)
        return self

    monkeypatch.setattr(MemoryWrapClassifier, "to", to)
    for name in ("predict", "predict_inputs", "explain", "encode", "read", "warm_paths"):
        monkeypatch.setattr(MemoryWrapClassifier, name, _only_lent(name, lender))
    return lender


def _only_lent(name: str, lender: Lender) -> Callable[..., Any]:
    method = getattr(MemoryWrapClassifier, name)

    def guarded(self: MemoryWrapClassifier, *args: Any, **kwargs: Any) -> Any:
        assert lender.here == hasattr(self, "on_gpu"), f"{name} runs on the wrong device"
        return method(self, *args, **kwargs)

    return guarded
