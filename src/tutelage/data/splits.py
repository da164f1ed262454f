"""Subsets and holdouts of a dataset, with the class shares of the whole."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace

import torch
from torch import Tensor

from tutelage.data.dataset import Dataset, DatasetInfo, Splits
from tutelage.functional.random import permutation

# The first random key of each choice. Changing one changes what every stored model was trained on.
TRAIN_SIZE, HOLDOUT, TEST, TEST_SIZE = 1, 2, 3, 4


def quotas(counts: list[int], total: int) -> list[int]:
    """Divide ``total`` rows among classes of ``counts`` rows: the largest-remainder method, at least one per class.

    Formula: ``floor(total * count / sum(counts))``, then one more for the largest remainders (ties go to the lower
    class); a non-empty class that would have none takes one from the class furthest above its share.

    Errors: ``ValueError`` if ``total`` exceeds the number of rows, or is below the number of non-empty classes.

    >>> quotas([60, 30, 10], 9), quotas([1000, 1, 0], 10)
    ([5, 3, 1], [9, 1, 0])
    """
    available, occupied = sum(counts), sum(count > 0 for count in counts)
    if not occupied <= total <= available:
        raise ValueError(f"expected a number from {occupied} (one per class) to {available}, not {total}")
    shares = [divmod(total * count, available) for count in counts]
    result = [whole for whole, _ in shares]
    by_remainder = sorted(range(len(counts)), key=lambda label: -shares[label][1])
    for label in by_remainder[: total - sum(result)]:
        result[label] += 1
    for label, count in enumerate(counts):
        if count and not result[label]:
            donors = [other for other, quota in enumerate(result) if quota > 1]
            donor = max(donors, key=lambda other: result[other] * available - total * counts[other])
            result[donor] -= 1
            result[label] = 1
    return result


def stratified_split(labels: Tensor, num_classes: int, total: int, key: int) -> tuple[Tensor, Tensor]:
    """Choose ``total`` rows with the class shares of the whole; returns the chosen and the other rows, ascending.

    Formula: the first :func:`quotas` rows of each class in an order drawn from ``(key, class)``, so the choice is a
    function of the labels alone and the same in every run.

    Shapes: ``labels`` int64 ``[N]``; the results int64 ``[total]`` and ``[N - total]``.

    Errors: those of :func:`quotas`.

    >>> chosen, others = stratified_split(torch.tensor([0, 0, 0, 0, 1, 1]), num_classes=2, total=3, key=0)
    >>> torch.tensor([0, 0, 0, 0, 1, 1])[chosen].tolist(), len(others)
    ([0, 0, 1], 3)
    """
    counts = torch.bincount(labels, minlength=num_classes).tolist()
    chosen = torch.zeros(len(labels), dtype=torch.bool)
    for label, quota in enumerate(quotas(counts, total)):
        rows = (labels == label).nonzero().squeeze(1)
        chosen[rows[permutation(len(rows), key, label)[:quota]]] = True
    return chosen.nonzero().squeeze(1), (~chosen).nonzero().squeeze(1)


def subset_info(info: DatasetInfo, train_size: int | None, holdout: int, test_size: int | None = None) -> DatasetInfo:
    """Describe the subset that :func:`subset_splits` selects, without reading an image.

    Errors: ``ValueError`` that states the allowed range, also for a ``holdout`` where the dataset brings its own.

    >>> info = DatasetInfo(class_names=("a", "b"), channels=1, height=8, width=8, train_size=100, test_size=50)
    >>> subset_info(info, train_size=60, holdout=10).train_size
    50
    >>> subset_info(info, train_size=1, holdout=0)
    Traceback (most recent call last):
    ...
    ValueError: train_size must be from 2 (one image per class) to 100 (all images), not 1
    """
    train_size = _checked_size("train_size", train_size, info.num_classes, info.train_size)
    test_size = _checked_size("test_size", test_size, info.num_classes, info.test_size)
    if holdout and info.holdout_size:
        raise ValueError(
            f"holdout is {holdout}, but the dataset has a validation set of {info.holdout_size:,} images of its own: "
            "leave --holdout out"
        )
    max_holdout = max(0, train_size - info.num_classes)
    if not 0 <= holdout <= max_holdout:
        raise ValueError(
            f"holdout must be from 0 to {max_holdout} (of {train_size} training images, at least one of each of the "
            f"{info.num_classes} classes must remain), not {holdout}"
        )
    return replace(
        info, train_size=train_size - holdout, test_size=test_size, holdout_size=holdout or info.holdout_size
    )


def _checked_size(name: str, requested: int | None, least: int, available: int) -> int:
    if requested is None:
        return available
    if not least <= requested <= available:
        raise ValueError(
            f"{name} must be from {least} (one image per class) to {available} (all images), not {requested}"
        )
    return requested


def subset_splits(whole: Splits, train_size: int | None, holdout: int, test_size: int | None = None) -> Splits:
    """Keep ``train_size`` training images, ``holdout`` of them as a validation set, and ``test_size`` test images.

    Without a size all images are kept, and those of the dataset's own validation set always are. The subsets are
    copies, but a training or test set that stays whole is shared with ``whole``.

    Errors: those of :func:`subset_info`.
    """
    info = subset_info(whole.info, train_size, holdout, test_size)
    train, test, validation = whole.train, whole.test, whole.holdout
    if (info.train_size, info.test_size) == (len(train), len(test)):
        return whole
    if info.test_size < len(test):
        rows, _ = stratified_split(test.labels, info.num_classes, info.test_size, TEST_SIZE)
        test = test.subset(rows)
    if train_size is not None and train_size < len(train):
        rows, _ = stratified_split(train.labels, info.num_classes, train_size, TRAIN_SIZE)
        train = train.subset(rows)
    if holdout:
        rows, held_out = stratified_split(train.labels, info.num_classes, info.train_size, HOLDOUT)
        validation = train.subset(held_out)
        train = train.subset(rows)
    return make_splits(info, train, test, validation)


def make_splits(info: DatasetInfo, train: Dataset, test: Dataset, holdout: Dataset | None = None) -> Splits:
    """Combine datasets to splits, with a fingerprint of all of them and of the class names.

    Formula: SHA-256 of the JSON list of the three fingerprints (null without holdout), class names, coarse names and,
    of a set that is not the official one of its layout, its mark.
    """
    assert (info.train_size, info.test_size) == (len(train), len(test))
    assert info.holdout_size == (0 if holdout is None else len(holdout))
    parts = [split and split.fingerprint for split in (train, test, holdout)]
    document = json.dumps([*parts, info.class_names, info.coarse_names, *([info.mark] if info.mark else [])])
    digest = hashlib.sha256(document.encode()).hexdigest()
    return Splits(info=info, train=train, test=test, holdout=holdout, fingerprint=digest)
