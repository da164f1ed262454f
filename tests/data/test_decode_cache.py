"""A folder or file of images is decoded once per process for each state of its files."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import tutelage
from tests.data.folders import read_folder
from tutelage.data import DataConfig, Splits, decode_cache, load, npz, pixels
from tutelage.data.decode_cache import FileCache, file_state

IMAGES = 20


@pytest.fixture(autouse=True)
def empty_cache() -> Iterator[None]:
    decode_cache.datasets.clear()
    yield
    decode_cache.datasets.clear()


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the files that are decoded: each image of a folder, each array of an ``.npz``."""
    names: list[str] = []
    decode, read_array = pixels.decode, npz._read_array

    def counted_image(file: object, preparation: object, where: str) -> np.ndarray:
        names.append(where)
        return decode(file, preparation, where)  # type: ignore[arg-type]

    def counted_array(file: object, info: object) -> np.ndarray:
        names.append(info.filename)  # type: ignore[attr-defined]
        return read_array(file, info)  # type: ignore[arg-type]

    monkeypatch.setattr(pixels, "decode", counted_image)
    monkeypatch.setattr(npz, "_read_array", counted_array)
    return names


def make_folder(root: Path, shade: int = 0) -> Path:
    for row in range(IMAGES):
        path = root / "ab"[row % 2] / f"{row:02d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (8, 8), shade + row).save(path)
    return root


def make_npz(root: Path, shade: int = 0) -> Path:
    path = root.with_suffix(".npz")
    images = np.full((IMAGES, 8, 8), shade, np.uint8)
    labels = np.arange(IMAGES) % 2
    np.savez(path, train_images=images, train_labels=labels, test_images=images, test_labels=labels)
    return path


Make = Callable[..., Path]
KINDS = pytest.mark.parametrize(("make", "reads"), [(make_folder, IMAGES), (make_npz, 4)])


@KINDS
def test_explaining_and_four_seeds_decode_once(make: Make, reads: int, tmp_path: Path, decoded: list[str]) -> None:
    name = str(make(tmp_path / "set"))
    tutelage.explain("baseline", data=name, epochs=1)
    assert len(decoded) == (0 if make is make_folder else reads)  # of files the headers are enough
    sets = [load.load(DataConfig(name=name), tmp_path) for _ in range(4)]
    assert len(decoded) == reads
    assert len({each.train.images.data_ptr() for each in sets}) == 1
    assert all(each.train.normalization is sets[0].train.normalization for each in sets)


@KINDS
def test_arms_with_other_sizes_decode_once(make: Make, reads: int, tmp_path: Path, decoded: list[str]) -> None:
    name = str(make(tmp_path / "set"))
    arms = [
        DataConfig(name=name),
        DataConfig(name=name, train_size=10),
        DataConfig(name=name, holdout=4),
        DataConfig(name=name, train_size=12, holdout=2, test_size=3),
    ]
    for _ in range(2):
        loaded = [load.load(config, tmp_path) for config in arms]
        assert [splits.info for splits in loaded] == [load.dataset_info(config, tmp_path) for config in arms]
        assert len({splits.fingerprint for splits in loaded}) == len(arms)
    assert len(decoded) == reads


def test_another_path_to_the_same_folder_decodes_nothing(tmp_path: Path, decoded: list[str]) -> None:
    root = make_folder(tmp_path / "set")
    (tmp_path / "link").symlink_to(root)
    one = load.load(DataConfig(name=str(root)), tmp_path)
    for other in (f"{root}/.", str(tmp_path / "link")):
        assert load.load(DataConfig(name=other), tmp_path).fingerprint == one.fingerprint
    assert len(decoded) == IMAGES


@KINDS
@pytest.mark.parametrize("how", ["in place", "replaced", "older"])
def test_changed_pixels_are_read_again(make: Make, reads: int, how: str, tmp_path: Path, decoded: list[str]) -> None:
    path = make(tmp_path / "set")
    before = load.load(DataConfig(name=str(path)), tmp_path)
    other = make(tmp_path / "other", shade=100)
    files = [path] if path.is_file() else sorted(path.rglob("*.png"))
    for file in files:
        source = other if path.is_file() else other / file.relative_to(path)
        status = file.stat()
        if how == "replaced":
            shutil.copy(source, tmp_path / "new")
            (tmp_path / "new").rename(file)
        else:
            file.write_bytes(source.read_bytes())
        if how == "older":  # as a copy that keeps times leaves it
            os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns - 10**9))
        else:
            os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns + 10**9))
    after = load.load(DataConfig(name=str(path)), tmp_path)
    assert after.train.images.min() >= 100 > before.train.images.max()
    assert len(decoded) == 2 * reads


