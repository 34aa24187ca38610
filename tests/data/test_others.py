"""Pictures of nothing known: what they show is told apart, and what is tested is not what was learned."""

from __future__ import annotations

import pytest
import torch

from memorywrap.data.others import KINDS, letters_of, mosaics_of, render_others


def test_they_are_the_same_for_the_same_seed_and_of_the_kinds_asked_for():
    first, kinds = render_others(40, 3, ("letter", "shape"), fonts=[])
    again, _ = render_others(40, 3, ("letter", "shape"), fonts=[])
    assert torch.equal(first, again) and first.shape == (40, 3, 32, 32)
    assert set(kinds) == {"letter", "shape"}
    other, _ = render_others(40, 4, ("letter", "shape"), fonts=[])
    assert not torch.equal(first, other)
    assert set(render_others(60, 0, list(KINDS), fonts=[])[1]) == set(KINDS)
    assert len(render_others(0, 0, ["letter"], fonts=[])[0]) == 0
    assert len(render_others(20, 0, ["letter"], "twins", fonts=[])[0]) == 20


def test_no_form_of_a_letter_is_learned_from_and_tested_on():
    learned, tested, twins = (letters_of(part) for part in ("learn", "test", "twins"))
    assert not set(learned) & set(tested)
    assert not set(twins) & set(learned + tested)
    # Capitals whose small letter is the same, but for its size.
    alike = set("CJKMOPSUVWXYZ")
    assert (
        not alike & {letter.upper() for letter in learned} & {letter.upper() for letter in tested}
    )


def test_they_are_pictures_and_no_blank_squares():
    images, _kinds = render_others(60, 0, ("letter", "shape"), fonts=[])
    contrast = images.float().std(dim=(1, 2, 3))
    assert float(contrast.min()) > 1 and float(contrast.median()) > 15


def test_mosaics_need_a_side_that_can_be_quartered():
    with pytest.raises(ValueError, match="multiple of 4, received 30"):
        mosaics_of(torch.zeros(1, 3, 30, 30, dtype=torch.uint8), 2, 0)


def test_mosaics_are_of_quarters_of_several_or_of_one_in_any_order():
    pictures = torch.randint(0, 256, (9, 3, 32, 32), dtype=torch.uint8)
    found = mosaics_of(pictures, 21, 4)
    assert torch.equal(found, mosaics_of(pictures, 21, 4))
    assert found.shape == (21, 3, 32, 32) and len(mosaics_of(pictures, 0, 4)) == 0
    for mosaic in found[:10]:
        sources = set()
        for rows in (slice(16), slice(16, 32)):
            for columns in (slice(16), slice(16, 32)):
                same = (pictures[:, :, rows, columns] == mosaic[:, rows, columns]).flatten(1)
                (source,) = same.all(dim=1).nonzero().flatten().tolist()
                sources.add(source)
        assert len(sources) > 1
    in_place = 0
    for mosaic in found[10:]:
        pieces = {
            piece.numpy().tobytes()
            for piece in mosaic.unfold(1, 8, 8).unfold(2, 8, 8).flatten(1, 2).unbind(1)
        }
        whole = [
            {
                p.numpy().tobytes()
                for p in one.unfold(1, 8, 8).unfold(2, 8, 8).flatten(1, 2).unbind(1)
            }
            == pieces
            for one in pictures
        ]
        assert sum(whole) == 1
        in_place += int(torch.equal(pictures[whole.index(True)], mosaic))
    assert not in_place
