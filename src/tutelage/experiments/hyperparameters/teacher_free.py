"""The hyper-parameters of Tf-KD, from ``teacher_free.toml``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tutelage.experiments.hyperparameters.reader import StepSchedule, read_hyperparameters


@dataclass(frozen=True, slots=True, kw_only=True)
class Normal:
    """The values of distillation from a trained teacher, which are also those of Re-KD and De-KD."""

    temperature: float
    teacher_weight: float


@dataclass(frozen=True, slots=True, kw_only=True)
class SelfTaught(Normal):
    """The values of Tf-KD_self; ``multiplier`` is a factor that the code puts on the teacher's term."""

    multiplier: float
    batch_size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class VirtuallyTaught(Normal):
    """The values of Tf-KD_reg, and the network that teaches in the arm of normal distillation beside it."""

    multiplier: float
    real_teacher: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """A network by its ``printed`` name: its batch sizes without and with a teacher, and its values by method."""

    printed: str
    model: str
    batch_size: int
    batch_size_with_teacher: int
    normal: Normal
    self_taught: SelfTaught | None = None
    virtually_taught: VirtuallyTaught | None = None
    poor_teacher_epochs: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Hyperparameters:
    """What ``teacher_free.toml`` holds."""

    rotation: float
    correct: float
    smoothing: float
    schedule: StepSchedule
    sources: Mapping[str, str]
    networks: tuple[Network, ...]


HYPERPARAMETERS = read_hyperparameters("teacher_free", Hyperparameters)
NETWORKS = {network.printed: network for network in HYPERPARAMETERS.networks}
NETWORKS_BY_MODEL = {network.model: network for network in HYPERPARAMETERS.networks}
