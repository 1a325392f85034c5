"""What was measured on: processor, memory, threads, versions."""

import os
import platform
import re
from pathlib import Path
from typing import Any

from tljax.versions import versions

PACKAGES = ("tljax", "jax", "jaxlib", "flax", "torch", "torchvision", "keras", "numpy", "pillow")


def describe(threads: int) -> dict[str, Any]:
    """The machine in words and numbers."""
    return {
        "processor": processor(),
        "cores": os.cpu_count(),
        "threads": threads,
        "dtype": "float32",
        "memory": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "system": f"{platform.system()} {platform.machine()}, Python {platform.python_version()}",
        "versions": versions(PACKAGES),
    }


def processor() -> str:
    """The name that the processor gives itself, with the widest vector instructions that it has."""
    path = Path("/proc/cpuinfo")
    text = path.read_text() if path.is_file() else ""
    name = re.search(r"model name\s*: (.+)", text)
    wide = next((flag for flag in ("avx512f", "avx2", "avx", "asimd") if re.search(rf"\b{flag}\b", text)), "")
    return " ".join(filter(None, [name[1] if name else platform.processor() or platform.machine(), wide]))
