"""Mistakes that would broadcast or turn into NaN are refused, naming what was given."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from tutelage import functional as F

from .inputs import LABELS, STUDENT, TEACHER

ROWS = F.soften(TEACHER)
DISTANCES = [F.cross_entropy, F.kl_divergence, F.kl_divergence_element_mean]


@pytest.mark.parametrize("distance", DISTANCES)
@pytest.mark.parametrize("shape", [(3, 1), (3,), (1, 4), (2, 4), (3, 4, 1)])
def test_distances_name_both_shapes(distance: Callable[[Tensor, Tensor], Tensor], shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=re.escape(f"{list(shape)} and student_logits [3, 4]")):
        distance(torch.ones(shape), STUDENT)


@pytest.mark.parametrize("shape", [(3, 1), (1,), (4,), (1, 3), (3, 4)])
def test_scalars_are_one_or_one_a_sample(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=re.escape(f"[B] = [3] beside [3, 4], got {list(shape)}")) as error:
        F.soften(STUDENT, torch.ones(shape))
    assert "[B, B]" in str(error.value)


@pytest.mark.parametrize("temperature", [0, 0.0, -1.0, float("nan"), float("inf")])
@pytest.mark.parametrize("distance", DISTANCES)
def test_temperatures_are_above_zero(distance: Callable[..., Tensor], temperature: float) -> None:
    with pytest.raises(ValueError, match="temperature must be a finite number above 0, got"):
        distance(ROWS, STUDENT, temperature)
    with pytest.raises(ValueError, match="temperature"):
        F.temper(ROWS, temperature)


def test_scalars_take_the_dtype_of_what_they_divide() -> None:
    for value in (2, 2.0, torch.tensor(2), torch.tensor(2.0, dtype=torch.float64)):
        assert F.per_sample(value, torch.zeros(3, 4)).dtype == torch.float32
        assert F.per_sample(value, torch.zeros(3, 4)).shape == ()
    assert F.per_sample(torch.ones(3), STUDENT).shape == (3, 1)
    assert F.per_sample(torch.ones(3), STUDENT).dtype == torch.float64


@pytest.mark.parametrize(
    "call",
    [
        lambda: F.entropy(STUDENT[0]),
        lambda: F.soften(STUDENT[0]),
        lambda: F.temper(ROWS[0], 2.0),
        lambda: F.score_difference(STUDENT[0]),
        lambda: F.teacher_max_weights(ROWS[0]),
        lambda: F.student_max_weights(STUDENT[0]),
        lambda: F.shift_probabilities(ROWS[0], LABELS),
        lambda: F.smooth_wrong(ROWS[0], LABELS),
    ],
)
def test_rows_are_needed(call: Callable[[], Tensor]) -> None:
    with pytest.raises(ValueError, match=re.escape("must be [B, K], got [4]")):
        call()


@pytest.mark.parametrize(
    "call",
    [
        lambda: F.permute_dark_knowledge(ROWS, torch.zeros(3, 3)),
        lambda: F.focal_weights(STUDENT, torch.zeros(3, 3)),
    ],
)
def test_pairs_are_alike(call: Callable[[], Tensor]) -> None:
    with pytest.raises(ValueError, match=re.escape("[3, 4] and")) as error:
        call()
    assert "[3, 3]" in str(error.value)


@pytest.mark.parametrize(
    "call",
    [
        lambda labels: F.one_hot(labels, 4),
        lambda labels: F.smooth_labels(labels, 4, 0.1),
        lambda labels: F.smooth_other_labels(labels, 4, 0.1),
        lambda labels: F.virtual_teacher(labels, 4),
        lambda labels: F.official_virtual_teacher(labels, 4),
        lambda labels: F.shift_probabilities(ROWS, labels),
        lambda labels: F.smooth_wrong(ROWS, labels),
    ],
)
def test_labels_are_class_indices(call: Callable[[Tensor], Tensor]) -> None:
    for dtype in (torch.uint8, torch.int32, torch.int64):
        assert call(LABELS.to(dtype)).shape == (3, 4)
    for wrong in (LABELS.double(), LABELS == 0):
        with pytest.raises(TypeError, match=r"class indices \(integers\), got torch\."):
            call(wrong)
    with pytest.raises(ValueError, match=re.escape("got [3, 1]")):
        call(LABELS[:, None])


@pytest.mark.parametrize("adjust", [F.shift_probabilities, F.smooth_wrong])
def test_labels_agree_with_rows(adjust: Callable[[Tensor, Tensor], Tensor]) -> None:
    with pytest.raises(ValueError, match=re.escape("labels [2] and rows [3, 4]")):
        adjust(ROWS, LABELS[:2])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: F.smooth_labels(LABELS, 4, 1.5), r"smoothing must be in \[0, 1\], got 1.5"),
        (lambda: F.smooth_labels(LABELS, 4, float("nan")), r"smoothing must be in \[0, 1\], got nan"),
        (lambda: F.smooth_other_labels(LABELS, 4, -0.1), r"smoothing must be in \[0, 1\], got -0.1"),
        (lambda: F.smooth_wrong(ROWS, LABELS, 2.0), r"smoothing must be in \[0, 1\], got 2"),
        (lambda: F.virtual_teacher(LABELS, 4, 1.0), r"correct must be in \(0, 1\), got 1.0"),
        (lambda: F.virtual_teacher(LABELS, 4, 0.0), r"correct must be in \(0, 1\), got 0.0"),
        (lambda: F.one_hot(LABELS, 0), "num_classes must be at least 1, got 0"),
        (lambda: F.virtual_teacher(LABELS, 1), "num_classes must be at least 2, got 1"),
        (lambda: F.smooth_other_labels(LABELS, 1, 0.1), "num_classes must be at least 2, got 1"),
        (lambda: F.confidence_hinge(STUDENT, -1.0), "threshold must be an entropy of at least 0 nats, got -1.0"),
        (lambda: F.score_difference(STUDENT, 1), "k must be from 2 to the number of classes, 4, got 1"),
        (lambda: F.score_difference(STUDENT), "k must be from 2 to the number of classes, 4, got 5"),
        (lambda: F.primary_for_tolerance(1.0, 5), r"eta must be in \[0, 1\), got 1.0"),
        (lambda: F.primary_for_tolerance(-0.1, 5), r"eta must be in \[0, 1\), got -0.1"),
        (lambda: F.primary_for_tolerance(0.5, 1), "k must be at least 2, got 1"),
        (lambda: F.tolerance_for_primary(0.1, 5), r"primary must be in \[0.2, 1\], got 0.1"),
        (lambda: F.tolerance_for_primary(1.1, 5), r"primary must be in \[0.2, 1\], got 1.1"),
        (lambda: F.next_primary(1.1, 0.5), r"primary must be in \[0, 1\], got 1.1"),
        (lambda: F.next_primary(0.5, -0.5), r"teacher_weight must be in \[0, 1\], got -0.5"),
        (lambda: F.smoothing_for_primary(0.001, 100), r"primary must be in \[0.01, 1\], got 0.001"),
        (lambda: F.penalty_for_primary(0.01, 100), r"primary must be in \(1/100, 1\], got 0.01"),
        (lambda: F.primary_for_penalty(-1.0, 100), "beta must be a finite number above 0, got -1.0"),
        (lambda: F.focal_weights(STUDENT, TEACHER, -1.0), "power must be at least 0, got -1.0"),
        (lambda: F.sample_temperature(STUDENT, 4.0, 1.0), r"weights must be \[B\], got \[3, 4\]"),
        (lambda: F.sample_temperature(STUDENT[0], 0.0, 1.0), "base must be a finite number above 0, got 0.0"),
        (lambda: F.sample_temperature(STUDENT[0], 4.0, 1.0, floor=0.0), "floor must be a finite number above 0"),
        (
            lambda: F.sample_temperature(STUDENT[0], 4.0, 1.0, "max"),  # type: ignore[arg-type]
            "normalize must be 'none', 'sum' or 'mean', got 'max'",
        ),
    ],
)
def test_numbers_out_of_range(call: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()
