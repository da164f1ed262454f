"""The hyper-parameters of methods on logits for each pair of networks, from ``logits.toml``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tutelage.experiments.hyperparameters.reader import read_hyperparameters


@dataclass(frozen=True, slots=True, kw_only=True)
class Decoupled:
    """The value of DKD that depends on the pair."""

    other_weight: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Standardized:
    """The values of KD + LS(td)."""

    temperature: float
    teacher_weight: float


@dataclass(frozen=True, slots=True, kw_only=True)
class StandardizedDecoupled(Standardized):
    """The values of DKD + LS(td)."""

    other_weight: float


@dataclass(frozen=True, slots=True, kw_only=True)
class MultiLevel:
    """The values of MLKD's schedule that are not those of the benchmark."""

    epochs: int
    lr: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """A pair of networks by their printed names, with the values of each method that has some for it."""

    teacher: str
    student: str
    decoupled: Decoupled | None = None
    standardized: Standardized | None = None
    standardized_decoupled: StandardizedDecoupled | None = None
    multi_level: MultiLevel | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Hyperparameters:
    """What ``logits.toml`` holds."""

    sources: Mapping[str, str]
    pairs: tuple[Pair, ...]


HYPERPARAMETERS = read_hyperparameters("logits", Hyperparameters)
PAIRS = {f"{pair.teacher} to {pair.student}": pair for pair in HYPERPARAMETERS.pairs}
