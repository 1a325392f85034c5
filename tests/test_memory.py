"""Large pages: in a process of its own, since they cannot be given back."""

import subprocess
import sys

import pytest

SCRIPT = """
from tljax.memory import keep_large_pages
if not keep_large_pages():
    print("none")
    raise SystemExit
import numpy as np
def huge():
    with open("/proc/self/smaps_rollup") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("AnonHugePages"))
before = huge()
np.ones(100 << 20, np.uint8)
kept = huge()
np.ones(100 << 20, np.uint8)
print(kept - before, huge() - kept)
"""


def test_a_large_array_lies_in_large_pages_that_the_process_keeps():
    said = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True).stdout.split()
    if said == ["none"]:
        pytest.skip("no large pages here")
    assert int(said[0]) > 90 << 10  # kB, after the array was freed
    assert int(said[1]) < 10 << 10  # the second array lies where the first one was


def test_a_program_that_collects_rarely_says_so_to_python():
    script = "import gc; from tljax.memory import collect_rarely; collect_rarely(); print(gc.get_threshold()[0])"
    said = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert int(said) > 10_000
