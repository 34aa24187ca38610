"""The trust gauge: signals and measures by hand, a gauge that is known in advance, and its travels."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import pytest
import tiny
import torch

from memorywrap import MemoryWrapClassifier, loading
from memorywrap.checkpoints.folder import CheckpointError
from memorywrap.commands.main import main
from memorywrap.data import scenes
from memorywrap.data.banks import digest_of
from memorywrap.data.sets import Split
from memorywrap.images import to_pil
from memorywrap.measures import trust_report
from memorywrap.measures.trust_report import compare, fit_gauge, is_better, markdown
from memorywrap.trust import (
    SIGNALS,
    TrustGauge,
    calibration_error,
    fit,
    risk_coverage,
    signals,
)

GAUGE = TrustGauge(0.5, (1.0, 0.5, -0.5, 0.25, -1.0, 2.0, 0.5))


def by_name(found: torch.Tensor) -> dict[str, float]:
    return dict(zip(SIGNALS, found[0].tolist(), strict=True))


def test_signals_by_hand() -> None:
    found = by_name(
        signals(
            torch.tensor([[3.0, 1.0, 0.0]]),
            torch.tensor([[0.75, 0.25, 0.0]]),
            torch.tensor([[0.9, 0.7, 0.5]]),
            torch.tensor([0, 1, 0]),
        )
    )
    assert found["margin"] == 2.0
    assert found["agreement"] == 0.75
    assert found["similarity"] == pytest.approx(0.7)  # (0.9 + 0.5) / 2
    assert found["similarity ahead"] == pytest.approx(0.0)
    assert found["spread"] == pytest.approx(-0.75 * math.log(0.75) - 0.25 * math.log(0.25))
    assert found["highest weight"] == 0.75
    assert found["familiarity"] == 0.0  # not known


def test_samples_removed_from_the_bank_do_not_count() -> None:
    gone = -math.inf
    logits = torch.tensor([[3.0, 1.0]])
    found = signals(
        logits,
        torch.tensor([[0.5, 0.0, 0.5]]),
        torch.tensor([[0.9, gone, 0.5]]),
        torch.tensor([0, 0, 1]),
    )
    left = signals(
        logits, torch.tensor([[0.5, 0.5]]), torch.tensor([[0.9, 0.5]]), torch.tensor([0, 1])
    )
    torch.testing.assert_close(found, left)


def test_a_bank_without_the_predicted_class_has_finite_signals() -> None:
    found = signals(
        torch.tensor([[3.0, 1.0]]),
        torch.tensor([[1.0, 0.0]]),
        torch.tensor([[0.9, 0.5]]),
        torch.tensor([1, 1]),
    )
    assert found.isfinite().all()
    # Judged by all samples, then.
    assert by_name(found)["similarity"] == pytest.approx(0.7)
    assert by_name(found)["similarity ahead"] == pytest.approx(0.0)


def test_risk_coverage_by_hand() -> None:
    confidence = torch.tensor([0.9, 0.8, 0.7, 0.6])
    right = torch.tensor([True, False, True, False])
    assert risk_coverage(confidence, right).tolist() == pytest.approx([0, 1 / 2, 1 / 3, 1 / 2])


def test_the_order_among_equals_makes_no_difference() -> None:
    confidence = torch.tensor([0.9, 0.9, 0.1])
    first = risk_coverage(confidence, torch.tensor([True, False, True]))
    second = risk_coverage(confidence, torch.tensor([False, True, True]))
    torch.testing.assert_close(first, second)
    assert first.tolist() == pytest.approx([1 / 2, 1 / 2, 1 / 3])


def test_calibration_error_is_nought_for_true_shares_and_large_for_boasts() -> None:
    right = torch.tensor([True] * 30 + [False] * 30)  # in whatever order equals come
    assert calibration_error(torch.full((60,), 0.5), right, bins=3) == pytest.approx(0.0)
    assert calibration_error(torch.full((60,), 0.9), right, bins=3) == pytest.approx(0.4)
    # Right on average and wrong at both ends: bins tell.
    upside_down = torch.where(right, 0.1, 0.9)
    assert calibration_error(upside_down, right, bins=2) == pytest.approx(0.9)
    assert calibration_error(upside_down, right, bins=1) == pytest.approx(0.0, abs=1e-6)


def chances(count: int, gauge: TrustGauge, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Signals, and answers that are right as often as the gauge says."""
    generator = torch.Generator().manual_seed(seed)
    found = torch.randn(count, len(SIGNALS), generator=generator).double()
    return found, torch.rand(count, generator=generator) < gauge.probability(found)


