"""Tensors kept under a key."""

from __future__ import annotations

import pytest
import torch
from image_folders import write_images

from memorywrap.data.cache import cache_file, cached, data_folder, keep, kept
from memorywrap.data.sets import load_data

ONES = {"ones": torch.ones(3)}


def test_what_is_kept_is_not_made_again():
    assert kept("a/b") is None
    assert torch.equal(cached("a/b", lambda: ONES)["ones"], ONES["ones"])
    found = cached("a/b", lambda: pytest.fail("made again"))
    assert torch.equal(found["ones"], ONES["ones"])
    keep("a/b", {"ones": torch.zeros(3)})
    assert not kept("a/b")["ones"].any()


def test_a_damaged_file_is_made_again():
    keep("key", ONES)
    cache_file("key").write_bytes(b"cut short")
    assert torch.equal(cached("key", lambda: ONES)["ones"], ONES["ones"])
    assert torch.equal(kept("key")["ones"], ONES["ones"])


def test_a_key_cannot_leave_the_cache(data):
    assert data_folder() == data
    assert cache_file("of a:folder").parent == data / "cache"


def test_a_cache_that_cannot_be_written_costs_nothing_but_time(tmp_path, data):
    data.parent.mkdir(exist_ok=True)
    data.write_text("a file where the folder should be")
    write_images(tmp_path / "pets", {"cat": 5, "dog": 5})
    assert len(load_data(f"folder:{tmp_path / 'pets'}").train) == 8


def test_the_data_folder_is_the_one_named_or_in_the_users_cache(monkeypatch, tmp_path):
    monkeypatch.delenv("MEMORYWRAP_DATA")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert data_folder() == tmp_path / "xdg/memorywrap"
    monkeypatch.setenv("MEMORYWRAP_DATA", str(tmp_path / "named"))
    assert data_folder() == tmp_path / "named"
