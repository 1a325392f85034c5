"""A network as pure functions on explicit variables: normalisation in front, a Flax module behind."""

import itertools
import math
import pkgutil
from collections import OrderedDict
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from functools import cache, partial, wraps
from numbers import Integral
from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from tljax import trees
from tljax.errors import InputError
from tljax.models import ops
from tljax.models.inference import fold_batch_norm
from tljax.models.inputs import check_classifier, check_range, normalise
from tljax.models.layers import QUARTERS, Execution, Head, Outputs, Taps, on_layers
from tljax.models.spec import ModelSpec, get_family, get_spec

Variables = Mapping[str, Any]
Images = Array | np.ndarray

_PAYS_FROM = {"depthwise": 12, "dense": 400}
"""Images from which the fast forms pay, by the kind of network. Measured on 2 cores, fast against plain, in seconds:
EfficientNet-Lite0 0.9 more to compile, 0.07 less for each image; ResNet-50 (in batches of 8) 9.6 and 0.02."""


@dataclass(frozen=True)
class Network:
    """A pretrained or trained network: its specification, its variables, and its functions.

    Attributes:
        spec: what travels with the weights: preprocessing, classes, origin.
        variables: `{"params": ..., "batch_stats": ...}`, plain nested dicts of float32 arrays.
        dtype: of the computation; parameters, statistics and logits are float32 whatever it is.
        folded: batch norm is folded into the convolutions (see `for_inference`).
        plain: every convolution is XLA's own, which allows forward-mode differentiation and is slow on a CPU.
        calibration: of a trained run, what sets with a guarantee are made by (`transfer.calibrate_sets`); arrays of the
            host with a row for each photo kept aside, which enter no program, and so are none of the variables.

    Its functions are pure and compiled, and have `lower` and `trace` as what `jax.jit` gives; there is one object of
    each for (spec, dtype, form), so that jit caches are shared.
    All take (variables, images): images (b, h, w, 3), float32, RGB in [0, 1], of any size that the architecture
    allows. They work under jit, grad and vmap, and never change `variables`. The products have the precision of
    `jax_default_matmul_precision`. `variables["perturbations"]`, if there, maps names of `intermediates` to arrays
    that are added to these maps: the gradient with respect to one is the gradient at that layer.

    Raises:
        InputError: by its functions, for images of another rank, dtype or number of channels, or too small for the
            architecture; images far outside [0, 1], where they are arrays in the memory of a CPU and not traced; by
            `apply`, `scores` and `apply_train` where the network has no classifier.

    >>> net.apply(net.variables, images).shape, net.embed(net.variables, images).shape
    ((8, 2), (8, 8))
    >>> jax.grad(lambda x: net.scores(net.variables, x)[:, 0].sum())(images).shape
    (8, 32, 32, 3)
    """

    spec: ModelSpec
    variables: Variables
    dtype: str = "float32"
    folded: bool = False
    plain: bool = False
    calibration: Mapping[str, np.ndarray] | None = None

    @property
    def apply(self) -> Callable[[Variables, Images], Array]:
        """(variables, images (b, h, w, 3)) -> (b, classes) float32 logits, as the original network returns them."""
        return self._functions.apply

    @property
    def scores(self) -> Callable[[Variables, Images], Array]:
        """As `apply`, before any final activation; this differs for SqueezeNet only."""
        return self._functions.scores

    @property
    def embed(self) -> Callable[[Variables, Images], Array]:
        """(variables, images) -> (b, d) float32: the last convolutional map, averaged over space."""
        return self._functions.embed

    @property
    def intermediates(self) -> Callable[[Variables, Images], dict[str, Array]]:
        """(variables, images) -> {layer name: (b, y, x, c)}, in the order of the network."""
        return self._functions.intermediates

    @property
    def outputs(self) -> Callable[[Variables, Images], Outputs]:
        """(variables, images) -> `models.Outputs`: logits, scores, embedding and all maps, in one pass."""
        return self._functions.outputs

    @property
    def apply_train(self) -> Callable[..., tuple[Array, Variables]]:
        """(variables, images, *, key, update_stats=()) -> (logits, batch_stats): with dropout.

        `update_stats` names the top-level layers whose batch norm uses and updates the batch's statistics; all
        others are in inference mode, and their statistics come back as they went in.
        """
        return self._functions.apply_train

    def replace(self, **changes: Any) -> "Network":
        """A copy with other `variables`, `dtype`, `spec`, ..."""
        return replace(self, **changes)

    @property
    def _functions(self) -> SimpleNamespace:
        return _functions(self.spec, self.dtype, self.folded, self.plain)


