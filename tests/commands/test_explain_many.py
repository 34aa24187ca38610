"""`memorywrap explain` of folders and test sets: which images, in what order, and a table that leads to them."""

from __future__ import annotations

import csv
import json

import pytest
import tiny
from PIL import Image

from memorywrap.commands import main as cli
from memorywrap.images import to_pil

QUICK = ("--steps", "2")


@pytest.fixture
def folder(tmp_path):
    """Six pictures in folders that are called like the classes, two in each."""
    images, labels = tiny.images(6, seed=7)
    for place, (pixels, label) in enumerate(zip(images, labels.tolist(), strict=True)):
        of_class = tmp_path / "pictures" / tiny.CLASSES[label]
        of_class.mkdir(parents=True, exist_ok=True)
        to_pil(pixels).save(of_class / f"{place}.png")
    return tmp_path / "pictures"


@pytest.fixture
def run(tiny_checkpoint, tmp_path, capsys):
    """Runs the command: (exit code, rows of the table, standard error)."""

    def command(*arguments: str):
        out = tmp_path / "out"
        flags = ["--out", str(out), *QUICK, "--checkpoint", str(tiny_checkpoint)]
        code = cli.main(["explain", *arguments, *flags])
        told = capsys.readouterr().err
        table = out / "table.csv"
        return code, list(csv.DictReader(table.open())) if table.exists() else [], told

    return command


def test_every_picture_of_a_folder_is_explained_and_the_table_leads_there(run, folder, tmp_path):
    code, rows, _ = run(str(folder))
    assert code == 0 and len(rows) == 6
    assert {row["label"] for row in rows} == set(tiny.CLASSES)
    page = (tmp_path / "out/index.html").read_text()
    for number, row in enumerate(rows, 1):
        one = tmp_path / f"out/{number:04d}"
        told = json.loads((one / "explanation.json").read_text())
        assert told["predicted"] == row["predicted"] and told["memory"][0]["index"] == int(
            row["memory"]
        )
        assert f'<a href="{number:04d}/figure.png">{row["file"]}</a>' in page
        Image.open(one / "memory.png").verify()
        assert told["asked"]["file"] == row["file"] and told["asked"]["label"] == row["label"]
        assert len(told["asked"]["crop"]) == 4 and told["asked"]["versions"]["torch"]
        assert row["explained"] == f"{number:04d}/figure.png"
    assert 'class="confusion"' in page and "6 pictures, " in page


def without_place(rows):
    return [{name: value for name, value in row.items() if name != "explained"} for row in rows]


def test_only_the_wrong_ones_of_a_class_the_least_sure_first(run, folder):
    _, rows, _ = run(str(folder))
    rows = without_place(rows)
    wrong = [row for row in rows if row["label"] != row["predicted"]]
    _, found, _ = run(str(folder), "--wrong", "--sort", "probability")
    assert (
        without_place(found) == sorted(wrong, key=lambda row: float(row["probability"]))
        and 0 < len(wrong) < 6
    )
    label = wrong[0]["label"]
    _, found, _ = run(str(folder), "--wrong", "--label", label)
    assert without_place(found) == [row for row in wrong if row["label"] == label]
    predicted = rows[0]["predicted"]
    _, found, _ = run(str(folder), "--predicted", predicted, "--most", "1")
    assert without_place(found) == [row for row in rows if row["predicted"] == predicted][:1]
    code, _, told = run(str(folder), "--wrong", "--label", "red", "--predicted", "red")
    assert code == 2 and "none of the 6 images is so" in told


def test_nothing_of_an_earlier_call_stays_beside_the_new_one_and_nothing_else_goes(
    run, folder, tmp_path
):
    out = tmp_path / "out"
    run(str(folder))
    (out / "0005/mine.txt").write_text("a note")
    (out / "2024").mkdir()
    (out / "2024/explanation.json").write_text("{}")
    # What comes to nothing leaves the table and what it leads to.
    nothing = tmp_path / "nothing"
    nothing.mkdir()
    (nothing / "a.txt").write_text("no picture")
    code, rows, told = run(str(nothing))
    assert code == 2 and "nothing to explain" in told and len(rows) == 6
    assert (out / "0006/figure.png").exists()
    run(str(folder), "--most", "1")
    assert sorted(path.name for path in out.iterdir() if path.is_dir()) == ["0001", "0005", "2024"]
    assert [path.name for path in (out / "0005").iterdir()] == ["mine.txt"]
    assert (out / "2024/explanation.json").exists()


