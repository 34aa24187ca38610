"""Measures of explanations on cases with known answers: the truth scores best, chance scores chance."""

from __future__ import annotations

import copy
from types import SimpleNamespace

import pytest
import tiny
import torch
from torch import Tensor

from memorywrap import MemoryWrapClassifier
from memorywrap.checkpoints.config import Config
from memorywrap.data.sets import Split
from memorywrap.measures import accuracy, explanations
from memorywrap.measures.explanation_report import measure_explanations
from memorywrap.measures.explanations import (
    agreement,
    area,
    auroc,
    bank_predictions,
    culprit_scores,
    infidelity_and_sensitivity,
    memory_deletion,
    pixel_curve,
    pixel_order,
    random_order,
    randomisation_check,
    rank_correlation,
    redrawn_agreements,
)
from memorywrap.measures.trust_report import fit_gauge


@pytest.fixture(scope="module")
def classifier() -> MemoryWrapClassifier:
    torch.manual_seed(5)
    config = Config(title="t", encoder="compact", classes=("a", "b", "c"))
    model = MemoryWrapClassifier(config).eval().requires_grad_(False)
    images = torch.randint(0, 256, (6, 3, 32, 32), dtype=torch.uint8)
    model.set_bank(model.make_bank(images, torch.arange(6) % 3))
    return model


def test_agreement_by_hand() -> None:
    # Top samples agree on inputs 0, 1 and 2; of those 0 and 1 are right; of 3 and 4, only 4 is.
    found = agreement(
        torch.tensor([0, 1, 2, 0, 1]), torch.tensor([0, 1, 2, 1, 2]), torch.tensor([0, 1, 0, 2, 1])
    )
    assert found.accuracy == pytest.approx(3 / 5)
    assert found.explanation_accuracy == pytest.approx(3 / 5)
    assert found.accuracy_with_example == pytest.approx(2 / 3)
    assert found.accuracy_with_counterfactual == pytest.approx(1 / 2)


def test_agreement_without_counterfactuals_has_nothing_to_count() -> None:
    same = torch.tensor([0, 1])
    assert agreement(same, same, same).accuracy_with_counterfactual is None


def test_agreement_with_redrawn_memories_is_of_those_that_accuracy_is_of(
    classifier, monkeypatch
) -> None:
    for module in (explanations, accuracy):  # several memories for few images
        monkeypatch.setattr(module, "SHARING", 4)
    torch.manual_seed(1)
    train = Split(torch.randint(256, (12, 3, 32, 32), dtype=torch.uint8), torch.arange(12) % 3)
    images, labels = torch.randint(256, (10, 3, 32, 32), dtype=torch.uint8), torch.arange(10) % 3
    drawing = {"memories": 2, "memory": 5, "seed": 3}
    queries = classifier.encode(images)
    found = redrawn_agreements(classifier, queries, labels, train, **drawing)
    right = accuracy.redrawn_accuracies(classifier, queries, labels, train, **drawing)
    for number, one in enumerate(found):
        share = one.explanation_accuracy
        parts = ((share, one.accuracy_with_example), (1 - share, one.accuracy_with_counterfactual))
        told = sum(part * inside for part, inside in parts if inside is not None)
        assert 100 * told == pytest.approx(right[number])
        assert 100 * one.accuracy == pytest.approx(right[number])
        # By hand, of the first four images.
        rows = next(iter(accuracy.memories_of(train, 10, 5, 3, number)))
        own = copy.copy(classifier)
        own.set_bank(own.make_bank(train.images[rows], train.labels[rows]))
        shown = own.predict_inputs(list(images[:4]))
        tops = [own.require_bank().predicted[one.used[0]] for one in shown]
        agrees = sum(int(top) == one.predicted for top, one in zip(tops, shown, strict=True))
        assert 0 <= 10 * share - agrees <= 6.001


def test_auroc_is_one_for_the_truth_half_for_ties_and_nought_for_the_reverse() -> None:
    positive = torch.tensor([False, True, False, True])
    truth = positive.double()
    assert auroc(truth, positive) == 1.0
    assert auroc(torch.zeros(4), positive) == 0.5
    assert auroc(-truth, positive) == 0.0


def weighted(weights: Tensor):
    return lambda pictures: (pictures * weights).sum(dim=(1, 2, 3))


