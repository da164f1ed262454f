from __future__ import annotations

import gzip
import io
import tarfile
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest

from tutelage.data import archive
from tutelage.data.archive import read_members, read_unpacked

MakeTar = Callable[..., bytes]
MakeEntry = Callable[..., tuple[tarfile.TarInfo, bytes]]
FILES = {"set/train": b"train" * 500, "set/test": b"test" * 300, "set/meta": b"meta"}


def read(content: bytes, names: object = FILES) -> dict[str, bytes]:
    return dict(read_members(io.BytesIO(content), names, where="set.tar.gz"))  # type: ignore[arg-type]


def test_requested_files_are_read_and_others_ignored(make_tar: MakeTar, make_entry: MakeEntry) -> None:
    others = (
        make_entry("set/readme.html", b"<html>"),
        make_entry("set", kind=tarfile.DIRTYPE),
        make_entry("set/file.txt~"),
    )
    assert read(make_tar(FILES, *others)) == FILES


def test_names_below_the_current_folder_are_the_same_names(make_tar: MakeTar, make_entry: MakeEntry) -> None:
    dotted = {f"./{name}": content for name, content in FILES.items()}
    assert read(make_tar(dotted, make_entry("./", kind=tarfile.DIRTYPE))) == FILES


@pytest.mark.fault(26)
@pytest.mark.parametrize(
    ("name", "kind", "link", "message"),
    [
        ("../evil", tarfile.REGTYPE, "", "points outside"),
        ("set/../../evil", tarfile.REGTYPE, "", "points outside"),
        ("/etc/evil", tarfile.REGTYPE, "", "points outside"),
        ("//evil", tarfile.REGTYPE, "", "points outside"),
        ("..", tarfile.DIRTYPE, "", "points outside"),
        (".", tarfile.REGTYPE, "", "points outside"),
        ("set/link", tarfile.SYMTYPE, "/etc/passwd", "neither a plain file nor a folder"),
        ("set/link", tarfile.LNKTYPE, "set/train", "neither a plain file nor a folder"),
        ("set/link", tarfile.SYMTYPE, "", "neither a plain file nor a folder"),
        ("set/null", tarfile.CHRTYPE, "", "neither a plain file nor a folder"),
        ("set/disk", tarfile.BLKTYPE, "", "neither a plain file nor a folder"),
        ("set/pipe", tarfile.FIFOTYPE, "", "neither a plain file nor a folder"),
        ("set/odd", b"Z", "", "neither a plain file nor a folder"),
        ("set/sparse", tarfile.GNUTYPE_SPARSE, "", "neither a plain file nor a folder"),
    ],
)
@pytest.mark.parametrize("first", [True, False])
def test_hostile_members_are_refused(
    name: str,
    kind: bytes,
    link: str,
    message: str,
    first: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    make_tar: MakeTar,
    make_entry: MakeEntry,
) -> None:
    inside = tmp_path / "outer" / "inner"
    inside.mkdir(parents=True)
    monkeypatch.chdir(inside)
    hostile = make_entry(name, kind=kind, link=link)
    extra = [make_entry(file, content) for file, content in FILES.items()]
    content = make_tar({}, hostile, *extra) if first else make_tar(FILES, hostile)
    with pytest.raises(ValueError, match=rf"set\.tar\.gz is refused: it contains .*{message}"):
        read(content)
    assert [path for path in tmp_path.rglob("*") if path not in (inside, inside.parent)] == []


@pytest.mark.fault(26)
@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE])
def test_a_link_under_a_wanted_name_is_refused(kind: bytes, make_tar: MakeTar, make_entry: MakeEntry) -> None:
    with pytest.raises(ValueError, match="neither a plain file nor a folder"):
        read(make_tar({"set/test": b"", "set/meta": b""}, make_entry("set/train", kind=kind, link="/etc/passwd")))


@pytest.mark.fault(24)
def test_a_wanted_file_is_there_exactly_once(make_tar: MakeTar, make_entry: MakeEntry) -> None:
    with pytest.raises(ValueError, match="it contains set/train twice"):
        read(make_tar(FILES, make_entry("./set/train", b"other")))
    with pytest.raises(ValueError, match="it lacks set/meta, set/test"):
        read(make_tar({"set/train": b"a"}))
    with pytest.raises(ValueError, match="it lacks set/meta, set/test, set/train"):
        read(make_tar({}))
    with pytest.raises(ValueError, match="it lacks set/train"):
        read(make_tar({"set/test": b"", "set/meta": b""}, make_entry("set/train", kind=tarfile.DIRTYPE)))


