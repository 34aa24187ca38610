"""Checkpoint folders: round trips, and a sentence that names what is wrong with a bad one."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import huggingface_hub
import numpy as np
import pytest
import tiny
import torch
from huggingface_hub.errors import LocalEntryNotFoundError
from PIL import Image
from safetensors.torch import load_file, save_file

from memorywrap import MemoryWrapClassifier
from memorywrap.checkpoints.folder import CheckpointError


def load(folder: str | Path) -> MemoryWrapClassifier:
    return MemoryWrapClassifier.from_pretrained(folder, device="cpu")


def edit_config(folder: Path, **changes) -> None:
    """Change settings of config.json; None removes one."""
    path = folder / "config.json"
    values = {**json.loads(path.read_text()), **changes}
    kept = {name: value for name, value in values.items() if value is not None}
    path.write_text(json.dumps(kept))


def edit_weights(folder: Path, change) -> None:
    path = folder / "model.safetensors"
    weights = load_file(path)
    change(weights)
    save_file(weights, path)


@pytest.mark.parametrize("variant", ["memory-wrap", "baseline", "std"])
def test_what_is_saved_is_loaded(variant: str, tmp_path: Path) -> None:
    settings = {
        "title": "Round trip",
        "mean": (0.4, 0.5, 0.6),
        "recipe": {"epochs": 3},
        "seed": 5,
        # Of when it was trained: who saves it again, with other libraries, does not change that.
        "versions": {"torch": "1.0"},
        "start": {"title": "Earlier", "recipe": {"epochs": 9}},
    }
    before = tiny.classifier(variant, **settings)
    before.save_pretrained(tmp_path / "saved")
    after = load(tmp_path / "saved")
    for name in ("title", "variant", "seed", "recipe", "encoder", "versions", "start"):
        assert getattr(after.config, name) == getattr(before.config, name)
    assert list(after.config.mean) == [0.4, 0.5, 0.6]
    # Weights travel in half precision.
    for name, value in after.state_dict().items():
        torch.testing.assert_close(value, before.state_dict()[name], rtol=1e-3, atol=1e-6)
        assert value.dtype == before.state_dict()[name].dtype
    if before.has_memory:
        torch.testing.assert_close(after.bank.images, before.bank.images)
        torch.testing.assert_close(after.bank.labels, before.bank.labels)
    image = tiny.picture()
    logits = after.predict(image).logits
    torch.testing.assert_close(logits, before.predict(image).logits, rtol=0.02, atol=0.02)


def test_a_second_round_trip_changes_nothing(tiny_checkpoint: Path, tmp_path: Path) -> None:
    first = load(tiny_checkpoint)
    first.save_pretrained(tmp_path / "again")
    second = load(tmp_path / "again")
    assert second.config == first.config
    for name, value in second.state_dict().items():
        assert torch.equal(value, first.state_dict()[name]), name


def test_a_loaded_model_is_ready_to_predict(tiny_checkpoint: Path) -> None:
    classifier = load(tiny_checkpoint)
    assert not classifier.training
    assert not any(parameter.requires_grad for parameter in classifier.parameters())
    assert classifier.bank.predicted is not None


def test_loading_draws_nothing_from_the_chance_of_others(tiny_checkpoint: Path) -> None:
    before = torch.get_rng_state()
    load(tiny_checkpoint)
    assert torch.equal(torch.get_rng_state(), before)


def test_a_removed_sample_stays_removed(tiny_classifier, tmp_path: Path) -> None:
    tiny_classifier.set_bank(tiny_classifier.bank.without([2]))
    tiny_classifier.save_pretrained(tmp_path / "edited")
    pixels = load(tmp_path / "edited").bank.images
    assert len(pixels) == 11
    assert not any(torch.equal(image, tiny_classifier.bank.images[2]) for image in pixels)


def test_weights_too_large_for_half_precision_are_kept(tiny_classifier, tmp_path: Path) -> None:
    statistics = "encoder.layers.0.1.running_var"
    tiny_classifier.state_dict()[statistics].fill_(1e6)
    tiny_classifier.save_pretrained(tmp_path / "large")
    assert float(load(tmp_path / "large").state_dict()[statistics][0]) == 1e6


def test_only_tensors_and_settings_are_read(tiny_checkpoint: Path) -> None:
    """A pickle beside them is not opened: it could run anything."""
    for name in ("pytorch_model.bin", "model.pt", "model.pth", "bank.pkl"):
        (tiny_checkpoint / name).write_bytes(b"not even a pickle")
    load(tiny_checkpoint)
    written = {"config.json", "model.safetensors", "bank.safetensors", "bank.png"}
    assert written < {path.name for path in tiny_checkpoint.iterdir()}


def test_a_bank_by_recipe_is_not_looked_for_in_the_folder(tiny_checkpoint: Path) -> None:
    (tiny_checkpoint / "bank.safetensors").unlink()
    edit_config(tiny_checkpoint, bank={"dataset": "digits", "seed": 0, "size": 10})
    assert load(tiny_checkpoint).bank is None


# --- What can be wrong.


def test_a_folder_that_cannot_be_written_is_named(tiny_classifier, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for folder, why in ((tmp_path / "file", "File exists"), (tmp_path / "file/x", "Not a direct")):
        with pytest.raises(CheckpointError, match=f"{folder} cannot be written: {why}"):
            tiny_classifier.save_pretrained(folder)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "bank.safetensors"])
def test_a_missing_file_is_named(tiny_checkpoint: Path, name: str) -> None:
    (tiny_checkpoint / name).unlink()
    with pytest.raises(CheckpointError, match=f"^tiny: {name} is missing$"):
        load(tiny_checkpoint)


@pytest.mark.parametrize("name", ["model.safetensors", "bank.safetensors"])
@pytest.mark.parametrize("kept", [0, 5, 100, -1])
def test_a_truncated_file_is_named(tiny_checkpoint: Path, name: str, kept: int) -> None:
    data = (tiny_checkpoint / name).read_bytes()
    (tiny_checkpoint / name).write_bytes(data[:kept])
    with pytest.raises(CheckpointError, match=f"^tiny/{name} is damaged: "):
        load(tiny_checkpoint)


@pytest.mark.parametrize("text", ["", "{", "[]", '"tiny"', "\x00\xff"])
def test_a_config_that_is_not_an_object_is_named(tiny_checkpoint: Path, text: str) -> None:
    (tiny_checkpoint / "config.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(CheckpointError, match=r"^tiny/config\.json"):
        load(tiny_checkpoint)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"encodr": "compact"}, "unknown encodr"),
        ({"encoder": None}, "missing encoder"),
        ({"title": 5}, "title: expected text, received 5"),
    ],
)
def test_a_wrong_setting_is_named(tiny_checkpoint: Path, changes: dict, message: str) -> None:
    edit_config(tiny_checkpoint, **changes)
    with pytest.raises(CheckpointError, match=f"^tiny.*{message}"):
        load(tiny_checkpoint)


def test_an_unknown_weight_is_named(tiny_checkpoint: Path) -> None:
    edit_weights(tiny_checkpoint, lambda weights: weights.update({"extra": torch.zeros(1)}))
    with pytest.raises(CheckpointError, match=r"^tiny: model\.safetensors: unknown extra$"):
        load(tiny_checkpoint)


def test_a_missing_weight_is_named(tiny_checkpoint: Path) -> None:
    edit_weights(tiny_checkpoint, lambda weights: weights.pop("head.classifier.fc2.bias"))
    with pytest.raises(CheckpointError, match=r"missing head\.classifier\.fc2\.bias$"):
        load(tiny_checkpoint)


def test_a_weight_of_another_shape_is_named_with_both_shapes(tiny_checkpoint: Path) -> None:
    edit_config(tiny_checkpoint, classes=["red", "green", "blue", "pink"])
    with pytest.raises(CheckpointError, match=r"fc2\.\w+: expected shape \(4,.*found \(3,"):
        load(tiny_checkpoint)


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        ({"labels": torch.zeros(2, dtype=torch.int64)}, "missing images"),
        ({"images": torch.zeros(2, 3, 32, 32), "labels": torch.zeros(2, dtype=torch.int64)}, "uint8"),
        ({"images": torch.zeros(2, 3, 32, 32, dtype=torch.uint8), "labels": torch.tensor([0, 3])},
         "expected labels from 0 to 2, received 3"),
        ({"images": torch.zeros(2, 3, 8, 8, dtype=torch.uint8), "labels": torch.tensor([0, 1])},
         r"expected uint8 \(memory, 3, 32, 32\)"),
        ({"images": torch.zeros(2, 3, 32, 32, dtype=torch.uint8), "labels": torch.tensor([0])},
         "expected as many labels, received 1"),
    ],
)  # fmt: skip
def test_a_bank_that_does_not_fit_is_refused(
    tiny_checkpoint: Path, tensors: dict, message: str
) -> None:
    save_file(tensors, tiny_checkpoint / "bank.safetensors")
    with pytest.raises(CheckpointError, match=f"^tiny.*{message}"):
        load(tiny_checkpoint)


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_a_weight_that_is_no_number_is_named(tiny_checkpoint: Path, value: float) -> None:
    weights = load_file(tiny_checkpoint / "model.safetensors")
    name = sorted(name for name in weights if name.endswith("weight"))[0]
    weights[name].view(-1)[3] = value
    save_file(weights, tiny_checkpoint / "model.safetensors")
    with pytest.raises(CheckpointError, match=f"^tiny: .*{name}: expected finite numbers"):
        load(tiny_checkpoint)


@pytest.mark.parametrize("labels", [torch.zeros(12, 1, dtype=torch.int64), torch.full((12,), 0.5)])
def test_labels_of_another_kind_are_refused(tiny_checkpoint: Path, labels: torch.Tensor) -> None:
    images = load_file(tiny_checkpoint / "bank.safetensors")["images"][:12]
    save_file({"images": images, "labels": labels}, tiny_checkpoint / "bank.safetensors")
    with pytest.raises(CheckpointError, match=r"^tiny: bank labels: expected int64 \(memory,\)"):
        load(tiny_checkpoint)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "bank.safetensors"])
def test_a_pipe_in_the_place_of_a_file_is_not_waited_for(tiny_checkpoint: Path, name: str) -> None:
    (tiny_checkpoint / name).unlink()
    os.mkfifo(tiny_checkpoint / name)
    with pytest.raises(CheckpointError, match=f"^tiny: {name} is not a file$"):
        load(tiny_checkpoint)


def test_a_device_in_the_place_of_a_file_is_not_read(tiny_checkpoint: Path) -> None:
    (tiny_checkpoint / "config.json").unlink()
    (tiny_checkpoint / "config.json").symlink_to("/dev/zero")
    with pytest.raises(CheckpointError, match="is not a file"):
        load(tiny_checkpoint)


@pytest.mark.parametrize(
    ("text", "message"), [("[" * 100_000, "nested too deep"), (" " * 5_000_001, "over 5 MB")]
)
def test_settings_without_bounds_are_refused(
    tiny_checkpoint: Path, text: str, message: str
) -> None:
    (tiny_checkpoint / "config.json").write_text(text)
    with pytest.raises(CheckpointError, match=f"^tiny.*{message}"):
        load(tiny_checkpoint)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"std": [1e-300, 1, 1]}, "std: expected three from"),
        ({"mean": [1e30, 0, 0]}, "mean: expected"),
        ({"image_size": 10**9}, "image_size: expected at most 1024"),
        (
            {"classes": [str(number) for number in range(10_001)]},
            "classes: expected at least two .*at most 10000",
        ),
    ],
)
def test_settings_of_no_model_are_refused(
    tiny_checkpoint: Path, changes: dict, message: str
) -> None:
    edit_config(tiny_checkpoint, **changes)
    with pytest.raises(CheckpointError, match=f"^tiny.*{message}"):
        load(tiny_checkpoint)


# --- Where it is.


def test_a_folder_that_is_not_there_is_not_asked_of_the_hub(monkeypatch, tmp_path: Path) -> None:
    monkeypatch.setattr(huggingface_hub, "snapshot_download", lambda *_, **__: pytest.fail("asked"))
    monkeypatch.chdir(tmp_path)
    tiny.classifier().save_pretrained(tmp_path / "runs" / "digits")
    paths = (tmp_path / "none", "none", "./none", "checkpoints/none", "a/b/c", "../none")
    for name in (
        *paths,
        "./owner/model",
        "~/model",
        "owner/model/",
        "owner/not allowed",
        "owner//x",
    ):
        with pytest.raises(CheckpointError, match=r"there is no checkpoint folder .*OWNER/MODEL"):
            load(name)
    # Two parts, as a model of the Hub has; but such a folder is here.
    with pytest.raises(
        CheckpointError, match=r"no checkpoint folder runs/digts; in runs there .*digits"
    ):
        load("runs/digts")


def test_a_hub_id_is_fetched_without_pickles(monkeypatch, tiny_checkpoint: Path) -> None:
    asked = {}

    def snapshot_download(name: str, *, allow_patterns: list[str]) -> str:
        asked.update(name=name, patterns=allow_patterns)
        return str(tiny_checkpoint)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    assert load("owner/model").config.title == "Tiny"
    assert asked["name"] == "owner/model"
    assert set(asked["patterns"]) == {
        "config.json",
        "model.safetensors",
        "bank.safetensors",
        "familiarity.safetensors",
        "finder.safetensors",
    }


def test_a_local_folder_comes_before_the_hub(monkeypatch, tiny_checkpoint: Path) -> None:
    monkeypatch.setattr(huggingface_hub, "snapshot_download", lambda *_, **__: pytest.fail("asked"))
    monkeypatch.chdir(tiny_checkpoint.parent.parent)
    assert load(f"{tiny_checkpoint.parent.name}/tiny").config.title == "Tiny"


def test_a_run_folder_stands_for_the_checkpoint_in_it(
    tiny_checkpoint: Path, tmp_path: Path
) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run/config.json").write_text("{}")
    shutil.copytree(tiny_checkpoint, tmp_path / "run/checkpoint")
    images = torch.zeros(1, 3, 32, 32, dtype=torch.uint8)
    found, expected = (
        MemoryWrapClassifier.from_pretrained(folder, device="cpu").classify(images).logits
        for folder in (tmp_path / "run", tiny_checkpoint)
    )
    assert torch.equal(found, expected)


def test_a_hub_that_cannot_give_it_is_one_sentence(monkeypatch) -> None:
    def refuse(*_, **__):
        raise LocalEntryNotFoundError("offline")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", refuse)
    with pytest.raises(CheckpointError, match="neither a folder nor a model that the Hugging Face"):
        load("owner/model")


def test_the_picture_of_the_bank_shows_what_the_file_holds(tmp_path: Path) -> None:
    model = tiny.classifier(memory=7)
    model.set_bank(model.bank.without([1, 5]))
    model.save_pretrained(tmp_path)
    kept = load_file(tmp_path / "bank.safetensors")["images"]
    assert len(kept) == 5
    picture = np.asarray(Image.open(tmp_path / "bank.png"))
    for place, image in enumerate(kept):
        tile = picture[: tiny.SIZE, place * tiny.SIZE : (place + 1) * tiny.SIZE]
        assert np.array_equal(tile, image.permute(1, 2, 0).numpy())
    assert (picture[:, 5 * tiny.SIZE :] == 255).all()
