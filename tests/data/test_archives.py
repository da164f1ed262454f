"""Images in archives train as the folder that they would be unpacked to."""

from __future__ import annotations

import pickle
import random
import shutil
import subprocess
import tarfile
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.data.archives import class_folders, png, tar_of, unpacked, zip_of
from tutelage.data import BatchLoader, DataConfig, MarginCrop, archives, decode_cache, tar_source
from tutelage.data.archives import examine_images
from tutelage.data.file_splits import folder_splits, preparation_of
from tutelage.data.folder import examine_folder
from tutelage.data.load import load
from tutelage.data.pixel_map import Reading
from tutelage.recipes import call
from tutelage.study import Execution, Study
from tutelage.study import run as run_study

LAYOUTS: dict[str, tuple[str, ...]] = {
    "classes": ("",),
    "train and test": ("train/", "test/"),
    "all three, wrapped": ("set/Training/", "set/valid/", "set/testing/"),
}
DEBRIS = {".DS_Store": b"x", "__MACOSX/a/._0.png": b"x", "train/Thumbs.db": b"x", "a/.hidden": b"x"}


@pytest.fixture(autouse=True)
def empty_caches() -> Iterator[None]:
    yield
    decode_cache.datasets.clear()


def packed(kind: str, path: Path, files: dict[str, bytes]) -> Path:
    if kind == "tar":
        return tar_of(path.with_suffix(".tar"), files)
    return zip_of(path.with_suffix(".zip"), files, zipfile.ZIP_STORED if kind == "stored" else zipfile.ZIP_DEFLATED)


