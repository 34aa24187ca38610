"""What the documents tell people to run, runs; what they claim about files is so.

Blocks marked `python` and `bash` are run here, with the page at another address and with training
cut short. Blocks marked `console` (docker, uploads, installations) are shown only.
"""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest
import torch
from serving import page, page_checkpoints

from memorywrap.commands import main as cli
from memorywrap.commands import train as commands_training
from memorywrap.data.sets import DATA_SETS, DataSet, ImageData, Split, Wanted
from memorywrap.measures import speed as bench

__all__ = ["page", "page_checkpoints"]

ROOT = Path(__file__).parents[1]
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
PAGE = "http://127.0.0.1:7860"


def blocks(language: str) -> list:
    """Fenced blocks of a language in all documents, named by document and line."""
    found = []
    for path in DOCUMENTS:
        text = path.read_text("utf-8")
        for match in re.finditer(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
            line = text.count("\n", 0, match.start()) + 1
            found.append(pytest.param(match[1], id=f"{path.name}:{line}"))
    return found


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A folder that looks like the repository's, where files may be written."""
    monkeypatch.setenv("MEMORYWRAP_DATA", str(tmp_path / "data"))
    for name in ("app", "checkpoints"):
        (tmp_path / name).symlink_to(ROOT / name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.slow
@pytest.mark.parametrize("code", blocks("python"))
def test_python_runs_as_it_stands(code, here, request, capsys):
    if PAGE in code:
        code = code.replace(PAGE, request.getfixturevalue("page").url)
    exec(compile(code, "a block of the documents", "exec"), {"__name__": "__main__"})
    assert capsys.readouterr().out.strip()


@pytest.fixture
def shortened(monkeypatch, tmp_path):
    """Commands do all they do but for the hours: tiny data sets, no training, short timings."""

    def load(self: DataSet, wanted: Wanted) -> ImageData:
        train, test = (
            Split(torch.zeros(count, 3, 32, 32, dtype=torch.uint8), torch.arange(count) % 10)
            for count in (wanted.samples or 20, 20)
        )
        version = {"name": self.name, "format": "png", "train": len(train), "test": 20}
        return ImageData(self.name, tuple("0123456789"), train, test, version)

    for record in DATA_SETS.values():
        monkeypatch.setattr(type(record), "load", load)
    result = {"measured": {"digits:test": {"accuracy": 90.0, "images": 20}}}
    monkeypatch.setattr(commands_training, "train_and_measure", lambda *_, **__: result)
    monkeypatch.setattr(commands_training, "epochs_within", lambda *_: 3)
    monkeypatch.setattr("memorywrap.training.replicate.replicate", lambda *_, **__: [])
    monkeypatch.setattr(bench, "_INPUTS", 1)
    monkeypatch.setattr(bench, "PUBLISHED_STEPS", 2)


@pytest.mark.slow
@pytest.mark.parametrize("script", blocks("bash"))
def test_commands_run(script, here, request, shortened):
    lines = script.replace("\\\n", " ").splitlines()
    if all(line.startswith("memorywrap ") for line in lines):
        for line in lines:
            assert cli.main(shlex.split(line)[1:]) == 0, line
        return
    if shutil.which("bash") is None or shutil.which("curl") is None:
        pytest.skip("needs bash and curl")
    script = script.replace(PAGE, request.getfixturevalue("page").url)
    done = subprocess.run(
        ["bash", "-eu", "-c", script], capture_output=True, text=True, timeout=60, check=True
    )
    assert '"predicted"' in done.stdout and '"detail"' not in done.stdout
    assert "/gradio_api" not in script or "event: complete" in done.stdout


def test_make_has_the_commands_of_the_readme():
    for target in ("demo", "test"):
        assert f"make {target}" in DOCUMENTS[0].read_text("utf-8")
        command = ["make", "--dry-run", target, "ARGS=--host 0.0.0.0"]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
        assert "--host 0.0.0.0" in done.stdout


def test_every_fence_is_run_or_marked_as_shown_only():
    for path in DOCUMENTS:
        fences = re.findall(r"^```(.*)$", path.read_text("utf-8"), re.MULTILINE)
        assert set(fences[0::2]) <= {"python", "bash", "console"} and set(fences[1::2]) <= {""}


def test_links_lead_somewhere():
    missing = set()
    for path in DOCUMENTS:
        for target in re.findall(r"\]\(([^)]+)\)", path.read_text("utf-8")):
            if (
                not target.startswith("https://")
                and not (path.parent / target.split("#")[0]).exists()
            ):
                missing.add(target)
    assert missing == set()


def front_matter() -> dict[str, str]:
    text = DOCUMENTS[0].read_text("utf-8")
    assert text.startswith("---\n")
    lines = text.split("---\n")[1].splitlines()
    pairs = [line.split(": ", 1) for line in lines if ": " in line]
    return {name: value.strip('"') for name, value in pairs}


def test_the_front_matter_starts_the_page_on_a_space_with_our_gradio():
    settings = front_matter()
    pinned = (ROOT / "requirements.txt").read_text("utf-8")
    assert f"gradio=={settings['sdk_version']}\n" in pinned
    assert settings["sdk"] == "gradio" and settings["license"] == "mit"
    assert (ROOT / settings["app_file"]).is_file()
    assert len(settings["short_description"]) <= 60


def test_the_table_of_times_has_the_rows_of_bench():
    text = DOCUMENTS[0].read_text("utf-8")
    table = text.split("<!-- The output of: memorywrap bench --http --markdown -->\n")[1]
    rows = re.findall(r"^\| ([^|]+) \| [\d.]+ \|", table, re.MULTILINE)
    files = [ROOT / name for name in ("memorywrap/measures/speed.py", "app/timing.py")]
    source = re.sub(r"\{_\w+\}", "", "".join(file.read_text("utf-8") for file in files))
    assert len(rows) == 15
    for row in rows:  # numbers in them are constants there
        assert re.sub(r"\d+", "", row) in source


def test_how_long_images_are_kept_is_what_the_page_does():
    from app.temporary import KEPT

    assert KEPT == 3600 and "between one and two hours" in DOCUMENTS[0].read_text("utf-8")


def test_limits_are_those_of_the_code():
    from memorywrap.explanation.integrated_gradients import MAX_STEPS, TOLERANCE
    from memorywrap.images import MAX_BYTES, MAX_PIXELS

    explanations = (ROOT / "docs/explanations.md").read_text("utf-8")
    assert f"within {100 * TOLERANCE} %, up to {MAX_STEPS} of them" in explanations
    assert (MAX_BYTES, MAX_PIXELS) == (10 * 2**20, 25 * 10**6)
    assert "10 MB and 25 megapixels" in (ROOT / "docs/api.md").read_text("utf-8")


@pytest.mark.parametrize("name", ["digits", "cifar10"])
def test_the_finding_on_deletion_is_that_of_the_tables(name):
    """Where the default map is worse than a random order, and where not, is said as it is."""
    table = (ROOT / "docs/measured" / name / "explanations.md").read_text("utf-8")
    (head,) = re.findall(r"^\| map of the input \| (.+)", table, re.MULTILINE)
    rows = dict(re.findall(r"^\| (integrated gradients|random order) \| (.+)", table, re.MULTILINE))
    ours, chance = (rows[row].split(" | ") for row in ("integrated gradients", "random order"))
    worse = {
        column: float(one.split()[0]) > float(other)
        for column, one, other in zip(head.split(" | "), ours, chance, strict=False)
        if "deletion" in column
    }
    text = (ROOT / "docs/explanations.md").read_text("utf-8")
    said = {  # of both models
        "deletion, mean": "bring an answer down sooner in the order of the default map",
        "deletion, white": "pixels that become white bring it down later, on both",
    }
    assert worse == {column: "later" in sentence for column, sentence in said.items()}
    assert all(sentence in text for sentence in said.values())


@pytest.mark.parametrize("name", ["digits", "cifar10"])
def test_the_tables_are_of_the_steps_that_the_page_takes(name):
    table = (ROOT / "docs/measured" / name / "explanations.md").read_text("utf-8")
    assert "integrated gradients in automatic steps" in table
