from __future__ import annotations

import hashlib

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits as bundled

from tutelage.data.digits import load_digits


def test_every_image_is_used_once_with_its_label() -> None:
    splits = load_digits(None)
    pixels, labels = bundled(return_X_y=True)
    expected = np.rint(pixels * 255 / 16).astype(np.uint8).reshape(-1, 1, 8, 8)
    assert (len(splits.train), len(splits.test)) == (300, 1497)
    ids = torch.cat([splits.train.ids, splits.test.ids])
    assert torch.equal(ids.sort().values, torch.arange(1797))
    for part in (splits.train, splits.test):
        np.testing.assert_array_equal(part.images.numpy(), expected[part.ids.numpy()])
        np.testing.assert_array_equal(part.labels.numpy(), labels[part.ids.numpy()])
    assert splits.train.images.max() == 255


def test_the_training_set_has_the_class_shares_of_the_whole() -> None:
    counts = load_digits(300).train.labels.bincount()
    shares = torch.tensor([178, 182, 177, 183, 181, 182, 181, 179, 174, 180]) * 300 / 1797
    assert counts.sum() == 300
    assert (counts - shares).abs().max() < 1


def test_the_choice_is_pinned() -> None:
    # A change here changes what every stored model of the digits was trained on.
    ids = load_digits(300).train.ids
    assert hashlib.sha256(ids.numpy().tobytes()).hexdigest()[:16] == PINNED


PINNED = "42856bac681ac9c6"


@pytest.mark.parametrize("train_size", [9, 0, -1, 1797, 10_000])
def test_sizes_that_do_not_fit(train_size: int) -> None:
    with pytest.raises(ValueError, match=f"train_size must be from 10 .* to 1796 .*, not {train_size}"):
        load_digits(train_size)


@pytest.mark.parametrize("train_size", [10, 1796])
def test_the_smallest_and_the_largest_training_set(train_size: int) -> None:
    splits = load_digits(train_size)
    assert len(splits.train) == splits.info.train_size == train_size
    assert len(splits.test) == splits.info.test_size == 1797 - train_size
    assert splits.train.labels.unique().tolist() == list(range(10))