def test_deleting_by_the_true_weights_falls_fastest_and_inserting_rises_fastest() -> None:
    torch.manual_seed(0)
    weights, picture, nothing = torch.rand(3, 8, 8), torch.ones(3, 8, 8), torch.zeros(3, 8, 8)
    truth = pixel_order(weights)
    areas = {
        (name, insert): float(
            pixel_curve(weighted(weights), picture, order, nothing, insert=insert).mean()
        )
        for name, order in (
            ("truth", truth),
            ("chance", random_order(64, 1)),
            ("reverse", truth.flip(0)),
        )
        for insert in (False, True)
    }
    assert areas["truth", False] < areas["chance", False] < areas["reverse", False]
    assert areas["truth", True] > areas["chance", True] > areas["reverse", True]


def test_pixel_curves_begin_and_end_with_all_and_nothing() -> None:
    picture, nothing = torch.ones(3, 4, 4), torch.zeros(3, 4, 4)
    deleted = pixel_curve(weighted(picture), picture, random_order(16, 0), nothing, points=5)
    torch.testing.assert_close(deleted, torch.tensor([48.0, 36.0, 24.0, 12.0, 0.0]))
    inserted = pixel_curve(
        weighted(picture), picture, random_order(16, 0), nothing, insert=True, points=5
    )
    torch.testing.assert_close(inserted, deleted.flip(0))


def test_the_area_counts_half_of_each_end() -> None:
    assert area(torch.tensor([1.0, 0.0])) == pytest.approx(0.5)
    assert area(torch.tensor([1.0, 0.5, 0.5])) == pytest.approx(0.625)


def test_memory_deletion_equals_removing_samples_from_the_bank(classifier) -> None:
    seen = classifier.predict_inputs([classifier.bank.images[0]])[0]
    curve = memory_deletion(classifier, seen, [0, 4, 2])
    assert float(curve[0]) == pytest.approx(seen.probabilities[seen.predicted], abs=1e-6)
    query = classifier.encode(seen.pixels[None])
    for count, removed in ((1, [0]), (2, [0, 4]), (3, [0, 4, 2])):
        logits = classifier.read(query, classifier.bank.without(removed))[0]
        expected = logits.softmax(dim=1)[0, seen.predicted]
        assert float(curve[count]) == pytest.approx(float(expected), abs=1e-6)


def test_the_last_sample_is_never_removed(classifier) -> None:
    seen = classifier.predict_inputs([classifier.bank.images[0]])[0]
    assert len(memory_deletion(classifier, seen, range(6))) == 6


def test_the_gradient_of_a_linear_score_is_faithful_and_noise_is_not() -> None:
    torch.manual_seed(0)
    weights, picture = torch.randn(3, 6, 6), torch.rand(3, 6, 6)
    truth = infidelity_and_sensitivity(
        weighted(weights), picture, lambda pictures: weights.expand_as(pictures)
    )
    noise = infidelity_and_sensitivity(weighted(weights), picture, torch.randn_like, seed=1)
    assert truth == pytest.approx((0.0, 0.0), abs=1e-6)
    assert noise[0] > 0.1
    assert noise[1] > 0.1


def test_exact_attribution_from_a_baseline_is_faithful_too() -> None:
    torch.manual_seed(0)
    weights, picture = torch.randn(3, 6, 6), torch.rand(3, 6, 6)
    start = torch.ones(3, 6, 6)
    picture[:, 0] = 1.0  # no way to go there

    def exact(pictures: Tensor) -> Tensor:
        return weights * (pictures - start)

    faithful, _ = infidelity_and_sensitivity(weighted(weights), picture, exact, start=start)
    assert faithful == pytest.approx(0.0, abs=1e-6)
    as_gradient, _ = infidelity_and_sensitivity(weighted(weights), picture, exact)
    assert as_gradient > 0.2


def test_a_constant_map_correlates_with_nothing() -> None:
    assert rank_correlation(torch.zeros(4), torch.arange(4.0)) == 0.0


def test_rank_correlation_by_hand() -> None:
    rising = torch.tensor([[1.0, 2.0], [3.0, 4.0]])
    assert rank_correlation(rising, rising.exp()) == pytest.approx(1.0)
    assert rank_correlation(rising, -rising) == pytest.approx(-1.0)
    # Ranks 0 1 2 3 against 1 0 3 2: 1 - 6 * 4 / (4 * 15) = 0.6.
    assert rank_correlation(rising, torch.tensor([[2.0, 1.0], [4.0, 3.0]])) == pytest.approx(0.6)
    first, last = torch.tensor([1.0, 0, 0, 0, 0]), torch.tensor([0, 0, 0, 0, 1.0])
    assert rank_correlation(first, last) == pytest.approx(-0.25)  # of equals the mean rank


