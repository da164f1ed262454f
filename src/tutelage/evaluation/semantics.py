"""Superclasses: whether mistakes and second choices stay within them, and how far apart they lie."""

from __future__ import annotations

import torch
from torch import Tensor


def superclasses_of(labels: Tensor, coarse_labels: Tensor, num_classes: int) -> Tensor:
    """The superclass of each class, int64 ``[K]``; -1 for a class without samples.

    Shapes: ``labels`` and ``coarse_labels`` int64 ``[N]``.

    Errors: ``ValueError`` for a class whose samples are in more than one superclass.

    >>> superclasses_of(torch.tensor([0, 1, 2, 0]), torch.tensor([5, 5, 7, 5]), num_classes=4)
    tensor([ 5,  5,  7, -1])
    """
    superclasses = torch.full((num_classes,), -1)
    superclasses[labels] = coarse_labels
    conflicts = superclasses[labels] != coarse_labels
    if conflicts.any():
        label = int(labels[conflicts][0])
        several = sorted(set(coarse_labels[labels == label].tolist()))
        raise ValueError(f"class {label} is in the superclasses {several}: expected one for each class")
    return superclasses


def coarse_accuracy(logits: Tensor, labels: Tensor, superclasses: Tensor) -> float:
    """The share of samples whose predicted class is in the superclass of their label, in ``[0, 1]``.

    Formula: ``mean_n 1[s(argmax z_n) = s(y_n)]``; not the superclass with the largest sum of scores. Never below the
    accuracy.

    Shapes: ``logits`` ``[N, K]``, ``labels`` ``[N]``, ``superclasses`` ``[K]``.

    >>> logits = torch.tensor([[2.0, 1.0, 0.0], [0.0, 1.0, 2.0]])
    >>> coarse_accuracy(logits, torch.tensor([1, 1]), torch.tensor([0, 0, 1]))
    0.5

    Source: none needed.
    """
    return (superclasses[logits.argmax(1)] == superclasses[labels]).double().mean().item()


def superclass_share(counts: Tensor, superclasses: Tensor) -> tuple[float, float] | None:
    """The share of choices of another class that stay within the superclass, and the share expected by chance.

    Formula: over ``c != j``: ``sum M(c, j) 1[s(c) = s(j)] / sum M(c, j)``; by chance, with the K - 1 other classes
    equally likely: ``sum_c M(c) (m_c - 1) / (K - 1) / sum_c M(c)``, ``m_c`` the size of the superclass of c.

    Shapes: ``counts`` ``[K, K]``, rows are true classes (second choices, or confusions); ``superclasses`` ``[K]``.
    None where no other class was chosen.

    >>> superclass_share(torch.tensor([[9, 3, 1], [0, 0, 0], [0, 0, 0]]), torch.tensor([0, 0, 1]))
    (0.75, 0.5)

    Source: ours.
    """
    others = counts.double().fill_diagonal_(0.0)
    if others.sum() == 0:
        return None
    same = (superclasses[:, None] == superclasses).double().fill_diagonal_(0.0)
    chance = same.sum(1) / (len(superclasses) - 1)
    by_class = others.sum(1)
    within = (others * same).sum() / by_class.sum()
    return within.item(), ((by_class * chance).sum() / by_class.sum()).item()


def centre_distances(outputs: Tensor, labels: Tensor, superclasses: Tensor) -> tuple[float | None, float | None]:
    """Dist^C and Dist^S by a definition of our own: the mean distances of classes and of superclasses.

    Formula: ``m_c`` the mean output of class c and ``M_s`` the mean of the ``m_c`` of superclass s;
    ``Dist^C = mean |m_c - m_d|`` over all pairs of classes of the same superclass, each pair with equal weight,
    ``Dist^S = mean |M_s - M_t|`` over all pairs of superclasses, Euclidean.

    Shapes: ``outputs`` ``[N, D]``, usually scores (softmax), but features would do; ``labels`` ``[N]``;
    ``superclasses`` ``[K]``. Classes without samples have no centre. None where there is no pair.

    >>> outputs = torch.tensor([[0.0, 0.0], [0.0, 2.0], [3.0, 1.0], [5.0, 1.0]])
    >>> centre_distances(outputs, torch.tensor([0, 1, 2, 2]), torch.tensor([0, 0, 1]))
    (2.0, 4.0)

    Source: the names are those of Yang, Xie, Qiao, Yuille, AAAI 2019, whose definition we could not find; this one is
    ours.
    """
    present = torch.bincount(labels, minlength=len(superclasses)) > 0
    class_centres = _group_means(outputs.double(), labels, len(superclasses))[present]
    class_superclasses = superclasses[present]
    names, groups = class_superclasses.unique(return_inverse=True)
    centres = _group_means(class_centres, groups, len(names))
    same = class_superclasses[:, None] == class_superclasses
    return (
        _mean_distance(class_centres, same),
        _mean_distance(centres, torch.ones(len(names), len(names), dtype=torch.bool)),
    )


def _mean_distance(centres: Tensor, pairs: Tensor) -> float | None:
    """The mean distance over the pairs that ``pairs`` ``[n, n]`` marks above its diagonal; None without any."""
    distances = torch.cdist(centres, centres, compute_mode="donot_use_mm_for_euclid_dist")[pairs.triu(1)]
    return distances.mean().item() if len(distances) else None


def _group_means(values: Tensor, groups: Tensor, count: int) -> Tensor:
    """The mean row of each group ``[count, D]``; 0 for an empty group."""
    sums = torch.zeros(count, values.shape[1], dtype=torch.float64).index_add_(0, groups, values)
    return sums / torch.bincount(groups, minlength=count).clamp_min(1)[:, None]
