"""Numbers computed outside this project, equal to six decimals in float64: later logit methods and features."""

from __future__ import annotations

import pytest
import torch

from tutelage import functional as F

from .inputs import CLASSES, LABELS, STUDENT, STUDENT_MAP, TEACHER, TEACHER_MAP, near, tensor

HARD = F.cross_entropy(F.one_hot(LABELS, CLASSES, torch.float64), STUDENT)
TEMPERATURES = (2.0, 3.0, 4.0, 5.0, 6.0)


# logit methods


def test_decoupled_distillation() -> None:
    target = F.target_class_kl(STUDENT, TEACHER, LABELS, 4.0)
    other = F.other_class_kl(STUDENT, TEACHER, LABELS, 4.0)
    near(torch.stack([16 * target.mean(), 16 * other.mean()]), [0.211159, 0.233887])
    near(16 * F.dkd(STUDENT, TEACHER, LABELS, 4.0, target_weight=1.0, other_weight=8.0).mean(), 2.082252)
    label_score = F.soften(TEACHER, 4.0)[torch.arange(3), LABELS]
    near(16 * (target + (1 - label_score) * other).mean(), 0.373945)


@pytest.mark.parametrize(("temperature", "inter", "intra"), [(1.0, 0.519288, 0.335916), (4.0, 0.410618, 0.277372)])
def test_stronger_teacher(temperature: float, inter: float, intra: float) -> None:
    near(F.inter_class_distance(STUDENT, TEACHER, temperature).mean(), inter)
    near(F.intra_class_distance(STUDENT, TEACHER, temperature).mean(), intra)


@pytest.mark.parametrize(("temperature", "total"), [(4.0, 11.007838), (1.0, 0.855204)])
def test_stronger_teacher_in_sum(temperature: float, total: float) -> None:
    parts = (F.inter_class_distance, F.intra_class_distance)
    near(temperature**2 * sum(part(STUDENT, TEACHER, temperature).mean() for part in parts), total)


@pytest.mark.parametrize(("unbiased", "value"), [(True, 0.299573), (False, 0.398774)])
def test_logit_standardization(unbiased: bool, value: float) -> None:
    student, teacher = F.standardize(STUDENT, unbiased), F.standardize(TEACHER, unbiased)
    near(4 * F.kl_divergence(F.soften(teacher, 2.0), student, 2.0).mean(), value)


def test_multi_level_correlations() -> None:
    near(F.batch_correlation(STUDENT, TEACHER, 4.0).mean(), 0.000398)
    near(F.class_correlation(STUDENT, TEACHER, 4.0).mean(), 0.002092)


def test_multi_level_distillation() -> None:
    instance = sum(t**2 * F.kl_divergence(F.soften(TEACHER, t), STUDENT, t).mean() for t in TEMPERATURES)
    by_batch = sum(F.batch_correlation(STUDENT, TEACHER, t).mean() for t in TEMPERATURES)
    by_class = sum(F.class_correlation(STUDENT, TEACHER, t).mean() for t in TEMPERATURES)
    near(instance, 1.877011)
    near(by_batch, 0.008361)
    near(by_class, 0.024955)
    # the official forward pass with the same view twice
    near(0.1 * 2 * HARD.mean(), 0.164453)
    near(0.9 * instance * (2 / 3) + 0.9 * instance, 2.815517)
    near(0.9 * by_class * 0.5, 0.011230)
    near(0.9 * by_batch * (2 / 3), 0.005016)


# feature maps


def test_fitnet_hint() -> None:
    near(F.fitnet_hint(STUDENT_MAP, TEACHER_MAP).mean(), 0.520486)


def test_attention_transfer() -> None:
    near(F.attention_transfer(STUDENT_MAP, TEACHER_MAP).mean(), 0.037058)


def test_neuron_selectivity_transfer() -> None:
    near(F.neuron_selectivity_transfer(STUDENT_MAP, TEACHER_MAP).mean(), 0.534810)


def test_flow_of_solution() -> None:
    value = F.flow_of_solution(STUDENT_MAP, STUDENT_MAP**2, TEACHER_MAP, TEACHER_MAP**2)
    near(value.mean(), 0.000935)


def test_variational_information() -> None:
    near(F.variational_information(STUDENT_MAP, TEACHER_MAP, tensor([5.0, 5.0])).mean(), 0.856768)


def test_activation_boundary() -> None:
    value = F.activation_boundary(STUDENT_MAP, TEACHER_MAP)
    near(value.sum(), 13.4)
    near(value.sum() / STUDENT_MAP.numel(), 0.8375)
    near(value.mean() / 1000 * 3, 0.0201)


# relations among examples


def test_similarity_preserving() -> None:
    near(F.similarity_preserving(STUDENT, TEACHER).mean(), 0.204565)


def test_relational_distillation() -> None:
    distance, angle = F.relational_distance(STUDENT, TEACHER), F.relational_angle(STUDENT, TEACHER)
    near(distance.mean(), 0.071920)
    near(angle.mean(), 0.050071)
    near((25 * distance + 50 * angle).mean(), 4.301554)


def test_probabilistic_transfer() -> None:
    near(F.probabilistic_transfer(STUDENT, TEACHER).mean(), 0.026798)


def test_correlation_congruence() -> None:
    near(F.official_correlation_congruence(STUDENT, TEACHER).mean(), 2.36)
    near(F.correlation_congruence(STUDENT, TEACHER).mean(), 0.033130)
