"""Archives that arrive damaged, incomplete, late or from elsewhere, and archives with paths outside their folder."""

from __future__ import annotations

import contextlib
import hashlib
import random
import signal
import socket
import struct
import subprocess
import sys
import tarfile
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.conftest import Many, Tried, limit
from tests.data.conftest import entry, members, small_layouts, tar_gz
from tutelage import storage
from tutelage.cli import command
from tutelage.data import cifar, layouts
from tutelage.data.cifar import import_archive, load_cifar

__all__ = ["members", "small_layouts"]  # fixtures
Members = Callable[[str], dict[str, bytes]]
OK = b"HTTP/1.1 200 OK\r\n"


class Server:
    """Answers each request with preset bytes, then closes or resets the connection."""

    def __init__(self) -> None:
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.socket.getsockname()[1]}/set.tar.gz"
        self.answer, self.reset, self.requests = b"", False, list[bytes]()
        self.halfway, self.rest = threading.Event(), threading.Event()
        self.rest.set()
        self.thread = threading.Thread(target=self.serve)
        self.thread.start()

    def serve(self) -> None:
        while True:
            try:
                connection, _ = self.socket.accept()
            except OSError:
                return
            with connection, contextlib.suppress(OSError):  # the client may have closed the connection
                request = connection.recv(65536)
                if not request:
                    continue
                self.requests.append(request)
                half = len(self.answer) // 2
                connection.sendall(self.answer[:half])
                self.halfway.set()
                self.rest.wait()
                connection.sendall(self.answer[half:])
                if self.reset:
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    def close(self) -> None:
        self.rest.set()
        self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()
        self.thread.join()

    def sends(self, body: bytes, announced: int | None = None, status: bytes = OK, **how: object) -> None:
        length = len(body) if announced is None else announced
        self.answer = status + f"Content-Length: {length}\r\n\r\n".encode() + body
        self.reset = bool(how.get("reset"))


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("no_proxy", "*")
    instance = Server()
    yield instance
    instance.close()


@pytest.fixture
def archive(server: Server, members: Members, monkeypatch: pytest.MonkeyPatch) -> bytes:
    """A small CIFAR-100 archive on the server, with its checksum registered as the official one."""
    content = tar_gz(members("cifar100"))
    md5 = hashlib.md5(content, usedforsecurity=False).hexdigest()
    layout = replace(layouts.LAYOUTS["cifar100"], url=server.url, md5=md5)
    monkeypatch.setitem(layouts.LAYOUTS, "cifar100", layout)
    monkeypatch.setattr("os.fsync", lambda _: None)
    return content


def files_in(root: Path) -> set[str]:
    return {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file() and path.name != ".lock"}


@pytest.mark.fault(24)
@pytest.mark.timeout(900)
def test_flipped_cut_and_longer_archives_from_a_server(
    archive: bytes, server: Server, tmp_path: Path, many: Many, tried: Tried
) -> None:
    """The checksum is compared before anything is read; an earlier dataset stays; an intact archive is accepted."""
    draw, count = random.Random(0), many(12, 300)
    root = tmp_path / "data"
    for number in range(count):
        place = draw.randrange(len(archive))
        changed = bytearray(archive)
        changed[place] ^= 1 << draw.randrange(8)
        damaged = (bytes(changed), archive[:place], archive + bytes(1 + place % 50))[number % 3]
        server.sends(damaged)
        with pytest.raises(ValueError, match=r"has the checksum [0-9a-f]{32}, expected [0-9a-f]{32}: refused"):
            cifar.download("cifar100", root)
        assert files_in(root) == set()
    server.sends(archive)
    cifar.download("cifar100", root)
    fingerprint = load_cifar("cifar100", root).fingerprint
    (root / "cifar100" / "data.safetensors").write_bytes(b"damaged")  # so that it is requested again
    server.sends(archive[:-1] + b"0")
    with pytest.raises(ValueError, match="has the checksum"):
        cifar.download("cifar100", root)
    assert files_in(root) == {"cifar100/data.safetensors", "cifar100/manifest.json"}
    server.sends(archive)
    cifar.download("cifar100", root)
    assert load_cifar("cifar100", root).fingerprint == fingerprint
    tried(count + 1, "damaged archives from a server refused by their checksum")


