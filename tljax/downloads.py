"""Files from the web and from the hub, whole or not at all. Imports no jax."""

import hashlib
import math
import re
import sys
import time
from pathlib import Path

from tljax.errors import InputError
from tljax.files import replacing

_TIMEOUT = 10  # seconds without a byte
_TRIES = 3
_PAUSE = 1.0  # seconds before another try
_LONGEST_WAIT = 30  # seconds that a busy server may ask for
_BROKEN = "the connection broke off"


class Unavailable(Exception):
    """Why a source did not give its file; continues a list of reasons."""


def fetch_file(url: str, target: Path, *, sha256: str) -> Path:
    """A file from the web at `target`; where it is there already, no request is made.

    Args:
        sha256: of the file.
    Raises:
        InputError: it cannot be had, or is another one; says why.
    """
    try:
        here = target.is_file() and not mismatch(target, sha256)
        return target if here else downloaded(url, target, sha256)
    except Unavailable as reason:
        raise InputError(f"cannot get {reason}") from None


def cached_hub_file(repository: str, name: str) -> Path | None:
    """A file of a repository of the hub, where it lies in the hub's own cache. Makes no request."""
    from huggingface_hub import try_to_load_from_cache

    path = try_to_load_from_cache(repository, name)
    return Path(path) if isinstance(path, str) and Path(path).is_file() else None


def hub_file(repository: str, name: str) -> Path:
    """Downloads into the hub's own cache. A short question first: the client's retries take half a minute.

    Raises:
        Unavailable: says why.
    """
    from huggingface_hub import get_hf_file_metadata, hf_hub_download, hf_hub_url

    url = hf_hub_url(repository, name)
    try:
        etag = get_hf_file_metadata(url, timeout=_TIMEOUT).etag or ""
        path = Path(hf_hub_download(repository, name))
    except Exception as error:  # the client lets through the errors of whichever HTTP library it is built on
        raise Unavailable(f"{name} from {url} ({_reason(error)})") from None
    wrong = mismatch(path, etag if re.fullmatch("[0-9a-f]{64}", etag) else "")  # of a large file, it is the SHA-256
    if wrong:
        path.resolve().unlink(missing_ok=True)
        path.unlink(missing_ok=True)
        raise Unavailable(f"{name} from {url} ({wrong})")
    return path


def downloaded(url: str, target: Path, known: str) -> Path:
    """Downloads to a temporary name and moves it into place once its hash is right.

    Args:
        known: how its SHA-256 starts, "md5:" and how its MD5 starts, or "".
    Raises:
        Unavailable: says why.
    """
    try:
        with replacing(target) as part:
            _download(url, part)
            wrong = mismatch(part, known)
            if wrong:
                raise Unavailable(f"{target.name} from {url} ({wrong})")
    except OSError as error:
        raise Unavailable(f"{target.name} from {url} ({_reason(error)})") from None
    return target


def _download(url: str, part: Path) -> None:
    """Up to three times, where the connection broke off or the server is busy and asks for no long wait."""
    import pooch

    download = pooch.HTTPDownloader(progressbar=sys.stderr.isatty(), chunk_size=1 << 20, timeout=_TIMEOUT)
    for left in reversed(range(_TRIES)):
        try:
            download(url, str(part), None)
            return
        except OSError as error:
            wait = _wait(error)
            if not left or not wait <= _LONGEST_WAIT:
                raise
            time.sleep(wait)


def _wait(error: OSError) -> float:
    """The seconds after which another try makes sense; infinity where none does."""
    response = getattr(error, "response", None)
    if response is None:
        return _PAUSE if _reason(error) == _BROKEN else math.inf
    asked = response.headers.get("Retry-After")
    busy = response.status_code == 429 or response.status_code >= 500
    if not busy or (asked and not asked.isdigit()):
        return math.inf
    return float(asked) if asked else _PAUSE


def mismatch(path: Path, known: str) -> str:
    """What is wrong with a file whose hash is `known` as in `downloaded`; "" where nothing is."""
    with path.open("rb") as file:
        if file.read(64).lstrip().lower().startswith((b"<!doctype", b"<html")):
            return "a web page came instead"
    if not known:
        return ""
    kind, _, start = known.lower().rpartition(":")
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, kind or "sha256").hexdigest()
    called = "MD5" if kind else "SHA-256"
    return "" if digest.startswith(start) else f"its {called} starts {digest[:8]}, not {start[:8]}"


def _reason(error: Exception) -> str:
    """A cause in a few words: the status of a response, or what the lowest layer said."""
    response = getattr(error, "response", None)
    if response is not None:
        asked = response.headers.get("Retry-After")
        return f"HTTP status {response.status_code}" + (f", to be asked again after {asked[:40]} s" if asked else "")
    text = str(error).lower()
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    own_words = " ".join(str(error).split())[:100] or type(error).__name__
    return next((meaning for words, meaning in _NETWORK_FAULTS.items() if words in text), own_words)


_NETWORK_FAULTS = {
    "timed out": "no answer",
    "refused": "connection refused",
    "resolve": "no network",
    "name or service not known": "no network",
    "temporary failure in name resolution": "no network",
    "incomplete": _BROKEN,
    "broken": _BROKEN,
    "peer closed": _BROKEN,
    "reset by peer": _BROKEN,
    "offline mode": "offline mode is on",
}
