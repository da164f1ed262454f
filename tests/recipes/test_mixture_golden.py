"""Mixtures against their formulas, written out here in float64 with numpy alone."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.functional.inputs import LABELS, STUDENT, TEACHER, near
from tutelage.objective import Signals
from tutelage.recipes import call

Array = NDArray[np.float64]

SIGNALS = Signals(student_logits=STUDENT, labels=LABELS, teacher_logits=TEACHER, progress=1.0)
ZS, ZT, Y = STUDENT.numpy(), TEACHER.numpy(), LABELS.numpy()
ROWS = np.arange(3)


def log_softmax(logits: Array, temperature: Any = 1.0) -> Array:
    tempered = logits / temperature
    highest = tempered.max(1, keepdims=True)
    result: Array = tempered - highest - np.log(np.exp(tempered - highest).sum(1, keepdims=True))
    return result


def kl(target: Array, log_probs: Array) -> Array:
    """KL(target || student) of each sample, with 0 ln 0 = 0."""
    result: Array = np.where(target > 0, target * (np.log(np.where(target > 0, target, 1.0)) - log_probs), 0.0).sum(1)
    return result


def swapped(values: Array) -> Array:
    """The label's value and the highest one exchanged."""
    result, highest = values.copy(), values.argmax(1)
    result[ROWS, highest], result[ROWS, Y] = values[ROWS, Y], values[ROWS, highest]
    return result


def with_smoothed_labels(probs: Array, smoothing: float = 0.1) -> Array:
    label = np.full(probs.shape, smoothing / 4)
    label[ROWS, Y] += 1 - smoothing
    return np.where((probs.argmax(1) == Y)[:, None], probs, label)


def decoupled(student: Array, target: Array, temperature: Any, others: float = 8.0) -> Array:
    """T^2 (TCKD + others NCKD) of each sample, from the target's probabilities at that temperature."""
    probs = np.exp(log_softmax(student, temperature))
    label = (target[ROWS, Y], probs[ROWS, Y])
    first = label[0] * np.log(label[0] / label[1]) + (1 - label[0]) * np.log((1 - label[0]) / (1 - label[1]))
    second = np.zeros(3)
    for row in ROWS:
        rest = [k for k in range(4) if k != Y[row]]
        q, p = target[row, rest] / target[row, rest].sum(), probs[row, rest] / probs[row, rest].sum()
        second[row] = (q * np.log(q / p)).sum()
    squared: Array = np.ravel(temperature) ** 2
    return squared * (first + others * second)


def focal(student: Array, teacher: Array, base: float, bias: float = 2.0) -> Array:
    cosine = (student * teacher).sum(1) / np.linalg.norm(student, axis=1) / np.linalg.norm(teacher, axis=1)
    weights = 1 - cosine
    return np.maximum(1.0, base + bias * (weights.mean() - weights))[:, None]


def student_max(base: float, bias: float = 2.0) -> Array:
    weights = 1 / np.exp(log_softmax(ZS)).max(1)
    return np.maximum(1.0, base + bias * (weights.mean() - weights))[:, None]


def standardized(logits: Array) -> Array:
    result: Array = (logits - logits.mean(1, keepdims=True)) / (logits.std(1, ddof=1, keepdims=True) + 1e-7)
    return result


def probs_at(logits: Array, temperature: Any) -> Array:
    result: Array = np.exp(log_softmax(logits, temperature))
    return result


def distilled(target: Array, temperature: Any, power: float = 2.0) -> float:
    """The mean of T^power KL(target || student at T)."""
    return float((np.ravel(temperature) ** power * kl(target, log_softmax(ZS, temperature))).mean())


def multi_level(temperatures: list[Array]) -> float:
    total = 0.0
    for temperature in temperatures:
        p, q = probs_at(ZS, temperature), probs_at(ZT, temperature)
        total += distilled(q, temperature)
        total += ((q @ q.T - p @ p.T) ** 2).sum() / 3 + ((q.T @ q - p.T @ p) ** 2).sum() / 4
    return total


CE = float(-log_softmax(ZS)[ROWS, Y].mean())
FOCAL, FOCAL_1 = focal(ZS, ZT, 4.0), focal(ZS, ZT, 1.0)
STANDARD = (standardized(ZS), standardized(ZT))
KD = 0.1 * CE + 0.9 * distilled(probs_at(ZT, 4.0), 4.0)
DKD = {"method": "decoupled:warm_up=0"}
STANDARDIZED_DKD = {"method": "standardized_decoupled:warm_up=0"}
TF_KD = {"temperature": 20.0, "teacher_weight": 0.95}