@pytest.mark.fault(24)
@pytest.mark.timeout(900)
def test_flipped_cut_and_longer_archives_from_disk(archive: bytes, tmp_path: Path, many: Many, tried: Tried) -> None:
    """Other archives than the official one have only gzip's own checksum; a bit without a meaning may change."""
    root, path, draw = tmp_path / "data", tmp_path / "set.tar.gz", random.Random(1)
    path.write_bytes(archive)
    import_archive("cifar100", path, root)
    fingerprint = load_cifar("cifar100", root).fingerprint
    refused = 0
    for number in range(count := many(30, 1000)):
        place = draw.randrange(len(archive))
        changed = bytearray(archive)
        changed[place] ^= 1 << draw.randrange(8)
        path.write_bytes((bytes(changed), archive[:place], archive + bytes([1 + place % 50]))[number % 3])
        try:
            import_archive("cifar100", path, root)
        except ValueError as error:
            refused += 1
            assert "set.tar.gz" in str(error) or "cifar-100-python/" in str(error)  # noqa: PT017 - either is right
        assert load_cifar("cifar100", root).fingerprint == fingerprint
        assert files_in(root) == {"cifar100/data.safetensors", "cifar100/manifest.json"}
    assert refused > 0.9 * count
    tried(count, f"damaged archives from disk, {refused} refused and the others without any effect")


