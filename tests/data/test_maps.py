"""Maps of prepared images: what they say of themselves, how they are removed, and what kills and full disks leave."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from tests.data.folders import read_folder
from tests.faults.disk import LINUX, Disk, Killed
from tests.faults.test_disk import disk, remount
from tests.faults.test_power_loss import Crashes
from tutelage import storage
from tutelage.data import DataConfig, pixel_map
from tutelage.data.file_index import examine
from tutelage.data.maps import chosen, mark_used, prepared_maps, read_note, remove_maps
from tutelage.data.pixel_map import Reading, mapped
from tutelage.data.pixels import DecodedPixels, RaggedPixels
from tutelage.data.preparation import Preparation
from tutelage.data.sources import FolderSource

MAPPED = Reading(store="mapped")
NAME = "0123456789abcdef" * 2


@pytest.fixture
def photographs(tmp_path: Path) -> Path:
    """Twelve images of noise in two classes."""
    generator = np.random.default_rng(5)
    for row in range(12):
        path = tmp_path / "set" / "ab"[row % 2] / f"{row:02d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        height, width = generator.integers(20, 40, 2)
        Image.fromarray(generator.integers(0, 256, (height, width, 3), dtype=np.uint8)).save(path)
    return tmp_path / "set"


def build(photographs: Path, folder: Path, size: int = 16) -> RaggedPixels:
    """Map the images in ``folder``."""
    source = FolderSource(photographs, sorted(str(p.relative_to(photographs)) for p in photographs.rglob("*.png")))
    sizes = examine(source, None).sizes
    return mapped(DecodedPixels(source, Preparation(size=size, channels=3)), sizes, folder)


def test_a_map_says_what_it_is(photographs: Path, tmp_path: Path) -> None:
    sizes = (16, 20, 24)
    for number, size in enumerate(sizes):
        read_folder(photographs, DataConfig(image_size=size), MAPPED)
        for each in prepared_maps(tmp_path / "prepared"):
            if each.note is not None and each.note.preparation["size"] == size:
                os.utime(each.folder / "map.json", (1000 + number, 1000 + number))
                os.utime(each.folder / "pixels", (900, 900))
    maps = prepared_maps(tmp_path / "prepared")
    notes = [each.note for each in maps if each.note is not None]
    assert [note.preparation["size"] for note in notes] == [24, 20, 16]
    assert [each.used for each in maps] == [1002.0, 1001.0, 1000.0]
    for note, each in zip(notes, maps, strict=True):
        assert (note.path, note.rows, note.images, note.finished) == (str(photographs), 12, 12, True)
        assert note.bytes == (each.folder / "pixels").stat().st_size
    mark_used(maps[2].folder)
    assert prepared_maps(tmp_path / "prepared")[0].note == notes[2]


def note(**changes: Any) -> bytes:
    content = {"path": "/x", "preparation": {"size": 8}, "rows": 3, "images": 3, "bytes": 12}
    return json.dumps({k: v for k, v in (content | changes).items() if v is not None}).encode()


@pytest.mark.fault(38)
@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[" * 100_000,
        b"null",
        b"\xff\xfe",
        note(rows=4),
        note(rows=-1),
        note(rows=True),
        note(bytes=-5),
        note(bytes=2**70),
        note(images="3"),
        note(path=None),
        note(path=["x"]),
        note(preparation=[]),
        b"0" * (storage.MAX_JSON + 1),
    ],
)
def test_notes_of_strangers(content: bytes, tmp_path: Path) -> None:
    folder = tmp_path / NAME
    folder.mkdir()
    (folder / "map.json").write_bytes(content)
    assert read_note(folder) is None
    (listed,) = prepared_maps(tmp_path)
    assert (listed.note, listed.name) == (None, NAME[:12])
    assert remove_maps([listed])[0] == []
    assert not folder.exists()


@pytest.mark.parametrize("kind", ["folder", "pipe", "link"])
def test_notes_that_are_no_files(kind: str, tmp_path: Path) -> None:
    path = tmp_path / NAME / "map.json"
    path.parent.mkdir()
    if kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to("/dev/zero")
    (listed,) = prepared_maps(tmp_path)
    assert listed.note is None


def test_only_maps_are_listed_and_removed(tmp_path: Path) -> None:
    for name in ("photos", NAME.upper(), NAME[:-1], NAME + "0"):
        (tmp_path / name).mkdir()
    (tmp_path / NAME[::-1]).write_bytes(b"a file")
    outside = tmp_path / "photos"
    (tmp_path / ("f" * 32)).symlink_to(outside)
    assert prepared_maps(tmp_path) == []
    assert prepared_maps(tmp_path / "none") == []


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("0", r"'0' names several maps: choose from 0{12}, 0{11}1"),
        ("5", r"'5' names no map: choose from 0{12}, 0{11}1, a{12}"),
        ("", r"'' names no map"),
        ("photos", r"'photos' names no map"),
        ("../set", r"'../set' names no map"),
    ],
)
def test_names(name: str, message: str, tmp_path: Path) -> None:
    folders = ["0" * 32, "0" * 11 + "1" * 21, "a" * 32]
    for folder in folders:
        (tmp_path / folder).mkdir()
    maps = prepared_maps(tmp_path)
    for word, folder in (("a", folders[2]), ("0" * 12, folders[0]), ("AAA", folders[2]), (folders[1], folders[1])):
        assert [each.folder.name for each in chosen(maps, [word, word])] == [folder]
    with pytest.raises(ValueError, match=f"^{message}"):
        chosen(maps, ["a", name])


@pytest.mark.parametrize("size", [16, 24, 30])
def test_a_map_in_use_is_removed_and_goes_on_to_be_read(size: int, photographs: Path, tmp_path: Path) -> None:
    folder = tmp_path / NAME
    pixels = build(photographs, folder, size)
    expected = [pixels[row].copy() for row in range(12)]
    maps = prepared_maps(tmp_path)
    with storage.lock(folder):
        in_use, freed = remove_maps(maps)
        assert freed == 0
        assert len(in_use) == 1
        assert f"{folder} is in use by process {os.getpid()}" in in_use[0]
    assert (folder / "pixels").exists()
    assert remove_maps(maps)[0] == []
    assert not folder.exists()
    assert all((pixels[row] == expected[row]).all() for row in range(12))
    again = build(photographs, folder, size)
    assert all((again[row] == expected[row]).all() for row in range(12))


@pytest.mark.parametrize("lost", ["pixels", "map.json", "half of the pixels"])
def test_parts_that_are_lost_are_built_again(lost: str, photographs: Path, tmp_path: Path) -> None:
    folder = tmp_path / NAME
    expected = build(photographs, folder).buffer.clone()
    if lost == "half of the pixels":
        os.truncate(folder / "pixels", len(expected) // 2)
        (folder / "map.json").unlink()
    else:
        (folder / lost).unlink()
    assert torch.equal(build(photographs, folder).buffer, expected)


def test_a_note_is_not_believed_of_a_file_that_is_new(
    photographs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed as it builds a map whose pixels were deleted: the old note would call the empty file finished."""
    folder = tmp_path / NAME
    expected = build(photographs, folder).buffer.clone()
    (folder / "pixels").unlink()

    def killed(*_: object) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(storage, "write_at", killed)
        with pytest.raises(Killed):
            build(photographs, folder)
    assert (folder / "pixels").stat().st_size == len(expected)
    assert torch.equal(build(photographs, folder).buffer, expected)


