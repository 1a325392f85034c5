"""A network as one file that JAX alone runs: what `predict` does from pixels to probabilities, by `jax.export`."""

from collections.abc import Callable, Sequence
from datetime import date
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int32, UInt8

from tljax import __version__
from tljax.errors import InputError
from tljax.files import replacing, write_json
from tljax.models.network import Network, for_inference
from tljax.models.spec import ModelSpec
from tljax.transfer.prediction import judged

PLATFORMS = ("cpu", "cuda", "tpu")
_KNOWN = (*PLATFORMS, "rocm")
_MONTHS = 6
_RELEASED = {
    "0.8.0": date(2025, 10, 15),
    "0.8.1": date(2025, 11, 18),
    "0.8.2": date(2025, 12, 18),
    "0.8.3": date(2026, 1, 29),
    "0.9.0": date(2026, 1, 20),
    "0.9.0.1": date(2026, 2, 5),
    "0.9.1": date(2026, 3, 2),
    "0.9.2": date(2026, 3, 18),
    "0.10.0": date(2026, 4, 16),
    "0.10.1": date(2026, 5, 20),
    "0.10.2": date(2026, 6, 17),
}
"""When versions of jax came out, by the package index."""


def export_network(net: Network, *, platforms: Sequence[str] = PLATFORMS, cropped: bool = False) -> jax.export.Exported:
    """A network as a function from pixels to probabilities, with its weights and its preprocessing inside.

    It takes uint8 RGB pictures of any size and number, and does what `tljax predict` does with decoded ones:
    antialiased resize in 8 bits, the run's crop, normalisation, network, softmax. XLA compiles it for each (b, h, w).

    Args:
        net: pretrained, or a trained run.
        platforms: of "cpu", "cuda", "tpu", "rocm"; all are lowered here, whatever this machine has.
        cropped: it takes pictures that were resized and cropped outside, (b, s, s, 3) with s = `spec.input_size`.
    Returns:
        uint8 (b, h, w, 3) -> float32 (b, classes); `serialize()` gives the bytes, `call` runs it.
    Raises:
        InputError: no platform, or an unknown one.

    >>> exported = tljax.transfer.export_network(net, platforms=["cpu"], cropped=True)
    >>> exported.call(photos)[0].shape if isinstance(exported.call(photos), tuple) else exported.call(photos).shape
    (8, 2)
    """
    _check(platforms)
    form = ", ".join(map(str, picture_shape(net.spec, cropped=cropped)))
    images = jax.ShapeDtypeStruct(jax.export.symbolic_shape(form), jnp.uint8)
    function = jax.jit(make_classifier(net, cropped=cropped))
    with jax.enable_x64(True):
        return jax.export.export(function, platforms=tuple(platforms))(images)


def make_classifier(net: Network, *, cropped: bool = False) -> Callable[[UInt8[Array, "b h w 3"]], Float[Array, "b k"]]:
    """A function from pictures to probabilities, to be traced under `jax.enable_x64(True)`.

    Args:
        cropped: the pictures are resized and cropped already.
    """
    outputs = make_outputs(net, cropped=cropped)
    return lambda images: outputs(images)["output"]


def make_outputs(net: Network, *, cropped: bool = False) -> Callable[[UInt8[Array, "b h w 3"]], dict[str, Array]]:
    """As `make_classifier`, by name: "output" (b, k), and where the network tells "unknown" (b,): `unknown_score`."""
    fast, spec = for_inference(net), net.spec

    def outputs(images):
        pixels = (images if cropped else resized(images, spec)).astype(jnp.float32) / 255
        if "unknown" not in fast.variables:
            return {"output": jax.nn.softmax(fast.apply(fast.variables, pixels).astype(jnp.float32))}
        logits, scores = judged(fast.variables, fast.embed(fast.variables, pixels))
        return {"output": jax.nn.softmax(logits), "unknown": scores}

    return outputs


