"""What holds for every loss: one value per example, its dtype, any order of the batch, and no value is read."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from tutelage import functional as F

from .inputs import gradient, random_labels, random_logits

Loss = Callable[[Tensor, Tensor, Tensor], Tensor]


def maps(rows: Tensor) -> Tensor:
    return rows.reshape(5, 2, 3, 1)


LOSSES: dict[str, Loss] = {
    "cross_entropy": lambda s, t, y: F.cross_entropy(F.smooth_labels(y, 6, 0.1, s.dtype), s),
    "kl_divergence": lambda s, t, y: F.kl_divergence(F.soften(t, 4.0), s, 4.0),
    "kl_divergence_element_mean": lambda s, t, y: F.kl_divergence_element_mean(F.soften(t), s),
    "tempered_virtual_teacher": lambda s, t, y: F.kl_divergence(
        F.temper(F.virtual_teacher(y, 6, 0.99, s.dtype), 20.0), s, 20.0
    ),
    "official_virtual_teacher": lambda s, t, y: F.kl_divergence(F.official_virtual_teacher(y, 6, dtype=s.dtype), s),
    "other_smoothing": lambda s, t, y: F.cross_entropy(F.smooth_other_labels(y, 6, 0.1, s.dtype), s),
    "one_hot": lambda s, t, y: F.cross_entropy(F.one_hot(y, 6, s.dtype), s),
    "entropy": lambda s, t, y: F.entropy(s),
    "confidence_penalty": lambda s, t, y: F.confidence_penalty(s),
    "confidence_hinge": lambda s, t, y: F.confidence_hinge(s, 2.0),
    "score_difference": lambda s, t, y: F.score_difference(s, 3),
    "teacher_max": lambda s, t, y: F.teacher_max_weights(F.soften(t)) * F.entropy(s),
    "permuted": lambda s, t, y: F.kl_divergence(F.permute_dark_knowledge(F.soften(t), t + t.roll(1, 1)), s),
    "shifted": lambda s, t, y: F.kl_divergence(F.shift_probabilities(F.soften(t), y), s),
    "smoothed": lambda s, t, y: F.kl_divergence(F.smooth_wrong(F.soften(t), y), s),
    "focal_temperature": lambda s, t, y: F.entropy(s) * F.sample_temperature(F.focal_weights(s, t), 4.0, 2.0),
    "student_temperature": lambda s, t, y: (
        F.entropy(s) * F.sample_temperature(F.student_max_weights(s), 4.0, 2.0, "sum")
    ),
    "target_class_kl": lambda s, t, y: F.target_class_kl(s, t, y, 4.0),
    "other_class_kl": lambda s, t, y: F.other_class_kl(s, t, y, 4.0),
    "dkd": lambda s, t, y: F.dkd(s, t, y),
    "inter_class_distance": lambda s, t, y: F.inter_class_distance(s, t, 4.0),
    "intra_class_distance": lambda s, t, y: F.intra_class_distance(s, t, 4.0),
    "standardized": lambda s, t, y: F.kl_divergence(F.soften(F.standardize(t), 2.0), F.standardize(s), 2.0),
    "batch_correlation": lambda s, t, y: F.batch_correlation(s, t, 4.0),
    "class_correlation": lambda s, t, y: F.class_correlation(s, t, 4.0),
    "fitnet_hint": lambda s, t, y: F.fitnet_hint(s, t),
    "attention_transfer": lambda s, t, y: F.attention_transfer(maps(s), maps(t)),
    "neuron_selectivity_transfer": lambda s, t, y: F.neuron_selectivity_transfer(maps(s), maps(t)),
    "flow_of_solution": lambda s, t, y: F.flow_of_solution(maps(s), maps(s) ** 2, maps(t), maps(t) ** 2),
    "variational_information": lambda s, t, y: F.variational_information(maps(s), maps(t), s.new_ones(2)),
    "activation_boundary": lambda s, t, y: F.activation_boundary(s, t),
    "similarity_preserving": lambda s, t, y: F.similarity_preserving(s, t),
    "relational_distance": lambda s, t, y: F.relational_distance(s, t),
    "relational_angle": lambda s, t, y: F.relational_angle(s, t),
    "probabilistic_transfer": lambda s, t, y: F.probabilistic_transfer(s, t),
    "correlation_congruence": lambda s, t, y: F.correlation_congruence(s, t),
    "official_correlation_congruence": lambda s, t, y: F.official_correlation_congruence(s, t),
}


def batch(dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor, Tensor]:
    return random_logits(1, 5, 6).to(dtype), random_logits(2, 5, 6).to(dtype), random_labels(3, 5, 6)


@pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES.keys())
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_one_value_per_example_in_the_same_dtype(loss: Loss, dtype: torch.dtype) -> None:
    student, teacher, labels = batch(dtype)
    value = loss(student.requires_grad_(), teacher, labels)
    assert value.shape == (5,)
    assert value.dtype == dtype
    slope = gradient(value, student)
    assert slope.isfinite().all()
    assert slope.abs().sum() > 0


ORDERLESS = {name: loss for name, loss in LOSSES.items() if name != "official_correlation_congruence"}


@pytest.mark.parametrize("loss", ORDERLESS.values(), ids=ORDERLESS.keys())
def test_the_order_of_the_batch_does_not_matter(loss: Loss) -> None:
    student, teacher, labels = batch()
    order = torch.tensor([3, 1, 4, 0, 2])
    permuted = loss(student[order], teacher[order], labels[order])
    torch.testing.assert_close(permuted, loss(student, teacher, labels)[order])


@pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES.keys())
def test_no_value_is_read(loss: Loss) -> None:
    # a tensor on the meta device has no values: reading one, which would wait for an accelerator, fails
    student, teacher, labels = (part.to("meta") for part in batch())
    assert loss(student, teacher, labels).shape == (5,)


@pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES.keys())
def test_gradients_are_those_of_the_value(loss: Loss) -> None:
    student, teacher, labels = batch()
    assert torch.autograd.gradcheck(lambda s: loss(s, teacher, labels), (student.requires_grad_(),))


@pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES.keys())
def test_inputs_are_left_as_they_were(loss: Loss) -> None:
    used, untouched = batch(), batch()
    loss(*used)
    for one, other in zip(used, untouched, strict=True):
        assert torch.equal(one, other)
