"""Training: it learns, resumes to the same result, and survives what happens to a run."""

from __future__ import annotations

import csv
import json
import os
import signal
from dataclasses import replace

import pytest
import tiny
import torch
from colours import DATA, SHORT, TINY, assert_same, coloured

from memorywrap.checkpoints import folder as checkpoint
from memorywrap.checkpoints.card import model_card
from memorywrap.checkpoints.config import VARIANTS
from memorywrap.classifier import MemoryWrapClassifier
from memorywrap.encoders import ENCODERS, PHOTO
from memorywrap.measures import accuracy
from memorywrap.training import loop as training
from memorywrap.training.augment import Augment
from memorywrap.training.loop import Interrupted, Trainer, epochs_within, train, train_and_measure
from memorywrap.training.runs import RunError, RunFolder
from memorywrap.trust import SIGNALS

pytestmark = pytest.mark.usefixtures("tiny_training")

REAL = tuple(name for name in ENCODERS if name not in PHOTO)  # those come trained
CPU = torch.device("cpu")


def weights(model):
    return {name: value.clone() for name, value in model.state_dict().items()}


def test_a_short_training_learns_and_leaves_a_complete_run_folder(tmp_path):
    result = train_and_measure(
        replace(TINY, recipe=replace(SHORT, epochs=8)), tmp_path, progress=False
    )
    measured = result["measured"]["colours:test"]
    assert measured["accuracy"] > 80 and measured["images"] == 30  # chance is 33
    assert len(measured["redrawn"]) == 2 and min(measured["redrawn"]) > 80
    with (tmp_path / "metrics.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [float(row["epoch"]) for row in rows] == list(range(1, 9))
    assert float(rows[-1]["loss"]) < float(rows[0]["loss"])
    assert json.loads((tmp_path / "config.json").read_text())["recipe"]["epochs"] == 8
    assert result["precision"] == "float32"
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")
    loaded = MemoryWrapClassifier.from_pretrained(tmp_path / "checkpoint")
    assert loaded.config.measured == result["measured"]
    assert f"{measured['accuracy']:.2f} %" in (tmp_path / "checkpoint/README.md").read_text("utf-8")
    assert loaded.bank.labels.bincount().tolist() == [2, 2, 2]
    found = accuracy.predictions(loaded, DATA.test.images)
    assert accuracy.accuracy(found, DATA.test.labels) == pytest.approx(
        measured["accuracy"], abs=0.01
    )
    assert not list(tmp_path.rglob("*.pt")) + list(tmp_path.rglob("*.pkl"))


class StopAfter:
    """Stands in for Ctrl-C: wishes to stop after so many steps."""

    def __init__(self, steps):
        self.left = steps

    def __call__(self):
        self.left -= 1
        return self.left == 0


def interrupted_after(steps, monkeypatch):
    from contextlib import contextmanager

    @contextmanager
    def stop():
        yield StopAfter(steps)

    monkeypatch.setattr(training, "stop_on_interrupt", stop)


@pytest.mark.slow
@pytest.mark.parametrize("steps", [2, 3, 4])  # inside an epoch, at its end, inside the next one
@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_a_resumed_run_equals_an_uninterrupted_one(tmp_path, monkeypatch, steps, optimizer):
    recipe = replace(
        SHORT,
        optimizer=optimizer,
        average=0.9,
        learning_rate=0.01,
        augment=Augment(translate=2, flip=True, cutout=4, contrast=0.2),
    )
    tiny = replace(TINY, recipe=recipe)
    whole = train(tiny, tmp_path / "whole", progress=False)
    with monkeypatch.context() as patch:
        interrupted_after(steps, patch)
        with pytest.raises(Interrupted, match=f"after step {steps} of 6"):
            train(tiny, tmp_path / "cut", progress=False)
    MemoryWrapClassifier.from_pretrained(tmp_path / "cut/checkpoint")  # loadable as it is
    resumed = train(tiny, tmp_path / "cut", progress=False)
    assert_same(weights(whole), weights(resumed))
    assert torch.equal(whole.bank.embeddings, resumed.bank.embeddings)
    whole_rows, resumed_rows = (RunFolder(tmp_path / run).metrics() for run in ("whole", "cut"))
    for expected, found in zip(whole_rows, resumed_rows, strict=True):
        expected.pop("seconds"), found.pop("seconds")
        assert found == pytest.approx(expected)


def test_ctrl_c_finishes_the_step_and_saves(tmp_path, monkeypatch):
    handler = signal.getsignal(signal.SIGINT)
    make_step = Trainer.make_step

    def pressed_in_the_second_step(self, wish):
        if self.step == 1:
            os.kill(os.getpid(), signal.SIGINT)
        return make_step(self, wish)

    monkeypatch.setattr(Trainer, "make_step", pressed_in_the_second_step)
    with pytest.raises(Interrupted, match="the same command resumes it"):
        train(TINY, tmp_path, progress=False)
    assert signal.getsignal(signal.SIGINT) is handler
    assert int(RunFolder(tmp_path).load_state()["step"]) in (
        2,
        3,
    )  # seen after it or after the next
    MemoryWrapClassifier.from_pretrained(tmp_path / "checkpoint")


def test_seeds_make_runs_and_nothing_else_does(tmp_path):
    first = train(TINY, tmp_path / "1", progress=False)
    torch.manual_seed(99)
    again = train(TINY, tmp_path / "2", progress=False)
    other = train(replace(TINY, seed=1), tmp_path / "3", progress=False)
    assert_same(weights(first), weights(again))
    name = "encoder.0.weight"
    assert not torch.equal(weights(first)[name], weights(other)[name])


def test_inputs_and_memory_are_normalised_together_or_apart(tmp_path):
    images, memory = (tiny.images(count, seed)[0] / 255 for count, seed in ((16, 1), (8, 2)))
    model = tiny.classifier().train()
    together, apart = (model(images, memory, apart=flag) for flag in (False, True))
    both = model.embed(torch.cat([images, memory]))
    torch.testing.assert_close(together, model.head(both[:16], both[16:]))
    torch.testing.assert_close(apart, model.head(model.embed(images), model.embed(memory)))
    assert not torch.allclose(together, apart, atol=1e-3)
    seen = []
    for flag in (False, True):
        training = replace(TINY, recipe=replace(SHORT, apart=flag, epochs=1))
        trainer = Trainer(training, RunFolder(tmp_path / str(flag)), CPU)
        trainer.model.embed = lambda pixels, embed=trainer.model.embed: (
            seen.append(len(pixels)) or embed(pixels)
        )
        trainer.make_step()
    assert seen == [24, 16, 8]  # batch 16 and memory 8 in one pass, and in two


def test_the_average_is_of_the_weights_and_starts_quickly(tmp_path):
    trainer = Trainer(replace(TINY, recipe=replace(SHORT, average=0.5)), RunFolder(tmp_path), CPU)
    name = "head.classifier.fc2.weight"
    before = weights(trainer.averaged)[name]
    trainer.make_step()
    after = weights(trainer.model)[name]
    decay = 2 / 11  # of step 1: (1 + 1) / (10 + 1), below the recipe's 0.5
    torch.testing.assert_close(
        weights(trainer.averaged)[name], decay * before + (1 - decay) * after
    )


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize(
    "encoder",
    [name if name == "compact" else pytest.param(name, marks=pytest.mark.slow) for name in REAL],
)
def test_every_encoder_and_variant_steps_and_round_trips(tmp_path, encoder, variant):
    recipe = replace(SHORT, batch=3, memory=3, learning_rate=0.001)
    data = replace(DATA, train=coloured(3, 0), test=coloured(3, 1))
    tiny = replace(TINY, data=data, recipe=recipe, encoder=encoder, variant=variant, bank=3)
    trainer = Trainer(tiny, RunFolder(tmp_path), CPU)
    trainer.make_step()
    assert all(torch.isfinite(value).all() for value in trainer.model.state_dict().values())
    unmoved = [
        name
        for name, value in trainer.model.named_parameters()
        if value.requires_grad and (value.grad is None or not value.grad.any())
    ]
    assert not unmoved
    if variant != "std":
        trainer.averaged.set_bank(trainer.bank())
    trainer.averaged.save_pretrained(tmp_path / "checkpoint")
    loaded = MemoryWrapClassifier.from_pretrained(tmp_path / "checkpoint")
    expected = trainer.averaged.classify(data.test.images)[0]
    found = loaded.classify(data.test.images)[0]
    torch.testing.assert_close(found, expected, rtol=0.05, atol=0.05)  # half precision on disk


def test_a_run_of_before_a_setting_was_known_goes_on(tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        interrupted_after(2, patch)
        with pytest.raises(Interrupted):
            train(TINY, tmp_path, progress=False)
    path = tmp_path / "config.json"
    config = json.loads(path.read_text())
    assert config.pop("precision") == "float32"
    del config["recipe"]["apart"]
    path.write_text(json.dumps(config))
    train(TINY, tmp_path, progress=False)
    path.write_text(json.dumps({**config, "precision": "bfloat16"}))
    with pytest.raises(RunError, match="precision is 'bfloat16' there and 'float32' here"):
        train(TINY, tmp_path, progress=False)


def test_a_finished_run_gives_its_model_again(tmp_path):
    first, again = (train(TINY, tmp_path, progress=False) for _ in range(2))
    assert torch.equal(first.bank.images, again.bank.images)
    assert_same(weights(first), weights(again))


def test_measuring_again_keeps_the_bank_and_the_trust_gauge(tmp_path):
    train_and_measure(TINY, tmp_path, progress=False)
    first = MemoryWrapClassifier.from_pretrained(tmp_path / "checkpoint")
    gauge = {"offset": 0.5, "slopes": dict.fromkeys(SIGNALS, 1.0)}
    first.config = replace(first.config, trust=gauge)
    first.save_pretrained(tmp_path / "checkpoint")
    train_and_measure(TINY, tmp_path, progress=False)
    again = MemoryWrapClassifier.from_pretrained(tmp_path / "checkpoint")
    assert again.bank.keys == first.bank.keys
    assert again.config.trust == gauge


def test_a_crash_while_the_checkpoint_is_written_is_made_good(tmp_path, monkeypatch):
    whole = train(TINY, tmp_path / "whole", progress=False)
    with monkeypatch.context() as patch:
        patch.setattr(
            MemoryWrapClassifier,
            "save_pretrained",
            lambda *_: (_ for _ in ()).throw(OSError("no room")),
        )
        with pytest.raises(OSError, match="no room"):
            train(TINY, tmp_path / "cut", progress=False)
    train(TINY, tmp_path / "cut", progress=False)
    found = MemoryWrapClassifier.from_pretrained(tmp_path / "cut/checkpoint")
    expected = MemoryWrapClassifier.from_pretrained(tmp_path / "whole/checkpoint")
    assert_same(weights(expected), weights(found))
    assert weights(whole)


def test_a_folder_that_cannot_be_written_is_told_before_training(tmp_path, monkeypatch):
    monkeypatch.setattr(Trainer, "make_step", lambda *_: pytest.fail("a step was made"))
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="cannot be written"):
        train(TINY, tmp_path / "file/run", progress=False)


@pytest.mark.parametrize("minutes", [0, -1, float("nan"), float("inf")])
def test_no_epoch_fits_into_no_time(minutes):
    with pytest.raises(
        ValueError, match=rf"minutes: expected a number above 0, received {minutes}"
    ):
        epochs_within(TINY, minutes, "cpu")


def test_the_chance_of_others_is_left_as_it_was(tmp_path):
    torch.manual_seed(7)
    state = torch.get_rng_state()
    train_and_measure(TINY, tmp_path, progress=False)
    assert torch.equal(torch.get_rng_state(), state)
    epochs_within(TINY, 1, "cpu")
    assert torch.equal(torch.get_rng_state(), state)


def test_a_training_may_begin_with_the_weights_of_another(tmp_path):
    first = train(TINY, tmp_path / "first", progress=False)
    start = checkpoint.read(RunFolder(tmp_path / "first").checkpoint)
    on = replace(TINY, start=start, recipe=replace(SHORT, counterfactual_memories=1.0), seed=5)
    trainer = Trainer(on, RunFolder(tmp_path / "on"), CPU)
    for name, value in trainer.model.state_dict().items():
        torch.testing.assert_close(value, first.state_dict()[name], rtol=1e-3, atol=1e-6)
    model = train(on, tmp_path / "on", progress=False)
    told = json.loads((RunFolder(tmp_path / "on").checkpoint / "config.json").read_text())["start"]
    assert told["recipe"]["counterfactual_memories"] == 0 and told["seed"] == TINY.seed
    assert "torch" in told["versions"] and model.config.start["title"] == first.config.title
    assert "began with the weights of" in model_card(model.config)
    with pytest.raises(RunError, match="another run"):  # from fresh weights it is another one
        train(replace(on, start=None), tmp_path / "on", progress=False)


@pytest.mark.parametrize("learns", [False, True])
def test_the_head_can_be_trained_alone(tmp_path, learns):
    train(TINY, tmp_path / "first", progress=False)
    start = checkpoint.read(RunFolder(tmp_path / "first").checkpoint)
    on = replace(TINY, start=start, recipe=replace(SHORT, train_encoder=learns))
    before = Trainer(on, RunFolder(tmp_path / "on"), CPU).model.state_dict()
    after = train(on, tmp_path / "on", progress=False).state_dict()
    same = {name for name, value in before.items() if torch.equal(value, after[name])}
    encoder = {name for name in before if name.startswith("encoder")}
    assert (encoder <= same) == (not learns)
    assert not {name for name in before if name.startswith("head")} & same


def test_who_trained_it_with_which_libraries_is_kept(tmp_path):
    model = train(TINY, tmp_path, progress=False)
    assert "torch" in model.config.versions
    model.config = replace(model.config, versions={"torch": "1.0"})
    model.save_pretrained(tmp_path / "again")
    again = MemoryWrapClassifier.from_pretrained(tmp_path / "again")
    assert again.config.versions == {"torch": "1.0"}