def picture_shape(spec: ModelSpec, *, cropped: bool) -> tuple[str | int, ...]:
    """The shape of what an exported network takes, its symbolic sizes as names."""
    return ("b", spec.input_size, spec.input_size, 3) if cropped else ("b", "h", "w", 3)


def preprocessing(spec: ModelSpec, *, cropped: bool) -> dict[str, Any]:
    """What happens to a picture before the network sees it, and whether that is inside the exported file."""
    return {
        "resize_size": spec.resize_size,
        "input_size": spec.input_size,
        "interpolation": spec.interpolation,
        "crop_mode": spec.crop_mode,
        "mean": list(spec.mean),
        "white": spec.white,
        "resized_inside": not cropped,
    }


def write_export(
    net: Network, out: str | Path, *, platforms: Sequence[str] = PLATFORMS, cropped: bool = False
) -> dict[str, Any]:
    """Writes `out`, which `jax.export.deserialize` reads, and beside it `out`.json: classes, preprocessing, versions.

    Its "readable" says which versions of jax read it: JAX promises no more than six months.

    Returns:
        what is in `out`.json.
    Raises:
        InputError: see `export_network`.  OSError: it cannot be written.
    """
    exported = export_network(net, platforms=platforms, cropped=cropped)
    spec, out = net.spec, Path(out)
    card = {
        "classes": list(spec.classes),
        "input": str(exported.in_avals[0]),
        "output": str(exported.out_avals[0]),
        **preprocessing(spec, cropped=cropped),
        "model": spec.name,
        "licence": spec.licence,
        "platforms": list(exported.platforms),
        "tljax": __version__,
        "jax": jax.__version__,
        "calling_convention": exported.calling_convention_version,
        **readable(jax.__version__),
    }
    with replacing(out) as part:
        part.write_bytes(exported.serialize())
        write_json(card_path(out), card)
    return card


def readable(version: str) -> dict[str, Any]:
    """Which versions of jax read what a version of jax has written: words, and the day on which the promise ends.

    Returns:
        "readable": a sentence; "readable_until": such as "2026-12-17", None where the version's release is not known.
    Source: https://docs.jax.dev/en/latest/export/export.html#compatibility-guarantees
    """
    released = _RELEASED.get(version)
    until = None if released is None else _later(released, _MONTHS).isoformat()
    by = f"until {until}" if until else f"within {_MONTHS} months of its own release"
    words = f"by jax {version}, and by later versions that are released {by}; export the run anew for others"
    return {"readable": words, "readable_until": until}


