"""The embedded data set: repeatable, balanced, legible, and independent of the machine's fonts."""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool

import numpy as np
import pytest
import torch
from PIL import ImageFont

from memorywrap.data import digits
from memorywrap.data.digits import RENDERER, digest_of_fonts, find_fonts, fonts, render_digits
from memorywrap.data.digits.strokes import SKELETONS, draw_strokes

FALLBACK: list[None] = [None]  # Pillow's own font: there on every machine
# Mean levels of the first images of seed 3, as the renderer of that version draws them.
LEVELS_OF_3 = [65.6, 152.2, 160.2, 94.3, 97.5, 111.3, 180.8, 119.9, 91.0, 139.1, 38.0, 232.2]


@pytest.fixture(scope="module")
def rendered() -> tuple[torch.Tensor, torch.Tensor]:
    return render_digits(1500, 3, fonts=FALLBACK, workers=1)


def test_shapes_types_and_balance(rendered):
    images, labels = rendered
    assert images.shape == (1500, 3, 32, 32)
    assert images.dtype == torch.uint8
    assert labels.dtype == torch.int64
    assert labels.bincount().tolist() == [150] * 10
    # Each run of ten holds each digit once, in an order that changes.
    runs = labels.view(-1, 10)
    assert (runs.sort(1).values == torch.arange(10)).all()
    assert len(runs.unique(dim=0)) > 100


def test_a_script_whose_processes_cannot_start_gets_its_digits_all_the_same(
    rendered, monkeypatch, caplog
):
    class Broken(ProcessPoolExecutor):
        def map(self, *_, **__):
            raise BrokenProcessPool

    monkeypatch.setattr(digits, "ProcessPoolExecutor", Broken)
    images, _ = render_digits(510, 3, fonts=FALLBACK, workers=2)
    assert torch.equal(images[:500], rendered[0][:500])
    assert '`if __name__ == "__main__":`' in caplog.text


@pytest.mark.slow
def test_same_seed_same_images_whatever_the_workers_and_count(rendered):
    images, labels = rendered
    again, again_labels = render_digits(510, 3, fonts=FALLBACK, workers=2)
    assert torch.equal(again, images[:510])
    assert torch.equal(again_labels, labels[:510])


def test_the_renderer_is_the_one_that_its_version_names(rendered):
    """Where this fails, the same seed gives other images than before: raise RENDERER, and write down
    the version with the levels printed here."""
    images, _ = rendered
    levels = images[:12].double().mean(dim=(1, 2, 3)).tolist()
    assert (RENDERER, levels) == ("3", pytest.approx(LEVELS_OF_3, abs=0.5))


def test_faces_are_told_apart_by_what_is_in_their_files(tmp_path):
    outlines = ImageFont.load_default(20).font_bytes
    for name in ("a", "b"):
        (tmp_path / f"{name}.ttf").write_bytes(outlines)
    (tmp_path / "other.ttf").write_bytes(outlines + b"0")
    first, moved, other = (
        digest_of_fonts([None, tmp_path / f"{name}.ttf"]) for name in ("a", "b", "other")
    )
    assert first == moved != other
    assert digest_of_fonts([tmp_path / "a.ttf", None]) != first


def test_other_seeds_give_other_images(rendered):
    other, _ = render_digits(100, 4, fonts=FALLBACK, workers=1)
    assert not torch.equal(other, rendered[0][:100])


def test_chunks_do_not_repeat(rendered):
    assert len(rendered[0].flatten(1).unique(dim=0)) == 1500


def test_no_font_on_the_machine(rendered, monkeypatch):
    monkeypatch.setattr(fonts, "FONT_FOLDERS", ())
    find_fonts.cache_clear()
    try:
        assert find_fonts() == []
        images, _ = render_digits(20, 3, workers=1)
    finally:
        find_fonts.cache_clear()
    assert torch.equal(images, rendered[0][:20])


def test_progress_counts_up_to_the_total():
    seen = []
    render_digits(260, 0, fonts=FALLBACK, workers=1, progress=lambda *done: seen.append(done))
    assert seen == [(250, 260), (260, 260)]


def test_nothing_to_render():
    images, labels = render_digits(0, 0, fonts=FALLBACK)
    assert images.shape == (0, 3, 32, 32)
    assert labels.shape == (0,)


def test_negative_seed_is_refused():
    with pytest.raises(ValueError, match=r"at least 0, received 10 and -1"):
        render_digits(10, -1, fonts=FALLBACK)


def test_images_show_their_labels(rendered):
    """A class mean over contrast-normalised renders reads others far above chance (10 %)."""
    images, labels = rendered
    grey = images.float().mean(1).flatten(1)
    grey = grey - grey.mean(1, keepdim=True)
    # Either polarity: digits cover less than their surroundings, so the tail of the values is ink.
    grey = grey * (grey**3).mean(1, keepdim=True).sign()
    grey = torch.nn.functional.normalize(grey, dim=1)
    means = torch.stack([grey[:1000][labels[:1000] == digit].mean(0) for digit in range(10)])
    means = torch.nn.functional.normalize(means - means.mean(0), dim=1)
    accuracy = ((grey[1000:] @ means.T).argmax(1) == labels[1000:]).float().mean().item()
    assert accuracy > 0.3


@pytest.mark.parametrize("digit", range(10))
def test_every_skeleton_is_drawn(digit):
    masks = []
    for strokes in SKELETONS[digit]:
        scaled = [[(10 + 40 * x, 10 + 40 * y) for x, y in stroke] for stroke in strokes]
        mask = np.asarray(draw_strokes(scaled, 60, 5)) > 127
        rows = np.flatnonzero(mask.any(1))
        assert 6 <= rows[0] <= 10  # the pen's radius above the topmost point
        assert 50 <= rows[-1] <= 54
        masks.append(mask)
    for i, first in enumerate(masks):
        assert all((first != other).any() for other in masks[:i])


def test_pen_width_is_in_pixels():
    for width in (3, 8):
        mask = np.asarray(draw_strokes([[(10, 5), (10, 25)]], 30, width)) > 127
        assert abs(int(mask[15].sum()) - width) <= 1


def test_fonts_are_found_checked_and_not_repeated(tmp_path, monkeypatch):
    outlines = ImageFont.load_default(20).font_bytes
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "copy.otf").write_bytes(outlines)
    (tmp_path / "first.ttf").write_bytes(outlines)
    (tmp_path / "broken.ttf").write_bytes(b"not a font")
    (tmp_path / "a-note.txt").write_bytes(outlines)
    monkeypatch.setattr(fonts, "FONT_FOLDERS", (str(tmp_path), str(tmp_path / "missing")))
    find_fonts.cache_clear()
    try:
        assert find_fonts() == [tmp_path / "first.ttf"]
        images, _ = render_digits(10, 0, workers=1)
    finally:
        find_fonts.cache_clear()
    assert images.shape == (10, 3, 32, 32)


def test_near_copies_are_dropped_and_the_first_is_kept():
    generator = torch.Generator().manual_seed(0)
    face, other = torch.nn.functional.normalize(torch.rand(2, 10, 9, generator=generator), dim=2)
    assert fonts._without_near_copies(torch.stack([face, other, face])) == [0, 1]


def test_illegible_face_scores_below_zero():
    """Twenty faces agree on ten shapes; the last one has the same shapes in another order."""
    shapes = torch.eye(10, 16)
    shuffled = shapes.roll(1, 0)
    margins = fonts._legibility(torch.stack([shapes] * 20 + [shuffled]))
    assert (margins[:20] > 0).all()
    assert (margins[20] < 0).all()
