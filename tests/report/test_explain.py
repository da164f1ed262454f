"""An explanation as text: every generation with its objective, its expected score and its cost."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tutelage.analysis.explanation import explain
from tutelage.data import DatasetInfo
from tutelage.errors import printable
from tutelage.lineage import Pace
from tutelage.recipes import call
from tutelage.report.explain import explanation_text

INFO = DatasetInfo(
    class_names=tuple("0123456789"),
    channels=1,
    height=8,
    width=8,
    train_size=1000,
    test_size=200,
    padding=1,
    flip=False,
)
VIEWS = "9 views of each training image: shifted by up to 1 pixel"
SCHEDULE = (
    "   30 epochs, 64 images per step, 480 steps, learning rate 0.1 (OneCycle), momentum 0.9 (Nesterov), "
    "weight decay 0.0005"
)


def test_the_text_of_a_tolerant_lineage() -> None:
    lineage = call("tolerant", model="resnet8", primary=0.6, generations=1, epochs=30, batch_size=64, lr=0.1)
    explanation = explain(lineage, INFO)
    patriarch, student = explanation.generations
    assert (patriarch.tolerance, student.tolerance) == (((pytest.approx(4 / 7), 5),), ())
    assert student.cost == patriarch.cost
    forward, images = patriarch.cost.forward_flops, 1000 * 30
    assert (patriarch.work, student.work) == (3 * forward * images, 4 * forward * images)
    assert explanation.work == 7 * forward * images
    text = explanation_text(explanation)
    assert text.splitlines() == [
        "tolerant: 2 generations on digits",
        f"1,000 training images of 1x8x8 in 10 classes, 200 test images; {VIEWS}",
        "",
        "0. patriarch: resnet8, 75,002 parameters",
        "   minimises 0.428571 H(labels, student) + 0.571429 D_5(student)",
        "   eta = 0.571429, k = 5",
        "   expected score of the labelled class 0.6",
        SCHEDULE,
        f"   {patriarch.work / 1e15:.3g} PFLOP",
        "",
        "1. generation 1: resnet8, 75,002 parameters, taught by patriarch",
        "   minimises 0.4 H(labels, student) + 0.6 KL(teacher ‖ student)",
        "   expected score of the labelled class 0.76",
        SCHEDULE,
        f"   {student.work / 1e15:.3g} PFLOP",
        "",
        f"{explanation.work / 1e15:.3g} PFLOP per seed in total",
    ]


def test_shares_of_the_gradient_are_printed_where_they_were_measured() -> None:
    lineage = call("distill", epochs=1, batch_size=1000)
    assert "gradient on the first batch" not in explanation_text(explain(lineage, INFO))
    shares = [{"labels": 1.0}, {"labels": 0.25, "teacher": 0.75}]
    text = explanation_text(explain(lineage, INFO, shares))
    assert "   gradient on the first batch: labels 25.0 %, teacher 75.0 %\n" in text
    assert text.count("   expected score of the labelled class 1\n") == 2
    assert "no closed form" in explanation_text(explain(call("distill", method="decoupled"), INFO))
    assert "   1 epoch, 1000 images per step, 1 step, " in text


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"tolerance": 0.2}, "0.693586"),
        ({"share": 0.1, "tolerance": 0.2}, "0.6456"),
        ({"temperature": 4.0}, "0.761608"),
        ({"temperature": 4.0, "tolerance": 0.2}, "0.699452"),
        ({"primary": 1.0, "temperature": 4.0}, "1"),
    ],
    ids=str,
)
def test_every_extension_of_tolerant_says_where_training_should_end(options: dict[str, Any], expected: str) -> None:
    text = explanation_text(explain(call("tolerant", generations=1, **options), INFO))
    assert f"   expected score of the labelled class {expected}\n" in text
    assert "no closed form" not in text


@pytest.mark.parametrize("weights", ["teacher.safetensors", "/a/folder", "two\nlines"])
def test_a_network_with_weights_is_not_trained(weights: str) -> None:
    lineage = call("distill", epochs=2, teacher=("resnet20",))
    teacher, student = lineage.generations
    lineage = replace(lineage, generations=(replace(teacher, weights=weights), student))
    paces = [Pace(step=2.0, image=0.5), Pace(step=3.0, image=0.25)]
    explanation = explain(lineage, INFO, paces=paces)
    teachers, students = explanation.generations
    assert (teachers.steps, teachers.work, teachers.seconds) == (0, 0.0, 1200 * 0.5)
    assert students.steps > 0
    text = explanation_text(explanation)
    assert f"   is not trained: its weights are {printable(weights)}, about 10 min\n\n1. student: " in text
    assert text.count("minimises") == 1