def _later(day: date, months: int) -> date:
    """The same day some months later, or the last one of a shorter month."""
    year, month = divmod(day.year * 12 + day.month - 1 + months, 12)
    following = date(year + (month + 1) // 12, (month + 1) % 12 + 1, 1)
    return date(year, month + 1, min(day.day, (following - date(year, month + 1, 1)).days))


def card_path(out: Path) -> Path:
    """Where the description of an artefact lies."""
    return out.with_name(out.name + ".json")


def resized(images: UInt8[Array, "b h w 3"], spec: ModelSpec) -> Int32[Array, "b s s 3"]:
    """`tljax.data.framing.preprocess` as a JAX function of pictures of any size, also a symbolic one.

    Pillow's own arithmetic, and so the same to the last bit: weights in whole 2**-22ths, and a rounding to 8 bits after
    each of the two passes. Traced under `jax.enable_x64(True)`: the weights are made in float64.
    """
    height, width = images.shape[1:3]
    sides = [jnp.asarray(side, jnp.float64) for side in (height, width)]
    down, across = (_part(side, sides, spec) for side in sides)
    rows = _blend("piw,bhwc->pbhic", _weights(width, across, spec, cut=False), images)
    seen = _blend("pjh,bhic->pbjic", _weights(height, down, spec, cut=True), rows)
    if spec.crop_mode != "border":
        return seen
    inside = _inside(down, spec)[:, None] & _inside(across, spec)
    return jnp.where(inside[..., None], seen, jnp.array([round(255 * mean) for mean in spec.mean], jnp.int32))


def _blend(form: str, weights: Array, pixels: Array) -> Array:
    """One pass: sums of 8-bit pixels with weights in 2**-22ths, rounded to 0..255.

    The weights come in three pieces of 8 bits. Products and sums of such numbers are exact in float32, and the products
    of bfloat16 and TF32 are too: GPUs and TPUs need no higher precision for it.
    """
    high, middle, low = jnp.einsum(form, weights, pixels.astype(jnp.float32)).astype(jnp.int32)
    return jnp.clip(((high << 16) + (middle << 8) + low + (1 << 21)) >> 22, 0, 255)


class _Part(NamedTuple):
    """Of one side: from where to where, in source pixels, it fills `count` pixels, of which `start` is the first."""

    begin: Array
    end: Array
    start: Any
    count: Any


def _part(side: Array, sides: Sequence[Array], spec: ModelSpec) -> _Part:
    size = spec.input_size
    if spec.crop_mode == "squash":
        return _Part(jnp.zeros_like(side), side, 0, size)
    if spec.crop_mode == "border":
        count = jnp.maximum(jnp.round(size * side / jnp.maximum(*sides)), 1)
        return _Part(jnp.zeros_like(side), side, jnp.floor((size - count) / 2), count)
    scaled = jnp.floor(spec.resize_size * side / jnp.minimum(*sides))
    start = jnp.round((scaled - size) / 2)
    return _Part(start * side / scaled, jnp.minimum((start + size) * side / scaled, side), 0, size)


def _inside(part: _Part, spec: ModelSpec) -> Bool[Array, " s"]:
    place = jnp.arange(spec.input_size) - part.start
    return (place >= 0) & (place < part.count)


def _weights(length: Any, part: _Part, spec: ModelSpec, *, cut: bool) -> Float[Array, "3 s n"]:
    """How much each of `length` source pixels counts in each pixel that is seen; what is not `_inside` says nothing.

    Args:
        cut: only the rows that matter are given to Pillow, which counts positions from the first of them, in float32.
    """
    begin, end, start, count = part
    first = jnp.maximum(jnp.floor(begin - 3 * jnp.maximum((end - begin) / count, 1)), 0) if cut else 0
    begin, end = ((place - first).astype(jnp.float32) for place in (begin, end))
    step = (end - begin).astype(jnp.float64) / count
    places = jnp.clip(jnp.arange(spec.input_size) - start, 0, count - 1)
    centre = begin + (places + 0.5) * step + first
    distance = jnp.abs(jnp.arange(length) + 0.5 - centre[:, None]) / jnp.maximum(step, 1)
    weights = _KERNELS[spec.interpolation](distance)
    weights = weights / weights.sum(-1, keepdims=True) * 2**22
    whole = (jnp.sign(weights) * jnp.floor(jnp.abs(weights) + 0.5)).astype(jnp.int32)
    return jnp.stack([whole >> 16, whole >> 8 & 255, whole & 255]).astype(jnp.float32)


def _bilinear(x: Array) -> Array:
    return jnp.maximum(1 - x, 0)


def _bicubic(x: Array) -> Array:
    """Keys' cubic with a = -1/2, of x >= 0."""
    inner, outer = (1.5 * x - 2.5) * x * x + 1, (((x - 5) * x + 8) * x - 4) * -0.5
    return jnp.where(x < 1, inner, jnp.where(x < 2, outer, 0))


_KERNELS = {"bilinear": _bilinear, "bicubic": _bicubic}


def _check(platforms: Sequence[str]) -> None:
    if isinstance(platforms, str) or not platforms:
        raise InputError(f"platforms are {platforms!r}: expected one or more of {', '.join(_KNOWN)}")
    unknown = [name for name in platforms if name not in _KNOWN]
    if unknown:
        raise InputError(f'no platform "{unknown[0]}": there are {", ".join(_KNOWN)}')
