"""The schedule of a training run: epochs, batch size, learning rate and its decay."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol, runtime_checkable


@runtime_checkable
class Decay(Protocol):
    """How the learning rate changes over training, as a share of the highest."""

    def share(self, progress: float) -> float:
        """The share of the highest learning rate at ``progress`` in ``[0, 1)``."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Milestones:
    """Multiply the rate by ``factor`` at each share ``at`` of training.

    >>> [round(Milestones().share(p), 4) for p in (0.0, 0.5, 0.9)]
    [1.0, 0.1, 0.01]
    """

    at: tuple[float, ...] = (0.5, 0.75)
    factor: float = 0.1

    def share(self, progress: float) -> float:
        """The share of the highest learning rate at ``progress``."""
        # The tolerance lets a milestone fall on the step that reaches it even if the division rounds down.
        return self.factor ** sum(progress >= at - 1e-9 for at in self.at)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cosine:
    """Fall from 1 to 0 along half a cosine.

    >>> round(Cosine().share(0.5), 4)
    0.5
    """

    def share(self, progress: float) -> float:
        """The share of the highest learning rate at ``progress``."""
        return 0.5 * (1 + math.cos(math.pi * progress))


@dataclass(frozen=True, slots=True, kw_only=True)
class OneCycle:
    """Rise from ``1 / 25`` over the share ``rise`` of training, then fall to zero, both along a cosine.

    >>> [round(OneCycle().share(p), 2) for p in (0.0, 0.3, 1.0)]
    [0.04, 1.0, 0.0]
    """

    rise: float = 0.3

    def share(self, progress: float) -> float:
        """The share of the highest learning rate at ``progress``."""
        if progress < self.rise:
            return 1 - (1 - 1 / 25) * 0.5 * (1 + math.cos(math.pi * progress / self.rise))
        return 0.5 * (1 + math.cos(math.pi * (progress - self.rise) / (1 - self.rise)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """Stochastic gradient descent with momentum: how long it trains, and in which steps.

    The defaults are those of arXiv 1805.05551 for the CIFAR ResNets: 164 epochs, the rate divided by 10 after 82
    and 123.
    """

    epochs: int = 164
    batch_size: int = 128
    lr: float = 0.1
    decay: Decay = Milestones()
    momentum: float = 0.9
    nesterov: bool = True
    weight_decay: float = 1e-4

    def __post_init__(self) -> None:
        for name, minimum in (
            ("epochs", 1),
            ("batch_size", 1),
            ("lr", 0.0),
            ("momentum", 0.0),
            ("weight_decay", 0.0),
        ):
            if not getattr(self, name) >= minimum:
                raise ValueError(f"{name} must be at least {minimum:g}, not {getattr(self, name)}")
        if not isinstance(self.decay, Decay):
            raise TypeError(f"decay must be Milestones, Cosine, OneCycle or another Decay, not {self.decay!r}")
