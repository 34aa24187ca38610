"""Print a Markdown table of the encoders: size, embedding, and speed on this machine.

python -m bench.encoders [--threads 2] [--batch 100] [--only compact resnet18]
"""

from __future__ import annotations

import argparse
import time

import torch
from torch.nn.utils import convert_conv2d_weight_memory_format

from memorywrap.encoders import ENCODERS, PHOTO, create_encoder, folded

_SMALL = tuple(name for name in ENCODERS if name not in PHOTO)  # of 32 x 32 pixels


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--batch", type=int, default=100)
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--only", nargs="+", choices=tuple(ENCODERS), default=_SMALL)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    batch = f"ms per image, {options.batch} at once"
    print(f"| encoder | parameters | embedding dim | {batch} | ms, one image alone |")
    print("| --- | ---: | ---: | ---: | ---: |")
    for name in options.only:
        encoder = create_encoder(name)
        parameters = sum(value.numel() for value in encoder.parameters())
        ready = folded(encoder).to(options.device)
        ready = convert_conv2d_weight_memory_format(ready, torch.channels_last)
        together = _milliseconds(ready, options.batch, options) / options.batch
        alone = _milliseconds(ready, 1, options)
        print(
            f"| {name} | {parameters / 1e6:.1f} M | {encoder.embedding_dim} "
            f"| {together:.2f} | {alone:.1f} |",
            flush=True,
        )
    where = options.device if options.device != "cpu" else f"{options.threads} CPU threads"
    print(f"\n32 x 32 images, float32, {where}, fastest of {options.repeat} runs.")


@torch.inference_mode()
def _milliseconds(encoder: torch.nn.Module, count: int, options: argparse.Namespace) -> float:
    images = torch.rand(count, 3, 32, 32, device=options.device)
    images = images.contiguous(memory_format=torch.channels_last)
    times = []
    for _ in range(options.repeat + 1):  # the first one chooses kernels
        started = time.perf_counter()
        encoder(images).sum().item()
        times.append(time.perf_counter() - started)
    return 1000 * min(times[1:])


if __name__ == "__main__":
    main()
