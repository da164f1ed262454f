"""Small archives that would keep a reader busy for minutes: what it does is bounded, whatever the file declares."""

from __future__ import annotations

import gzip
import io
import random
import struct
import tarfile
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import Tried
from tutelage.data import archive
from tutelage.data.archive import read_members
from tutelage.data.cifar import import_archive

FILES = {"set/train": b"train" * 500, "set/meta": b"meta"}
END = bytes(1024)


def block(name: str, kind: bytes, content: bytes = b"", size: int | None = None) -> bytes:
    info = tarfile.TarInfo(name)
    info.type, info.size = kind, len(content) if size is None else size
    return info.tobuf(tarfile.GNU_FORMAT) + content + bytes(-len(content) % 512)


GOOD = b"".join(block(name, tarfile.REGTYPE, content) for name, content in FILES.items())


def record(key: bytes, value: bytes) -> bytes:
    body = b" " + key + b"=" + value + b"\n"
    length = len(body)
    while length != len(body) + len(str(length)):
        length = len(body) + len(str(length))
    return str(length).encode() + body


def pax(*records: bytes, kind: bytes = tarfile.XHDTYPE) -> bytes:
    return block("pax", kind, b"".join(records))


def read(content: bytes, packed: bool = True) -> dict[str, bytes]:
    content = gzip.compress(content, mtime=0) if packed else content
    return dict(read_members(io.BytesIO(content), FILES, where="set.tar.gz"))


SPARSE = pax(record(b"GNU.sparse.major", b"1"), record(b"GNU.sparse.minor", b"0"))
HANGS: dict[str, tuple[bytes, str]] = {
    "digits of a pax record": (pax(b"1" * 2**17) + GOOD + END, "an extra header is damaged"),
    "digits in two headers": (pax(b"1" * 2**16) * 2 + GOOD + END, "an extra header is damaged"),
    "digits for all files": (pax(b"1" * 2**17, kind=tarfile.XGLTYPE) + GOOD + END, "an extra header is damaged"),
    "a header of a gigabyte": (
        block("pax", tarfile.XHDTYPE, size=2**30) + END,
        "extra headers declare 1073741824 bytes",
    ),
    "40,000 records": (pax(*[b"5 a=\n"] * 40_000) + GOOD + END, ""),
    "500 long names": (
        block("n", tarfile.GNUTYPE_LONGNAME, b"set/train\0") * 500 + GOOD + END,
        "more than 400 extra",
    ),
    "500 long links": (
        block("n", tarfile.GNUTYPE_LONGLINK, b"set/train\0") * 500 + GOOD + END,
        "more than 400 extra",
    ),
    "500 pax headers": (pax(record(b"path", b"set/train")) * 500 + GOOD + END, "more than 400 extra"),
    "a map of a sparse file": (
        SPARSE + block("set/train", tarfile.REGTYPE, b"1" * 2**22) + END,
        "neither a plain file",
    ),
    "a sparse file of old": (
        block("set/train", tarfile.GNUTYPE_SPARSE, b"\1" * 2**22) + END,
        "neither a plain file nor a folder",
    ),
    "a name of a megabyte": (
        block("n", tarfile.GNUTYPE_LONGNAME, b"a" * 2**20) + GOOD + END,
        "extra headers declare 1048576 bytes",
    ),
}


@pytest.mark.fault(24, 27)
@pytest.mark.parametrize("name", HANGS)
def test_archives_that_hang_are_refused_at_once(name: str, tried: Tried) -> None:
    """128 KiB of digits take tarfile 34 s in Python 3.11.7; each of these may take a second."""
    content, message = HANGS[name]
    start = time.process_time()
    if message:
        with pytest.raises(ValueError, match=rf"set\.tar\.gz is refused: .*({message})"):
            read(content)
    else:
        assert read(content) == FILES
    assert time.process_time() - start < 1
    tried(1, "archives that hang refused within a second of processor time")


@pytest.mark.fault(27)
@pytest.mark.parametrize(
    ("content", "message"),
    [
        (gzip.compress(b"", mtime=0) * 50_000 + gzip.compress(GOOD + END), "more than 1000 compressed streams"),
        (b"\x1f\x8b\x08\x08" + bytes(6) + b"n" * 10**7 + b"\0" + gzip.compress(GOOD + END)[10:], ""),
        (b"\x1f\x8b\x08\x10" + bytes(6) + b"c" * 10**7, "it is truncated"),
    ],
)
def test_streams_and_headers_of_gzip(content: bytes, message: str) -> None:
    """The module gzip reads names and comments byte by byte, and empty streams without end."""
    start = time.process_time()
    if message:
        with pytest.raises(ValueError, match=rf"set\.tar\.gz is refused: .*{message}"):
            read(content, packed=False)
    else:
        assert read(content, packed=False) == FILES
    assert time.process_time() - start < 0.5