@pytest.mark.parametrize("kind", ["tar", "zip", "stored"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_an_archive_is_the_folder_that_it_unpacks_to(kind: str, layout: str, tmp_path: Path) -> None:
    files = class_folders(*LAYOUTS[layout])
    files = dict(random.Random(0).sample(list(files.items()), len(files)))
    if layout == "classes":
        files |= {name: b"x" for name in DEBRIS if not name.startswith("train")}
    folder = examine_folder(unpacked(tmp_path / "set", files), None)
    archive = examine_images(packed(kind, tmp_path / "archive", files), None)
    assert archive.source.names == folder.source.names
    assert (archive.class_names, archive.notes) == (folder.class_names, folder.notes)
    config = DataConfig(image_size=8)
    preparation = preparation_of(folder, config)
    assert preparation_of(archive, config) == preparation
    expected = folder_splits(folder, preparation, tmp_path / "maps", Reading(store="resident"))
    views: list[torch.Tensor] = []
    for store, workers in (("resident", 0), ("mapped", 0), ("decoded", 0), ("decoded", 1), ("decoded", 2)):
        reading = Reading(store=store, workers=workers)  # type: ignore[arg-type]
        splits = folder_splits(archive, preparation, tmp_path / "maps of archives", reading)
        assert splits.fingerprint == expected.fingerprint
        assert torch.equal(splits.test.images[:], expected.test.images[:])
        batches = BatchLoader(splits.train, MarginCrop(), 5, torch.device("cpu")).batches(seed=1, epoch=0)
        views.append(torch.cat([batch.pixels for batch in batches]))
    assert all(torch.equal(each, views[0]) for each in views)


@pytest.mark.parametrize("kind", ["tar", "zip", "stored"])
def test_a_source_is_read_by_threads_and_pickled(kind: str, tmp_path: Path) -> None:
    files = class_folders(images=20)
    source = examine_images(packed(kind, tmp_path / "archive", files), None).source

    def content(row: int) -> bytes:
        with source.open(row) as file:
            file.seek(3)
            rest = file.read()
            file.seek(-len(rest) - 3, 2)
            assert file.tell() == 0
            return file.read(3) + rest

    rows = [*range(60)] * 3
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(content, rows)) == [files[source.names[row]] for row in rows]
    source = pickle.loads(pickle.dumps(source))
    assert content(7) == files[source.names[7]]


@pytest.mark.parametrize("kind", ["tar", "zip", "stored"])
def test_stamps_change_with_the_archive(kind: str, tmp_path: Path) -> None:
    files = class_folders()
    path = packed(kind, tmp_path / "archive", files)
    source = examine_images(path, None).source
    stamps = source.stamps()
    assert (stamps.dtype, stamps.shape) == (np.int64, (18, 3))
    assert len({tuple(stamp) for stamp in stamps.tolist()}) == 18
    assert np.array_equal(examine_images(path, None).source.stamps(), stamps)
    packed(kind, tmp_path / "archive", files | {"c/6.png": png()})
    assert not (examine_images(path, None).source.stamps()[:, None] == stamps).all(2).any()
    with pytest.raises(ValueError, match="has changed since its files were listed"), source.open(0):
        pass


@pytest.mark.parametrize("kind", ["tar", "zip", "stored"])
def test_an_archive_is_listed_once(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = packed(kind, tmp_path / "archive", class_folders())
    counts: list[Path] = []
    for name in ("tar_members", "zip_members"):
        reader = getattr(archives, name)
        monkeypatch.setattr(archives, name, lambda path, reader=reader: counts.append(path) or reader(path))
    for size in (8, 9, 8):
        load(DataConfig(name=str(path), image_size=size), tmp_path / "data")
    assert len(counts) == 1
    state = decode_cache.file_state(path)
    packed(kind, tmp_path / "archive", class_folders() | {"a/9.png": png(99)})
    assert decode_cache.file_state(path) not in (state, None)
    assert load(DataConfig(name=str(path), image_size=8), tmp_path / "data").info.train_size == 15
    assert len(counts) == 2


@pytest.mark.parametrize("kind", ["tar", "zip", "stored"])
def test_faults_name_the_archive_and_the_file(kind: str, tmp_path: Path) -> None:
    files = class_folders() | {"a/x.txt": b"no image", "b/deep/1.png": png(), "c/8.png": png()[:20]}
    path = packed(kind, tmp_path / "archive", files)
    with pytest.raises(ValueError, match="3 files cannot be used: ") as refused:
        examine_images(path, None)
    assert all(f"'{path}/{name}'" in str(refused.value) for name in ("a/x.txt", "b/deep", "c/8.png"))


@pytest.mark.parametrize("option", ["posix", "gnu", "ustar", "v7", "pax"])
def test_tars_of_other_formats(option: str, tmp_path: Path) -> None:
    files = class_folders() | {f"a/{'long' * 20}é{row}.png": png(row) for row in range(3)}
    root = unpacked(tmp_path / "set", files)
    path = tmp_path / "set.tar"
    if option == "pax":
        tar_of(path, files)
    else:
        subprocess.run(["tar", f"--format={option}", "-cf", path, "-C", root, "."], check=True)
    assert examine_images(path, None).source.names == examine_folder(root, None).source.names


def test_zips_without_a_flag_for_utf8(tmp_path: Path) -> None:
    """As the archiver of a Mac writes them."""
    files = {f"{label}/{row}é.png": png(row) for label in "aü" for row in range(4)}
    path = zip_of(tmp_path / "set.zip", files)
    content = bytearray(path.read_bytes())
    for magic, place in ((b"PK\1\2", 8), (b"PK\3\4", 6)):
        start = -1
        while (start := content.find(magic, start + 1)) >= 0:
            content[start + place + 1] &= ~0x08
    path.write_bytes(content)
    assert not any(info.flag_bits & 0x800 for info in zipfile.ZipFile(path).infolist())
    assert examine_images(path, None).class_names == ("a", "ü")


@pytest.mark.parametrize(
    ("name", "content", "command"),
    [
        ("set.tar.gz", b"\x1f\x8b\x08", "gunzip -k"),
        ("set.tgz", b"\x1f\x8b\x08", "gunzip -k"),
        ("set.tar.bz2", b"BZh9", "bunzip2 -k"),
        ("set.tar.xz", b"\xfd7zXZ\0\0", "unxz -k"),
        ("set.tar.zst", b"\x28\xb5\x2f\xfd", "unzstd"),
        ("set.tar", b"\x1f\x8b\x08", "gunzip -k"),
        ("a set.7z", b"7z\xbc\xaf\x27\x1c", "7z x"),
        ("set.rar", b"Rar!\x1a", "unrar x"),
    ],
)
def test_what_cannot_be_read_at_random_is_refused(name: str, content: bytes, command: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(content + bytes(600))
    with pytest.raises(ValueError, match=rf"^'.*{name}' is .*unpack it") as refused:
        load(DataConfig(name=str(path)), tmp_path)
    quoted = f"'{path}'" if " " in name else str(path)
    assert f"`{command} {quoted}`" in str(refused.value)
    assert "\n" not in str(refused.value)


def trained(data: Path, runs: Path, **options: Any) -> dict[str, bytes]:
    lineage = call("baseline", data=str(data), image_size=32, model="resnet8", epochs=1, batch_size=8)
    execution = Execution(device="cpu", precision="fp32", threads=1, **options)
    list(run_study(Study(lineages=(lineage,)), runs=runs, execution=execution))
    return {path.name: path.read_bytes() for path in runs.glob("models/*/weights.safetensors")}


def test_archives_train_the_weights_of_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TUTELAGE_DATA", str(tmp_path / "data"))
    files = class_folders("train/", "test/", images=4)
    expected = trained(unpacked(tmp_path / "set", files), tmp_path / "runs")
    assert len(expected) == 1
    for kind in ("tar", "zip", "stored"):
        path = packed(kind, tmp_path / f"archive {kind}", files)
        assert trained(path, tmp_path / f"runs of {kind}", image_store="decoded", workers=1) == expected


def hostile_tar(name: str, path: Path) -> Path:
    files = class_folders()
    kinds = {
        "link": ("a/9.png", b"", tarfile.SYMTYPE),
        "hard link": ("a/9.png", b"", tarfile.LNKTYPE),
        "pipe": ("a/9.png", b"", tarfile.FIFOTYPE),
        "device": ("a/9.png", b"", tarfile.CHRTYPE),
        "sparse": ("a/9.png", b"", tarfile.GNUTYPE_SPARSE),
        "outside": ("../9.png", b"", tarfile.REGTYPE),
        "absolute": ("/tmp/9.png", b"", tarfile.REGTYPE),
        "through": ("a/../../9.png", b"", tarfile.REGTYPE),
        "twice": ("a/0.png", b"x", tarfile.REGTYPE),
        "twice, dotted": ("./a//0.png", b"x", tarfile.REGTYPE),
        "twice, in a folder": ("a/./0.png", b"x", tarfile.REGTYPE),
        "file and folder": ("a/0.png/1.png", b"x", tarfile.REGTYPE),
        "nested": ("a/more.zip", b"x", tarfile.REGTYPE),
        "nested tar": ("n01440764.tar", b"x", tarfile.REGTYPE),
        "nested tar.gz": ("train/n01440764.TAR.GZ", b"x", tarfile.REGTYPE),
    }
    return tar_of(path, files, kinds[name])


@pytest.mark.fault(26)
@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("link", "'a/9.png', which is neither a plain file nor a folder"),
        ("hard link", "'a/9.png', which is neither a plain file nor a folder"),
        ("pipe", "'a/9.png', which is neither a plain file nor a folder"),
        ("device", "'a/9.png', which is neither a plain file nor a folder"),
        ("sparse", "'a/9.png', which is neither a plain file nor a folder"),
        ("outside", "'../9.png', which points outside the archive"),
        ("absolute", "'/tmp/9.png', which points outside the archive"),
        ("through", "'a/../../9.png', which points outside the archive"),
        ("twice", "'a/0.png' twice"),
        ("twice, dotted", "'a/0.png' twice"),
        ("twice, in a folder", "'a/0.png' twice"),
        ("file and folder", "'a/0.png/1.png' below what is a file"),
        ("nested", "the archive 'a/more.zip'"),
        ("nested tar", "the archive 'n01440764.tar'"),
        ("nested tar.gz", "the archive 'train/n01440764.TAR.GZ'"),
    ],
)
def test_hostile_tars_are_refused_as_a_whole(name: str, message: str, tmp_path: Path) -> None:
    path = hostile_tar(name, tmp_path / "set.tar")
    with pytest.raises(ValueError, match=r"^'.*set\.tar' is refused: it contains ") as refused:
        examine_images(path, None)
    assert message in str(refused.value)
    assert [*tmp_path.iterdir()] == [path]


@pytest.mark.fault(24)
def test_tars_that_are_cut_off_or_joined(tmp_path: Path) -> None:
    good = tar_of(tmp_path / "set.tar", class_folders()).read_bytes()
    end = len(good.rstrip(b"\0")) // 512 * 512 + 512
    path = tmp_path / "other.tar"
    for length in (100, 700, end // 2 // 512 * 512, end - 512, end):
        path.write_bytes(good[:length])
        with pytest.raises(ValueError, match=r"other\.tar' is refused: it is (truncated|no tar)"):
            examine_images(path, None)
    for content, message in ((b"", "it is empty"), (good + good, "joined|join tars"), (b"x" * 2000, "it is no tar")):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=message):
            examine_images(path, None)


@pytest.mark.fault(24, 27)
@pytest.mark.parametrize("kind", [tarfile.XHDTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK])
def test_endless_headers_are_refused(kind: bytes, tmp_path: Path) -> None:
    for content, count, message in (
        (b"15 path=a/1.png\n"[1:], tar_source.MAX_EXTRAS + 1, "extra headers of one file|header is damaged"),
        (b"1" * 2**17, 3, "extra headers declare|header is damaged"),
        (b"a" * 2**19, 1, "extra headers declare"),
    ):
        entries = [("x", content, kind)] * count
        path = tar_of(tmp_path / "set.tar", {}, *entries, ("a/1.png", png(), tarfile.REGTYPE))
        with pytest.raises(ValueError, match=message):
            examine_images(path, None)


def changed_zip(name: str, path: Path) -> None:
    """Change the headers of the first file of a zip, in its directory."""
    files = class_folders()
    if name == "link":
        info = zipfile.ZipInfo("a/9.png")
        info.external_attr = 0o120777 << 16
        zip_of(path, files)
        with zipfile.ZipFile(path, "a") as file:
            file.writestr(info, "/etc/passwd")
        return
    if name in ("bzip2", "lzma"):
        zip_of(path, files, zipfile.ZIP_BZIP2 if name == "bzip2" else zipfile.ZIP_LZMA)
        return
    others = {
        "outside": "../9.png",
        "absolute": "/tmp/9.png",
        "through": "a/../../9.png",
        "backslash": "a\\9.png",
        "nested": "a/more.zip",
        "nested tar": "train.tar",
        "file and folder": "a/0.png/1.png",
        "dotted": "./a/0.png",
    }
    zip_of(path, files | ({others[name]: b"x"} if name in others else {}))
    content = bytearray(path.read_bytes())
    place = content.index(b"PK\1\2")
    fields: dict[str, tuple[int, bytes]] = {
        "encrypted": (8, b"\1\0"),
        "deflate64": (10, b"\x09\0"),
        "unpacks to 4 GB": (24, b"\xf0\xff\xff\xff"),
        "unpacks to 200 MB": (24, b"\0\0\0\x0c"),
        "overlaps": (20, b"\xf0\xff\0\0"),
        "lies at the end": (42, b"\xf0\xff\xff\0"),
    }
    if name in fields:
        offset, value = fields[name]
        content[place + offset : place + offset + len(value)] = value
        path.write_bytes(content)


@pytest.mark.fault(26, 27)
@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("encrypted", "'a/0.png', which is encrypted"),
        ("bzip2", "'a/0.png', which is compressed by the method bzip2; repack it"),
        ("lzma", "'a/0.png', which is compressed by the method lzma"),
        ("deflate64", "'a/0.png', which is compressed by the method deflate64"),
        ("unpacks to 4 GB", "'a/0.png', which is declared to unpack from"),
        ("unpacks to 200 MB", "'a/0.png', which is declared to unpack from"),
        ("overlaps", "'a/0.png', which overlaps"),
        ("lies at the end", "'a/0.png', which overlaps"),
        ("link", "'a/9.png', which is neither a plain file nor a folder"),
        ("outside", "'../9.png', which points outside"),
        ("absolute", "'/tmp/9.png', which points outside"),
        ("through", "'a/../../9.png', which points outside"),
        ("backslash", "whose name has a backslash"),
        ("nested", "the archive 'a/more.zip'"),
        ("nested tar", "the archive 'train.tar'"),
        ("file and folder", "'a/0.png/1.png' below what is a file"),
        ("dotted", "'a/0.png' twice"),
    ],
)
def test_hostile_zips_are_refused_as_a_whole(name: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "set.zip"
    changed_zip(name, path)
    with pytest.raises(ValueError, match=r"^'.*set\.zip' is refused: it contains ") as refused:
        examine_images(path, None)
    assert message in str(refused.value)
    assert [*tmp_path.iterdir()] == [path]


@pytest.mark.fault(24, 27)
@pytest.mark.parametrize("damage", ["content", "size", "header", "a stored file", "behind a stored image"])
def test_damaged_files_of_a_zip_are_listed(damage: str, tmp_path: Path) -> None:
    method = zipfile.ZIP_STORED if "stored" in damage else zipfile.ZIP_DEFLATED
    files = {name: content + bytes(3000) for name, content in class_folders().items()}
    path = zip_of(tmp_path / "set.zip", files, method)
    content = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as file:
        infos = file.infolist()[3:6]
    place = 0
    for info in infos:
        if damage == "content":
            content[info.header_offset + 60 : info.header_offset + 70] = bytes(10)
        elif "stored" in damage:  # only the zip's checksum tells that the second kind is damaged
            content[info.header_offset + (2000 if "behind" in damage else 100)] ^= 1
        elif damage == "header":
            content[info.header_offset] = 0
        else:
            place = content.index(b"PK\1\2", place + 1)
            content[place + 24] ^= 1
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"3 files cannot be used: .*set\.zip/a/\d\.png' cannot be read"):
        examine_images(path, None)