def make_network(spec: ModelSpec, variables: Variables, *, dtype: Any = "float32") -> Network:
    """A network from its specification and its variables.

    Args:
        dtype: "float32", "bfloat16" or "float16", of activations and products.
    """
    return Network(spec, variables, jnp.dtype(dtype).name)


def init_network(name: str, *, key: Array, classes: int = 1000) -> Network:
    """A network with random weights: He-normal convolutions, LeCun-normal dense layers, batch norm as the identity.

    Args:
        name: one of `list_models()`.
        classes: number of logits; other than 1000, the classes are called "0", "1", ...

    Raises:
        InputError: an unknown name, or fewer than one class.

    >>> tljax.init_network("toy", key=jax.random.key(1), classes=5).spec.classes
    ('0', '1', '2', '3', '4')
    """
    spec = get_spec(name)
    if classes < 1:
        raise InputError(f"classes must be at least 1, got {classes}")
    if classes != len(spec.classes):
        spec = replace(spec, classes=tuple(map(str, range(classes))))
    return make_network(spec, _init(spec, key))


@cache
def abstract_variables(spec: ModelSpec) -> Variables:
    """The shapes and dtypes of a network's variables, as a tree of `jax.ShapeDtypeStruct`."""
    module, images = build(spec), jax.ShapeDtypeStruct((1, spec.input_size, spec.input_size, 3), jnp.float32)
    with ops.plain_convolutions():  # only shapes matter, and these trace in half the time
        shapes = jax.eval_shape(lambda images: module.init(jax.random.key(0), images, Taps()), images)
        embed = jax.ShapeDtypeStruct((1, spec.feature_dim), jnp.float32)
        head = jax.eval_shape(Head(len(spec.classes)).init, jax.random.key(0), embed) if spec.layers else {}
    heads = {"head": head["params"]} if "params" in head else {}
    return {"params": {**shapes["params"], **heads}, "batch_stats": shapes.get("batch_stats", {})}


def for_inference(net: Network, *, images: int | None = None) -> Network:
    """The same network, faster: batch norm is folded into the convolutions. Same surface, same logits to 1e-5.

    The result is the same for every platform: the form of a convolution is chosen when a program is lowered. Winograd's
    filters are made in each call: on a CPU 3 % of a batch of 8, 11 % of a single image in VGG-16.

    Args:
        net: any network; one that is folded already is returned as it is.
        images: how many images it will be shown in all, a gradient counting as three; None: not known, many. A few
            take the plain form (`Network.plain`), which compiles sooner, many the one that runs faster on a CPU: equal
            up to float32 rounding.
    Raises:
        InputError: fewer than one image.

    >>> fast = tljax.for_inference(net)
    >>> np.allclose(fast.apply(fast.variables, images), net.apply(net.variables, images), atol=1e-5)
    True
    """
    if images is not None and not (isinstance(images, Integral) and images >= 1):
        given = images if isinstance(images, Integral | float) else type(images).__name__
        raise InputError(f"images is how many images will be seen, at least 1, or None: got {given}")
    if images is not None and images < _pays_from(net):
        net = net.replace(plain=True)
    if net.folded:
        return net
    return net.replace(variables=fold_batch_norm(net.spec, net.variables), folded=True)


def _pays_from(net: Network) -> int:
    """How many images make up for the time that the fast forms take longer to compile."""
    depthwise = any(leaf.ndim == 4 and leaf.shape[2] == 1 for leaf in trees.flatten(net.variables).values())
    return _PAYS_FROM["depthwise" if depthwise else "dense"]


def build(spec: ModelSpec, execution: Execution = Execution()) -> Any:  # noqa: B008 (frozen)
    """The Flax module of a specification; without a head where that stands on `layers`."""
    if spec.layers:
        spec = replace(spec, classes=(), head="linear")
    module = get_family(spec.family).module
    make = pkgutil.resolve_name(module) if isinstance(module, str) else module
    return make(spec.config, len(spec.classes), spec.head, execution)


