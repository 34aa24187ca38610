"""Data sets whose images are made on this machine, by seed: the embedded digits."""

from __future__ import annotations

from collections.abc import Sequence

from tqdm import tqdm

from memorywrap.data.cache import Tensors, cached
from memorywrap.data.digits import RENDERER, digest_of_fonts, find_fonts, render_digits
from memorywrap.data.digits.fonts import Font
from memorywrap.data.sets import DataSet, ImageData, Split, Wanted, register_data_set

SAMPLES, TEST_SAMPLES = 60_000, 4_000
# Added to the seed of the training renders, so that no test render repeats one of them.
_TEST_SEED_OFFSET = 1_000_003


class _Digits(DataSet):
    def load(self, wanted: Wanted) -> ImageData:
        fonts = find_fonts()
        samples = SAMPLES if wanted.samples is None else wanted.samples
        version = {
            "name": self.name,
            "renderer": RENDERER,
            "faces": digest_of_fonts(fonts),
            "train": samples,
            "seed": wanted.seed,
            "fonts": [font.name for font in fonts],
        }
        train = _rendered(samples, wanted.seed, fonts, "training digits")
        tested = TEST_SAMPLES if wanted.test else 0
        test = _rendered(tested, wanted.seed + _TEST_SEED_OFFSET, fonts, "test digits")
        return ImageData(self.name, tuple("0123456789"), train, test, version)


def _rendered(count: int, seed: int, fonts: Sequence[Font], what: str) -> Split:
    def render() -> Tensors:
        with tqdm(total=count, desc=f"rendering {what}", unit=" images", disable=not count) as bar:
            images, labels = render_digits(
                count, seed, fonts=fonts, progress=lambda done, _: bar.update(done - bar.n)
            )
        return {"images": images, "labels": labels}

    key = f"digits/{count}-{seed}-{RENDERER}-{digest_of_fonts(fonts)}"
    return Split(**(cached(key, render) if count else render()))


register_data_set(
    _Digits(
        name="digits",
        mirrors=False,
        rendered=True,
        strangers=("letter", "shape", "surface"),
        in_scenes=True,
        paper_epochs=40,  # as SVHN
        account="{train:,} pictures of digits, rendered by the code in `memorywrap/data/digits` "
        "(version {renderer}, seed {seed}): printed and drawn digits as photographs, screenshots and "
        "drawing pads show them. No photograph was trained on.",
        limits="One digit at a time, about upright and in the middle of the square.",
    )
)
