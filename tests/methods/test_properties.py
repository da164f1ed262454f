"""What the papers say of their methods, and what follows from their formulas, on random batches."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from tests.functional.inputs import classes, gradient, repeatable, rows, seeds
from tests.objective.batches import batch
from tutelage import functional
from tutelage.methods.born_again import Permuted, TeacherConfidence, permuted_dark_knowledge
from tutelage.methods.confidence_penalty import confidence_penalty
from tutelage.methods.hinton import distillation, labels_only
from tutelage.methods.label_smoothing import label_smoothing
from tutelage.methods.preparing_lessons import (
    FocalTemperature,
    Shifted,
    Smoothed,
    StudentMaxTemperature,
    dynamic_temperature,
    knowledge_adjustment,
)
from tutelage.methods.teacher_free import tf_kd, tf_kd_official, tf_kd_reg, tf_kd_reg_official
from tutelage.methods.tolerant import tolerant_patriarch, tolerant_student
from tutelage.objective import Objective, Signals, TeacherProbs

shares = st.floats(0.0, 1.0)


def pull(objective: Objective, signals: Signals) -> Tensor:
    return gradient(objective(signals).total, signals.student_logits)


# the two statements of arXiv 1909.11723, section 3: each formula is written out, the losses are the methods'


@repeatable
@given(seeds, rows, classes, shares)
def test_distillation_is_a_learned_label_smoothing(seed: int, rows: int, classes: int, weight: float) -> None:
    # at temperature 1: (1 - a) H(e_y, p) + a KL(p^t || p) = H(q, p) - a H(p^t), q = (1 - a) e_y + a p^t
    signals = batch(seed, rows, classes)
    teacher, log_probs = signals.from_teacher().softmax(1), signals.student_logits.log_softmax(1)
    mixed = (1 - weight) * torch.eye(classes, dtype=torch.float64)[signals.labels] + weight * teacher
    expected = (weight * (teacher * teacher.log()).sum(1) - (mixed * log_probs).sum(1)).mean()
    torch.testing.assert_close(tf_kd(teacher_weight=weight, temperature=1.0)(signals).total, expected)


@repeatable
@given(seeds, rows, classes, shares)
def test_label_smoothing_is_distillation_from_a_virtual_teacher(
    seed: int, rows: int, classes: int, weight: float
) -> None:
    # a teacher that gives all classes the same score: (1 - a) H(e_y, p) + a KL(u || p) = H(q', p) - a ln K
    signals = batch(seed, rows, classes)
    same_scores = replace(signals, teacher_logits=torch.full_like(signals.from_teacher(), 2.5))
    distilled = tf_kd(teacher_weight=weight, temperature=1.0)
    smoothed = label_smoothing(smoothing=weight)
    expected = smoothed(signals).total - weight * math.log(classes)
    torch.testing.assert_close(distilled(same_scores).total, expected)
    torch.testing.assert_close(pull(distilled, same_scores), pull(smoothed, signals))


@repeatable
@given(seeds, rows, classes, shares)
def test_a_hot_teacher_is_the_virtual_one(seed: int, rows: int, classes: int, weight: float) -> None:
    # p^t goes to u as the temperature rises: the softened target is as good as uniform
    signals = batch(seed, rows, classes)
    target = functional.soften(signals.from_teacher(), 1e6)
    torch.testing.assert_close(target, torch.full_like(target, 1 / classes), rtol=0, atol=1e-4)
    hot = replace(signals, teacher_logits=signals.from_teacher() / 1e6)
    distilled = tf_kd(teacher_weight=weight, temperature=1.0)
    smoothed = pull(label_smoothing(smoothing=weight), signals)
    torch.testing.assert_close(pull(distilled, hot), smoothed, rtol=0, atol=1e-4)


def test_the_two_statements_in_worked_numbers() -> None:
    # one image, three classes: student (0.5, 0.3, 0.2), label 0, teacher (0.6, 0.3, 0.1), a = 0.4
    student, teacher = (torch.tensor([row], dtype=torch.float64).log() for row in ([0.5, 0.3, 0.2], [0.6, 0.3, 0.1]))
    signals = Signals(student_logits=student, teacher_logits=teacher, labels=torch.tensor([0]))
    # 0.84 ln(1/0.5) + 0.12 ln(1/0.3) + 0.04 ln(1/0.2) = 0.791098, minus 0.4 x 0.897946 nats
    total = tf_kd(teacher_weight=0.4, temperature=1.0)(signals).total
    assert abs(total.item() - 0.431920) < 5e-7
    # (0.6 + 0.4/3) ln(1/0.5) + 0.4/3 ln(1/0.3) + 0.4/3 ln(1/0.2)
    assert abs(label_smoothing(smoothing=0.4)(signals).total.item() - 0.883429) < 5e-7


@repeatable
@given(seeds, rows, classes, shares)
def test_labels_and_teacher_pull_like_the_mixed_target(seed: int, rows: int, classes: int, weight: float) -> None:
    # Tf-KD, Eq. 6: at temperature 1 distillation is cross-entropy with (1 - w) e_y + w p^T
    signals = batch(seed, rows, classes)
    mixed = (1 - weight) * functional.one_hot(signals.labels, classes, torch.float64)
    mixed = mixed + weight * functional.soften(signals.from_teacher())
    expected = gradient(functional.cross_entropy(mixed, signals.student_logits).mean(), signals.student_logits)
    torch.testing.assert_close(pull(tolerant_student(teacher_weight=weight), signals), expected)


@repeatable
@given(seeds, st.floats(0.5, 30.0))
def test_the_gradient_of_distillation_keeps_its_scale(seed: int, temperature: float) -> None:
    # d (T^2 KL) / dz = T (p^S_T - p^T_T)
    signals = batch(seed)
    student = functional.soften(signals.student_logits, temperature)
    expected = temperature * (student - functional.soften(signals.from_teacher(), temperature)) / 5
    actual = pull(distillation(teacher_weight=1.0, temperature=temperature), signals)
    torch.testing.assert_close(actual, expected)


@repeatable
@given(seeds)
def test_distillation_at_a_high_temperature_matches_logits(seed: int) -> None:
    signals = batch(seed)
    student, teacher = signals.student_logits, signals.from_teacher()
    gap = (student - student.mean(1, keepdim=True)) - (teacher - teacher.mean(1, keepdim=True))
    limit = gap.square().sum(1).mean() / (2 * 6)
    total = distillation(teacher_weight=1.0, temperature=1e5)(signals).total
    torch.testing.assert_close(total, limit, rtol=1e-3, atol=1e-6)


@repeatable
@given(seeds, st.floats(1.0, 20.0))
def test_a_student_that_equals_its_teacher_has_nothing_to_learn_from_it(seed: int, temperature: float) -> None:
    signals = batch(seed)
    twin = replace(signals, student_logits=signals.from_teacher().clone().requires_grad_())
    objective = distillation(teacher_weight=1.0, temperature=temperature)
    assert abs(objective(twin).total.item()) < 1e-9
    assert pull(objective, twin).abs().max() < 1e-9


@repeatable
@given(seeds, classes, shares)
def test_the_two_forms_of_label_smoothing_are_one_family(seed: int, classes: int, smoothing: float) -> None:
    signals = batch(seed, classes=classes)
    over_all = label_smoothing(smoothing=smoothing)(signals).total
    over_others = label_smoothing(smoothing=smoothing * (classes - 1) / classes, others_only=True)(signals).total
    torch.testing.assert_close(over_others, over_all)


@repeatable
@given(seeds, classes, shares, st.floats(0.5, 0.99))
def test_an_unsoftened_virtual_teacher_is_label_smoothing(
    seed: int, classes: int, weight: float, correct: float
) -> None:
    signals = batch(seed, classes=classes)
    virtual = tf_kd_reg(teacher_weight=weight, correct=correct, temperature=1.0)
    smooth = label_smoothing(smoothing=weight * (1 - correct), others_only=True)
    torch.testing.assert_close(pull(virtual, signals), pull(smooth, signals))


@repeatable
@given(seeds, shares, st.floats(1.0, 30.0), st.floats(0.1, 50.0))
def test_the_official_forms_divide_by_the_number_of_classes(
    seed: int, weight: float, temperature: float, multiplier: float
) -> None:
    signals = batch(seed, classes=6)
    paper = tf_kd(teacher_weight=weight, temperature=temperature, temperature_power=2.0)(signals).parts
    official = tf_kd_official(teacher_weight=weight, temperature=temperature, multiplier=multiplier)(signals).parts
    torch.testing.assert_close(official["teacher"], paper["teacher"] * multiplier / 6)
    for part in official.keys() & {"labels"}:
        torch.testing.assert_close(official[part], paper[part])


@repeatable
@given(seeds)
def test_the_official_virtual_teacher_is_close_to_label_smoothing(seed: int) -> None:
    # softmax(p_d / 20) is nearly uniform, so w m / K = 0.1 is nearly the smoothing
    signals = batch(seed, classes=100)
    official = pull(tf_kd_reg_official(teacher_weight=0.1, multiplier=100.0), signals)
    smoothed = pull(label_smoothing(smoothing=0.1), signals)
    assert (official - smoothed).abs().max() < 2e-5


@repeatable
@given(seeds, st.floats(0.0, 5.0))
def test_the_hinge_counts_only_entropies_below_its_threshold(seed: int, weight: float) -> None:
    signals = batch(seed)
    plain = labels_only()(signals).total
    assert confidence_penalty(penalty_weight=weight, threshold=0.0)(signals).total == plain
    top = functional.entropy(torch.zeros(1, 6, dtype=torch.float64)).item()  # ln K: no entropy is above it
    hinged = confidence_penalty(penalty_weight=weight, threshold=top)(signals).total
    torch.testing.assert_close(hinged, confidence_penalty(penalty_weight=weight)(signals).total + weight * top)


@repeatable
@given(seeds, rows)
def test_the_teachers_confidence_weighs_a_batch_by_one_on_average(seed: int, rows: int) -> None:
    signals = batch(seed, rows)
    weights = TeacherConfidence()(signals)
    assert weights.shape == (rows,)
    torch.testing.assert_close(weights.mean(), torch.ones((), dtype=torch.float64))
    highest = functional.soften(signals.from_teacher()).amax(1)
    torch.testing.assert_close(weights / weights[0], highest / highest[0])


def test_a_permutation_belongs_to_its_key() -> None:
    signals = batch(0, rows=40, classes=10)
    assert signals.keys is not None
    first = Permuted()(signals, 1.0)
    assert torch.equal(Permuted()(signals, 1.0), first)
    other = Permuted()(replace(signals, keys=signals.keys + 1), 1.0)
    assert (other != first).any(1).all()
    alone = replace(
        signals,
        student_logits=signals.student_logits[7:8],
        labels=signals.labels[7:8],
        teacher_logits=signals.from_teacher()[7:8],
        keys=signals.keys[7:8],
    )
    assert torch.equal(Permuted()(alone, 1.0), first[7:8])


def test_permuting_is_uniform() -> None:
    rows = 12_000
    logits = torch.tensor([[3.0, 0.0, 1.0, 2.0]]).expand(rows, 4)
    signals = Signals(
        student_logits=logits, labels=torch.zeros(rows).long(), teacher_logits=logits, keys=torch.arange(rows)
    )
    orders = Permuted()(signals, 1.0).argsort(1).unique(dim=0, return_counts=True)[1]
    assert len(orders) == 6
    assert (orders / rows - 1 / 6).abs().max() < 0.015  # more than four standard deviations


def test_permuting_without_keys_is_an_error() -> None:
    signals = replace(batch(0), keys=None)
    with pytest.raises(ValueError, match="the signals need keys"):
        permuted_dark_knowledge()(signals)


@repeatable
@given(seeds, st.floats(0.5, 20.0))
def test_adjusted_targets_are_right_and_right_ones_stay(seed: int, temperature: float) -> None:
    signals = batch(seed, rows=20)
    plain = TeacherProbs()(signals, temperature)
    right = plain.argmax(1) == signals.labels
    for target in (Shifted(), Smoothed(smoothing=0.2)):
        adjusted = target(signals, temperature)
        assert torch.equal(adjusted.argmax(1), signals.labels)
        assert torch.equal(adjusted[right], plain[right])
        torch.testing.assert_close(adjusted.sum(1), torch.ones(20, dtype=torch.float64))
    assert torch.equal(Shifted()(signals, temperature).sort(1).values, plain.sort(1).values)


@repeatable
@given(seeds, st.floats(1.0, 20.0), shares)
def test_a_teacher_that_is_right_needs_no_adjustment(seed: int, temperature: float, weight: float) -> None:
    signals = batch(seed)
    signals = replace(signals, labels=signals.from_teacher().argmax(1))
    plain = distillation(teacher_weight=weight, temperature=temperature)(signals).total
    for adjustment in ("shift", "smooth"):
        adjusted = knowledge_adjustment(adjustment=adjustment, teacher_weight=weight, temperature=temperature)
        assert adjusted(signals).total == plain


@repeatable
@given(seeds, st.floats(1.0, 20.0), st.sampled_from(["flsw", "cwsm"]))
def test_without_bias_the_dynamic_temperature_is_the_plain_one(seed: int, temperature: float, rule: str) -> None:
    signals = batch(seed)
    dynamic = dynamic_temperature(temperature_rule=rule, temperature=temperature, bias=0.0)(signals).total  # type: ignore[arg-type]  # drawn as text
    torch.testing.assert_close(dynamic, distillation(temperature=temperature)(signals).total)


@repeatable
@given(seeds, rows, st.floats(-3.0, 3.0), st.floats(0.5, 3.0))
def test_dynamic_temperatures_have_the_base_as_mean_and_fall_with_confusion(
    seed: int, rows: int, bias: float, power: float
) -> None:
    signals = batch(seed, rows)
    focal = functional.focal_weights(signals.student_logits, signals.from_teacher()) ** power
    unsure = functional.student_max_weights(signals.student_logits)
    for scalar, weights in (
        (FocalTemperature(base=4.0, bias=bias, power=power, floor=None), focal),
        (StudentMaxTemperature(base=4.0, bias=bias, floor=None), unsure),
    ):
        actual = scalar(signals)
        assert actual.shape == (rows,)
        torch.testing.assert_close(actual.mean(), torch.tensor(4.0, dtype=torch.float64))
        torch.testing.assert_close(actual - actual[0], -bias * (weights - weights[0]))


@repeatable
@given(seeds, st.floats(0.5, 8.0))
def test_the_floor_holds(seed: int, floor: float) -> None:
    signals = batch(seed)
    free = FocalTemperature(bias=40.0, floor=None)(signals)
    held = FocalTemperature(bias=40.0, floor=floor)(signals)
    assert torch.equal(held, free.clamp_min(floor))


def test_a_patriarch_with_primary_1_learns_from_the_labels_alone() -> None:
    signals = batch(0)
    loss = tolerant_patriarch(primary=1.0)(signals)
    assert loss.parts["labels"].item() == loss.total.item() == labels_only()(signals).total.item()


@pytest.mark.parametrize("primary", [0.1, 1.1, float("nan")])
def test_a_primary_that_no_weight_leads_to_is_an_error(primary: float) -> None:
    with pytest.raises(ValueError, match="primary must be in"):
        tolerant_patriarch(primary=primary, k=5)


@pytest.mark.parametrize("tolerance", [-0.1, 1.0, float("nan")])
def test_a_tolerance_outside_0_to_1_is_an_error(tolerance: float) -> None:
    with pytest.raises(ValueError, match="tolerance is a share"):
        tolerant_student(tolerance=tolerance)


def test_unknown_words_are_errors() -> None:
    with pytest.raises(ValueError, match="adjustment is one of none, shift, smooth, not 'swap'"):
        knowledge_adjustment(adjustment="swap")  # type: ignore[arg-type]  # the mistake under test
    with pytest.raises(ValueError, match="temperature_rule is one of flsw, cwsm, not 'focal'"):
        dynamic_temperature(temperature_rule="focal")  # type: ignore[arg-type]  # the mistake under test