def wrong_replies(archive: bytes) -> dict[str, tuple[dict[str, object], str]]:
    """What a server may send instead of a file, and the expected message."""
    part = archive[: len(archive) // 2]
    replies: dict[str, tuple[dict[str, object], str]] = {
        f"ends after {k} bytes": (
            {"body": archive[:k], "announced": len(archive)},
            f"ended early: {k} of {len(archive)} bytes",
        )
        for k in (0, 1, 1000, len(archive) - 1)
    }
    replies |= {
        f"resets after {k} bytes": (
            {"body": archive[:k], "announced": len(archive), "reset": True},
            "cannot be downloaded: .*reset|ended early|Remote end closed",
        )
        for k in (0, 5000)
    }
    return replies | {
        "announces less": ({"body": archive, "announced": 1000}, "has the checksum"),
        "announces more": ({"body": archive, "announced": len(archive) + 9}, "ended early"),
        "announces far too much": ({"body": archive, "announced": 10**15}, "ended early"),
        "a part, unasked": ({"body": part, "status": b"HTTP/1.1 206 Partial Content\r\n"}, "has the checksum"),
        "416": ({"body": b"", "status": b"HTTP/1.1 416 Range Not Satisfiable\r\n"}, "cannot be downloaded: .*416"),
        "404": ({"body": archive, "status": b"HTTP/1.1 404 Not Found\r\n"}, "cannot be downloaded: .*404"),
        "503": ({"body": archive, "status": b"HTTP/1.1 503 Service Unavailable\r\n"}, "cannot be downloaded: .*503"),
        "no content": ({"body": b"", "status": b"HTTP/1.1 204 No Content\r\n"}, "has the checksum"),
        "chunks that end": (
            {"body": b"5\r\nab", "status": OK + b"Transfer-Encoding: chunked\r\n"},
            "cannot be downloaded|ended early|has the checksum",
        ),
        "no HTTP": ({"body": archive, "status": b"\x1f\x8b\r\n"}, "cannot be downloaded"),
        "a redirect to http": (
            {"body": b"", "status": b"HTTP/1.1 302 Found\r\nLocation: http://example.org/set.tar.gz\r\n"},
            "redirects to http://example.org/set.tar.gz, which is not https: refused",
        ),
        "a redirect to a file": (
            {"body": b"", "status": b"HTTP/1.1 301 Moved\r\nLocation: file:///etc/passwd\r\n"},
            "cannot be downloaded|refused",
        ),
        "a redirect to itself": (
            {"body": b"", "status": b"HTTP/1.1 302 Found\r\nLocation: /set.tar.gz\r\n"},
            "cannot be downloaded: .*infinite loop",
        ),
    }


@pytest.mark.fault(25)
@pytest.mark.timeout(900)
def test_what_a_server_may_do_instead(archive: bytes, server: Server, tmp_path: Path, tried: Tried) -> None:
    """Nothing of it is stored, and no download is ever resumed, so that halves of two files are never joined."""
    for name, (reply, message) in wrong_replies(archive).items():
        server.sends(**reply)  # type: ignore[arg-type]
        with pytest.raises((ConnectionError, ValueError), match=message) as error:
            cifar.download("cifar100", tmp_path)
        assert "\n" not in str(error.value), name
        if isinstance(error.value, ConnectionError):
            assert "tutelage data import cifar100 FILE" in str(error.value)
        assert files_in(tmp_path) == set(), name
    assert not any(b"range:" in request.lower() for request in server.requests)
    server.sends(archive)
    cifar.download("cifar100", tmp_path)
    assert len(load_cifar("cifar100", tmp_path).train) == 200
    tried(len(wrong_replies(archive)), "replies that are not the file")


@pytest.mark.fault(25)
@pytest.mark.timeout(900)
def test_a_killed_download_leaves_nothing_and_its_rivals_fetch_once(
    archive: bytes, server: Server, tmp_path: Path, many: Many, tried: Tried
) -> None:
    """Several processes at once: the one that downloads is killed in the middle, and one of the others takes over."""
    layout = layouts.LAYOUTS["cifar100"]
    program = (
        "import sys\nfrom dataclasses import replace\nfrom pathlib import Path\n"
        "from tutelage.data import cifar, layouts\nlayout = layouts.LAYOUTS['cifar100']\n"
        "info = replace(layout.info, train_size=200, test_size=100)\n"
        "layouts.LAYOUTS['cifar100'] = replace(layout, info=info, url=sys.argv[1], md5=sys.argv[2])\n"
        "cifar.download('cifar100', Path(sys.argv[3]))\nprint(layouts.LAYOUTS['cifar100'].md5)"
    )
    arguments = [sys.executable, "-c", program, server.url, layout.md5]
    for number in range(rounds := many(1, 10)):
        root, before = tmp_path / f"{number}", len(server.requests)
        server.sends(archive)
        server.halfway.clear()
        server.rest.clear()
        started = [
            subprocess.Popen([*arguments, str(root)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
            for _ in range(many(2, 4))
        ]
        assert server.halfway.wait(limit(60))
        holder = (root / "cifar100" / ".lock").read_text()
        (downloading,) = [process for process in started if f"process {process.pid} " in holder]
        downloading.kill()
        downloading.wait()
        server.rest.set()
        outputs = [process.communicate(timeout=limit(60)) for process in started]
        codes = sorted(process.returncode for process in started)
        assert codes == [-signal.SIGKILL, *[0] * (len(started) - 1)], outputs
        assert len(server.requests) - before == 2
        assert files_in(root) == {"cifar100/data.safetensors", "cifar100/manifest.json"}
        storage.verify(root / "cifar100")
    tried(rounds, "rounds of processes at once, the one that downloads killed")


OUTSIDE = "elsewhere/evil"
MEMBERS: dict[str, tuple[str, bytes, str]] = {
    "up": ("../../" + OUTSIDE, tarfile.REGTYPE, ""),
    "up within": ("cifar-100-python/../../../" + OUTSIDE, tarfile.REGTYPE, ""),
    "absolute": ("{root}/" + OUTSIDE, tarfile.REGTYPE, ""),
    "two slashes": ("/" + "{root}/" + OUTSIDE, tarfile.REGTYPE, ""),
    "a name of nothing": ("", tarfile.REGTYPE, ""),
    "a dot": (".", tarfile.REGTYPE, ""),
    "link": ("cifar-100-python/link", tarfile.SYMTYPE, "{root}/elsewhere"),
    "link in the place of a file": ("cifar-100-python/train", tarfile.SYMTYPE, "{root}/elsewhere/file"),
    "link without a name": ("", tarfile.SYMTYPE, "{root}/elsewhere"),
    "link to nothing": ("cifar-100-python/link", tarfile.SYMTYPE, ""),
    "hard link": ("cifar-100-python/train", tarfile.LNKTYPE, "{root}/elsewhere/file"),
    "hard link up": ("cifar-100-python/hard", tarfile.LNKTYPE, "../../elsewhere/file"),
    "character device": ("cifar-100-python/zero", tarfile.CHRTYPE, ""),
    "block device": ("cifar-100-python/disk", tarfile.BLKTYPE, ""),
    "pipe": ("cifar-100-python/train", tarfile.FIFOTYPE, ""),
    "sparse": ("cifar-100-python/train", tarfile.GNUTYPE_SPARSE, ""),
    "unknown": ("cifar-100-python/train", b"Q", ""),
    "long name": ("../" * 60 + OUTSIDE, tarfile.REGTYPE, ""),
    "newline": ("..\n/../" + OUTSIDE, tarfile.REGTYPE, ""),
    "folder up": ("../elsewhere", tarfile.DIRTYPE, ""),
}


def snapshot(folder: Path) -> dict[str, object]:
    """Everything below a folder: kinds, contents, links and permissions."""
    return {
        str(path.relative_to(folder)): (
            path.lstat().st_mode,
            path.readlink() if path.is_symlink() else path.read_bytes() if path.is_file() else None,
        )
        for path in sorted(folder.rglob("*"))
    }


@pytest.mark.fault(26)
@pytest.mark.parametrize("name", MEMBERS)
def test_no_member_of_an_archive_leaves_its_place(
    name: str, members: Members, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tried: Tried
) -> None:
    """Through the command, as the first and as the last member; the folders around are unchanged."""
    place, kind, link = (part.format(root=tmp_path) if isinstance(part, str) else part for part in MEMBERS[name])
    assert isinstance(place, str)
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "file").write_bytes(b"content")
    work = tmp_path / "deep" / "work"
    work.mkdir(parents=True)
    monkeypatch.chdir(work)
    monkeypatch.setenv("TUTELAGE_DATA", str(tmp_path / "data"))
    content = b"evil" if kind == tarfile.REGTYPE else b""
    hostile = entry(place, content, kind, str(link))
    good = [entry(file, content) for file, content in members("cifar100").items() if file != place]
    (tmp_path / "data" / "cifar100").mkdir(parents=True)
    with storage.lock(tmp_path / "data" / "cifar100"):
        pass
    for number, order in enumerate(([hostile, *good], [*good, hostile])):
        (work / "set.tar.gz").write_bytes(tar_gz({}, *order))
        before = snapshot(tmp_path)
        assert command(["data", "import", "cifar100", "set.tar.gz"]) == 2, number
        after = snapshot(tmp_path)
        for listing in (before, after):  # it names its last holder
            listing.pop("data/cifar100/.lock")
        assert after == before
    tried(2, "archives refused, with nothing changed in the folders around them")


@pytest.mark.fault(26)
def test_a_zip_is_never_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The arrays of an ``.npz`` are read by name; its other members are ignored."""
    import io
    import zipfile

    import numpy as np

    from tutelage.data.npz import read_npz

    work = tmp_path / "deep" / "work"
    work.mkdir(parents=True)
    monkeypatch.chdir(work)
    buffer = io.BytesIO()
    images, labels = np.zeros((4, 8, 8), np.uint8), [0, 1, 0, 1]
    np.savez(buffer, train_images=images, train_labels=labels, test_images=images, test_labels=labels)
    with zipfile.ZipFile(buffer, "a") as file:
        for name in ("../../evil.npy", "/evil.npy", f"{tmp_path}/evil", "..\\evil.npy", "train_images.npy/../x"):
            file.writestr(name, b"evil")
    (work / "set.npz").write_bytes(buffer.getvalue())
    before = snapshot(tmp_path)
    assert len(read_npz(work / "set.npz").train) == 4
    assert snapshot(tmp_path) == before
