"""Terms that compare features of the student's layers with those of the teacher's.

A distance may have weights of its own (a regressor, a variance). It is then a frozen description with a ``build``;
what it builds is trained and saved beside the student, but is no part of it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from tutelage import functional
from tutelage.objective.formula import distance_name, number, times
from tutelage.objective.scalars import Constant, Scalar, is_zero
from tutelage.objective.signals import Signals, TrainingSet

FeatureDistance = Callable[[Tensor, Tensor], Tensor]
"""A function ``(student features, teacher features) -> [B]``."""

Layers = Sequence[str | tuple[str, str]]
"""Layers by their names in ``network.named_modules()``: one name for both networks, or (student's, teacher's)."""


@runtime_checkable
class LearnedDistance(Protocol):
    """The description of a feature distance that has weights."""

    def build(self, student: Tensor, teacher: Tensor) -> nn.Module:
        """Make the distance for features of these shapes: a module ``(student, teacher) -> [B]``."""
        ...


def same_size(student: Tensor, teacher: Tensor) -> tuple[Tensor, Tensor]:
    """Average-pool the larger of two maps ``[B, C, H, W]`` to the height and width of the smaller.

    >>> one, other = same_size(torch.ones(2, 3, 8, 8), torch.ones(2, 5, 4, 4))
    >>> one.shape, other.shape
    (torch.Size([2, 3, 4, 4]), torch.Size([2, 5, 4, 4]))
    """
    if student.ndim != 4 or teacher.ndim != 4 or student.shape[2:] == teacher.shape[2:]:
        return student, teacher
    size = (min(student.shape[2], teacher.shape[2]), min(student.shape[3], teacher.shape[3]))
    pool = nn.functional.adaptive_avg_pool2d
    return pool(student, size), pool(teacher, size)


def layer_pairs(layers: Layers) -> tuple[tuple[str, str], ...]:
    """Write layers as pairs (student's, teacher's); a single name stands for both.

    Errors: ``TypeError`` for a bare string, which would be read letter by letter.

    >>> layer_pairs(("stage1", ("stage2", "layer2")))
    (('stage1', 'stage1'), ('stage2', 'layer2'))
    """
    if isinstance(layers, str):
        raise TypeError(f"layers are a tuple of names or of pairs of names: ({layers!r},), not {layers!r}")
    return tuple((each, each) if isinstance(each, str) else (each[0], each[1]) for each in layers)


def _named(student: str, teacher: str) -> str:
    return student if student == teacher else f"{student}/{teacher}"


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureMatch:
    """Bring layers of the student close to layers of the teacher.

    Formula: ``weight * sum_l w_l distance(F^S_l, F^T_l)`` over pairs of layers (student's, teacher's), named as in
    ``network.named_modules()``. Maps of different sizes are average-pooled to the smaller size first; set ``pooled``
    to False for distances that take any sizes, or that learn to connect them. ``layer_weights`` are all 1 by default.
    No gradient reaches the teacher's features.

    Errors: ``ValueError`` for no layer, for a number of weights that is not that of the layers, or for features that
    the signals lack.

    >>> from tutelage.functional import attention_transfer
    >>> at = FeatureMatch(
    ...     name="attention", layers=(("stage1", "stage1"),), distance=attention_transfer, weight=Constant(1000.0)
    ... )
    >>> print(at.formula())
    1000 attention_transfer(stage1)
    """

    name: str
    layers: tuple[tuple[str, str], ...]
    distance: FeatureDistance | LearnedDistance
    weight: Scalar = Constant(1.0)
    layer_weights: tuple[float, ...] = ()
    pooled: bool = True
    needs_teacher = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "layers", layer_pairs(self.layers))
        object.__setattr__(self, "layer_weights", tuple(float(weight) for weight in self.layer_weights))
        if not self.layers:
            raise ValueError(f"{self.name!r} needs at least one pair of layers")
        if self.layer_weights and len(self.layer_weights) != len(self.layers):
            raise ValueError(
                f"{self.name!r} has {len(self.layers)} layers and {len(self.layer_weights)} weights for them"
            )

    @property
    def student_layers(self) -> tuple[str, ...]:
        """The student's layers whose features the term reads."""
        return tuple(student for student, _ in self.layers)

    @property
    def teacher_layers(self) -> tuple[str, ...]:
        """The teacher's layers whose features the term reads."""
        return tuple(teacher for _, teacher in self.layers)

    def build(self, example: Signals, data: TrainingSet) -> nn.Module | None:
        """Make the learned distances for features like these; None for a distance that learns nothing."""
        if not isinstance(self.distance, LearnedDistance):
            return None
        pairs = self._pairs(example)
        return _Heads(self, [self.distance.build(*pair).to(pair[0]) for pair in pairs])

    def is_off(self, progress: float | None) -> bool:
        """Whether the weight is exactly 0 at this moment."""
        return is_zero(self.weight, progress)

    def __call__(self, signals: Signals) -> Tensor:
        """The weighted distance of each example, ``[B]``."""
        if isinstance(self.distance, LearnedDistance):
            raise ValueError(f"{self.name!r} has weights of its own: call Objective.bind first")
        return self.weighted(signals, [self.distance] * len(self.layers))

    def weighted(self, signals: Signals, distances: list[FeatureDistance]) -> Tensor:
        """The weighted sum over the layers, each with its own distance, ``[B]``."""
        with torch.no_grad():
            scale = self.weight(signals)
        weights = self.layer_weights or (1.0,) * len(self.layers)
        values = [
            weight * distance(*pair)
            for weight, distance, pair in zip(weights, distances, self._pairs(signals), strict=True)
        ]
        return scale * torch.stack(values).sum(0)

    def _pairs(self, signals: Signals) -> list[tuple[Tensor, Tensor]]:
        pairs = []
        for student, teacher in self.layers:
            one, other = signals.student_feature(student), signals.teacher_feature(teacher).detach()
            pairs.append(same_size(one, other) if self.pooled else (one, other))
        return pairs

    def formula(self) -> str:
        """The term as a formula."""
        distance = distance_name(self.distance)
        weights = [number(weight) for weight in self.layer_weights] or ["1"] * len(self.layers)
        named = [times(weight, _named(*pair)) for weight, pair in zip(weights, self.layers, strict=True)]
        return times(self.weight.formula(), f"{distance}({', '.join(named)})")


