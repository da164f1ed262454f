"""Agreement of two networks: worked values, numpy, and that a network agrees with itself."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tests.functional.inputs import STUDENT, TEACHER

from tutelage.evaluation import ensemble
from tutelage.evaluation.agreement import agreement, divergence, logit_correlation


def drawn(seed: int) -> torch.Tensor:
    return 3.0 * torch.randn(30, 6, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_golden() -> None:
    assert agreement(TEACHER, STUDENT) == pytest.approx(1 / 3)  # they predict 0, 2, 1 and 1, 2, 3
    assert divergence(TEACHER, STUDENT) == pytest.approx(0.375635, abs=5e-7)
    by_row = [np.corrcoef(one, other)[0, 1] for one, other in zip(TEACHER.numpy(), STUDENT.numpy(), strict=True)]
    assert logit_correlation(TEACHER, STUDENT) == pytest.approx(np.mean(by_row), abs=1e-12)


@given(seed=st.integers(0, 10**6), temperature=st.floats(0.1, 10.0))
def test_of_a_network_with_itself_and_another(seed: int, temperature: float) -> None:
    one, other = drawn(seed), drawn(seed + 1)
    assert (agreement(one, one), divergence(one, one)) == (1.0, pytest.approx(0.0, abs=1e-12))
    assert logit_correlation(one, one / temperature + 7.0) == pytest.approx(1.0)
    assert logit_correlation(one, -one) == pytest.approx(-1.0)
    assert agreement(one, other) == agreement(other, one)
    assert divergence(one, other) > 0.0
    assert -1.0 <= logit_correlation(one, other) <= 1.0
    order = torch.randperm(30, generator=torch.Generator().manual_seed(seed))
    for measure in (agreement, divergence, logit_correlation):
        assert measure(one[order], other[order]) == pytest.approx(measure(one, other), abs=1e-12)


def test_a_constant_row_correlates_with_nothing() -> None:
    assert logit_correlation(torch.tensor([[2.0, 2.0], [1.0, 0.0]]), torch.tensor([[1.0, 0.0], [3.0, 0.0]])) == 0.5


@given(seed=st.integers(0, 10**6))
def test_ensembles_of_one_and_with_shares(seed: int) -> None:
    one, other = drawn(seed), drawn(seed + 1)
    torch.testing.assert_close(ensemble([one]), one.log_softmax(1), rtol=0, atol=0)
    weighted = 0.25 * one.softmax(1) + 0.75 * other.softmax(1)
    torch.testing.assert_close(ensemble([one, other], (1.0, 3.0)).softmax(1), weighted)
    torch.testing.assert_close(ensemble([one, other], (2.0, 2.0)), ensemble([other, one]))
