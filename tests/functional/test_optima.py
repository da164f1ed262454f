"""The scores at the optimum, against minimisations that know nothing of the derivations."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from tests.functional.inputs import near, random_logits, repeatable
from tutelage import functional as F

DOUBLE = torch.float64
Objective = Callable[[Tensor], Tensor]
"""The loss ``[B]`` of logits ``[B, K]``."""


def distributions(seed: int, count: int, classes: int, spread: float = 1.0) -> Tensor:
    return random_logits(seed, count, classes, spread=spread).softmax(1)


def matching(targets: Tensor, weights: Sequence[float], temperatures: Sequence[float]) -> Objective:
    def loss(logits: Tensor) -> Tensor:
        terms = zip(targets, weights, temperatures, strict=True)
        return torch.stack([w * F.cross_entropy(t.expand_as(logits), logits, tau) for t, w, tau in terms]).sum(0)

    return loss


def lowest(loss: Objective, classes: int) -> float:
    """The smallest loss that a search finds: points all over the simplex, then ever closer to the best of them."""
    points = torch.cat([random_logits(place, 1000, classes, spread=spread) for place, spread in enumerate((1, 3, 9))])
    best = math.inf
    for number, radius in enumerate(3.0 * 0.5**step for step in range(20)):
        losses = loss(points)
        if float(losses.min()) < best:
            best, centre = float(losses.min()), points[losses.argmin()]
        points = centre + radius * random_logits(number, 200, classes, spread=1.0)
    return best


def at(loss: Objective, scores: Tensor) -> float:
    return float(loss(scores.clamp_min(1e-300).log()[None]))


TEMPERATURES = [(1.0, 1.0), (1.0, 4.0), (3.0, 1.5)]


@pytest.mark.parametrize("temperatures", [*TEMPERATURES, (0.5, 1.0)], ids=str)
@pytest.mark.parametrize("classes", [2, 3, 5])
def test_matching_at_several_temperatures(classes: int, temperatures: tuple[float, float]) -> None:
    """LBFGS on the logits ends at the same scores."""
    targets = distributions(1, 2, classes, spread=1.5)
    weights = (0.4, 0.6 * temperatures[1] ** 2)
    loss = matching(targets, weights, temperatures)
    logits = torch.zeros(1, classes, dtype=DOUBLE, requires_grad=True)
    descent = torch.optim.LBFGS(
        [logits], max_iter=500, tolerance_grad=1e-13, tolerance_change=1e-17, line_search_fn="strong_wolfe"
    )

    def closure() -> Tensor:
        descent.zero_grad()
        value = loss(logits).sum()
        value.backward()  # type: ignore[no-untyped-call]
        return value

    descent.step(closure)
    scores = F.matched_optimum(targets, weights, temperatures)
    torch.testing.assert_close(scores, logits.detach().softmax(1)[0], rtol=0, atol=1e-6)
    assert at(loss, scores) <= float(loss(logits.detach())) + 1e-14


@repeatable
@given(
    st.integers(0, 10**6),
    st.integers(2, 40),
    st.lists(st.floats(0.2, 30.0), min_size=1, max_size=4),
    st.floats(0.1, 5.0),
)
def test_the_slope_is_zero_where_matching_is_best(
    seed: int, classes: int, temperatures: list[float], spread: float
) -> None:
    targets = distributions(seed, len(temperatures), classes, spread)
    weights = (0.1 + distributions(seed + 1, 1, len(temperatures))[0]).tolist()
    scores = F.matched_optimum(targets, weights, temperatures)
    near(scores.sum(), 1.0, within=1e-12)
    logits = scores.log()[None].requires_grad_()
    (slope,) = torch.autograd.grad(matching(targets, weights, temperatures)(logits).sum(), logits)
    assert float(slope.abs().max()) < 1e-11


def test_matching_one_target_gives_the_target_back() -> None:
    target = torch.tensor([[0.7, 0.2, 0.1, 0.0]], dtype=DOUBLE)
    for temperature in (0.5, 1.0, 4.0, 20.0):
        scores = F.matched_optimum(F.temper(target, temperature), [3.0], [temperature])
        torch.testing.assert_close(scores, target[0], rtol=0, atol=1e-12)
    one_hot = torch.tensor([[0.0, 1.0], [0.0, 1.0]])
    assert F.matched_optimum(one_hot, [0.1, 14.4], [1.0, 4.0]).tolist() == [0.0, 1.0]


def test_golden_optima() -> None:
    """By hand: classes of equal scores leave one unknown, which a bisection of the slope finds.

    Matching: labels of weight 1/2 and a teacher of 0.6, 0.2, 0.2 at temperature 2, weight 1/2 times 4.
    Tolerance: labels 0.4, teacher 0.6, 0.4 on four classes, of weight 0.6, times 0.8, and 0.2 D_5: f_1 and 1 - f_1
    solve a quadratic, 0.608 / (mu + 0.2) + 0.192 / (mu - 0.05) = 1.
    """
    label = torch.eye(3, dtype=DOUBLE)[:1]
    teacher = torch.tensor([[0.6, 0.2, 0.2]], dtype=DOUBLE)
    scores = F.matched_optimum(torch.cat([label, F.temper(teacher, 2.0)]), [0.5, 2.0], [1.0, 2.0])
    low, high = 0.34, 0.999999
    while high - low > 1e-14:
        p = (low + high) / 2
        other = (1 - p) / 2
        tempered = p**0.5 / (p**0.5 + 2 * other**0.5)
        wanted = 0.6**0.5 / (0.6**0.5 + 2 * 0.2**0.5)
        low, high = (p, high) if 0.5 * (p - 1) + 2.0 / 2 * (tempered - wanted) < 0 else (low, p)
    near(scores[0], p, within=1e-12)

    label = torch.eye(6, dtype=DOUBLE)[:1]
    teacher = torch.tensor([[0.6, 0.1, 0.1, 0.1, 0.1, 0.0]], dtype=DOUBLE)
    scores = F.tolerant_optimum(torch.cat([label, teacher]), [0.32, 0.48], [1.0, 1.0], 0.2, k=5)
    b, c = 0.2 - 0.05 - 0.8, -0.01 + 0.608 * 0.05 - 0.192 * 0.2
    mu = (-b + math.sqrt(b * b - 4 * c)) / 2
    near(scores[0], 0.608 / (mu + 0.2), within=1e-12)
    near(scores[1:5], [0.192 / (mu - 0.05) / 4] * 4, within=1e-12)
    assert scores[5] == 0.0


@pytest.mark.parametrize("temperatures", TEMPERATURES, ids=str)
@pytest.mark.parametrize("tolerance", [0.05, 0.4, 2.0])
@pytest.mark.parametrize(("classes", "k"), [(3, 2), (4, 3)])
def test_no_search_finds_less_than_the_tolerant_optimum(
    classes: int, k: int, tolerance: float, temperatures: tuple[float, float]
) -> None:
    label = torch.eye(classes, dtype=DOUBLE)[:1]
    teacher = torch.tensor([[0.5, 0.3, 0.15, 0.05][:classes]], dtype=DOUBLE)
    targets = torch.cat([label, F.temper(teacher / teacher.sum(), temperatures[1])])
    weights = (0.4, 0.6 * temperatures[1])
    matched = matching(targets, weights, temperatures)

    def loss(logits: Tensor) -> Tensor:
        return matched(logits) + tolerance * F.score_difference(logits, k)

    scores = F.tolerant_optimum(targets, weights, temperatures, tolerance, k)
    near(scores.sum(), 1.0, within=1e-12)
    assert at(loss, scores) <= lowest(loss, classes) + 1e-9


@pytest.mark.parametrize("temperatures", [(1.0, 1.0), (1.0, 4.0)], ids=str)
@pytest.mark.parametrize(("share", "max_k"), [(0.05, None), (0.3, None), (0.3, 3), (0.9, 3)])
@pytest.mark.parametrize("tolerance", [0.1, 1.5])
def test_no_search_finds_less_than_the_optimum_by_share(
    share: float, tolerance: float, max_k: int | None, temperatures: tuple[float, float]
) -> None:
    targets = torch.tensor([[1.0, 0.0, 0.0, 0.0], [0.45, 0.25, 0.2, 0.1]], dtype=DOUBLE)
    weights = (0.4, 0.6 * temperatures[1])
    matched = matching(targets, weights, temperatures)

    def loss(logits: Tensor) -> Tensor:
        return matched(logits) + tolerance * F.score_difference_by_share(logits, share, max_k)

    scores = F.tolerant_optimum_by_share(targets, weights, temperatures, tolerance, share, max_k)
    near(scores.sum(), 1.0, within=1e-12)
    # A score exactly at the share of the highest does not count, whatever a logarithm and back makes of it.
    assert at(loss, (scores + torch.tensor([1e-13, 0, 0, 0])).to(DOUBLE)) <= lowest(loss, 4) + 1e-9


@repeatable
@given(st.integers(0, 10**6), st.integers(2, 12), st.data())
def test_nothing_on_the_simplex_is_better(seed: int, classes: int, data: st.DataObject) -> None:
    """Any targets, in any order, at any temperatures: neither far from the optimum nor beside it."""
    k = data.draw(st.integers(2, classes))
    tolerance = data.draw(st.floats(0.0, 3.0))
    temperatures = data.draw(st.sampled_from([[1.0], [1.0, 1.0], [1.0, 2.5], [4.0]]))
    targets = distributions(seed, len(temperatures), classes, spread=2.0)
    weights = [0.3, 0.7][: len(temperatures)]
    matched = matching(targets, weights, temperatures)
    scores = F.tolerant_optimum(targets, weights, temperatures, tolerance, k)
    far = distributions(seed + 1, 300, classes, spread=2.0)
    beside = (scores.log() + random_logits(seed + 2, 300, classes, spread=1e-3)).softmax(1)
    tied = scores.repeat(classes, 1)  # the label's score given to another class
    tied[torch.arange(classes), torch.arange(classes)] = scores.max()
    others = torch.cat([far, beside, targets, tied / tied.sum(1, keepdim=True)])

    def loss(probs: Tensor) -> Tensor:
        top = probs.sort(descending=True, dim=1).values
        return matched(probs.log()) + tolerance * (top[:, 0] - top[:, 1:k].mean(1))

    assert float(loss(scores[None])) <= float(loss(others).min()) + 1e-12


@repeatable
@given(st.integers(2, 30), st.data(), st.floats(0.0, 0.99))
def test_labels_alone_end_at_the_closed_forms(classes: int, data: st.DataObject, eta: float) -> None:
    k = data.draw(st.integers(2, classes))
    label = torch.eye(classes, dtype=DOUBLE)[:1]
    scores = F.tolerant_optimum(label, [1 - eta], [1.0], eta, k)
    near(scores[0], F.primary_for_tolerance(eta, k), within=1e-12)
    near(scores[1:k], [(1 - float(scores[0])) / (k - 1)] * (k - 1), within=1e-12)
    by_share = F.tolerant_optimum_by_share(label, [1 - eta], [1.0], eta, 0.2, k)
    near(by_share[0], F.primary_for_tolerance(eta, 2), within=1e-12)
    penalty = 5 * eta
    near(F.penalized_optimum(label[0], penalty)[0], F.primary_for_penalty(penalty, classes), within=1e-12)


@repeatable
@given(st.integers(0, 10**6), st.integers(2, 9), st.floats(0.0, 5.0))
def test_a_penalty_on_any_target(seed: int, classes: int, penalty: float) -> None:
    (target,) = distributions(seed, 1, classes, spread=3.0)
    scores = F.penalized_optimum(target, penalty)
    near(scores.sum(), 1.0, within=1e-12)
    logits = scores.log()[None].requires_grad_()
    loss = F.cross_entropy(target[None], logits) + penalty * F.confidence_penalty(logits)
    (slope,) = torch.autograd.grad(loss.sum(), logits)
    assert float(slope.abs().max()) < 1e-10
    for order in (target.argsort(), target.argsort(descending=True)):
        torch.testing.assert_close(F.penalized_optimum(target[order], penalty), scores[order], rtol=0, atol=1e-12)


@pytest.mark.parametrize("threshold", [0.0, 0.4, 0.7, 1.0, 5.0])
@pytest.mark.parametrize("penalty", [0.2, 2.0])
def test_no_search_finds_less_than_a_penalty_with_a_threshold(threshold: float, penalty: float) -> None:
    target = torch.tensor([0.85, 0.1, 0.05], dtype=DOUBLE)

    def loss(logits: Tensor) -> Tensor:
        return F.cross_entropy(target.expand_as(logits), logits) + penalty * F.confidence_hinge(logits, threshold)

    assert at(loss, F.penalized_optimum(target, penalty, threshold)) <= lowest(loss, 3) + 1e-9


def test_the_order_of_the_classes_does_not_matter() -> None:
    targets = distributions(3, 2, 7)
    order = torch.randperm(7, generator=torch.Generator().manual_seed(1))
    for optimum in (
        lambda t: F.matched_optimum(t, [0.4, 2.4], [1.0, 2.0]),
        lambda t: F.tolerant_optimum(t, [0.4, 2.4], [1.0, 2.0], 0.3, 4),
        lambda t: F.tolerant_optimum_by_share(t, [0.4, 0.6], [1.0, 1.0], 0.3, 0.4),
    ):
        torch.testing.assert_close(optimum(targets[:, order]), optimum(targets)[order], rtol=0, atol=1e-12)
        assert optimum(targets.float()).dtype == DOUBLE


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda t: F.matched_optimum(t[0], [1.0], [1.0]), "targets must be [B, K], got [3]"),
        (
            lambda t: F.matched_optimum(t, [1.0], [1.0, 1.0]),
            "targets [2, 3] need a weight and a temperature each, got 1 and 2",
        ),
        (lambda t: F.matched_optimum(2 * t, [1.0, 1.0], [1.0, 1.0]), "scores of at least 0 that sum to 1"),
        (lambda t: F.matched_optimum(t - 0.5, [1.0, 1.0], [1.0, 1.0]), "scores of at least 0 that sum to 1"),
        (lambda t: F.matched_optimum(t * math.nan, [1.0, 1.0], [1.0, 1.0]), "scores of at least 0 that sum to 1"),
        (lambda t: F.matched_optimum(t, [1.0, -1.0], [1.0, 1.0]), "weight must be in [0, 1.79769e+308], got -1.0"),
        (lambda t: F.matched_optimum(t, [1.0, math.inf], [1.0, 1.0]), "got inf"),
        (lambda t: F.matched_optimum(t, [0.0, 0.0], [1.0, 1.0]), "one weight at least must be above 0"),
        (
            lambda t: F.matched_optimum(t, [1.0, 1.0], [1.0, 0.0]),
            "temperature must be a finite number above 0, got 0.0",
        ),
        (lambda t: F.tolerant_optimum(t, [1.0, 1.0], [1.0, 0.5], 0.1, 2), "temperature must be at least 1, got 0.5"),
        (lambda t: F.tolerant_optimum(t, [1.0, 1.0], [1.0, 1.0], -0.1, 2), "tolerance must be in"),
        (
            lambda t: F.tolerant_optimum(t, [1.0, 1.0], [1.0, 1.0], 0.1, 4),
            "k must be from 2 to the number of classes, 3, got 4",
        ),
        (lambda t: F.tolerant_optimum(t, [1.0, 1.0], [1.0, 1.0], 0.1, 1), "got 1"),
        (
            lambda t: F.tolerant_optimum_by_share(t, [1.0, 1.0], [1.0, 1.0], 0.1, 0.0),
            "share must be in (0, 1], got 0.0",
        ),
        (
            lambda t: F.tolerant_optimum_by_share(t, [1.0, 1.0], [1.0, 1.0], 0.1, 0.5, 1),
            "max_k must be at least 2, got 1",
        ),
        (lambda t: F.penalized_optimum(t[0], -1.0), "penalty must be in"),
        (lambda t: F.penalized_optimum(t[0], 1.0, math.nan), "threshold must be in"),
        (lambda t: F.penalized_optimum(t, 1.0), "targets must be [B, K], got [1, 2, 3]"),
    ],
)
def test_errors(call: Callable[[Tensor], Tensor], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        call(torch.tensor([[0.5, 0.3, 0.2], [0.2, 0.3, 0.5]], dtype=DOUBLE))
