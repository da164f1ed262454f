"""Datasets that bring a validation set of their own, as the ``.npz`` files of MedMNIST do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tutelage.data import DataConfig, DatasetInfo, decode_cache
from tutelage.data.load import dataset_info, load
from tutelage.data.npz import from_arrays, read_npz
from tutelage.data.splits import make_splits, subset_info, subset_splits

SIZES = {"train": 24, "val": 9, "test": 6}


def arrays(*splits: str, **changes: Any) -> dict[str, Any]:
    """Images in three classes, as MedMNIST stores them: each array by its name, labels as a column."""
    generator = np.random.default_rng(1)
    values: dict[str, Any] = {}
    for split in splits:
        values[f"{split}_images"] = generator.integers(0, 256, (SIZES[split], 8, 8, 3), dtype=np.uint8)
        values[f"{split}_labels"] = (np.arange(SIZES[split]) % 3).astype(np.uint8)[:, None]
    return {name: value for name, value in (values | changes).items() if value is not None}


def save(path: Path, values: dict[str, Any]) -> Path:
    np.savez(path, **values)
    return path


@pytest.mark.parametrize("dtype", ["uint8", "int64", ">i2", "int8"])
@pytest.mark.parametrize("splits", [("train", "test"), ("train", "val"), ("train", "val", "test")])
def test_a_column_of_labels_is_one_label_an_image(splits: tuple[str, ...], dtype: str, tmp_path: Path) -> None:
    column = arrays(*splits)
    flat = {name: value[:, 0] if "labels" in name else value for name, value in column.items()}
    typed = {name: value.astype(dtype) if "labels" in name else value for name, value in column.items()}
    expected = from_arrays(**flat)
    assert expected.train.labels.tolist() == [row % 3 for row in range(24)]
    assert read_npz(save(tmp_path / "set.npz", typed)).fingerprint == expected.fingerprint
    tensors = {name: torch.from_numpy(value.copy()) for name, value in column.items()}
    assert from_arrays(**tensors).fingerprint == expected.fingerprint


@pytest.mark.fault(31)
@pytest.mark.parametrize("split", ["train", "val", "test"])
@pytest.mark.parametrize("columns", [2, 14, 3])
def test_several_columns_are_several_labels_an_image(split: str, columns: int, tmp_path: Path) -> None:
    labels = np.zeros((SIZES[split], columns), np.uint8)
    path = save(tmp_path / "chest.npz", arrays(*SIZES, **{f"{split}_labels": labels}))
    with pytest.raises(ValueError, match=rf"chest\.npz' cannot be used: {split}_labels: expected one label") as error:
        read_npz(path)
    assert str(error.value).endswith(
        f"shape [N] or [N, 1], not shape [{SIZES[split]}, {columns}]: several columns are several labels per image; "
        "one-hot rows become numbers by argmax(1)"
    )


def test_val_is_the_holdout(tmp_path: Path) -> None:
    values = arrays("train", "val", "test")
    splits = read_npz(save(tmp_path / "set.npz", values))
    assert splits.holdout is not None
    np.testing.assert_array_equal(splits.holdout.images.permute(0, 2, 3, 1).numpy(), values["val_images"])
    assert splits.holdout.labels.tolist() == [row % 3 for row in range(9)]
    info = splits.info
    assert (info.train_size, info.holdout_size, info.test_size, info.notes) == (24, 9, 6, ())
    others = [
        read_npz(save(tmp_path / "others.npz", arrays("train", "val", "test", **changes))).fingerprint
        for changes in (
            {"val_images": None, "val_labels": None},
            {"val_images": values["val_images"][::-1]},
            {"val_labels": (values["val_labels"] + 1) % 3},
        )
    ]
    assert len({splits.fingerprint, *others}) == 4


def test_val_is_the_test_set_where_there_is_no_other(tmp_path: Path) -> None:
    values = arrays("train", "val")
    splits = read_npz(save(tmp_path / "set.npz", values))
    assert splits.holdout is None
    assert (splits.info.train_size, splits.info.holdout_size, splits.info.test_size) == (24, 0, 9)
    assert splits.info.notes == ("there is no test_images: val_images is used as the test set",)
    renamed = {name.replace("val", "test"): value for name, value in values.items()}
    same = read_npz(save(tmp_path / "renamed.npz", renamed))
    assert same.fingerprint == splits.fingerprint
    assert same.info.notes == ()


@pytest.mark.parametrize(
    ("missing", "message"),
    [
        (["val_labels"], "it lacks val_labels; it contains test_images, test_labels, train_images"),
        (["val_images"], "it lacks val_images; it contains "),
        (["val_labels", "test_images", "test_labels"], "it lacks val_labels; it contains train_images"),
        (["val_images", "test_images", "test_labels"], "it lacks val_images; it contains train_images"),
        (["test_labels"], "it lacks test_labels; "),
        (["test_images", "val_images"], "it lacks test_images, val_images; "),
        (["train_labels", "test_images", "val_labels"], "it lacks train_labels, test_images, val_labels; "),
        (["test_images", "test_labels", "val_images", "val_labels"], "it lacks test_images, test_labels; "),
    ],
)
def test_halves_of_a_pair_are_refused(missing: list[str], message: str, tmp_path: Path) -> None:
    values = {name: value for name, value in arrays(*SIZES).items() if name not in missing}
    with pytest.raises(ValueError, match=rf"set\.npz' cannot be used: {message}"):
        read_npz(save(tmp_path / "set.npz", values))
    if "train_labels" not in missing:
        with pytest.raises(ValueError, match=message.partition(";")[0]):
            from_arrays(**values)


@pytest.mark.fault(31)
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"val_labels": [0, 1, 2]}, "9 val_images, but 3 val_labels"),
        ({"val_labels": [0, 1, 3, 0, 1, -1, 0, 1, 2]}, "val_labels: 2 of 9 labels .*: 3 at row 2, -1 at row 5"),
        ({"val_images": np.zeros((9, 8, 9, 3), np.uint8)}, "train_images and val_images differ: "),
        ({"val_images": np.zeros((9, 8, 8, 3))}, "val_images: expected uint8 pixels from 0 to 255, not float64"),
    ],
)
def test_validation_arrays_that_do_not_fit(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        from_arrays(**arrays(*SIZES, **changes))


@pytest.mark.parametrize(("train_size", "test_size"), [(None, None), (12, None), (None, 3), (7, 5), (24, 6)])
def test_parts_leave_the_validation_set_whole(train_size: int | None, test_size: int | None, tmp_path: Path) -> None:
    path = save(tmp_path / "set.npz", arrays(*SIZES))
    config = DataConfig(name=str(path), train_size=train_size, test_size=test_size)
    splits, whole = load(config, tmp_path), read_npz(path)
    assert splits.holdout is not None
    assert whole.holdout is not None
    assert splits.holdout.fingerprint == whole.holdout.fingerprint
    assert (len(splits.train), len(splits.test)) == (train_size or 24, test_size or 6)
    assert splits.info == dataset_info(config, tmp_path)
    assert (splits.info.train_size, splits.info.holdout_size) == (train_size or 24, 9)
    assert (splits.fingerprint == whole.fingerprint) == (len(splits.train) == 24 and len(splits.test) == 6)


@pytest.mark.parametrize(("train_size", "holdout"), [(None, 1), (12, 9), (None, 1000), (None, -1)])
def test_a_holdout_beside_a_validation_set_is_refused(train_size: int | None, holdout: int, tmp_path: Path) -> None:
    config = DataConfig(name=str(save(tmp_path / "set.npz", arrays(*SIZES))), train_size=train_size, holdout=holdout)
    expected = (
        f"holdout is {holdout}, but the dataset has a validation set of 9 images of its own: leave --holdout out"
    )
    for read in (load, dataset_info):
        with pytest.raises(ValueError, match=f"^{expected}$"):
            read(config, tmp_path)


def test_a_holdout_of_the_training_set_is_counted() -> None:
    whole = from_arrays(**arrays("train", "test"))
    for holdout in (0, 1, 6):
        splits = subset_splits(whole, 15, holdout)
        assert splits.info == subset_info(whole.info, 15, holdout)
        assert splits.info.holdout_size == (0 if splits.holdout is None else len(splits.holdout)) == holdout


def test_a_description_agrees_with_its_validation_set() -> None:
    whole = from_arrays(**arrays(*SIZES))
    names = ("a", "b", "c")
    info = DatasetInfo(class_names=names, channels=3, height=8, width=8, train_size=24, test_size=6, holdout_size=8)
    for holdout in (whole.holdout, None):
        with pytest.raises(AssertionError):
            make_splits(info, whole.train, whole.test, holdout)


def test_validation_images_count_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    decode_cache.datasets.clear()
    large = np.zeros((400, 8, 8, 3), np.uint8)
    labels = np.zeros(400, np.uint8)
    paths = [
        save(tmp_path / f"{number}.npz", arrays(*SIZES, val_images=large, val_labels=labels)) for number in range(2)
    ]
    monkeypatch.setattr(decode_cache, "MAX_BYTES", 3 * large.nbytes // 2)
    first = decode_cache.datasets.once(paths[0], read_npz)
    assert decode_cache.datasets.once(paths[0], read_npz) is first
    decode_cache.datasets.once(paths[1], read_npz)
    assert decode_cache.datasets.once(paths[0], read_npz) is not first
    decode_cache.datasets.clear()
