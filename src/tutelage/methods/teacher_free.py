"""Yuan et al.: Revisiting Knowledge Distillation via Label Smoothing Regularization (arXiv 1909.11723, CVPR 2020).

Reversed, defective and self-training are lineages that use :func:`tf_kd`; the virtual teacher is :func:`tf_kd_reg`.
Where paper and authors' code differ, the form of the code is the method named ``..._official``.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from tutelage import functional
from tutelage.methods.hinton import distillation
from tutelage.objective import Constant, Match, Objective, Signals, TeacherProbs, beside_labels, number


@dataclass(frozen=True, slots=True, kw_only=True)
class VirtualTeacher:
    """A virtual teacher: ``correct`` on the label, the rest spread over the other classes, then softened.

    Formula: proportional to ``p_d^(1/T)``, ``p_d = correct`` for the label, ``(1 - correct) / (K - 1)`` otherwise.

    Source: arXiv 1909.11723, Eqs. 8 and 9.
    """

    correct: float = 0.99
    needs_teacher = False

    def __call__(self, signals: Signals, temperature: float | Tensor) -> Tensor:
        """The distribution ``[B, K]``."""
        dtype = signals.student_logits.dtype
        probs = functional.virtual_teacher(signals.labels, signals.num_classes, self.correct, dtype=dtype)
        return functional.temper(probs, temperature)

    def formula(self, temperature: str) -> str:
        """The target as written in a formula."""
        return f"virtual({number(self.correct)}){temperature}"


@dataclass(frozen=True, slots=True, kw_only=True)
class OfficialVirtualTeacher:
    """The virtual teacher as in the authors' code, which takes its probabilities for logits.

    Formula: ``softmax(p_d / T)`` at a ``temperature`` of its own, whatever the student's.

    Source: the official code of arXiv 1909.11723, ``loss_kd_regularization``.
    """

    correct: float = 0.99
    temperature: float = 20.0
    needs_teacher = False

    def __call__(self, signals: Signals, temperature: float | Tensor) -> Tensor:
        """The distribution ``[B, K]``."""
        dtype = signals.student_logits.dtype
        return functional.official_virtual_teacher(
            signals.labels, signals.num_classes, self.correct, self.temperature, dtype=dtype
        )

    def formula(self, temperature: str) -> str:
        """The target as written in a formula."""
        return f"softmax(virtual({number(self.correct)})/{number(self.temperature)})"


def tf_kd(*, teacher_weight: float = 0.95, temperature: float = 20.0, temperature_power: float = 0.0) -> Objective:
    """Distillation as written in Tf-KD, for reversed, defective and self-training lineages.

    Formula: ``(1 - w) H(e_y, p) + w KL(p^T_T || p_T)``: the paper has no factor T^2; ``temperature_power=2`` adds it.

    >>> print(tf_kd())
    0.05 H(labels, student) + 0.95 KL(teacher@20 ‖ student@20)

    Source: arXiv 1909.11723, Eqs. 4 and 7; the defaults are the official code's for MobileNetV2 on CIFAR-100.
    """
    return distillation(teacher_weight=teacher_weight, temperature=temperature, temperature_power=temperature_power)


def tf_kd_official(*, teacher_weight: float = 0.95, temperature: float = 6.0, multiplier: float = 50.0) -> Objective:
    """Self-training as in the authors' code (``loss_kd_self``; with ``multiplier=1`` its ``loss_kd``).

    Formula: ``(1 - w) H(e_y, p) + w m T^2 / K KL(p^T_T || p_T)``: the mean is over samples and classes.

    >>> print(tf_kd_official())
    0.05 H(labels, student) + 47.5 6^2 1/K KL(teacher@6 ‖ student@6)

    Source: the official code of arXiv 1909.11723; the defaults are those for ResNet-18 on CIFAR-100.
    """
    teacher = Match(
        name="teacher",
        target=TeacherProbs(),
        temperature=Constant(temperature),
        weight=Constant(teacher_weight * multiplier),
        distance=functional.kl_divergence_element_mean,
    )
    return beside_labels(1.0 - teacher_weight, teacher)


def tf_kd_reg(
    *,
    teacher_weight: float = 0.1,
    temperature: float = 20.0,
    correct: float = 0.99,
    temperature_power: float = 0.0,
) -> Objective:
    """Tf-KD by regularization: a virtual teacher that is always right.

    Formula: ``(1 - w) H(e_y, p) + w KL(p^d_T || p_T)``, both softened.

    >>> print(tf_kd_reg())
    0.9 H(labels, student) + 0.1 KL(virtual(0.99)@20 ‖ student@20)

    Source: arXiv 1909.11723, Eq. 9; weight, temperature and 0.99 are the paper's for ImageNet.
    """
    virtual = Match(
        name="virtual_teacher",
        target=VirtualTeacher(correct=correct),
        temperature=Constant(temperature),
        weight=Constant(teacher_weight),
        temperature_power=temperature_power,
    )
    return beside_labels(1.0 - teacher_weight, virtual)


def tf_kd_reg_official(
    *,
    teacher_weight: float = 0.1,
    temperature: float = 20.0,
    correct: float = 0.99,
    multiplier: float = 100.0,
) -> Objective:
    """Tf-KD by regularization as in the authors' code, which is close to label smoothing.

    Formula: ``(1 - w) H(e_y, p) + w m / K KL(softmax(p_d / T) || p)``: the student is not softened, and the mean is
    over samples and classes.

    >>> print(tf_kd_reg_official())
    0.9 H(labels, student) + 10 1/K KL(softmax(virtual(0.99)/20) ‖ student)

    Source: the official code of arXiv 1909.11723; the defaults are those for ResNet-18 on CIFAR-100.
    """
    virtual = Match(
        name="virtual_teacher",
        target=OfficialVirtualTeacher(correct=correct, temperature=temperature),
        weight=Constant(teacher_weight * multiplier),
        distance=functional.kl_divergence_element_mean,
    )
    return beside_labels(1.0 - teacher_weight, virtual)
