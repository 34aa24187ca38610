"""Training and evaluating from the command line."""

from __future__ import annotations

import dataclasses
import json
from functools import partial

import numpy as np
import pytest
import torch
from colours import DATA
from PIL import Image

from memorywrap import MemoryWrapClassifier
from memorywrap.commands import main as cli
from memorywrap.data import sets
from memorywrap.data.sets import DATA_SETS, DataSet, ImageData, Split, Wanted
from memorywrap.loading import load_classifier
from memorywrap.measures import explanation_report

pytestmark = pytest.mark.usefixtures("tiny_training")


@pytest.fixture
def colour_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("MEMORYWRAP_DATA", str(tmp_path / "cache"))
    for part, split in (("train", DATA.train), ("test", DATA.test)):
        for index, (image, label) in enumerate(zip(split.images, split.labels, strict=True)):
            folder = tmp_path / "colours" / part / DATA.classes[label]
            folder.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image.permute(1, 2, 0).numpy()).save(folder / f"{index}.png")
    return f"folder:{tmp_path / 'colours'}"


@pytest.mark.slow
def test_train_and_evaluate_from_the_command_line(tmp_path, colour_folder, capsys, monkeypatch):
    settings = ["--set", "batch=16", "--set", "memory=8", "--set", "learning_rate=0.05"]
    command = ["train", "--data", colour_folder, "--out", str(tmp_path / "run"), *settings]
    assert cli.main([*command, "--epochs", "6", "--samples", "40", "--exam", colour_folder]) == 0
    assert "of 30 images" in capsys.readouterr().out
    checkpoint = str(tmp_path / "run/checkpoint")
    command = ["evaluate", "--checkpoint", checkpoint, "--data", colour_folder, "--json"]
    assert cli.main([*command, "--memories", "3", "--memory", "10"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["images"] == 30 and found["accuracy"] > 60
    assert sum(map(sum, found["confusion"])) == 30
    right = sum(found["confusion"][index][index] for index in range(3))
    assert found["accuracy"] == pytest.approx(100 * right / 30, abs=0.01)
    assert len(found["memories"]["accuracies"]) == 3
    assert set(found["memories"]["agreement"]) == {
        "explanation_accuracy", "accuracy_with_example", "accuracy_with_counterfactual",
    }  # fmt: skip
    assert cli.main([*command[:-1], "--memories", "2"]) == 0
    told = capsys.readouterr().out
    assert "rows: true class" in told and "their top sample is predicted as the image is" in told

    pieces = [*command, "--images", "2", "--patches", "--second", checkpoint]
    assert cli.main(pieces) == 0
    patches = json.loads(capsys.readouterr().out)["patches"]
    assert patches["found"]["images"] == 2
    assert patches["followed"]["percent"] in (100, None)  # it is the very same model
    pieces.remove("--json")
    assert cli.main(pieces) == 0
    assert "the second model changes its answer, too" in capsys.readouterr().out
    pieces.remove("--patches")
    assert cli.main(pieces) == 2
    assert "add --patches" in capsys.readouterr().err

    monkeypatch.setattr(explanation_report, "methods", lambda: ["integrated_gradients"])
    monkeypatch.setattr("memorywrap.explanation.integrated_gradients.MAX_STEPS", 9)
    few = partial(explanation_report.Sizes, perturbed=1, redraws=1)
    monkeypatch.setattr("memorywrap.commands.evaluate.Sizes", few)
    folder = tmp_path / "explained"
    command = [*command[:-1], "--explanations", str(folder), "--images"]
    assert cli.main([*command, "1"]) == 0
    assert (folder / "explanations.md").read_text() in capsys.readouterr().out
    assert {path.suffix for path in folder.iterdir()} == {".md", ".json", ".png"}
    report = json.loads((folder / "explanations.json").read_text())
    assert report["sizes"]["images"] == 1 and report["test"] == 30
    monkeypatch.setattr(explanation_report, "measure_explanations", lambda *_, **__: report)
    assert cli.main([*command, "1", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["explanations"] == report
    with pytest.raises(SystemExit):
        cli.main([*command, "0"])
    assert "argument --images" in capsys.readouterr().err


def test_bad_arguments_end_with_one_sentence(tmp_path, colour_folder, capsys):
    run = ["--out", str(tmp_path / "run")]
    for command, message in [
        (["train", "--data", "folder:/nowhere", *run], "there is no folder /nowhere"),
        (["train", "--data", colour_folder, *run, "--set", "epoch=3"], "unknown setting 'epoch'"),
        (["train", "--data", colour_folder, *run, "--set", "epochs"], "expected NAME=VALUE"),
        (["train", "--data", colour_folder, *run, "--exam", "svhn"], "svhn: no images"),
        (["evaluate", "--checkpoint", "/nowhere", "--data", "svhn"], "no checkpoint folder"),
    ]:
        assert cli.main(command) == 2
        error = capsys.readouterr().err
        assert message in error and "Traceback" not in error


@pytest.mark.slow
def test_an_encoder_for_photographs_is_taught_with_a_folder(tmp_path, capsys):
    rng = np.random.default_rng(0)
    for split, count in (("train", 3), ("test", 2)):
        for name, colour in (("blue", (20, 60, 200)), ("green", (30, 160, 40))):
            folder = tmp_path / "data" / split / name
            folder.mkdir(parents=True)
            for number in range(count):
                pixels = np.clip(rng.normal(colour, 20, (80, 90, 3)), 0, 255).astype(np.uint8)
                Image.fromarray(pixels).save(folder / f"{number}.png")
    arguments = ["train", "--encoder", "efficientnet_lite0", "--out", str(tmp_path / "run")]
    assert (
        cli.main([*arguments, "--data", f"folder:{tmp_path / 'data'}", "--title", "Two colours"])
        == 0
    )
    told = capsys.readouterr().out
    assert "left out in turn" in told and "100.00 % of 4 images" in told
    classifier = MemoryWrapClassifier.from_pretrained(tmp_path / "run/checkpoint", device="cpu")
    assert classifier.config.title == "Two colours" and len(classifier.require_bank()) == 6
    assert cli.main([*arguments, "--data", "digits", "--variant", "std"]) == 2
    assert "expected the variant memory-wrap" in capsys.readouterr().err
    data = ["--data", f"folder:{tmp_path / 'data'}"]
    assert cli.main([*arguments, *data, "--seed", "5"]) == 2  # another model is there
    assert "holds another run (seed is 0 there and 5 here" in capsys.readouterr().err
    ignored = [*data, "--epochs", "3", "--exam", "svhn", "--recipe", "paper"]
    assert cli.main([*arguments, *ignored]) == 2
    assert "no use for --epochs, --exam, --recipe" in capsys.readouterr().err
    # What it was taught is measured again on what it sees, not on pictures of 32 pixels.
    evaluate = [
        "evaluate",
        "--checkpoint",
        str(tmp_path / "run/checkpoint"),
        *data,
        "--memories",
        "2",
    ]
    assert cli.main([*evaluate, "--memory", "4", "--device", "cpu"]) == 0
    assert "100.00 %" in capsys.readouterr().out
    with pytest.raises(ValueError, match="expected 224 x 224 pixels, received 32 x 32"):
        classifier.encode(torch.zeros(1, 3, 32, 32, dtype=torch.uint8))
    (tmp_path / "data/train/blue/2.png").unlink()
    (tmp_path / "data/train/blue/1.png").unlink()
    assert cli.main([*arguments[:-1], str(tmp_path / "other"), *data]) == 2
    assert "class blue: expected two pictures to learn from" in capsys.readouterr().err


@dataclasses.dataclass(frozen=True, kw_only=True)
class Colours(DataSet):
    """Two colours, of 32 pixels."""

    count: int

    def load(self, wanted: Wanted) -> ImageData:
        labels = torch.arange(self.count) % 2
        images = (torch.rand(self.count, 3, 32, 32) * 60).to(torch.uint8)
        images[torch.arange(self.count), labels] += 150
        split = Split(images, labels)
        return ImageData("colours", ("red", "green"), split, split, {"name": "colours"})


@pytest.mark.slow
def test_other_data_is_enlarged_for_an_encoder_for_photographs(tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(DATA_SETS, "colours", Colours(name="colours", count=10))
    arguments = ["train", "--encoder", "efficientnet_lite0", "--out", str(tmp_path / "run")]
    assert cli.main([*arguments, "--data", "colours", "--samples", "8"]) == 0
    assert "colours: 100.00 % of 10 images" in capsys.readouterr().out
    classifier = MemoryWrapClassifier.from_pretrained(tmp_path / "run/checkpoint", device="cpu")
    assert classifier.require_bank().images.shape == (8, 3, 224, 224)
    monkeypatch.setattr(sets, "MOST_BYTES", 9 * 3 * 224 * 224)
    assert cli.main([*arguments[:-1], str(tmp_path / "large"), "--data", "colours"]) == 2
    told = "10 images of 224 x 224 pixels do not fit: expected at most 9"
    assert f"{told}: give fewer, by --samples" in capsys.readouterr().err
    for number in range(10):
        path = tmp_path / "own" / "ab"[number % 2] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8)).save(path)
    own = ["--data", f"folder:{tmp_path / 'own'}", "--samples", "4"]
    assert cli.main([*arguments[:-1], str(tmp_path / "none"), *own]) == 2
    assert f"{told}: put fewer into the folder" in capsys.readouterr().err


@pytest.mark.slow
def test_other_people_s_pictures_are_no_part_of_what_is_taught(tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(DATA_SETS, "colours", Colours(name="colours", count=10, public=True))
    monkeypatch.setenv("MEMORYWRAP_DATA", str(tmp_path))
    arguments = ["train", "--encoder", "efficientnet_lite0", "--out", str(tmp_path / "run")]
    assert cli.main([*arguments, "--data", "colours", "--samples", "8"]) == 0
    capsys.readouterr()
    made = tmp_path / "run/checkpoint"
    assert not list(made.glob("bank*"))
    classifier = load_classifier(made, device="cpu")
    assert classifier.config.bank["size"] == 8
    assert classifier.require_bank().images.shape == (8, 3, 224, 224)
    assert cli.main(["evaluate", "--checkpoint", str(made), "--data", "colours"]) == 0
    assert "100.00 %" in capsys.readouterr().out
