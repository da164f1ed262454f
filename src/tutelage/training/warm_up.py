"""A learning rate that starts from zero."""

from __future__ import annotations

from dataclasses import dataclass

from tutelage.training.schedule import Decay, Milestones


@dataclass(frozen=True, slots=True, kw_only=True)
class WarmUp:
    """Another decay, times a factor that rises linearly from 0 to 1 over the share ``over`` of training.

    Errors: ``ValueError`` for a share outside (0, 1].

    >>> rate = WarmUp(then=Milestones(at=(0.5,)), over=0.1)
    >>> [round(rate.share(p), 4) for p in (0.0, 0.05, 0.1, 0.5)]
    [0.0, 0.5, 1.0, 0.1]
    """

    then: Decay = Milestones()
    over: float = 0.05

    def __post_init__(self) -> None:
        if not 0.0 < self.over <= 1.0:
            raise ValueError(f"over is a share of training in (0, 1], not {self.over}")

    def share(self, progress: float) -> float:
        """The share of the highest learning rate at ``progress``."""
        return self.then.share(progress) * min(1.0, progress / self.over)
