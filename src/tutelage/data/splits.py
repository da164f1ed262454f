"""Which images of a set are trained on: subsets and holdouts with the class shares of the whole."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace

import torch
from torch import Tensor

from tutelage.data.dataset import Dataset, DatasetInfo, Splits
from tutelage.functional.random import permutation

# Which draw: the first key of each choice. Changing one changes what every stored model was trained on.
TRAIN_SIZE, HOLDOUT, TEST, TEST_SIZE = 1, 2, 3, 4


def quotas(counts: list[int], total: int) -> list[int]:
    """How many of ``total`` rows each class gets: its share by largest remainder, and at least one if it has any.

    Formula: ``floor(total * count / sum(counts))``, then one more for the largest remainders (the lower class
    first where they are equal); a class left with none takes one from the class that is furthest above its share.

    Errors: ``ValueError`` if ``total`` is more than there are, or fewer than the classes that have any.

    >>> quotas([60, 30, 10], 9), quotas([1000, 1, 0], 10)
    ([5, 3, 1], [9, 1, 0])
    """
    available, occupied = sum(counts), sum(count > 0 for count in counts)
    if not occupied <= total <= available:
        raise ValueError(f"expected a number from {occupied} (one of each class) to {available}, not {total}")
    shares = [divmod(total * count, available) for count in counts]
    result = [whole for whole, _ in shares]
    by_remainder = sorted(range(len(counts)), key=lambda label: -shares[label][1])
    for label in by_remainder[: total - sum(result)]:
        result[label] += 1
    for label, count in enumerate(counts):
        if count and not result[label]:
            spare = [other for other, quota in enumerate(result) if quota > 1]
            giver = max(spare, key=lambda other: result[other] * available - total * counts[other])
            result[giver] -= 1
            result[label] = 1
    return result


def stratified(labels: Tensor, num_classes: int, total: int, key: int) -> tuple[Tensor, Tensor]:
    """Choose ``total`` rows with the class shares of the whole; returns the chosen rows and the others, ascending.

    Formula: of each class the first :func:`quotas` rows in an order drawn from ``(key, class)``; so the choice is a
    function of the labels alone, and the same in every run.

    Shapes: ``labels`` int64 ``[N]``; the results int64 ``[total]`` and ``[N - total]``.

    Errors: those of :func:`quotas`.

    >>> chosen, others = stratified(torch.tensor([0, 0, 0, 0, 1, 1]), num_classes=2, total=3, key=0)
    >>> torch.tensor([0, 0, 0, 0, 1, 1])[chosen].tolist(), len(others)
    ([0, 0, 1], 3)
    """
    counts = torch.bincount(labels, minlength=num_classes).tolist()
    chosen = torch.zeros(len(labels), dtype=torch.bool)
    for label, quota in enumerate(quotas(counts, total)):
        rows = (labels == label).nonzero().squeeze(1)
        chosen[rows[permutation(len(rows), key, label)[:quota]]] = True
    return chosen.nonzero().squeeze(1), (~chosen).nonzero().squeeze(1)


def narrowed(facts: DatasetInfo, train_size: int | None, holdout: int, test_size: int | None = None) -> DatasetInfo:
    """The facts of a dataset after ``train_size``, ``holdout`` and ``test_size``, checked without reading an image.

    Errors: ``ValueError`` naming the numbers that would have done.

    >>> facts = DatasetInfo(class_names=("a", "b"), channels=1, height=8, width=8, train_size=100, test_size=50)
    >>> narrowed(facts, train_size=60, holdout=10).train_size
    50
    >>> narrowed(facts, train_size=1, holdout=0)
    Traceback (most recent call last):
    ...
    ValueError: train_size must be from 2 (one image of each class) to 100 (all there are), not 1
    """
    least, kept, tested = facts.num_classes, facts.train_size, facts.test_size
    if train_size is not None:
        if not least <= train_size <= kept:
            raise ValueError(
                f"train_size must be from {least} (one image of each class) to {kept} (all there are), "
                f"not {train_size}"
            )
        kept = train_size
    if not 0 <= holdout <= max(0, kept - least):
        raise ValueError(
            f"holdout must be from 0 to {max(0, kept - least)} (of {kept} training images, one of each of the "
            f"{least} classes must stay), not {holdout}"
        )
    if test_size is not None:
        if not least <= test_size <= tested:
            raise ValueError(
                f"test_size must be from {least} (one image of each class) to {tested} (all there are), "
                f"not {test_size}"
            )
        tested = test_size
    return replace(facts, train_size=kept - holdout, test_size=tested)


def narrow(whole: Splits, train_size: int | None, holdout: int, test_size: int | None = None) -> Splits:
    """Keep ``train_size`` training images, less a validation set of ``holdout``; keep ``test_size`` test images.

    Errors: those of :func:`narrowed`.
    """
    facts = narrowed(whole.facts, train_size, holdout, test_size)
    train, test, held = whole.train, whole.test, whole.holdout
    if (facts.train_size, facts.test_size) == (len(train), len(test)):
        return whole
    if facts.test_size < len(test):
        test = test.subset(stratified(test.labels, facts.num_classes, facts.test_size, TEST_SIZE)[0])
    if train_size is not None and train_size < len(train):
        train = train.subset(stratified(train.labels, facts.num_classes, train_size, TRAIN_SIZE)[0])
    if holdout:
        kept, cut = stratified(train.labels, facts.num_classes, facts.train_size, HOLDOUT)
        train, held = train.subset(kept), train.subset(cut)
    return finished(facts, train, test, held)


def finished(facts: DatasetInfo, train: Dataset, test: Dataset, holdout: Dataset | None = None) -> Splits:
    """Put splits together, with the fingerprint of all of them and of the class names.

    Formula: SHA-256 of the JSON list of the three fingerprints (null without holdout), class names, coarse names.
    """
    assert (facts.train_size, facts.test_size) == (len(train), len(test))
    parts = [split and split.fingerprint() for split in (train, test, holdout)]
    document = json.dumps([*parts, facts.class_names, facts.coarse_names])
    digest = hashlib.sha256(document.encode()).hexdigest()
    return Splits(facts=facts, train=train, test=test, holdout=holdout, fingerprint=digest)
