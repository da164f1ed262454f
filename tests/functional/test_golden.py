"""Numbers computed outside this project, equal to six decimals in float64: logit methods."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from tutelage import functional as F

from .inputs import CLASSES, LABELS, STUDENT, TEACHER, near, tensor

HARD = F.cross_entropy(F.one_hot(LABELS, CLASSES, torch.float64), STUDENT)
DOUBLE = torch.float64


def tempered_kl(temperature: float | Tensor) -> Tensor:
    """KL of teacher and student at one temperature, per sample, without its square."""
    return F.kl_divergence(F.soften(TEACHER, temperature), STUDENT, temperature)


# common block


def test_cross_entropy() -> None:
    near(HARD, [1.495182, 0.635073, 0.336546])
    near(HARD.mean(), 0.822267)


def test_softmax() -> None:
    near(
        F.soften(STUDENT),
        [
            [0.224208, 0.609460, 0.135989, 0.030343],
            [0.144414, 0.087591, 0.529897, 0.238098],
            [0.058628, 0.096661, 0.130479, 0.714233],
        ],
    )
    near(
        F.soften(TEACHER),
        [
            [0.625182, 0.229992, 0.093508, 0.051318],
            [0.039289, 0.064776, 0.789137, 0.106798],
            [0.192044, 0.427402, 0.063926, 0.316627],
        ],
    )


# knowledge distillation


@pytest.mark.parametrize(("temperature", "value"), [(1.0, 0.375635), (2.0, 0.386102), (4.0, 0.373945)])
def test_distillation(temperature: float, value: float) -> None:
    near(temperature**2 * tempered_kl(temperature).mean(), value)


def test_distillation_with_labels() -> None:
    near((0.1 * HARD + 0.9 * 16 * tempered_kl(4.0)).mean(), 0.418777)


def test_distillation_matches_logits_at_high_temperature() -> None:
    centred = STUDENT - STUDENT.mean(1, keepdim=True) - TEACHER + TEACHER.mean(1, keepdim=True)
    expected = centred.square().sum(1).mean().item() / (2 * CLASSES)
    near(1e8 * tempered_kl(1e4).mean(), expected, within=1e-3)


# label smoothing


def test_label_smoothing() -> None:
    smoothed = F.smooth_labels(LABELS, CLASSES, 0.1, DOUBLE)
    near(F.cross_entropy(smoothed, STUDENT).mean(), 0.918934)
    torch_form = torch.nn.functional.cross_entropy(STUDENT, LABELS, label_smoothing=0.1)
    torch.testing.assert_close(F.cross_entropy(smoothed, STUDENT).mean(), torch_form)


def test_label_smoothing_over_other_classes() -> None:
    smoothed = F.smooth_other_labels(LABELS, CLASSES, 0.1, DOUBLE)
    near(F.cross_entropy(smoothed, STUDENT).mean(), 0.951156)


def test_label_smoothing_as_kl_to_the_uniform() -> None:
    uniform = torch.full_like(STUDENT, 1 / CLASSES)
    value = (0.9 * HARD + 0.1 * F.kl_divergence(uniform, STUDENT)).mean()
    near(value, 0.780304)
    near(value + 0.1 * math.log(CLASSES), 0.918934)


# confidence penalty


def test_entropy() -> None:
    near(F.entropy(STUDENT), [1.014403, 1.170954, 0.898251])


def test_confidence_penalty() -> None:
    near((HARD + 0.1 * F.confidence_penalty(STUDENT)).mean(), 0.719480)


def test_confidence_hinge() -> None:
    near((HARD + 0.1 * F.confidence_hinge(STUDENT, 1.0)).mean(), 0.825659)


def test_penalty_for_primary() -> None:
    beta = F.penalty_for_primary(0.6, 100)
    near(beta, 0.333294)
    score = torch.linspace(0.011, 0.999, 200_001, dtype=DOUBLE)
    other = (1 - score) / 99
    loss = -score.log() + beta * (score * score.log() + 99 * other * other.log())
    near(score[loss.argmin()], 0.6, within=1e-5)
    near(F.primary_for_penalty(beta, 100), 0.6, within=1e-12)


# born-again networks


def test_born_again() -> None:
    teacher = F.soften(TEACHER)
    near(F.cross_entropy(teacher, STUDENT).mean(), 1.360967)
    near(F.kl_divergence(teacher, STUDENT).mean(), 0.375635)


def test_confidence_weighted_by_teacher_max() -> None:
    weights = F.teacher_max_weights(F.soften(TEACHER))
    near(weights, [0.339455, 0.428478, 0.232067])
    near((weights * HARD).sum(), 0.857764)


def test_dark_knowledge_with_permuted_predictions() -> None:
    # sorts the three other classes as (third, first, second), whichever class is the highest
    noise = tensor([[9.0, 1.0, 2.0, 0.0], [1.0, 2.0, 9.0, 0.0], [1.0, 9.0, 2.0, 0.0]])
    permuted = F.permute_dark_knowledge(F.soften(TEACHER), noise)
    near(permuted[0], [0.625182, 0.051318, 0.229992, 0.093508])
    near(F.cross_entropy(permuted, STUDENT).mean(), 1.650574)
    near(F.kl_divergence(permuted, STUDENT).mean(), 0.665242)


# tolerant teacher


def test_score_difference() -> None:
    near(F.score_difference(STUDENT, 3), [0.429362, 0.338641, 0.600663])


@pytest.mark.parametrize(("eta", "value"), [(0.6, 0.602640), (0.5, 0.639244)])
def test_tolerant_patriarch(eta: float, value: float) -> None:
    near(((1 - eta) * HARD + eta * F.score_difference(STUDENT, 3)).mean(), value)


def test_tolerant_generation() -> None:
    near((0.4 * HARD + 0.6 * tempered_kl(1.0)).mean(), 0.554288)


def test_tolerance_for_primary() -> None:
    table = {
        0.2: 0.8,
        0.3: 0.727273,
        0.4: 0.666667,
        0.5: 0.615385,
        0.6: 0.571429,
        0.7: 0.533333,
        0.8: 0.5,
        0.9: 0.470588,
        1.0: 0.0,  # plain cross-entropy, D(1.0, λ) of the paper; up to 4/9 the optimum is the same
    }
    near([F.tolerance_for_primary(primary, 5) for primary in table], list(table.values()))
    near(1 - F.tolerance_for_primary(0.6, 5), 3 / 7)


def test_primary_for_tolerance() -> None:
    table = {0.1: 1.0, 4 / 9: 1.0, 0.5: 0.8, 4 / 7: 0.6, 0.6: 0.533333, 0.8: 0.2, 0.9: 0.2}
    near([F.primary_for_tolerance(eta, 5) for eta in table], list(table.values()))


def test_label_smoothing_with_the_same_primary() -> None:
    smoothing = F.smoothing_for_primary(0.6, 100)
    near([smoothing, 1 - smoothing], [0.404040, 0.595960])
    near(1 / (1 + F.penalty_for_primary(0.6, 100)), 0.750022)


@pytest.mark.parametrize(
    ("teacher_weight", "scores"),
    [
        (0.6, [0.6, 0.76, 0.856, 0.9136, 0.94816, 0.968896]),
        (0.5, [0.6, 0.8, 0.9, 0.95, 0.975, 0.9875]),
        (0.7, [0.6, 0.72, 0.804, 0.8628, 0.90396, 0.932772]),
    ],
)
def test_generations_of_primaries(teacher_weight: float, scores: list[float]) -> None:
    line = [0.6]
    for _ in range(5):
        line.append(F.next_primary(line[-1], teacher_weight))
    near(line, scores)


# teacher-free distillation


def test_virtual_teacher_tempered() -> None:
    tempered = F.temper(F.virtual_teacher(LABELS, CLASSES, 0.99, DOUBLE), 20.0)
    near(tempered[0], [0.307055, 0.230982, 0.230982, 0.230982])
    matched = F.kl_divergence(tempered, STUDENT, 20.0)
    near(matched.mean(), 0.005658)
    near((0.9 * HARD + 0.1 * matched).mean(), 0.740606)
    near((0.9 * HARD + 0.1 * 400 * matched).mean(), 0.966358)


def test_virtual_teacher_of_the_official_code() -> None:
    softened = F.official_virtual_teacher(LABELS, CLASSES, 0.99, 20.0, DOUBLE)
    near(softened[0], [0.259364, 0.246879, 0.246879, 0.246879])
    matched = F.kl_divergence_element_mean(softened, STUDENT)
    near(matched.mean(), 0.097701)
    near((0.9 * HARD + 0.1 * 100 * matched).mean(), 1.717047)


def test_teacher_free_self_distillation() -> None:
    matched = tempered_kl(20.0)
    near((0.05 * HARD + 0.95 * matched).mean(), 0.041961)
    near((0.05 * HARD + 0.95 * 400 * matched).mean(), 0.380190)


@pytest.mark.parametrize(("temperature", "multiplier", "value"), [(20.0, 1.0, 0.125882), (6.0, 50.0, 4.404978)])
def test_teacher_free_self_distillation_of_the_official_code(
    temperature: float, multiplier: float, value: float
) -> None:
    matched = F.kl_divergence_element_mean(F.soften(TEACHER, temperature), STUDENT, temperature)
    near((0.05 * HARD + 0.95 * temperature**2 * multiplier * matched).mean(), value)


@pytest.mark.parametrize(
    ("num_classes", "values"),
    [
        (10, [0.134982, 0.096113, 0.104539, 0.099496]),
        (100, [0.015741, 0.009942, 0.010502, 0.009995]),
        (1000, [0.001776, 0.000999, 0.001051, 0.001000]),
    ],
)
def test_virtual_teachers_of_many_classes(num_classes: int, values: list[float]) -> None:
    label = torch.tensor([0])
    tempered = F.temper(F.virtual_teacher(label, num_classes, 0.99, DOUBLE), 20.0)
    official = F.official_virtual_teacher(label, num_classes, 0.99, 20.0, DOUBLE)
    near(torch.cat([tempered[0, :2], official[0, :2]]), values)


# knowledge adjustment and dynamic temperature


def test_probability_shift() -> None:
    softened = F.soften(TEACHER, 4.0)
    shifted = F.shift_probabilities(softened, LABELS)
    near(shifted[2], [0.243065, 0.275429, 0.184626, 0.296880])
    assert torch.equal(shifted[:2], softened[:2])
    near(16 * F.kl_divergence(shifted, STUDENT, 4.0).mean(), 0.316741)


def test_label_smoothing_of_wrong_targets() -> None:
    adjusted = F.smooth_wrong(F.soften(TEACHER, 4.0), LABELS, 0.1)
    near(adjusted[2], [0.025, 0.025, 0.025, 0.925])
    near(16 * F.kl_divergence(adjusted, STUDENT, 4.0).mean(), 4.014163)


def test_cosine_of_logits() -> None:
    near(1 - F.focal_weights(STUDENT, TEACHER), [0.793558, 0.931083, 0.391806])


def test_focal_temperature() -> None:
    temperature = F.sample_temperature(F.focal_weights(STUDENT, TEACHER), 4.0, 2.0)
    near(temperature, [4.176151, 4.451202, 3.372647])
    near(temperature.mean(), 4.0)
    near((temperature**2 * tempered_kl(temperature)).mean(), 0.373510)
    near(tempered_kl(temperature).mean(), 0.026725)


def test_focal_temperature_of_normalized_weights() -> None:
    weights = F.focal_weights(STUDENT, TEACHER)
    by_sum = F.sample_temperature(weights, 4.0, 10.0, "sum", floor=None)
    near(by_sum, [4.996832, 6.553337, 0.449830])
    near((by_sum**2 * tempered_kl(by_sum)).mean(), 0.335842)
    near(by_sum, F.sample_temperature(weights, 4.0, 10 / 3, "mean", floor=None).tolist())
    near(F.sample_temperature(weights, 4.0, 10.0, "sum"), [4.996832, 6.553337, 1.0])


def test_student_max_temperature() -> None:
    weights = F.student_max_weights(STUDENT)
    near(weights, [1.640797, 1.887160, 1.400104])
    temperature = F.sample_temperature(weights, 4.0, 1.0)
    near(temperature, [4.001890, 3.755527, 4.242583])
    near((temperature**2 * tempered_kl(temperature)).mean(), 0.373976)


def test_probability_shift_at_focal_temperature() -> None:
    temperature = F.sample_temperature(F.focal_weights(STUDENT, TEACHER), 4.0, 2.0)
    shifted = F.shift_probabilities(F.soften(TEACHER, temperature), LABELS)
    near((temperature**2 * F.kl_divergence(shifted, STUDENT, temperature)).mean(), 0.315043)
