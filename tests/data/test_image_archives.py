"""Tars and zips of class folders: read where they lie, like the folder that was packed."""

from __future__ import annotations

import io
import shutil
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tutelage import storage
from tutelage.data import BatchLoader, DataConfig, MarginCrop, Splits
from tutelage.data.decode_cache import datasets
from tutelage.data.load import load
from tutelage.data.pixel_map import Reading
from tutelage.data.tar_members import tar_members
from tutelage.data.zip_members import zip_members
from tutelage.recipes import call
from tutelage.study import Execution, Study
from tutelage.study import run as run_study

CONFIG = DataConfig(name="", image_size=16)
PACKED = ("set.tar", "set-gnu.tar", "set.zip", "set-stored.zip")


@pytest.fixture(autouse=True)
def empty_cache() -> Iterator[None]:
    yield
    datasets.clear()


def png(row: int) -> bytes:
    values = np.random.default_rng(row).integers(0, 120, (30, 20 + row, 3), dtype=np.uint8) + np.uint8(
        100 * (row % 2)
    )
    file = io.BytesIO()
    Image.fromarray(values).save(file, "JPEG" if row % 3 else "PNG")
    return file.getvalue()


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of class folders with what systems leave in it, and the archives of it."""
    place = tmp_path_factory.mktemp("packed")
    for row in range(24):
        part, label = ("train", "val", "test")[row % 3 if row < 9 else 0], "äb"[row % 2]
        path = place / "set" / part / label / f"{'x' * 120 if row == 3 else ''}{row:02d}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(png(row))
    (place / "set" / "train" / "b" / "Thumbs.db").write_bytes(b"left behind")
    (place / "set" / "__MACOSX").mkdir()
    (place / "set" / "__MACOSX" / "._00.jpg").write_bytes(b"left behind")
    files = sorted(path for path in (place / "set").rglob("*") if path.is_file())
    for name, form in (("set.tar", tarfile.PAX_FORMAT), ("set-gnu.tar", tarfile.GNU_FORMAT)):
        with tarfile.open(place / name, "w", format=form) as tar:
            tar.add(place / "set", "set")
    for name, method in (("set.zip", zipfile.ZIP_DEFLATED), ("set-stored.zip", zipfile.ZIP_STORED)):
        with zipfile.ZipFile(place / name, "w", method) as archive:
            for path in files:
                archive.write(path, path.relative_to(place / "set"))
    return place


def read(path: Path, data: Path, reading: Reading = Reading(), **options: object) -> Splits:
    return load(DataConfig(name=str(path), image_size=16, **options), data, reading)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", PACKED)
@pytest.mark.parametrize(("store", "workers"), [("resident", 0), ("mapped", 0), ("decoded", 2)])
def test_an_archive_is_the_folder_that_was_packed(
    name: str, store: str, workers: int, packed: Path, tmp_path: Path
) -> None:
    reading = Reading(store=store, workers=workers)  # type: ignore[arg-type]
    expected, splits = read(packed / "set", tmp_path), read(packed / name, tmp_path, reading)
    assert splits.info.class_names == expected.info.class_names
    assert any("2 files that systems and tools left behind" in note for note in splits.info.notes)
    pairs = ((splits.train, expected.train), (splits.test, expected.test), (splits.holdout, expected.holdout))
    for part, other in pairs:
        assert part is not None
        assert other is not None
        assert torch.equal(part.images[:], other.images[:])
        assert torch.equal(part.labels, other.labels)
        assert part.files is not None
        assert other.files is not None
        assert part.files.content_digest() == other.files.content_digest()
    if name.startswith("set") and name.endswith(".zip"):  # a tar has the folder's name before all others
        assert splits.fingerprint == expected.fingerprint
    loaders = [BatchLoader(each.train, MarginCrop(), 5, torch.device("cpu")) for each in (splits, expected)]
    batches = [[batch.pixels for batch in loader.batches(1, 2)] for loader in loaders]
    assert all(torch.equal(one, two) for one, two in zip(*batches, strict=True))


def test_an_archive_is_trained_on(packed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TUTELAGE_DATA", str(tmp_path / "data"))
    weights = []
    for name in ("set", "set.tar", "set.zip"):
        lineage = call("baseline", data=str(packed / name), image_size=16, model="resnet8", epochs=1, batch_size=8)
        runs = tmp_path / f"runs-{name}"
        list(run_study(Study(lineages=(lineage,)), runs=runs, execution=Execution(device="cpu", threads=1)))
        (path,) = runs.glob("models/*/weights.safetensors")
        weights.append(storage.read_tensors(path))
    for other in weights[1:]:
        assert all(torch.equal(value, other[key]) for key, value in weights[0].items())


@pytest.mark.parametrize("name", ["set.tar", "set.zip"])
def test_the_index_knows_an_archive(name: str, packed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second start opens no image of it; one whose archive has changed does."""
    monkeypatch.setattr("tutelage.data.file_index._FEW", 1)
    path = tmp_path / name
    shutil.copy(packed / name, path)
    first = read(path, tmp_path, Reading(store="mapped"))
    monkeypatch.setattr("tutelage.data.file_index.read_header", lambda *_: pytest.fail("it was examined again"))
    datasets.clear()
    monkeypatch.setattr("tutelage.data.load._listings", type(datasets)(4))
    assert read(path, tmp_path, Reading(store="mapped")).fingerprint == first.fingerprint
    path.touch()
    with pytest.raises(pytest.fail.Exception, match="examined again"):
        read(path, tmp_path, Reading(store="mapped"))


