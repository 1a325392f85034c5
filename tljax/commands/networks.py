"""Which networks a command is about: pretrained ones by name, trained ones by folder; and what they say of files."""

import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from tljax.errors import InputError, match_name
from tljax.models.spec import get_spec, list_models
from tljax.progress import Track, untracked


def load_network(name: str, *, folded: bool = True) -> Any:
    """A RUN folder where there is one of that name, a pretrained model otherwise.

    Args:
        folded: batch norm is folded into the convolutions: faster, but its statistics are gone.
    """
    from tljax.models.network import for_inference
    from tljax.transfer.run import load_run
    from tljax.weights.load import load_pretrained

    is_run = name not in list_models() and Path(name).is_dir()
    net = load_run(name) if is_run else load_pretrained(name)
    return for_inference(net) if folded else net


def chosen_network(model: str, run: str | None, *, folded: bool = True) -> tuple[str, Any]:
    """The network of `--run` where given, else that of `--model`, with the name it goes by."""
    name = model if run is None else run
    if run is not None and not Path(run).is_dir():
        raise InputError(f'no run "{run}": name a folder that `tljax train` wrote')
    return os.path.basename(os.path.normpath(name)), load_network(name, folded=folded)


def default_judges(makers: Sequence[str]) -> list[str]:
    """The pretrained models whose weights are on this machine, but for the makers."""
    from tljax.weights.fetch import cached

    return [name for name in list_models() if name not in makers and cached(get_spec(name))]


def opinions(
    nets: Mapping[str, Any], files: Sequence[str], classes: Sequence[str], *, track: Track = untracked
) -> list[dict[str, dict[str, float]]]:
    """What each network says of each file, read back and brought to its resolution whole.

    `tljax classify` cuts a margin off photos; a picture made at a network's resolution is all picture, and one that
    holds for its exact pixels alone would already lose its maker by that cut.

    Args:
        nets: name -> network.
        files: one for each entry of `classes`, the names that the networks are asked about.
    Returns:
        for each file {network: {"prob": of the class, "rank": 1 where it comes first}}.

    Raises:
        InputError: a network does not know one of the classes.
    """
    from tljax.data.sources import image_source
    from tljax.transfer.prediction import predict

    source = image_source(files)
    said: list[dict[str, dict[str, float]]] = [{} for _ in files]
    for name, net in nets.items():
        asked = [match_name(wanted, net.spec.classes) for wanted in classes]
        whole = net.replace(spec=replace(net.spec, crop_pct=1.0))
        probs, _, _ = predict(whole, source, range(len(files)), batch_size=min(32, len(files)), track=track)
        for row, c, answer in zip(probs, asked, said, strict=True):
            answer[name] = {"prob": float(row[c]), "rank": int(1 + np.sum(row > row[c]))}
    return said


def save_png(path: Path, image: np.ndarray) -> str:
    """Writes uint8 (h, w, 3) as PNG and returns the file's name."""
    from PIL import Image

    Image.fromarray(image).save(path)
    return os.fspath(path)


def read_png(path: str | Path) -> np.ndarray:
    """The uint8 (h, w, 3) that a PNG holds."""
    from tljax.data.images import decode

    return decode(Path(path).read_bytes())


def through_png(image: np.ndarray) -> np.ndarray:
    """What is read back after uint8 (h, w, 3) was saved."""
    with tempfile.TemporaryDirectory() as folder:
        return read_png(save_png(Path(folder) / "image.png", image))


def file_stem(name: str) -> str:
    """A class name as part of a file name: letters, digits and dashes."""
    kept = "".join(c if c.isalnum() else "-" for c in name).strip("-")
    return "-".join(filter(None, kept.split("-")))[:60] or "class"


def budget(text: str) -> float:
    """A number such as "0.03" or "4/255".

    Raises:
        InputError: not a number.
    """
    top, _, bottom = text.strip().partition("/")
    try:
        return float(top) / (float(bottom) if bottom else 1.0)
    except (ValueError, ZeroDivisionError):
        raise InputError(f'"{text}" is no budget: give a number such as 4/255 or 0.02') from None
