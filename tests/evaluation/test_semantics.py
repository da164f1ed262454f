"""Superclasses: distances and shares by hand, against loops, and their bounds."""

from __future__ import annotations

import itertools
import math
import statistics

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tutelage.evaluation import accuracy
from tutelage.evaluation.scores import second_choices
from tutelage.evaluation.semantics import centre_distances, coarse_accuracy, superclass_share, superclasses_of

SUPERCLASSES = torch.tensor([0, 0, 1, 1, 1, 2])


def drawn(seed: int, count: int = 60) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    logits = 2.0 * torch.randn(count, 6, generator=generator, dtype=torch.float64)
    return logits, torch.randint(0, 6, (count,), generator=generator)


def test_distances_by_hand() -> None:
    # centres (0, 0), (6, 0) | (0, 8), (6, 8), (3, 8) | (3, 4): two samples of class 0 lie at (-1, 0) and (1, 0)
    outputs = torch.tensor([[-1, 0], [1, 0], [6, 0], [0, 8], [6, 8], [3, 8], [3, 4]], dtype=torch.float64)
    labels = torch.tensor([0, 0, 1, 2, 3, 4, 5])
    dist_c, dist_s = centre_distances(outputs, labels, SUPERCLASSES)
    assert dist_c == pytest.approx(
        (6 + 6 + 3 + 3) / 4, abs=1e-12
    )  # one pair in the first superclass, three in the second
    assert dist_s == pytest.approx((8 + 4 + 4) / 3, abs=1e-12)  # between (3, 0), (3, 8) and (3, 4)


@given(seed=st.integers(0, 10**6))
def test_distances_by_their_definition(seed: int) -> None:
    logits, labels = drawn(seed, count=25)  # some classes may have no sample
    probs = logits.softmax(1)
    centre = {c: probs[labels == c].mean(0).tolist() for c in range(6) if (labels == c).any()}
    members = {s: [c for c in centre if SUPERCLASSES[c] == s] for s in range(3)}
    above = [
        [statistics.fmean(values) for values in zip(*(centre[c] for c in own), strict=True)]
        for own in members.values()
        if own
    ]
    near = [math.dist(centre[a], centre[b]) for own in members.values() for a, b in itertools.combinations(own, 2)]
    far = [math.dist(a, b) for a, b in itertools.combinations(above, 2)]
    dist_c, dist_s = centre_distances(probs, labels, SUPERCLASSES)
    assert dist_c == pytest.approx(statistics.fmean(near), abs=1e-12)
    assert dist_s == pytest.approx(statistics.fmean(far), abs=1e-12)
    assert 0.0 <= dist_c <= math.sqrt(2)
    assert 0.0 <= dist_s <= math.sqrt(2)


def test_distances_without_pairs() -> None:
    outputs, labels = torch.eye(2), torch.tensor([0, 1])
    assert centre_distances(outputs, labels, torch.tensor([0, 1]))[0] is None
    assert centre_distances(outputs, labels, torch.tensor([0, 0]))[1] is None


@given(seed=st.integers(0, 10**6))
def test_the_order_of_samples_and_the_names_of_superclasses_do_not_matter(seed: int) -> None:
    logits, labels = drawn(seed)
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(seed))
    renamed = torch.tensor([7, 3, 5])[SUPERCLASSES]
    one, other = (
        centre_distances(logits, labels, SUPERCLASSES),
        centre_distances(logits[order], labels[order], renamed),
    )
    assert one == pytest.approx(other, abs=1e-12)
    assert coarse_accuracy(logits, labels, SUPERCLASSES) == coarse_accuracy(logits[order], labels[order], renamed)


@given(seed=st.integers(0, 10**6))
def test_coarse_accuracy_lies_between_accuracy_and_1(seed: int) -> None:
    logits, labels = drawn(seed)
    share = coarse_accuracy(logits, labels, SUPERCLASSES)
    by_hand = [
        int(SUPERCLASSES[row.argmax()] == SUPERCLASSES[label]) for row, label in zip(logits, labels, strict=True)
    ]
    assert share == pytest.approx(statistics.fmean(by_hand))
    assert accuracy(logits, labels) <= share <= 1.0
    assert coarse_accuracy(logits, labels, torch.arange(6)) == accuracy(logits, labels)
    assert coarse_accuracy(logits, labels, torch.zeros(6, dtype=torch.int64)) == 1.0


@given(seed=st.integers(0, 10**6))
def test_the_share_within_superclasses(seed: int) -> None:
    logits, labels = drawn(seed)
    counts = second_choices(logits, labels)
    within = away = chance = 0.0
    for c, j in itertools.permutations(range(6), 2):
        images = int(counts[c, j])
        within += images * (SUPERCLASSES[c] == SUPERCLASSES[j]).item()
        away += images
        chance += images * (int((SUPERCLASSES[c] == SUPERCLASSES).sum()) - 1) / 5
    assert superclass_share(counts, SUPERCLASSES) == pytest.approx((within / away, chance / away))
    assert counts.diag().sum() == len(labels) - away  # and was not changed


def test_no_choice_of_another_class_has_no_share() -> None:
    assert superclass_share(torch.diag(torch.tensor([3, 1])), torch.tensor([0, 0])) is None


def test_a_class_in_two_superclasses() -> None:
    with pytest.raises(ValueError, match=r"class 1 is in the superclasses \[0, 4\]"):
        superclasses_of(torch.tensor([0, 1, 1]), torch.tensor([0, 0, 4]), 2)
