"""What must hold for the repository as a whole: safe files, one-way imports, pins, packaging."""

from __future__ import annotations

import ast
import importlib
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path

import pytest
import torch
from PIL import Image

import memorywrap
from memorywrap import MemoryWrapClassifier
from memorywrap.checkpoints.card import CARD
from memorywrap.checkpoints.folder import BANK, BANK_PICTURE, CONFIG, FAMILIARITY, FINDER, WEIGHTS
from memorywrap.data.sets import data_set

ROOT = Path(__file__).parents[1]
CODE = [
    path
    for folder in ("memorywrap", "app", "bench", "tests", ".")
    for path in sorted((ROOT / folder).glob("*.py" if folder == "." else "**/*.py"))
]
LIBRARY = sorted((ROOT / "memorywrap").rglob("*.py"))
# The rooms from the bottom up: each may import itself and those before it, none after it.
ORDER = (
    "caching",
    "decoding",
    "images",
    "devices",
    "layer",
    "bank",
    "trust",
    "familiarity",
    "crop",
    "encoders",
    "finder",
    "prediction",
    "explanation",
    "data",
    "checkpoints",
    "network",
    "classifier",
    "loading",
    "imported",
    "what_if",
    "patches",
    "correspondence",
    "edits",
    "measures",
    "training",
    "commands",
    # import names of before
    "cli",
    "explain",
    "model_card",
)


