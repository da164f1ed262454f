"""Archives that arrive damaged, in part, late or from elsewhere, and archives that point outside themselves."""

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
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.conftest import Many, Tried
from tests.data.conftest import entry, members, small_layouts, tar_gz
from tutelage import storage
from tutelage.cli import command
from tutelage.data import cifar, layouts
from tutelage.data.cifar import import_archive, load_cifar

__all__ = ["members", "small_layouts"]  # fixtures
Members = Callable[[str], dict[str, bytes]]
OK = b"HTTP/1.1 200 OK\r\n"


class Server:
    """Answers each request with the bytes it is told to, and ends the connection, orderly or with a reset."""

    def __init__(self) -> None:
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.socket.getsockname()[1]}/set.tar.gz"
        self.answer, self.reset, self.wait, self.asked = b"", False, 0.0, list[bytes]()
        self.thread = threading.Thread(target=self.serve)
        self.thread.start()

    def serve(self) -> None:
        while True:
            try:
                there, _ = self.socket.accept()
            except OSError:
                return
            with there, contextlib.suppress(OSError):  # whoever asked may have heard enough
                request = there.recv(65536)
                if not request:
                    continue
                self.asked.append(request)
                half = len(self.answer) // 2
                there.sendall(self.answer[:half])
                time.sleep(self.wait)
                there.sendall(self.answer[half:])
                if self.reset:
                    there.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    def close(self) -> None:
        self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()
        self.thread.join()

    def sends(self, body: bytes, announced: int | None = None, status: bytes = OK, **how: object) -> None:
        length = len(body) if announced is None else announced
        self.answer = status + f"Content-Length: {length}\r\n\r\n".encode() + body
        self.reset, self.wait = bool(how.get("reset")), float(str(how.get("wait", 0)))


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("no_proxy", "*")
    made = Server()
    yield made
    made.close()


@pytest.fixture
def whole(server: Server, members: Members, monkeypatch: pytest.MonkeyPatch) -> bytes:
    """A small CIFAR-100 whose checksum is the official one, on the server."""
    archive = tar_gz(members("cifar100"))
    md5 = hashlib.md5(archive, usedforsecurity=False).hexdigest()
    layout = replace(layouts.LAYOUTS["cifar100"], url=server.url, md5=md5)
    monkeypatch.setitem(layouts.LAYOUTS, "cifar100", layout)
    monkeypatch.setattr("os.fsync", lambda _: None)
    return archive


def left(root: Path) -> set[str]:
    return {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file() and path.name != ".lock"}


@pytest.mark.fault(24)
@pytest.mark.timeout(900)
def test_flipped_cut_and_longer_archives_from_a_server(
    whole: bytes, server: Server, tmp_path: Path, many: Many, tried: Tried
) -> None:
    """The checksum is compared before a byte is read; what was kept before stays, and the whole one is taken."""
    chance, count = random.Random(0), many(12, 300)
    root = tmp_path / "data"
    for number in range(count):
        place = chance.randrange(len(whole))
        changed = bytearray(whole)
        changed[place] ^= 1 << chance.randrange(8)
        spoilt = (bytes(changed), whole[:place], whole + bytes(1 + place % 50))[number % 3]
        server.sends(spoilt)
        with pytest.raises(ValueError, match=r"has the checksum [0-9a-f]{32}, expected [0-9a-f]{32}: refused"):
            cifar.download("cifar100", root)
        assert left(root) == set()
    server.sends(whole)
    cifar.download("cifar100", root)
    kept = load_cifar("cifar100", root).fingerprint
    (root / "cifar100" / "data.safetensors").write_bytes(b"damaged")  # so that it is asked for again
    server.sends(whole[:-1] + b"0")
    with pytest.raises(ValueError, match="has the checksum"):
        cifar.download("cifar100", root)
    assert left(root) == {"cifar100/data.safetensors", "cifar100/manifest.json"}
    server.sends(whole)
    cifar.download("cifar100", root)
    assert load_cifar("cifar100", root).fingerprint == kept
    tried(count + 1, "damaged archives from a server refused by their checksum")


@pytest.mark.fault(24)
@pytest.mark.timeout(900)
def test_flipped_cut_and_longer_archives_from_disk(whole: bytes, tmp_path: Path, many: Many, tried: Tried) -> None:
    """Of a file that is no official one the checksum of gzip is what tells; a bit without a meaning may change."""
    root, path, chance = tmp_path / "data", tmp_path / "set.tar.gz", random.Random(1)
    path.write_bytes(whole)
    import_archive("cifar100", path, root)
    kept = load_cifar("cifar100", root).fingerprint
    refused = 0
    for number in range(count := many(30, 1000)):
        place = chance.randrange(len(whole))
        changed = bytearray(whole)
        changed[place] ^= 1 << chance.randrange(8)
        path.write_bytes((bytes(changed), whole[:place], whole + bytes([1 + place % 50]))[number % 3])
        try:
            import_archive("cifar100", path, root)
        except ValueError as error:
            refused += 1
            assert "set.tar.gz" in str(error) or "cifar-100-python/" in str(error)  # noqa: PT017 - either is right
        assert load_cifar("cifar100", root).fingerprint == kept
        assert left(root) == {"cifar100/data.safetensors", "cifar100/manifest.json"}
    assert refused > 0.9 * count
    tried(count, f"damaged archives from disk, {refused} refused and the others without any effect")


