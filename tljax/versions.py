"""Which versions of packages are installed, and of this code."""

import os
import subprocess
from collections.abc import Iterable
from importlib.metadata import distributions
from itertools import islice
from pathlib import Path


def versions(packages: Iterable[str]) -> dict[str, str]:
    """{package: version} of those that are installed, in the order given; imports none of them.

    Example:
        >>> from tljax.versions import versions
        >>> list(versions(["numpy", "no-such-package"]))
        ['numpy']
    """
    return {name: found.version for name in packages for found in islice(distributions(name=name), 1)}


def git_commit() -> str | None:
    """The commit of the checkout that this code runs from, with "-dirty" after it where files differ; else None."""
    root = Path(__file__).parents[1]
    if not (root / ".git").exists():
        return None
    command = ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    plain = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    try:
        done = subprocess.run(command, env=plain, capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip() or None
