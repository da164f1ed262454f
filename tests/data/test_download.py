from __future__ import annotations

import http.client
import io
import socket
import threading
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from hashlib import md5
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tutelage.data import cifar, download, layouts
from tutelage.data.cifar import load_cifar
from tutelage.data.download import _SafeRedirects, fetch, is_safe


class Site:
    """A server on this machine: what it answers, and the paths that were requested."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.body = b""
        self.announced: int | None = None
        self.requests: list[str] = []
        self.redirects: dict[str, str] = {}


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    monkeypatch.setenv("no_proxy", "*")

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            state.requests.append(self.path)
            if self.path in state.redirects:
                self.send_response(302)
                self.send_header("Location", state.redirects[self.path])
                self.send_header("Content-Length", "0")
                self.end_headers()
            elif self.path != "/set.tar.gz":
                self.send_error(404)
            else:
                self.send_response(200)
                announced = len(state.body) if state.announced is None else state.announced
                self.send_header("Content-Length", str(announced))
                self.end_headers()
                self.wfile.write(state.body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    state = Site(f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield state
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def served(
    site: Site,
    members: Callable[[str], dict[str, bytes]],
    make_tar: Callable[..., bytes],
    monkeypatch: pytest.MonkeyPatch,
) -> Site:
    """The site serves a small CIFAR-100, whose checksum is the official one."""
    site.body = make_tar(members("cifar100"))
    official = md5(site.body, usedforsecurity=False).hexdigest()
    layout = replace(layouts.LAYOUTS["cifar100"], url=f"{site.url}/set.tar.gz", md5=official)
    monkeypatch.setitem(layouts.LAYOUTS, "cifar100", layout)
    return site


def point_to(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(layouts.LAYOUTS, "cifar100", replace(layouts.LAYOUTS["cifar100"], url=url))


def left_behind(root: Path) -> list[str]:
    return sorted(path.name for path in root.rglob("*") if path.is_file() and path.name != ".lock")


def test_download_then_load(served: Site, tmp_path: Path) -> None:
    assert cifar.download("cifar100", tmp_path) == tmp_path / "cifar100"
    assert left_behind(tmp_path) == ["data.safetensors", "manifest.json"]
    assert len(load_cifar("cifar100", tmp_path).train) == 200
    assert cifar.check("cifar100", tmp_path).endswith("imported from set.tar.gz (the official archive)")


@pytest.mark.fault(24, 25)
def test_what_is_kept_is_not_fetched_again_unless_it_is_damaged(served: Site, tmp_path: Path) -> None:
    cifar.download("cifar100", tmp_path)
    cifar.download("cifar100", tmp_path)
    assert len(served.requests) == 1
    (tmp_path / "cifar100" / "data.safetensors").write_bytes(b"damaged")
    cifar.download("cifar100", tmp_path)
    assert len(served.requests) == 2
    assert len(load_cifar("cifar100", tmp_path).train) == 200


@pytest.mark.fault(25)
def test_several_at_once_fetch_it_once(served: Site, tmp_path: Path) -> None:
    with ThreadPoolExecutor(4) as pool:
        for folder in pool.map(lambda _: cifar.download("cifar100", tmp_path), range(4)):
            assert folder == tmp_path / "cifar100"
    assert len(served.requests) == 1


def test_a_redirect_on_this_machine_is_followed(
    served: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    served.redirects = {"/old": "/set.tar.gz"}
    point_to(f"{served.url}/old", monkeypatch)
    cifar.download("cifar100", tmp_path)
    assert served.requests == ["/old", "/set.tar.gz"]


@pytest.mark.fault(25)
def test_what_cannot_be_had_says_what_to_do(served: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    point_to(f"http://127.0.0.1:{port}/set.tar.gz", monkeypatch)
    with pytest.raises(ConnectionError, match=r"refused.*run `tutelage data import cifar100 FILE`") as caught:
        cifar.download("cifar100", tmp_path)
    assert "\n" not in str(caught.value)
    point_to(f"{served.url}/moved", monkeypatch)
    with pytest.raises(ConnectionError, match=r"moved cannot be downloaded: .*404.*tutelage data import"):
        cifar.download("cifar100", tmp_path)
    assert left_behind(tmp_path) == []


@pytest.mark.fault(25)
@pytest.mark.parametrize("share", [0.0, 0.5, 0.99])
def test_a_body_cut_short(served: Site, share: float, tmp_path: Path) -> None:
    served.announced = len(served.body)
    served.body = served.body[: int(share * len(served.body))]
    with pytest.raises(ConnectionError, match=f"ended early: {len(served.body)} of {served.announced} bytes"):
        cifar.download("cifar100", tmp_path)
    assert left_behind(tmp_path) == []


@pytest.mark.fault(24)
@pytest.mark.parametrize("change", [b"\0", b""])
def test_a_wrong_checksum_is_found_before_anything_is_read(
    served: Site, change: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: object) -> None:
        raise AssertionError("the archive was opened")

    monkeypatch.setattr(cifar, "_import_stream", never)
    served.body = served.body + change if change else served.body[:-1]
    with pytest.raises(ValueError, match=r"has the checksum [0-9a-f]{32}, expected [0-9a-f]{32}: refused"):
        cifar.download("cifar100", tmp_path)
    assert left_behind(tmp_path) == []


@pytest.mark.fault(25)
def test_an_endless_body_is_cut_off(served: Site, tmp_path: Path) -> None:
    checksum = md5(served.body, usedforsecurity=False).hexdigest()
    with pytest.raises(ValueError, match="more than the 1000 bytes allowed"):  # noqa: SIM117 - one statement fails
        with fetch(f"{served.url}/set.tar.gz", checksum, tmp_path, limit=1000):
            raise AssertionError("the body was handed on")


@pytest.mark.fault(25)
def test_a_silent_server_times_out(served: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "TIMEOUT", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        point_to(f"http://127.0.0.1:{silent.getsockname()[1]}/set.tar.gz", monkeypatch)
        with pytest.raises(ConnectionError, match="timed out"):
            cifar.download("cifar100", tmp_path)


@pytest.mark.fault(25)
def test_a_redirect_away_from_https_is_refused(served: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    served.redirects = {"/away": "http://example.org/set.tar.gz", "/file": "file:///etc/passwd"}
    point_to(f"{served.url}/away", monkeypatch)
    with pytest.raises(ValueError, match=r"redirects to http://example\.org/set\.tar\.gz, which is not https"):
        cifar.download("cifar100", tmp_path)
    point_to(f"{served.url}/file", monkeypatch)
    with pytest.raises(ConnectionError, match="/file cannot be downloaded"):
        cifar.download("cifar100", tmp_path)
    point_to("http://example.org/set.tar.gz", monkeypatch)
    with pytest.raises(ValueError, match=r"http://example\.org/set\.tar\.gz is not https"):
        cifar.download("cifar100", tmp_path)
    assert left_behind(tmp_path) == []


@pytest.mark.fault(25)
@pytest.mark.parametrize("target", ["http://example.org/a", "http://localhost/a", "ftp://example.org/a"])
def test_https_is_never_left(target: str) -> None:
    request = urllib.request.Request("https://example.org/a")
    with pytest.raises(ValueError, match="which is not https: refused"):
        _SafeRedirects().redirect_request(request, io.BytesIO(), 302, "", http.client.HTTPMessage(), target)
    assert not is_safe(target, redirected_from="https://example.org/a")


def test_the_official_addresses_are_safe() -> None:
    assert all(is_safe(layout.url) and len(layout.md5) == 32 for layout in layouts.LAYOUTS.values())