def answers(whole: bytes) -> dict[str, tuple[dict[str, object], str]]:
    """What a server may do instead of sending a file, and what is said of it."""
    part = whole[: len(whole) // 2]
    found: dict[str, tuple[dict[str, object], str]] = {
        f"ends after {k} bytes": (
            {"body": whole[:k], "announced": len(whole)},
            f"ended early: {k} of {len(whole)} bytes",
        )
        for k in (0, 1, 1000, len(whole) - 1)
    }
    found |= {
        f"resets after {k} bytes": (
            {"body": whole[:k], "announced": len(whole), "reset": True},
            "cannot be downloaded: .*reset|ended early|Remote end closed",
        )
        for k in (0, 5000)
    }
    return found | {
        "announces less": ({"body": whole, "announced": 1000}, "has the checksum"),
        "announces more": ({"body": whole, "announced": len(whole) + 9}, "ended early"),
        "announces far too much": ({"body": whole, "announced": 10**15}, "ended early"),
        "a part, unasked": ({"body": part, "status": b"HTTP/1.1 206 Partial Content\r\n"}, "has the checksum"),
        "416": ({"body": b"", "status": b"HTTP/1.1 416 Range Not Satisfiable\r\n"}, "cannot be downloaded: .*416"),
        "404": ({"body": whole, "status": b"HTTP/1.1 404 Not Found\r\n"}, "cannot be downloaded: .*404"),
        "503": ({"body": whole, "status": b"HTTP/1.1 503 Service Unavailable\r\n"}, "cannot be downloaded: .*503"),
        "no content": ({"body": b"", "status": b"HTTP/1.1 204 No Content\r\n"}, "has the checksum"),
        "chunks that end": (
            {"body": b"5\r\nab", "status": OK + b"Transfer-Encoding: chunked\r\n"},
            "cannot be downloaded|ended early|has the checksum",
        ),
        "no HTTP": ({"body": whole, "status": b"\x1f\x8b\r\n"}, "cannot be downloaded"),
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
def test_what_a_server_may_do_instead(whole: bytes, server: Server, tmp_path: Path, tried: Tried) -> None:
    """Nothing of it is kept; nothing is ever continued, so no half of one file meets the half of another."""
    for name, (sent, message) in answers(whole).items():
        server.sends(**sent)  # type: ignore[arg-type]
        with pytest.raises((ConnectionError, ValueError), match=message) as caught:
            cifar.download("cifar100", tmp_path)
        assert "\n" not in str(caught.value), name
        if isinstance(caught.value, ConnectionError):
            assert "tutelage data import cifar100 FILE" in str(caught.value)
        assert left(tmp_path) == set(), name
    assert not any(b"range:" in request.lower() for request in server.asked)
    server.sends(whole)
    cifar.download("cifar100", tmp_path)
    assert len(load_cifar("cifar100", tmp_path).train) == 200
    tried(len(answers(whole)), "answers that are not the file")


@pytest.mark.fault(25)
@pytest.mark.timeout(900)
def test_a_killed_download_leaves_nothing_and_its_rivals_fetch_once(
    whole: bytes, server: Server, tmp_path: Path, many: Many, tried: Tried
) -> None:
    """Processes at once; the one that downloads is killed in the middle of it, and one of the others takes over."""
    layout = layouts.LAYOUTS["cifar100"]
    program = (
        "import sys\nfrom dataclasses import replace\nfrom pathlib import Path\n"
        "from tutelage.data import cifar, layouts\nlayout = layouts.LAYOUTS['cifar100']\n"
        "facts = replace(layout.facts, train_size=200, test_size=100)\n"
        "layouts.LAYOUTS['cifar100'] = replace(layout, facts=facts, url=sys.argv[1], md5=sys.argv[2])\n"
        "cifar.download('cifar100', Path(sys.argv[3]))\nprint(layouts.LAYOUTS['cifar100'].md5)"
    )
    arguments = [sys.executable, "-c", program, server.url, layout.md5]
    for number in range(rounds := many(1, 10)):
        root, before = tmp_path / f"{number}", len(server.asked)
        server.sends(whole, wait=1.0)
        started = [
            subprocess.Popen([*arguments, str(root)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
            for _ in range(many(2, 4))
        ]
        while len(server.asked) == before:
            time.sleep(0.01)
        time.sleep(0.3)  # half of the file has been sent
        holder = (root / "cifar100" / ".lock").read_text()
        (downloading,) = [process for process in started if f"process {process.pid} " in holder]
        downloading.kill()
        said = [process.communicate(timeout=60) for process in started]
        codes = sorted(process.returncode for process in started)
        assert codes == [-signal.SIGKILL, *[0] * (len(started) - 1)], said
        assert len(server.asked) - before == 2
        assert left(root) == {"cifar100/data.safetensors", "cifar100/manifest.json"}
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
    "link in the place of a file": ("cifar-100-python/train", tarfile.SYMTYPE, "{root}/elsewhere/kept"),
    "link without a name": ("", tarfile.SYMTYPE, "{root}/elsewhere"),
    "link to nothing": ("cifar-100-python/link", tarfile.SYMTYPE, ""),
    "hard link": ("cifar-100-python/train", tarfile.LNKTYPE, "{root}/elsewhere/kept"),
    "hard link up": ("cifar-100-python/hard", tarfile.LNKTYPE, "../../elsewhere/kept"),
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
    """All that lies below a folder: kinds, contents, links and rights."""
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
    """Through the command, as the first member and as the last; all around it is as it was."""
    place, kind, link = (part.format(root=tmp_path) if isinstance(part, str) else part for part in MEMBERS[name])
    assert isinstance(place, str)
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "kept").write_bytes(b"kept")
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
        for found in (before, after):  # who held it last
            found.pop("data/cifar100/.lock")
        assert after == before
    tried(2, "archives refused, with nothing changed in the folders around them")


@pytest.mark.fault(26)
def test_a_zip_is_never_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The arrays of an ``.npz`` are read by their names; whatever else it holds is left where it is."""
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
