"""What may be taught, and whom a taught model belongs to."""

from __future__ import annotations

import base64
import gc
import json
import os
import shutil
import weakref
from types import SimpleNamespace
from unittest.mock import Mock

import pytest
import torch

import memorywrap
from app import shelf
from app.lanes import NotNow
from app.models import Models
from app.own import Album, Lent
from app.panels import teach
from app.panels.teach import Teach
from app.session import Session
from app.shelf import ModelError
from app.uploads import ArgumentError
from memorywrap import Lesson, MemoryWrapClassifier, looked_at

JPEG = "data:image/jpeg;base64," + base64.b64encode(b"\xff\xd8 a picture").decode()


@pytest.fixture
def panel():
    """The panel without its page."""
    panel = Teach.__new__(Teach)
    panel._story = SimpleNamespace(session="session", notice="notice")
    panel.desk = "desk"
    return panel


def test_pictures_are_kept_for_the_session_and_bounded(panel, monkeypatch):
    monkeypatch.setattr(teach, "_MOST_PICTURES", 3)
    session = Session()
    for number in range(10):
        panel.added(session, json.dumps({"pictures": {str(number): JPEG}}))
    assert [number for number in range(10) if number in session.pictures] == [4, 5, 6, 7, 8, 9]
    assert session.pictures[9] == b"\xff\xd8 a picture"


@pytest.mark.parametrize(
    "value",
    [
        None, "", "[]", "{}", '{"pictures": []}', "[" * 100_000, json.dumps({"pictures": {"a": JPEG}}),
        json.dumps({"pictures": {"1": "http://a.host/"}}), json.dumps({"pictures": {"1": 5}}),
        json.dumps({"pictures": {"1": "data:image/jpeg;base64,A"}}),
        json.dumps({"pictures": {"1": "data:image/jpeg;base64," + "A" * 200_000}}),
    ],
)  # fmt: skip
def test_what_is_no_picture_is_refused(panel, value):
    with pytest.raises(ArgumentError, match="reload"):
        panel.added(Session(), value)


@pytest.mark.parametrize(
    ("classes", "words"),
    [
        (None, "two to 10"),
        ({"a": [1, 2]}, "two to 10"),
        ({str(number): [1, 2] for number in range(11)}, "two to 10"),
        ({"a": [1, 2], " ": [3, 4]}, "name"),
        ({"a": [1, 2], "b" * 50: [3, 4]}, "name"),
        ({"a": [1, 2], "b": 5}, "name"),
        ({"a": [1, 2], "b": [3]}, "class b needs two"),
        ({"a": [1, 2], "b": [3, 4] * 300}, "400 pictures"),
    ],
)
def test_classes_that_cannot_be_taught_are_refused(classes, words):
    with pytest.raises(ArgumentError, match=words):
        teach._checked(classes)


def test_pictures_that_are_gone_are_asked_for_again(panel):
    session = Session(pictures=album_of(3), lent=Mock())
    told = panel.taught(session, json.dumps({"classes": {"a": [0, 1], "b": [2, 7, 9]}}))
    asked = json.loads(told[panel.desk].props["missing"])
    assert asked["numbers"] == [7, 9] and session.lent is not None  # what was taught before stays
    again = panel.taught(session, json.dumps({"classes": {"a": [0, 1], "b": [2, 7, 9]}}))
    assert json.loads(again[panel.desk].props["missing"]) != asked  # so that it is noticed
    for number in (True, "1", [1]):
        with pytest.raises(ArgumentError, match="reload"):
            teach._checked({"a": [0, 1], "b": [2, number]})


@pytest.mark.parametrize(("count", "said"), [(2, True), (8, False)])
def test_of_few_pictures_it_says_that_the_estimate_is_low(count, said):
    classes = {"a": list(range(count)), "b": list(range(count, 2 * count + 3))}
    labels = [0] * count + [1] * (count + 3)
    told = teach._told(classes, labels, [1, *labels[1:]])
    assert ("do better than they did" in told) == said
    assert "do better" not in teach._told(classes, labels, labels)  # than all of them


def test_the_pictures_of_all_visitors_have_a_bound(monkeypatch):
    monkeypatch.setattr("app.own._OF_ALL", 100)
    monkeypatch.setattr(Album, "_all", weakref.WeakSet())
    first, second = album_of(0), album_of(0)
    first.put(1, b"x" * 60)
    with pytest.raises(NotNow, match="try again"):
        second.put(1, b"x" * 60)
    first.keep(set())
    second.put(1, b"x" * 60)


def album_of(count: int) -> Album:
    album = Album(1000)
    for number in range(count):
        album.put(number, b"")
    return album


@pytest.mark.slow
def test_a_taught_model_is_nobody_elses_and_goes_with_its_owner(
    page_checkpoints, monkeypatch, tmp_path
):
    monkeypatch.setattr(shelf, "_LENT", 1)
    models = Models(page_checkpoints)
    own = models.get("digits")
    before = list(models.names)
    pictures = {"a/b": [b"one", b"two"], "..": [b"three"]}
    session = Session(lent=Lent(models, own, pictures, tmp_path / "files"))
    name = session.lent.name
    assert models.get(name) is own and models.title(name) == own.config.title
    assert models.names == before and name not in str(models.describe())
    with pytest.raises(ModelError, match="try again"):
        Lent(models, own, pictures, tmp_path / "files")
    shutil.unpack_archive(session.lent.file, tmp_path / "again")
    again = MemoryWrapClassifier.from_pretrained(tmp_path / "again/model", device="cpu")
    assert len(again.require_bank()) == len(own.require_bank())
    assert (tmp_path / "again/pictures/a%2Fb/001.jpg").read_bytes() == b"two"
    assert (tmp_path / "again/pictures/%2E%2E/000.jpg").read_bytes() == b"three"
    os.utime(session.lent.file, (0, 0))
    session.stay()
    assert session.lent.file.stat().st_mtime > 0  # while it is in use, it can be saved
    del session
    gc.collect()
    with pytest.raises(ModelError, match="press Teach again"):
        models.get(name)
    assert not list((tmp_path / "files").iterdir())
    models.close()


@pytest.mark.slow
def test_taught_models_read_one_copy_of_the_encoder(page_checkpoints, tmp_path):
    models, lent = Models(page_checkpoints), []
    images, labels = (
        torch.randint(256, (4, 3, 224, 224), dtype=torch.uint8),
        torch.tensor([0, 0, 1, 1]),
    )
    features = looked_at(images)
    for seed in range(2):
        taught = memorywrap.teach(
            Lesson(images, labels, ["a", "b"], features), seed=seed
        ).classifier
        before = taught.classify(images).logits
        lent.append(Lent(models, taught, {}, tmp_path))
        torch.testing.assert_close(taught.classify(images).logits, before)
    first, second = (models.get(one.name).encoder.encoder.parameters() for one in lent)
    assert [one.data_ptr() for one in first] == [one.data_ptr() for one in second]
