"""From files to batches: decoding (`images`), where photos come from (`sources`), `splits`, and the `loader`.

Each name is imported when it is first used.
"""

from typing import TYPE_CHECKING

from tljax.lazy import lazy

if TYPE_CHECKING:
    from tljax.data.bundled import bundled_photograph
    from tljax.data.images import read_photo
    from tljax.data.source import Source, fingerprint
    from tljax.data.sources import image_source, open_source, photo_source
    from tljax.data.splits import split

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

__all__ = [
    "Source",
    "bundled_photograph",
    "fingerprint",
    "image_source",
    "open_source",
    "photo_source",
    "read_photo",
    "split",
]
__getattr__ = lazy(__name__, _WHERE)
