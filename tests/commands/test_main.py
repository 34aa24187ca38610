"""The command line: JSON lines, files, tables, and one sentence with exit code 2 for bad input."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import tiny
from PIL import Image

from memorywrap import MemoryWrapClassifier
from memorywrap.commands import classify, shared, whatif
from memorywrap.commands import main as cli
from memorywrap.data.sets import Split

ROOT = Path(__file__).parents[2]


@pytest.fixture
def photo(tmp_path):
    path = tmp_path / "photo.png"
    tiny.picture().save(path)
    return str(path)


def assert_one_sentence(error: str) -> None:
    assert error.count("\n") == 1 and error.startswith("memorywrap ") and "Traceback" not in error


def test_classify_prints_one_object_per_image_in_the_given_order(run, photo, tmp_path):
    other = tmp_path / "other.png"
    tiny.picture(seed=5).save(other)
    code, out, err = run("classify", photo, str(other), photo)
    assert (code, err) == (0, "")
    first, second, third = (json.loads(line) for line in out.splitlines())
    assert first == third != second
    model = MemoryWrapClassifier.from_pretrained(tmp_path / "tiny")
    assert first == {"file": photo, **model.predict(photo).to_dict("tiny")}
    assert second["file"] == str(other)


def test_classify_goes_on_after_a_bad_image_and_says_so(run, photo, tmp_path):
    (tmp_path / "text.png").write_text("hello")
    code, out, err = run("classify", str(tmp_path / "text.png"), str(tmp_path / "none.png"), photo)
    assert code == 2 and len(out.splitlines()) == 1
    assert "text.png: The file is not an image" in err and "none.png: There is no image file" in err


@pytest.mark.slow
def test_classify_looks_at_the_first_guess_or_at_the_crop(run, tmp_path, tiny_checkpoint):
    tiny.picture(size=(96, 64)).save(tmp_path / "wide.png")
    picture = str(tmp_path / "wide.png")
    image, model = Image.open(picture), MemoryWrapClassifier.from_pretrained(tiny_checkpoint)

    def shares(box):
        return model.predict(image, box=box).probabilities

    for crop, box in (((), model.suggest_box(image)), ((4, 8, 40, 44), (4, 8, 40, 44))):
        flags = ["--crop", *map(str, crop)] if crop else []
        _, out, _ = run("classify", picture, *flags)
        assert list(json.loads(out)["probabilities"].values()) == pytest.approx(shares(box))


def test_explain_takes_the_other_methods(run, photo, tmp_path):
    folder = tmp_path / "explained"
    code, _, _ = run("explain", photo, "--out", str(folder), "--method", "saliency")
    assert code == 0
    assert json.loads((folder / "explanation.json").read_text())["method"] == "saliency"


def test_an_unknown_flag_gets_the_usage_of_its_command(capsys):
    with pytest.raises(SystemExit):
        cli.main(["explain", "a.png", "--out", "x", "--colour", "red"])
    said = capsys.readouterr().err
    assert "memorywrap explain" in said and "unrecognized arguments: --colour red" in said


def test_explain_writes_figure_maps_and_json(run, photo, tmp_path):
    folder = tmp_path / "a/new/folder"
    code, out, _ = run(
        "explain", photo, "--out", str(folder), "--steps", "4", "--baseline", "black"
    )
    assert code == 0
    assert {Path(line) for line in out.splitlines()} == set(folder.iterdir())
    found = json.loads((folder / "explanation.json").read_text())
    assert (found["model"], found["steps"], found["baseline"]) == ("tiny", 4, "black")
    names = {path.stem for path in folder.glob("*.png")}
    assert {"figure", "input", "input-map"} <= names
    shown = {role for role in ("example", "counterfactual", "contrast") if found[role] is not None}
    assert shown <= names and shown
    patch = {"patch-counterfactual", "patch-counterfactual-cells"}
    assert (patch <= names) == (found["patch_counterfactual"] is not None)
    for path in folder.glob("*.png"):
        Image.open(path).verify()


def test_whatif_answers_with_an_edited_memory(run, photo):
    before = json.loads(run("classify", photo)[1])
    gone = before["memory"][0]["index"]
    edits = ["--edit", f"remove={gone}", "--edit", f"add={photo}={before['predicted']}"]
    code, out, _ = run("whatif", photo, *edits)
    told = json.loads(out)
    assert code == 0 and {"file": photo, **told["before"]} == before
    assert gone not in {sample["index"] for sample in told["after"]["memory"]}
    for wrong, said in (
        ("remove=99", "no memory sample 99"),
        ("burn=1", "one of remove"),
        ("add=nothing.png=red", "nothing.png"),
    ):
        code, _, err = run("whatif", photo, "--edit", wrong)
        assert code == 2 and said in err and "Traceback" not in err


@pytest.mark.slow
def test_samples_can_be_left_out(run, photo, tmp_path):
    before = json.loads(run("classify", photo)[1])
    gone = [sample["index"] for sample in before["memory"][:2]]
    indices = [str(index) for index in gone]
    after = json.loads(run("classify", photo, "--without", *indices)[1])
    left = {sample["index"] for sample in after["memory"]}
    assert left and not left & set(gone)
    assert (
        run("explain", photo, "--out", str(tmp_path), "--steps", "4", "--without", *indices)[0] == 0
    )
    explained = json.loads((tmp_path / "explanation.json").read_text())
    assert explained["memory"] == after["memory"]
    code, _, said = run("classify", photo, "--without", "12")
    assert code == 2 and "memory sample 12: expected an index from 0 to 11" in said


@pytest.mark.parametrize("variant", ["memory-wrap", "baseline"])
def test_whatif_names_the_samples_that_hold_the_answer(run, photo, tiny_checkpoint, variant):
    tiny.classifier(variant).save_pretrained(tiny_checkpoint)
    code, out, _ = run("whatif", photo)
    answer = json.loads(out)
    assert code == 0 and "redrawn" not in answer
    flip = answer["flip"]
    if variant == "memory-wrap":  # this one looks at the input, and no sample changes its mind
        assert flip["removed"] is None and flip["predicted"] == answer["predicted"]
    else:
        removed = [str(sample["index"]) for sample in flip["removed"]]
        after = json.loads(run("classify", photo, "--without", *removed)[1])
        assert after["predicted"] == flip["predicted"] != answer["predicted"]


def test_whatif_asks_redrawn_banks(run, photo, monkeypatch):
    monkeypatch.setattr(whatif, "training_images", lambda *_, **__: Split(*tiny.images(30, seed=9)))
    redrawn = json.loads(run("whatif", photo, "--redraws", "4")[1])["redrawn"]
    assert redrawn["banks"] == sum(redrawn["classes"].values()) == 4
    low, high = redrawn["interval"]
    assert low <= redrawn["agreement"] <= high
    assert all(1 <= sample["used"] <= sample["drawn"] <= 4 for sample in redrawn["recurrent"])
    assert run("whatif", photo, "--redraws", "-1")[0] == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["explain", "nothing.png", "--out", "x"], "There is no image file named nothing.png"),
        (["bench", "--repeats", "0"], "expected at least 1, received 0"),
        (["classify", "EMPTY"], "there are no pictures in this folder"),
        (["explain", "EMPTY", "--wrong", "--out", "x"], "there are no pictures in this folder"),
    ],
)
def test_bad_input_is_one_sentence_and_code_2(run, tmp_path, arguments, message):
    empty = tmp_path / "nothing"
    empty.mkdir()
    code, out, err = run(*(str(empty) if one == "EMPTY" else one for one in arguments))
    assert (code, out) == (2, "") and message in err
    assert_one_sentence(err)


@pytest.mark.parametrize(
    "arguments", [[], ["classify"], ["explain", "a.png"], ["nonsense"], ["classify", "a", "--x"]]
)
def test_what_is_not_a_command_shows_the_usage_and_code_2(arguments, capsys):
    with pytest.raises(SystemExit) as stop:
        cli.main(arguments)
    assert stop.value.code == 2 and "usage: memorywrap" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [
        ["evaluate", "--checkpoint", "x", "--data", "svhn", "--memories", "-1"],
        ["evaluate", "--checkpoint", "x", "--data", "svhn", "--memory", "0"],
        ["replicate", "fast-svhn", "--out", "x", "--samples", "1k"],
        ["replicate", "fast-svhn", "--out", "x", "--seeds", "0"],
        ["replicate", "fast-svhn", "--out", "x", "--encoder", "efficientnet_lite0"],
    ],
)
def test_numbers_that_mean_nothing_are_refused_by_name(capsys, arguments):
    with pytest.raises(SystemExit) as stop:
        cli.main(arguments)
    error = capsys.readouterr().err
    assert stop.value.code == 2 and f"argument {arguments[-2]}" in error


def test_a_report_that_cannot_be_written_is_said_before_the_work(run, photo, tmp_path, monkeypatch):
    made = tmp_path / "new/report.csv"
    code, _, _ = run("classify", photo, "--report", str(made))
    assert code == 0 and made.read_text().startswith("file,label")
    monkeypatch.setattr(classify, "load", lambda _: pytest.fail("it began"))
    code, _, err = run("classify", photo, "--report", str(made / "below.csv"))
    assert code == 2
    assert_one_sentence(err)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("whatif", "--edit", "foo=4"), "--edit: expected KIND=VALUE with one of remove, restore"),
        (("whatif", "--edit", "redraw"), "received 'redraw'"),
        (("whatif", "--edit", "redraw=1", "--redraws", "3"), "--redraws: not with --edit"),
        (("explain", "--out", "OUT", "--steps", "201"), "--steps: expected 1 to 200, received 201"),
        (("classify", "--crop", "0", "0", "9999", "9999"), "The crop lies outside the image"),
        (("explain", "--out", "OUT", "--crop", "-1", "0", "9", "9"), "The crop lies outside the image"),
    ],
)  # fmt: skip
def test_what_would_be_ignored_or_guessed_is_one_sentence(run, photo, tmp_path, arguments, said):
    command, *rest = (one.replace("OUT", str(tmp_path / "out")) for one in arguments)
    code, out, err = run(command, photo, *rest)
    assert (code, out) == (2, "") and said in err
    assert_one_sentence(err)


def test_only_some_images_are_asked_where_that_was_meant(run):
    code, _, err = run("evaluate", "--data", "digits", "--images", "5")
    assert code == 2 and "--images: of --explanations" in err
    assert_one_sentence(err)


def test_steps_below_one_are_refused(run, photo, tmp_path):
    code, _, err = run("explain", photo, "--out", str(tmp_path / "x"), "--steps", "0")
    assert code == 2 and "step" in err
    assert_one_sentence(err)
    assert not (tmp_path / "x").exists()


def test_a_file_in_the_way_of_the_folder_is_named(run, photo):
    code, _, err = run("explain", photo, "--out", photo, "--steps", "2")
    assert code == 2 and "photo.png: File exists" in err
    assert_one_sentence(err)


def test_a_damaged_model_is_one_sentence(run, tiny_checkpoint, photo):
    (tiny_checkpoint / "model.safetensors").write_bytes(b"no")
    code, _, err = run("classify", photo)
    assert code == 2 and "model.safetensors is damaged" in err
    assert_one_sentence(err)


def test_a_missing_default_model_says_what_to_do(monkeypatch, tmp_path, photo, capsys):
    monkeypatch.setattr(shared, "default_checkpoint", lambda: Path("checkpoints/digits"))
    monkeypatch.chdir(tmp_path)
    assert cli.main(["classify", photo]) == 2
    error = capsys.readouterr().err
    assert "clone of the repository" in error and "--checkpoint" in error
    assert_one_sentence(error)


def test_a_model_whose_bank_is_elsewhere_says_how_to_get_it(monkeypatch, tmp_path, photo, capsys):
    monkeypatch.setenv("MEMORYWRAP_DATA", str(tmp_path / "data"))
    model = tiny.classifier()
    recipe = {"dataset": "cifar10", "seed": 0, "size": 10}
    model.config = replace(model.config, bank=recipe)
    model.save_pretrained(tmp_path / "drawn")
    assert cli.main(["classify", photo, "--checkpoint", str(tmp_path / "drawn")]) == 2
    error = capsys.readouterr().err
    assert "cifar10: no images" in error and "--download" in error
    assert_one_sentence(error)


def test_the_default_model_is_found_from_any_folder(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert shared.default_checkpoint() == ROOT / "checkpoints/digits"
    (tmp_path / "checkpoints/digits").mkdir(parents=True)
    assert shared.default_checkpoint() == Path("checkpoints/digits")


@pytest.mark.slow
def test_a_reader_who_leaves_is_no_error(tiny_checkpoint, photo):
    """As in `memorywrap classify ... | head -1`."""
    reader, writer = os.pipe()
    os.close(reader)
    code = f"import sys; from memorywrap.commands.main import main; sys.exit(main({['classify', photo]!r} + ['--checkpoint', {str(tiny_checkpoint)!r}]))"
    done = subprocess.run(
        [sys.executable, "-c", code], stdout=writer, stderr=subprocess.PIPE, cwd=ROOT
    )
    os.close(writer)
    assert (done.returncode, done.stderr) == (0, b"")


def test_ctrl_c_is_no_traceback(run, photo, monkeypatch):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(MemoryWrapClassifier, "predict", interrupt)
    assert run("classify", photo)[0] == 130


def test_help_is_there_before_torch_is():
    code = (
        "import sys; from memorywrap.commands.main import main\n"
        "try: main(['--help'])\n"
        "finally: sys.exit(str({'torch', 'numpy', 'PIL'} & set(sys.modules) or '') or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    for name in cli.COMMANDS:
        assert re.search(rf"^ +{name}\s+\w", done.stdout, re.MULTILINE)


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_every_command_has_a_help_text(name, capsys):
    if name == "demo":
        pytest.skip("that of the page")
    with pytest.raises(SystemExit) as stop:
        cli.main([name, "--help"])
    assert stop.value.code == 0
    assert f"usage: memorywrap {name}" in capsys.readouterr().out
