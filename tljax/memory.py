"""How a program treats memory: large arrays on Linux are kept, in large pages; garbage is looked for rarely.

The C library hands every array of more than 32 MB back to the system when it is freed, and each new one then costs a
page fault for every 4 KB: a quarter of the time of EfficientNet-Lite0 on two cores.
"""

import atexit
import ctypes
import gc
import os
import sys
from pathlib import Path

_MMAP_MAX, _TRIM_THRESHOLD, _ARENA_MAX = -4, -1, -8  # of mallopt(3)
_HUGEPAGE, _PAGE = 14, 2 << 20  # of madvise(2)


def keep_large_pages(reserve: int = 8 << 30) -> bool:
    """From now on this process keeps the memory that it frees, up to `reserve` bytes of it in pages of 2 MB.

    For programs, not for libraries: it holds for the whole process, which then never shrinks. The reserve takes address
    space only, until it is used. Does nothing where the C library is not glibc or the kernel has no large pages.

    Args:
        reserve: bytes; at most half of the machine's memory is taken.
    Returns:
        Whether anything was changed.
    """
    if sys.platform == "win32":
        return False
    try:
        offered = Path("/sys/kernel/mm/transparent_hugepage/enabled").read_text("ascii")
        libc = ctypes.CDLL("libc.so.6", use_errno=True)
    except OSError:
        return False
    libc.malloc.restype, libc.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
    libc.free.argtypes = [ctypes.c_void_p]
    libc.madvise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    settings = {_MMAP_MAX: 0, _TRIM_THRESHOLD: -1, _ARENA_MAX: 1}
    if "[never]" in offered or not all(libc.mallopt(name, value) for name, value in settings.items()):
        return False
    reserve = min(reserve, os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2)
    block = libc.malloc(reserve)
    if block is None:
        return False
    start, stop = -(-block // _PAGE) * _PAGE, (block + reserve) // _PAGE * _PAGE
    advised = libc.madvise(start, stop - start, _HUGEPAGE) == 0
    libc.free(block)
    return advised


def collect_rarely() -> None:
    """From now on Python looks for unreachable cycles a hundred times less often, and not at all at the end.

    For programs, not for libraries. What JAX and Flax make while they trace is many small objects that stay: to walk
    through them again and again is a fifth of the time of a short command.
    """
    gc.set_threshold(100_000, 50, 50)
    atexit.register(gc.freeze)
