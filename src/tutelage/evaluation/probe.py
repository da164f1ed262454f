"""Probes: the accuracy of simple classifiers on frozen features, by a fixed protocol that is the same for all."""

from __future__ import annotations

import warnings
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from tutelage.data.splits import stratified_split

L2 = (1.0, 1e-1, 1e-2, 1e-3, 1e-4, 1e-5)
"""The regularization strengths that the linear probe chooses from, the strongest first."""
ONE_IN = 5
"""One training image in so many is held out to choose the regularization."""
ITERATIONS, TOLERANCE = 1000, 1e-4
NEIGHBOURS = 20
_SPLIT = 5  # the key of the draw of validation images, beside those of data.splits
PROTOCOLS: dict[str, dict[str, Any]] = {
    "linear": {"l2": L2, "validation": f"1 in {ONE_IN}", "iterations": ITERATIONS, "tolerance": TOLERANCE},
    "knn": {"neighbours": NEIGHBOURS, "distance": "cosine", "votes": "equal"},
}
"""Everything that decides the result of a probe on given features."""


class LinearResult(NamedTuple):
    """The result of the linear probe: test accuracy, the chosen regularization, whether the last fit converged."""

    accuracy: float
    l2: float
    converged: bool


def linear_probe(train: Tensor, train_labels: Tensor, test: Tensor, test_labels: Tensor) -> LinearResult:
    """Fit logistic regression on standardized features; accuracy is on the test set, in ``[0, 1]``.

    Formula: ``min_W,b mean_n -ln softmax(W x_n + b)(y_n) + l2 / 2 |W|^2`` on ``x = (feature - mean) / std`` with the
    mean and std of the images that are fitted. ``l2`` is the one of :data:`L2` with the best accuracy on one in
    :data:`ONE_IN` training images, held out in proportion to the classes (of equals, the stronger); the fit is then
    repeated on all training images. The test set takes no part in any choice, and nothing is random: the same
    features give the same result.

    Shapes: features ``[N, D]``, labels int64 ``[N]``.

    Errors: ``ValueError`` for fewer than two classes, or too few images to hold any out.

    >>> features, labels = torch.tensor([[0.0], [1.0]]).repeat(10, 1), torch.tensor([0, 1]).repeat(10)
    >>> linear_probe(features, labels, features, labels)
    LinearResult(accuracy=1.0, l2=1.0, converged=True)

    Source: scikit-learn's logistic regression (lbfgs), whose ``C`` is ``1 / (l2 N)``, and which has one row in ``W``
    for two classes; the protocol is ours.
    """
    check_training(train_labels)
    count = len(train_labels)
    fitted, held_out = stratified_split(train_labels, int(train_labels.max()) + 1, count - count // ONE_IN, _SPLIT)
    x, y = _array(train), train_labels.numpy()
    scores = []
    for l2 in L2:
        predict, _ = _fit(x[fitted.numpy()], y[fitted.numpy()], l2)
        scores.append(float(np.mean(predict(x[held_out.numpy()]) == y[held_out.numpy()])))
    l2 = L2[int(np.argmax(scores))]  # the first, and so the strongest, of equals
    predict, converged = _fit(x, y, l2)
    return LinearResult(float(np.mean(predict(_array(test)) == test_labels.numpy())), l2, converged)


def knn_probe(train: Tensor, train_labels: Tensor, test: Tensor, test_labels: Tensor) -> float:
    """Classify by the nearest training images, by cosine of features: accuracy on the test set, in ``[0, 1]``.

    The nearest :data:`NEIGHBOURS` (all, where there are fewer) have one vote each; of classes with equal votes the
    first wins. The features are not standardized.

    Shapes: features ``[N, D]``, labels int64 ``[N]``.

    >>> train, labels = torch.eye(2).repeat(30, 1), torch.tensor([0, 1]).repeat(30)
    >>> knn_probe(train, labels, torch.tensor([[5.0, 1.0], [0.1, 0.3]]), torch.tensor([0, 0]))
    0.5

    Source: scikit-learn; the protocol is ours.
    """
    from sklearn.neighbors import KNeighborsClassifier

    nearest = KNeighborsClassifier(n_neighbors=min(NEIGHBOURS, len(train)), metric="cosine", algorithm="brute")
    nearest.fit(_array(train), train_labels.numpy())
    return float(np.mean(nearest.predict(_array(test)) == test_labels.numpy()))


def check_training(labels: Tensor) -> None:
    """Check that training labels int64 ``[N]`` suffice for the linear probe.

    Errors: ``ValueError``, see :func:`linear_probe`.
    """
    classes, held_out = len(labels.unique()), len(labels) // ONE_IN
    if classes < 2:
        raise ValueError(f"a probe needs training images of at least two classes, not of {classes}")
    if held_out < 1 or len(labels) - held_out < classes:
        raise ValueError(
            f"{len(labels)} training images of {classes} classes are too few for the linear probe: it fits all but "
            f"one in {ONE_IN} of them, and needs at least one per class"
        )


def _fit(x: Any, y: Any, l2: float) -> tuple[Any, bool]:
    """Fit a classifier: its ``predict``, and whether the fit converged."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    regression = LogisticRegression(C=1.0 / (l2 * len(x)), max_iter=ITERATIONS, tol=TOLERANCE)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", ConvergenceWarning)
        pipeline = make_pipeline(StandardScaler(), regression).fit(x, y)
    return pipeline.predict, not any(issubclass(warning.category, ConvergenceWarning) for warning in caught)


def _array(features: Tensor) -> Any:
    return features.to(torch.float64).numpy()
