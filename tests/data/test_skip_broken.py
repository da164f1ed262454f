"""``skip_broken``: as if the files that cannot be used had been removed by hand, with their number recorded."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tests.data.test_stores import trained
from tutelage.analysis import load_results
from tutelage.data import DataConfig, file_index
from tutelage.data.decode_cache import datasets
from tutelage.data.faults import BrokenFiles
from tutelage.data.load import _listings, dataset_info, load
from tutelage.data.pixel_map import Reading
from tutelage.report.page.sections.reproducibility import _data as page_data

KINDS = ("truncated.png", "truncated.jpg", "text.png", "empty.jpg", "folder.png", "link.png")
NOTE = "6 files that cannot be read or decoded are left out (--skip-broken)"


@pytest.fixture(autouse=True)
def empty_caches() -> Iterator[None]:
    yield
    datasets.clear()
    _listings.clear()


@pytest.fixture
def whole(tmp_path: Path) -> Path:
    """48 images of two classes and several sizes."""
    generator = np.random.default_rng(0)
    for row in range(48):
        width, height = (int(side) for side in generator.integers(20, 60, 2))
        values = generator.integers(0, 120, (height, width, 3), dtype=np.uint8) + np.uint8(100 * (row % 2))
        path = tmp_path / "whole" / "ab"[row % 2] / f"{row:02d}.{('jpg', 'png')[row % 3 // 2]}"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(values).save(path)
    return tmp_path / "whole"


def spoil(folder: Path) -> None:
    """Put a file of each kind that cannot be used into a class."""
    noise = Image.fromarray(np.random.default_rng(1).integers(0, 256, (90, 99, 3), dtype=np.uint8))
    for kind in ("png", "jpg"):
        path = folder / f"truncated.{kind}"
        noise.save(path)
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    (folder / "text.png").write_text("no image")
    (folder / "empty.jpg").write_bytes(b"")
    (folder / "folder.png").mkdir()
    (folder / "link.png").symlink_to("nowhere")


@pytest.fixture
def broken(whole: Path, tmp_path: Path) -> Path:
    shutil.copytree(whole, tmp_path / "broken")
    spoil(tmp_path / "broken" / "a")
    return tmp_path / "broken"


@pytest.mark.parametrize("store", ["resident", "mapped", "decoded"])
@pytest.mark.parametrize("size", [None, 16, 40])
def test_the_same_images_as_without_the_files(
    size: int | None, store: str, whole: Path, broken: Path, tmp_path: Path
) -> None:
    reading = Reading(store=store)  # type: ignore[arg-type]
    config = DataConfig(name=str(broken), skip_broken=True, image_size=size)
    info = dataset_info(config, tmp_path)
    assert info.notes[0] == NOTE
    splits = load(config, tmp_path, reading)
    expected = load(DataConfig(name=str(whole), image_size=size), tmp_path, reading)
    assert splits.info == info
    assert splits.fingerprint == expected.fingerprint
    assert splits.train.normalization == expected.train.normalization
    assert torch.equal(splits.test.images[:], expected.test.images[:])


def test_the_same_weights_as_without_the_files(
    whole: Path, broken: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TUTELAGE_DATA", str(tmp_path / "data"))
    expected = trained(whole, tmp_path / "expected", "resident", 0)
    for store, workers in (("resident", 0), ("mapped", 0), ("decoded", 1)):
        other = trained(broken, tmp_path / store, store, workers, skip_broken=True)
        assert other.keys() == expected.keys()
        assert all(torch.equal(value, expected[name]) for name, value in other.items()), store
        (study,) = (tmp_path / store / "studies").iterdir()
        results = load_results(study.name, tmp_path / store)
        facts = [fact for name, fact in page_data(results) if name.startswith("of ")]
        assert facts == [NOTE, "10 of 48 images are the test set, as there is no other"]


def test_what_is_broken_is_remembered(broken: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names: list[str] = []
    decode = file_index.decode

    def counted(file: object, preparation: object, where: str) -> np.ndarray:
        names.append(where)
        return decode(file, preparation, where)  # type: ignore[arg-type]

    monkeypatch.setattr(file_index, "decode", counted)
    config = DataConfig(name=str(broken), skip_broken=True)
    first = dataset_info(config, tmp_path)
    assert len(names) == 49  # the 48, and the one whose header is whole
    for _ in range(2):
        _listings.clear()
        assert dataset_info(config, tmp_path) == first
    assert len(names) == 49
    path = broken / "a" / "truncated.jpg"
    Image.new("RGB", (30, 30)).save(path)  # repaired
    _listings.clear()
    assert dataset_info(config, tmp_path).notes[0].startswith("5 files")
    assert len(names) == 50


@pytest.mark.parametrize("store", ["resident", "mapped", "decoded"])
def test_what_is_remembered_as_broken_is_an_error_at_once(
    store: str, broken: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where files are decoded for each view, and it would show in the middle of the training."""
    monkeypatch.setattr(file_index, "_FEW", 0)
    dataset_info(DataConfig(name=str(broken), skip_broken=True), tmp_path)
    for name in {*KINDS} - {"truncated.jpg"}:
        path = broken / "a" / name
        path.rmdir() if path.is_dir() else path.unlink()
    with pytest.raises(BrokenFiles, match=r"^'.*/truncated\.jpg' cannot be read"):
        load(DataConfig(name=str(broken)), tmp_path, Reading(store=store))  # type: ignore[arg-type]