@pytest.mark.fault(24)
def test_damage_is_found_wherever_it_is(make_tar: MakeTar) -> None:
    good = make_tar(FILES)
    for length in range(len(good)):
        with pytest.raises(ValueError, match=r"set\.tar\.gz is refused"):
            read(good[:length])
    harmless: list[int] = []
    for position in range(len(good)):
        changed = bytearray(good)
        changed[position] ^= 1 << position % 8
        try:
            files = read(bytes(changed))
        except ValueError as error:
            assert "set.tar.gz is refused" in str(error)  # noqa: PT017 - a bit without a meaning may change
        else:
            assert files == FILES
            harmless.append(position)
    assert len(harmless) < len(good) / 4
    assert max(harmless) < len(good) - 8  # the checksum and the size stand last
    with pytest.raises(ValueError, match=r"set\.tar\.gz is refused"):
        read(good + b"more")


@pytest.mark.fault(24)
@pytest.mark.parametrize("content", [b"", b"hello", b"PK\x03\x04", gzip.compress(b"no tar " * 200, mtime=0)])
def test_other_files_are_refused(content: bytes) -> None:
    with pytest.raises(ValueError, match=r"set\.tar\.gz is refused"):
        read(content)


def declared(name: str, size: int) -> bytes:
    info = tarfile.TarInfo(name)
    info.size = size
    return info.tobuf(tarfile.GNU_FORMAT)


def peak_of_refusing(content: bytes, message: str) -> int:
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match=message):
            read(content)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.fault(26, 27)
@pytest.mark.parametrize("name", ["set/train", "set/unknown"])
@pytest.mark.parametrize("size", [2 * 2**30, 2**50])
def test_a_file_that_declares_too_much_is_refused_unread(name: str, size: int) -> None:
    began = time.process_time()
    assert peak_of_refusing(gzip.compress(declared(name, size)), r"bytes; at most \d+ are allowed") < 2**22
    assert time.process_time() - began < 1


@pytest.mark.fault(27)
def test_a_bomb_of_10_gigabytes_is_stopped_early() -> None:
    zeros = gzip.compress(bytes(2**26))  # members of gzip may follow one another: 160 of these are 10 GiB in 10 MB
    began = time.process_time()
    assert peak_of_refusing(zeros * 160, "decompresses to more bytes") < 2**24
    assert time.process_time() - began < 20


@pytest.mark.fault(27)
def test_a_bomb_in_the_headers_is_stopped_early() -> None:
    header = tarfile.TarInfo("header")
    header.type, header.size = tarfile.XHDTYPE, 2**40
    bomb = gzip.compress(header.tobuf(tarfile.GNU_FORMAT)) + gzip.compress(bytes(2**22)) * 4
    assert peak_of_refusing(bomb, r"extra headers declare \d+ bytes; at most \d+ are allowed") < 2**21


@pytest.mark.fault(27)
def test_a_bomb_in_the_files_is_stopped_early(make_tar: MakeTar) -> None:
    bomb = make_tar({"set/unknown": bytes(2**24)})
    assert archive.MAX_TOTAL <= 2**28
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(archive, "MAX_TOTAL", 2**23)
        assert peak_of_refusing(bomb, "decompresses to more bytes") < 2**21


@pytest.mark.fault(27)
def test_too_many_members_are_refused(make_tar: MakeTar) -> None:
    with pytest.raises(ValueError, match="more than 100 files"):
        read(make_tar({f"set/{number}": b"" for number in range(101)}))


@pytest.mark.fault(26, 27)
def test_a_negative_size_does_not_hang() -> None:
    info = tarfile.TarInfo("set/train")
    info.size = 7
    header = bytearray(info.tobuf(tarfile.GNU_FORMAT))
    header[124:136] = b"\xff" * 11 + b"\x00"  # minus 256, in the base-256 form
    header[148:156] = b" " * 8
    header[148:155] = b"%06o\0" % sum(header)
    with pytest.raises(ValueError, match=r"set\.tar\.gz is refused"):
        read(gzip.compress(bytes(header) + bytes(1024)))


def test_an_unpacked_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, content in FILES.items():
        (tmp_path / Path(name).name).write_bytes(content)
    assert dict(read_unpacked(tmp_path, list(FILES), where="set")) == FILES
    monkeypatch.setattr(archive, "MAX_MEMBER", 1000)
    with pytest.raises(ValueError, match="set is refused: train has 2500 bytes"):
        dict(read_unpacked(tmp_path, list(FILES), where="set"))


@pytest.mark.fault(26)
def test_an_unpacked_folder_that_lacks_or_links(tmp_path: Path) -> None:
    (tmp_path / "train").write_bytes(b"a")
    with pytest.raises(ValueError, match="set is refused: it lacks the file test"):
        dict(read_unpacked(tmp_path, ["set/train", "set/test"], where="set"))
    (tmp_path / "test").symlink_to("train")
    with pytest.raises(ValueError, match="set is refused: it lacks the file test"):
        dict(read_unpacked(tmp_path, ["set/train", "set/test"], where="set"))
