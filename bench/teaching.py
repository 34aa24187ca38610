"""What models taught with few pictures are worth: python -m bench.teaching FOLDER [--others FOLDER]

FOLDER/{train,test}/CLASS/*: of the pictures to learn from, so many of each class are drawn, several times
over; all test pictures are asked about. The nearest picture by the encoder's features alone is the baseline.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from statistics import mean

import torch
from torch import Tensor
from torch.nn import functional
from tqdm import tqdm

from memorywrap.data.folders import read_folder
from memorywrap.data.sets import ImageData
from memorywrap.encoders import PHOTO
from memorywrap.images import read_image, to_input
from memorywrap.measures.reliance import reliance
from memorywrap.patches import patch_counterfactual
from memorywrap.training.teaching import ENCODER, Lesson, Taught, looked_at, memory_of, teach

_TIMED = 5  # predictions that are explained


def main() -> None:
    """Reads the arguments, and prints."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--others", type=Path, help="pictures of no class, in one folder")
    parser.add_argument("--shots", type=int, nargs="+", default=[2, 5, 20], help="of each class")
    parser.add_argument("--draws", type=int, default=3, help="of the pictures to learn from")
    parser.add_argument("--memories", type=int, nargs="+", default=[10, 20, 50, 100, 200])
    options = parser.parse_args()
    size = PHOTO[ENCODER].image_size
    data = read_folder("folder", options.folder, size=size)
    others = None if options.others is None else _pictures(options.others, size)
    begun = time.perf_counter()
    features = looked_at(data.train.images)
    each = (time.perf_counter() - begun) / len(features)
    print(f"{len(data.classes)} classes, {len(data.test)} test pictures, {options.draws} draws, "
          f"{torch.get_num_threads()} threads\n")  # fmt: skip
    print("| of each class | nearest, % | taught, % | left out, % | necessity, % | follow rate, % "
          "| unlike: own, others, % | seconds to look, to learn |")  # fmt: skip
    print("| ---: |" + " ---: |" * 7)
    for shots in options.shots:
        print(_row(data, features, others, shots, options.draws, each))
    taught, rows = _taught(data, features, min(max(options.shots), _fewest(data)), 0)
    _print_times(taught, data)
    print("\n| memory samples | herded, % | at random, % |\n| ---: | ---: | ---: |")
    for samples in options.memories:
        if samples <= len(rows):
            print(_memory_row(taught, data, features[rows, 0], rows, samples))


def _taught(data: ImageData, features: Tensor, shots: int, seed: int) -> tuple[Taught, Tensor]:
    chance = torch.Generator().manual_seed(seed)
    mine = [(data.train.labels == label).nonzero()[:, 0] for label in range(len(data.classes))]
    rows = torch.cat([one[torch.randperm(len(one), generator=chance)[:shots]] for one in mine])
    train = data.train
    lesson = Lesson(train.images[rows], train.labels[rows], data.classes, features[rows])
    return teach(lesson, seed=seed), rows


def _row(
    data: ImageData, features: Tensor, others: Tensor | None, shots: int, draws: int, each: float
) -> str:
    found: dict[str, list[float]] = {}
    test = functional.normalize(looked_at(data.test.images)[:, 0], dim=1)
    for seed in range(draws):
        begun = time.perf_counter()
        taught, rows = _taught(data, features, shots, seed)
        seconds = time.perf_counter() - begun
        model, labels = taught.classifier, data.train.labels[rows]
        alike = test @ functional.normalize(features[rows, 0], dim=1).T
        told = model.classify(data.test.images).logits.argmax(dim=1)
        rates = reliance(model, model.encode(data.test.images))
        known = model.familiarity
        assert known is not None
        values = {
            "nearest": (labels[alike.argmax(dim=1)] == data.test.labels).float().mean(),
            "taught": (told == data.test.labels).float().mean(),
            "left out": (taught.unseen == labels).float().mean(),
            "necessity": rates["necessity"]["percent"] / 100,
            "follow": rates["follow_rate"]["percent"] / 100,
            "own": (known(model.features(data.test.images)) < 0).float().mean(),
            "others": float("nan") if others is None else
            float((known(model.features(others)) < 0).float().mean()),
        }  # fmt: skip
        for name, value in values.items():
            found.setdefault(name, []).append(100 * float(value))
        found.setdefault("seconds", []).append(seconds)
    percents = [
        f"{mean(found[name]):.1f}"
        for name in ("nearest", "taught", "left out", "necessity", "follow")
    ]
    unlike = f"{mean(found['own']):.1f}, {mean(found['others']):.1f}"
    look = each * shots * len(data.classes)
    return f"| {shots} | {' | '.join(percents)} | {unlike} | {look:.1f}, {mean(found['seconds']):.1f} |"


def _print_times(taught: Taught, data: ImageData) -> None:
    """Of an answer, of its maps and of the pieces that would change it, once the memory is warm."""
    model = taught.classifier
    model.warm_paths()
    times: dict[str, list[float]] = {"answer": [], "maps": [], "patch": [], "error": []}
    for image in tqdm(data.test.images[:: len(data.test) // _TIMED][:_TIMED], leave=False):
        begun = time.perf_counter()
        (seen,) = model.predict_inputs([image])
        answered = time.perf_counter()
        explanation = model.explain(seen)
        explained = time.perf_counter()
        patch_counterfactual(model, seen)
        for name, value in zip(times, (answered - begun, explained - answered,
                               time.perf_counter() - explained, explanation.completeness_error or 0.0), strict=True):  # fmt: skip
            times[name].append(value)
    middle = {name: sorted(values)[len(values) // 2] for name, values in times.items()}
    print(f"\nmedian of {_TIMED}: an answer {1000 * middle['answer']:.0f} ms, its maps {middle['maps']:.1f} s "
          f"(completeness error {middle['error']:.1%}), a patch counterfactual {middle['patch']:.1f} s")  # fmt: skip


def _memory_row(taught: Taught, data: ImageData, features: Tensor, rows: Tensor, size: int) -> str:
    model = taught.classifier
    labels = data.train.labels[rows]

    def accuracy(kept: Tensor) -> float:
        bank = model.make_bank(data.train.images[rows[kept]], labels[kept])
        told = model.classify(data.test.images, bank).logits.argmax(dim=1)
        return 100 * float((told == data.test.labels).float().mean())

    chance = torch.Generator().manual_seed(0)
    random = [accuracy(torch.randperm(len(rows), generator=chance)[:size]) for _ in range(3)]
    return f"| {size} | {accuracy(memory_of(features, labels, size)):.1f} | {mean(random):.1f} |"


def _fewest(data: ImageData) -> int:
    return int(data.train.labels.bincount().min())


def _pictures(folder: Path, size: int) -> Tensor:
    files = sorted(path for path in folder.iterdir() if path.is_file())
    return torch.stack([to_input(read_image(path), size) for path in files])


if __name__ == "__main__":
    main()
