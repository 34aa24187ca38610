"""Image folders for tests."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

DIGITS = tuple("0123456789")


def write_images(folder: Path, counts: dict[str, int], size: tuple[int, int] = (32, 32)) -> None:
    """FOLDER/CLASS/N.png, each image of one grey value that no other has."""
    value = 0
    for name, count in counts.items():
        (folder / name).mkdir(parents=True)
        for index in range(count):
            Image.new("RGB", size, (value, value, value)).save(folder / name / f"{index}.png")
            value += 1


def write_digits(folder: Path, train: int, test: int = 1) -> None:
    """FOLDER/{train,test}/DIGIT/N.png, so many of each digit."""
    for part, count in (("train", train), ("test", test)):
        write_images(folder / part, dict.fromkeys(DIGITS, count))
