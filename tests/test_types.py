"""What an editor sees of the packages whose names are imported on first use is what they have."""

import ast
import importlib
from pathlib import Path

import pytest

LAZY = ("tljax", "tljax.data", "tljax.models", "tljax.transfer", "tljax.weights")


@pytest.mark.parametrize("package", LAZY)
def test_names_for_editors_are_those_that_are_imported_on_first_use(package):
    module = importlib.import_module(package)
    assert sorted(module._WHERE) == module.__all__
    assert typed(module) == {name: place(package, name, where) for name, where in module._WHERE.items()}


def typed(module) -> dict[str, str]:
    """What is imported for type checkers alone: name -> module."""
    tree = ast.parse(Path(module.__file__).read_text("utf-8"))
    (block,) = (node for node in tree.body if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING")
    return {alias.name: node.module for node in block.body for alias in node.names}


def place(package: str, name: str, where: str) -> str:
    return package if name == where else f"{package}.{where}"


def test_the_package_says_that_it_is_typed():
    assert (Path(importlib.import_module("tljax").__file__).parent / "py.typed").is_file()