@pytest.mark.fault(27)
def test_a_bomb_of_a_zip_unpacks_no_more_than_it_declares(tmp_path: Path) -> None:
    """The directory declares a few bytes, the content is 64 MB of zeros."""
    path = zip_of(tmp_path / "set.zip", class_folders() | {f"{label}/bomb.png": bytes(2**26) for label in "abc"})
    content = bytearray(path.read_bytes())
    start = -1
    while (start := content.find(b"PK\1\2", start + 1)) >= 0:
        if content[start + 24 : start + 28] == b"\0\0\0\x04":
            content[start + 24 : start + 28] = b"\0\1\0\0"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"3 files cannot be used: .*bomb\.png' cannot be read: it is damaged"):
        examine_images(path, None)


@pytest.mark.fault(24)
@pytest.mark.parametrize("content", [b"PK", b"PK\5\6" + bytes(18), b"PK\3\4" + bytes(500)])
def test_zips_that_are_none(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "set.zip"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"^'.*set\.zip' (is refused: it is no zip|has no class folders)"):
        examine_images(path, None)


def test_archives_of_other_names(tmp_path: Path) -> None:
    """What an archive is, its content tells."""
    path = tar_of(tmp_path / "set.tar", class_folders())
    shutil.copy(path, tmp_path / "set.zip")
    assert examine_images(tmp_path / "set.zip", None).class_names == ("a", "b", "c")
