"""Edits of the memory: each gives the bank that its words promise, and the model's own stays."""

from __future__ import annotations

import pytest
import tiny
import torch

from memorywrap.edits import MOST, Edit, edited, parsed


@pytest.fixture
def model():
    return tiny.classifier(memory=20)


def read(_):
    raise AssertionError("no image was named")


def left(bank):
    return bank.available.nonzero().flatten().tolist()


def test_samples_go_and_come_back_in_the_given_order(model):
    bank = edited(model, [Edit("remove", 3), Edit("remove", 5), Edit("restore", 3)])
    assert left(bank) == [index for index in range(20) if index != 5]
    assert len(left(model.bank)) == 20
    same = edited(model, [Edit("remove", 3), Edit("restore", 3)])
    assert torch.equal(same.predicted, model.bank.predicted)


@pytest.mark.parametrize("kind", ["only_class", "no_class"])
def test_a_class_is_what_the_samples_are_predicted_as(model, kind):
    class_ = int(model.bank.predicted[0])
    of_class = (model.bank.predicted == class_).nonzero().flatten().tolist()
    expected = [i for i in range(20) if (i in of_class) == (kind == "only_class")]
    if expected:
        assert left(edited(model, [Edit(kind, class_)])) == expected
    else:
        with pytest.raises(ValueError, match="at least one must stay"):
            edited(model, [Edit(kind, class_)])


def test_an_added_picture_is_read_like_any_sample(model):
    pixels = torch.randint(0, 256, (3, tiny.SIZE, tiny.SIZE), dtype=torch.uint8)
    bank = edited(model, [Edit("add", (pixels, 1))])
    assert len(bank) == 21 and int(bank.labels[20]) == 1 and torch.equal(bank.images[20], pixels)
    (same,) = model.predict_inputs([pixels], bank)
    assert same.used[0] == 20  # nothing is more similar to it than itself


def test_a_memory_is_drawn_anew_by_its_seed(model):
    images, labels = tiny.images(6, seed=9)
    drawn = edited(
        model, [Edit("remove", 1), Edit("redraw", 7)], lambda _: model.make_bank(images, labels)
    )
    assert torch.equal(drawn.images, images) and drawn.available.all()
    with pytest.raises(ValueError, match="cannot be drawn anew"):
        edited(model, [Edit("redraw", 7)])


def test_labels_change_nothing_that_the_model_says(model):
    """What the page tells who wants to relabel a sample."""
    other = model.bank.relabelled(0, (int(model.bank.labels[0]) + 1) % 3)
    before, after = (model.predict(tiny.picture(), bank=bank) for bank in (model.bank, other))
    assert torch.equal(before.logits, after.logits)


def test_edits_are_read_from_json(model):
    listed = [{"remove": 2}, {"only_class": "green"}, {"redraw": 5}]
    assert [(edit.kind, edit.value) for edit in parsed(listed, model, read)] == [
        ("remove", 2),
        ("only_class", 1),
        ("redraw", 5),
    ]
    assert parsed(None, model, read) == []
    (added,) = parsed([{"add": {"image": "a", "label": "blue"}}], model, lambda name: name)
    assert added.value == ("a", 2)


@pytest.mark.parametrize(
    "edits",
    [
        "remove",
        {"remove": 1},
        [{}],
        [{"remove": 1, "restore": 1}],
        [{"burn": 1}],
        ["remove"],
        [{"remove": -1}],
        [{"remove": "1"}],
        [{"remove": True}],
        [{"remove": 1.0}],
        [{"redraw": 2**40}],
        [{"only_class": "purple"}],
        [{"only_class": 0}],
        [{"only_class": ["red"]}],
        [{"add": "a"}],
        [{"add": {"image": "a"}}],
        [{"remove": 1}] * (MOST + 1),
    ],
    ids=lambda edits: repr(edits)[:40],
)
def test_what_is_no_edit_is_refused_in_one_sentence(model, edits):
    with pytest.raises(ValueError, match=r"^[^\n]+\.$"):
        parsed(edits, model, lambda name: name)


def test_what_cannot_be_edited_is_refused(model):
    with pytest.raises(ValueError, match="no memory sample 20: expected 0 to 19"):
        edited(model, [Edit("remove", 20)])
    with pytest.raises(ValueError, match="at least one must stay"):
        edited(model, [Edit("remove", index) for index in range(20)])
