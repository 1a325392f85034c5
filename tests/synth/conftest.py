"""Here all networks are toys."""

import pytest


@pytest.fixture(autouse=True)
def toys(quick_to_compile):
    """Every test compiles quickly."""
