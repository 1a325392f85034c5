"""Who imports whom, read from the code itself: the rows of the house, and the three things that never happen."""

import ast
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ROWS = (
    ("downloads", "errors", "files", "lazy", "memory", "metrics", "progress", "trees", "versions"),
    ("distributed",),
    ("models",),
    ("weights",),
    ("data",),
    ("report",),
    ("onnx",),
    ("transfer",),
    ("synth",),
    ("commands",),
    ("cli",),
)
"""A module imports from its own row and from those above. `tljax/__init__.py`, which imports on first use, is apart."""
LEARNING = (
    *("adversarial", "augment", "comparison", "features", "finetuning", "freeze", "head", "history", "hooks"),
    *("layer_choice", "logistic", "naming", "prediction", "probe", "train_step"),
    *("trust/fold_sets", "trust/learning_curve", "trust/sets", "trust/unknown"),
)
MACHINERY = (
    *("tljax.files", "tljax.distributed.join", "tljax.distributed.watch"),
    *(
        f"tljax.transfer.{name}"
        for name in (
            *(
                "checkpoint",
                "config_file",
                "evaluation",
                "fitting",
                "inputs",
                "job",
                "metrics_log",
                "pipeline",
                "preemption",
                "resume",
                "run",
            ),
            *("run_folder", "training", "trust.arrays_file"),
        )
    ),
    *("orbax", "signal", "threading"),
)
OWN_NETWORKS = ("experiments/training_tricks.py",)
"""Experiments that build a network of their own, and so may import Flax."""

SHARED = ("experiments.comparison", "experiments.findings", "experiments.page")
"""What experiments have in common: figures over seeds, and the page."""

LIBRARY = sorted({*(ROOT / "tljax").rglob("*.py")} - {*(ROOT / "tljax").glob("__*__.py")})
EXPERIMENTS = sorted([*(ROOT / "experiments").rglob("*.py"), *(ROOT / "experiments").rglob("*.ipynb")])


def named(paths):
    return pytest.mark.parametrize("path", paths, ids=lambda path: path.relative_to(ROOT).as_posix())


def imports(path: Path) -> Iterator[str]:
    """The modules that a file imports, anywhere in it: "tljax.files" for `from tljax import files`, too."""
    for node in ast.walk(ast.parse(code(path))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"line {node.lineno}: a relative import"
            for alias in node.names:
                name = f"{node.module}.{alias.name}"
                place = ROOT / name.replace(".", "/")
                yield name if place.is_dir() or place.with_suffix(".py").is_file() else node.module


def code(path: Path) -> str:
    """The code of a module, or of all cells of a notebook."""
    text = path.read_text("utf-8")
    if path.suffix == ".py":
        return text
    return "\n".join("".join(cell["source"]) for cell in json.loads(text)["cells"] if cell["cell_type"] == "code")


def within(module: str, packages: tuple[str, ...]) -> bool:
    """Whether a module is one of the packages, or lies in one."""
    return any(f"{module}.".startswith(f"{package}.") for package in packages)


def row(name: str) -> int:
    """The row of a module or package of tljax, counted from above."""
    (place,) = (place for place, names in enumerate(ROWS) if name in names)
    return place


@named(LIBRARY)
def test_a_row_imports_only_from_the_rows_above_it(path):
    own = row(path.relative_to(ROOT / "tljax").parts[0].removesuffix(".py"))
    below = [name for name in imports(path) if name.startswith("tljax.") and row(name.split(".")[1]) > own]
    assert below == []


@named([path for path in LIBRARY if "report" in path.parts])
def test_pages_know_nothing_but_the_ground_floor(path):
    known = tuple(f"tljax.{name}" for name in (*ROWS[0], "report"))
    assert [name for name in imports(path) if within(name, ("tljax",)) and not within(name, known)] == []


@pytest.mark.parametrize("name", LEARNING)
def test_learning_never_imports_files_joining_signals_or_checkpoints(name):
    assert [module for module in imports(ROOT / "tljax/transfer" / f"{name}.py") if within(module, MACHINERY)] == []


@named(EXPERIMENTS)
def test_experiments_never_import_commands_or_tests_or_each_other(path):
    own = "experiments." + path.relative_to(ROOT / "experiments").parts[0].removesuffix(".py")
    for name in imports(path):
        assert not within(name, ("tests", "tljax.commands", "tljax.cli"))
        assert name == "experiments" or not within(name, ("experiments",)) or within(name, (own, *SHARED))


@named([*LIBRARY, *EXPERIMENTS])
def test_only_models_import_flax(path):
    place = path.relative_to(ROOT).as_posix()
    if not place.startswith("tljax/models/") and place not in OWN_NETWORKS:
        assert not [name for name in imports(path) if within(name, ("flax",))]


def test_what_may_import_flax_does():
    """Or else it should leave the list."""
    assert all("flax" in "\n".join(imports(ROOT / place)) for place in OWN_NETWORKS)


def test_imports_are_found_wherever_they_stand(tmp_path):
    path = tmp_path / "module.py"
    path.write_text(
        "import signal as s\nfrom tljax import files, trees as t\ndef f():\n    from flax.linen import Dense\n"
    )
    assert list(imports(path)) == ["signal", "tljax.files", "tljax.trees", "flax.linen"]
    assert within("flax.linen", ("flax",))
    assert not within("flaxen", ("flax",))
