"""Reliability and temperature scaling: by hand, against scipy, and what fitting must never do."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar
from tests.functional.inputs import LABELS, STUDENT

from tutelage.evaluation import accuracy, ece, nll
from tutelage.evaluation.calibration import FOLDS, cross_fit, fit_temperature, reliability


def drawn(seed: int, count: int = 60, classes: int = 5, scale: float = 3.0) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits that are better than chance."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, classes, (count,), generator=generator)
    logits = torch.randn(count, classes, generator=generator, dtype=torch.float64)
    return scale * (logits + torch.nn.functional.one_hot(labels, classes)), labels


def test_reliability_by_hand() -> None:
    logits = torch.tensor([[0.5, 0.5], [0.9, 0.1], [0.2, 0.8], [0.7, 0.3]], dtype=torch.float64).log()
    diagram = reliability(logits, torch.tensor([0, 0, 0, 1]), bins=4)  # 0.5 lies in (0.25, 0.5]
    assert diagram.images.tolist() == [0, 1, 1, 2]
    np.testing.assert_allclose(diagram.confidence, [np.nan, 0.5, 0.7, 0.85], atol=1e-12)
    np.testing.assert_allclose(diagram.accuracy, [np.nan, 1.0, 0.0, 0.5], atol=1e-12)


@given(seed=st.integers(0, 10**6), bins=st.integers(1, 20))
def test_the_calibration_error_is_that_of_the_diagram(seed: int, bins: int) -> None:
    logits, labels = drawn(seed)
    diagram = reliability(logits, labels, bins)
    share = diagram.images.double() / len(labels)
    assert diagram.images.sum() == len(labels)
    gaps = (share * (diagram.accuracy - diagram.confidence).abs()).nan_to_num()
    assert gaps.sum().item() == pytest.approx(ece(logits, labels, bins), abs=1e-12)
    assert (share * diagram.accuracy).nan_to_num().sum().item() == pytest.approx(accuracy(logits, labels))


def test_temperatures_by_hand() -> None:
    for gap, right, count in ((2.0, 3, 4), (0.1, 9, 10), (50.0, 51, 100)):  # sigmoid(gap / T) = right / count
        labels = torch.tensor([0] * right + [1] * (count - right))
        logits = torch.tensor([[gap, 0.0]], dtype=torch.float64).expand(count, 2)
        odds = right / (count - right)
        assert fit_temperature(logits, labels) == pytest.approx(gap / math.log(odds), rel=1e-10)


def test_against_scipy() -> None:
    def at(inverse: float) -> float:
        return nll(inverse * STUDENT, LABELS)

    best = minimize_scalar(at, bounds=(1e-6, 20.0), method="bounded", options={"xatol": 1e-10})
    assert fit_temperature(STUDENT, LABELS) == pytest.approx(1.0 / best.x, rel=1e-6)


@given(seed=st.integers(0, 10**6), scale=st.floats(1e-3, 1e3))
def test_fitting_never_raises_the_nll(seed: int, scale: float) -> None:
    logits, labels = drawn(seed, scale=scale)
    temperature = fit_temperature(logits, labels)
    assert temperature is not None
    at = {factor: nll(logits / (factor * temperature), labels) for factor in (0.99, 1.0, 1.01)}
    assert at[1.0] <= nll(logits, labels) * (1 + 1e-12)
    assert at[1.0] <= min(at.values()) + 1e-12
    assert fit_temperature(logits / temperature, labels) == pytest.approx(
        1.0, rel=1e-8
    )  # nothing remains to be fitted


@given(seed=st.integers(0, 10**6))
def test_the_order_of_the_samples_does_not_matter(seed: int) -> None:
    logits, labels = drawn(seed)
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(seed))
    assert fit_temperature(logits, labels) == pytest.approx(fit_temperature(logits[order], labels[order]), rel=1e-10)


def test_where_no_temperature_is_best() -> None:
    logits, labels = drawn(1)
    right = logits.clone()
    right[torch.arange(len(labels)), labels] = 100.0
    backwards = -right
    flat = torch.zeros_like(logits)
    assert [fit_temperature(each, labels) for each in (right, backwards, flat)] == [None] * 3
    assert cross_fit(right, labels) is None


@given(seed=st.integers(0, 10**6), row=st.integers(0, 59))
def test_no_sample_is_scaled_by_a_temperature_fitted_on_its_label(seed: int, row: int) -> None:
    logits, labels = drawn(seed)
    before = cross_fit(logits, labels)
    assume(before is not None)
    assert before is not None
    assert len(before.unique()) == FOLDS
    changed = labels.clone()
    changed[row] = (labels[row] + 1) % 5
    after = cross_fit(logits, changed)
    assume(after is not None)
    assert after is not None
    assert after[row] == before[row]
    others = before != before[row]
    assert not (after[others] == before[others]).any()  # all other folds were fitted with it


def test_with_few_samples_each_is_a_fold() -> None:
    logits, labels = torch.tensor([[1.0, 0.0], [2.0, 0.0], [3.0, 0.0]]), torch.tensor([1, 0, 1])
    assert cross_fit(logits, labels) is None  # the labels of a fold are all the same
    logits, labels = drawn(3, count=7)
    temperatures = cross_fit(logits, labels)
    assert temperatures is None or temperatures.shape == (7,)
