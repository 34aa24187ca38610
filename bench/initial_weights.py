"""Print what the architecture of MobileNetV2 and its initial weights each bring to the paper's recipe.

python -m bench.initial_weights --out FOLDER [--seeds 3] [--print]

Memory-wrap on 1,000 house numbers, with torchvision's network and with the one of the paper's repository, each with
the initial weights that torchvision draws (normal, by the fan-out) and those that PyTorch gives a convolution
(uniform, by the fan-in). FOLDER/initial-weights.md is the table; a run that is there is left alone, one that was cut
off goes on.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

from torch import nn

from memorywrap.encoders import create_encoder, register_encoder
from memorywrap.encoders.published import drawn_by_fan_in, drawn_by_fan_out
from memorywrap.training import replicate
from memorywrap.training.tables import Row

REDRAWN: dict[str, Callable[[], nn.Module]] = {
    "mobilenet_v2_by_fan_in": lambda: drawn_by_fan_in(create_encoder("mobilenet_v2")),
    "mobilenet_v2_cifar_by_fan_out": lambda: drawn_by_fan_out(create_encoder("mobilenet_v2_cifar")),
}
ALL = ("mobilenet_v2", *REDRAWN, "mobilenet_v2_cifar")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", required=True, type=Path, help="folder of the runs")
    parser.add_argument("--seeds", type=int, default=replicate.SEEDS, help="runs per row")
    parser.add_argument("--only", nargs="+", choices=ALL, default=ALL)
    parser.add_argument("--print", action="store_true", help="train nothing")
    options = parser.parse_args()
    for name, build in REDRAWN.items():
        register_encoder(name)(build)
    rows = [Row("svhn", "memory-wrap", 1000, "paper", encoder) for encoder in ALL]
    left_out = []
    if not options.print:
        wanted = [row for row in rows if row.encoder in options.only]
        left_out = replicate.replicate(wanted, options.out, range(options.seeds))
    for sentence in left_out:
        print(sentence, file=sys.stderr)
    lines = replicate.results(rows, options.out)
    table = replicate.markdown(lines)
    if any(line["runs"] for line in lines):
        (options.out / "initial-weights.md").write_text(table, encoding="utf-8")
    print(table, end="")
    if left_out:
        sys.exit(1)


if __name__ == "__main__":
    main()