def test_fitting_finds_the_gauge_that_made_the_answers() -> None:
    fitted = fit(*chances(40_000, GAUGE))
    assert fitted.offset == pytest.approx(GAUGE.offset, abs=0.08)
    assert fitted.slopes == pytest.approx(GAUGE.slopes, abs=0.08)


def test_a_signal_that_never_varies_is_left_out() -> None:
    found, right = chances(2000, GAUGE)
    found[:, 2] = 0.3 + 1e-12 * found[:, 2]
    assert fit(found, right).slopes[2] == 0.0


def test_what_cannot_be_learned_from_is_said() -> None:
    found, _ = chances(10, GAUGE)
    with pytest.raises(ValueError, match="both right and wrong"):
        fit(found, torch.ones(10, dtype=torch.bool))


def test_what_is_unlike_everything_known_is_not_judged() -> None:
    found, right = chances(2000, GAUGE)
    unlike = found[:, SIGNALS.index("familiarity")] < 0
    assert fit(found, right).slopes == fit(found, right & ~unlike).slopes
    report = compare(GAUGE, found, torch.rand(2000), right & ~unlike)
    alone = compare(GAUGE, found[~unlike], torch.rand(int((~unlike).sum())), right[~unlike])
    assert report["gauge"]["calibration_error"] == alone["gauge"]["calibration_error"]
    assert report["unlike"] == pytest.approx(float(unlike.double().mean()))
    assert report["trusted"] < alone["trusted"]  # of all, and none of those that are unlike
    # They come last: as many answers as are judged are wrong no more often than without the others.
    judged = round(100 * float((~unlike).double().mean()))
    assert report["gauge"]["curve"][judged] == pytest.approx(alone["gauge"]["curve"][-1], abs=0.01)


def test_the_truth_beats_a_confidence_that_knows_nothing_and_loses_to_the_better() -> None:
    found, right = chances(800, GAUGE)
    blind = torch.rand(800, generator=torch.Generator().manual_seed(1))
    report = compare(GAUGE, found, blind, right)
    assert report["gauge"]["area"] < report["softmax"]["area"]
    assert report["interval"][1] < 0
    assert report["gauge"]["calibration_error"] < 0.05
    best = compare(GAUGE, found, right.double(), right)  # it knows
    assert best["interval"][0] > 0
    assert not is_better({"sets": {"one": report, "other": best}})
    assert is_better({"sets": {"one": report}})
    assert not is_better({"sets": {}})  # of nothing, nothing is better


def test_a_prediction_judges_itself_by_its_evidence() -> None:
    model = tiny.classifier(trust=GAUGE.to_dict())
    pixels, _ = tiny.images(6, seed=8)
    evidence = signals(*model.classify(pixels), model.bank.predicted)
    expected = GAUGE.probability(evidence).tolist()
    predictions = model.predict_inputs(list(pixels))
    assert [prediction.trust for prediction in predictions] == pytest.approx(expected)
    assert predictions[0].to_dict("tiny")["trust"] == pytest.approx(expected[0])
    assert len(set(expected)) > 1


def test_nothing_is_claimed_of_what_is_unlike_everything_known() -> None:
    one = tiny.classifier(trust=GAUGE.to_dict()).predict(tiny.picture())
    assert one.trust is not None
    assert replace(one, familiarity=1.0).trust is not None
    surest, least = (TrustGauge(odds, (0.0,) * len(SIGNALS)) for odds in (20.0, -20.0))
    assert replace(one, gauge=surest).right_in_100 == 99  # nothing is certain
    assert replace(one, gauge=least).right_in_100 == 1
    unlike = replace(one, familiarity=-1.0)
    assert unlike.right_in_100 is None
    assert unlike.trust is None and unlike.to_dict("tiny")["trust"] is None


def test_without_a_gauge_nothing_is_claimed() -> None:
    assert tiny.classifier().predict(tiny.picture()).trust is None


def test_the_gauge_is_for_the_bank_it_was_fitted_on() -> None:
    model = tiny.classifier(trust=GAUGE.to_dict())
    before = model.predict(tiny.picture())
    assert before.trust is not None
    assert model.predict(tiny.picture(), without=before.used[:1]).trust is None
    model.set_bank(model.bank.without(before.used[:1]))
    assert model.predict(tiny.picture()).trust is None


