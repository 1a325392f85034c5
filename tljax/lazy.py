"""Public names that are imported when they are first used (PEP 562), so that to import a package costs nothing."""

import importlib
from collections.abc import Callable, Mapping
from typing import Any


def lazy(package: str, where: Mapping[str, str]) -> Callable[[str], Any]:
    """The `__getattr__` of a package.

    Args:
        package: its `__name__`.
        where: {public name: the module below the package that has it}; a module's own name stands for the module.

    Example:
        >>> from tljax.lazy import lazy
        >>> __getattr__ = lazy("tljax", {"get_spec": "models.spec", "trees": "trees"})
        >>> __getattr__("get_spec")("resnet50").name
        'resnet50'
    """

    def load(name: str) -> Any:
        if name not in where:
            raise AttributeError(f"module '{package}' has no attribute '{name}'")
        module = importlib.import_module(f"{package}.{where[name]}")
        return module if where[name] == name else getattr(module, name)

    return load
