"""Checkpoints of the paper's published training script: the same answers, or a sentence why not."""

from __future__ import annotations

import hashlib
import pickle
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from entmax import sparsemax
from PIL import Image
from torch import nn
from torch.nn import functional

from memorywrap import MemoryWrapClassifier
from memorywrap.checkpoints.config import Config
from memorywrap.checkpoints.folder import BANK, CheckpointError
from memorywrap.commands import main as cli
from memorywrap.data.banks import digest_of, draw_bank
from memorywrap.data.published import PublishedFile
from memorywrap.data.sampling import reduced
from memorywrap.data.sets import DATA_SETS, DataError, Split, load_data
from memorywrap.imported import import_published
from memorywrap.loading import load_classifier, training_images

STAGES = (
    (1, 16, 1, 1), (6, 24, 2, 1), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1),
)  # fmt: skip
CONV, NORM = {"bias": False}, ("weight", "bias", "running_mean", "running_var")


def block(inputs: int, outputs: int, expansion: int, stride: int) -> nn.Module:
    """A block with the names that the script gives its parts."""
    made, width = nn.Module(), expansion * inputs
    made.conv1, made.bn1 = nn.Conv2d(inputs, width, 1, **CONV), nn.BatchNorm2d(width)
    made.conv2 = nn.Conv2d(width, width, 3, stride, padding=1, groups=width, **CONV)
    made.bn2, made.conv3 = nn.BatchNorm2d(width), nn.Conv2d(width, outputs, 1, **CONV)
    made.bn3, made.stride = nn.BatchNorm2d(outputs), stride
    made.shortcut = nn.Sequential()
    if stride == 1 and inputs != outputs:
        made.shortcut = nn.Sequential(
            nn.Conv2d(inputs, outputs, 1, **CONV), nn.BatchNorm2d(outputs)
        )
    return made


def perceptron(inputs: int) -> nn.Module:
    made = nn.Module()
    made.fc1, made.fc2 = nn.Linear(inputs, 2 * inputs), nn.Linear(2 * inputs, 10)
    return made


class Published(nn.Module):
    """The published network, by its names and its equations."""

    def __init__(self, modality: str, head: str = "classifier"):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 32, 3, padding=1, **CONV), nn.BatchNorm2d(32)
        blocks, channels = [], 32
        for expansion, width, count, stride in STAGES:
            for number in range(count):
                blocks.append(block(channels, width, expansion, stride if number == 0 else 1))
                channels = width
        self.layers = nn.Sequential(*blocks)
        self.conv2, self.bn2 = nn.Conv2d(320, 1280, 1, **CONV), nn.BatchNorm2d(1280)
        self.modality = modality
        if modality == "std":
            self.linear = nn.Linear(1280, 10)
        else:
            self.mw = nn.Module()
            setattr(self.mw, head, perceptron(2560 if modality == "encoder_memory" else 1280))
        for module in self.modules():
            if isinstance(module, nn.BatchNorm2d):  # as if it had been trained
                module.running_mean.normal_(0, 0.1)
                module.running_var.uniform_(0.5, 2)

    def embed(self, images):
        found = functional.relu(self.bn1(self.conv1(images)))
        for one in self.layers:
            inner = functional.relu(one.bn1(one.conv1(found)))
            inner = one.bn3(one.conv3(functional.relu(one.bn2(one.conv2(inner)))))
            found = inner + one.shortcut(found) if one.stride == 1 else inner
        found = functional.relu(self.bn2(self.conv2(found)))
        return functional.avg_pool2d(found, 4).flatten(1)

    def forward(self, images, memory):
        query = self.embed(images)
        if self.modality == "std":
            return self.linear(query), None
        kept = self.embed(memory)
        unit = [one / (one.pow(2).sum(1, keepdim=True) + 1e-6).sqrt() for one in (query, kept)]
        weights = sparsemax(unit[0] @ unit[1].T - 1, dim=1)
        read = weights @ kept
        if self.modality == "encoder_memory":
            read = torch.cat([query, read], 1)
        (head,) = self.mw.children()
        return head.fc2(functional.relu(head.fc1(read))), weights


def written(path: Path, network: nn.Module, **changed) -> Path:
    """A file as the script writes it."""
    entries = {
        "model_state_dict": network.state_dict(), "train_examples": 20, "mem_examples": 12,
        "model_name": "mobilenet", "num_classes": 10, "modality": network.modality, "dataset_name": "SVHN",
    }  # fmt: skip
    torch.save(entries | changed, path)
    return path


@pytest.fixture
def houses(tmp_path, monkeypatch) -> Path:
    """A small copy of SVHN."""
    monkeypatch.setenv("MEMORYWRAP_DATA", str(tmp_path / "data"))
    torch.manual_seed(0)
    for split, count in (("train", 4), ("test", 1)):
        for label in range(10):
            folder = tmp_path / "data/svhn" / split / str(label)
            folder.mkdir(parents=True)
            for number in range(count):
                pixels = torch.randint(256, (32, 32, 3), dtype=torch.uint8).numpy()
                Image.fromarray(pixels).save(folder / f"{number}.png")
    return tmp_path / "data/svhn"