GOLDEN: dict[str, tuple[str, dict[str, Any], float]] = {
    "two targets": (
        "distill",
        {"add": ("knowledge_adjustment",)},
        KD + 0.9 * distilled(swapped(probs_at(ZT, 4.0)), 4.0),
    ),
    "three temperatures": (
        "distill",
        {"add": ("dynamic_temperature", "tolerant_student")},
        KD + 0.9 * distilled(probs_at(ZT, FOCAL), FOCAL) + 0.6 * distilled(probs_at(ZT, 1.0), 1.0),
    ),
    "DKD, shift": (
        "distill",
        DKD | {"adjustment": "shift"},
        CE + decoupled(ZS, probs_at(swapped(ZT), 4.0), 4.0).mean(),
    ),
    "DKD, smooth": (
        "distill",
        DKD | {"adjustment": "smooth"},
        CE + decoupled(ZS, with_smoothed_labels(probs_at(ZT, 4.0)), 4.0).mean(),
    ),
    "DKD, smooth by 0.3, FLSW": (
        "distill",
        DKD | {"adjustment": "smooth", "smoothing": 0.3, "temperature_rule": "flsw"},
        CE + decoupled(ZS, with_smoothed_labels(probs_at(ZT, FOCAL), 0.3), FOCAL).mean(),
    ),
    "DKD, shift, FLSW of the teacher's own logits": (
        "distill",
        DKD | {"adjustment": "shift", "temperature_rule": "flsw"},
        CE + decoupled(ZS, probs_at(swapped(ZT), FOCAL), FOCAL).mean(),
    ),
    "standardized DKD, shift": (
        "distill",
        STANDARDIZED_DKD | {"adjustment": "shift"},
        CE + 9 * decoupled(STANDARD[0], probs_at(swapped(STANDARD[1]), 2.0), 2.0).mean(),
    ),
    "standardized DKD, smooth": (
        "distill",
        STANDARDIZED_DKD | {"adjustment": "smooth"},
        CE + 9 * decoupled(STANDARD[0], with_smoothed_labels(probs_at(STANDARD[1], 2.0)), 2.0).mean(),
    ),
    "MLKD, FLSW": (
        "distill",
        {"method": "multi_level", "temperature_rule": "flsw"},
        0.1 * CE + 0.9 * multi_level([focal(ZS, ZT, base) for base in (2.0, 3.0, 4.0, 5.0, 6.0)]),
    ),
    "MLKD at two temperatures, CWSM": (
        "distill",
        {"method": "multi_level:temperatures=2+5", "temperature_rule": "cwsm", "bias": 1.0},
        0.1 * CE + 0.9 * multi_level([student_max(base, 1.0) for base in (2.0, 5.0)]),
    ),
    "self-taught, shift": (
        "tf_kd_self",
        TF_KD | {"adjustment": "shift"},
        0.05 * CE + 0.95 * distilled(swapped(probs_at(ZT, 20.0)), 20.0, 0.0),
    ),
    "self-taught as in the authors' code, smooth": (
        "tf_kd_self",
        {"form": "official", "adjustment": "smooth"},
        0.05 * CE + 0.95 * distilled(with_smoothed_labels(probs_at(ZT, 20.0)), 20.0) / 4,
    ),
    "reversed, CWSM": (
        "reversed",
        {"temperature_rule": "cwsm"},
        0.4 * CE + 0.6 * distilled(probs_at(ZT, student_max(20.0)), student_max(20.0), 0.0),
    ),
    "defective, DKD beside it": (
        "defective",
        {"add": ("decoupled:warm_up=0",), "adjustment": "shift"},
        0.05 * CE
        + 0.95 * distilled(swapped(probs_at(ZT, 20.0)), 20.0, 0.0)
        + decoupled(ZS, probs_at(swapped(ZT), 4.0), 4.0).mean(),
    ),
    "tolerant, shift, FLSW": (
        "tolerant",
        {"generations": 1, "adjustment": "shift", "temperature_rule": "flsw"},
        0.4 * CE + 0.6 * distilled(swapped(probs_at(ZT, FOCAL_1)), FOCAL_1),
    ),
    "born again, distillation beside it": (
        "born_again",
        {"generations": 1, "add": ("distillation",), "adjustment": "smooth"},
        0.1 * CE
        + distilled(with_smoothed_labels(probs_at(ZT, 1.0)), 1.0)
        + 0.9 * distilled(with_smoothed_labels(probs_at(ZT, 4.0)), 4.0),
    ),
}


@pytest.mark.parametrize("name", GOLDEN)
def test_a_mixture_is_its_formula(name: str) -> None:
    recipe, options, expected = GOLDEN[name]
    objective = call(recipe, **options).generations[-1].objective
    near(objective(SIGNALS).total, expected, within=1e-9)


def test_the_formulas_above_give_the_values_of_the_reference() -> None:
    # worked in advance for these inputs: see tests/methods/test_golden.py and test_golden_logits.py
    near(CE, 0.822267)
    near(KD, 0.418777)
    near(distilled(swapped(probs_at(ZT, 4.0)), 4.0), 0.316741)
    near(distilled(probs_at(ZT, FOCAL), FOCAL), 0.373510)
    near(student_max(4.0, 1.0).ravel().tolist(), [4.001890, 3.755527, 4.242583])


def test_a_label_without_smoothing_is_the_limit() -> None:
    # of a one-hot target NCKD is not defined; for any smoothing above 0 its target is uniform
    def total(smoothing: float) -> Any:
        line = call("distill", **DKD, adjustment="smooth", smoothing=smoothing)
        return line.generations[-1].objective(SIGNALS).total

    near(total(0.0), float(total(1e-12)), within=1e-8)
