"""The closed forms of the expected score, against a search over all distributions."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from tests.functional.inputs import repeatable
from tutelage import functional
from tutelage.methods.attention_transfer import attention_transfer
from tutelage.methods.born_again import (
    born_again,
    born_again_labels,
    confidence_weighted,
    permuted_dark_knowledge,
)
from tutelage.methods.confidence_penalty import confidence_penalty
from tutelage.methods.decoupled import decoupled
from tutelage.methods.hinton import distillation, labels_only
from tutelage.methods.label_smoothing import label_smoothing
from tutelage.methods.preparing_lessons import FocalTemperature, Shifted, Smoothed
from tutelage.methods.teacher_free import tf_kd_official, tf_kd_reg, tf_kd_reg_official
from tutelage.methods.tolerant import tolerant_patriarch, tolerant_student
from tutelage.objective import (
    ConfidencePenalty,
    Constant,
    Labels,
    Match,
    Objective,
    Ramp,
    Scaled,
    ScoreDifference,
    Signals,
    TeacherProbs,
    Term,
    beside_labels,
    crossfade,
    expected_primary,
    expected_scores,
)

shares = st.floats(0.02, 0.98)


def signals(logits: Tensor, teacher_primary: float | None) -> Signals:
    """The label is class 0; the teacher gives the others unequal shares."""
    rows, classes = logits.shape
    teacher = None
    if teacher_primary is not None:
        rest = torch.arange(1, classes, dtype=torch.float64)
        shares = torch.cat([torch.tensor([teacher_primary]), (1 - teacher_primary) * rest / rest.sum()])
        teacher = shares.log().expand(rows, classes)
    return Signals(student_logits=logits, labels=torch.zeros(rows).long(), teacher_logits=teacher)


def searched(objective: Objective, classes: int, steps: int, teacher_primary: float | None = None) -> float:
    """The label's score in the best of all distributions whose scores are multiples of ``1 / steps``."""
    axes = [torch.arange(steps + 1)] * (classes - 1)
    rest = torch.cartesian_prod(*axes)
    rest = rest[rest.sum(1) <= steps]
    scores = torch.cat([steps - rest.sum(1, keepdim=True), rest], 1).double() / steps
    candidates = signals(scores.clamp_min(1e-12).log(), teacher_primary)
    losses = torch.stack([term(candidates) for term in objective.terms]).sum(0)
    return float(scores[losses.argmin(), 0])


def descended(objective: Objective, classes: int, teacher_primary: float | None = None) -> float:
    """The label's score where a descent on the logits ends; for objectives without kinks."""
    logits = torch.linspace(0.1, -0.1, classes, dtype=torch.float64)[None].requires_grad_()
    optimizer = torch.optim.LBFGS(
        [logits], max_iter=200, tolerance_grad=1e-10, tolerance_change=1e-15, line_search_fn="strong_wolfe"
    )

    def closure() -> Tensor:
        optimizer.zero_grad()
        total = objective(signals(logits, teacher_primary)).total
        total.backward()
        return total

    optimizer.step(closure)
    return float(logits.detach().softmax(1)[0, 0])


SEARCHED = {
    "labels": (labels_only(), None),
    "smoothed": (label_smoothing(smoothing=0.3), None),
    "smoothed over the others": (label_smoothing(smoothing=0.3, others_only=True), None),
    "penalty": (confidence_penalty(penalty_weight=0.4), None),
    "strong penalty": (confidence_penalty(penalty_weight=5.0), None),
    "born again": (distillation(teacher_weight=1.0, temperature=1.0), 0.35),
    "born again and labels": (born_again_labels(teacher_weight=0.5), 0.5),
    "second generation": (tolerant_student(teacher_weight=0.6), 0.6),
    "weights that do not sum to 1": (distillation(hard_weight=2.0, teacher_weight=0.5, temperature=1.0), 0.3),
    "smoothed beside a teacher": (
        Objective((Match(name="smooth", target=Labels(smoothing=0.5)), Match(name="t", target=TeacherProbs()))),
        0.8,
    ),
    "mean over classes": (tf_kd_official(teacher_weight=0.6, temperature=1.0, multiplier=1.0), 0.6),
}


@pytest.mark.parametrize("name", SEARCHED)
@pytest.mark.parametrize("classes", [3, 4])
def test_is_the_best_of_all_distributions(name: str, classes: int) -> None:
    objective, teacher_primary = SEARCHED[name]
    steps = {3: 500, 4: 60}[classes]
    expected = expected_primary(objective, classes, teacher_primary)
    assert expected == pytest.approx(searched(objective, classes, steps, teacher_primary), abs=1.01 / steps)


