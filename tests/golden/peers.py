"""Parity with timm, made on the spot: `compare(NAME)` gives the errors of one architecture.

For each of timm's architectures that a family knows: weights of every layer alive, written in timm's layout, loaded as
`load_pretrained` does and compared with timm in float64, in float32 with exact products. An error is
max |value - reference| / max |reference|; that of a gradient is by root mean square. Needs timm (the extra `parity`).
"""

import re
import tempfile
from collections.abc import Iterator
from pathlib import Path

import jax
import numpy as np
import timm
import torch
from safetensors.numpy import save_file

from experiments.benchmark.draw import draw_images, draw_projection, draw_state
from tljax.models.network import Network, abstract_variables, make_network
from tljax.models.spec import ModelSpec
from tljax.models.timm import spec_of
from tljax.weights.convert import convert
from tljax.weights.read import read_weights


def architectures(pattern: str) -> Iterator[str]:
    """Those of timm's names that match and that a family knows."""
    for name in timm.list_models():
        if re.fullmatch(pattern, name) and known(name) is not None:
            yield name


def known(name: str) -> ModelSpec | None:
    """The specification by timm's own settings, None where no family has it or a setting is refused."""
    try:
        return spec_of(config(name))
    except ValueError:
        return None


def config(name: str, classes: int = 1000) -> dict:
    """The `config.json` that timm would write for the architecture."""
    settings = timm.get_pretrained_cfg(name).to_dict()
    return {
        "architecture": timm.models.split_model_name_tag(name)[0],
        "num_classes": classes,
        "pretrained_cfg": settings,
    }


def compare(name: str, *, size: int | None = None, gradient: bool = True) -> dict[str, float]:
    """The errors of one architecture, "parameters" and, as "unmatched", tensors that have no place on either side.

    Args:
        size: of the native images, instead of the one in its settings.
    """
    document = config(name)
    if size is not None:
        document["pretrained_cfg"]["input_size"] = (3, size, size)
    spec = spec_of(document)
    theirs = reference(name, spec)
    state = alive({key: tuple(value.shape) for key, value in theirs.state_dict().items()})
    theirs.load_state_dict({key: torch.from_numpy(value) for key, value in state.items()})
    theirs = theirs.double()
    net = through_a_file(spec, state)
    other = other_size(spec)
    sizes = {"native": (spec.input_size,) * 2, "other": other}
    found: dict[str, float] = {"parameters": sum(value.size for value in state.values()), "unmatched": 0}
    with jax.default_matmul_precision("highest"):
        for column, side in sizes.items():
            images = draw_images(*side)
            with torch.no_grad():
                features = theirs.forward_features(prepared(spec, images))
                logits, embed = theirs.forward_head(features), embedding(theirs, spec, features)
            found[column] = greatest(net.apply(net.variables, images), logits)
            found["embed"] = max(found.get("embed", 0.0), greatest(net.embed(net.variables, images), embed))
        if gradient:
            found["gradient"] = gradient_error(net, theirs, draw_images(*other, batch=1))
    return found


def reference(name: str, spec: ModelSpec) -> torch.nn.Module:
    """timm's network; where its size is fixed it takes others as well."""
    options = {"img_size": spec.input_size, "dynamic_img_size": True} if spec.family == "vit" else {}
    return timm.create_model(name, num_classes=1000, **options).eval()


def alive(shapes: dict[str, tuple[int, ...]]) -> dict[str, np.ndarray]:
    """Weights in which every layer counts: tokens and positions of order 1, and no branch that drowns its shortcut."""
    state = draw_state(shapes)
    for key, value in state.items():
        if re.search(r"(cls_token|reg_token|pos_embed)$", key):
            state[key] = value * np.float32(np.sqrt(value[0].size / 2) / 2)  # drawn for a product over all axes
        elif re.search(r"(gamma|grn\.weight)$", key):
            state[key] = value * np.float32(0.3)
    return state


def through_a_file(spec: ModelSpec, state: dict[str, np.ndarray]) -> Network:
    """The network from a file in timm's layout; an InputError says what does not match."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.safetensors"
        save_file(state, path)
        return make_network(spec, jax.device_put(convert(read_weights(path), spec, abstract_variables(spec))))


def other_size(spec: ModelSpec) -> tuple[int, int]:
    """Neither square nor native; patches divide it."""
    step = getattr(spec.config, "patch", 1)
    return (7 * step, 9 * step) if step > 1 else (129, 167)


def prepared(spec: ModelSpec, images: np.ndarray | torch.Tensor) -> torch.Tensor:
    """(b, 3, h, w) float64, normalised."""
    mean, std = (torch.tensor(values, dtype=torch.float64) for values in (spec.mean, spec.std))
    return ((torch.as_tensor(images).double() - mean) / std).permute(0, 3, 1, 2)


def embedding(theirs: torch.nn.Module, spec: ModelSpec, features: torch.Tensor) -> torch.Tensor:
    """What a linear probe is put on."""
    if getattr(spec.config, "embed", "") == "both":
        return torch.cat([features[:, 0], features[:, spec.config.prefix :].mean(1)], dim=-1)
    if spec.config and getattr(spec.config, "hidden", 0) and spec.family == "convnext":
        return theirs.head.norm(theirs.head.global_pool(features)).flatten(1)
    return theirs.forward_head(features, pre_logits=True)


def gradient_error(net: Network, theirs: torch.nn.Module, images: np.ndarray) -> float:
    """Of the projected logits with respect to the images, by root mean square."""
    projection = draw_projection(1000)
    leaf = torch.from_numpy(images).double().requires_grad_()
    score = (theirs(prepared(net.spec, leaf)) * torch.from_numpy(projection).double()).sum()
    expected = torch.autograd.grad(score, leaf)[0].numpy()
    got = jax.jit(jax.grad(lambda x, v: (net.scores(v, x) * projection).sum()))(images, net.variables)
    return float(np.sqrt(((np.asarray(got, np.float64) - expected) ** 2).mean() / (expected**2).mean()))


def greatest(value: jax.Array, expected: torch.Tensor) -> float:
    """max |value - expected| / max |expected|."""
    wanted = expected.numpy()
    return float(np.abs(np.asarray(value, np.float64) - wanted).max() / np.abs(wanted).max())