@pytest.mark.parametrize("modality", ["std", "memory", "encoder_memory"])
def test_answers_and_weights_are_those_of_the_published_network(tmp_path, houses, modality):
    torch.manual_seed(1)
    network = Published(modality).eval()
    data = load_data("svhn")
    file = written(tmp_path / "3.pt", network)
    out = tmp_path / "model"
    options = [] if modality == "std" else ["--data", "svhn"]
    assert cli.main(["import", str(file), "--out", str(out), *options]) == 0
    assert not (out / BANK).exists()  # nobody's images travel
    model = load_classifier(out, device="cpu")
    mean, std = (torch.tensor(one)[:, None, None] for one in
                 ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))  # fmt: skip
    images = data.test.images
    memory = images if model.bank is None else model.bank.images
    with torch.no_grad():
        logits, weights = network(*((one / 255 - mean) / std for one in (images, memory)))
    told = model.classify(images)
    torch.testing.assert_close(told.logits, logits, rtol=1e-5, atol=1e-6)
    if weights is not None:
        torch.testing.assert_close(told.weights, weights, rtol=1e-5, atol=1e-6)
        assert len(model.bank) == 12 and int((weights > 0).sum()) > 10


@pytest.fixture
def published_houses(tmp_path, monkeypatch) -> Path:
    """As many images as the script holds out of SVHN and 34 more, as if in the published files."""
    monkeypatch.setenv("MEMORYWRAP_DATA", str(tmp_path / "data"))
    folder = tmp_path / "data/svhn"
    folder.mkdir(parents=True)
    (folder / "all.bin").write_bytes(b"here")
    file = PublishedFile("http://nowhere/all.bin", hashlib.md5(b"here").hexdigest())
    images = torch.randint(256, (6034, 3, 32, 32), dtype=torch.uint8)
    split = Split(images, torch.arange(6034) % 10)
    record = replace(DATA_SETS["svhn"], files=(file,), read=lambda _: (split, split.rows(slice(9))))
    monkeypatch.setitem(DATA_SETS, "svhn", record)
    return folder


def test_with_the_seed_of_its_run_the_memory_is_of_its_own_training_images(
    tmp_path, published_houses
):
    torch.manual_seed(1)
    file = written(tmp_path / "3.pt", Published("encoder_memory"))
    out = tmp_path / "model"
    assert cli.main(["import", str(file), "--out", str(out), "--run", "2"]) == 0
    config = MemoryWrapClassifier.from_pretrained(out, device="cpu").config
    train = load_data("svhn").train
    first = torch.randperm(6034, generator=torch.Generator().manual_seed(2))[:34]
    own = first[torch.randperm(34, generator=torch.Generator().manual_seed(2))][:20]
    assert reduced(train.labels, 20, 2, 6000).tolist() == own.tolist()
    bank = draw_bank(config.bank)
    mine = {image.numpy().tobytes() for image in train.images[own]}
    assert len(bank) == 12 and {image.numpy().tobytes() for image in bank.images} <= mine
    assert config.bank["digest"] == digest_of(bank)
    assert config.data == {"name": "svhn", "samples": 20, "seed": 2, "held_out": 6000}


def test_another_copy_of_its_data_does_not_tell_what_a_run_was_trained_on(tmp_path, houses, capsys):
    file = written(tmp_path / "3.pt", Published("encoder_memory"))
    assert cli.main(["import", str(file), "--out", str(tmp_path / "model"), "--run", "2"]) == 2
    said = capsys.readouterr().err
    assert "svhn" in said and "another copy, of 40 training images" in said
    assert not (tmp_path / "model").exists()


@pytest.mark.parametrize("name", ["SVHN", "CIFAR10", "CINIC10"])
def test_every_data_set_of_the_script_can_be_imported(tmp_path, monkeypatch, name):
    monkeypatch.setenv("MEMORYWRAP_DATA", str(tmp_path))
    file = written(tmp_path / "1.pt", Published("memory"), dataset_name=name)
    config = import_published(file, run=0).config
    assert len(config.classes) == 10 and config.bank["dataset"] == config.data["name"]
    assert config.bank["held_out"] == (10 if name == "CINIC10" else 6000)
    assert config.mean != Config(title="", encoder="compact", classes=["a", "b"]).mean


