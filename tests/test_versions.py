"""Versions of packages, without importing them."""

import subprocess
import sys
from importlib.metadata import version

from tljax.versions import versions


def test_versions_of_what_is_installed_in_the_order_given():
    found = versions(["numpy", "no-such-package", "jax"])
    assert list(found.items()) == [("numpy", version("numpy")), ("jax", version("jax"))]


def test_nothing_is_imported_for_it():
    script = "import sys; from tljax.versions import versions; versions(['jax']); assert 'jax' not in sys.modules"
    subprocess.run([sys.executable, "-c", script], check=True)
