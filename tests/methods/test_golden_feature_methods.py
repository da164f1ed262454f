"""Numbers computed outside this project, through the factories as a user calls them: float64, six decimals.

Where a value belongs to a method without what it learns, the learned part is replaced by the identity.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from torch import nn

from tests.functional.inputs import LABELS, STUDENT, STUDENT_MAP, TEACHER, TEACHER_MAP, near
from tests.objective.batches import training_set
from tutelage.methods import factories
from tutelage.objective import BoundObjective, Objective, Signals

LAYERS = ("stage1", "stage2", "stage3")
# the maps of two examples
MAPS = Signals(
    student_logits=STUDENT[:2],
    labels=LABELS[:2],
    student_features=dict.fromkeys(LAYERS, STUDENT_MAP) | {"after": STUDENT_MAP**2},
    teacher_features=dict.fromkeys(LAYERS, TEACHER_MAP) | {"after": TEACHER_MAP**2},
)
# the vectors of three
VECTORS = Signals(
    student_logits=STUDENT,
    labels=LABELS,
    student_features={"flatten": STUDENT, "stage3": STUDENT},
    teacher_features={"flatten": TEACHER, "stage3": TEACHER},
)
HARD = {2: (1.495182 + 0.635073) / 2, 3: 0.822267}  # the labels' term by the size of the batch
LEARNED = {
    "fitnets": ("connector",),
    "variational": ("mean",),
    "correlation_congruence_official": ("student", "teacher"),
}

# method, arguments, batch, default weight, the weights of its layers in sum, the value of one layer
GOLDEN: list[tuple[str, dict[str, Any], Signals, float, float, float]] = [
    ("fitnets", {}, MAPS, 100.0, 1, 0.520486),
    ("attention_transfer", {"layers": ("stage2",)}, MAPS, 1000.0, 1, 0.037058),
    ("attention_transfer", {}, MAPS, 1000.0, 3, 0.037058),
    ("neuron_selectivity", {"layers": ("stage1",)}, MAPS, 50.0, 1, 0.534810),
    ("neuron_selectivity", {}, MAPS, 50.0, 3, 0.534810),
    ("flow", {"layers": ("stage1", "after")}, MAPS, 50.0, 1, 0.000935),
    ("similarity_preserving", {}, VECTORS, 3000.0, 1, 0.204565),
    ("relational", {}, VECTORS, 1.0, 1, 4.301554),
    ("relational", {"distance_weight": 1.0, "angle_weight": 0.0}, VECTORS, 1.0, 1, 0.071920),
    ("relational", {"distance_weight": 0.0, "angle_weight": 1.0}, VECTORS, 1.0, 1, 0.050071),
    ("probabilistic_transfer", {}, VECTORS, 30000.0, 1, 0.026798),
    ("variational", {"layers": ("stage3",)}, MAPS, 1.0, 1, 0.856768),
    ("variational", {}, MAPS, 1.0, 3, 0.856768),
    ("activation_boundary", {"layers": ("stage1",)}, MAPS, 1.0, 1, 0.0201),
    ("activation_boundary", {"layers": LAYERS}, MAPS, 1.0, 1.75, 0.0201),
    ("correlation_congruence", {}, VECTORS, 100.0, 1, 0.033130),
    ("correlation_congruence_official", {}, VECTORS, 0.02, 1, 2.36),
]


def bound(method: str, objective: Objective, signals: Signals) -> BoundObjective:
    """The objective, with the identity for each thing it learns; the variances of VID keep their first value."""
    bound = objective.bind(signals, training_set(signals))
    for head in bound.modules():
        for part in LEARNED.get(method, ()):
            if hasattr(head, part):
                setattr(head, part, nn.Identity())
    return bound


@pytest.mark.parametrize(
    ("method", "arguments", "signals", "weight", "layers", "value"),
    [pytest.param(*case, id=f"{case[0]}-{case[5]}-{case[4]}") for case in GOLDEN],
)
def test_value(
    method: str, arguments: dict[str, Any], signals: Signals, weight: float, layers: float, value: float
) -> None:
    hard = HARD[len(signals.labels)]
    loss = bound(method, factories()[method](**arguments), signals)(signals)
    parts = sum(part for name, part in loss.parts.items() if name != "labels")
    near(parts / (weight * layers), value)
    near(loss.parts["labels"], hard)
    near(loss.total - weight * layers * value, hard, within=5.1e-7 * (1 + weight * layers))
    # at weight 1 all six decimals of the total are known
    loss = bound(method, factories()[method](weight=1.0, **arguments), signals)(signals)
    near(loss.total, hard + layers * value, within=5.1e-7 * (1 + layers))


def test_parts_of_the_relations() -> None:
    parts = factories()["relational"]()(VECTORS).parts
    assert list(parts) == ["labels", "distance", "angle"]
    near(parts["distance"] / 25, 0.071920)
    near(parts["angle"] / 50, 0.050071)


def test_the_first_variance_is_five() -> None:
    bound = factories()["variational"](layers=("stage1",)).bind(MAPS, training_set(MAPS))
    near(bound.learned["information"].heads[0].variance.detach(), [5.0, 5.0], within=1e-12)


def test_the_student_comes_first() -> None:
    # AB is not symmetric: what counts is on which side of zero the teacher is.
    swapped = replace(MAPS, student_features=MAPS.teacher_features, teacher_features=MAPS.student_features)
    objective = factories()["activation_boundary"](layers=LAYERS)
    one = objective.bind(MAPS, training_set(MAPS))(MAPS)
    other = objective.bind(swapped, training_set(swapped))(swapped)
    assert one.parts["boundary"] != other.parts["boundary"]