@pytest.mark.parametrize("name", [f"{'x' * 300}.tar", f"{'x' * 300}.tar.gz", "missing.zip"])
def test_an_archive_that_is_not_there(name: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"unknown dataset .*: .* a \.tar or a \.zip of images"):
        read(tmp_path / name, tmp_path)


@pytest.mark.parametrize("name", ["set.tar.gz", "SET.TGZ", "set.tar.xz", "set.7z"])
def test_what_is_compressed_as_a_whole_is_refused(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(b"anything")
    with pytest.raises(ValueError, match=r"is compressed as a whole.*: unpack it \(tar xf .*\) and use the folder"):
        read(tmp_path / name, tmp_path)


def tar_of(*entries: tuple[str, bytes, bytes], form: int = tarfile.USTAR_FORMAT) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=form) as tar:
        for name, kind, content in entries:
            header = tarfile.TarInfo(name)
            header.type, header.size, header.linkname = kind, len(content), "elsewhere"
            tar.addfile(header, io.BytesIO(content))
    return file.getvalue()


FILE = tarfile.REGTYPE
TARS: dict[str, tuple[bytes, str]] = {
    "outside": (tar_of(("../a/1.png", FILE, b"x")), "points outside"),
    "absolute": (tar_of(("/a/1.png", FILE, b"x")), "points outside"),
    "deep outside": (tar_of(("a/../../b/1.png", FILE, b"x")), "points outside"),
    "link": (tar_of(("a/1.png", tarfile.SYMTYPE, b"")), "neither a plain file nor a folder"),
    "hard link": (tar_of(("a/1.png", tarfile.LNKTYPE, b"")), "neither a plain file nor a folder"),
    "device": (tar_of(("a/1.png", tarfile.CHRTYPE, b"")), "neither a plain file nor a folder"),
    "pipe": (tar_of(("a/1.png", tarfile.FIFOTYPE, b"")), "neither a plain file nor a folder"),
    "sparse": (tar_of(("a/1.png", tarfile.GNUTYPE_SPARSE, b"x")), "neither a plain file nor a folder|damaged"),
    "twice": (tar_of(("a/1.png", FILE, b"x"), ("a/1.png", FILE, b"y")), "contains 'a/1.png' twice"),
    "twice by another spelling": (tar_of(("a/1.png", FILE, b"x"), ("./a/1.png", FILE, b"y")), "'a/1.png' twice"),
    "a file in a file": (tar_of(("a", FILE, b"x"), ("a/1.png", FILE, b"y")), "lies in a file"),
    "truncated": (tar_of(("a/1.png", FILE, bytes(5000)))[:2000], "it is truncated"),
    "no tar": (b"no tar" * 200, "is refused"),
    "empty": (b"", "has no class folders"),
    "long names": (tar_of(*[("n", tarfile.GNUTYPE_LONGNAME, b"x")] * 500), "extra headers"),
    "huge extra header": (tar_of(("n", tarfile.XHDTYPE, b"9" * 2**21)), "extra headers declare"),
}


@pytest.mark.parametrize("case", TARS)
def test_hostile_tars_are_refused(case: str, tmp_path: Path) -> None:
    content, message = TARS[case]
    (tmp_path / "set.tar").write_bytes(content)
    with pytest.raises(ValueError, match=message) as refused:
        read(tmp_path / "set.tar", tmp_path / "data")
    assert "set.tar" in str(refused.value)
    assert not list((tmp_path / "data").rglob("*"))


def zip_of(change: Callable[[zipfile.ZipFile], object]) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for row in range(6):
            archive.writestr(f"{'ab'[row % 2]}/{row}.png", png(row))
        change(archive)
    return file.getvalue()


def linked(archive: zipfile.ZipFile) -> None:
    entry = zipfile.ZipInfo("a/link.png")
    entry.external_attr = 0o120777 << 16
    archive.writestr(entry, "elsewhere")


