"""The measures against independent computations: scikit-learn, and loops over the definition."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import log_loss, top_k_accuracy_score

from tutelage.evaluation import accuracy, at_chance, ece, energy, ensemble, measure, nll, primary_score


def drawn(seed: int, count: int = 50, classes: int = 7, scale: float = 3.0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    logits = scale * torch.randn(count, classes, generator=generator, dtype=torch.float64)
    return logits, torch.randint(0, classes, (count,), generator=generator)


@given(seed=st.integers(0, 10**6))
def test_against_scikit_learn(seed: int) -> None:
    logits, labels = drawn(seed)
    probs = logits.softmax(1).numpy()
    assert nll(logits, labels) == pytest.approx(log_loss(labels, probs, labels=range(7)), abs=1e-9)
    for top in (1, 5):
        expected = top_k_accuracy_score(labels, logits, k=top, labels=range(7))
        assert accuracy(logits, labels, top) == pytest.approx(expected, abs=1e-12)


@given(seed=st.integers(0, 10**6), bins=st.integers(1, 20))
def test_ece_by_its_definition(seed: int, bins: int) -> None:
    logits, labels = drawn(seed)
    probs = logits.softmax(1)
    confidence, predicted = probs.max(1)
    total = 0.0
    for b in range(bins):
        inside = (confidence > b / bins) & (confidence <= (b + 1) / bins)
        if inside.any():
            right = (predicted == labels)[inside].double().mean()
            total += inside.double().mean().item() * abs(right - confidence[inside].mean()).item()
    assert ece(logits, labels, bins) == pytest.approx(total, abs=1e-9)


def test_a_calibrated_and_an_overconfident_network() -> None:
    labels = torch.tensor([0, 0, 0, 1])
    calibrated = torch.tensor([[0.75, 0.25]]).log().expand(4, 2)
    assert ece(calibrated, labels) == pytest.approx(0.0, abs=1e-7)
    assert ece(torch.tensor([[20.0, 0.0]]).expand(4, 2), labels) == pytest.approx(0.25, abs=1e-6)


@given(seed=st.integers(0, 10**6))
def test_the_energy_is_a_descending_distribution(seed: int) -> None:
    logits, _ = drawn(seed)
    scores = energy(logits)
    assert sum(scores) == pytest.approx(1.0)
    assert scores == sorted(scores, reverse=True)
    assert scores[0] == pytest.approx(logits.softmax(1).max(1).values.mean().item())


@given(seed=st.integers(0, 10**6))
def test_an_ensemble_averages_probabilities(seed: int) -> None:
    members = [drawn(seed + k)[0] for k in range(3)]
    expected = np.mean([member.softmax(1).numpy() for member in members], axis=0)
    np.testing.assert_allclose(ensemble(members).softmax(1).numpy(), expected, atol=1e-12)
    torch.testing.assert_close(ensemble(members[:1]).softmax(1), members[0].softmax(1))


def test_an_ensemble_of_certain_members_stays_finite() -> None:
    certain = torch.tensor([[0.0, 500.0], [500.0, 0.0]])
    probs = ensemble([certain, certain.flip(1)]).softmax(1)
    torch.testing.assert_close(probs, torch.full((2, 2), 0.5, dtype=torch.float64))


def test_the_primary_score_is_that_of_the_label() -> None:
    logits, labels = drawn(3)
    expected = np.mean([logits[i].softmax(0)[labels[i]].item() for i in range(len(labels))])
    assert primary_score(logits, labels) == pytest.approx(expected)


def test_measure_holds_them_all() -> None:
    logits, labels = drawn(4)
    measures = measure(logits.float(), labels)
    assert measures.top1 == accuracy(logits.float(), labels)
    assert isinstance(measures.energy, tuple)
    assert len(measures.energy) == 7
    assert all(isinstance(value, float) for value in (measures.top5, measures.nll, measures.ece, measures.primary))
    assert measures.at_chance is at_chance(logits.float(), labels)