@pytest.mark.fault(2)
@pytest.mark.skipif(not LINUX, reason="needs /proc to look up the names of open files")
@pytest.mark.parametrize("start", ["nothing", "a map without its pixels", "a half"])
def test_killed_at_every_operation(
    start: str, photographs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pixel_map, "_CHUNK", 4000)
    expected = build(photographs, tmp_path / "expected").buffer.clone()
    operations = 0
    step = storage.files.Operations.step

    def dying() -> None:
        nonlocal operations
        operations += 1
        if operations == dies_at:
            raise Killed

    for dies_at in range(1, 200):
        folder = tmp_path / f"{dies_at}" / NAME
        if start != "nothing":
            build(photographs, folder)
            if start == "a map without its pixels":
                (folder / "pixels").unlink()
            else:
                content = json.loads((folder / "map.json").read_bytes()) | {"rows": 6}
                (folder / "map.json").write_bytes(json.dumps(content).encode())
        operations = 0
        monkeypatch.setattr(storage.files.Operations, "step", dying)
        try:
            build(photographs, folder)
        except Killed:
            pass
        else:
            break
        finally:
            monkeypatch.setattr(storage.files.Operations, "step", step)
        assert torch.equal(build(photographs, folder).buffer, expected)
    assert dies_at > 10


