"""Shared fixtures."""

import gc
import os
import sys
from pathlib import Path

import pytest
from hypothesis import settings

_MOST_MAPS = 30_000

settings.register_profile("tljax", deadline=None)  # a busy machine is no failure
settings.load_profile("tljax")

if os.environ.get("TLJAX_TYPECHECK"):  # shapes, dtypes and types, of every call of tljax
    from jaxtyping import install_import_hook

    import tests.beartyped  # noqa: F401  the hook knows only the name

    install_import_hook("tljax", "tests.beartyped.check")


@pytest.fixture(scope="session")
def sample_data() -> Path:
    """The folder of sample photographs; a test that needs it skips where it is absent."""
    folder = Path(os.environ.get("TLJAX_SAMPLE_DATA", Path(__file__).parents[2] / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"no sample photographs at {folder}; set TLJAX_SAMPLE_DATA")
    return folder


@pytest.fixture(autouse=True)
def private_cache(tmp_path_factory, monkeypatch):
    """Features and downloads of a test never meet the user's own cache."""
    monkeypatch.setenv("TLJAX_CACHE", str(tmp_path_factory.mktemp("cache")))


@pytest.fixture(autouse=True, scope="module")
def few_programs():
    """Forgets compiled programs before there are too many: each is mapped in pieces, of which Linux allows 65,530."""
    yield
    maps = Path("/proc/self/maps")
    if "jax" in sys.modules and maps.is_file() and maps.read_bytes().count(b"\n") > _MOST_MAPS:
        sys.modules["jax"].clear_caches()
        gc.collect()


@pytest.fixture
def quick_to_compile():
    """For toy networks, which take longer to compile than to run: machine code is not polished."""
    import jax

    before = jax.config.read("jax_disable_most_optimizations")
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", before)
