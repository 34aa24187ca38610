"""Which memory samples explain a prediction, and the objects of the web API."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import tiny
import torch

from memorywrap import MemoryBank, MemoryWrapClassifier, Prediction
from memorywrap.checkpoints.config import Config
from memorywrap.explanation.explanation import Explanation
from memorywrap.explanation.methods import has_baseline, methods
from memorywrap.trust import SIGNALS, TrustGauge

CLASSES = ("ant", "bee", "cow")


def prediction(weights: list[float], predicted: list[int], similarity: list[float]) -> Prediction:
    """A prediction of class "bee" from a bank whose samples are predicted as given."""
    size = len(weights)
    bank = MemoryBank(
        torch.zeros(size, 3, 4, 4, dtype=torch.uint8),
        torch.zeros(size, dtype=torch.int64),
        torch.zeros(size, 2),
        predicted=torch.tensor(predicted),
    )
    return Prediction(
        pixels=torch.zeros(3, 4, 4, dtype=torch.uint8),
        classes=CLASSES,
        logits=torch.tensor([0.0, 2.0, 1.0]),
        weights=torch.tensor(weights),
        similarity=torch.tensor(similarity),
        bank=bank,
    )


def test_a_prediction_is_shown_in_a_line() -> None:
    one = prediction([0.2, 0.0, 0.5, 0.3], [1, 1, 0, 1], [0, 0, 0, 0])
    assert repr(one) == "<Prediction: bee, probability 0.665, 3 of 4 memory samples used>"
    no_memory = replace(one, weights=torch.zeros(0), similarity=torch.zeros(0), bank=None)
    assert repr(no_memory) == "<Prediction: bee, probability 0.665>"
    judged = replace(one, gauge=TrustGauge(0.0, (0.0,) * len(SIGNALS)))
    assert "0.665, trust 0.500, 3 of 4" in repr(judged)
    assert "0.665, unlike everything known, 3 of 4" in repr(replace(judged, familiarity=-1.0))


def test_an_explanation_is_shown_without_its_maps(tiny_classifier: MemoryWrapClassifier) -> None:
    found = tiny_classifier.explain(tiny.picture(), steps=2)
    assert "tensor" not in repr(found) and repr(found.prediction) in repr(found)


def test_used_samples_come_by_falling_weight_and_unused_are_left_out() -> None:
    assert prediction([0.2, 0.0, 0.5, 0.3], [1, 1, 0, 1], [0, 0, 0, 0]).used == [2, 3, 0]


def test_example_and_counterfactual_are_the_heaviest_on_their_side() -> None:
    found = prediction([0.2, 0.0, 0.5, 0.3], [1, 1, 0, 1], [0, 0, 0, 0])
    assert (found.example, found.counterfactual, found.contrast) == (3, 2, None)
    assert [sample["role"] for sample in found.to_dict("m")["memory"]] == [
        "counterfactual",
        "example",
        "example",
    ]


def test_without_a_counterfactual_the_most_similar_other_class_is_the_contrast() -> None:
    found = prediction([0.6, 0.4, 0.0, 0.0, 0.0], [1, 1, 1, 0, 2], [0.9, 0.8, 0.7, 0.1, 0.3])
    assert (found.example, found.counterfactual, found.contrast) == (0, None, 4)


def test_a_bank_of_one_predicted_class_has_no_contrast() -> None:
    found = prediction([1.0, 0.0], [1, 1], [0.9, 0.8])
    assert (found.counterfactual, found.contrast) == (None, None)


def test_no_used_sample_of_the_predicted_class_means_no_example() -> None:
    found = prediction([1.0, 0.0], [0, 1], [0.9, 0.8])
    assert (found.example, found.counterfactual) == (None, 0)


def test_the_rival_is_the_class_of_the_counterfactual_or_else_of_the_contrast() -> None:
    assert prediction([0.5, 0.3, 0.2], [1, 2, 0], [0, 0, 0]).rival == 2
    assert prediction([0.6, 0.4, 0.0], [1, 1, 0], [0.9, 0.8, 0.7]).rival == 0
    assert prediction([0.5, 0.5], [1, 1], [0.9, 0.8]).rival is None


def test_classes_that_come_next_have_their_strongest_used_sample_or_none() -> None:
    seen = prediction([0.5, 0.1, 0.4, 0.0], [1, 0, 0, 2], [0, 0, 0, 0])
    assert seen.runners_up() == [(2, None), (0, 2)]
    assert seen.runners_up(1) == [(2, None)]


def test_the_object_of_classify_is_json_with_the_agreed_keys() -> None:
    found = json.loads(json.dumps(prediction([0.25, 0.75], [1, 0], [0, 0]).to_dict("tiny")))
    assert list(found) == [
        "model",
        "predicted",
        "probabilities",
        "trust",
        "memory",
        "example",
        "counterfactual",
        "contrast",
        "without_its_class",
        "unlike",
    ]
    assert found["predicted"] == "bee"
    assert sum(found["probabilities"].values()) == pytest.approx(1)
    assert found["memory"][0] == {
        "index": 1,
        "label": "ant",
        "predicted": "ant",
        "weight": 0.75,
        "role": "counterfactual",
    }


@pytest.fixture(scope="module")
def classifier() -> MemoryWrapClassifier:
    torch.manual_seed(1)
    model = MemoryWrapClassifier(Config(title="tiny", encoder="compact", classes=CLASSES)).eval()
    images = torch.randint(0, 256, (4, 3, 32, 32), dtype=torch.uint8)
    model.set_bank(model.make_bank(images, torch.arange(4) % 3))
    return model


def explanation(classifier: MemoryWrapClassifier, **settings) -> Explanation:
    torch.manual_seed(2)
    pixels = torch.randint(0, 256, (32, 32, 3), dtype=torch.uint8).numpy()
    return classifier.explain(pixels, **settings)


def test_explanation_covers_the_input_and_every_used_sample(classifier) -> None:
    found = explanation(classifier, steps=4)
    assert set(found.memory_contributions) == set(found.prediction.used)
    seen = found.prediction
    assert set(found.memory_maps) == {seen.example, seen.counterfactual, seen.contrast} - {None}
    assert float(found.input_map.sum()) == pytest.approx(found.input_contribution, abs=1e-6)
    for index in {seen.example, seen.counterfactual} - {None}:
        total = float(found.memory_maps[index].sum())
        assert total == pytest.approx(found.memory_contributions[index], abs=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("method", methods())
def test_every_method_gives_maps_for_the_same_samples(classifier, method) -> None:
    found = explanation(classifier, method=method, steps=2)
    seen = found.prediction
    assert set(found.memory_maps) == {seen.example, seen.counterfactual, seen.contrast} - {None}
    assert found.input_map.shape == (3, 32, 32)
    promised = method == "integrated_gradients"
    assert (found.to_dict("m")["completeness_error"] is not None) == promised


@pytest.mark.slow
@pytest.mark.parametrize("method", methods())
def test_the_baseline_matters_to_the_methods_that_have_one(classifier, method) -> None:
    image = tiny.picture()
    maps = [
        classifier.explain(image, method=method, baseline=baseline).input_map
        for baseline in ("white", "black")
    ]
    assert torch.equal(*maps) != has_baseline(method)


def test_unknown_method_is_named(classifier) -> None:
    with pytest.raises(ValueError, match="unknown method 'magic': expected one of integrated"):
        explanation(classifier, method="magic")


def test_a_contrast_has_a_map_although_it_has_no_weight(classifier) -> None:
    torch.manual_seed(2)
    seen = classifier.predict_inputs([torch.randint(0, 256, (3, 32, 32), dtype=torch.uint8)])[0]
    other = (seen.predicted + 1) % 3
    bank = replace(seen.bank, predicted=torch.tensor([seen.predicted, other, other, other]))
    sure = replace(seen, weights=torch.tensor([1.0, 0.0, 0.0, 0.0]), bank=bank)
    found = classifier.explain(sure, steps=2)
    assert sure.contrast in (1, 2, 3)
    assert set(found.memory_maps) == {0, sure.contrast}
    assert set(found.memory_contributions) == {0}


def test_a_fixed_number_of_steps_is_taken(classifier) -> None:
    assert explanation(classifier, steps=5).to_dict("m")["steps"] == 5


def test_an_explanation_without_samples_is_that_of_the_edited_bank(classifier) -> None:
    torch.manual_seed(4)
    image = torch.randint(0, 256, (32, 32, 3), dtype=torch.uint8).numpy()
    gone = classifier.predict(image).used[0]
    once = classifier.explain(image, without=[gone], steps=4)
    assert classifier.explain(classifier.predict(image), without=[gone], steps=4).to_dict(
        "m"
    ) == once.to_dict("m")
    assert classifier.predict(image, without=[gone]).weights[gone] == 0
    assert gone in classifier.predict(image).used  # the bank itself stays as it is
    classifier.set_bank(classifier.bank.without([gone]))
    assert classifier.explain(image, steps=4).to_dict("m") == once.to_dict("m")
    with pytest.raises(IndexError, match="expected an index from 0"):
        classifier.predict(image, without=[999])


@pytest.mark.slow
def test_warm_paths_change_no_explanation(classifier) -> None:
    cold = explanation(classifier)
    classifier.set_bank(classifier.bank)
    classifier.paths()._rows.clear()
    classifier.warm_paths()
    known = len(classifier.paths())
    assert known >= 12 * len(classifier.bank)
    warm = explanation(classifier)
    torch.testing.assert_close(warm.input_map, cold.input_map)
    assert warm.memory_contributions == pytest.approx(cold.memory_contributions, rel=1e-4)


def test_new_weights_get_a_new_path_cache(classifier) -> None:
    before = explanation(classifier, steps=3)
    kept = classifier.paths()
    explanation(classifier, steps=3)
    assert classifier.paths() is kept
    with torch.no_grad():
        for parameter in classifier.encoder.parameters():
            parameter.mul_(1.05)
    after = explanation(classifier, steps=3)
    assert classifier.paths() is not kept
    assert not torch.allclose(after.input_map, before.input_map, rtol=1e-3)


def test_a_model_without_memory_cannot_be_explained_by_memory() -> None:
    config = Config(title="plain", encoder="compact", classes=CLASSES, variant="std")
    with pytest.raises(ValueError, match="no memory bank"):
        explanation(MemoryWrapClassifier(config).eval())


def test_samples_that_are_asked_for_have_maps_too(classifier) -> None:
    """Maps, added up, are contributions."""
    first = classifier.predict(tiny.picture())
    unused = int(first.weights.argmin())  # and where it was used, it is no more
    prediction = classifier.predict(first, without=[unused])
    plain = classifier.explain(prediction, steps=4)
    wanted = next(index for index in prediction.used if index not in plain.memory_maps)
    more = classifier.explain(prediction, steps=4, also=[wanted, unused, prediction.example])
    assert set(more.memory_maps) == {*plain.memory_maps, wanted}
    total = float(more.memory_maps[wanted].sum())
    assert total == pytest.approx(more.memory_contributions[wanted], rel=1e-3, abs=1e-5)