@pytest.mark.fault(2)
@pytest.mark.parametrize("size", [16, 20, 24])
def test_killed_as_it_is_removed(
    size: int, photographs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At every operation: what is left is no map, and is removed by the same request."""
    folder, operations = tmp_path / NAME, 0
    expected = build(photographs, folder, size).buffer.clone()

    def dying() -> None:
        nonlocal operations
        operations += 1
        if operations == dies_at:
            raise Killed

    for dies_at in range(1, 50):
        build(photographs, folder, size)
        operations = 0
        with monkeypatch.context() as patch:
            patch.setattr(storage.files.Operations, "step", dying)
            try:
                remove_maps(prepared_maps(tmp_path))
            except Killed:
                pass
            else:
                break
        if dies_at % 2:
            assert torch.equal(build(photographs, folder, size).buffer, expected)
        else:
            remove_maps(prepared_maps(tmp_path))
            assert not folder.exists()
    assert dies_at > 5
    assert not folder.exists()


@pytest.mark.fault(3)
@pytest.mark.skipif(not LINUX, reason="needs /proc to look up the names of open files")
def test_power_loss_while_a_map_is_built(
    photographs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, many: Callable[[int, int], int]
) -> None:
    """Whatever is left of it, the next start maps the right pixels."""
    monkeypatch.setattr(pixel_map, "_CHUNK", 8000)
    expected = build(photographs, tmp_path / "expected").buffer.clone()

    def life(root: Path, _: list[int]) -> None:
        build(photographs, root / NAME)

    def judge(root: Path, _: list[int]) -> None:
        assert torch.equal(build(photographs, root / NAME).buffer, expected)

    crashes = Crashes(tmp_path, judge, life, many(4, 300), 0.0)
    (tmp_path / "disk").mkdir()
    watched = crashes.disk = Disk(tmp_path / "disk", monkeypatch, crashes.here)
    life(watched.root, [])
    crashes.here()
    assert len(crashes.seen) > 10


@pytest.mark.fault(10)
@pytest.mark.parametrize("kib", [8, 12, 16])
def test_a_full_disk_says_how_to_free_space(kib: int, photographs: Path, tmp_path: Path) -> None:
    expected = build(photographs, tmp_path / "expected").buffer.clone()
    with disk(tmp_path / "small", f"size={kib}k") as root:
        with pytest.raises(storage.NoSpace) as error:
            build(photographs, root / NAME)
        message = str(error.value)
        assert message.startswith(f"no space: {root / NAME / 'pixels'} needs {len(expected):,} bytes, ")
        assert "`tutelage data maps` lists" in message
        assert "`tutelage data remove` frees" in message
        assert message.endswith("--image-store decoded needs none")
        assert not (root / NAME / "pixels").exists()  # it would fill the disk for whatever comes next
        remount(root, "size=1m")
        assert torch.equal(build(photographs, root / NAME).buffer, expected)


@pytest.mark.parametrize("total", [2**25, 2**26, 2**30])
def test_a_finished_map_is_used_on_a_full_disk(total: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pixel_map.shutil, "disk_usage", lambda _: pixel_map.shutil._ntuple_diskusage(10**9, 10**9, 0))
    assert pixel_map.store_for(total, tmp_path) != "mapped"
    (tmp_path / "map.json").write_bytes(note(bytes=total))
    assert pixel_map.store_for(total, tmp_path) == "mapped"
    (tmp_path / "map.json").write_bytes(note(bytes=total, rows=2))
    assert pixel_map.store_for(total, tmp_path) != "mapped"


def test_a_build_is_killed_by_the_signal_of_the_fault_tests(photographs: Path, tmp_path: Path) -> None:
    """``TUTELAGE_FAULT`` counts the rows of a map as it counts all that is written."""
    expected = build(photographs, tmp_path / "expected").buffer.clone()
    for operation in (5, 9, 14):
        folder, pid = tmp_path / f"{operation}" / NAME, os.fork()
        if pid == 0:
            storage.files.Operations.count = 0
            os.environ["TUTELAGE_FAULT"] = f"kill@{operation}"
            build(photographs, folder)
            os._exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGKILL
        assert torch.equal(build(photographs, folder).buffer, expected)