def test_files_that_come_or_go_are_noticed_and_hidden_ones_ignored(tmp_path: Path, decoded: list[str]) -> None:
    root = make_folder(tmp_path / "set")

    def size() -> int:
        info = load.dataset_info(DataConfig(name=str(root)), tmp_path)
        return info.train_size + info.test_size

    assert size() == IMAGES
    (root / "a" / ".DS_Store").write_bytes(b"junk")
    (root / ".cache").mkdir()
    assert size() == IMAGES
    assert decoded == []
    shutil.copy(root / "a" / "00.png", root / "a" / "more.png")
    assert size() == IMAGES + 1
    (root / "a" / "more.png").rename(root / "b" / "more.png")
    labels = load.load(DataConfig(name=str(root)), tmp_path)
    assert torch.cat([labels.train.labels, labels.test.labels]).bincount().tolist() == [10, 11]
    (root / "b" / "more.png").unlink()
    assert size() == IMAGES
    (root / "c").mkdir()
    with pytest.raises(ValueError, match="c' is a class without images"):
        size()


def test_files_that_change_while_they_are_read_are_not_remembered(tmp_path: Path) -> None:
    root = make_folder(tmp_path / "set")
    calls: list[Path] = []

    def read(path: Path) -> Splits:
        calls.append(path)
        if len(calls) == 1:
            Image.new("L", (8, 8)).save(root / "a" / "late.png")
        return read_folder(path)

    cache: FileCache[Splits] = FileCache(2)
    for _ in range(3):
        cache.once(root, read)
    assert len(calls) == 2


def test_an_error_is_not_remembered(tmp_path: Path) -> None:
    root = make_folder(tmp_path / "set")
    (root / "b" / "broken.png").write_text("not an image")
    for _ in range(2):
        with pytest.raises(ValueError, match=r"broken\.png' is not an image"):
            load.load(DataConfig(name=str(root)), tmp_path)
    (root / "b" / "broken.png").unlink()
    assert load.load(DataConfig(name=str(root)), tmp_path).info.num_classes == 2


def test_few_datasets_stay_in_memory(tmp_path: Path, decoded: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    paths = [str(make_npz(tmp_path / f"set{number}")) for number in range(3)]

    def decodes(number: int) -> bool:
        before = len(decoded)
        load.load(DataConfig(name=paths[number]), tmp_path)
        return len(decoded) > before

    assert [decodes(number) for number in (0, 1, 0, 1)] == [True, True, False, False]
    assert [decodes(number) for number in (0, 2, 0, 1)] == [False, True, False, True]
    decode_cache.datasets.clear()
    monkeypatch.setattr(decode_cache, "MAX_BYTES", 3 * IMAGES * 64)  # room for one and a half of them
    assert [decodes(number) for number in (0, 1, 1, 0, 0)] == [True, True, False, True, False]
    decode_cache.datasets.clear()
    assert decodes(0)


def test_threads_that_load_at_once_decode_once(tmp_path: Path, decoded: list[str]) -> None:
    config = DataConfig(name=str(make_folder(tmp_path / "set")))
    with ThreadPoolExecutor(4) as pool:
        sets = list(pool.map(lambda _: load.load(config, tmp_path), range(4)))
    assert len({id(each) for each in sets}) == 1
    assert len(decoded) == IMAGES


def test_what_cannot_be_examined_has_no_state(tmp_path: Path) -> None:
    assert file_state(tmp_path / "nowhere") is None
    (tmp_path / "set" / "a").mkdir(parents=True)
    assert file_state(tmp_path / "set") is not None
    (tmp_path / "set" / "a" / "x.png").symlink_to("nowhere")
    assert file_state(tmp_path / "set") is None