def test_a_table_that_names_other_places_has_nothing_removed_there(run, folder, tmp_path):
    run(str(folder), "--most", "1")
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "figure.png").write_bytes(b"mine")
    (tmp_path / "out/table.csv").write_text("file,explained\na,../mine/figure.png\n")
    assert run(str(folder), "--most", "1")[0] == 0
    assert (mine / "figure.png").exists()
    (tmp_path / "out/table.csv").write_bytes(b"\xff\xfe no table of ours")
    assert run(str(folder), "--most", "1")[0] == 0


def test_a_folder_that_holds_another_explanation_has_only_the_pictures_of_the_new_one(
    run, folder, tmp_path
):
    image, out = str(next(folder.rglob("*.png"))), tmp_path / "out"
    out.mkdir()
    for name in ("counterfactual.png", "contrast.png", "holiday.png"):
        (out / name).write_bytes(b"mine")
    run(image)
    kept = {path.name for path in out.glob("*.png") if path.read_bytes() == b"mine"}
    assert {"counterfactual.png", "contrast.png"} & kept and "holiday.png" in kept
    run(image)  # now the folder is one of an explanation
    assert [path.name for path in out.glob("*.png") if path.read_bytes() == b"mine"] == [
        "holiday.png"
    ]


def test_the_test_images_of_a_data_set(folder, tmp_path):
    tiny.classifier(classes=tuple(sorted(tiny.CLASSES))).save_pretrained(tmp_path / "sorted")
    flags = ["--most", "2", "--out", str(tmp_path / "out"), *QUICK]
    data = ["--data", f"folder:{folder}", "--checkpoint", str(tmp_path / "sorted")]
    assert cli.main(["explain", *data, *flags]) == 0
    assert (tmp_path / "out/0002/figure.png").exists() and not (tmp_path / "out/0003").exists()
    page = (tmp_path / "out/index.html").read_text()
    assert "The table shows 2 of them" in page and "Of the 2 in the table below" in page
    labels = [
        json.loads(file.read_text())["asked"]["label"] for file in tmp_path.glob("out/*/*.json")
    ]
    assert len(set(labels)) == 2  # they lie class by class, and are taken in another order
    explained = json.loads((tmp_path / "out/0001/explanation.json").read_text())
    gone = explained["memory"][0]["index"]
    assert cli.main(["explain", *data, *flags, "--without", str(gone)]) == 0
    again = json.loads((tmp_path / "out/0001/explanation.json").read_text())
    assert gone not in {sample["index"] for sample in again["memory"]}
    assert cli.main(["explain", *data, *flags, "--without", "99"]) == 2


def test_a_bad_picture_does_not_hold_up_the_others(run, folder):
    (folder / "red/broken.png").write_text("no picture")
    code, rows, told = run(str(folder), "--most", "1")
    assert code == 2 and len(rows) == 1 and "broken.png: The file is not an image" in told


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "expected images, or --data NAME"),
        (["PICTURES", "--data", "svhn"], "expected images, or --data NAME"),
        (["PICTURES", "--most", "0"], "--most: expected at least 1, received 0"),
        (["PICTURES", "--method", "saliency", "--steps", "5"], "only the method integrated_gradients"),
        (["PICTURES", "--label", "violet"], "--label: expected one of red, green, blue"),
        (["PICTURES/red", "PICTURES", "--sort", "trust"], "does not tell the trust"),
        (["PICTURES/red/0.png", "--wrong"], "choose among several images"),
        (["--data", "folder:PICTURES", "--crop", "0", "0", "9", "9"], "--crop: images of a data set"),
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_one_sentence(run, folder, arguments, said):
    code, rows, told = run(*(one.replace("PICTURES", str(folder)) for one in arguments))
    assert (code, rows) == (2, []) and said in told and told.count("\n") == 1


def test_wrong_ones_need_labels(run, folder, tmp_path):
    for picture in folder.glob("*/*.png"):
        picture.rename(tmp_path / picture.name)
    code, _, told = run(*map(str, sorted(tmp_path.glob("*.png"))), "--wrong")
    assert code == 2 and "no image has a label" in told
