"""The card of a model: it parses as one of the Hugging Face hub, and says what was measured."""

import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
import yaml
from huggingface_hub import ModelCard, constants

import tljax
from tests.photos import make_photos
from tests.test_cli import run
from tljax.errors import InputError
from tljax.metrics import wilson
from tljax.transfer.card import model_card, run_card


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("card")
    photos = make_photos(folder / "my photos", {"red": 6, "blue": 6})
    (photos / "blue").rename(photos / "<b>`blue")
    tljax.transfer.train(str(photos), str(folder / "pets"), batch_size=8, image_size=64)
    return folder / "pets"


def test_the_card_of_a_run(trained):
    text = (trained / "README.md").read_text("utf-8")
    assert text == run_card(trained)
    card = ModelCard(text)
    assert card.data.license == "apache-2.0"
    assert card.data.library_name == "tljax"
    assert card.data.pipeline_tag == "image-classification"
    assert card.data.model_name == "pets"
    (result,) = card.data.eval_results
    final = json.loads((trained / "metrics.jsonl").read_text().splitlines()[-1])["final"]
    assert (result.metric_type, result.dataset_name) == ("accuracy", "my photos")
    assert result.metric_value == round(final["val_accuracy"], 4)
    assert ModelCard(str(card)).data.to_dict() == card.data.to_dict()
    for said in ("# pets", "95 % interval", "calibration", "not for", "Licence", "`red`", "`<b>'blue`"):
        assert said in card.text
    assert str(trained.parent) not in text


def test_where_the_accuracy_comes_from():
    spec, record = tljax.get_spec("resnet18"), {"mode": "finetune", "data": "/home/me/pets"}
    measured = {"train_images": 60, "val_images": 0, "val_accuracy": 0.9, "folds": 5, "copies": 3}
    text = model_card(spec, name="<pets>", record=record, measured=measured)
    assert "By 5 folds of these photos, each held out once, before fine-tuning, 90.0 % are right" in text
    assert "(95 % interval 79.9 to 95.3 %)" in text
    assert "3 of them are copies" in text
    assert "# &lt;pets>" in text
    assert "/home/me" not in text
    assert ModelCard(text).data.eval_results is None  # which would say that it was measured on a validation split


def test_the_card_beside_an_export(capsys, trained, tmp_path):
    code, out, _ = run(capsys, "export", trained, "--out", tmp_path / "pets.jax", "--platforms", "cpu", "--json")
    assert code == 0
    assert json.loads(out)["readme"] == str(tmp_path / "pets.jax.md")
    assert ModelCard.load(tmp_path / "pets.jax.md").data.model_name == "pets"


@pytest.mark.parametrize("name", [name for name in tljax.list_models() if tljax.get_spec(name).classes])
def test_the_card_of_a_pretrained_network(name):
    card = ModelCard(model_card(tljax.get_spec(name), name=name))
    assert card.data.license in ("apache-2.0", "bsd-3-clause", "cc-by-4.0", "cc-by-nc-4.0", "mit")
    assert card.data.eval_results is None
    assert "1000 classes" in card.text
    assert "and 960 more" in card.text


class Validator(BaseHTTPRequestHandler):
    """What asks the hub whether a card will do: the metadata are a mapping with the kinds of values that it wants."""

    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.asked.append((self.path, asked["repoType"]))
        start, metadata, *_ = asked["content"].split("---\n")
        found = yaml.safe_load(metadata)
        kinds = {"license": str, "library_name": str, "pipeline_tag": str, "tags": list}
        right = not start and all(isinstance(found.get(key), kind) for key, kind in kinds.items())
        self.send_response(200 if right else 400)
        self.end_headers()
        self.wfile.write(b"" if right else b"damaged metadata")

    def log_message(self, *_):
        pass


@pytest.fixture
def hub(monkeypatch):
    """A hub on loopback that validates cards; `asked`: what it was asked."""
    server = HTTPServer(("127.0.0.1", 0), Validator)
    server.asked = []
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setattr(constants, "ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    yield server
    server.shutdown()
    server.server_close()


def test_a_hub_validates_it(hub, trained):
    ModelCard.load(trained / "README.md").validate()
    ModelCard(model_card(tljax.get_spec("resnet50"), name="r")).validate()
    assert hub.asked == [("/api/validate-yaml", "model")] * 2
    with pytest.raises(ValueError, match="damaged metadata"):
        ModelCard("---\ntags: no list\n---\n").validate()


def test_no_run_has_no_card(tmp_path):
    with pytest.raises(InputError, match="is no RUN"):
        run_card(tmp_path)


def test_wilsons_interval():
    assert wilson(5, 10) == pytest.approx((0.2366, 0.7634), abs=1e-4)  # Newcombe, 1998
    assert wilson(0, 20) == pytest.approx((0.0, 0.1611), abs=1e-4)
    assert wilson(20, 20) == pytest.approx((0.8389, 1.0), abs=1e-4)