def test_what_tarfile_writes_is_read_in_any_format() -> None:
    """Long names, pax records and bits of other tools give the same files as without them."""
    for kind in (tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w:gz", format=kind) as file:
            for name, content in {"set/" + "n" * 96: b"long", "é" * 40: b"e", **FILES}.items():
                info = tarfile.TarInfo(name)
                info.size, info.mtime = len(content), 1.5 if kind == tarfile.PAX_FORMAT else 1
                file.addfile(info, io.BytesIO(content))
        assert read(buffer.getvalue(), packed=False) == FILES
    long = "set/" + "n" * 300
    for extra in (pax(record(b"path", long.encode())), block("x", tarfile.GNUTYPE_LONGNAME, long.encode() + b"\0")):
        content = gzip.compress(extra + block("short", tarfile.REGTYPE, b"1234") + GOOD + END)
        assert dict(read_members(io.BytesIO(content), {long}, "a")) == {long: b"1234"}
    assert read(pax(record(b"comment", b"a b"), kind=tarfile.XGLTYPE) + GOOD + END) == FILES
    sized = pax(record(b"size", b"4")) + block("set/meta", tarfile.REGTYPE, b"", size=0) + b"meta" + bytes(508)
    assert read(block("set/train", tarfile.REGTYPE, FILES["set/train"]) + sized + END) == FILES


@pytest.mark.parametrize(
    "extra",
    [
        b"4 a=\n",
        b"99 a=b\n",
        b"x a=b\n",
        b"-6 a=b\n",
        b"7 path=a",
        b"6 a=b\n6 a=b",
        b"0 a=b\n",
        record(b"size", b"-1"),
        record(b"size", b"1e3"),
        record(b"size", b"9" * 16),
        record(b"size", b"9" * 14),
        record(b"GNU.sparse.map", b"1,2"),
        record(b"path", b"../meta"),
        record(b"path", b""),
    ],
)
def test_extra_headers_that_are_damaged_or_hostile(extra: bytes) -> None:
    with pytest.raises(ValueError, match=r"set\.tar\.gz is refused"):
        read(pax(extra) + GOOD + END)


def test_an_extra_header_at_the_end() -> None:
    with pytest.raises(ValueError, match="ends after an extra header"):
        read(GOOD + pax(record(b"path", b"set/other")) + END)


def test_random_tars_are_read_as_tarfile_reads_them() -> None:
    """The same names and contents as tarfile's, for 200 archives with headers of all kinds in random order."""
    generator = random.Random(5)
    for _ in range(200):
        parts = []
        for number in range(generator.randrange(1, 6)):
            name = f"set/{number}" + "n" * generator.choice((0, 3, 90))
            content = generator.randbytes(generator.choice((0, 1, 511, 512, 513)))
            if generator.random() < 0.5:
                longer = f"set/{number}/" + "long" * 40
                extra: Callable[[], bytes] = generator.choice(
                    (
                        lambda longer=longer: pax(record(b"path", longer.encode()), record(b"mtime", b"1.5")),  # type: ignore[misc]
                        lambda longer=longer: block("x", tarfile.GNUTYPE_LONGNAME, longer.encode() + b"\0"),  # type: ignore[misc]
                    )
                )
                parts.append(extra())
            parts.append(block(name, generator.choice((tarfile.REGTYPE, tarfile.AREGTYPE)), content))
        with tarfile.open(fileobj=io.BytesIO(b"".join(parts) + END)) as file:
            expected = {member.name: file.extractfile(member).read() for member in file}  # type: ignore[union-attr]
        packed = io.BytesIO(gzip.compress(b"".join(parts) + END, 1, mtime=0))
        assert dict(read_members(packed, expected, "a")) == expected


@pytest.mark.fault(24)
def test_an_import_names_the_file(tmp_path: Path) -> None:
    (tmp_path / "names.tar.gz").write_bytes(gzip.compress(HANGS["500 long names"][0]))
    with pytest.raises(ValueError, match=r"names\.tar\.gz is refused: it contains more than 400 extra headers"):
        import_archive("cifar10", tmp_path / "names.tar.gz", tmp_path / "data")


def test_the_checksum_at_the_end_is_verified() -> None:
    packed = bytearray(gzip.compress(GOOD + END, mtime=0))
    packed[-8:-4] = struct.pack("<I", 1)
    with pytest.raises(ValueError, match="incorrect data check"):
        read(bytes(packed), packed=False)
    assert archive.MAX_STREAMS == 1000
