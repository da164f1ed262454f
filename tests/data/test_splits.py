from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tutelage.data.dataset import Dataset, DatasetInfo, Splits
from tutelage.data.splits import make_splits, quotas, stratified_split, subset_splits


def splits(per_class: list[int], test: int = 4) -> Splits:
    labels = torch.repeat_interleave(torch.arange(len(per_class)), torch.tensor(per_class))

    def part(size: int) -> Dataset:
        return Dataset(
            images=torch.arange(size).view(size, 1, 1, 1).to(torch.uint8),
            labels=labels[:size],
            ids=torch.arange(size),
            coarse_labels=labels[:size] // 2,
        )

    names = tuple(f"class {label}" for label in range(len(per_class)))
    info = DatasetInfo(class_names=names, channels=1, height=1, width=1, train_size=len(labels), test_size=test)
    return make_splits(info, part(len(labels)), part(test))


@pytest.mark.parametrize(
    ("counts", "total", "expected"),
    [
        ([50, 50], 10, [5, 5]),
        ([50, 50], 11, [6, 5]),
        ([6, 3, 1], 5, [3, 1, 1]),  # shares 3, 1.5, 0.5: one more for the lower class, then class 2 gets its one
        ([97, 2, 1], 10, [8, 1, 1]),
        ([3, 3, 3], 9, [3, 3, 3]),
        ([5, 0, 5], 4, [2, 0, 2]),
    ],
)
def test_quotas(counts: list[int], total: int, expected: list[int]) -> None:
    assert quotas(counts, total) == expected


@given(st.data())
def test_quotas_are_shares_by_largest_remainder(data: st.DataObject) -> None:
    counts = data.draw(st.lists(st.integers(0, 60), min_size=1, max_size=8).filter(any))
    total = data.draw(st.integers(sum(map(bool, counts)), sum(counts)))
    result = quotas(counts, total)
    assert sum(result) == total
    shares = [total * count / sum(counts) for count in counts]
    assert all((count > 0) <= quota <= count for quota, count in zip(result, counts, strict=True))
    if all(share >= 1 or share == 0 for share in shares):  # otherwise the guaranteed one shifts the others
        assert all(abs(quota - share) < 1 for quota, share in zip(result, shares, strict=True))


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(0, 4), min_size=5, max_size=80), st.data())
def test_stratified_partitions_the_rows(labels: list[int], data: st.DataObject) -> None:
    total = data.draw(st.integers(len(set(labels)), len(labels)))
    tensor = torch.tensor(labels)
    chosen, others = stratified_split(tensor, 5, total, key=1)
    assert len(chosen) == total
    assert torch.equal(torch.cat([chosen, others]).sort().values, torch.arange(len(labels)))
    assert torch.equal(chosen, chosen.sort().values)
    assert set(tensor[chosen].tolist()) == set(labels)
    assert torch.equal(chosen, stratified_split(tensor, 5, total, key=1)[0])


def test_the_choice_is_pinned_and_differs_by_key() -> None:
    # A change here changes what every stored model of a subset was trained on.
    labels = torch.arange(40) % 2
    assert stratified_split(labels, 2, 6, key=1)[0].tolist() == PINNED[0]
    assert stratified_split(labels, 2, 6, key=2)[0].tolist() == PINNED[1]


PINNED = [[0, 5, 12, 19, 22, 39], [4, 13, 16, 21, 22, 27]]


def test_a_larger_balanced_subset_holds_the_smaller() -> None:
    labels = torch.arange(100) % 5
    small, _ = stratified_split(labels, 5, 10, key=1)
    large, _ = stratified_split(labels, 5, 25, key=1)
    assert set(small.tolist()) < set(large.tolist())


def test_a_subset_keeps_ids_labels_and_coarse_labels_together() -> None:
    whole = splits([20, 20, 20, 20])
    result = subset_splits(whole, train_size=40, holdout=8)
    assert result.holdout is not None
    assert (len(result.train), len(result.holdout), len(result.test)) == (32, 8, 4)
    assert result.info.train_size == 32
    assert result.train.labels.bincount().tolist() == [8] * 4
    assert result.holdout.labels.bincount().tolist() == [2] * 4
    assert not set(result.train.ids.tolist()) & set(result.holdout.ids.tolist())
    for part in (result.train, result.holdout):
        assert torch.equal(part.images.flatten().to(torch.int64), part.ids)
        assert torch.equal(part.labels, part.ids // 20)
        assert part.coarse_labels is not None
        assert torch.equal(part.coarse_labels, part.labels // 2)


def test_the_holdout_comes_out_of_the_reduced_set() -> None:
    whole = splits([20, 20])
    reduced = subset_splits(whole, train_size=20, holdout=0)
    divided = subset_splits(whole, train_size=20, holdout=6)
    assert divided.holdout is not None
    together = torch.cat([divided.train.ids, divided.holdout.ids]).sort().values
    assert torch.equal(together, reduced.train.ids)


def test_a_part_of_the_test_set_has_its_class_shares_and_leaves_training_alone() -> None:
    whole = splits([6, 6], test=10)
    result = subset_splits(whole, train_size=None, holdout=0, test_size=4)
    assert (len(result.test), result.info.test_size) == (4, 4)
    counts = whole.test.labels.bincount(minlength=2)
    assert (counts * 4 / 10 - result.test.labels.bincount(minlength=2)).abs().max() < 1
    assert torch.equal(result.train.images, whole.train.images)
    assert result.fingerprint != whole.fingerprint
    for size in (1, 11):
        with pytest.raises(ValueError, match=rf"test_size must be from 2 .* to 10 .*, not {size}"):
            subset_splits(whole, train_size=None, holdout=0, test_size=size)


def test_no_sizes_change_nothing() -> None:
    whole = splits([3, 3])
    assert subset_splits(whole, train_size=None, holdout=0).fingerprint == whole.fingerprint
    assert subset_splits(whole, train_size=6, holdout=0).fingerprint == whole.fingerprint


@pytest.mark.parametrize(
    ("train_size", "holdout", "message"),
    [
        (3, 0, r"train_size must be from 4 \(one image per class\) to 80 \(all images\), not 3"),
        (81, 0, "to 80 .*, not 81"),
        (0, 0, "not 0"),
        (-5, 0, "not -5"),
        (None, 77, r"holdout must be from 0 to 76 \(of 80 training images, at least one of each of the 4 classes"),
        (10, 7, r"from 0 to 6 \(of 10 training"),
        (4, 1, "holdout must be from 0 to 0"),
        (None, -1, "not -1"),
    ],
)
def test_sizes_that_do_not_fit(train_size: int | None, holdout: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        subset_splits(splits([20, 20, 20, 20]), train_size, holdout)


def test_the_largest_holdout_leaves_one_image_of_each_class() -> None:
    result = subset_splits(splits([20, 1, 5, 2]), train_size=None, holdout=24)
    assert sorted(result.train.labels.tolist()) == [0, 1, 2, 3]


def test_the_fingerprint_sees_every_part() -> None:
    base = splits([4, 4])
    changed = [subset_splits(base, 6, 0), subset_splits(base, None, 2), splits([4, 4], test=3), splits([4, 3, 1])]
    for coarse in ((), ("animals", "others")):
        info = DatasetInfo(
            class_names=("a", "b"), coarse_names=coarse, channels=1, height=1, width=1, train_size=8, test_size=4
        )
        changed.append(make_splits(info, base.train, base.test))
    prints = {split.fingerprint for split in (base, *changed)}
    assert len(prints) == len(changed) + 1
    assert all(len(fingerprint) == 64 for fingerprint in prints)
