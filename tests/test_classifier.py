"""The classifier: what it accepts, what it encodes and when, its bank and its variants."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tiny
import torch
from torch import Tensor, nn

from memorywrap import MemoryBank, MemoryWrapClassifier, Prediction
from memorywrap.devices import choose_device
from memorywrap.encoders.small import CompactEncoder
from memorywrap.images import ImageError


@contextmanager
def encoded() -> Iterator[list[int]]:
    """Notes how many images go through an encoder, one entry per pass."""
    batches: list[int] = []

    def note(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        if isinstance(module, CompactEncoder):
            batches.append(len(inputs[0]))

    hook = nn.modules.module.register_module_forward_hook(note)
    try:
        yield batches
    finally:
        hook.remove()


def same(one: Prediction, other: Prediction) -> bool:
    return torch.allclose(one.logits, other.logits, atol=1e-5)


# --- What it accepts.


def test_one_image_in_every_form_gives_one_prediction(
    tiny_classifier: MemoryWrapClassifier, tmp_path: Path
) -> None:
    image = tiny.picture()
    image.save(tmp_path / "image.png")
    data = io.BytesIO()
    image.save(data, "PNG")
    forms = [tmp_path / "image.png", str(tmp_path / "image.png"), data.getvalue(), np.array(image)]
    expected = tiny_classifier.predict(image)
    assert isinstance(expected, Prediction)
    for form in forms:
        assert same(tiny_classifier.predict(form), expected), type(form)


def test_a_list_gives_a_list_in_its_order(tiny_classifier: MemoryWrapClassifier) -> None:
    images = [tiny.picture(1), np.array(tiny.picture(2)), tiny.picture(3)]
    found = tiny_classifier.predict(images)
    assert len(found) == 3
    for image, prediction in zip(images, found, strict=True):
        assert same(tiny_classifier.predict(image), prediction)
    assert tiny_classifier.predict([]) == []
    assert len(tiny_classifier.predict([images[0]])) == 1


def test_the_box_says_where_to_look(tiny_classifier: MemoryWrapClassifier) -> None:
    image = tiny.picture(size=(64, 40))
    seen = tiny_classifier.predict(image, box=(5, 3, 37, 35))
    assert same(seen, tiny_classifier.predict(image.crop((5, 3, 37, 35))))
    central = tiny_classifier.predict(image, box=(12, 0, 52, 40))
    assert same(tiny_classifier.predict(image), central)


def test_what_is_no_image_is_refused(tiny_classifier: MemoryWrapClassifier) -> None:
    with pytest.raises(ImageError, match=r"no image file named nothing\.png"):
        tiny_classifier.predict([tiny.picture(), "nothing.png"])
    with pytest.raises(ImageError, match=r"expected uint8 .* received float64 \(4, 4, 3\)"):
        tiny_classifier.predict(np.zeros((4, 4, 3)))


def test_predicting_leaves_the_callers_image_alone(tiny_classifier: MemoryWrapClassifier) -> None:
    array = np.array(tiny.picture())
    before = array.copy()
    tiny_classifier.predict(array)
    np.testing.assert_array_equal(array, before)


# --- What it computes.


def test_a_prediction_equals_the_training_pass_over_input_and_bank(
    tiny_classifier: MemoryWrapClassifier,
) -> None:
    inputs, _ = tiny.images(4, seed=8)
    logits = tiny_classifier.forward(inputs / 255.0, tiny_classifier.bank.images / 255.0)
    found = tiny_classifier.predict_inputs(list(inputs))
    torch.testing.assert_close(torch.stack([one.logits for one in found]), logits)


def test_bank_embeddings_are_computed_once(tiny_checkpoint: Path) -> None:
    with encoded() as batches:
        classifier = MemoryWrapClassifier.from_pretrained(tiny_checkpoint, device="cpu")
    assert batches == [12]
    with encoded() as batches:
        classifier.predict(tiny.picture())
        classifier.predict([tiny.picture(2), tiny.picture(3)])
    assert batches == [1, 2]


def test_bank_edits_encode_nothing(tiny_classifier: MemoryWrapClassifier) -> None:
    with encoded() as batches:
        tiny_classifier.set_bank(tiny_classifier.bank.without([0, 5]).relabelled(1, 2))
    assert batches == []
    assert tiny_classifier.bank.predicted is not None


@pytest.mark.parametrize("variant", ["memory-wrap", "baseline"])
def test_leave_one_out_predictions_equal_removing_the_sample(variant: str) -> None:
    classifier = tiny.classifier(variant)
    bank = classifier.bank
    slow = [
        classifier.classify(bank.images[i : i + 1], bank.without([i]))[0].argmax().item()
        for i in range(len(bank))
    ]
    assert len(set(slow)) > 1
    assert bank.predicted.tolist() == slow


def test_leave_one_out_predictions_follow_an_edit(tiny_classifier: MemoryWrapClassifier) -> None:
    edited = tiny_classifier.completed(tiny_classifier.bank.without([0, 3, 6, 9]))
    kept = edited.available.nonzero().squeeze(1)
    compact = MemoryBank(edited.images[kept], edited.labels[kept], edited.embeddings[kept])
    rebuilt = tiny_classifier.completed(compact)
    assert edited.predicted[kept].tolist() == rebuilt.predicted.tolist()
    assert not torch.equal(edited.predicted, tiny_classifier.bank.predicted)


def test_after_a_removal_only_the_predictions_that_rested_on_the_sample_are_made_anew(
    tiny_classifier: MemoryWrapClassifier,
) -> None:
    bank = tiny_classifier.bank
    index = int(bank.rests_on.sum(dim=0).argmax())
    removed = bank.without([index])
    unknown = removed.predicted < 0
    assert torch.equal(unknown, bank.rests_on[:, index]) and 0 < unknown.sum() < len(bank)
    assert torch.equal(removed.predicted[~unknown], bank.predicted[~unknown])
    whole = tiny_classifier.completed(replace(removed, predicted=None, rests_on=None))
    again = tiny_classifier.completed(removed)
    assert torch.equal(again.predicted, whole.predicted)
    assert torch.equal(again.rests_on, whole.rests_on)


def test_a_prediction_is_read_again_without_encoding_its_input(
    tiny_classifier: MemoryWrapClassifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = tiny_classifier.predict(tiny.picture())
    slow = tiny_classifier.predict(tiny.picture(), without=before.used[:2])
    swapped = tiny_classifier.bank.added(before.pixels[None], [1], tiny_classifier.query(before))
    with monkeypatch.context() as patch:
        patch.setattr(tiny_classifier, "encode", lambda *_: pytest.fail("it was encoded again"))
        assert tiny_classifier.predict(before) is before
        fast = tiny_classifier.predict(before, without=before.used[:2])
        twice = tiny_classifier.predict(fast, without=fast.used[:1])
        added = tiny_classifier.predict(before, bank=swapped)
    torch.testing.assert_close(fast.weights, slow.weights)
    torch.testing.assert_close(fast.logits, slow.logits)
    assert fast.example == slow.example and fast.counterfactual == slow.counterfactual
    assert not {*before.used[:2], fast.used[0]} & set(twice.used)
    assert added.used[0] == len(tiny_classifier.bank)


@pytest.mark.parametrize("kind", [list, np.array, torch.tensor])
def test_samples_to_do_without_may_be_an_array(
    tiny_classifier: MemoryWrapClassifier, kind: Callable[[list[int]], Sequence[int]]
) -> None:
    before = tiny_classifier.predict(tiny.picture())
    assert 0 in before.used
    for given in (before, tiny.picture()):
        assert 0 not in tiny_classifier.predict(given, without=kind([0])).used
        assert 0 in tiny_classifier.predict(given, without=kind([])).used


@pytest.mark.slow
def test_explanations_are_in_full_precision_whatever_is_asked_around_them(
    tiny_classifier: MemoryWrapClassifier,
) -> None:
    seen = tiny_classifier.predict(tiny.picture())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        tiny_classifier.warm_paths()
        within = tiny_classifier.explain(seen, steps=8)
    after = tiny_classifier.explain(seen, steps=8)
    assert within.input_contribution == after.input_contribution
    assert within.completeness_error == after.completeness_error


def test_new_weights_encode_the_input_of_a_prediction_again(
    tiny_classifier: MemoryWrapClassifier,
) -> None:
    before = tiny_classifier.predict(tiny.picture())
    with torch.no_grad():
        next(tiny_classifier.encoder.parameters()).mul_(-1)
    fresh = tiny_classifier.predict(tiny.picture(), without=[0])
    torch.testing.assert_close(tiny_classifier.predict(before, without=[0]).logits, fresh.logits)
    assert not torch.allclose(fresh.logits, before.logits)


def test_removed_samples_are_never_used(tiny_classifier: MemoryWrapClassifier) -> None:
    image = tiny.picture()
    before = tiny_classifier.predict(image)
    tiny_classifier.set_bank(tiny_classifier.bank.without(before.used[:2]))
    after = tiny_classifier.predict(image)
    assert not set(before.used[:2]) & set(after.used)
    assert float(after.weights.sum()) == pytest.approx(1)


def test_a_bank_of_one_sample_looks_at_itself() -> None:
    classifier = tiny.classifier(memory=1)
    assert classifier.predict(tiny.picture()).used == [0]
    assert classifier.bank.predicted.shape == (1,)


def test_predicting_keeps_mode_and_gradients(tiny_classifier: MemoryWrapClassifier) -> None:
    tiny_classifier.predict(tiny.picture())
    tiny_classifier.explain(tiny.picture(), steps=2)
    assert not tiny_classifier.training
    assert all(parameter.grad is None for parameter in tiny_classifier.parameters())


# --- Variants, devices, and what does not fit.


def test_the_baseline_reads_memory_only() -> None:
    classifier = tiny.classifier("baseline", memory=1)
    one, other = classifier.predict(
        [tiny.picture(1), tiny.images(1)[0][0].permute(1, 2, 0).numpy()]
    )
    torch.testing.assert_close(one.logits, other.logits)


def test_the_plain_variant_predicts_without_memory() -> None:
    classifier = tiny.classifier("std")
    prediction = classifier.predict(tiny.picture())
    found = prediction.to_dict("plain")
    assert sum(found["probabilities"].values()) == pytest.approx(1)
    assert (found["memory"], found["example"], found["contrast"]) == ([], None, None)
    assert not classifier.has_memory


def test_a_classifier_without_a_bank_says_so() -> None:
    classifier = MemoryWrapClassifier(tiny.classifier().config).eval()
    with pytest.raises(ValueError, match=r"no memory bank yet: call set_bank"):
        classifier.predict(tiny.picture())


def test_bank_samples_that_do_not_fit_the_model_are_refused(
    tiny_classifier: MemoryWrapClassifier,
) -> None:
    images, labels = tiny.images(3)
    with pytest.raises(ValueError, match=r"expected labels from 0 to 2, received 3"):
        tiny_classifier.make_bank(images, labels + 1)
    with pytest.raises(ValueError, match=r"\(memory, 3, 32, 32\), received .* \(3, 3, 16, 16\)"):
        tiny_classifier.make_bank(images[..., :16, :16], labels)


def test_auto_takes_a_device_that_is_there() -> None:
    assert choose_device("cpu") == torch.device("cpu")
    if not torch.cuda.is_available() and not torch.backends.mps.is_available():
        assert choose_device("auto") == torch.device("cpu")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_cuda_gives_the_answers_of_the_cpu(tiny_checkpoint: Path) -> None:
    cpu = MemoryWrapClassifier.from_pretrained(tiny_checkpoint, device="cpu")
    cuda = MemoryWrapClassifier.from_pretrained(tiny_checkpoint, device="cuda")
    one, other = cpu.explain(tiny.picture(), steps=4), cuda.explain(tiny.picture(), steps=4)
    torch.testing.assert_close(one.prediction.logits, other.prediction.logits, atol=0.01, rtol=0.01)
    assert other.input_map.device.type == "cpu"


@pytest.mark.parametrize("device", ["tpu9", "cuda:99x"])
def test_an_unknown_device_is_named(device):
    with pytest.raises(ValueError, match=f"expected auto, cpu, cuda or mps, received {device}"):
        choose_device(device)


def test_a_class_that_is_not_there_cannot_be_contrasted():
    with pytest.raises(ValueError, match="expected a class from 0 to 2, received -1"):
        tiny.classifier().explain(tiny.picture(), against=-1)


def test_a_mirrored_model_embeds_image_and_mirror_image_alike() -> None:
    plain = tiny.classifier()
    model = tiny.classifier(mirror=True)
    pixels, _ = tiny.images(3, seed=9)
    expected = (plain.encode(pixels) + plain.encode(pixels.flip(3))) / 2
    assert not torch.allclose(expected, plain.encode(pixels))
    torch.testing.assert_close(model.encode(pixels), expected)
    torch.testing.assert_close(model.bank.embeddings, model.encode(model.bank.images))
    torch.testing.assert_close(model.encode(pixels.flip(3)), model.encode(pixels))
    model.encoder.requires_grad_(True)  # gradients that are to reach the weights take another way
    with torch.enable_grad():
        torch.testing.assert_close(model.embed(pixels / 255.0).detach(), expected)
    # Training sees images as they come.
    torch.manual_seed(0)
    trained = model.train().embed(pixels / 255.0)
    torch.testing.assert_close(trained, plain.train().embed(pixels / 255.0))


@pytest.mark.slow
def test_a_mirrored_model_is_explained_exactly_and_keeps_its_setting(tmp_path) -> None:
    model = tiny.classifier(mirror=True)
    explanation = model.explain(tiny.picture())
    assert explanation.converged and explanation.completeness_error < 0.005
    model.save_pretrained(tmp_path)
    again = MemoryWrapClassifier.from_pretrained(tmp_path, device="cpu")
    assert again.config.mirror
    with pytest.raises(ValueError, match="mirror: expected true or false"):
        tiny.classifier(mirror=1)