def test_new_weights_make_the_gauge_void() -> None:
    model = tiny.classifier(trust=GAUGE.to_dict())
    assert model.predict(tiny.picture()).trust is not None
    model.load_state_dict(model.state_dict())  # the same ones
    assert model.predict(tiny.picture()).trust is not None
    model.load_state_dict(tiny.classifier(seed=1).state_dict())
    assert model.predict(tiny.picture()).trust is None
    assert model.config.trust is None


def test_a_bank_drawn_from_another_copy_of_its_data_makes_the_gauge_void(tmp_path, monkeypatch):
    model = tiny.classifier(trust=GAUGE.to_dict())
    drawn = Split(model.bank.images, model.bank.labels)
    monkeypatch.setattr(loading, "draw_bank", lambda *_, **__: drawn)
    for digest, is_void in ((digest_of(drawn), False), ("another", True)):
        bank = {"dataset": "svhn", "seed": 0, "size": len(drawn), "digest": digest}
        model.config = replace(model.config, bank=bank)
        model.save_pretrained(tmp_path / digest)
        found = loading.load_classifier(tmp_path / digest, device="cpu")
        assert (found.predict(tiny.picture()).trust is None) == is_void


def test_the_gauge_travels_with_the_checkpoint(tmp_path) -> None:
    model = tiny.classifier(trust=GAUGE.to_dict())
    model.save_pretrained(tmp_path / "m")
    again = MemoryWrapClassifier.from_pretrained(tmp_path / "m", device="cpu")
    assert TrustGauge.from_dict(again.config.trust) == GAUGE
    # Weights travel in half precision.
    expected = model.predict(tiny.picture()).trust
    assert again.predict(tiny.picture()).trust == pytest.approx(expected, abs=0.01)


@pytest.mark.parametrize(
    "trust",
    [
        {},
        {"offset": 1.0},
        {"offset": 1.0, "slopes": {"margin": 1.0}},
        {"offset": math.inf, "slopes": dict.fromkeys(SIGNALS, 1.0)},
        {"offset": 0.0, "slopes": dict.fromkeys(SIGNALS, "1")},
        [1.0],
    ],
)
def test_a_damaged_gauge_is_refused(trust, tmp_path) -> None:
    tiny.classifier().save_pretrained(tmp_path / "m")
    config = json.loads((tmp_path / "m" / "config.json").read_text())
    (tmp_path / "m" / "config.json").write_text(json.dumps({**config, "trust": trust}))
    with pytest.raises(CheckpointError, match="trust"):
        MemoryWrapClassifier.from_pretrained(tmp_path / "m")


def test_a_gauge_is_compared_on_images_that_it_was_not_fitted_on(monkeypatch) -> None:
    model = tiny.classifier(classes=("blue", "green", "red"))
    pixels, _ = tiny.images(60, seed=4)
    labels = model.classify(pixels)[0].argmax(dim=1)
    labels[::3] = (labels[::3] + 1) % 3
    compared = []
    monkeypatch.setattr(
        "memorywrap.measures.trust_report.fit", lambda found, right: compared.append(found) or GAUGE
    )
    monkeypatch.setattr(
        "memorywrap.measures.trust_report.compare",
        lambda gauge, found, *_, **__: compared.append(found),
    )
    fit_gauge(model, Split(pixels, labels), {})
    fitted, kept = ({tuple(row) for row in part.tolist()} for part in compared)
    assert len(fitted) == len(kept) == 30
    assert not fitted & kept


