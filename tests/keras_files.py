"""Writers of Keras' `.h5` files without Keras: the layouts in which weights have been published and saved.

A state is a dict of NumPy arrays by Keras' own names, "LAYER/kernel", in the order of the layers and of the arrays in
each. Every layout has layers without weights too, as Keras' files do.
"""

from collections.abc import Mapping
from pathlib import Path

import h5py
import numpy as np


def by_layer(state: Mapping[str, np.ndarray]) -> dict[str, dict[str, np.ndarray]]:
    """Layer -> array's name -> array."""
    layers: dict[str, dict[str, np.ndarray]] = {"input_1": {}}
    for name, array in state.items():
        layer, leaf = name.split("/")
        layers.setdefault(layer, {})[leaf] = array
    return {**layers, "predictions_activation": {}}


def write_group(root: h5py.Group, layers: Mapping[str, Mapping[str, np.ndarray]], *, chunks: int = 0) -> None:
    """`layer_names`, a group for each layer, and its `weight_names`; the lists in `chunks` parts where it is not 0."""
    _write_names(root, "layer_names", list(layers), chunks)
    for layer, arrays in sorted(layers.items()):
        group = root.create_group(layer)
        _write_names(group, "weight_names", list(arrays), chunks)
        for name, array in arrays.items():
            group.create_dataset(name, data=array)


def write_first(path: Path, state: Mapping[str, np.ndarray]) -> Path:
    """As of 2016, when VGG was published: "block1_conv1_W_1:0" directly in the layer's group."""
    old = {"kernel": "W_1:0", "bias": "b_1:0"}
    layers = {
        layer: {f"{layer}_{old.get(leaf, f'{leaf}_1:0')}": array for leaf, array in arrays.items()}
        for layer, arrays in by_layer(state).items()
    }
    with h5py.File(path, "w") as file:
        write_group(file, layers)
    return path


def write_second(path: Path, state: Mapping[str, np.ndarray]) -> Path:
    """As of Keras 2: "conv1_conv/kernel:0", in a group of the layer's name in the layer's group."""
    with h5py.File(path, "w") as file:
        file.attrs["backend"] = b"tensorflow"
        file.attrs["keras_version"] = b"2.4.0"
        write_group(file, _named(state, ":0"))
    return path


def write_model(path: Path, state: Mapping[str, np.ndarray]) -> Path:
    """A whole model, as `model.save` of Keras 3 writes it: all below `model_weights`, here with lists cut in parts."""
    with h5py.File(path, "w") as file:
        file.attrs["model_config"] = '{"class_name": "Functional"}'
        root = file.create_group("model_weights")
        write_group(root, _named(state, ""), chunks=3)
        _write_names(root.create_group("top_level_model_weights"), "weight_names", [], 0)
    return path


def _named(state: Mapping[str, np.ndarray], ending: str) -> dict[str, dict[str, np.ndarray]]:
    return {
        layer: {f"{layer}/{leaf}{ending}": array for leaf, array in arrays.items()}
        for layer, arrays in by_layer(state).items()
    }


def _write_names(group: h5py.Group, key: str, names: list[str], chunks: int) -> None:
    encoded = np.array([name.encode() for name in names], "S") if names else np.array([], "S1")
    if not chunks:
        group.attrs[key] = encoded
    for i, part in enumerate(np.array_split(encoded, chunks) if chunks else ()):
        group.attrs[f"{key}{i}"] = part


WRITERS = {"h5 of 2016": write_first, "h5 of 2018": write_second, "h5 model": write_model}
