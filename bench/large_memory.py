"""How long one query of a large memory takes: python -m bench.large_memory [--samples 10000 1000000]"""

from __future__ import annotations

import argparse
import time
from statistics import median

import torch

from memorywrap.layer import memory_weights


def main() -> None:
    """Reads the arguments, and prints."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--samples", type=int, nargs="+", default=[100, 10_000, 1_000_000])
    parser.add_argument("--dim", type=int, default=256)
    parser.add_argument("--repeats", type=int, default=11)
    options = parser.parse_args()
    print("| memory samples | milliseconds, median | best | used |")
    print("| ---: | ---: | ---: | ---: |")
    generator = torch.Generator().manual_seed(0)
    for samples in options.samples:
        memory = torch.randn(samples, options.dim, generator=generator)
        times = []
        for _ in range(options.repeats):
            query = torch.randn(1, options.dim, generator=generator)
            begun = time.perf_counter()
            with torch.no_grad():
                weights = memory_weights(query, memory)
            times.append(1000 * (time.perf_counter() - begun))
        used = int((weights > 0).sum())
        print(f"| {samples:,} | {median(times):.2f} | {min(times):.2f} | {used} |", flush=True)


if __name__ == "__main__":
    main()
