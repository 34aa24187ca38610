"""Teaching a model where to look: what a square is worth, and that it is learned."""

from __future__ import annotations

import pytest
import tiny

from memorywrap.classifier import MemoryWrapClassifier
from memorywrap.commands.main import main
from memorywrap.data.digits import render_digits
from memorywrap.data.scenes import Scene, compose_scene
from memorywrap.training import finding
from memorywrap.training.finding import _wanted, learn_to_find, squares_of


@pytest.fixture(autouse=True)
def own_font(monkeypatch):
    monkeypatch.setattr("memorywrap.data.scenes.find_fonts", lambda: [])
    monkeypatch.setattr("memorywrap.data.others.find_fonts", lambda: [])


def test_what_a_square_is_worth():
    scene = Scene(compose_scene(0, fonts=[]).image, ((100, 40, 140, 80),), (3,))
    assert _wanted(scene, (101, 41, 141, 81)) == (1, 1)
    assert _wanted(scene, (108, 40, 148, 80)) == (-1, -1)  # a fifth beside it
    assert _wanted(scene, (120, 40, 160, 80)) == (0, -1)  # half of it
    assert _wanted(scene, (110, 50, 130, 70)) == (0, -1)  # too near
    assert _wanted(scene, (60, 0, 180, 120)) == (0, -1)  # too far
    assert _wanted(scene, (0, 0, 40, 40)) == (0, 0)


def test_squares_are_of_every_kind():
    squares = squares_of(range(12), "learn")
    assert squares.inputs.shape[1:] == (3, 32, 32) and len(squares.inputs) == len(squares.wanted)
    kinds = {tuple(row) for row in squares.wanted.tolist()}
    assert {(1, 1), (0, 0), (0, -1)} <= kinds


@pytest.mark.slow
def test_it_learns_to_tell_a_digit_from_what_is_none():
    digits, _ = render_digits(400, 0, fonts=[], workers=1)
    finder = learn_to_find(digits, strangers=["surface"], scenes=12, others=150, steps=60)
    assert not finder.training
    others = finding.render_others(60, 5, ["surface"], "test")[0]
    fresh, _ = render_digits(60, 9, fonts=[], workers=1)
    known, unknown = (finder.scores(part)[:, 0, 0] for part in (fresh, others))
    assert float((known[:, None] > unknown).double().mean()) > 0.8


def test_the_command_teaches_measures_and_saves(tmp_path, capsys, monkeypatch):
    tiny.classifier(classes=tuple("0123456789")).save_pretrained(tmp_path / "m")
    monkeypatch.setenv("MEMORYWRAP_DATA", str(tmp_path / "data"))
    monkeypatch.setattr("memorywrap.data.rendered.find_fonts", lambda: [])
    command = [
        "finder",
        "--checkpoint",
        str(tmp_path / "m"),
        "--test-scenes",
        "3",
        "--device",
        "cpu",
    ]
    few = ["--scenes", "4", "--digits", "20", "--others", "20", "--steps", "2"]
    assert main([*command, *few]) == 0
    assert "a digit of the number:" in capsys.readouterr().out
    model = MemoryWrapClassifier.from_pretrained(tmp_path / "m", device="cpu")
    assert model.finder is not None
    assert main([*command, "--measure"]) == 0
    tiny.classifier().save_pretrained(tmp_path / "other")
    assert main(["finder", "--checkpoint", str(tmp_path / "other")]) == 2
    assert "digits 0 to 9" in capsys.readouterr().err
