"""Probes: how well a simple classifier on frozen features does. Fixed protocols, the same for every network."""

from __future__ import annotations

import warnings
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from tutelage.data.splits import stratified

L2 = (1.0, 1e-1, 1e-2, 1e-3, 1e-4, 1e-5)
"""The regularisations that the linear probe chooses from, the strongest first."""
ONE_IN = 5
"""One training image in so many is kept from the fits that the choice is made by."""
ITERATIONS, TOLERANCE = 1000, 1e-4
NEIGHBOURS = 20
_SPLIT = 5  # the draw that cuts the validation images, beside those of data.select
PROTOCOLS: dict[str, dict[str, Any]] = {
    "linear": {"l2": L2, "validation": f"1 in {ONE_IN}", "iterations": ITERATIONS, "tolerance": TOLERANCE},
    "knn": {"neighbours": NEIGHBOURS, "distance": "cosine", "votes": "equal"},
}
"""All that decides what a probe gives for the same features."""


class Linear(NamedTuple):
    """What the linear probe found: test accuracy, the regularisation chosen, whether the last fit converged."""

    accuracy: float
    l2: float
    converged: bool


def linear_probe(train: Tensor, train_labels: Tensor, test: Tensor, test_labels: Tensor) -> Linear:
    """Logistic regression on standardised features: accuracy on the test set, in ``[0, 1]``.

    Formula: ``min_W,b mean_n -ln softmax(W x_n + b)(y_n) + l2 / 2 |W|^2`` on ``x = (feature - mean) / std`` with the
    mean and std of the images that are fitted. ``l2`` is the one of :data:`L2` with the best accuracy on one in
    :data:`ONE_IN` training images, cut out with the class shares of the whole (the stronger of equals); the fit is
    then made again on all training images. The test set takes no part in any choice, and nothing is drawn: the same
    features give the same answer.

    Shapes: features ``[N, D]``, labels int64 ``[N]``.

    Errors: ``ValueError`` for fewer than two classes, or too few images to cut any out.

    >>> features, labels = torch.tensor([[0.0], [1.0]]).repeat(10, 1), torch.tensor([0, 1]).repeat(10)
    >>> linear_probe(features, labels, features, labels)
    Linear(accuracy=1.0, l2=1.0, converged=True)

    Source: scikit-learn's logistic regression (lbfgs), whose ``C`` is ``1 / (l2 N)``, and which has one row in ``W``
    for two classes; the protocol is ours.
    """
    x, y, fitted, held = _training(train, train_labels)
    scores = []
    for l2 in L2:
        predict, _ = _fit(x[fitted], y[fitted], l2)
        scores.append(float(np.mean(predict(x[held]) == y[held])))
    l2 = L2[int(np.argmax(scores))]  # the first, and so the strongest, of equals
    predict, converged = _fit(x, y, l2)
    return Linear(float(np.mean(predict(_array(test)) == test_labels.numpy())), l2, converged)


def knn_probe(train: Tensor, train_labels: Tensor, test: Tensor, test_labels: Tensor) -> float:
    """The vote of the nearest training images by the cosine of features: accuracy on the test set, in ``[0, 1]``.

    :data:`NEIGHBOURS` of them (all, where there are fewer) have one vote each; of classes with as many votes the
    first is taken. The features are not standardised.

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
    """Make sure that training labels int64 ``[N]`` are enough for the linear probe.

    Errors: ``ValueError``, see :func:`linear_probe`.
    """
    classes, held = len(labels.unique()), len(labels) // ONE_IN
    if classes < 2:
        raise ValueError(f"a probe needs training images of two classes or more, not of {classes}")
    if held < 1 or len(labels) - held < classes:
        raise ValueError(
            f"{len(labels)} training images of {classes} classes are too few for the linear probe: it fits all but "
            f"one in {ONE_IN} of them, and needs one of each class among those"
        )


def _training(features: Tensor, labels: Tensor) -> tuple[Any, Any, Any, Any]:
    """Features and labels as arrays, and which rows the choice of ``l2`` fits and measures."""
    check_training(labels)
    fitted, held = stratified(labels, int(labels.max()) + 1, len(labels) - len(labels) // ONE_IN, _SPLIT)
    return _array(features), labels.numpy(), fitted.numpy(), held.numpy()


def _fit(x: Any, y: Any, l2: float) -> tuple[Any, bool]:
    """A classifier's ``predict``, and whether its fit converged."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    regression = LogisticRegression(C=1.0 / (l2 * len(x)), max_iter=ITERATIONS, tol=TOLERANCE)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always", ConvergenceWarning)
        pipeline = make_pipeline(StandardScaler(), regression).fit(x, y)
    return pipeline.predict, not any(issubclass(warning.category, ConvergenceWarning) for warning in said)


def _array(features: Tensor) -> Any:
    return features.to(torch.float64).numpy()
