"""Counterfactuals compared: the metrics by hand, the search on a model that can be changed, the report."""

from __future__ import annotations

import pytest
import tiny
import torch
from torch import nn

from memorywrap.data.sets import Split
from memorywrap.images import to_unit
from memorywrap.measures import counterfactuals


class Darker(nn.Module):
    """Takes so much off every pixel."""

    def __init__(self, by: float):
        super().__init__()
        self.by = by

    def forward(self, images):
        return images - self.by


def test_im1_and_im2_by_hand():
    picture = torch.full((3, 2, 2), 0.5)
    assert counterfactuals.im1(picture, Darker(0.1), Darker(0.2)) == pytest.approx(0.25)
    # 12 pixels that are 0.3 apart, over a sum of 6.
    assert counterfactuals.im2(picture, Darker(0.1), Darker(0.4)) == pytest.approx(12 * 0.09 / 6)


def test_an_autoencoder_knows_what_it_has_seen(monkeypatch):
    monkeypatch.setattr(counterfactuals, "_STEPS", 150)
    images, labels = tiny.images(60)
    smooth = images.float().mean(dim=(2, 3), keepdim=True).expand_as(images).to(torch.uint8)
    model = counterfactuals.fit_autoencoder(smooth[labels == 0])
    errors = [
        float(
            (model(to_unit(smooth[labels == label])) - to_unit(smooth[labels == label]))
            .square()
            .mean()
        )
        for label in (0, 1)
    ]
    assert errors[0] < 0.2 * errors[1]


def test_the_report_compares_the_same_images(monkeypatch):
    monkeypatch.setattr(counterfactuals, "_STEPS", 20)
    monkeypatch.setattr(counterfactuals, "_ITERATIONS", 40)
    model, test, train = tiny.classifier(), Split(*tiny.images(6, 1)), Split(*tiny.images(40, 2))
    report = counterfactuals.measure_counterfactuals(model, test, train, images=4, progress=False)
    searches = ("prototype-guided, drawn by 1", "prototype-guided, drawn by 100")
    names = ("memory sample", "patch counterfactual", *searches)
    assert report["memory sample"]["found"] == report["asked"] > 0
    assert report["images"] <= min(report[name]["found"] for name in names)
    assert report["images"] > 0
    # Pieces and a search stay near the picture; another picture is another picture.
    for name in searches:
        assert report[name]["changed"] < report["memory sample"]["changed"]
    assert report[searches[0]]["changed"] != report[searches[1]]["changed"]
    assert report["errors"]["seen"] > 0 and report["errors"]["unseen"] > 0
    text = counterfactuals.markdown(report)
    assert all(f"| {name} | {report[name]['found']} |" in text for name in names)


def test_autoencoders_have_seen_nothing_of_the_memory(monkeypatch):
    seen = []
    monkeypatch.setattr(counterfactuals, "_STEPS", 2)
    monkeypatch.setattr(counterfactuals, "_ITERATIONS", 2)
    fit = counterfactuals.fit_autoencoder
    monkeypatch.setattr(
        counterfactuals, "fit_autoencoder", lambda images, seed: seen.append(images) or fit(images)
    )
    model, test = tiny.classifier(), Split(*tiny.images(6, 1))
    bank, (images, labels) = model.require_bank(), tiny.images(40, 2)
    train = Split(torch.cat([bank.images, images]), torch.cat([bank.labels, labels]))
    counterfactuals.measure_counterfactuals(model, test, train, images=2, progress=False)
    looked_at = {one.numpy().tobytes() for images in seen for one in images}
    assert len(seen[0]) == 36  # of the 40 that are no memory, a tenth is kept back
    assert not looked_at & {one.numpy().tobytes() for one in bank.images}


def test_the_search_ends_where_the_model_says_the_target(monkeypatch):
    monkeypatch.setattr(counterfactuals, "_STEPS", 20)
    monkeypatch.setattr(counterfactuals, "_ITERATIONS", 100)
    model, (images, _) = tiny.classifier(), tiny.images(6, 1)
    of_all = counterfactuals.fit_autoencoder(images)
    predictions = model.predict_inputs(list(images))
    targets = torch.tensor([(one.predicted + 1) % 3 for one in predictions])
    prototypes = of_all.encoder(to_unit(images[:3]))
    found = counterfactuals.prototype_guided(model, of_all, predictions, targets, prototypes)
    reached = [place for place, picture in enumerate(found) if picture is not None]
    assert reached
    for place in reached:
        logits = model.head(model.frozen.embed(found[place][None]), model.require_bank().embeddings)
        assert (
            int(logits.argmax()) == targets[place]
            and 0 <= found[place].min() <= found[place].max() <= 1
        )


def test_large_images_are_refused():
    model = tiny.classifier(encoder="compact", image_size=96)
    data = Split(torch.zeros(2, 3, 96, 96, dtype=torch.uint8), torch.tensor([0, 1]))
    with pytest.raises(ValueError, match="up to 64 pixels"):
        counterfactuals.measure_counterfactuals(model, data, data)
