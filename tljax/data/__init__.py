"""From files to batches: decoding (`images`), where photos come from (`sources`), `splits`, and the `loader`.

Each name is imported when it is first used.
"""

from tljax.lazy import lazy

_WHERE = {
    "Source": "source",
    "bundled_photograph": "bundled",
    "fingerprint": "source",
    "image_source": "sources",
    "open_source": "sources",
    "photo_source": "sources",
    "read_photo": "images",
    "split": "splits",
}

__all__ = [*_WHERE]
__getattr__ = lazy(__name__, _WHERE)
