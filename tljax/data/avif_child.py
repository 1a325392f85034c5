"""Turns an AVIF into a PNG in a process of its own: `python -P avif_child.py MOST_PIXELS < AVIF > PNG`.

The decoder of AV1 takes memory for the sides that the video stream tells, of up to 16,384 pixels each, and not those
that the file's header tells; so there is a limit on what this process may take. Imports nothing of tljax.
"""

import contextlib
import io
import sys

TOO_LARGE = 3
_MEMORY = 1 << 30
_SECONDS = 20  # of CPU time


def main(most: int) -> int:
    """Writes the PNG to stdout; returns the exit code."""
    with contextlib.suppress(ImportError, ValueError, OSError):  # not every system has them
        import resource

        assert sys.platform != "win32"

        for name, limit in {"RLIMIT_AS": _MEMORY, "RLIMIT_CPU": _SECONDS, "RLIMIT_CORE": 0}.items():
            resource.setrlimit(getattr(resource, name), (limit, limit))
    from PIL import AvifImagePlugin, Image

    AvifImagePlugin.DEFAULT_MAX_THREADS = 1  # each one more would take memory, and other photos are read meanwhile
    Image.MAX_IMAGE_PIXELS = None
    with Image.open(io.BytesIO(sys.stdin.buffer.read()), formats=["AVIF"]) as picture:
        if picture.width * picture.height > most:
            return TOO_LARGE
        picture.load()
        picture.save(sys.stdout.buffer, "PNG", compress_level=0, exif=picture.getexif())
    return 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1])))
