"""From a name to a network: a hub in timm's layout, and torchvision's files, on loopback."""

import dataclasses
import hashlib
import json
import os
import subprocess
import sys

import numpy as np
from safetensors.numpy import save

import tljax
from experiments.fuzz.torch_files import write_zip
from tests.golden import table
from tests.weights.test_fetch import server as server  # a fixture
from tljax.models import torchvision
from tljax.trees import flatten

SETTINGS = {
    "interpolation": "bicubic",
    "crop_pct": 0.9,
    "mean": [0.5, 0.5, 0.5],
    "std": [0.25, 0.25, 0.25],
    "license": "cc-by-nc-4.0",
}
ARCHITECTURES = {  # timm's name, ours, of networks whose tensors are stored by the names that timm has for them
    "resnet18": "resnet18",
    "seresnext26d_32x4d": "seresnext26d_32x4d",
    "densenet121": "densenet121",
    "vit_tiny_patch16_224": "vit_tiny_patch16",
    "vit_small_patch14_reg4_dinov2": "dinov2_vits14_reg",
}
SCRIPT = """
import dataclasses, hashlib, json, sys
import tljax
from tljax.trees import flatten
found = {}
for name in sys.argv[1:]:
    try:
        net = tljax.load_pretrained(name)
    except tljax.errors.InputError as error:
        found[name] = str(error)
        continue
    digests = {path: hashlib.sha256(leaf.tobytes()).hexdigest() for path, leaf in flatten(net.variables).items()}
    found[name] = {"digests": digests, **dataclasses.asdict(net.spec)}
print(json.dumps(found))
"""


def digests(net) -> dict[str, str]:
    return {path: hashlib.sha256(np.asarray(leaf)).hexdigest() for path, leaf in flatten(net.variables).items()}


def offer(server, name: str, state: dict[str, np.ndarray], **document) -> None:
    """Puts a repository "timm/NAME" on the hub."""
    place = f"/timm/{name}/resolve/main"
    size = {"vit_tiny_patch16_224": 224, "vit_small_patch14_reg4_dinov2": 518}.get(document["architecture"], 192)
    settings = SETTINGS | {"input_size": [3, size, size]}
    server.files[f"{place}/config.json"] = json.dumps(document | {"pretrained_cfg": settings}).encode()
    server.files[f"{place}/model.safetensors"] = save(state)


def load(server, home, *names: str) -> tuple[dict, str]:
    """What `load_pretrained` gives, in a process of its own: the hub's client reads its settings when imported."""
    environment = os.environ | {"HF_ENDPOINT": server.url, "HF_HOME": str(home), "HF_HUB_DISABLE_XET": "1"}
    environment |= {"HF_HUB_DISABLE_TELEMETRY": "1", "no_proxy": "127.0.0.1"}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, *names], env=environment, capture_output=True, text=True, timeout=300, check=True
    )
    return json.loads(done.stdout), done.stderr


def test_every_family_is_loaded_by_a_name_of_the_hub(server, tmp_path):
    expected = {}
    for architecture, ours in ARCHITECTURES.items():
        state = table.golden_state(ours)
        own = {} if ours.startswith("dinov2") else {"label_names": [f"class {n}" for n in range(1000)]}
        classes = len(own.get("label_names", ()))
        offer(server, f"{architecture}.test", state, architecture=architecture, num_classes=classes, **own)
        expected[f"timm/{architecture}.test"] = digests(table.load(ours, state, "safetensors", tmp_path))
    offer(server, "odd", {}, architecture="resnet18", model_args={"output_stride": 8})
    found, said = load(server, tmp_path / "home", *expected, "timm/odd")
    assert found.pop("timm/odd") == 'config.json of "timm/odd": "model_args": output_stride = 8 is not supported'
    for name, of in found.items():
        assert of["digests"] == expected[name]
        assert (of["input_size"] == 192) == ("vit" not in name)
        assert (of["crop_pct"], of["interpolation"]) == (0.9, "bicubic")
        assert (of["mean"], of["std"], of["licence"]) == ([0.5] * 3, [0.25] * 3, "cc-by-nc-4.0")
        assert of["classes"] == ([] if "dinov2" in name else [f"class {n}" for n in range(1000)])
        assert f"the licence of {name}'s weights is cc-by-nc-4.0, which may restrict use" in said


def test_torchvisions_files_are_loaded_by_their_names(server, tmp_path, monkeypatch, capsys):
    name = "mobilenet_v3_small"
    state = table.golden_state(name)
    write_zip(tmp_path / "w.pth", state)
    content = (tmp_path / "w.pth").read_bytes()
    digest = hashlib.sha256(content).hexdigest()[:8]
    server.files[f"/{name}-{digest}.pth"] = content
    monkeypatch.setattr(torchvision, "torchvision_url", lambda name, digest: f"{server.url}/{name}-{digest}.pth")
    plain = dataclasses.replace(tljax.get_spec(name), sources=())
    first, *_ = torchvision.published(plain, torchvision.Weights(f"{name}-{digest}", 1.0))
    monkeypatch.setattr("tljax.weights.load.get_spec", lambda name: first)
    assert digests(tljax.load_pretrained(f"torchvision/{name}")) == digests(table.load(name, state, "zip", tmp_path))
    assert server.requests == [f"GET /{name}-{digest}.pth"]
    assert "licence" not in capsys.readouterr().err