@pytest.mark.slow
def test_doubt_is_learned_from_all_that_the_page_meets_and_measured_on_others(monkeypatch) -> None:
    for name, count in (
        ("LEARNED", 80),
        ("_LEARNED_STRANGERS", 80),
        ("_SCENES", 3),
        ("_SCENES_TEST", 2),
        ("_SCENES_KNOWN", 1),
        ("_TEST_STRANGERS", 30),
        ("_TWINS", 5),
        ("_MOSAICS", 4),
    ):
        monkeypatch.setattr(f"memorywrap.measures.trust_report.{name}", count)
    monkeypatch.setattr("memorywrap.familiarity._STEPS", 60)
    looked_at = []
    compose = scenes.compose_scene
    monkeypatch.setattr(
        "memorywrap.data.scenes.compose_scene",
        lambda seed, part: looked_at.append((seed, part)) or compose(seed, part, fonts=[]),
    )
    learned_from = []
    monkeypatch.setattr(
        trust_report, "fit", lambda found, right: learned_from.append(found) or fit(found, right)
    )
    model = tiny.classifier()
    pixels, _ = tiny.images(60, seed=4)
    labels = model.classify(pixels)[0].argmax(dim=1)
    labels[::3] = (labels[::3] + 1) % 3
    gauge, report = fit_gauge(
        model,
        Split(pixels, labels),
        {},
        known=pixels,
        strangers=("letter", "surface"),
        mosaics=True,
        in_scenes=True,
        unlike={"mine": pixels[:7]},
        name="tiny",
    )
    assert model.familiarity is not None and len(gauge.slopes) == len(SIGNALS)
    squares = [
        sum(len(compose(seed, part, fonts=[]).labels) for seed in range(count))
        for part, count in (("learn", 3), ("test", 2))
    ]
    # What is called unlike is not learned from, and so not counted.
    (offered,) = learned_from
    parts = offered.split([30, squares[0], 3, 10])
    assert list(report["fitted"].values()) == [int((part[:, -1] >= 0).sum()) for part in parts]
    assert 0 < sum(report["fitted"].values()) < len(offered)
    assert [found["images"] for found in report["sets"].values()] == [30, squares[1], 2]
    known = [(3, "learn")]  # looked at by nothing that is fitted or measured
    measured = [(seed, "learn") for seed in range(3)] + [(seed, "test") for seed in range(2)]
    assert sorted(looked_at) == sorted(known + measured)
    doubted = report["strangers"]
    assert doubted["mine"]["images"] == 7
    assert doubted["mosaics of its photographs"]["images"] == 4
    assert sum(found["images"] for name, found in doubted.items() if name != "mine") == 39
    # Letters are further from blurred colours than these are from one another.
    assert doubted["letters, rendered"]["unlike"] > report["sets"]["tiny, other half"]["unlike"]
    assert "| mine | 7 |" in markdown(report)


def test_most_strangers_are_mosaics_where_there_are_photographs() -> None:
    pictures = torch.full((5, 3, 32, 32), 7, dtype=torch.uint8)
    found = trust_report._none_of_them(9, 0, ["surface"], pictures)
    assert [bool((one == 7).all()) for one in found] == [False] * 3 + [True] * 6
    alone = trust_report._none_of_them(9, 0, ["surface"], None)
    assert not any((one == 7).all() for one in alone) and len(alone) == 9


def test_a_plain_network_has_no_evidence_to_judge() -> None:
    with pytest.raises(ValueError, match="no memory"):
        fit_gauge(tiny.classifier("std"), Split(*tiny.images(4)), {})


@pytest.fixture
def photos(tmp_path):
    """A checkpoint, and a data set folder of images under the names that it predicts, but for a
    third of them."""
    model = tiny.classifier(classes=("blue", "green", "red"))
    model.save_pretrained(tmp_path / "m")
    pixels, _ = tiny.images(90, seed=4)
    answers = model.classify(pixels)[0].argmax(dim=1).tolist()
    for number, (image, answer) in enumerate(zip(pixels, answers, strict=True)):
        name = model.config.classes[number % 3 if number % 9 < 3 else answer]
        for split in ("train", "test"):
            folder = tmp_path / "photos" / split / name
            folder.mkdir(parents=True, exist_ok=True)
            to_pil(image).save(folder / f"{number}.png")
    return tmp_path / "photos"


@pytest.mark.slow
def test_the_command_fits_reports_and_keeps_what_is_better(
    photos, tmp_path, capsys, monkeypatch
) -> None:
    command = ["gauge", "--checkpoint", str(tmp_path / "m"), "--data", f"folder:{photos}"]
    for better, said in ((True, "now says"), (False, "left out")):
        monkeypatch.setattr(
            "memorywrap.measures.trust_report.is_better", lambda report, b=better: b
        )
        assert main([*command, "--out", str(tmp_path / "out"), "--device", "cpu"]) == 0
        assert said in capsys.readouterr().out
        model = MemoryWrapClassifier.from_pretrained(tmp_path / "m")
        assert (model.config.trust is not None) == better
    report = json.loads((tmp_path / "out" / "trust.json").read_text())
    assert (tmp_path / "out" / "trust.md").read_text() == markdown(report)
    assert (tmp_path / "out" / "trust.png").stat().st_size > 1000
    (found,) = report["sets"].values()
    assert list(report["fitted"].values()) == [found["images"]] == [45]


def test_the_command_needs_a_folder_to_write_into(tmp_path, capsys) -> None:
    assert main(["gauge", "--checkpoint", str(tmp_path / "no"), "--data", "digits"]) == 2
    assert "no checkpoint folder" in capsys.readouterr().err
