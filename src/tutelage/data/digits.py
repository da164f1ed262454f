"""The handwritten digits that come with scikit-learn: 1,797 images of 8 x 8, nothing to download."""

from __future__ import annotations

import importlib.util
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from tutelage.data.dataset import Dataset, DatasetInfo, Splits
from tutelage.data.splits import TRAIN_SIZE, make_splits, stratified_split

NUM_IMAGES = 1797
INFO = DatasetInfo(
    class_names=tuple("0123456789"),
    channels=1,
    height=8,
    width=8,
    train_size=300,
    test_size=NUM_IMAGES - 300,
    padding=1,
    flip=False,
)


def digits_info(train_size: int | None) -> DatasetInfo:
    """Describe the digits with ``train_size`` training images (300 if None) and all others as the test set.

    Errors: ``ValueError`` that states the allowed range.

    >>> digits_info(None).test_size
    1497
    """
    size = INFO.train_size if train_size is None else train_size
    if not INFO.num_classes <= size < NUM_IMAGES:
        raise ValueError(
            f"train_size must be from {INFO.num_classes} (one image per class) to {NUM_IMAGES - 1} "
            f"(all but one of {NUM_IMAGES}, which remains to test on), not {size}"
        )
    return replace(INFO, train_size=size, test_size=NUM_IMAGES - size)


def load_digits(train_size: int | None) -> Splits:
    """Load the digits: ``train_size`` of them, with the class shares of the whole, and all others as the test set.

    Formula: the ink 0 to 16 of the source becomes ``round(ink * 255 / 16)``.

    Errors: those of :func:`digits_info`.

    >>> load_digits(300).train.images.shape
    torch.Size([300, 1, 8, 8])

    Source: Alpaydin, Kaynak, "Optical Recognition of Handwritten Digits", UCI Machine Learning Repository, 1998.
    """
    info = digits_info(train_size)
    pixels, labels = _bundled_digits()
    ink = torch.from_numpy(pixels).round().to(torch.int64)
    whole = Dataset(
        images=((ink * 255 + 8) // 16).to(torch.uint8).reshape(-1, 1, 8, 8),
        labels=torch.from_numpy(labels).to(torch.int64),
        ids=torch.arange(len(labels)),
    )
    assert len(whole) == NUM_IMAGES, len(whole)
    train, test = stratified_split(whole.labels, info.num_classes, info.train_size, TRAIN_SIZE)
    return make_splits(info, whole.subset(train), whole.subset(test))


def _bundled_digits() -> tuple[Any, Any]:
    """Pixels and labels from scikit-learn's data file, without importing scikit-learn if the file is where expected.

    Importing scikit-learn takes as long as training a small network for some epochs; the file is the same.
    """
    import numpy as np

    spec = importlib.util.find_spec("sklearn")
    folders = spec.submodule_search_locations if spec is not None else None
    file = Path(folders[0]) / "datasets" / "data" / "digits.csv.gz" if folders else None
    if file is None or not file.is_file():
        from sklearn.datasets import load_digits as load_bundled

        return load_bundled(return_X_y=True)  # type: ignore[no-any-return]  # scikit-learn has no types
    rows = np.loadtxt(file, delimiter=",")
    return rows[:, :-1], rows[:, -1].astype(np.int64)
