"""An exported ONNX file in the place of a network: read with care, run by ONNX Runtime in a process of its own."""

import contextlib
import json
import os
import struct
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int, UInt8

from tljax.data.images import DecodeError, preprocess
from tljax.data.loader import Skipped
from tljax.data.source import Source
from tljax.errors import InputError
from tljax.files import read_regular
from tljax.models.spec import ModelSpec
from tljax.progress import Track, untracked
from tljax.transfer import onnx_child

_MOST_BYTES = 2**31 - 1
_SECONDS = 120
_OPSETS = range(7, 27)


def _is_share(value: Any) -> bool:
    return isinstance(value, float | int) and 0 <= value <= 1


_FACTS = {
    "input_size": lambda value: type(value) is int and 1 <= value <= 4096,
    "crop_pct": lambda value: isinstance(value, float | int) and 0.1 <= value <= 1,
    "interpolation": lambda value: value in ("bilinear", "bicubic"),
    "crop_mode": lambda value: value in ("center", "border", "squash"),
    "mean": lambda value: isinstance(value, list) and len(value) == 3 and all(map(_is_share, value)),
    "white": lambda value: value is None or (type(value) is int and 1 <= value <= 65535),
    "resized_inside": lambda value: isinstance(value, bool),
}


@dataclass(frozen=True)
class OnnxFile:
    """What `tljax export` wrote, in the place of a network where only probabilities are asked for.

    Attributes:
        path: where it lies.
        spec: classes and preprocessing, from its metadata; `spec.name` is the network that it came from.
        resized_inside: it takes pictures of any size; else `spec` says how they are resized and cropped.
    """

    path: Path
    spec: ModelSpec
    resized_inside: bool

    def probabilities(self, pictures: Iterable[UInt8[np.ndarray, "h w 3"]]) -> Iterator[Float[np.ndarray, " k"]]:
        """The probabilities of upright pictures of any size, one after the other.

        Raises:
            InputError: ONNX Runtime cannot run the file, or it gives something else than probabilities.
        """
        return (probs for probs, _ in self.outputs(pictures))

    def outputs(self, pictures: Iterable[UInt8[np.ndarray, "h w 3"]]) -> Iterator[tuple[np.ndarray, float]]:
        """As `probabilities`, each with the score of being none of the classes: above 1 it is, nan: nobody knows."""
        with _running(self.path, len(self.spec.classes)) as ask:
            for picture in pictures:
                *probs, score = ask(picture if self.resized_inside else preprocess(picture, self.spec))
                probs = np.asarray(probs)
                if not (np.isfinite(probs).all() and probs.min() >= 0 and abs(probs.sum() - 1) < 1e-2):
                    raise InputError(f'"{self.path}" gives numbers that are no probabilities')
                yield probs, float(score)

    def score_source(
        self, source: Source, *, track: Track = untracked
    ) -> tuple[Float[np.ndarray, "n k"], Float[np.ndarray, " n"], Int[np.ndarray, " n"], list[Skipped]]:
        """As `prediction.score_source` for a network, one picture at a time."""
        index: list[int] = []
        skipped: list[Skipped] = []

        def readable() -> Iterator[np.ndarray]:
            for i in track(range(len(source.files)), "predict", len(source.files)):
                try:
                    picture = source.picture(i, short_side=self.spec.resize_size, white=self.spec.white)
                except (DecodeError, OSError, MemoryError) as error:
                    reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
                    skipped.append(Skipped(source.files[i], reason, int(source.labels[i])))
                else:
                    index.append(i)
                    yield picture

        said = list(self.outputs(readable()))
        probs = np.array([one for one, _ in said], np.float32).reshape(-1, len(self.spec.classes))
        return probs, np.array([score for _, score in said], np.float32), np.asarray(index, np.int64), skipped


def read_onnx(path: str | Path) -> OnnxFile:
    """Reads what `tljax export` wrote, without running it.

    Raises:
        InputError: the package onnx or onnxruntime is not installed; no such file; a damaged one, a model of another
            origin, or one that holds more than plain operators (loops, functions, links to other files).
    """
    for package in ("onnx", "onnxruntime"):
        if find_spec(package) is None:
            raise InputError(f"reading ONNX files needs the package {package}: pip install 'tljax[onnx]'")
    import onnx
    from google.protobuf.message import DecodeError as Damaged

    try:
        model = onnx.load_from_string(read_regular(path, most=_MOST_BYTES))
        spec, resized_inside = _facts({prop.key: prop.value for prop in model.metadata_props})
        _check_signature(onnx, model.graph, len(spec.classes), None if resized_inside else spec.input_size)
        _check_plain(onnx, model)
    except OSError as error:
        raise InputError(f'cannot read "{path}": {error.strerror or error}') from None
    except (Damaged, UnicodeDecodeError):
        raise InputError(f'"{path}" is damaged, or no ONNX file') from None
    except _Foreign as reason:
        raise InputError(f'"{path}" is no ONNX file that `tljax export` wrote: {reason}') from None
    return OnnxFile(Path(path), spec, resized_inside)