def committed() -> list[Path]:
    """All files that git would carry, or what looks like them where there is no git."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    try:
        listed = subprocess.run(command, cwd=ROOT, capture_output=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("needs git and a clone")
    paths = [ROOT / name for name in listed.decode().split("\0") if name]
    return [path for path in paths if path.is_file()]


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports_at_load(path: Path, modules: set[str]) -> set[str]:
    """Modules of the library that a module imports as it is loaded itself."""
    found: set[str] = set()

    def visit(node: ast.AST) -> None:
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            return
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            return
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
            found.update(name if name in modules else node.module for name in names)
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        for child in ast.iter_child_nodes(node):
            visit(child)

    visit(ast.parse(path.read_text("utf-8")))
    return (found & modules) - {module_name(path)}


def import_graph() -> dict[str, set[str]]:
    names = {module_name(path) for path in LIBRARY}
    return {module_name(path): imports_at_load(path, names) for path in LIBRARY}


# --- files ---


def test_nothing_unpickles():
    forbidden = {"pickle", "joblib", "dill", "shelve", "marshal"}
    unsafe = {"torch.load", "torch.save", "np.load", "numpy.load"}
    for path in CODE:
        nodes = list(ast.walk(ast.parse(path.read_text("utf-8"))))
        # What others published as .pt is read as tensors alone.
        safe = [
            node.func
            for node in nodes
            if isinstance(node, ast.Call)
            and ast.unparse(node.func) == "torch.load"
            and "weights_only=True" in map(ast.unparse, node.keywords)
        ]
        for node in nodes:
            if node in safe:
                continue
            if isinstance(node, (ast.Import, ast.ImportFrom)) and "tests" not in path.parts:
                names = {alias.name for alias in node.names} | {getattr(node, "module", None)}
                assert not names & forbidden, f"{path.name} imports {names & forbidden}"
            if isinstance(node, ast.Attribute):
                # Tests write files as others do.
                written = "tests" in path.parts and ast.unparse(node) == "torch.save"
                assert written or ast.unparse(node) not in unsafe, f"{path.name}:{node.lineno}"


def test_checkpoints_hold_tensors_and_text_of_a_size_that_hosts_take():
    known = {CONFIG, WEIGHTS, BANK, BANK_PICTURE, FAMILIARITY, FINDER, CARD}
    for path in (path for path in committed() if path.is_relative_to(ROOT / "checkpoints")):
        assert path.name in known, f"{path} is no part of a checkpoint"
        assert path.stat().st_size < 10 * 10**6, f"{path} is over 10 MB"


def test_models_of_public_data_ship_without_its_images():
    configs = [path for path in committed() if path.name == CONFIG]
    shipped = [path.parent for path in configs if path.parent.parent.name == "checkpoints"]
    assert {folder.name for folder in shipped} >= {"digits", "cifar10"}
    for folder in shipped:
        model = MemoryWrapClassifier.from_pretrained(folder)
        if data_set(model.config.data["name"]).public:
            assert model.bank is None and not (folder / BANK).exists()
            assert model.config.bank["dataset"] == model.config.data["name"]
            pictures = torch.zeros(2, 3, 32, 32, dtype=torch.uint8)
            model.set_bank(model.make_bank(pictures, torch.tensor([0, 1])))
        assert model.predict(Image.new("RGB", (40, 40))).weights.sum() == pytest.approx(1)


def test_no_committed_file_is_large_or_names_a_machine_or_registry():
    # Written in two parts, so that this file does not name one.
    private = re.compile(
        "/work" + "/|/home" + r"/(?!user\b)|/root" + "/|/Users" + r"/|index-url[ =]+[a-z]+:"
        r"|(?<![\w.])(?:artifactory|nexus|pypi|download\.pytorch)[\w-]*\.[\w.-]*\w",
    )
    for path in committed():
        data = path.read_bytes()
        assert len(data) < 10 * 10**6, f"{path} is over 10 MB"
        if b"\0" not in data:
            found = private.search(data.decode("utf-8"))
            assert found is None, f"{path}: {found and found[0]}"


# --- imports ---


def test_the_library_never_imports_the_page():
    for path in LIBRARY:
        tree = ast.parse(path.read_text("utf-8"))
        for node in ast.walk(tree):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            for name in names:
                assert name.split(".")[0] not in ("app", "gradio", "spaces"), path


def test_nobody_edits_where_python_looks():
    for path in CODE:
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            assert not isinstance(node, ast.Attribute) or ast.unparse(node) != "sys.path", path


def test_imports_go_one_way():
    graph = import_graph()
    done: set[str] = set()

    def visit(name: str, way: tuple[str, ...]) -> None:
        assert name not in way, "cycle: " + " -> ".join((*way, name))
        for below in graph[name] - done:
            visit(below, (*way, name))
        done.add(name)

    for name in graph:
        if name != "memorywrap":  # the package itself gathers what is public
            visit(name, ())


def test_the_lower_rooms_know_nothing_of_the_upper_ones():
    graph = import_graph()
    rooms = {name: name.split(".")[1] for name in graph if name != "memorywrap"}
    assert set(rooms.values()) == set(ORDER)
    for name, room in rooms.items():
        for below in graph[name] - {"memorywrap"}:
            assert ORDER.index(rooms[below]) <= ORDER.index(room), f"{name} imports {below}"


@pytest.mark.slow
def test_importing_does_no_work():
    """Neither a GPU nor the page nor the network is touched before somebody asks for it."""
    code = (
        "import sys, memorywrap, torch; "
        "slow = {'captum', 'matplotlib', 'torchvision', 'scipy'}; "
        "bad = ({'gradio', 'app', 'huggingface_hub'} | slow) & set(sys.modules); "
        "sys.exit(str(bad) if bad or torch.cuda.is_initialized() else 0)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr


def python_blocks() -> Iterator[tuple[str, ast.Module]]:
    """The Python of README and docs, by file."""
    for path in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))):
        for block in re.findall(r"```python\n(.*?)```", path.read_text("utf-8"), re.DOTALL):
            yield path.name, ast.parse(block)


def test_what_is_public_is_what_readme_and_docs_use():
    used = set()
    for name, block in python_blocks():
        for node in ast.walk(block):
            if isinstance(node, ast.ImportFrom) and node.module.split(".")[0] == "memorywrap":
                assert node.module == "memorywrap", f"{name} imports from inside: {node.module}"
                used |= {alias.name for alias in node.names}
    table = re.findall(r"`(\w+)`", (ROOT / "docs/api.md").read_text("utf-8"))
    assert used <= set(memorywrap.__all__)
    assert set(memorywrap.__all__) <= set(table)
    assert memorywrap.__all__ == sorted(memorywrap.__all__)
    assert all(getattr(memorywrap, name).__doc__ for name in memorywrap.__all__)
    assert (ROOT / "memorywrap/py.typed").exists()


@pytest.mark.parametrize(
    ("before", "name", "home"),
    [
        ("memorywrap.explain", "methods", "memorywrap.explanation.methods"),
        ("memorywrap.explain", "Explanation", "memorywrap.explanation.explanation"),
        ("memorywrap.model_card", "write_card", "memorywrap.checkpoints.card"),
        ("memorywrap.cli", "main", "memorywrap.commands.main"),
    ],
)
def test_import_names_of_before_keep_working(before, name, home):
    old, new = (getattr(importlib.import_module(module), name) for module in (before, home))
    assert old is new


# --- versions and packaging ---


def requirements(name: str) -> dict[str, str]:
    """Package -> version specifier."""
    lines = (ROOT / name).read_text("utf-8").splitlines()
    wanted = [line for line in lines if line and not line.startswith(("#", "-r"))]
    parts = [re.fullmatch(r"([\w-]+)([=<>~!].*)", line) for line in wanted]
    assert all(parts), wanted
    return {part[1]: part[2] for part in parts if part}


def test_versions_are_pinned_as_agreed():
    pinned = requirements("requirements.txt")
    assert pinned["torch"] == "==2.11.0" and pinned["torchvision"] == "==0.26.0"
    for name in ("entmax", "captum", "gradio", "pillow"):
        assert re.fullmatch(r"==[\d.]+", pinned[name]), name
    # Older ones let an upload exhaust the server.
    assert pinned["python-multipart"] == ">=0.0.31"
    assert set(requirements("requirements-dev.txt")) == {
        "hypothesis",
        "ipykernel",
        "nbclient",
        "mypy",
        "playwright",
        "pyarrow",
        "pytest-xdist",
        "ruff",
    }


@pytest.fixture
def project() -> dict:
    return tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))


def test_everything_the_library_needs_is_installed_by_requirements_too(project):
    needed = {re.split("[<>=]", entry)[0] for entry in project["project"]["dependencies"]}
    assert needed <= set(requirements("requirements.txt"))
    (gradio,) = (p for p in project["project"]["optional-dependencies"]["demo"] if "gradio" in p)
    assert gradio == f"gradio{requirements('requirements.txt')['gradio']}"


def test_the_library_is_installed_whole_and_the_page_is_not(project):
    settings = project["tool"]["setuptools"]
    files = [path.relative_to(ROOT) for path in committed()]
    packages = {".".join(path.parts[:-1]) for path in files if path.suffix == ".py"}
    included = settings["packages"]["find"]["include"]
    taken = {name for name in packages if any(fnmatchcase(name, one) for one in included)}
    assert taken == {name for name in packages if name.split(".")[0] == "memorywrap"}
    for name in taken:
        assert (ROOT / name.replace(".", "/") / "__init__.py").exists(), name
    data = [path for path in files if path.parts[0] == "memorywrap" and path.suffix != ".py"]
    patterns = settings.get("package-data", {}).get("memorywrap", [])
    inside = [path.relative_to("memorywrap") for path in data]
    left = [
        path
        for path in inside
        if not any(path.match(one) and path.parent == Path(one).parent for one in patterns)
    ]
    assert left == [], "package-data leaves them out"


def test_every_place_names_the_same_versions_of_python(project):
    names = [entry.rsplit(" ", 1)[1] for entry in project["project"]["classifiers"]]
    minors = [int(name.removeprefix("3.")) for name in names]
    assert minors == list(range(minors[0], minors[-1] + 1))
    assert project["project"]["requires-python"] == f">={names[0]}"
    assert project["tool"]["ruff"]["target-version"] == f"py3{minors[0]}"
    assert project["tool"]["mypy"]["python_version"] == names[0]

    makefile = (ROOT / "Makefile").read_text("utf-8")
    tried = re.findall(r"python3\.(\d+)", makefile)
    assert sorted(map(int, tried)) == minors
    assert f"(3, {minors[0]}) <= sys.version_info < (3, {minors[-1] + 1})" in makefile
    assert f"Python {', '.join(names[:-1])} or {names[-1]} with its venv" in makefile

    comment = (ROOT / "requirements.txt").read_text("utf-8")
    assert f"on Python {', '.join(names[:-1])} and {names[-1]}." in comment
    readme = (ROOT / "README.md").read_text("utf-8")
    assert f"with Python {names[0]} to {names[-1]} and make" in readme
    assert re.findall(r'^python_version: "(.+)"$', readme, re.MULTILINE)[0] in names
    (image,) = (line[1] for line in docker_instructions() if line[0] == "FROM")
    assert image in [f"python:{name}-slim" for name in names]


def test_whatever_drives_a_browser_is_slow(request):
    driven = [test for test in request.session.items if "browser" in test.fixturenames]
    assert all(test.get_closest_marker("slow") for test in driven)


# --- the container ---


def docker_instructions() -> list[list[str]]:
    text = (ROOT / "Dockerfile").read_text("utf-8").replace("\\\n", " ")
    return [line.split() for line in text.splitlines() if line and not line.startswith("#")]


def test_the_container_copies_what_is_there_and_is_not_ignored():
    kept = {
        line[1:]
        for line in (ROOT / ".dockerignore").read_text("utf-8").splitlines()
        if line.startswith("!")
    }
    copied = {
        source
        for name, *rest in docker_instructions()
        if name == "COPY"
        for source in [part for part in rest if not part.startswith("--")][:-1]
    }
    assert copied == kept == {"requirements.txt", "memorywrap", "app", "checkpoints"}
    assert all((ROOT / name).exists() for name in copied)


def test_the_container_runs_the_page_as_a_plain_user_on_the_port_of_spaces():
    lines = docker_instructions()
    after = lines[[line[0] for line in lines].index("USER") :]
    assert after[0] == ["USER", "1000"]
    assert not [line for line in after if line[0] in ("RUN", "COPY", "ADD")]
    assert ["EXPOSE", "7860"] in lines and lines[-1][0] == "CMD"
    assert " ".join(lines[-1]) == 'CMD ["python", "-m", "app"]'
    assert any(line[0] == "HEALTHCHECK" for line in lines)
    assert ["STOPSIGNAL", "SIGINT"] in after  # uploads are deleted on it, not on SIGTERM
    settings = next(line for line in after if line[0] == "ENV")
    assert {"GRADIO_SERVER_NAME=0.0.0.0", "GRADIO_SERVER_PORT=7860", "HF_HUB_OFFLINE=1"} <= set(
        settings
    )
