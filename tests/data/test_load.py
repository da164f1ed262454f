from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tutelage.data.dataset import DataConfig
from tutelage.data.load import facts, load, names


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


def test_a_file_and_a_folder_of_the_same_images_are_the_same_set(sets: dict[str, str], tmp_path: Path) -> None:
    one, other = (load(DataConfig(name=name, train_size=10, holdout=2), tmp_path) for name in sets.values())
    assert one.fingerprint == other.fingerprint
    assert one.facts == other.facts
    assert one.holdout is not None
    assert torch.equal(one.train.images, other.train.images)
    assert (len(one.train), len(one.holdout), len(one.test)) == (8, 2, 6)


@pytest.mark.parametrize("train_size", [None, 10, 20])
@pytest.mark.parametrize(("holdout", "tested"), [(0, "all"), (5, "all"), (0, "part")])
@pytest.mark.parametrize("kind", ["digits", "npz", "folder"])
def test_facts_are_those_of_the_loaded_set(
    kind: str, train_size: int | None, holdout: int, tested: str, sets: dict[str, str], tmp_path: Path
) -> None:
    test_size = None if tested == "all" else 12 if kind == "digits" else 4
    data = DataConfig(name=sets.get(kind, kind), train_size=train_size, holdout=holdout, test_size=test_size)
    splits = load(data, tmp_path) if not (kind == "digits" and train_size == 10 and holdout) else None
    if splits is None:
        with pytest.raises(ValueError, match=r"holdout must be from 0 to 0 \(of 10 training images"):
            facts(data, tmp_path)
        return
    assert facts(data, tmp_path) == splits.facts
    assert splits.facts.train_size == len(splits.train)
    assert splits.facts.test_size == len(splits.test)
    assert test_size in (None, len(splits.test))
    assert (splits.holdout is None) == (holdout == 0)


def test_facts_of_known_sets_need_no_files(tmp_path: Path) -> None:
    ten, hundred = (facts(DataConfig(name=name), tmp_path / "nowhere") for name in ("cifar10", "cifar100"))
    assert (ten.num_classes, ten.class_names[3], ten.coarse_names) == (10, "cat", ())
    assert (hundred.num_classes, hundred.class_names[0], len(set(hundred.class_names))) == (100, "apple", 100)
    assert (len(hundred.coarse_names), hundred.coarse_names[-1]) == (20, "vehicles_2")
    for known in (ten, hundred):
        assert (known.channels, known.height, known.width) == (3, 32, 32)
        assert (known.train_size, known.test_size, known.padding, known.flip) == (50_000, 10_000, 4, True)
    digits = facts(DataConfig(name="digits", train_size=300), tmp_path)
    assert (digits.train_size, digits.test_size, digits.padding, digits.flip) == (300, 1497, 1, False)
    assert not (tmp_path / "nowhere").exists()


@pytest.mark.parametrize("name", ["digit", "cifar", "", "nowhere.npz", "some/folder", "<script>", "x" * 300, "a\nb"])
def test_unknown_names(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for call in (load, facts):
        with pytest.raises(ValueError, match=r"unknown dataset .*the path of an \.npz file or of a folder") as caught:
            call(DataConfig(name=name), tmp_path)
        assert "\n" not in str(caught.value)


def test_the_nearest_name_is_told(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="unknown dataset 'cifar1OO': did you mean cifar1"):
        load(DataConfig(name="cifar1OO"), tmp_path)
    assert names() == ("digits", "cifar10", "cifar100")


def test_known_names_win_over_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "digits").mkdir()
    monkeypatch.chdir(tmp_path)
    assert facts(DataConfig(name="digits"), tmp_path).test_size == 1497
    with pytest.raises(ValueError, match="has no class folders"):
        load(DataConfig(name="./digits"), tmp_path)


def test_sizes_are_checked_before_files_are(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"train_size must be from 100 .* to 50000 .*, not 99"):
        load(DataConfig(name="cifar100", train_size=99), tmp_path)
    with pytest.raises(ValueError, match="cifar100 is not in"):
        load(DataConfig(name="cifar100", train_size=100), tmp_path)


def test_a_folder_that_may_not_be_read_is_not_called_unknown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(path: Path) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("tutelage.data.load.read_folder", forbidden)
    with pytest.raises(PermissionError):
        load(DataConfig(name=str(tmp_path)), tmp_path)
