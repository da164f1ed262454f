"""What is measured of a dataset is measured once."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, replace

import pytest
import torch
from torch import Tensor

from tutelage.data import Dataset, DatasetInfo, Normalization
from tutelage.data import dataset as module
from tutelage.data.splits import make_splits, subset_splits


def noise(size: int = 12) -> Dataset:
    images = torch.randint(0, 256, (size, 3, 4, 4), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    return Dataset(images=images, labels=torch.arange(size) % 2, ids=torch.arange(size))


def test_the_normalization_is_measured_once(monkeypatch: pytest.MonkeyPatch) -> None:
    measured: list[Tensor] = []

    class Counted(Normalization):
        @classmethod
        def of(cls, images: Tensor) -> Normalization:
            measured.append(images)
            return Normalization.of(images)

    monkeypatch.setattr(module, "Normalization", Counted)
    dataset = noise()
    assert dataset.normalization == Normalization.of(dataset.images)
    assert dataset.normalization is dataset.normalization
    assert len(measured) == 1
    subset = dataset.subset(torch.arange(4))
    assert subset.normalization == Normalization.of(dataset.images[:4])
    assert len(measured) == 2


def test_the_fingerprint_is_hashed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    digests: list[object] = []
    sha256 = module.hashlib.sha256

    def counted() -> object:
        digests.append(None)
        return sha256()

    info = DatasetInfo(class_names=("a", "b"), channels=3, height=4, width=4, train_size=12, test_size=6)
    train, test = noise(12), noise(6)
    with monkeypatch.context() as patch:
        patch.setattr(module.hashlib, "sha256", counted)
        assert train.fingerprint == train.fingerprint
        assert len(digests) == 1
    assert noise(12).fingerprint == train.fingerprint != test.fingerprint
    whole = make_splits(info, train, test)
    subset = subset_splits(whole, train_size=8, holdout=0)
    assert subset.test is whole.test  # its fingerprint is that of the whole
    assert subset.train.fingerprint != train.fingerprint


def test_a_dataset_is_frozen_and_a_changed_copy_is_measured_anew() -> None:
    dataset = noise()
    with pytest.raises(FrozenInstanceError):
        dataset.labels = torch.zeros(12)  # type: ignore[misc]
    other = replace(dataset, images=255 - dataset.images)
    assert dataset.normalization != other.normalization
    assert dataset.fingerprint != other.fingerprint
