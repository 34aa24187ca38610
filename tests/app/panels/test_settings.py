"""The settings of the maps."""

from __future__ import annotations

import pytest

from app.gradio_patches import GuardedBlocks
from app.panels.settings import Settings


@pytest.mark.parametrize(
    ("method", "baseline", "steps"),
    [
        ("integrated_gradients", True, True),
        ("occlusion", True, False),
        ("saliency", False, False),
    ],
)
def test_what_a_method_has_no_use_for_cannot_be_set(method, baseline, steps):
    with GuardedBlocks():
        settings = Settings()
    updates = settings.chosen(method)
    assert updates[settings.baseline]["interactive"] is baseline
    assert updates[settings.steps]["interactive"] is steps
