"""Superclasses: whether mistakes and second choices stay in the family, and how far apart families lie."""

from __future__ import annotations

import torch
from torch import Tensor


def superclasses_of(labels: Tensor, coarse_labels: Tensor, num_classes: int) -> Tensor:
    """The superclass of each class, int64 ``[K]``; -1 for a class that no sample has.

    Shapes: ``labels`` and ``coarse_labels`` int64 ``[N]``.

    Errors: ``ValueError`` for a class whose samples are in more than one superclass.

    >>> superclasses_of(torch.tensor([0, 1, 2, 0]), torch.tensor([5, 5, 7, 5]), num_classes=4)
    tensor([ 5,  5,  7, -1])
    """
    found = torch.full((num_classes,), -1)
    found[labels] = coarse_labels
    wrong = found[labels] != coarse_labels
    if wrong.any():
        name = int(labels[wrong][0])
        several = sorted(set(coarse_labels[labels == name].tolist()))
        raise ValueError(f"class {name} is in the superclasses {several}: expected one for each class")
    return found


def coarse_accuracy(logits: Tensor, labels: Tensor, superclasses: Tensor) -> float:
    """The share of samples whose best class is in the superclass of their label, in ``[0, 1]``.

    Formula: ``mean_n 1[s(argmax z_n) = s(y_n)]``: the plain reading, the superclass of the best class. Never below
    the accuracy.

    Shapes: ``logits`` ``[N, K]``, ``labels`` ``[N]``, ``superclasses`` ``[K]``.

    >>> logits = torch.tensor([[2.0, 1.0, 0.0], [0.0, 1.0, 2.0]])
    >>> coarse_accuracy(logits, torch.tensor([1, 1]), torch.tensor([0, 0, 1]))
    0.5

    Source: none needed.
    """
    return (superclasses[logits.argmax(1)] == superclasses[labels]).double().mean().item()


def superclass_share(counts: Tensor, superclasses: Tensor) -> tuple[float, float] | None:
    """Which share of the choices of another class stays in the superclass, and which would by chance.

    Formula: over ``c != j``: ``sum M(c, j) 1[s(c) = s(j)] / sum M(c, j)``; by chance each of the K - 1 other classes
    were as likely: ``sum_c M(c) (m_c - 1) / (K - 1) / sum_c M(c)``, ``m_c`` the size of the superclass of c.

    Shapes: ``counts`` ``[K, K]``, rows are true classes (second choices, or confusions); ``superclasses`` ``[K]``.
    None where no other class was chosen.

    >>> superclass_share(torch.tensor([[9, 3, 1], [0, 0, 0], [0, 0, 0]]), torch.tensor([0, 0, 1]))
    (0.75, 0.5)

    Source: ours.
    """
    others = counts.double().fill_diagonal_(0.0)
    if others.sum() == 0:
        return None
    kin = (superclasses[:, None] == superclasses).double().fill_diagonal_(0.0)
    chance = kin.sum(1) / (len(superclasses) - 1)
    rows = others.sum(1)
    return ((others * kin).sum() / rows.sum()).item(), ((rows * chance).sum() / rows.sum()).item()


def centre_distances(outputs: Tensor, labels: Tensor, superclasses: Tensor) -> tuple[float | None, float | None]:
    """Dist^C and Dist^S in a definition of our own: how far classes and superclasses lie apart.

    Formula: ``m_c`` the mean output of class c and ``M_s`` the mean of the ``m_c`` of superclass s;
    ``Dist^C = mean |m_c - m_d|`` over the pairs of classes in one superclass, all such pairs counted alike,
    ``Dist^S = mean |M_s - M_t|`` over the pairs of superclasses, Euclidean.

    Shapes: ``outputs`` ``[N, D]``, scores (softmax) unless said otherwise, penultimate features would do;
    ``labels`` ``[N]``; ``superclasses`` ``[K]``. Classes without samples have no centre. None where there is no pair.

    >>> outputs = torch.tensor([[0.0, 0.0], [0.0, 2.0], [3.0, 1.0], [5.0, 1.0]])
    >>> centre_distances(outputs, torch.tensor([0, 1, 2, 2]), torch.tensor([0, 0, 1]))
    (2.0, 4.0)

    Source: the names are those of Yang, Xie, Qiao, Yuille, AAAI 2019, whose definition was not found; this one is
    ours.
    """
    present = torch.bincount(labels, minlength=len(superclasses)) > 0
    centres = _means(outputs.double(), labels, len(superclasses))[present]
    families = superclasses[present]
    names, family = families.unique(return_inverse=True)
    distances = torch.cdist(centres, centres, compute_mode="donot_use_mm_for_euclid_dist")
    kin = (families[:, None] == families).triu(1)
    above = _means(centres, family, len(names))
    apart = torch.cdist(above, above, compute_mode="donot_use_mm_for_euclid_dist")
    pairs = torch.ones_like(apart, dtype=torch.bool).triu(1)
    within, between = distances[kin], apart[pairs]
    return (
        within.mean().item() if len(within) else None,
        between.mean().item() if len(between) else None,
    )


def _means(values: Tensor, groups: Tensor, count: int) -> Tensor:
    """The mean row of each group ``[count, D]``; 0 of an empty one."""
    sums = torch.zeros(count, values.shape[1], dtype=torch.float64).index_add_(0, groups, values)
    return sums / torch.bincount(groups, minlength=count).clamp_min(1)[:, None]
