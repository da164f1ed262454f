"""Sorted scores and second choices: by hand, and what must hold whatever the scores."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tests.functional.inputs import LABELS, STUDENT

from tutelage.evaluation import energy
from tutelage.evaluation.scores import concentration, quantiles, second_choices, sorted_scores


def drawn(seed: int, count: int = 40, classes: int = 5) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    logits = 3.0 * torch.randn(count, classes, generator=generator, dtype=torch.float64)
    return logits, torch.randint(0, classes, (count,), generator=generator)


def test_golden() -> None:
    expected = [[0.609460, 0.224208, 0.135989], [0.529897, 0.238098, 0.144414], [0.714233, 0.130479, 0.096661]]
    torch.testing.assert_close(
        sorted_scores(STUDENT, ranks=3), torch.tensor(expected, dtype=torch.float64), atol=5e-7, rtol=0
    )
    # the second places are 0, 3 and 2, the labels 0, 2 and 3: the first is the label itself
    counts = second_choices(STUDENT, LABELS)
    assert counts.tolist() == [[1, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 1], [0, 0, 1, 0]]
    assert concentration(counts) == 1.0


@given(seed=st.integers(0, 10**6))
def test_against_sorting_each_row(seed: int) -> None:
    logits, labels = drawn(seed)
    counts = torch.zeros(5, 5, dtype=torch.int64)
    for row, label in zip(logits.tolist(), labels.tolist(), strict=True):
        counts[label, sorted(range(5), key=lambda k: -row[k])[1]] += 1
    assert torch.equal(second_choices(logits, labels), counts)
    assert torch.equal(counts.sum(1), labels.bincount(minlength=5))
    assert 1 / 5 <= concentration(counts) <= 1.0
    assert sorted_scores(logits, 5).mean(0).tolist() == pytest.approx(energy(logits))


@given(seed=st.integers(0, 10**6))
def test_the_order_of_the_samples_does_not_matter(seed: int) -> None:
    logits, labels = drawn(seed)
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(seed))
    assert torch.equal(second_choices(logits, labels), second_choices(logits[order], labels[order]))
    one, other = (quantiles(each[:, 0], [0.0, 0.3, 1.0]) for each in (logits, logits[order]))
    assert one == other
    assert one[0] == logits[:, 0].min()
    assert one[2] == logits[:, 0].max()


def test_one_class_has_no_second() -> None:
    with pytest.raises(ValueError, match="at least two classes"):
        second_choices(torch.zeros(3, 1), torch.zeros(3, dtype=torch.int64))
