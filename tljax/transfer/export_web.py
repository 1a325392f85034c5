"""A classifier as a folder of a web page, which runs in the browser and on any static host."""

import tarfile
from importlib import resources
from pathlib import Path
from typing import Any

from tljax.downloads import fetch_file
from tljax.errors import InputError
from tljax.files import cache_dir, replacing, write_json
from tljax.models.network import Network
from tljax.transfer.card import CARD
from tljax.transfer.export import preprocessing
from tljax.transfer.onnx_export import write_onnx

MARKER = "model.onnx"
"""The file by which a folder is known as such a page."""

_VERSION = "1.30.0"
_URL = f"https://registry.npmjs.org/onnxruntime-web/-/onnxruntime-web-{_VERSION}.tgz"
_SHA256 = "d2228df7e4616bc3348bf504ee888f3bec43789a273f0a63f3e68d203ce3bf71"
_RUNTIME = ("ort.wasm.bundle.min.mjs", "ort-wasm-simd-threaded.wasm")
_PAGE = ("index.html", "page.js", "page.css")


def write_web(
    net: Network, out: str | Path, *, name: str, card: str, runtime: str | Path | None = None
) -> dict[str, Any]:
    """Writes the folder `out`: the page, the network as ONNX, and ONNX Runtime Web with its licence.

    The page resizes photos itself, in Pillow's arithmetic. ONNX Runtime Web runs in one thread, which asks no headers
    of the server. There is no request to another host.

    Args:
        name: the heading of the page.
        card: the model card, README.md.
        runtime: an unpacked `onnxruntime-web` of npm; None: the one that is known here, from the cache or from npm.
    Returns:
        as `write_onnx`, and "heat": whether the page can show what speaks for a class.
    Raises:
        InputError: as `write_onnx`; ONNX Runtime Web cannot be had.
    """
    files = runtime_files(runtime)
    with replacing(out, folder=True) as part:
        facts = _write_model(net, part / MARKER)
        used = {key: facts[key] for key in ("classes", "model", "licence", "heat")}
        write_json(part / "model.json", {"name": name, **used, **preprocessing(net.spec, cropped=True)})
        (part / CARD).write_text(card, "utf-8")
        web = resources.files("tljax.transfer") / "web"
        for file in _PAGE:
            (part / file).write_bytes((web / file).read_bytes())
        (part / "runtime").mkdir()
        for file, data in files.items():
            (part / "runtime" / file).write_bytes(data)
        (part / "runtime" / "LICENSE").write_bytes((web / "onnxruntime-LICENSE").read_bytes())
    return facts


def runtime_files(runtime: str | Path | None = None) -> dict[str, bytes]:
    """The files of ONNX Runtime Web that the page needs, {name: content}.

    Raises:
        InputError: the folder lacks one; there is no network, and none in the cache.
    """
    if runtime is None:
        return _packed_files()
    places = [Path(runtime) / below for below in ("", "dist", "package/dist")]
    for place in places:
        if all((place / file).is_file() for file in _RUNTIME):
            return {file: (place / file).read_bytes() for file in _RUNTIME}
    raise InputError(f'"{runtime}" has no {" and ".join(_RUNTIME)}: unpack onnxruntime-web {_VERSION} of npm there')


def _packed_files() -> dict[str, bytes]:
    target = cache_dir() / "onnxruntime-web" / _URL.rsplit("/", 1)[-1]
    try:
        packed = fetch_file(_URL, target, sha256=_SHA256)
    except InputError as error:
        raise InputError(
            f"{error}; unpack that file where there is a network, and pass its folder: --runtime"
        ) from None
    with tarfile.open(packed) as archive:
        members = {file: archive.extractfile(f"package/dist/{file}") for file in _RUNTIME}
        return {file: member.read() for file, member in members.items() if member}


def _write_model(net: Network, out: Path) -> dict[str, Any]:
    """With a heat map, where ONNX has operators for its gradient: all but the original classifiers of VGG."""
    try:
        return {**write_onnx(net, out, cropped=True, heat=True), "heat": True}
    except InputError:
        return {**write_onnx(net, out, cropped=True), "heat": False}
