"""Where to look: all squares at once, as each alone; inside the picture; kept with the model."""

from __future__ import annotations

import numpy as np
import pytest
import tiny
import torch
from PIL import Image
from torch import Tensor

from memorywrap import MemoryWrapClassifier
from memorywrap import finder as finding
from memorywrap.checkpoints.folder import FINDER, CheckpointError
from memorywrap.finder import Finder
from memorywrap.images import to_unit


@pytest.fixture
def finder() -> Finder:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        finder = Finder()
        for module in finder.modules():  # untrained, every square would look alike
            if isinstance(module, torch.nn.BatchNorm2d):
                module.running_mean.normal_(0, 0.2)
                module.running_var.uniform_(0.5, 2)
        return finder.eval().requires_grad_(False)


def noise(width: int, height: int, seed: int = 0) -> Image.Image:
    rng = np.random.default_rng(seed)
    return Image.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8))


class Bright(Finder):
    """Looks for a square as bright as can be, whose border is as dark as can be."""

    def scores(self, images: Tensor) -> Tensor:
        ring = torch.nn.functional.pad(torch.ones(1, 1, 20, 20), (6, 6, 6, 6), value=-1.0) / 1024
        grey = images.float().mean(
            1, keepdim=True
        )  # so that it is surer than large squares are dear
        return torch.nn.functional.conv2d(grey, ring, stride=4)[:, 0]


def test_a_picture_is_scored_as_each_of_its_squares_alone(finder) -> None:
    pixels = torch.from_numpy(np.array(noise(61, 47))).permute(2, 0, 1)
    found = finder(to_unit(pixels[None], torch.device("cpu")))[0, 0]
    assert found.shape == (4, 8)
    for row in range(4):
        for column in range(8):
            square = pixels[:, 4 * row : 4 * row + 32, 4 * column : 4 * column + 32]
            assert float(found[row, column]) == pytest.approx(
                float(finder.scores(square[None])[0, 0, 0]), abs=1e-4
            )
    assert float(found.std()) > 1e-3  # not all alike


@pytest.mark.parametrize(
    "size", [(1, 1), (5, 7), (31, 90), (33, 32), (401, 399), (640, 120), (1900, 40)]
)
def test_squares_are_inside_the_picture_and_of_different_things(finder, size) -> None:
    squares = finder.squares(noise(*size))
    assert 1 <= len(squares) <= 4
    for left, top, right, bottom in squares:
        assert 0 <= left < right <= size[0] and 0 <= top < bottom <= size[1]
        assert right - left == bottom - top
    assert len(set(squares)) == len(squares)


def test_no_two_squares_come_to_the_same_thing(finder, monkeypatch) -> None:
    monkeypatch.setattr(finding, "_BELIEVED", float("-inf"))
    monkeypatch.setattr(
        Finder, "_closer", lambda self, image, boxes: [(1.0, boxes[0])] * len(boxes)
    )
    assert len(finder.squares(noise(120, 80))) == 1


def test_no_offered_square_holds_another(finder, monkeypatch) -> None:
    large, inside, beside = (0, 0, 80, 80), (40, 40, 76, 76), (60, 0, 110, 50)
    found = [(9.0, inside), (8.0, large), (7.0, beside)]
    monkeypatch.setattr(Finder, "_closer", lambda self, image, boxes: list(found))
    assert finder.squares(noise(120, 80)) == [inside, beside]
    # What is only looked at again may: either may be the better one.
    assert len(finding._apart(found, 4)) == 3


@pytest.mark.parametrize(
    ("size", "middle", "side"), [((400, 300), (260, 90), 80), ((90, 300), (40, 200), 60)]
)
def test_the_first_square_is_the_one_looked_for(size, middle, side) -> None:
    image = Image.new("RGB", size, (20, 20, 20))
    half = side * 10 // 32
    image.paste(
        (240, 240, 240), (middle[0] - half, middle[1] - half, middle[0] + half, middle[1] + half)
    )
    left, top, right, bottom = Bright().squares(image)[0]
    assert abs((left + right) / 2 - middle[0]) < side / 6
    assert abs((top + bottom) / 2 - middle[1]) < side / 6
    assert 0.7 * side < right - left < 1.4 * side


def test_two_things_are_two_squares() -> None:
    image = Image.new("RGB", (300, 120), (20, 20, 20))
    for x in (80, 220):
        image.paste((240, 240, 240), (x - 15, 45, x + 15, 75))
    (first, second, *_) = Bright().squares(image)
    middles = sorted((left + right) / 2 for left, _, right, _ in (first, second))
    assert middles == pytest.approx([80, 220], abs=10)


def test_what_the_model_knows_comes_first() -> None:
    image = Image.new("RGB", (300, 120), (20, 20, 20))
    for x, grey in ((80, 240), (220, 200)):
        image.paste((grey, grey, grey), (x - 15, 45, x + 15, 75))
    brightest = Bright().squares(image)[0]
    assert brightest[0] < 150

    def known(boxes) -> Tensor:
        return torch.tensor([1000.0 * (left > 150) for left, *_ in boxes])

    assert Bright().squares(image, known)[0][0] > 150


def test_a_model_judges_the_squares_by_what_is_in_them(finder) -> None:
    model, image = tiny.classifier(), noise(200, 120)
    model.set_finder(finder)
    seen = []

    def familiarity(features: Tensor) -> Tensor:
        seen.append(features)
        return 1e6 * (torch.arange(len(features)) == len(features) - 1)

    before = model.suggest_boxes(image)
    model.set_familiarity(familiarity)
    chosen = model.suggest_box(image)
    assert chosen not in before[:1]
    assert torch.allclose(seen[0][-1:], model.encode(model.input(image, chosen)[None]), atol=1e-5)


def test_a_model_asks_its_finder_and_travels_with_it(finder, tmp_path) -> None:
    model, image = tiny.classifier(), noise(200, 120)
    alone = model.suggest_box(image)
    model.set_finder(finder)
    assert model.suggest_box(image) == finder.squares(image)[0]
    assert model.suggest_box(noise(60, 60)) == (0, 0, 60, 60)  # cropped already
    model.save_pretrained(tmp_path / "m")
    again = MemoryWrapClassifier.from_pretrained(tmp_path / "m", device="cpu")
    assert again.suggest_box(image) == finder.squares(image)[0]
    assert set(again.state_dict()) == set(tiny.classifier().state_dict())
    again.set_finder(None)
    assert again.suggest_box(image) == alone
    again.save_pretrained(tmp_path / "m")
    assert not (tmp_path / "m" / FINDER).exists()


def test_a_damaged_one_is_refused_by_name(finder, tmp_path) -> None:
    from safetensors.torch import load_file, save_file

    model = tiny.classifier()
    model.set_finder(finder)
    model.save_pretrained(tmp_path / "m")
    tensors = load_file(tmp_path / "m" / FINDER)
    del tensors["layers.0.weight"]
    save_file(tensors, tmp_path / "m" / FINDER)
    with pytest.raises(CheckpointError, match=r"finder.safetensors: missing layers.0.weight"):
        MemoryWrapClassifier.from_pretrained(tmp_path / "m", device="cpu")