def test_a_memory_of_a_folder_keeps_the_classes_of_the_model(tmp_path, houses):
    file = written(tmp_path / "1.pt", Published("encoder_memory"))
    data = load_data("svhn")
    backwards = tuple(reversed(data.classes))
    turned = replace(data, name="folder:mine", classes=backwards,
                     train=Split(data.train.images, 9 - data.train.labels))  # fmt: skip
    model = import_published(file, bank=turned)
    assert model.config.classes == data.classes
    where = {image.numpy().tobytes(): int(label) for image, label in
             zip(data.train.images, data.train.labels, strict=True)}  # fmt: skip
    assert model.bank.labels.tolist() == [where[one.numpy().tobytes()] for one in model.bank.images]
    # What it was trained on is the file's to say, and that it does not say which images.
    assert model.config.data["name"] == "svhn" and model.config.bank is None
    with pytest.raises(DataError, match="does not say which 20 images of svhn"):
        training_images(model.config)
    others = replace(data, classes=tuple("abcdefghij"))
    with pytest.raises(CheckpointError, match="expected the classes of the model, 0, 1"):
        import_published(file, bank=others)


@pytest.mark.parametrize(("version", "head"), [("1.0", "fc"), ("1.1.4", "classifier")])
def test_other_names_of_the_same_function_are_read(tmp_path, published_houses, version, head):
    torch.manual_seed(1)
    file = written(tmp_path / "1.pt", Published("memory", head))
    model = import_published(file, run=0)
    assert model.config.variant == "baseline"


def test_names_of_version_1_1_3_are_read_and_those_of_a_read_head_refused(tmp_path):
    network = Published("memory")
    weights = network.state_dict()
    renamed = {
        name.replace("classifier.fc1", "classifier.0").replace(
            "classifier.fc2", "classifier.2"
        ): value
        for name, value in weights.items()
    }
    import_published(written(tmp_path / "1.pt", network, model_state_dict=renamed), run=0)
    renamed["mw.r_head.weight"] = torch.zeros(1)
    file = written(tmp_path / "2.pt", network, model_state_dict=renamed)
    with pytest.raises(CheckpointError, match=r"1\.1\.0 or 1\.1\.1"):
        import_published(file, run=0)


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        (
            {"model_name": "resnet18"},
            "model_name 'resnet18' cannot be imported: expected mobilenet",
        ),
        ({"modality": "other"}, "modality 'other'"),
        ({"dataset_name": "MNIST"}, "expected SVHN or CIFAR10 or CINIC10"),
        ({"num_classes": 100}, "num_classes 100"),
        ({"mem_examples": 0}, "mem_examples: expected 1 to 100,000, found 0"),
        ({"train_examples": 10**6}, "train_examples: expected 1 to 100,000, found 1,000,000"),
        ({"model_state_dict": {"a": 1}}, "other things than tensors"),
        ({"model_state_dict": {1: torch.zeros(1)}}, "other things than tensors"),
        ({"more": 1}, "not a checkpoint of the published script"),
        ({"train_examples": "many"}, "not a checkpoint of the published script"),
        ({"model_state_dict": {}}, "its tensors are not those"),
    ],
)
def test_what_is_another_file_is_refused_in_a_sentence(tmp_path, changed, words):
    file = written(tmp_path / "1.pt", Published("std"), **changed)
    with pytest.raises(CheckpointError, match=words):
        import_published(file)


def test_weights_of_several_gpus_are_read_and_those_that_are_no_numbers_refused(tmp_path):
    network = Published("std")
    weights = {f"module.{name}": value for name, value in network.state_dict().items()}
    file = written(tmp_path / "1.pt", network, model_state_dict=weights)
    alone = import_published(written(tmp_path / "2.pt", network))
    assert import_published(file).fingerprint == alone.fingerprint
    weights["module.linear.bias"] = torch.full((10,), float("nan"))
    with pytest.raises(CheckpointError, match="no finite numbers"):
        import_published(written(tmp_path / "3.pt", network, model_state_dict=weights))


def test_a_checkpoint_that_is_there_is_not_overwritten_and_a_plain_network_has_no_memory(
    tmp_path, houses, capsys
):
    command = ["import", str(written(tmp_path / "1.pt", Published("std"))), "--out", str(tmp_path / "model")]  # fmt: skip
    assert cli.main([*command, "--data", "svhn"]) == 2
    assert "has no memory" in capsys.readouterr().err
    assert cli.main(command) == 0
    assert cli.main(command) == 2
    assert "holds a checkpoint already" in capsys.readouterr().err


def test_nothing_is_unpickled(tmp_path):
    file = tmp_path / "1.pt"
    file.write_bytes(pickle.dumps({"a": Path("x")}))
    with pytest.raises(CheckpointError, match="tensors, numbers and words"):
        import_published(file)
    with pytest.raises(CheckpointError, match="no such file"):
        import_published(tmp_path / "2.pt")


def test_a_memory_has_to_come_from_somewhere(tmp_path):
    file = written(tmp_path / "1.pt", Published("memory"))
    with pytest.raises(CheckpointError, match="say the seed"):
        import_published(file)
