"""Laws that hold for every input: distributions, divergences, tolerance, adjustment, temperatures."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from torch import Tensor

from tutelage import functional as F

from .inputs import (
    classes,
    gradient,
    near,
    random_labels,
    random_logits,
    repeatable,
    rows,
    seeds,
    temperatures,
    tensor,
)

DOUBLE = torch.float64
close = torch.testing.assert_close


def distance_to_self(logits: Tensor, temperature: float | Tensor) -> Tensor:
    return F.kl_divergence(F.soften(logits, temperature), logits, temperature)


# distributions


@repeatable
@given(seeds, rows, classes)
def test_a_temperature_per_sample_is_each_row_at_its_own(seed: int, b: int, k: int) -> None:
    student, teacher = random_logits(seed, b, k), random_logits(seed + 1, b, k)
    each = 0.5 + random_logits(seed + 2, b).abs()
    whole = F.kl_divergence(F.soften(teacher, each), student, each)
    for i, temperature in enumerate(each.tolist()):
        row = slice(i, i + 1)
        close(whole[row], F.kl_divergence(F.soften(teacher[row], temperature), student[row], temperature))


@repeatable
@given(seeds, rows, classes, temperatures)
def test_tempering_probs_is_softening_logits(seed: int, b: int, k: int, temperature: float) -> None:
    logits = random_logits(seed, b, k)
    close(F.temper(F.soften(logits), temperature), F.soften(logits, temperature))


@repeatable
@given(seeds, classes, temperatures)
def test_tempering_keeps_zeros(seed: int, k: int, temperature: float) -> None:
    probs = F.soften(random_logits(seed, 2, k)).clone()
    probs[:, 0] = 0.0
    probs = probs / probs.sum(1, keepdim=True)
    tempered = F.temper(probs, temperature)
    assert torch.equal(tempered == 0, probs == 0)
    close(tempered.sum(1), torch.ones(2, dtype=DOUBLE))


@repeatable
@given(seeds, rows, classes, st.floats(0.0, 1.0))
def test_both_forms_of_label_smoothing_are_one_family(seed: int, b: int, k: int, smoothing: float) -> None:
    labels = random_labels(seed, b, k)
    close(
        F.smooth_labels(labels, k, smoothing, DOUBLE),
        F.smooth_other_labels(labels, k, smoothing * (k - 1) / k, DOUBLE),
    )
    assert torch.equal(F.smooth_labels(labels, k, 0.0), F.one_hot(labels, k))


@repeatable
@given(seeds, rows, classes, st.floats(0.51, 0.99))
def test_virtual_teacher_is_a_distribution_that_flattens(seed: int, b: int, k: int, correct: float) -> None:
    labels = random_labels(seed, b, k)
    virtual = F.virtual_teacher(labels, k, correct, DOUBLE)
    close(virtual.sum(1), torch.ones(b, dtype=DOUBLE))
    close(F.temper(virtual, 1e9), torch.full((b, k), 1 / k, dtype=DOUBLE))
    official = F.official_virtual_teacher(labels, k, correct, 1.0, DOUBLE)
    assert torch.equal(official.argmax(1), labels)


# divergences


@repeatable
@given(seeds, rows, classes, temperatures)
def test_distillation_from_oneself_is_zero(seed: int, b: int, k: int, temperature: float) -> None:
    value = distance_to_self(random_logits(seed, b, k), temperature)
    close(value, torch.zeros(b, dtype=DOUBLE), rtol=0, atol=1e-14)


@repeatable
@given(seeds, rows, classes, temperatures, st.floats(-50, 50))
def test_distillation_ignores_a_constant_in_a_row(
    seed: int, b: int, k: int, temperature: float, constant: float
) -> None:
    student, teacher = random_logits(seed, b, k), random_logits(seed + 1, b, k)
    value = F.kl_divergence(F.soften(teacher, temperature), student, temperature)
    moved = F.kl_divergence(F.soften(teacher + constant, temperature), student - constant, temperature)
    close(value, moved, rtol=0, atol=1e-11)
    assert (value >= -1e-14).all()


@repeatable
@given(seeds, rows, classes, temperatures)
def test_divergence_is_cross_entropy_less_the_targets_entropy(seed: int, b: int, k: int, temperature: float) -> None:
    student, teacher = random_logits(seed, b, k), random_logits(seed + 1, b, k)
    target = F.soften(teacher)
    divergence = F.kl_divergence(target, student, temperature)
    close(divergence, F.cross_entropy(target, student, temperature) - F.entropy(teacher), rtol=0, atol=1e-12)
    close(F.kl_divergence_element_mean(target, student, temperature) * k, divergence)


@repeatable
@given(seeds, rows, classes, temperatures)
def test_divergence_from_a_label_is_exactly_cross_entropy(seed: int, b: int, k: int, temperature: float) -> None:
    student, label = random_logits(seed, b, k), F.one_hot(random_labels(seed, b, k), k, DOUBLE)
    assert torch.equal(F.kl_divergence(label, student, temperature), F.cross_entropy(label, student, temperature))


@repeatable
@given(seeds, rows, classes, temperatures)
def test_squared_temperature_keeps_the_gradients_scale(seed: int, b: int, k: int, temperature: float) -> None:
    student, teacher = random_logits(seed, b, k).requires_grad_(), random_logits(seed + 1, b, k)
    target = F.soften(teacher, temperature)
    slope = gradient(temperature**2 * F.kl_divergence(target, student, temperature), student)
    close(slope, temperature * (F.soften(student, temperature) - target), rtol=0, atol=1e-12)


@repeatable
@given(seeds, rows, classes, st.floats(0.0, 3.0))
def test_entropy_bounds_gradient_and_its_penalties(seed: int, b: int, k: int, threshold: float) -> None:
    logits = random_logits(seed, b, k).requires_grad_()
    entropy = F.entropy(logits)
    assert ((entropy >= 0) & (entropy <= math.log(k) + 1e-12)).all()
    probs = F.soften(logits)
    close(F.confidence_penalty(logits), (probs * (probs * k).log()).sum(1) - math.log(k))
    assert torch.equal(F.confidence_hinge(logits, threshold), (threshold - entropy).clamp_min(0))
    close(gradient(entropy, logits), -probs * (probs.log() + entropy[:, None]), rtol=0, atol=1e-12)


@repeatable
@given(seeds, rows, classes, st.floats(0.0, 1.0))
def test_labels_and_teacher_at_temperature_one_are_one_mixed_target(seed: int, b: int, k: int, weight: float) -> None:
    student, teacher = random_logits(seed, b, k), random_logits(seed + 1, b, k)
    label, target = F.one_hot(random_labels(seed, b, k), k, DOUBLE), F.soften(teacher)
    parts = (1 - weight) * F.cross_entropy(label, student) + weight * F.kl_divergence(target, student)
    mixed = F.cross_entropy((1 - weight) * label + weight * target, student) - weight * F.entropy(teacher)
    close(parts, mixed, rtol=0, atol=1e-12)


@repeatable
@given(seeds, rows, classes, st.floats(0.0, 1.0), st.floats(0.5, 0.99))
def test_virtual_teacher_at_temperature_one_is_label_smoothing(
    seed: int, b: int, k: int, weight: float, correct: float
) -> None:
    labels = random_labels(seed, b, k)
    label, virtual = F.one_hot(labels, k, DOUBLE), F.virtual_teacher(labels, k, correct, DOUBLE)
    smoothed = F.smooth_other_labels(labels, k, weight * (1 - correct), DOUBLE)
    student = random_logits(seed, b, k)
    parts = (1 - weight) * F.cross_entropy(label, student) + weight * F.kl_divergence(virtual, student)
    constant = weight * torch.xlogy(virtual[0], virtual[0]).sum()
    close(parts, F.cross_entropy(smoothed, student) + constant, rtol=0, atol=1e-12)


def test_confident_logits_stay_finite() -> None:
    logits = torch.tensor([[1e4, 0.0, -1e4], [0.0, 0.0, 0.0]], requires_grad=True)
    target = F.soften(torch.tensor([[1e4, 0.0, -1e4], [-1e4, 0.0, 1e4]]))
    value = F.kl_divergence(target, logits) + F.entropy(logits) + F.score_difference(logits, 3)
    assert value.isfinite().all()
    assert gradient(value, logits).isfinite().all()


# tolerance


@repeatable
@given(seeds, rows, classes, st.data())
def test_score_difference_by_sorting(seed: int, b: int, k: int, data: st.DataObject) -> None:
    top = data.draw(st.integers(2, k))
    logits = random_logits(seed, b, k)
    value = F.score_difference(logits, top)
    for row, difference in zip(F.soften(logits).tolist(), value.tolist(), strict=True):
        scores = sorted(row, reverse=True)[:top]
        assert difference == pytest.approx(scores[0] - sum(scores[1:]) / (top - 1), abs=1e-14)
        assert -1e-15 <= difference <= 1


@pytest.mark.parametrize(("num_classes", "k"), [(4, 3), (5, 5), (8, 5), (6, 2)])
@pytest.mark.parametrize("eta", [0.1, 0.4, 0.5, 4 / 7, 0.65, 0.75, 0.85, 0.95])
def test_no_distribution_beats_the_optimum_of_tolerance(num_classes: int, k: int, eta: float) -> None:
    primary = F.primary_for_tolerance(eta, k)
    best = torch.zeros(1, num_classes, dtype=DOUBLE)
    best[0, 0], best[0, 1:k] = primary, (1 - primary) / (k - 1)
    # logits of several spreads cover the simplex from its corners to its centre; the line through the optimum finely
    spreads = enumerate((0.3, 1.0, 3.0, 8.0))
    line = torch.zeros(999, num_classes, dtype=DOUBLE)
    line[:, 0] = torch.arange(1, 1000) / 1000
    line[:, 1:k] = (1 - line[:, :1]) / (k - 1)
    others = torch.cat([line, *(random_logits(i, 2000, num_classes, spread=s).softmax(1) for i, s in spreads)])

    def loss(probs: Tensor) -> Tensor:
        top = probs.sort(descending=True, dim=1).values
        return -(1 - eta) * probs[:, 0].log() + eta * (top[:, 0] - top[:, 1:k].mean(1))

    assert loss(best).item() <= loss(others).min().item() + 1e-12
    close(F.score_difference(best.log(), k), loss(best) / eta + (1 - eta) / eta * best[:, 0].log())


@repeatable
@given(st.integers(2, 20), st.floats(0.0, 1.0))
def test_tolerance_and_primary_are_inverse(k: int, position: float) -> None:
    primary = min(1.0, 1 / k + position * (1 - 1 / k))
    assert F.primary_for_tolerance(F.tolerance_for_primary(primary, k), k) == pytest.approx(primary, abs=1e-12)


@repeatable
@given(st.integers(2, 20), st.floats(0.0, 0.999), st.floats(0.0, 0.999))
def test_more_tolerance_never_raises_the_primary(k: int, one: float, other: float) -> None:
    low, high = sorted((one, other))
    assert 1.0 >= F.primary_for_tolerance(low, k) >= F.primary_for_tolerance(high, k) >= 1 / k


def test_no_tolerance_is_plain_cross_entropy() -> None:
    assert F.primary_for_tolerance(0.0, 5) == 1.0


def test_training_on_tolerance_ends_at_the_primary() -> None:
    logits = random_logits(0, 1, 10, spread=0.1).requires_grad_()
    label = F.one_hot(torch.tensor([3]), 10, DOUBLE)
    eta = F.tolerance_for_primary(0.6, 5)
    optimizer = torch.optim.Adam([logits], lr=0.02)
    for _ in range(800):
        loss = (1 - eta) * F.cross_entropy(label, logits) + eta * F.score_difference(logits)
        logits.grad = gradient(loss, logits)
        optimizer.step()
    near(F.soften(logits.detach())[0, 3], 0.6, within=0.02)


@repeatable
@given(st.integers(2, 1000), st.floats(1e-3, 1.0))
def test_smoothing_gives_the_label_its_primary(num_classes: int, position: float) -> None:
    primary = 1 / num_classes + position * (1 - 1 / num_classes)
    assume(primary <= 1.0)
    smoothing = F.smoothing_for_primary(primary, num_classes)
    target = F.smooth_labels(torch.tensor([0]), num_classes, smoothing, DOUBLE)
    assert target[0, 0].item() == pytest.approx(primary, abs=1e-12)


@repeatable
@given(st.integers(2, 1000), st.floats(1e-3, 1.0))
def test_penalty_and_primary_are_inverse(num_classes: int, position: float) -> None:
    primary = min(1.0, 1 / num_classes + position * (1 - 1 / num_classes))
    beta = F.penalty_for_primary(primary, num_classes)
    assert F.primary_for_penalty(beta, num_classes) == pytest.approx(primary, abs=1e-9)


@pytest.mark.parametrize(("beta", "primary"), [(0.0, 1.0), (1e-4, 1.0), (1e6, 0.01)])
def test_primary_for_extreme_penalties(beta: float, primary: float) -> None:
    assert F.primary_for_penalty(beta, 100) == pytest.approx(primary, abs=1e-5)


@repeatable
@given(st.floats(0.0, 1.0), st.floats(0.0, 1.0))
def test_pupils_are_at_least_as_sure_as_their_teacher(primary: float, weight: float) -> None:
    assert primary - 1e-15 <= F.next_primary(primary, weight) <= 1.0
    assert F.next_primary(primary, 0.0) == 1.0
    assert F.next_primary(primary, 1.0) == pytest.approx(primary, abs=1e-15)


@repeatable
@given(seeds, classes, st.floats(0.0, 0.95))
def test_next_primary_is_where_the_gradient_vanishes(seed: int, k: int, weight: float) -> None:
    teacher, label = F.soften(random_logits(seed, 1, k)), F.one_hot(torch.tensor([0]), k, DOUBLE)
    optimum = ((1 - weight) * label + weight * teacher).log().clamp_min(-700).requires_grad_()
    loss = (1 - weight) * F.cross_entropy(label, optimum) + weight * F.kl_divergence(teacher, optimum)
    close(gradient(loss, optimum), torch.zeros_like(optimum), rtol=0, atol=1e-12)
    assert F.soften(optimum)[0, 0].item() == pytest.approx(F.next_primary(teacher[0, 0].item(), weight), abs=1e-12)


# born-again networks


@repeatable
@given(seeds, rows, classes)
def test_teacher_max_weights_sum_to_one(seed: int, b: int, k: int) -> None:
    probs = F.soften(random_logits(seed, b, k))
    weights = F.teacher_max_weights(probs)
    close(weights.sum(), tensor(1.0))
    assert torch.equal(weights.argsort(stable=True), probs.amax(1).argsort(stable=True))


@repeatable
@given(seeds, rows, classes)
def test_permuted_dark_knowledge_keeps_the_argmax_and_the_values(seed: int, b: int, k: int) -> None:
    probs, noise = F.soften(random_logits(seed, b, k)), random_logits(seed + 1, b, k)
    permuted = F.permute_dark_knowledge(probs, noise)
    top = probs.argmax(1, keepdim=True)
    assert torch.equal(permuted.argmax(1, keepdim=True), top)
    assert torch.equal(permuted.gather(1, top), probs.gather(1, top))
    assert torch.equal(permuted.sort(1).values, probs.sort(1).values)
    still = F.permute_dark_knowledge(probs, torch.zeros_like(probs))
    assert torch.equal(still, probs)


def test_uniform_noise_permutes_evenly() -> None:
    draws = 6000
    noise = F.uniform(0, torch.arange(draws)[:, None], torch.arange(4))
    probs = tensor([0.1, 0.6, 0.2, 0.05]).expand(draws, 4)
    permuted = F.permute_dark_knowledge(probs, noise)[:, [0, 2, 3]]
    counts = [int((permuted == tensor(order)).all(1).sum()) for order in itertools.permutations((0.1, 0.2, 0.05))]
    assert sum(counts) == draws
    assert all(abs(count - 1000) < 140 for count in counts)  # standard deviation 28.9


# knowledge adjustment


@repeatable
@given(seeds, rows, classes, st.floats(0.0, 0.4))
def test_adjustment_touches_wrong_rows_only(seed: int, b: int, k: int, smoothing: float) -> None:
    probs, labels = F.soften(random_logits(seed, b, k)), random_labels(seed, b, k)
    right = probs.argmax(1) == labels
    shifted, smoothed = F.shift_probabilities(probs, labels), F.smooth_wrong(probs, labels, smoothing)
    for adjusted in (shifted, smoothed):
        assert torch.equal(adjusted[right], probs[right])
        assert torch.equal(adjusted.argmax(1), labels)
    assert torch.equal(shifted.sort(1).values, probs.sort(1).values)
    assert torch.equal(smoothed[~right], F.smooth_labels(labels, k, smoothing, DOUBLE)[~right])
    assert torch.equal(F.shift_probabilities(shifted, labels), shifted)


@repeatable
@given(seeds, rows, classes, temperatures)
def test_shifting_logits_is_shifting_probs(seed: int, b: int, k: int, temperature: float) -> None:
    logits, labels = random_logits(seed, b, k), random_labels(seed, b, k)
    close(
        F.soften(F.shift_probabilities(logits, labels), temperature),
        F.shift_probabilities(F.soften(logits, temperature), labels),
    )


# dynamic temperature


@repeatable
@given(seeds, rows, classes, st.sampled_from(["none", "sum", "mean"]), st.floats(-5, 5))
def test_temperatures_have_the_base_as_mean(seed: int, b: int, k: int, normalize: str, bias: float) -> None:
    student, teacher = random_logits(seed, b, k), random_logits(seed + 1, b, k)
    for weights in (F.focal_weights(student, teacher, 2.0), F.student_max_weights(student)):
        free = F.sample_temperature(weights, 4.0, bias, normalize, floor=None)  # type: ignore[arg-type]
        close(free.mean(), tensor(4.0))
        held = F.sample_temperature(weights, 4.0, bias, normalize)  # type: ignore[arg-type]
        assert torch.equal(held, free.clamp_min(1.0))
        constant = F.sample_temperature(weights, 4.0, 0.0, normalize)  # type: ignore[arg-type]
        assert torch.equal(constant, torch.full((b,), 4.0, dtype=DOUBLE))


@repeatable
@given(seeds, rows, classes, st.floats(0.1, 10.0), st.sampled_from([0.25, 0.5, 1.0, 2.0]))
def test_focal_weights_see_directions_only(seed: int, b: int, k: int, scale: float, power: float) -> None:
    student, teacher = random_logits(seed, b, k), random_logits(seed + 1, b, k)
    weights = F.focal_weights(student, teacher, power)
    close(F.focal_weights(scale * student, teacher / scale, power), weights)
    assert ((weights >= 0) & (weights <= 2**power + 1e-12)).all()
    same = F.focal_weights(student, scale * student, power)
    close(same, torch.zeros(b, dtype=DOUBLE), rtol=0, atol=1e-15**power * 4)


@pytest.mark.parametrize("normalize", ["none", "sum", "mean"])
def test_samples_of_equal_weight_get_the_base(normalize: str) -> None:
    for weight in (0.0, 0.5):
        temperature = F.sample_temperature(torch.full((3,), weight), 4.0, 2.0, normalize)  # type: ignore[arg-type]
        assert temperature.tolist() == [4.0, 4.0, 4.0]


def test_zero_logits_have_no_direction() -> None:
    assert F.focal_weights(torch.zeros(1, 3), torch.ones(1, 3)).tolist() == [1.0]


def test_confusing_samples_get_the_lower_temperature() -> None:
    unsure, sure = [0.1, 0.0, 0.0], [9.0, 0.0, 0.0]
    temperature = F.sample_temperature(F.student_max_weights(tensor([unsure, sure])), 4.0, 1.0)
    assert temperature[0] < temperature[1]
