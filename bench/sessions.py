"""What visitors cost who teach models of their own: python -m bench.sessions [--count 30] [--classes 5] [--shots 30]

Each teaches with pictures of noise, keeps them and the model as the page does, asks about one and has it
explained. What is printed is the memory of this process, which holds the page's models as well.
"""

from __future__ import annotations

import argparse
import io
import os
import statistics
import tempfile
import time
from pathlib import Path

import torch
from PIL import Image
from tqdm import tqdm

from app.models import Models
from app.own import Album, Lent
from bench.started import memory_of
from memorywrap.devices import available_cores
from memorywrap.encoders import PHOTO
from memorywrap.images import to_input
from memorywrap.training.teaching import ENCODER, Lesson, looked_at, teach


def main() -> None:
    """Reads the arguments, and prints."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=30, help="visitors (default: 30)")
    parser.add_argument("--classes", type=int, default=5)
    parser.add_argument("--shots", type=int, default=30, help="pictures of each class")
    parser.add_argument("--checkpoints", type=Path, default=Path("checkpoints"))
    options = parser.parse_args()
    models = Models(options.checkpoints)
    models.warm_up(models.default)
    before = memory_of(os.getpid())
    visitors, looking, learning = [], [], []
    with tempfile.TemporaryDirectory() as folder:
        for seed in tqdm(range(options.count), unit=" visitors"):
            visitor, looked, learned = _visitor(models, options, seed, Path(folder))
            visitors.append(visitor)
            looking.append(looked)
            learning.append(learned)
        now = memory_of(os.getpid())
        most = memory_of(os.getpid(), "VmHWM")
        visitors.clear()
    models.close()
    print(f"{options.count} visitors with {options.classes} x {options.shots} pictures each, "
          f"{available_cores()} cores\n")  # fmt: skip
    print("| memory, MB | |\n| --- | ---: |")
    print(
        f"| before | {before:.0f} |\n| with all of them | {now:.0f} |\n| at the most | {most:.0f} |"
    )
    print(f"| for each | {(now - before) / options.count:.0f} |\n")
    print(f"seconds to look, to learn: {statistics.median(looking):.1f}, {statistics.median(learning):.1f} "
          "(medians)")  # fmt: skip


def _visitor(
    models: Models, options: argparse.Namespace, seed: int, folder: Path
) -> tuple[tuple[Album, Lent], float, float]:
    names = [f"class {number}" for number in range(options.classes)]
    album, size = Album(options.classes * options.shots), PHOTO[ENCODER].image_size
    chance = torch.Generator().manual_seed(seed)
    for number in range(options.classes * options.shots):
        album.put(number, _jpeg(torch.randint(256, (3, size, size), generator=chance)))
    files = {
        name: [album[label * options.shots + shot] for shot in range(options.shots)]
        for label, name in enumerate(names)
    }
    begun = time.perf_counter()
    images = torch.stack([
        to_input(Image.open(io.BytesIO(file)), size) for of_class in files.values() for file in of_class
    ])  # fmt: skip
    features = looked_at(images)
    looked = time.perf_counter()
    labels = torch.arange(options.classes).repeat_interleave(options.shots)
    taught = teach(Lesson(images, labels, names, features), seed=seed)
    learned = time.perf_counter()
    lent = Lent(models, taught.classifier, files, folder)
    picture = Image.open(io.BytesIO(album[0])).convert("RGB")
    models.explain(taught.classifier, models.predict(lent.name, picture, None))
    return (album, lent), looked - begun, learned - looked


def _jpeg(pixels: torch.Tensor) -> bytes:
    # Smooth enough to be as large as a photograph of that size.
    image = Image.fromarray(pixels.to(torch.uint8).permute(1, 2, 0).numpy())
    small, file = image.resize((image.width // 4, image.height // 4)), io.BytesIO()
    small.resize(image.size).save(file, "JPEG", quality=85)
    return file.getvalue()


if __name__ == "__main__":
    main()
