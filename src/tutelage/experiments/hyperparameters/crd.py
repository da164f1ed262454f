"""The hyper-parameters of the CRD benchmark, from ``crd.toml``."""

from __future__ import annotations

from dataclasses import dataclass

from tutelage.experiments.hyperparameters.reader import StepSchedule, read_hyperparameters


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """A network of the benchmark: its ``printed`` name, the ``model`` of tutelage, and the modules compared in it."""

    printed: str
    model: str
    feature_maps: tuple[str, ...]
    pre_activations: tuple[str, ...] = ()
    lr: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FirstStage:
    """The methods that train on their own loss before the labels, and for how many epochs."""

    source: str
    methods: tuple[str, ...]
    epochs: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Hyperparameters:
    """What ``crd.toml`` holds."""

    schedule: StepSchedule
    first_stage: FirstStage
    networks: tuple[Network, ...]


HYPERPARAMETERS = read_hyperparameters("crd", Hyperparameters)
SCHEDULE = HYPERPARAMETERS.schedule
FIRST_STAGE = HYPERPARAMETERS.first_stage
NETWORKS = {network.model: network for network in HYPERPARAMETERS.networks}