@pytest.mark.parametrize(("classes", "k"), [(3, 2), (3, 3), (4, 3), (4, 4)])
@pytest.mark.parametrize("eta", [0.2, 0.45, 4 / 7, 0.65, 0.72, 0.9])
def test_the_score_difference_ends_where_the_closed_form_says(classes: int, k: int, eta: float) -> None:
    objective = beside_labels(1 - eta, ScoreDifference(weight=eta, k=k))
    steps = {3: 600, 4: 60}[classes]
    expected = expected_primary(objective, classes)
    assert expected == pytest.approx(searched(objective, classes, steps), abs=1.01 / steps)
    assert expected == pytest.approx(functional.primary_for_tolerance(eta, k))


@repeatable
@given(st.integers(2, 7), shares, st.booleans())
def test_smoothed_labels(classes: int, smoothing: float, others_only: bool) -> None:
    objective = label_smoothing(smoothing=smoothing, others_only=others_only)
    assert expected_primary(objective, classes) == pytest.approx(descended(objective, classes), abs=1e-5)


@repeatable
@given(st.integers(2, 7), st.floats(0.1, 5.0))
def test_a_confidence_penalty(classes: int, weight: float) -> None:
    objective = confidence_penalty(penalty_weight=weight)
    assert expected_primary(objective, classes) == pytest.approx(descended(objective, classes), abs=1e-5)


@repeatable
@given(st.integers(2, 7), shares, shares)
def test_labels_and_a_teacher(classes: int, weight: float, primary: float) -> None:
    objective = tolerant_student(teacher_weight=weight)
    expected = expected_primary(objective, classes, teacher_primary=primary)
    assert expected == pytest.approx(functional.next_primary(primary, weight))
    assert expected == pytest.approx(descended(objective, classes, primary), abs=1e-5)


@repeatable
@given(st.integers(2, 200), shares)
def test_three_patriarchs_for_one_expected_score(classes: int, primary: float) -> None:
    k = min(classes, 5)
    primary = 1 / k + 0.01 + (1 - 1 / k - 0.01) * primary  # above 1 / k and 1 / classes
    for objective in (
        tolerant_patriarch(primary=primary, k=k),
        label_smoothing(smoothing=functional.smoothing_for_primary(primary, classes)),
        confidence_penalty(penalty_weight=functional.penalty_for_primary(primary, classes)),
    ):
        assert expected_primary(objective, classes) == pytest.approx(primary)


@repeatable
@given(shares, shares, st.floats(0.1, 10.0))
def test_only_the_ratio_of_the_weights_counts(primary: float, weight: float, scale: float) -> None:
    def scaled(term: Term) -> Term:
        if isinstance(term, Match):
            assert isinstance(term.weight, Constant)
            return replace(term, weight=Constant(scale * term.weight.value))
        assert isinstance(term, ScoreDifference | ConfidencePenalty)
        return replace(term, weight=scale * term.weight)

    for objective in (
        tolerant_student(teacher_weight=weight),
        tolerant_patriarch(primary=0.2 + 0.8 * primary),
        confidence_penalty(penalty_weight=weight),
    ):
        larger = Objective(tuple(scaled(term) for term in objective.terms))
        assert expected_primary(larger, 10, primary) == pytest.approx(expected_primary(objective, 10, primary))


def test_the_generations_of_the_paper() -> None:
    score = expected_primary(tolerant_patriarch(primary=0.6), 100)
    scores = [score]
    for _ in range(5):
        score = expected_primary(tolerant_student(teacher_weight=0.6), 100, score)
        scores.append(score)
    assert scores == pytest.approx([0.6, 0.76, 0.856, 0.9136, 0.94816, 0.968896])


def test_defaults() -> None:
    scores = [
        expected_primary(objective, 100, teacher_primary=0.6)
        for objective in (labels_only(), label_smoothing(), born_again(), born_again_labels(), tolerant_patriarch())
    ]
    assert scores == pytest.approx([1.0, 0.901, 0.6, 0.8, 0.6])


TEACHER = Match(name="teacher", target=TeacherProbs())
FEATURES = attention_transfer().terms[1:]


def teacher_of(primary: float, classes: int) -> Tensor:
    return functional.smooth_other_labels(torch.tensor([0]), classes, 1 - primary, torch.float64)[0]


@repeatable
@given(st.integers(2, 7), shares, st.floats(0.02, 0.9), st.floats(0.5, 20.0))
def test_a_teacher_at_another_temperature(classes: int, weight: float, primary: float, temperature: float) -> None:
    objective = tolerant_student(teacher_weight=weight, temperature=temperature)
    expected = expected_scores(objective, classes, teacher_of(primary, classes))
    assert expected is not None
    logits = expected.log()[None].requires_grad_()
    signals = Signals(
        student_logits=logits, labels=torch.tensor([0]), teacher_logits=teacher_of(primary, classes).log()[None]
    )
    (slope,) = torch.autograd.grad(objective(signals).total, logits)
    assert float(slope.abs().max()) < 1e-10
    assert expected_primary(objective, classes, primary) == float(expected[0])


