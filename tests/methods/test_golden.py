"""Numbers computed outside this project, through the factories as a user calls them: float64, six decimals."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from tests.functional.inputs import LABELS, STUDENT, TEACHER, near
from tutelage import functional
from tutelage.functional import primary_for_tolerance
from tutelage.methods import factories
from tutelage.methods.born_again import Permuted
from tutelage.objective import Signals

# Keys that draw the permutation which the value of DKPP was computed with: all but the best class, moved by one.
KEYS = torch.tensor([4, 4, 4])
SIGNALS = Signals(student_logits=STUDENT, labels=LABELS, teacher_logits=TEACHER, keys=KEYS)

GOLDEN: dict[str, list[tuple[dict[str, Any], float]]] = {
    "labels_only": [({}, 0.822267)],
    "distillation": [
        ({"teacher_weight": 0.9, "temperature": 4.0}, 0.418777),
        ({"teacher_weight": 1.0, "temperature": 1.0}, 0.375635),
        ({"teacher_weight": 1.0, "temperature": 2.0}, 0.386102),
        ({"teacher_weight": 1.0, "temperature": 4.0}, 0.373945),
        ({"teacher_weight": 0.6, "hard_weight": 0.4, "temperature": 1.0}, 0.554288),
    ],
    "label_smoothing": [
        ({"smoothing": 0.1}, 0.918934),
        ({"smoothing": 0.1, "others_only": True}, 0.951156),
        ({"smoothing": 0.0}, 0.822267),
    ],
    "confidence_penalty": [
        ({"penalty_weight": 0.1}, 0.719480),
        ({"penalty_weight": 0.1, "threshold": 1.0}, 0.825659),
    ],
    "born_again": [({}, 0.375635)],
    "born_again_labels": [({}, 0.598951), ({"teacher_weight": 0.3}, 0.688277)],
    "confidence_weighted": [({}, 0.857764)],
    "permuted_dark_knowledge": [({}, 0.665242)],
    "tolerant_patriarch": [
        ({"primary": primary_for_tolerance(0.6, k=3), "k": 3}, 0.602640),
        ({"primary": primary_for_tolerance(0.5, k=3), "k": 3}, 0.639244),
        ({"primary": 1.0}, 0.822267),  # D(1.0, lambda): cross-entropy alone
        ({"primary": 1.0, "k": 3, "share": 0.5}, 0.822267),
    ],
    "tolerant_student": [
        ({"teacher_weight": 0.6}, 0.554288),
        ({"teacher_weight": 0.6, "tolerance": 0.5, "k": 3}, 0.505255),
    ],
    "tf_kd": [
        ({"teacher_weight": 0.95, "temperature": 20.0}, 0.041961),
        ({"teacher_weight": 0.95, "temperature": 20.0, "temperature_power": 2.0}, 0.380190),
    ],
    "tf_kd_official": [
        ({"teacher_weight": 0.95, "temperature": 20.0, "multiplier": 1.0}, 0.125882),
        ({"teacher_weight": 0.95, "temperature": 6.0, "multiplier": 50.0}, 4.404978),
    ],
    "tf_kd_reg": [
        ({"teacher_weight": 0.1, "temperature": 20.0, "correct": 0.99}, 0.740606),
        ({"teacher_weight": 0.1, "temperature": 20.0, "correct": 0.99, "temperature_power": 2.0}, 0.966358),
    ],
    "tf_kd_reg_official": [
        ({"teacher_weight": 0.1, "temperature": 20.0, "correct": 0.99, "multiplier": 100.0}, 1.717047)
    ],
    "knowledge_adjustment": [
        ({"adjustment": "shift", "teacher_weight": 1.0, "temperature": 4.0}, 0.316741),
        ({"adjustment": "smooth", "teacher_weight": 1.0, "temperature": 4.0, "smoothing": 0.1}, 4.014163),
        ({"adjustment": "shift", "teacher_weight": 0.9, "temperature": 4.0}, 0.367293),
    ],
    "dynamic_temperature": [
        ({"temperature_rule": "flsw", "teacher_weight": 1.0, "temperature": 4.0, "bias": 2.0}, 0.373510),
        ({"temperature_rule": "cwsm", "teacher_weight": 1.0, "temperature": 4.0, "bias": 1.0}, 0.373976),
        ({"teacher_weight": 1.0, "temperature": 4.0, "bias": 10.0, "normalize": "sum", "floor": None}, 0.335842),
        ({"teacher_weight": 1.0, "temperature": 4.0, "bias": 10 / 3, "normalize": "mean", "floor": None}, 0.335842),
        (
            {"temperature_rule": "cwsm", "teacher_weight": 1.0, "bias": 40.0, "normalize": "sum", "floor": None},
            0.372707,
        ),
        (
            {"temperature_rule": "cwsm", "teacher_weight": 1.0, "bias": 40.0, "normalize": "sum", "floor": 3.0},
            0.373631,
        ),
        (
            {
                "adjustment": "smooth",
                "smoothing": 0.2,
                "teacher_weight": 1.0,
                "power": 0.5,
                "bias": 5.0,
                "floor": 3.0,
            },
            1.498162,
        ),
    ],
    "adjusted_dynamic_temperature": [
        ({"adjustment": "shift", "teacher_weight": 1.0, "temperature": 4.0, "bias": 2.0}, 0.315043),
        ({"adjustment": "smooth", "teacher_weight": 1.0, "temperature": 4.0, "bias": 2.0}, 2.706872),
        ({"temperature_rule": "cwsm", "teacher_weight": 1.0, "temperature": 4.0, "bias": 1.0}, 0.317165),
    ],
}


@pytest.mark.parametrize(
    ("method", "arguments", "value"),
    [pytest.param(name, *case, id=f"{name}-{case[1]}") for name, cases in GOLDEN.items() for case in cases],
)
def test_total(method: str, arguments: dict[str, Any], value: float) -> None:
    near(factories()[method](**arguments)(SIGNALS).total, value)


def test_parts() -> None:
    parts = factories()["distillation"](teacher_weight=0.9, temperature=4.0)(SIGNALS).parts
    near(parts["labels"], 0.1 * 0.822267)
    near(parts["teacher"], 0.9 * 0.373945)


def test_permuting_keeps_the_best_class_and_the_values() -> None:
    probs = functional.soften(TEACHER)
    permuted = Permuted()(SIGNALS, 1.0)
    near(permuted[0], [0.625182, 0.051318, 0.229992, 0.093508])
    for first in range(40):
        keys = torch.arange(first, first + 3)
        signals = Signals(student_logits=STUDENT, labels=LABELS, teacher_logits=TEACHER, keys=keys)
        permuted = Permuted()(signals, 1.0)
        best = probs.argmax(1, keepdim=True)
        assert torch.equal(permuted.gather(1, best), probs.gather(1, best))
        assert torch.equal(permuted.sort(1).values, probs.sort(1).values)
