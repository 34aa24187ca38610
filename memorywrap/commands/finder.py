"""`memorywrap finder`: teach a model of digits where in a photograph to look."""

from __future__ import annotations

import argparse
from pathlib import Path

from memorywrap import loading
from memorywrap.checkpoints import folder as checkpoint
from memorywrap.commands.shared import add_machine
from memorywrap.data.rendered import SAMPLES
from memorywrap.data.scenes import compose_scenes
from memorywrap.data.sets import data_set, load_data
from memorywrap.devices import use_threads
from memorywrap.measures.first_guesses import guess_rates
from memorywrap.training import finding
from memorywrap.training.finding import learn_to_find


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Its arguments."""
    parser.add_argument("--checkpoint", required=True, metavar="FOLDER", help="a local folder")
    for name, default, what in (
        ("scenes", finding.SCENES, "photographs to compose and learn from"),
        ("test-scenes", 500, "others to measure on"),
        ("digits", SAMPLES, "digits to render and learn from"),
        ("others", finding.OTHERS, "pictures without a digit to render and learn from"),
        ("steps", finding.STEPS, "of training"),
        ("seed", 0, "of all that is left to chance"),
    ):
        parser.add_argument(f"--{name}", type=int, default=default, metavar="N", help=what)
    parser.add_argument(
        "--measure", action="store_true", help="learn nothing: measure the model as it is"
    )
    add_machine(parser)


def run(options: argparse.Namespace) -> int:
    """Runs it; returns the exit code."""
    use_threads(options.threads)
    if not Path(options.checkpoint).is_dir():
        raise ValueError(f"there is no checkpoint folder {options.checkpoint} to write into")
    folder = checkpoint.find(options.checkpoint)
    classifier = loading.load_classifier(folder, device=options.device)
    if tuple(classifier.config.classes) != tuple("0123456789"):
        raise ValueError(
            "only where digits are can be learned: expected a model of the digits 0 to 9"
        )
    if not options.measure:
        digits = load_data("digits", samples=options.digits, seed=options.seed, test=False)
        finder = learn_to_find(
            digits.train.images,
            strangers=data_set("digits").strangers,
            scenes=options.scenes,
            others=options.others,
            steps=options.steps,
            seed=options.seed,
        )
        classifier.set_finder(finder)
        classifier.save_pretrained(folder)
    scenes = compose_scenes(range(options.test_scenes), "test")
    found = guess_rates(classifier, scenes)
    answer, digit, further, reached = (f"{100 * share:.1f} %" for share in found.values())
    print(f"on {options.test_scenes} composed photographs the answer to the first guess")
    print(f"  is a digit of the number: {answer}")
    print(f"  is the digit in the square: {digit}")
    print(f"further squares that show a digit: {further}; digits that have a square: {reached}")
    return 0
