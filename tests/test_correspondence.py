"""Which part answers to which: the terms are those of the similarity that attention reads."""

from __future__ import annotations

import pytest
import tiny
import torch

from memorywrap import Lesson, corresponding, teach
from memorywrap.training import teaching


@pytest.fixture(scope="module")
def taught():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(teaching, "_STEPS", 5)
        torch.manual_seed(0)
        images = torch.randint(256, (4, 3, 224, 224), dtype=torch.uint8)
        images[2:, 0] //= 8
        labels = torch.tensor([0, 0, 1, 1])
        lesson = Lesson(images, labels, ["one", "other"], teaching.looked_at(images))
        return teach(lesson).classifier


@pytest.mark.slow
def test_the_terms_add_up_to_the_similarity_that_the_weights_come_from(taught):
    torch.manual_seed(1)
    (prediction,) = taught.predict_inputs([torch.randint(256, (3, 224, 224), dtype=torch.uint8)])
    for index in range(4):
        found = corresponding(taught, prediction, index)
        assert found.similarity == pytest.approx(float(prediction.similarity[index]), abs=1e-5)
        assert found.terms.shape == (7, 7, 7, 7) and found.grid == (7, 7)
        assert float(found.terms.sum()) == pytest.approx(found.similarity)
        strongest = [one.similarity for one in found.pairs]
        assert strongest == sorted(strongest, reverse=True)
        for one in found.pairs:
            assert float(found.terms[(*one.input, *one.sample)]) == pytest.approx(one.similarity)
        assert len({one.input for one in found.pairs}) == len({one.sample for one in found.pairs})
        assert found.pairs[0].similarity == pytest.approx(float(found.terms.max()))


@pytest.mark.slow
def test_of_a_picture_and_itself_the_terms_are_the_same_both_ways(taught):
    picture = taught.require_bank().images[0]
    (prediction,) = taught.predict_inputs([picture])
    own = corresponding(taught, prediction, 0)
    assert torch.allclose(own.terms, own.terms.permute(2, 3, 0, 1), atol=1e-6)
    assert own.similarity == pytest.approx(1, abs=1e-5)


@pytest.mark.slow
def test_what_is_no_sample_is_refused(taught):
    (prediction,) = taught.predict_inputs([taught.require_bank().images[0]])
    for index in (-1, 4):
        with pytest.raises(IndexError, match="expected 0 to 3"):
            corresponding(taught, prediction, index)


def test_encoders_without_places_have_none():
    model = tiny.classifier()
    assert corresponding(model, model.predict(tiny.picture()), 0) is None