def test_randomising_weights_moves_a_faithful_map_and_not_an_edge_detector(classifier) -> None:
    pixels = classifier.bank.images[1]

    def faithful(model: MemoryWrapClassifier) -> Tensor:
        return model.explain(model.predict_inputs([pixels])[0], method="saliency").input_map[None]

    def blind(model: MemoryWrapClassifier) -> Tensor:
        return pixels[None].float().diff(dim=3, append=pixels[None, ..., :1].float())

    before = {name: value.clone() for name, value in classifier.state_dict().items()}
    found, constant = (randomisation_check(classifier, method) for method in (faithful, blind))
    assert found[-1][1] < 0.5
    assert all(correlation == pytest.approx(1.0) for _, correlation in constant)
    assert [name for name, _ in found][:2] == ["head.classifier.fc2", "head.classifier.fc1"]
    for name, value in classifier.state_dict().items():
        torch.testing.assert_close(value, before[name])


def test_a_culprit_speaks_for_classes_other_than_its_label() -> None:
    def seen(predicted: int, weights: list[float], contributions: dict[int, float]):
        prediction = SimpleNamespace(
            predicted=predicted, used=list(contributions), weights=torch.tensor(weights)
        )
        return SimpleNamespace(prediction=prediction, memory_contributions=contributions)

    labels = torch.tensor([0, 1, 1])
    explanations = [
        seen(0, [0.5, 0.25, 0.25], {0: 2.0, 1: 3.0, 2: -1.0}),
        seen(1, [0.75, 0.25, 0.0], {0: 0.5, 1: 4.0}),
    ]
    assert culprit_scores(explanations, labels).tolist() == [0.5, 3.0, -1.0]
    assert culprit_scores(explanations, labels, by_weight=True).tolist() == [0.75, 0.25, 0.25]


@pytest.mark.slow
def test_randomising_weights_reaches_those_of_attention() -> None:
    model = tiny.classifier(encoder="vit")
    randomised = []
    randomisation_check(model, lambda one: randomised.append(one) or torch.rand(1, 3, 32, 32))
    before = model.state_dict()
    same = {
        name for name, value in randomised[-1].state_dict().items() if value.equal(before[name])
    }
    assert {
        name for name, value in before.items() if value.ndim > 1 and value.std() > 0
    } & same == set()


def test_bank_predictions_with_an_auxiliary_memory_are_those_of_reading_it(classifier) -> None:
    images = torch.randint(0, 256, (5, 3, 32, 32), dtype=torch.uint8)
    auxiliary = classifier.make_bank(images, torch.zeros(5, dtype=torch.int64))
    found = bank_predictions(classifier, auxiliary)
    expected = classifier.classify(classifier.bank.images, auxiliary)[0].argmax(dim=1)
    assert found.tolist() == expected.tolist()
    assert bank_predictions(classifier).tolist() == classifier.bank.predicted.tolist()


def test_the_chance_of_perturbations_is_its_own() -> None:
    generator = torch.Generator().manual_seed(1)
    weights, picture = torch.randn(2, 3, 4, 4, generator=generator)

    def score(pictures: torch.Tensor) -> torch.Tensor:
        return (weights * pictures.pow(2)).sum(dim=(1, 2, 3))

    def gradient(pictures: torch.Tensor) -> torch.Tensor:
        return 2 * weights * pictures.detach()

    state = torch.get_rng_state()
    first = infidelity_and_sensitivity(score, picture, gradient, seed=3)
    torch.rand(1)
    assert infidelity_and_sensitivity(score, picture, gradient, seed=3) == first
    assert infidelity_and_sensitivity(score, picture, gradient, seed=4) != first
    torch.set_rng_state(state)
    infidelity_and_sensitivity(score, picture, gradient, seed=3)
    assert torch.equal(torch.get_rng_state(), state)


def test_a_model_without_memory_is_told_so() -> None:
    plain = tiny.classifier("std")
    for ask in (
        lambda: bank_predictions(plain),
        lambda: memory_deletion(plain, plain.predict(tiny.picture()), [0]),
        lambda: measure_explanations(plain, Split(*tiny.images(3)), Split(*tiny.images(3))),
        lambda: fit_gauge(plain, Split(*tiny.images(30)), {}, name="tiny", seed=0),
    ):
        with pytest.raises(
            ValueError, match=r"without memory|no memory bank: expected variant|has no memory, so"
        ):
            ask()


def test_one_sided_positives_have_no_area() -> None:
    scores = torch.tensor([1.0, 2.0])
    for positive in ([True, True], [False, False]):
        with pytest.raises(ValueError, match="positive: expected both values, received"):
            auroc(scores, torch.tensor(positive))
