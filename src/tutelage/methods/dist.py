"""Huang et al.: Knowledge Distillation from A Stronger Teacher (arXiv 2205.10536, NeurIPS 2022)."""

from __future__ import annotations

from torch import Tensor

from tutelage import functional
from tutelage.objective import Constant, Match, Objective, TeacherProbs, beside_labels


def inter_class(target_probs: Tensor, student_logits: Tensor, temperature: float | Tensor = 1.0) -> Tensor:
    """``functional.inter_class_distance`` to any target distribution, ``[B]``.

    >>> import torch
    >>> inter_class(torch.tensor([[0.9, 0.1]]), torch.tensor([[0.0, 1.0]]))
    tensor([2.])
    """
    student = functional.tempered_logits(student_logits, temperature)
    return functional.inter_class_distance(student, target_probs.log())


def intra_class(target_probs: Tensor, student_logits: Tensor, temperature: float | Tensor = 1.0) -> Tensor:
    """``functional.intra_class_distance`` to any target distribution, ``[B]``; it depends on the whole batch.

    >>> import torch
    >>> intra_class(torch.tensor([[0.5, 0.5], [0.9, 0.1]]), torch.tensor([[2.0, 0.0], [0.0, 0.0]])).round(decimals=4)
    tensor([2., 2.])
    """
    student = functional.tempered_logits(student_logits, temperature)
    return functional.intra_class_distance(student, target_probs.log())


def dist(
    *, hard_weight: float = 1.0, inter_weight: float = 2.0, intra_weight: float = 2.0, temperature: float = 4.0
) -> Objective:
    """DIST: labels, and the correlation with the teacher's scores, over classes and over examples.

    Formula: ``h H(e_y, p) + T^2 (b L_inter + c L_intra)``; ``L_inter = mean_i (1 - pearson(p_i:, p^T_i:))`` over the
    classes of each example, ``L_intra = mean_k (1 - pearson(p_:k, p^T_:k))`` over the batch of each class, both at
    temperature T. A batch of one has ``L_intra = 1``.

    >>> print(dist())
    H(labels, student) + 2 4^2 inter_class(teacher@4, student@4) + 2 4^2 intra_class(teacher@4, student@4)

    Source: arXiv 2205.10536; T^2, and 2, 2 with T = 4 on CIFAR-100 (T = 1 on ImageNet), from the authors' code.
    """
    target, tempered = TeacherProbs(), Constant(temperature)
    inter = Match(
        name="inter", target=target, temperature=tempered, weight=Constant(inter_weight), distance=inter_class
    )
    intra = Match(
        name="intra", target=target, temperature=tempered, weight=Constant(intra_weight), distance=intra_class
    )
    return beside_labels(hard_weight, inter, intra)
