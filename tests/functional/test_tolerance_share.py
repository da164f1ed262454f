"""The score difference over all classes near the best: by hand, against the fixed k, and its optimum."""

from __future__ import annotations

import re

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from tutelage import functional as F
from tutelage import serialization
from tutelage.lineage import expected_scores
from tutelage.methods.tolerant import tolerant_patriarch, tolerant_student
from tutelage.objective import ScoreDifference, ScoreDifferenceByShare, Signals, Term, expected_primary
from tutelage.recipes.tolerant import tolerant

from .inputs import LABELS, STUDENT, gradient, near, random_logits, repeatable, seeds

# each row's scores as shares of its best: 0.368 0.223 0.050, 0.449 0.273 0.165, 0.183 0.135 0.082
BY_HAND = [
    (0.1, None, [0.429362, 0.373196, 0.600663]),
    (0.1, 3, [0.429362, 0.338641, 0.600663]),
    (0.3, None, [0.385252, 0.291799, 0.583754]),
    (1.0, None, [0.385252, 0.291799, 0.583754]),
    (0.01, 2, [0.385252, 0.291799, 0.583754]),
]


@pytest.mark.parametrize(("share", "max_k", "values"), BY_HAND)
def test_values(share: float, max_k: int | None, values: list[float]) -> None:
    near(F.score_difference_by_share(STUDENT, share, max_k), values)


def by_loop(logits: Tensor, share: float, max_k: int | None) -> Tensor:
    values = []
    for row in logits.softmax(1):
        best, second, *others = row.sort(descending=True).values
        near_best = [score for score in others[: (max_k or len(row)) - 2] if score > share * best]
        values.append(best - torch.stack([second, *near_best]).mean())
    return torch.stack(values)


SIGNALS = Signals(student_logits=STUDENT, labels=LABELS)
counts = st.none() | st.integers(2, 12)


@repeatable
@given(seeds, st.integers(2, 9), st.floats(0.001, 1.0), counts)
def test_each_sample_has_its_own_classes(seed: int, classes: int, share: float, max_k: int | None) -> None:
    logits = random_logits(seed, 6, classes).requires_grad_()
    actual, expected = F.score_difference_by_share(logits, share, max_k), by_loop(logits, share, max_k)
    torch.testing.assert_close(actual, expected)
    torch.testing.assert_close(gradient(actual, logits), gradient(expected, logits))


@repeatable
@given(seeds, st.integers(2, 6))
def test_a_share_below_every_score_is_the_fixed_k_and_a_share_of_one_is_two(seed: int, k: int) -> None:
    logits = random_logits(seed, 5, 6, spread=1.0)
    torch.testing.assert_close(F.score_difference_by_share(logits, 1e-9, k), F.score_difference(logits, k))
    torch.testing.assert_close(F.score_difference_by_share(logits, 1.0, k), F.score_difference(logits, 2))


@repeatable
@given(seeds, st.floats(0.001, 1.0), st.floats(0.001, 1.0))
def test_it_grows_as_fewer_classes_need_to_come_near(seed: int, one: float, other: float) -> None:
    logits = random_logits(seed, 5, 8)
    wide = F.score_difference_by_share(logits, min(one, other))
    narrow = F.score_difference_by_share(logits, max(one, other))
    assert (wide >= narrow - 1e-12).all()
    assert ((narrow >= 0.0) & (wide <= 1.0)).all()


def test_gradients_are_those_of_the_value() -> None:
    logits = random_logits(1, 5, 6).requires_grad_()
    assert torch.autograd.gradcheck(lambda z: F.score_difference_by_share(z, 0.1, 4), (logits,))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_far_too_sure_and_equal_scores_are_finite(dtype: torch.dtype) -> None:
    for logits in (1e4 * random_logits(1, 5, 6).to(dtype), torch.zeros(5, 6, dtype=dtype)):
        actual = F.score_difference_by_share(logits.requires_grad_(), 0.5)
        assert actual.dtype == dtype
        assert actual.isfinite().all()
        assert gradient(actual, logits).isfinite().all()


def test_no_value_is_read() -> None:
    assert F.score_difference_by_share(torch.zeros(5, 6, device="meta"), 0.1, 4).shape == (5,)


