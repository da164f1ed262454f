"""Laws that hold for every input: later logit methods, feature maps, relations; and what must not become NaN."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from tutelage import functional as F

from .inputs import classes, gradient, random_labels, random_logits, repeatable, rows, seeds, temperatures

DOUBLE = torch.float64
close = torch.testing.assert_close
channels = st.integers(1, 4)
Distance = Callable[[Tensor, Tensor], Tensor]

RANK_DISTANCES = [F.inter_class_distance, F.intra_class_distance]
BETWEEN_LOGITS: list[Distance] = [
    *RANK_DISTANCES,
    F.batch_correlation,
    F.class_correlation,
    lambda s, t: F.dkd(s, t, torch.zeros(len(s), dtype=torch.int64)),
]
BETWEEN_VECTORS: list[Distance] = [
    F.fitnet_hint,
    F.similarity_preserving,
    F.relational_distance,
    F.relational_angle,
    F.probabilistic_transfer,
    F.correlation_congruence,
    F.official_correlation_congruence,
]
BETWEEN_MAPS: list[Distance] = [
    F.attention_transfer,
    F.neuron_selectivity_transfer,
    lambda s, t: F.flow_of_solution(s, s**2, t, t**2),
]
ANY_WIDTH = [
    F.similarity_preserving,
    F.relational_distance,
    F.relational_angle,
    F.probabilistic_transfer,
    F.correlation_congruence,
]


# logits


@repeatable
@given(seeds, rows, classes, temperatures)
def test_decoupled_parts_make_the_whole_divergence(seed: int, b: int, k: int, temperature: float) -> None:
    student, teacher = random_logits(seed, b, k), random_logits(seed + 1, b, k)
    labels = random_labels(seed, b, k)
    target = F.soften(teacher, temperature)
    label_score = target.gather(1, labels[:, None])[:, 0]
    parts = F.target_class_kl(student, teacher, labels, temperature)
    parts = parts + (1 - label_score) * F.other_class_kl(student, teacher, labels, temperature)
    close(parts, F.kl_divergence(target, student, temperature), rtol=0, atol=1e-12)


def test_decoupled_parts_of_two_classes() -> None:
    student, teacher, labels = random_logits(0, 4, 2), random_logits(1, 4, 2), random_labels(2, 4, 2)
    assert torch.equal(F.other_class_kl(student, teacher, labels), torch.zeros(4, dtype=DOUBLE))
    close(F.target_class_kl(student, teacher, labels), F.kl_divergence(F.soften(teacher), student))


def test_decoupled_parts_of_a_certain_teacher_are_finite() -> None:
    student = torch.zeros(2, 3, requires_grad=True)
    teacher = torch.tensor([[200.0, 0.0, 0.0], [0.0, 200.0, -200.0]])
    value = F.dkd(student, teacher, torch.tensor([0, 0]), temperature=1.0)
    assert value.isfinite().all()
    assert gradient(value, student).isfinite().all()


@repeatable
@given(seeds, rows, classes, st.floats(0.1, 20.0), st.floats(-20.0, 20.0), st.booleans())
def test_standardized_logits_forget_scale_and_offset(
    seed: int, b: int, k: int, scale: float, offset: float, unbiased: bool
) -> None:
    logits = random_logits(seed, b, k)
    standard = F.standardize(logits, unbiased)
    close(F.standardize(scale * logits + offset, unbiased), standard, rtol=0, atol=1e-4)
    close(standard.mean(1), torch.zeros(b, dtype=DOUBLE), rtol=0, atol=1e-9)


@repeatable
@given(seeds, st.integers(2, 6), classes)
def test_rank_distances_stay_between_zero_and_two(seed: int, b: int, k: int) -> None:
    student, teacher = random_logits(seed, b, k), random_logits(seed + 1, b, k)
    for distance in RANK_DISTANCES:
        value = distance(student, teacher)
        assert ((value >= -1e-7) & (value <= 2 + 1e-7)).all()
        close(distance(teacher, student), value)


def test_a_batch_of_one_has_nothing_to_rank() -> None:
    assert F.intra_class_distance(random_logits(0, 1, 4), random_logits(1, 1, 4)).tolist() == [1.0]


# zero where student and teacher agree


@pytest.mark.parametrize("distance", [d for d in BETWEEN_LOGITS + BETWEEN_VECTORS if d not in RANK_DISTANCES])
@repeatable
@given(seed=seeds, b=st.integers(2, 6), k=st.integers(3, 9))
def test_no_distance_from_oneself(distance: Distance, seed: int, b: int, k: int) -> None:
    rows = random_logits(seed, b, k)
    close(distance(rows, rows), torch.zeros(b, dtype=DOUBLE), rtol=0, atol=1e-12)


@repeatable
@given(seeds, rows, classes)
def test_rank_distances_from_oneself_are_zero_but_for_their_constant(seed: int, b: int, k: int) -> None:
    logits = random_logits(seed, b, k)
    probs = F.soften(logits)
    by_row = (probs - probs.mean(1, keepdim=True)).square().sum(1)
    by_column = (probs - probs.mean(0)).square().sum(0)
    close(F.inter_class_distance(logits, logits), 1e-8 / (by_row + 1e-8), rtol=0, atol=1e-12)
    close(F.intra_class_distance(logits, logits), (1e-8 / (by_column + 1e-8)).mean().expand(b), rtol=0, atol=1e-12)


@pytest.mark.parametrize("distance", BETWEEN_MAPS)
@repeatable
@given(seed=seeds, b=rows, c=channels, h=channels, w=channels)
def test_no_distance_between_equal_maps(distance: Distance, seed: int, b: int, c: int, h: int, w: int) -> None:
    maps = random_logits(seed, b, c, h, w)
    close(distance(maps, maps), torch.zeros(b, dtype=DOUBLE), rtol=0, atol=1e-12)


# invariances


@repeatable
@given(seeds, rows, channels, st.floats(0.1, 10.0))
def test_attention_ignores_scale_and_channel_order(seed: int, b: int, c: int, scale: float) -> None:
    student, teacher = random_logits(seed, b, c, 3, 2), random_logits(seed + 1, b, 5, 3, 2)
    value = F.attention_transfer(student, teacher)
    close(F.attention_transfer(scale * student.flip(1), teacher), value)
    close(F.attention_map(student).norm(dim=1), torch.ones(b, dtype=DOUBLE))


@repeatable
@given(seeds, rows, channels)
def test_selectivity_ignores_the_scale_of_each_channel(seed: int, b: int, c: int) -> None:
    student, teacher = random_logits(seed, b, c, 3, 2), random_logits(seed + 1, b, 5, 3, 2)
    scales = 0.5 + random_logits(seed + 2, b, c, 1, 1).abs()
    value = F.neuron_selectivity_transfer(student, teacher)
    close(F.neuron_selectivity_transfer(student * scales, teacher), value)
    assert (value >= -1e-12).all()


@repeatable
@given(seeds, st.integers(2, 6), st.floats(0.1, 10.0), st.floats(-5.0, 5.0))
def test_relations_ignore_scale_and_place(seed: int, b: int, scale: float, offset: float) -> None:
    student, teacher = random_logits(seed, b, 4), random_logits(seed + 1, b, 7)
    for relation in (F.relational_distance, F.relational_angle):
        close(relation(scale * student + offset, teacher), relation(student, teacher), rtol=1e-6, atol=1e-10)


@pytest.mark.parametrize("distance", ANY_WIDTH)
def test_relations_compare_features_of_any_width(distance: Distance) -> None:
    student, teacher = random_logits(0, 5, 2, 3, 3), random_logits(1, 5, 7)
    value = distance(student, teacher)
    assert value.shape == (5,)
    close(distance(student.flatten(1), teacher), value)


@repeatable
@given(seeds, rows, channels)
def test_variational_information_is_a_gaussian_likelihood(seed: int, b: int, c: int) -> None:
    mean, teacher = random_logits(seed, b, c, 2, 3), random_logits(seed + 1, b, c, 2, 3)
    variance = 0.1 + random_logits(seed + 2, c).abs()
    expected = torch.nn.functional.gaussian_nll_loss(
        mean, teacher, variance.reshape(1, c, 1, 1).expand_as(mean), reduction="none"
    )
    close(F.variational_information(mean, teacher, variance), expected.flatten(1).mean(1))


def test_variational_information_of_vectors() -> None:
    mean, teacher, variance = random_logits(0, 4, 3), random_logits(1, 4, 3), torch.tensor([1.0, 2.0, 3.0])
    pooled = F.variational_information(mean[..., None, None], teacher[..., None, None], variance)
    close(F.variational_information(mean, teacher, variance), pooled)


def test_activations_on_the_right_side_cost_nothing() -> None:
    teacher = torch.tensor([[1.0, -1.0, 0.5, -0.1]])
    assert F.activation_boundary(torch.tensor([[1.0, -1.0, 3.0, -9.0]]), teacher).item() == 0.0
    assert F.activation_boundary(torch.tensor([[2.0, -2.0, 3.0, -9.0]]), teacher, margin=3.0).item() == 2.0


def test_kernel_series_approaches_the_gaussian() -> None:
    student, teacher = random_logits(0, 4, 3), random_logits(1, 4, 3)

    def gaussian(vectors: Tensor) -> Tensor:
        directions = torch.nn.functional.normalize(vectors)
        return (-0.4 * torch.cdist(directions, directions).square()).exp()

    expected = (gaussian(student) - gaussian(teacher)).square().mean(1)
    close(F.correlation_congruence(student, teacher, gamma=0.4, order=12), expected)


# degenerate inputs


@pytest.mark.parametrize("distance", BETWEEN_LOGITS + BETWEEN_VECTORS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_degenerate_vectors_have_finite_gradients(distance: Distance, dtype: torch.dtype) -> None:
    zeros = torch.zeros(4, 3)
    one_zero = torch.tensor([[0.0, 0.0, 0.0], [1.0, 2.0, 3.0], [1.0, 2.0, 3.0], [-1.0, -2.0, -3.0]])
    equal = torch.ones(4, 3)
    for student in (zeros, one_zero, equal):
        for teacher in (zeros, one_zero, equal, random_logits(0, 4, 3)):
            features = student.to(dtype).requires_grad_()
            value = distance(features, teacher.to(dtype))
            assert value.isfinite().all()
            assert gradient(value, features).isfinite().all()


@pytest.mark.parametrize("distance", [*BETWEEN_MAPS, F.fitnet_hint])
def test_degenerate_maps_have_finite_gradients(distance: Distance) -> None:
    zeros = torch.zeros(2, 3, 2, 2)
    dead_channel = random_logits(0, 2, 3, 2, 2).float()
    dead_channel[:, 1] = 0.0
    for student in (zeros, dead_channel):
        for teacher in (zeros, dead_channel, random_logits(1, 2, 3, 2, 2).float()):
            maps = student.clone().requires_grad_()
            value = distance(maps, teacher)
            assert value.isfinite().all()
            assert gradient(value, maps).abs().max() < 1e3


@pytest.mark.parametrize("distance", [F.similarity_preserving, F.relational_angle, F.correlation_congruence])
def test_a_zero_row_has_a_modest_gradient(distance: Distance) -> None:
    student = torch.tensor([[0.0, 0.0], [1.0, 2.0], [1.0, 2.0]], requires_grad=True)
    assert gradient(distance(student, random_logits(0, 3, 4).float()), student).abs().max() < 1e3


@pytest.mark.parametrize("distance", BETWEEN_LOGITS + BETWEEN_VECTORS)
def test_a_batch_of_one(distance: Distance) -> None:
    student = random_logits(0, 1, 3).requires_grad_()
    value = distance(student, random_logits(1, 1, 3))
    assert value.shape == (1,)
    assert value.isfinite().all()
    assert gradient(value, student).isfinite().all()


def test_a_constant_row_standardizes_to_zero() -> None:
    logits = torch.ones(1, 3, requires_grad=True)
    value = F.standardize(logits)
    assert value.tolist() == [[0.0, 0.0, 0.0]]
    assert gradient(value, logits).isfinite().all()


# errors


VECTORS, MAPS = torch.zeros(3, 4), torch.zeros(3, 2, 4, 4)


@pytest.mark.parametrize(
    "distance",
    [
        F.inter_class_distance,
        F.intra_class_distance,
        F.batch_correlation,
        F.class_correlation,
        F.fitnet_hint,
        F.activation_boundary,
        F.official_correlation_congruence,
        lambda s, t: F.variational_information(s, t, torch.ones(4)),
        lambda s, t: F.target_class_kl(s, t, torch.zeros(3, dtype=torch.int64)),
        lambda s, t: F.other_class_kl(s, t, torch.zeros(3, dtype=torch.int64)),
    ],
)
@pytest.mark.parametrize("shape", [(3, 1), (1, 4), (3, 5)])
def test_pairs_are_alike(distance: Distance, shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=re.escape("[3, 4] and ") + ".*" + re.escape(str(list(shape)))):
        distance(VECTORS, torch.zeros(shape))


@pytest.mark.parametrize("distance", ANY_WIDTH)
def test_relations_need_one_batch(distance: Distance) -> None:
    with pytest.raises(ValueError, match=re.escape("[3, 4] and teacher_features [1, 4] must be of one batch")):
        distance(VECTORS, torch.zeros(1, 4))
    with pytest.raises(ValueError, match=re.escape("at least two dimensions, got [3]")):
        distance(torch.zeros(3), VECTORS)


@pytest.mark.parametrize("distance", [F.attention_transfer, F.neuron_selectivity_transfer, F.flow_matrix])
def test_maps_need_the_same_places(distance: Distance) -> None:
    with pytest.raises(ValueError, match=re.escape("[3, 2, 2, 2] must have the same B, H and W; pool")):
        distance(MAPS, torch.zeros(3, 2, 2, 2))
    with pytest.raises(ValueError, match=re.escape("[1, 2, 4, 4] must have the same B, H and W")):
        distance(MAPS, torch.zeros(1, 2, 4, 4))
    with pytest.raises(ValueError, match=re.escape("must be [B, C, H, W], got [3, 4]")):
        distance(MAPS, VECTORS)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: F.attention_map(VECTORS), r"features must be \[B, C, H, W\], got \[3, 4\]"),
        (lambda: F.fitnet_hint(torch.zeros(3), torch.zeros(3)), r"at least two dimensions, got \[3\]"),
        (lambda: F.flow_of_solution(MAPS, MAPS, MAPS, MAPS[:, :1]), r"\[3, 2, 2\] and .* \[3, 2, 1\]"),
        (lambda: F.variational_information(MAPS, MAPS, torch.ones(3)), r"variance must be \[C\].*got \[3\]"),
        (lambda: F.variational_information(MAPS, MAPS, torch.ones(2, 1)), r"variance must be \[C\].*got \[2, 1\]"),
        (lambda: F.activation_boundary(VECTORS, VECTORS, margin=0.0), "margin must be a finite number above 0"),
        (lambda: F.correlation_congruence(VECTORS, VECTORS, gamma=0.0), "gamma must be a finite number above 0"),
        (lambda: F.correlation_congruence(VECTORS, VECTORS, order=0), "order must be at least 1, got 0"),
        (lambda: F.standardize(torch.zeros(3, 1)), r"at least two classes, got \[3, 1\]"),
        (lambda: F.standardize(torch.zeros(3)), r"logits must be \[B, K\], got \[3\]"),
        (
            lambda: F.dkd(torch.zeros(1, 1), torch.zeros(1, 1), torch.zeros(1, dtype=torch.int64)),
            r"at least two classes, got \[1, 1\]",
        ),
        (lambda: F.inter_class_distance(VECTORS, VECTORS, 0.0), "temperature must be a finite number above 0"),
    ],
)
def test_numbers_and_shapes_out_of_range(call: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()
