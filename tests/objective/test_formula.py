"""Targets within targets, and objectives as formulas."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.functional.inputs import repeatable
from tests.objective.batches import batch
from tests.objective.test_objective import LABELS, TEACHER, TERMS
from tutelage import functional
from tutelage.methods.born_again import Permuted, TeacherConfidence
from tutelage.methods.preparing_lessons import FocalTemperature, Shifted, Smoothed
from tutelage.methods.teacher_free import OfficialVirtualTeacher, VirtualTeacher
from tutelage.objective import ConfidencePenalty, Constant, Labels, Objective, Target, Term, number

NESTED: dict[str, tuple[Target, bool]] = {
    "shifted(permuted(teacher@4))": (Shifted(of=Permuted()), True),
    "permuted(shifted(teacher@4))": (Permuted(of=Shifted()), True),
    "smoothed(shifted(teacher@4), 0.2)": (Smoothed(of=Shifted(), smoothing=0.2), True),
    "permuted(virtual(0.9)@4)": (Permuted(of=VirtualTeacher(correct=0.9)), False),
    "shifted(permuted(labels smoothed by 0.3))": (Shifted(of=Permuted(of=Labels(smoothing=0.3))), False),
    "smoothed(softmax(virtual(0.99)/20), 0.1)": (Smoothed(of=OfficialVirtualTeacher()), False),
}


@pytest.mark.parametrize("formula", NESTED)
def test_targets_wrap_targets(formula: str) -> None:
    target, needs_teacher = NESTED[formula]
    assert isinstance(target, Target)
    assert target.formula("@4") == formula
    assert target.needs_teacher is needs_teacher
    signals = batch() if needs_teacher else replace(batch(), teacher_logits=None)
    actual = target(signals, 4.0)
    assert actual.shape == (5, 6)
    torch.testing.assert_close(actual.sum(1), torch.ones(5, dtype=torch.float64))
    match = replace(TEACHER, target=target)
    assert match.needs_teacher is needs_teacher
    assert str(Objective((match,))) == f"0.9 4^2 KL({formula} ‖ student@4)"
    assert Objective((match,))(signals).total.isfinite()


def test_a_wrapped_target_is_applied_from_within() -> None:
    signals = batch(rows=30)
    shifted, permuted = Shifted(of=Permuted())(signals, 2.0), Permuted(of=Shifted())(signals, 2.0)
    assert torch.equal(shifted.argmax(1), signals.labels)
    assert torch.equal(permuted.argmax(1), signals.labels)
    assert torch.equal(shifted, functional.shift_probabilities(Permuted()(signals, 2.0), signals.labels))
    assert not torch.equal(shifted, permuted)


@pytest.mark.parametrize(
    ("terms", "formula"),
    [
        (TERMS, "H(labels, student) + 0.9 4^2 KL(teacher@4 ‖ student@4) + 0.5 D_3(student) - 0.1 H(student)"),
        ((ConfidencePenalty(weight=1.0), LABELS), "-H(student) + H(labels, student)"),
        ((LABELS, ConfidencePenalty(weight=2, threshold=0.5)), "H(labels, student) + 2 max(0, 0.5 - H(student))"),
        ((LABELS, replace(TEACHER, weight=Constant(-0.5))), "H(labels, student) - 0.5 4^2 KL(teacher@4 ‖ student@4)"),
        ((replace(TEACHER, temperature_power=0.0),), "0.9 KL(teacher@4 ‖ student@4)"),
        ((replace(TEACHER, temperature=Constant(1)),), "0.9 KL(teacher ‖ student)"),
        ((replace(TEACHER, temperature=Constant(2.5), weight=Constant(1)),), "2.5^2 KL(teacher@2.5 ‖ student@2.5)"),
        (
            (replace(TEACHER, weight=Constant(1 / 3), distance=functional.kl_divergence_element_mean),),
            "0.333333 4^2 1/K KL(teacher@4 ‖ student@4)",
        ),
        (
            (replace(TEACHER, temperature=FocalTemperature(bias=0.5, power=2, normalize="sum", floor=None)),),
            "0.9 τ^2 KL(teacher@τ ‖ student@τ) with τ = 4 + 0.5(mean w - w), w = (1 - cos)^2/sum",
        ),
        (
            (replace(TEACHER, target=Labels(smoothing=0.1, others_only=True), weight=TeacherConfidence()),),
            "B·max(teacher)/Σ max(teacher) 4^2 KL(labels smoothed by 0.1 over the others ‖ student@4)",
        ),
    ],
)
def test_reads_as_a_formula(terms: tuple[Term, ...], formula: str) -> None:
    assert str(Objective(terms)) == formula


@given(st.floats(allow_nan=False, allow_infinity=False, min_value=-1e6, max_value=1e6))
@repeatable
def test_numbers_are_written_to_six_decimals(value: float) -> None:
    text = number(value)
    assert abs(float(text) - value) <= 5.1e-7
    assert not re.search(r"\.\d*0$|\.$", text) or "e" in text