@pytest.mark.parametrize(
    ("logits", "share", "max_k", "message"),
    [
        (STUDENT[0], 0.1, None, "logits must be [B, K], got [4]"),
        (STUDENT[:, :1], 0.1, None, "num_classes must be at least 2, got 1"),
        (STUDENT, 0.0, None, "share must be in (0, 1], got 0.0"),
        (STUDENT, 1.1, None, "share must be in (0, 1], got 1.1"),
        (STUDENT, float("nan"), None, "share must be in (0, 1], got nan"),
        (STUDENT, 0.1, 1, "max_k must be at least 2, got 1"),
        (STUDENT, 0.1, 0, "max_k must be at least 2, got 0"),
    ],
)
def test_refuses(logits: Tensor, share: float, max_k: int | None, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        F.score_difference_by_share(logits, share, max_k)


@pytest.mark.parametrize("share", [0.05, 0.3, 0.9])
@pytest.mark.parametrize("max_k", [None, 3])
@pytest.mark.parametrize("eta", [0.1, 1 / 3, 0.4, 1 / 2.2, 0.5, 0.7])
def test_nothing_on_the_simplex_is_better_than_one_secondary_class(
    share: float, max_k: int | None, eta: float
) -> None:
    # the label at u(eta) for two classes and one other class with all the rest: the derived optimum
    primary = F.primary_for_tolerance(eta, 2)
    generator = torch.Generator().manual_seed(3)
    drawn = [torch.rand(20_000, 6, dtype=torch.float64, generator=generator) ** power for power in (1, 3, 12)]
    corners = torch.tensor([[0.0] * 6, [0.5, 0.5, 0, 0, 0, 0], [1 / 3, 1 / 3, 1 / 3, 0, 0, 0]], dtype=torch.float64)
    corners[0, 0], corners[0, 1] = primary, 1.0 - primary
    scores = torch.cat([corners, *(points / points.sum(1, keepdim=True) for points in drawn)])
    difference = F.score_difference_by_share(scores.log(), share, max_k)
    losses = -(1.0 - eta) * scores[:, 0].log() + eta * difference
    assert losses[0] <= losses.min() + 1e-12


def test_the_term() -> None:
    term = ScoreDifferenceByShare(weight=0.5, share=0.1, max_k=3)
    assert isinstance(term, Term)
    assert not term.needs_teacher
    near(term(SIGNALS), [0.5 * value for value in BY_HAND[1][2]])
    assert term.formula() == "0.5 D(student; scores above 0.1 of the best, at most 3)"
    assert ScoreDifferenceByShare(weight=1.0, share=0.25).formula() == "D(student; scores above 0.25 of the best)"
    assert serialization.from_json(serialization.to_json(term)) == term
    for wrong, message in (({"share": 0.0}, "not 0.0"), ({"share": 1.5}, "not 1.5"), ({"max_k": 1}, "max_k = 1")):
        with pytest.raises(ValueError, match=message):
            ScoreDifferenceByShare(**{"weight": 0.5, "share": 0.1} | wrong)


def test_the_patriarch() -> None:
    patriarch = tolerant_patriarch(primary=0.6, k=5, share=0.1)
    near(patriarch(SIGNALS).total, 0.661118)
    near(tolerant_patriarch(primary=0.6, k=3, share=0.1)(SIGNALS).total, 0.655883)
    assert expected_primary(patriarch, num_classes=100) == pytest.approx(0.6)
    with pytest.raises(ValueError, match=re.escape("primary must be in [0.5, 1], got 0.4")):
        tolerant_patriarch(primary=0.4, share=0.1)


def test_without_a_share_nothing_changes() -> None:
    assert isinstance(tolerant_patriarch().terms[1], ScoreDifference)
    assert "share" not in str(serialization.to_json(tolerant_patriarch()))
    assert "share" not in str(serialization.to_json(tolerant_student(tolerance=0.5)))
    assert tolerant_student(share=0.1) == tolerant_student()


def test_the_lineage() -> None:
    line = tolerant(generations=1, share=0.1, tolerance=0.2)
    assert [str(generation.objective) for generation in line.generations] == [
        "0.545455 H(labels, student) + 0.454545 D(student; scores above 0.1 of the best, at most 5)",
        (
            "0.32 H(labels, student) + 0.48 KL(teacher ‖ student) + "
            "0.2 D(student; scores above 0.1 of the best, at most 5)"
        ),
    ]
    assert expected_scores(line, 10) == pytest.approx((0.6, 0.6456), abs=1e-6)


def test_training_on_it_ends_at_the_wanted_score() -> None:
    logits = torch.linspace(1.0, -1.0, 10, dtype=torch.float64)[None].requires_grad_()
    eta = F.tolerance_for_primary(0.6, 2)
    optimizer = torch.optim.Adam([logits], lr=0.05)
    label = F.one_hot(torch.tensor([0]), 10, torch.float64)
    for _ in range(800):
        optimizer.zero_grad()
        loss = (1.0 - eta) * F.cross_entropy(label, logits) + eta * F.score_difference_by_share(logits, 0.1, 5)
        loss.sum().backward()
        optimizer.step()
    assert logits.detach().softmax(1)[0, 0].item() == pytest.approx(0.6, abs=5e-3)