@pytest.mark.parametrize("damage", [b"", b"junk", None])
def test_a_damaged_index_is_written_again(damage: bytes | None, broken: Path, tmp_path: Path) -> None:
    config = DataConfig(name=str(broken), skip_broken=True)
    first = dataset_info(config, tmp_path)
    (index,) = (tmp_path / "indexes").iterdir()
    index.write_bytes(index.read_bytes()[:-9] if damage is None else damage)
    _listings.clear()
    assert dataset_info(config, tmp_path) == first


@pytest.mark.parametrize("faults", [1, 6, 30])
def test_the_error_names_the_option_and_the_check(faults: int, whole: Path, tmp_path: Path) -> None:
    for number in range(faults):
        (whole / "a" / f"x{number:02d}.png").write_text("no image")
    with pytest.raises(BrokenFiles) as error:
        load(DataConfig(name=str(whole)), tmp_path)
    message = str(error.value)
    assert len(error.value.faults) == faults
    assert message.count("is not an image") == min(faults, 20)
    assert ("; and 10 more" in message) == (faults == 30)
    assert message.endswith(
        f": --skip-broken goes on without {'it' if faults == 1 else 'them'}, and "
        f"`tutelage data check {whole}` lists all that is wrong"
    )


def remove_all(root: Path) -> None:
    for path in (root / "b").iterdir():
        path.write_bytes(path.read_bytes()[:60])


def spell_twice(root: Path) -> None:
    for name in ("caf\u00e9", "cafe\u0301"):
        shutil.copytree(root / "b", root / name)


def foreign_class(root: Path) -> None:
    (root / "train").mkdir()
    for name in "ab":
        (root / name).rename(root / "train" / name)
    shutil.copytree(root / "train" / "b", root / "test" / "c")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (remove_all, "broken/b' is a class without images that can be used"),
        (spell_twice, "are one name in two spellings"),
        (foreign_class, "test/c' has images of class 'c', and train has none"),
    ],
)
def test_what_no_skipping_mends(change: Callable[[Path], None], message: str, broken: Path, tmp_path: Path) -> None:
    change(broken)
    with pytest.raises(BrokenFiles, match=message) as error:
        load(DataConfig(name=str(broken), skip_broken=True), tmp_path)
    assert "--skip-broken" not in str(error.value)
    assert "truncated.png" in str(error.value)  # and all else that is wrong


@pytest.mark.parametrize(
    "failure",
    [OSError(5, "Input/output error"), PermissionError(13, "no"), ValueError("'x' cannot be read: MemoryError")],
)
def test_what_may_be_whole_is_not_remembered_as_broken(
    failure: Exception, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that fails now and then says nothing about the file."""
    name, opened = sorted((whole / "a").iterdir())[2], file_index.decode

    def failing(file: object, preparation: object, where: str) -> np.ndarray:
        if name.name in where:
            raise failure
        return opened(file, preparation, where)  # type: ignore[arg-type]

    config = DataConfig(name=str(whole), skip_broken=True)
    monkeypatch.setattr(file_index, "decode", failing)
    note, division = dataset_info(config, tmp_path).notes
    assert (note[:7], division[:7]) == ("1 file ", "9 of 47")
    monkeypatch.setattr(file_index, "decode", opened)
    _listings.clear()
    assert dataset_info(config, tmp_path).notes == ("10 of 48 images are the test set, as there is no other",)


@pytest.mark.parametrize("suffix", ["one.npz", "two.npz", "three.npz"])
def test_arrays_have_no_files_to_skip(suffix: str, tmp_path: Path) -> None:
    np.savez(tmp_path / suffix, train_images=np.zeros((4, 8, 8), np.uint8))
    with pytest.raises(ValueError, match="skip_broken is for image files"):
        load(DataConfig(name=str(tmp_path / suffix), skip_broken=True), tmp_path)
