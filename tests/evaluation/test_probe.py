"""Probes against independent computations, and what their choices may and may not depend on."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from tutelage.evaluation import probe
from tutelage.evaluation.probe import L2, knn_probe, linear_probe


def blobs(count: int, seed: int, classes: int = 3, width: int = 4, apart: float = 1.0) -> tuple[Tensor, Tensor]:
    """Overlapping normal clouds, ``apart`` of their standard deviation from each other."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % classes
    return torch.randn(count, width, generator=generator) + apart * torch.eye(classes, width)[labels], labels


def by_hand(train: Tensor, labels: Tensor, test: Tensor, l2: float) -> Tensor:
    """The classes that the formula of ``linear_probe`` gives, minimised by torch."""
    mean, std = train.double().mean(0), train.double().std(0, correction=0)
    x, z = ((part.double() - mean) / std for part in (train, test))
    weights = torch.zeros(3, x.shape[1], dtype=torch.float64, requires_grad=True)
    bias = torch.zeros(3, dtype=torch.float64, requires_grad=True)
    newton = torch.optim.LBFGS([weights, bias], max_iter=500, tolerance_grad=1e-10, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        newton.zero_grad()
        value = torch.nn.functional.cross_entropy(x @ weights.T + bias, labels) + l2 / 2 * weights.square().sum()
        value.backward()
        return value

    newton.step(loss)
    return (z @ weights.T + bias).argmax(1)


@pytest.mark.parametrize("l2", [1.0, 0.01])
def test_the_linear_probe_minimises_its_formula(l2: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "L2", (l2,))
    monkeypatch.setattr(probe, "TOLERANCE", 1e-9)
    train, labels = blobs(60, 0)
    test, _ = blobs(600, 1)
    predicted = by_hand(train, labels, test, l2)
    assert linear_probe(train, labels, test, predicted) == (1.0, l2, True)
    assert linear_probe(train, labels, test, (predicted + 1) % 3) == (0.0, l2, True)


def test_hand_made_separable_features() -> None:
    train = torch.tensor([[0.0, 10.0], [1.0, 10.0], [2.0, 20.0], [3.0, 20.0]]).repeat(5, 1)
    labels = torch.tensor([0, 0, 1, 1]).repeat(5)
    test = torch.tensor([[0.5, 12.0], [2.5, 18.0], [0.4, 10.0], [2.9, 20.0]])
    assert linear_probe(train, labels, test, torch.tensor([0, 1, 0, 0])).accuracy == 0.75
    directions = torch.tensor([[1.0, 0.0], [1.0, 0.1], [0.0, 1.0], [0.1, 1.0]]).repeat(20, 1)
    short_and_long = torch.tensor([[9.0, 1.0], [0.01, 0.02]])  # only their angles count
    assert knn_probe(directions, labels.repeat(4), short_and_long, torch.tensor([0, 1])) == 1.0


def test_twenty_neighbours_have_one_vote_each() -> None:
    near, far = torch.tensor([[1.0, 0.0]]).repeat(9, 1), torch.tensor([[1.0, 0.5]]).repeat(30, 1)
    train, labels = torch.cat([near, far]), torch.tensor([0] * 9 + [1] * 30)
    assert knn_probe(train, labels, torch.tensor([[1.0, 0.0]]), torch.tensor([1])) == 1.0  # 9 votes to 11
    train, labels = torch.cat([near, near[:2], far]), torch.tensor([0] * 11 + [1] * 30)
    assert knn_probe(train, labels, torch.tensor([[1.0, 0.0]]), torch.tensor([0])) == 1.0  # 11 votes to 9
    assert knn_probe(near, torch.tensor([0] * 4 + [1] * 5), near[:1], torch.tensor([1])) == 1.0  # fewer than 20


def test_the_regularization_is_chosen_on_images_that_no_fit_saw(monkeypatch: pytest.MonkeyPatch) -> None:
    train, labels = blobs(40, 2, width=30)
    test, _ = blobs(10, 3, width=30)
    chosen = linear_probe(train, labels, test, torch.zeros(10, dtype=torch.int64))
    other = linear_probe(train, labels, -test, torch.ones(10, dtype=torch.int64))
    assert chosen.l2 == other.l2
    assert chosen == linear_probe(train, labels, test, torch.zeros(10, dtype=torch.int64))

    # A weakly regularized fit memorizes 60 random labels in 60 dimensions: only the images held out tell.
    noise, random = blobs(60, 4, classes=2, width=60, apart=0.0)[0], torch.arange(60) % 6 // 5
    monkeypatch.setattr(probe, "L2", (10.0, 1e-6))
    assert linear_probe(noise, random, noise, random).l2 == 10.0
    # Where a strongly regularized fit can only predict the larger class, a weak one is better.
    clear = torch.nn.functional.one_hot(random).float()
    monkeypatch.setattr(probe, "L2", (1e6, 1e-3))
    assert linear_probe(clear, random, clear, random) == (1.0, 1e-3, True)


def test_a_fit_that_stops_early_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    train, labels = blobs(60, 0)
    assert linear_probe(train, labels, train, labels).converged
    monkeypatch.setattr(probe, "ITERATIONS", 1)
    assert not linear_probe(train, labels, train, labels).converged


@settings(max_examples=5)
@given(st.lists(st.floats(0.01, 100.0), min_size=4, max_size=4), st.floats(-50.0, 50.0))
def test_scales_do_not_matter(scales: list[float], shift: float) -> None:
    (train, labels), (test, truth) = blobs(60, 5), blobs(60, 6)
    moved = [part.double() * torch.tensor(scales, dtype=torch.float64) + shift for part in (train, test)]
    plain, other = linear_probe(train, labels, test, truth), linear_probe(moved[0], labels, moved[1], truth)
    assert plain.accuracy == pytest.approx(other.accuracy, abs=1.01 / 60)  # one image may lie on a border
    lengths = 1.0 + torch.arange(60)[:, None]
    assert knn_probe(train, labels, test, truth) == knn_probe(train * lengths, labels, test * lengths, truth)


def test_a_constant_feature_and_a_class_of_one_image_do_no_harm() -> None:
    train, labels = blobs(31, 7)
    train[:, 3], labels[30] = 5.0, 9
    result = linear_probe(train, labels, train, labels)
    assert result.l2 in L2
    assert 0.5 < result.accuracy <= 1.0


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([0] * 10, "at least two classes, not of 1"),
        ([0, 1, 0, 1], "4 training images of 2 classes are too few"),
        ([0, 1, 2, 3, 4], "5 training images of 5 classes are too few"),
    ],
)
def test_too_few_images(labels: list[int], message: str) -> None:
    features, classes = torch.zeros(len(labels), 2), torch.tensor(labels)
    with pytest.raises(ValueError, match=message):
        linear_probe(features, classes, features, classes)
