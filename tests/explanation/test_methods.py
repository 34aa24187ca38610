"""A new attribution method is one function under a name."""

from __future__ import annotations

import tiny
import torch

from memorywrap.explanation.methods import METHODS, Maps, has_baseline, methods, register_method


def test_a_registered_method_is_offered_and_explains(monkeypatch) -> None:
    monkeypatch.setitem(METHODS, "brightness", None)  # taken out again after the test

    @register_method("brightness")
    def brightness(embed, layer, cases, *, baseline="white", steps=None, cache=None):
        return [
            Maps(case.image, {at: case.memory[at] for at in case.shown}, None) for case in cases
        ]

    assert methods()[0] == "integrated_gradients" and "brightness" in methods()
    assert not has_baseline("brightness")
    model = tiny.classifier()
    found = model.explain(tiny.picture(), method="brightness")
    torch.testing.assert_close(found.input_map, found.prediction.pixels / 255)
    assert found.completeness_error is None and found.to_dict("tiny")["method"] == "brightness"
