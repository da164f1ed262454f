"""Numbers computed outside this project for methods on logits, through the factories: float64, six decimals."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.functional.inputs import LABELS, STUDENT, TEACHER, gradient, near, repeatable, seeds
from tests.objective.batches import batch
from tutelage import functional
from tutelage.methods import factories
from tutelage.methods.decoupled import WARM_UP, Decoupled, decoupled
from tutelage.methods.dist import dist, inter_class, intra_class
from tutelage.methods.hinton import distillation, labels_only
from tutelage.methods.logit_standardization import Standardized, logit_standardization
from tutelage.methods.multi_level import OverTemperatures, batch_relations, class_relations, multi_level
from tutelage.methods.preparing_lessons import FocalTemperature, Shifted
from tutelage.objective import ConfidencePenalty, Constant, Match, Objective, Signals, TeacherProbs, Term

SIGNALS = Signals(student_logits=STUDENT, labels=LABELS, teacher_logits=TEACHER, progress=1.0)
MATCH = Match(name="teacher", target=TeacherProbs(), temperature=Constant(2.0))
SUMMED = OverTemperatures(of=replace(MATCH, temperature=Constant(1.0)), temperatures=(Constant(2.0), Constant(3.0)))

GOLDEN: dict[str, list[tuple[dict[str, Any], float]]] = {
    "decoupled": [
        ({}, 2.904519),
        ({"hard_weight": 0.0}, 2.082252),
        ({"hard_weight": 0.0, "other_weight": 0.0}, 0.211159),
        ({"hard_weight": 0.0, "target_weight": 0.0, "other_weight": 1.0}, 0.233887),
        ({"temperature": 1.0, "other_weight": 0.5, "warm_up": 0.0}, 1.188395),
    ],
    "dist": [
        ({}, 22.837944),
        ({"hard_weight": 0.0, "inter_weight": 1.0, "intra_weight": 1.0}, 11.007838),
        ({"inter_weight": 1.0, "intra_weight": 0.0}, 7.392152),
        ({"inter_weight": 0.0, "intra_weight": 1.0}, 5.260220),
        ({"hard_weight": 0.0, "inter_weight": 1.0, "intra_weight": 1.0, "temperature": 1.0}, 0.855204),
    ],
    "logit_standardization": [
        ({}, 2.778384),
        ({"hard_weight": 0.0, "teacher_weight": 1.0}, 0.299573),
        ({"hard_weight": 0.0, "teacher_weight": 1.0, "unbiased": False}, 0.398774),
    ],
    "standardized_decoupled": [
        ({}, 18.506331),
        ({"hard_weight": 0.0}, 17.684064),
        ({"unbiased": False, "warm_up": 0.0}, 23.719321),
    ],
    "multi_level": [
        ({}, 1.801521),
        ({"hard_weight": 0.0, "teacher_weight": 1.0, "temperatures": (4.0,)}, 0.376435),
    ],
}


@pytest.mark.parametrize(
    ("method", "arguments", "value"),
    [pytest.param(name, *case, id=f"{name}-{case[1]}") for name, cases in GOLDEN.items() for case in cases],
)
def test_total(method: str, arguments: dict[str, Any], value: float) -> None:
    near(factories()[method](**arguments)(SIGNALS).total, value)


@pytest.mark.parametrize(
    ("objective", "parts"),
    [
        (decoupled(), {"labels": 0.822267, "decoupled": 2.082252}),
        (dist(), {"labels": 0.822267, "inter": 13.139771, "intra": 8.875906}),
        (
            multi_level(),
            {"labels": 0.0822267, "instance": 0.9 * 1.877011, "batch": 0.9 * 0.008361, "classes": 0.9 * 0.024955},
        ),
    ],
)
def test_parts(objective: Objective, parts: dict[str, float]) -> None:
    actual = objective(SIGNALS).parts
    assert actual.keys() == parts.keys()
    for name, value in parts.items():
        near(actual[name], value)


@pytest.mark.parametrize(("epochs", "share"), [(0, 0.0), (5, 0.25), (10, 0.5), (20, 1.0), (200, 1.0)])
def test_the_warm_up_is_a_share_of_training(epochs: int, share: float) -> None:
    # 20 of 240 epochs; a run of another length warms up over the same share
    parts = decoupled()(replace(SIGNALS, progress=epochs / 240)).parts
    near(parts["labels"], 0.822267)
    near(parts["decoupled"], share * 2.082252)
    assert WARM_UP == 20 / 240
    near(decoupled(warm_up=0.0)(replace(SIGNALS, progress=None)).total, 2.904519)


@repeatable
@given(seeds, st.floats(0.5, 30.0))
def test_the_two_parts_make_the_whole_divergence(seed: int, temperature: float) -> None:
    # KL = TCKD + (1 - p^T_y) NCKD, so a weight of its own for each sample gives back plain distillation
    signals = batch(seed)
    label_score = functional.soften(signals.from_teacher(), temperature).gather(1, signals.labels[:, None])[:, 0]
    tempered = Constant(temperature)
    target = Decoupled(other_weight=0.0, temperature=tempered)(signals)
    other = Decoupled(target_weight=0.0, other_weight=1.0, temperature=tempered)(signals)
    whole = replace(MATCH, temperature=tempered)(signals)
    torch.testing.assert_close(target + (1.0 - label_score) * other, whole)


def test_decoupled_takes_a_temperature_for_each_sample() -> None:
    signals, focal = batch(), FocalTemperature()
    actual = Decoupled(temperature=focal, weight=Constant(0.5))(signals)
    taus = focal(signals).detach()
    dkd = functional.dkd(signals.student_logits, signals.from_teacher(), signals.labels, taus)
    torch.testing.assert_close(actual, 0.5 * taus**2 * dkd)
    text = Decoupled(temperature=FocalTemperature(floor=None), weight=Constant(0.5)).formula()
    assert text.startswith("0.5 τ^2 (TCKD + 8 NCKD)(teacher@τ ‖ student@τ) with τ = 4 + 2(mean w - w)")
    assert Decoupled(temperature=Constant(1.0)).formula() == "(TCKD + 8 NCKD)(teacher ‖ student)"


DISTANCES: list[tuple[Callable[..., torch.Tensor], Callable[..., torch.Tensor]]] = [
    (inter_class, functional.inter_class_distance),
    (intra_class, functional.intra_class_distance),
    (batch_relations, functional.batch_correlation),
    (class_relations, functional.class_correlation),
]


@pytest.mark.parametrize(("to_target", "to_logits"), DISTANCES)
@repeatable
@given(seed=seeds, temperature=st.floats(0.5, 30.0))
def test_distances_to_a_target_are_those_to_its_logits(
    to_target: Callable[..., torch.Tensor], to_logits: Callable[..., torch.Tensor], seed: int, temperature: float
) -> None:
    signals = batch(seed)
    student, teacher = signals.student_logits, signals.from_teacher()
    actual = to_target(functional.soften(teacher, temperature), student, temperature)
    expected = to_logits(student, teacher, temperature)
    torch.testing.assert_close(actual, expected)
    torch.testing.assert_close(gradient(actual, student), gradient(expected, student))


@pytest.mark.parametrize("distance", [case[0] for case in DISTANCES])
def test_targets_with_zeros_give_finite_distances(distance: Callable[..., torch.Tensor]) -> None:
    student = STUDENT.clone().requires_grad_()
    actual = distance(functional.one_hot(LABELS, 4, torch.float64), student, 4.0)
    assert actual.isfinite().all()
    assert gradient(actual, student).isfinite().all()


def test_dist_composes_with_adjusted_targets() -> None:
    inter = dist().terms[1]
    assert isinstance(inter, Match)
    term = replace(inter, target=Shifted())
    assert term.formula() == "2 4^2 inter_class(shifted(teacher@4), student@4)"
    mended = functional.shift_probabilities(functional.soften(TEACHER, 4.0), LABELS)
    expected = 32 * functional.inter_class_distance(STUDENT / 4.0, mended.log())
    torch.testing.assert_close(term(SIGNALS), expected)


@pytest.mark.parametrize(
    "objective",
    [dist(), multi_level(), logit_standardization(), decoupled(warm_up=0.0)],
    ids=["dist", "multi_level", "logit_standardization", "decoupled"],
)
def test_a_student_like_its_teacher_has_nothing_to_learn(objective: Objective) -> None:
    same = replace(SIGNALS, student_logits=TEACHER + 3.0)
    for term in objective.terms[1:]:  # 1e-8 beside the norms of DIST's correlations leaves a little
        near(term(same), [0.0, 0.0, 0.0], within=1e-4)


@repeatable
@given(seeds, st.floats(0.1, 10.0), st.floats(-5.0, 5.0), st.booleans())
def test_standardized_terms_do_not_see_scale_and_shift(seed: int, scale: float, shift: float, unbiased: bool) -> None:
    signals = batch(seed)
    for of in (MATCH, Decoupled(), dist().terms[1], ConfidencePenalty(weight=0.5)):
        term = Standardized(of=of, unbiased=unbiased)
        plain = term(signals)
        for changed in ("student_logits", "teacher_logits"):
            moved = replace(signals, **{changed: scale * getattr(signals, changed) + shift})
            torch.testing.assert_close(term(moved), plain, rtol=1e-4, atol=1e-6)


def test_plain_distillation_does_see_scale() -> None:
    doubled = replace(SIGNALS, student_logits=2.0 * STUDENT)
    assert ((MATCH(doubled) - MATCH(SIGNALS)).abs() > 0.01).all()
    near(Standardized(of=MATCH)(doubled), Standardized(of=MATCH)(SIGNALS).tolist())


def test_the_labels_beside_a_standardized_term_see_raw_logits() -> None:
    parts = logit_standardization()(SIGNALS).parts
    near(parts["labels"], 0.1 * 0.822267)
    near(parts["teacher"], 9 * 0.299573)


def test_standardizing_wraps_any_term() -> None:
    term = Standardized(of=MATCH)
    assert isinstance(term, Term)
    assert (term.name, term.needs_teacher) == ("teacher", True)
    standardized = replace(
        SIGNALS, student_logits=functional.standardize(STUDENT), teacher_logits=functional.standardize(TEACHER)
    )
    for of in (MATCH, Decoupled(), SUMMED):
        torch.testing.assert_close(Standardized(of=of)(SIGNALS), of(standardized))
    penalty = Standardized(of=ConfidencePenalty(weight=0.5), unbiased=False)
    assert not penalty.needs_teacher
    assert penalty.formula() == "standardized(-0.5 H(student), population std)"
    assert penalty(replace(SIGNALS, teacher_logits=torch.zeros(3, 9))).shape == (3,)
    with pytest.raises(TypeError, match="what is standardized must be a Term, not 'teacher'"):
        Standardized(of="teacher")  # type: ignore[arg-type]  # the mistake under test


def test_a_standardized_term_has_a_gradient_through_the_standardization() -> None:
    student = STUDENT.clone().requires_grad_()
    term = Standardized(of=MATCH)
    assert torch.autograd.gradcheck(lambda logits: term(replace(SIGNALS, student_logits=logits)), (student,))
    # what does not see scale has no gradient along the centred logits, nor along a shift
    slope = gradient(term(replace(SIGNALS, student_logits=student)), student)
    centred = STUDENT - STUDENT.mean(1, keepdim=True)
    near((slope * centred).sum(1), [0.0, 0.0, 0.0], within=1e-6)
    near(slope.sum(1), [0.0, 0.0, 0.0])


def test_one_temperature_is_the_plain_sum() -> None:
    alone = multi_level(hard_weight=0.1, teacher_weight=0.9, temperatures=(4.0,))(SIGNALS).parts
    plain = distillation(teacher_weight=0.9, temperature=4.0)(SIGNALS).parts
    torch.testing.assert_close(alone["instance"], plain["teacher"])
    torch.testing.assert_close(alone["labels"], 0.1 * labels_only()(SIGNALS).total)
    near(alone["batch"], 0.9 * 0.000398)
    near(alone["classes"], 0.9 * 0.002092)


@repeatable
@given(seeds, st.lists(st.floats(0.5, 30.0), min_size=1, max_size=4))
def test_sums_over_temperatures(seed: int, temperatures: list[float]) -> None:
    signals = batch(seed)
    scalars = [Constant(value) for value in temperatures]
    expected = torch.stack([replace(MATCH, temperature=scalar)(signals) for scalar in scalars]).sum(0)
    term = replace(SUMMED, temperatures=scalars)
    torch.testing.assert_close(term(signals), expected)
    assert term.temperatures == tuple(scalars)


def test_a_sum_over_temperatures_needs_a_match_and_a_temperature() -> None:
    with pytest.raises(ValueError, match="'teacher' needs at least one temperature"):
        replace(SUMMED, temperatures=())
    with pytest.raises(ValueError, match="'teacher' is summed over temperatures and cannot have another"):
        replace(SUMMED, of=MATCH)
    with pytest.raises(TypeError, match=re.escape("a temperature of 'teacher' must be a Scalar, not 4.0")):
        replace(SUMMED, temperatures=(4.0,))
    with pytest.raises(TypeError, match="must be a Match, not ConfidencePenalty"):
        OverTemperatures(of=ConfidencePenalty(weight=0.1), temperatures=(Constant(2.0),))  # type: ignore[arg-type]


@dataclass(frozen=True)
class Unscaled:
    """Not a scalar: it has no formula."""

    needs_teacher = False


@pytest.mark.parametrize("part", ["temperature", "weight"])
def test_the_parts_of_decoupled_are_scalars(part: str) -> None:
    wrongs: list[Any] = [4.0, Unscaled()]
    for wrong in wrongs:
        with pytest.raises(TypeError, match=f"{part} of 'decoupled' must be a Scalar"):
            replace(Decoupled(), **{part: wrong})
