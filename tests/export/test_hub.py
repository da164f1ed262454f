"""Pushing to a hub, tested against a stand-in for its HTTP API on this machine."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest

from tutelage.export import load_folder, push_to_hub
from tutelage.storage import Damaged

TOKEN = "hf_made_up_for_this_test"


class StandIn(ThreadingHTTPServer):
    """The part of the hub's API that uploads a small folder: repositories, preupload, LFS and commits."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answer)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.repositories: dict[str, dict[str, bytes]] = {}
        self.blobs: dict[str, bytes] = {}
        self.upload_mode = "regular"
        self.refusal: int | None = None
        self.tokens: set[str | None] = set()
        self.requests: list[str] = []

    def answer(self, path: str, body: bytes) -> tuple[int, Any]:
        self.requests.append(path)
        if self.refusal is not None:
            return self.refusal, {"error": "You may not do this"}
        if path == "/api/repos/create":
            request = json.loads(body)
            name = f"{request['organization']}/{request['name']}"
            known = name in self.repositories
            self.repositories.setdefault(name, {})
            return 409 if known else 200, {"url": f"{self.url}/{name}"}
        if path == "/api/validate-yaml":
            assert json.loads(body)["repoType"] == "model"
            return 200, {"errors": [], "warnings": []}
        if match := re.fullmatch(r"/api/models/([^/]+/[^/]+)/preupload/main", path):
            assert match[1] in self.repositories
            modes = [
                {"path": file["path"], "uploadMode": self.mode(file["path"]), "shouldIgnore": False}
                for file in json.loads(body)["files"]
            ]
            return 200, {"files": modes}
        if match := re.fullmatch(r"/([^/]+/[^/]+)\.git/info/lfs/objects/batch", path):
            objects = [
                item | {"actions": {"upload": {"href": f"{self.url}/blob/{item['oid']}"}}}
                for item in json.loads(body)["objects"]
            ]
            return 200, {"transfer": "basic", "objects": objects}
        if path.startswith("/blob/"):
            assert hashlib.sha256(body).hexdigest() == path.removeprefix("/blob/")
            self.blobs[path.removeprefix("/blob/")] = body
            return 200, {}
        if match := re.fullmatch(r"/api/models/([^/]+/[^/]+)/commit/main", path):
            for row in map(json.loads, body.splitlines()):
                value = row["value"]
                if row["key"] == "file":
                    self.repositories[match[1]][value["path"]] = base64.b64decode(value["content"])
                elif row["key"] == "lfsFile":
                    self.repositories[match[1]][value["path"]] = self.blobs[value["oid"]]
            return 200, {"commitUrl": f"{self.url}/{match[1]}/commit/{'a' * 40}", "commitOid": "a" * 40}
        return 404, {"error": f"nothing at {path}"}

    def mode(self, path: str) -> str:
        return "regular" if path.endswith((".md", ".json")) else self.upload_mode


class Answer(BaseHTTPRequestHandler):
    server: StandIn

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if not self.path.startswith("/blob/"):
            self.server.tokens.add(self.headers.get("Authorization"))
        status, value = self.server.answer(self.path.partition("?")[0], body)
        data = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    do_GET = do_PUT = do_POST

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[StandIn]:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    server = StandIn()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    huggingface_hub.close_session()
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")  # huggingface_hub's way to send a file
@pytest.mark.parametrize("mode", ["regular", "lfs"])
def test_a_pushed_folder_arrives_whole(
    hub: StandIn, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_XET", True)  # its protocol is not stood in for
    hub.upload_mode = mode
    (folder / "notes.txt").write_text("not part of the export")
    (folder / ".partial-1-x").write_text("left by a process that was killed")
    assert push_to_hub(folder, "somebody/digits", TOKEN, hub.url) == f"{hub.url}/somebody/digits"
    there = hub.repositories["somebody/digits"]
    assert set(there) == {"weights.safetensors", "model.pt2", "model.onnx", "model.json", "README.md"}
    assert (len(hub.blobs) == 3) == (mode == "lfs")
    for name, data in there.items():
        assert data == (folder / name).read_bytes()
        (tmp_path / "arrived").mkdir(exist_ok=True)
        (tmp_path / "arrived" / name).write_bytes(data)
    assert load_folder(tmp_path / "arrived").metadata == load_folder(folder).metadata
    assert hub.tokens == {f"Bearer {TOKEN}"}


def test_pushing_again(hub: StandIn, folder: Path) -> None:
    for _ in range(2):
        push_to_hub(folder, "somebody/digits", TOKEN, hub.url)
    assert hub.requests.count("/api/repos/create") == 2
    assert set(hub.repositories) == {"somebody/digits"}


@pytest.mark.parametrize("status", [401, 403, 500])
def test_a_hub_that_refuses(hub: StandIn, folder: Path, status: int) -> None:
    hub.refusal = status
    with pytest.raises(ConnectionError, match=rf"somebody/digits was not pushed: .*{status}.*You may not") as caught:
        push_to_hub(folder, "somebody/digits", TOKEN, hub.url)
    assert TOKEN not in str(caught.value)
    assert hub.repositories == {}


def test_a_hub_that_is_not_there(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with pytest.raises(ConnectionError, match="somebody/digits was not pushed: ConnectError"):
        push_to_hub(folder, "somebody/digits", TOKEN, "http://127.0.0.1:9")


def test_what_is_not_pushed(hub: StandIn, folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"is not an exported model: it has no model\.json"):
        push_to_hub(tmp_path, "somebody/digits", TOKEN, hub.url)
    for name in ("digits", "a/b/c", "some body/digits", "somebody/..", "/x"):
        with pytest.raises(ValueError, match=r"named OWNER/NAME|Repo id"):
            push_to_hub(folder, name, TOKEN, hub.url)
    (folder / "model.onnx").write_bytes(b"other")
    with pytest.raises(Damaged, match=r"model\.onnx was altered"):
        push_to_hub(folder, "somebody/digits", TOKEN, hub.url)
    assert hub.requests == []


def test_without_the_extra(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(ValueError, match=r"needs the package huggingface_hub: pip install 'tutelage\[hub\]'"):
        push_to_hub(folder, "somebody/digits")