@pytest.mark.parametrize("share", [None, 0.3])
@pytest.mark.parametrize("temperature", [1.0, 3.0])
@pytest.mark.parametrize("tolerance", [0.1, 0.5])
@pytest.mark.parametrize("primary", [0.5, 1.0])
def test_a_tolerant_student_is_the_best_of_all_distributions(
    primary: float, tolerance: float, temperature: float, share: float | None
) -> None:
    objective = tolerant_student(tolerance=tolerance, temperature=temperature, k=3, share=share)
    expected = expected_scores(objective, 4, teacher_of(primary, 4))
    assert expected is not None
    steps = torch.cartesian_prod(*[torch.arange(41)] * 3)
    steps = steps[steps.sum(1) <= 40].double() / 40
    ours = expected + torch.tensor([1e-13, 0.0, 0.0, 0.0])  # rounding must not lift a score above its share
    scores = torch.cat([torch.cat([1 - steps.sum(1, keepdim=True), steps], 1), ours[None]])
    candidates = Signals(
        student_logits=scores.clamp_min(1e-300).log(),
        labels=torch.zeros(len(scores)).long(),
        teacher_logits=teacher_of(primary, 4).log().expand(len(scores), 4),
    )
    losses = torch.stack([term(candidates) for term in objective.terms]).sum(0)
    assert float(losses[-1]) <= float(losses[:-1].min()) + 1e-11


def test_what_else_has_a_closed_form() -> None:
    """By hand: each pair must agree."""
    ramp = Ramp(0.0, 0.5, 0.0, 0.6)
    teacher = replace(TEACHER, weight=Constant(0.6))
    labels = beside_labels(0.4).terms
    for objective, expected in (
        (confidence_weighted(), 1.0),  # whatever the weights of the samples
        (permuted_dark_knowledge(), 0.2),  # the others are alike: their order does not count
        (Objective((replace(TEACHER, target=Shifted()),)), 0.2),  # the label is the teacher's best class
        (Objective((replace(TEACHER, target=Smoothed()),)), 0.2),
        (tf_kd_reg(teacher_weight=1.0, correct=0.9), 0.9),
        (
            tf_kd_reg_official(teacher_weight=1.0, multiplier=1.0),
            functional.official_virtual_teacher(torch.tensor([0]), 10)[0, 0].item(),
        ),
        (Objective((*labels, replace(teacher, weight=ramp))), 0.4 + 0.6 * 0.2),  # its end counts
        (Objective((*labels, Scaled(name="late", of=TEACHER, by=ramp))), 0.4 + 0.6 * 0.2),
        (crossfade(labels_only(), Objective((TEACHER,))), 0.2),
        (Objective((*labels, teacher, *FEATURES)), 0.4 + 0.6 * 0.2),  # features leave the scores free
        (Objective((*labels, replace(teacher, weight=Constant(0.0)))), 1.0),
        (Objective((*labels, ScoreDifference(weight=0.0))), 1.0),
        (
            confidence_penalty(penalty_weight=0.333294, threshold=5.0),
            expected_primary(confidence_penalty(penalty_weight=0.333294), 10),
        ),
        (confidence_penalty(threshold=0.0), 1.0),
    ):
        assert expected_primary(objective, 10, teacher_primary=0.2) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(
    "objective",
    [
        decoupled(),
        Objective((ScoreDifference(weight=1.0),)),
        Objective((ConfidencePenalty(weight=1.0),)),
        Objective(FEATURES),
        Objective((replace(TEACHER, temperature=FocalTemperature()),)),
        Objective((*tolerant_patriarch().terms, ConfidencePenalty(weight=0.5))),
        Objective((*distillation(temperature=2.0).terms, ConfidencePenalty(weight=0.5))),
        tolerant_student(tolerance=0.2, temperature=0.5),
        beside_labels(1.0, ScoreDifference(weight=-0.5)),
        beside_labels(1.0, ScoreDifference(weight=0.5, k=11)),
        beside_labels(1.0, ConfidencePenalty(weight=-0.5)),
        distillation(teacher_weight=1.5, temperature=1.0),
        Objective((replace(TEACHER, weight=Constant(0.0)),)),
        Objective((replace(TEACHER, distance=lambda target, logits, temperature: -logits[:, 0]),)),
    ],
    ids=str,
)
def test_none_where_no_closed_form_is_known(objective: Objective) -> None:
    assert expected_primary(objective, 10, teacher_primary=0.2) is None


def test_none_where_a_target_is_drawn_at_random() -> None:
    uneven = torch.tensor([0.4, 0.3, 0.2, 0.1], dtype=torch.float64)
    assert expected_scores(permuted_dark_knowledge(), 4, uneven) is None


def test_none_where_the_teachers_score_is_not_known() -> None:
    for objective in (tolerant_student(), tolerant_student(tolerance=0.2), confidence_weighted()):
        assert expected_primary(objective, 10) is None
    assert expected_primary(labels_only(), 10) == 1.0
