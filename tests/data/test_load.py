from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tutelage.data.dataset import DataConfig
from tutelage.data.load import dataset_info, dataset_names, load


@pytest.fixture
def sets(tmp_path: Path) -> dict[str, str]:
    """An ``.npz`` and a folder with the same 24 + 6 images in two classes."""
    pixels = np.random.default_rng(0).integers(0, 256, (30, 8, 8), dtype=np.uint8)
    labels = np.arange(30) % 2
    order = np.argsort(labels[:24], kind="stable"), 24 + np.argsort(labels[24:], kind="stable")
    for split, rows in zip(("train", "test"), order, strict=True):
        for row in rows:
            path = tmp_path / "folder" / split / "ab"[labels[row]] / f"{row:02d}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels[row]).save(path)
    train, test = order
    np.savez(
        tmp_path / "set.npz",
        train_images=pixels[train],
        train_labels=labels[train],
        test_images=pixels[test],
        test_labels=labels[test],
        class_names=np.array(["a", "b"]),
    )
    return {"npz": str(tmp_path / "set.npz"), "folder": str(tmp_path / "folder")}


def test_a_file_and_a_folder_of_the_same_images_hold_the_same(sets: dict[str, str], tmp_path: Path) -> None:
    """Their fingerprints differ: that of files is over the files, never over what a decoder made of them."""
    one = load(DataConfig(name=sets["npz"], train_size=10, holdout=2), tmp_path)
    other = load(DataConfig(name=sets["folder"], train_size=10, holdout=2), tmp_path)
    assert one.fingerprint != other.fingerprint
    assert dataclasses.replace(one.info, notes=()) == dataclasses.replace(other.info, notes=())
    assert one.holdout is not None
    assert torch.equal(one.train.images, other.train.images)
    assert (len(one.train), len(one.holdout), len(one.test)) == (8, 2, 6)


@pytest.mark.parametrize("train_size", [None, 10, 20])
@pytest.mark.parametrize(("holdout", "test_part"), [(0, "all"), (5, "all"), (0, "part")])
@pytest.mark.parametrize("kind", ["digits", "npz", "folder"])
def test_info_is_that_of_the_loaded_set(
    kind: str, train_size: int | None, holdout: int, test_part: str, sets: dict[str, str], tmp_path: Path
) -> None:
    test_size = None if test_part == "all" else 12 if kind == "digits" else 4
    data = DataConfig(name=sets.get(kind, kind), train_size=train_size, holdout=holdout, test_size=test_size)
    splits = load(data, tmp_path) if not (kind == "digits" and train_size == 10 and holdout) else None
    if splits is None:
        with pytest.raises(ValueError, match=r"holdout must be from 0 to 0 \(of 10 training images"):
            dataset_info(data, tmp_path)
        return
    assert dataset_info(data, tmp_path) == splits.info
    assert splits.info.train_size == len(splits.train)
    assert splits.info.test_size == len(splits.test)
    assert test_size in (None, len(splits.test))
    assert (splits.holdout is None) == (holdout == 0)


def test_info_of_known_sets_needs_no_files(tmp_path: Path) -> None:
    ten = dataset_info(DataConfig(name="cifar10"), tmp_path / "nowhere")
    hundred = dataset_info(DataConfig(name="cifar100"), tmp_path / "nowhere")
    assert (ten.num_classes, ten.class_names[3], ten.coarse_names) == (10, "cat", ())
    assert (hundred.num_classes, hundred.class_names[0], len(set(hundred.class_names))) == (100, "apple", 100)
    assert (len(hundred.coarse_names), hundred.coarse_names[-1]) == (20, "vehicles_2")
    for cifar in (ten, hundred):
        assert (cifar.channels, cifar.height, cifar.width) == (3, 32, 32)
        assert (cifar.train_size, cifar.test_size, cifar.padding, cifar.flip) == (50_000, 10_000, 4, True)
    digits = dataset_info(DataConfig(name="digits", train_size=300), tmp_path)
    assert (digits.train_size, digits.test_size, digits.padding, digits.flip) == (300, 1497, 1, False)
    assert not (tmp_path / "nowhere").exists()


@pytest.mark.parametrize("name", ["digit", "cifar", "", "nowhere.npz", "some/folder", "<script>", "x" * 300, "a\nb"])
def test_unknown_names(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for call in (load, dataset_info):
        with pytest.raises(ValueError, match=r"unknown dataset .*the path of an \.npz file or of a folder") as caught:
            call(DataConfig(name=name), tmp_path)
        assert "\n" not in str(caught.value)


def test_the_nearest_name_is_told(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="unknown dataset 'cifar1OO': did you mean cifar1"):
        load(DataConfig(name="cifar1OO"), tmp_path)
    assert dataset_names() == ("digits", "cifar10", "cifar100", "ilsvrc2012", "tiny-imagenet", "cinic10")


def test_known_names_win_over_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "digits").mkdir()
    monkeypatch.chdir(tmp_path)
    assert dataset_info(DataConfig(name="digits"), tmp_path).test_size == 1497
    with pytest.raises(ValueError, match="has no class folders"):
        load(DataConfig(name="./digits"), tmp_path)


def test_sizes_are_checked_before_files_are(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"train_size must be from 100 .* to 50000 .*, not 99"):
        load(DataConfig(name="cifar100", train_size=99), tmp_path)
    with pytest.raises(ValueError, match="cifar100 is not in"):
        load(DataConfig(name="cifar100", train_size=100), tmp_path)


def test_a_folder_that_may_not_be_read_is_not_called_unknown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(path: Path, *_: object) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("tutelage.data.load.examine_images", forbidden)
    with pytest.raises(PermissionError):
        load(DataConfig(name=str(tmp_path)), tmp_path)