@partial(jax.jit, static_argnums=0)
def _init(spec: ModelSpec, key: Array) -> Variables:
    """What the layers' own initialisers give, but for the stream of numbers: theirs take minutes to compile."""
    flat = trees.flatten(abstract_variables(spec))
    kernels = {path: leaf for path, leaf in flat.items() if path.endswith("/kernel")}
    noise = jax.random.normal(key, (sum(leaf.size for leaf in kernels.values()),), jnp.float32)
    ends = list(itertools.accumulate(leaf.size for leaf in kernels.values()))
    drawn = dict(zip(kernels, jnp.split(noise, ends[:-1]), strict=True))

    def fill(path: str, leaf: jax.ShapeDtypeStruct) -> Array:
        if path in drawn:
            gain = 2.0 if len(leaf.shape) == 4 else 1.0  # a ReLU follows a convolution
            return drawn[path].reshape(leaf.shape) * (gain / math.prod(leaf.shape[:-1])) ** 0.5
        return jnp.full(leaf.shape, float(path.endswith(("/scale", "/var"))), leaf.dtype)

    return {"batch_stats": {}, **trees.unflatten({path: fill(path, leaf) for path, leaf in flat.items()})}


@cache
def _functions(spec: ModelSpec, dtype: str, folded: bool, plain: bool) -> SimpleNamespace:
    execution = Execution(dtype, folded)
    taken = tuple(place.removesuffix(QUARTERS) for place in spec.layers)

    def run(variables: Variables, images: Array, wanted: Collection[str] | None = ()) -> Outputs:
        tap = Taps(None if wanted is None else (*wanted, *taken), variables.get("perturbations", {}))
        with ops.plain_convolutions(plain):
            outputs = build(spec, execution).apply(_collections(variables), normalise(spec, images), tap)
        head = variables["params"].get("head", {})
        return on_layers(outputs, spec.layers, Head(len(spec.classes)), head) if spec.layers else outputs

    def apply(variables, images):
        check_classifier(spec)
        return run(variables, images).logits

    def scores(variables, images):
        check_classifier(spec)
        return run(variables, images).scores

    def embed(variables, images):
        return run(variables, images).embed

    def intermediates(variables, images):
        return OrderedDict(run(variables, images, None).maps)  # jit would sort the names of a plain dict

    def outputs(variables, images):
        return run(variables, images, None)

    def apply_train(variables, images, *, key, update_stats: Collection[str] = ()):
        check_classifier(spec)
        if spec.layers:
            raise InputError(f"{spec.name} stands on {', '.join(spec.layers)}: fine-tuning needs it to its end")
        module = build(spec, replace(execution, train=True, update_stats=frozenset(update_stats)))
        with ops.plain_convolutions(plain):
            outputs, changed = module.apply(
                _collections(variables),
                normalise(spec, images),
                Taps(),
                rngs={"dropout": key},
                mutable=["batch_stats"],
            )
        return outputs.logits, changed.get("batch_stats", {})

    compiled = {function.__name__: _compiled(function) for function in (apply, scores, embed, intermediates, outputs)}
    return SimpleNamespace(**compiled, apply_train=_compiled(apply_train, static_argnames="update_stats"))


def _compiled(function: Callable, **options: Any) -> Callable:
    """`jax.jit`, with a look at the range of images that are no tracers."""
    jitted = jax.jit(function, **options)

    @wraps(function)
    def checked(variables, images, **rest):
        check_range(images)
        try:
            return jitted(variables, images, **rest)
        except TypeError as error:
            if "forward-mode" not in str(error):
                raise
            raise InputError(
                "forward-mode differentiation (jax.jvp, jax.jacfwd, jax.hessian) needs net.replace(plain=True), whose "
                "convolutions are XLA's own"
            ) from error

    for name in ("lower", "trace", "eval_shape", "clear_cache"):  # which make it a `jax.stages.Wrapped`
        setattr(checked, name, getattr(jitted, name))
    return checked


def _collections(variables: Variables) -> Variables:
    return {name: variables[name] for name in ("params", "batch_stats") if name in variables}
