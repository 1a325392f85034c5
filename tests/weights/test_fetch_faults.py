"""A server that is slow, busy, breaks off, or gives something else: retried, or refused in one clear line."""

import socket
import threading
import time

import pytest

from tests.weights.test_fetch import (
    CONTENT,
    DIGEST,
    HUB_FILE,
    Handler,
    Server,
    leftovers,
    refusal,
    run_hub,
    spec_from,
)
from tljax import downloads as fetching
from tljax.weights.fetch import fetch

NAME = f"/net-{DIGEST[:8]}.pth"
REPOSITORY = "timm/resnet50.tv_in1k"


class Faulty(Handler):
    """Does what `server.faults` says to the next GETs, one after the other, and then serves as it should."""

    def do_GET(self):
        fault = self.server.faults.pop(0) if self.command == "GET" and self.server.faults else ""
        if isinstance(fault, tuple):
            status, wait = fault
            self.server.requests.append(f"{self.command} {self.path}")
            self.send_response(status)
            self.send_header("Content-Length", "0")
            if wait is not None:
                self.send_header("Retry-After", wait)
            self.end_headers()
            return
        if fault == "stall":
            self.server.requests.append(f"{self.command} {self.path}")
            time.sleep(3)
            return
        if fault == "reset":
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self.server.cut = {self.path} if fault in ("cut", "reset") else set()
        super().do_GET()
        if fault == "reset":
            self.connection.close()

    def do_HEAD(self):
        if self.server.heads:
            self.send_response(self.server.heads)
            self.send_header("Content-Length", "0")
            self.end_headers()
        else:
            super().do_GET()


@pytest.fixture
def server(monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    server = Server()
    server.RequestHandlerClass = Faulty
    server.faults, server.heads = [], None
    monkeypatch.setattr(fetching, "_PAUSE", 0.01)
    server.files = {NAME: CONTENT, HUB_FILE: CONTENT}
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("faults", [["cut", "cut"], ["reset"], [(429, "0"), "cut"], [(503, "1")], [(500, None)]])
def test_a_url_is_tried_again(server, faults):
    server.faults = list(faults)
    assert fetch(spec_from(server.url + NAME)).read_bytes() == CONTENT
    assert server.requests == [f"GET {NAME}"] * (len(faults) + 1)
    assert leftovers() == [NAME[1:]]


@pytest.mark.parametrize(
    ("faults", "tries", "reason"),
    [
        (["cut"] * 3, 3, "the connection broke off"),
        ([(429, "3600")], 1, "HTTP status 429, to be asked again after 3600 s"),
        ([(429, "0")] * 3, 3, "HTTP status 429"),
        ([(503, "tomorrow")], 1, "HTTP status 503"),
        ([(403, None)], 1, "HTTP status 403"),
        (["stall"], 1, "no answer"),
    ],
)
def test_a_url_is_given_up_in_one_line(server, monkeypatch, faults, tries, reason):
    monkeypatch.setattr(fetching, "_TIMEOUT", 0.5)
    server.faults = list(faults)
    message = refusal(spec_from(server.url + NAME))
    assert reason in message
    assert NAME[1:] in message
    assert "--weights PATH" in message
    assert server.requests == [f"GET {NAME}"] * tries
    assert leftovers() == []


def test_the_hub_goes_on_after_a_connection_that_was_closed(server, tmp_path):
    server.faults = ["cut"]
    result = run_hub(server.url, tmp_path, [REPOSITORY])
    assert result["outcome"] == [CONTENT.decode()]
    assert server.requests.count(f"GET {HUB_FILE}") == 2


@pytest.mark.parametrize(
    ("content", "reason"),
    [(b"other weights", "its SHA-256 starts"), (b"<!DOCTYPE html><p>Please sign in", "a web page came instead")],
)
def test_the_hub_gives_something_else(server, tmp_path, content, reason):
    server.files[HUB_FILE], server.digests[HUB_FILE] = content, DIGEST
    result = run_hub(server.url, tmp_path, [REPOSITORY])
    assert reason in result["outcome"][0]
    assert "--weights PATH" in result["outcome"][0]
    server.files[HUB_FILE] = CONTENT
    assert run_hub(server.url, tmp_path, [REPOSITORY])["outcome"] == [CONTENT.decode()]


@pytest.mark.parametrize(("status", "reason"), [(429, "HTTP status 429"), (500, "HTTP status 500"), (403, "403")])
def test_a_hub_that_refuses(server, tmp_path, status, reason):
    server.heads = status
    result = run_hub(server.url, tmp_path, [REPOSITORY])
    assert reason in result["outcome"][0]
    assert "model.safetensors from http" in result["outcome"][0]
    assert "\n" not in result["outcome"][0]
    assert result["seconds"][0] < 30