class _Heads(nn.Module):
    """The learned distances of one term, one for each pair of layers."""

    def __init__(self, term: FeatureMatch, heads: list[nn.Module]) -> None:
        super().__init__()
        self.term = term
        self.heads = nn.ModuleList(heads)

    def forward(self, signals: Signals) -> Tensor:
        return self.term.weighted(signals, list(self.heads))


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowMatch:
    """Match the flow between two layers: the Gram matrix of the first layer's channels with the second's.

    Formula: ``weight * sum_l mean((G^S_l - G^T_l)^2)`` over pairs ``((student's first, second), (teacher's ...))``.
    The larger of two maps of one network is average-pooled to the size of the smaller. No gradient reaches the
    teacher's features.

    Errors: ``ValueError`` for no layer, for features that the signals lack, or for a layer whose number of channels
    differs between student and teacher.

    >>> flow = FlowMatch(name="flow", layers=((("stem", "stage1"), ("stem", "stage1")),), weight=Constant(50.0))
    >>> print(flow.formula())
    50 flow(stem-stage1)

    Source: Yim et al., CVPR 2017, in the form of the RepDistiller code.
    """

    name: str
    layers: tuple[tuple[tuple[str, str], tuple[str, str]], ...]
    weight: Scalar = Constant(1.0)
    needs_teacher = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "layers", tuple((tuple(a), tuple(b)) for a, b in self.layers))
        if not self.layers:
            raise ValueError(f"{self.name!r} needs at least one pair of layers")

    @property
    def student_layers(self) -> tuple[str, ...]:
        """The student's layers whose features the term reads."""
        return tuple(name for student, _ in self.layers for name in student)

    @property
    def teacher_layers(self) -> tuple[str, ...]:
        """The teacher's layers whose features the term reads."""
        return tuple(name for _, teacher in self.layers for name in teacher)

    def build(self, example: Signals, data: TrainingSet) -> None:
        """Nothing to build: the flow learns nothing."""

    def is_off(self, progress: float | None) -> bool:
        """Whether the weight is exactly 0 at this moment."""
        return is_zero(self.weight, progress)

    def __call__(self, signals: Signals) -> Tensor:
        """The weighted distance of each example, ``[B]``."""
        with torch.no_grad():
            scale = self.weight(signals)
        values = []
        for student, teacher in self.layers:
            own = [signals.student_feature(name) for name in student]
            others = [signals.teacher_feature(name).detach() for name in teacher]
            for names, one, other in zip(zip(student, teacher, strict=True), own, others, strict=True):
                if one.shape[1] != other.shape[1]:
                    raise ValueError(
                        f"the flow of {_named(*names)} has {one.shape[1]} channels in the student and "
                        f"{other.shape[1]} in the teacher: it needs the same number in both"
                    )
            values.append(functional.flow_of_solution(*same_size(*own), *same_size(*others)))
        return scale * torch.stack(values).sum(0)

    def formula(self) -> str:
        """The term as a formula."""
        named = (_named("-".join(student), "-".join(teacher)) for student, teacher in self.layers)
        return times(self.weight.formula(), f"flow({', '.join(named)})")