class _Foreign(Exception):
    """What is not as `tljax export` writes it."""


def _facts(metadata: dict[str, str]) -> tuple[ModelSpec, bool]:
    """Classes and preprocessing."""
    try:
        classes, facts = json.loads(metadata["classes"]), json.loads(metadata["preprocessing"])
    except KeyError as key:
        raise _Foreign(f"its metadata lack {key}") from None
    except (ValueError, RecursionError):
        raise _Foreign("its metadata are damaged") from None
    if not isinstance(classes, list) or not classes or not all(isinstance(name, str) for name in classes):
        raise _Foreign("its classes are no list of names")
    for key, right in _FACTS.items():
        if not isinstance(facts, dict) or not right(facts.get(key)):
            raise _Foreign(f'its preprocessing says nothing sensible of "{key}"')
    name = metadata.get("model", "")[:100]
    used = {key: facts[key] for key in ("input_size", "crop_pct", "interpolation", "crop_mode", "white")}
    used["mean"] = tuple(facts["mean"])
    origin = {"licence": metadata.get("licence", "")}
    spec = ModelSpec(name, "onnx", (), 0, "", 0, classes=tuple(classes), **origin, **used)
    return spec, facts["resized_inside"]


def _check_signature(onnx: Any, graph: Any, classes: int, side: int | None) -> None:
    """One input, uint8 (b, h, w, 3), and the output float32 (b, classes)."""
    constants = {tensor.name for tensor in graph.initializer}
    inputs = [value for value in graph.input if value.name not in constants]
    outputs = [value for value in graph.output if value.name == onnx_child.OUTPUT]
    if len(inputs) != 1 or len(outputs) != 1:
        raise _Foreign(f'it has {len(inputs)} inputs, and {len(outputs)} outputs called "{onnx_child.OUTPUT}"')
    shapes = []
    for value, dtype in ((inputs[0], onnx.TensorProto.UINT8), (outputs[0], onnx.TensorProto.FLOAT)):
        tensor = value.type.tensor_type
        if tensor.elem_type != dtype:
            raise _Foreign(f'"{value.name[:40]}" is not of the type {onnx.TensorProto.DataType.Name(dtype)}')
        shapes.append([dim.dim_value or None for dim in tensor.shape.dim])
    wanted = [[None, side, side, 3], [None, classes]]
    if shapes != wanted:
        raise _Foreign(f"it maps {shapes[0]} to {shapes[1]}, not {wanted[0]} to {wanted[1]}")


def _check_plain(onnx: Any, model: Any) -> None:
    """Standard operators alone, all constants inside: no loop, no function, no way to another file."""
    if any(one.domain or one.version not in _OPSETS for one in model.opset_import) or model.functions:
        raise _Foreign("it has operators of its own, or of another version of ONNX")
    if model.graph.sparse_initializer:
        raise _Foreign("it holds sparse constants")
    tensors, allowed = list(model.graph.initializer), onnx.AttributeProto
    for node in model.graph.node:
        if node.domain:
            raise _Foreign(f'it has the operator "{node.domain[:40]}.{node.op_type[:40]}"')
        for attribute in node.attribute:
            if attribute.type not in (allowed.INT, allowed.INTS, allowed.FLOAT, allowed.FLOATS, allowed.STRING):
                raise _Foreign(f'its operator "{node.op_type[:40]}" holds a graph or a tensor')
    if any(tensor.data_location == onnx.TensorProto.EXTERNAL or tensor.external_data for tensor in tensors):
        raise _Foreign("its weights lie in other files")


@contextlib.contextmanager
def _running(path: Path, classes: int) -> Iterator[Callable[[np.ndarray], np.ndarray]]:
    """A function from a picture to what `onnx_child` says of it; the child lives as long as the block."""
    command = [sys.executable, "-P", onnx_child.__file__, os.path.abspath(path), str(classes)]
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, **pipes) as child:
        assert child.stdin
        assert child.stdout
        assert child.stderr
        asked, answers, complaints = child.stdin, child.stdout, child.stderr

        def ask(picture: np.ndarray) -> np.ndarray:
            watchdog = threading.Timer(_SECONDS, child.kill)
            watchdog.start()
            try:
                asked.write(struct.pack("<qq", *picture.shape[:2]) + np.ascontiguousarray(picture).tobytes())
                asked.flush()
                answer = answers.read(4 * (classes + 1))
            except BrokenPipeError:
                answer = b""
            finally:
                watchdog.cancel()
            if len(answer) < 4 * (classes + 1):
                child.kill()
                said = complaints.read().decode("utf-8", "replace").splitlines()
                refused = child.wait() == onnx_child.REFUSED and said
                raise InputError(f'ONNX Runtime cannot run "{path}": {said[-1] if refused else "it did not survive"}')
            return np.frombuffer(answer, "<f4").astype(np.float32)

        try:
            yield ask
        finally:
            child.kill()