def flagged(content: bytes) -> bytes:
    """The first file is said to be encrypted."""
    start = content.index(b"PK\1\2")
    return content[: start + 8] + b"\1\0" + content[start + 10 :]


def declared(size: int, content: bytes) -> bytes:
    start = content.index(b"PK\1\2")
    return content[: start + 24] + size.to_bytes(4, "little") + content[start + 28 :]


def nameless() -> bytes:
    """The name of the last file is said to be an extra field."""
    content = zip_of(lambda archive: archive.writestr("x", png(1)))
    start = content.rindex(b"PK\1\2")
    return content[: start + 28] + b"\0\0\1\0" + content[start + 32 :]


def all_at_once(archive: zipfile.ZipFile) -> None:
    linked(archive)
    for name in ("../1.png", "/1.png", "a\\..\\1.png"):
        archive.writestr(name, png(1))
    archive.writestr("a/bz.png", png(1), zipfile.ZIP_BZIP2)


PLAIN = zip_of(lambda _: None)
ZIPS: dict[str, tuple[bytes, list[str]]] = {
    "outside": (zip_of(lambda archive: archive.writestr("../1.png", png(1))), ["points outside"]),
    "absolute": (zip_of(lambda archive: archive.writestr("/1.png", png(1))), ["points outside"]),
    "link": (zip_of(linked), ["neither a plain file"]),
    "encrypted": (flagged(PLAIN), ["it is encrypted"]),
    "another method": (zip_of(lambda a: a.writestr("a/9.png", png(1), zipfile.ZIP_LZMA)), ["by method 14"]),
    "too large": (declared(2**31, PLAIN), ["it declares 2,147,483,648 bytes"]),
    "more than it can have": (declared(10**8, PLAIN), ["more bytes than they can have"]),
    "no name": (nameless(), ["points outside"]),
    "truncated": (PLAIN[:-30], ["is no zip or is damaged"]),
    "no zip": (b"no zip", ["is no zip or is damaged"]),
    "empty": (b"", ["is no zip or is damaged"]),
    "all at once": (
        zip_of(all_at_once),
        ["5 files cannot be used", "link.png': it is neither", "'.*/1.png': its name points", "bz.png': it is compr"],
    ),
}


@pytest.mark.parametrize("case", ZIPS)
def test_hostile_zips_are_refused(case: str, tmp_path: Path) -> None:
    content, messages = ZIPS[case]
    (tmp_path / "set.zip").write_bytes(content)
    for message in messages:
        with pytest.raises(ValueError, match=message) as refused:
            read(tmp_path / "set.zip", tmp_path / "data")
        assert "set.zip" in str(refused.value)
    assert not list((tmp_path / "data").rglob("*"))


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_two_files_of_one_name_in_a_zip(tmp_path: Path) -> None:
    (tmp_path / "set.zip").write_bytes(zip_of(lambda archive: archive.writestr("a/0.png", png(9))))
    with pytest.raises(ValueError, match=r"0\.png': there are two of its name"):
        read(tmp_path / "set.zip", tmp_path)


def test_files_of_a_zip_that_are_damaged_are_listed(tmp_path: Path) -> None:
    """Their checksums tell; --skip-broken goes on without them."""
    content = bytearray(zip_of(lambda archive: [archive.writestr(f"a/x{n}.png", png(n)) for n in range(10)]))
    for name in (b"a/x3.png", b"a/x5.png", b"a/x7.png"):
        content[content.index(name) + 60] ^= 0xFF
    (tmp_path / "set.zip").write_bytes(content)
    with pytest.raises(ValueError, match="3 files cannot be used: ") as refused:
        read(tmp_path / "set.zip", tmp_path)
    assert all(f"set.zip/a/x{n}.png' cannot be read: it is damaged" in str(refused.value) for n in (3, 5, 7))
    splits = read(tmp_path / "set.zip", tmp_path, skip_broken=True)
    assert len(splits.train) + len(splits.test) == 13


def test_an_archive_that_became_shorter_while_it_was_read(packed: Path, tmp_path: Path) -> None:
    for name in ("set.tar", "set.zip"):
        path = tmp_path / name
        shutil.copy(packed / name, path)
        splits = read(path, tmp_path, Reading(store="decoded", workers=0))
        path.write_bytes(path.read_bytes()[:100])
        with pytest.raises(ValueError, match=name):
            splits.train.images[:]


def test_where_members_lie(packed: Path) -> None:
    for name in PACKED[:2]:
        members = tar_members(packed / name)
        content = (packed / name).read_bytes()
        for key, member in members.items():
            assert content[member.offset : member.offset + member.size] == (packed / key).read_bytes()
    assert len(zip_members(packed / "set.zip")) == len(members)
