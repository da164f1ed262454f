"""Lineages that train within a second, and their files on disk."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tests.conftest import make_splits
from tests.events import kind
from tests.exact import linear, rounded
from tutelage import storage
from tutelage.artifacts.model import Model
from tutelage.data import CropFlip, DataConfig, DatasetInfo, Splits
from tutelage.data.splits import make_splits as assemble
from tutelage.engine import Engine
from tutelage.lineage import Generation, Lineage, Stopped, TrainingProgress, TrainOptions, models_of, train
from tutelage.methods.hinton import distillation, labels_only
from tutelage.objective import Objective
from tutelage.training import Schedule

SCHEDULE = Schedule(epochs=2, batch_size=8, lr=0.05)
NET = "tests.faults.small:Small"


class Small(nn.Module):
    """A network with a convolution, batch statistics and dropout.

    As a teacher it is as exact as :class:`tests.exact.Exact`.
    """

    def __init__(self, num_classes: int, in_channels: int, width: int = 4) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(in_channels, width, 3), nn.BatchNorm2d(width), nn.ReLU(), nn.Flatten())
        self.drop = nn.Dropout(0.2)
        self.head = nn.Linear(width * 36, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            return self.head(self.drop(self.body(x)))
        first, norm, *rest = self.body
        x = F.conv2d(x.double(), first.weight.double(), first.bias.double())
        statistics = (norm.running_mean.double(), norm.running_var.double())
        x = F.batch_norm(x, *statistics, norm.weight.double(), norm.bias.double())
        return rounded(linear(self.head, nn.Sequential(*rest)(x)))


class Wider(Small):
    def __init__(self, num_classes: int, in_channels: int) -> None:
        super().__init__(num_classes, in_channels, width=6)


def splits(size: int = 26, change: Callable[[Splits], object] = lambda _: None) -> Splits:
    """Images of four classes, with a fingerprint of their own."""
    base = make_splits(size=size)
    change(base)
    return assemble(base.info, base.train, base.test)


def with_class_names(names: tuple[str, ...], size: int = 26) -> Splits:
    """The same images and labels with other class names."""
    base = make_splits(size=size)
    info: DatasetInfo = replace(base.info, class_names=names)
    return assemble(info, base.train, base.test)


def generation(
    name: str = "only", objective: Objective | None = None, teachers: tuple[int, ...] = (), **fields: Any
) -> Generation:
    objective = objective or (distillation() if teachers else labels_only())
    return Generation(
        name=name, objective=objective, teachers=teachers, **{"model": NET, "schedule": SCHEDULE} | fields
    )


def line(*generations: Generation) -> Lineage:
    return Lineage(
        name="line",
        data=DataConfig(name="made"),
        views=CropFlip(padding=1),
        generations=generations or (generation(),),
    )


def teacher_and_student(epochs: int = 2, objective: Objective | None = None) -> Lineage:
    """A teacher and its student."""
    schedule = replace(SCHEDULE, epochs=epochs)
    return line(
        generation("teacher", schedule=schedule),
        generation("student", objective, teachers=(0,), schedule=schedule),
    )


def models(lineage: Lineage, data: Splits, runs: Path, seed: int = 0, precision: str = "fp32") -> tuple[Model, ...]:
    return models_of(lineage, seed, data.fingerprint, precision, runs)


def run(
    lineage: Lineage, data: Splits, runs: Path, seed: int = 0, stop_in: int | None = None, **options: Any
) -> list[str]:
    """Train a lineage, or up to the next end of an epoch of generation ``stop_in``; returns the phases in order.

    ``precision`` and ``threads`` are those of the engine, ``warn`` goes to ``train``, the others are its options.
    """
    engine = Engine.choose("cpu", options.pop("precision", "fp32"), options.pop("threads", 1))
    warn = options.pop("warn", lambda _: None)
    phases: list[str] = []
    stop = False
    events = train(
        lineage,
        seed,
        data,
        runs=runs,
        engine=engine,
        options=TrainOptions(**options),
        should_stop=lambda: stop,
        warn=warn,
    )
    try:
        for event in events:
            stop = isinstance(event, TrainingProgress) and event.model.place == stop_in and event.epoch_ended
            if phases[-1:] != [kind(event)]:
                phases.append(kind(event))
    finally:
        torch.set_num_threads(1)
    return phases


@dataclass(frozen=True)
class Request:
    """A request: everything that determines the models."""

    lineage: Lineage
    data: Splits
    seed: int = 0
    precision: str = "fp32"

    def train(self, runs: Path, **options: Any) -> list[str]:
        """See :func:`run`."""
        return run(self.lineage, self.data, runs, self.seed, precision=self.precision, **options)

    def models(self, runs: Path) -> tuple[Model, ...]:
        return models(self.lineage, self.data, runs, self.seed, self.precision)


def default_request() -> Request:
    """A teacher and its student."""
    return Request(teacher_and_student(), splits())


def request_with_teacher(**fields: Any) -> Request:
    """The same request with another teacher."""
    teacher, student = teacher_and_student().generations
    return replace(default_request(), lineage=line(replace(teacher, **fields), student))


def interrupt(lineage: Lineage, data: Splits, runs: Path, place: int = 0, **options: Any) -> None:
    """Train a generation for one more epoch, then stop."""
    with pytest.raises(Stopped):
        run(lineage, data, runs, stop_in=place, **options)


def state(folder: Path) -> dict[str, tuple[str, int]]:
    """The files of a folder: SHA-256 and time of the last write."""
    return {
        str(path.relative_to(folder)): (hashlib.sha256(path.read_bytes()).hexdigest(), path.stat().st_mtime_ns)
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != ".lock"
    }


def change_weights(model: Model, change: Callable[[dict[str, Tensor]], object]) -> None:
    """Change the weights of a finished model, with a manifest that matches them."""
    tensors = storage.read_tensors(model.folder / "weights.safetensors")
    change(tensors)
    manifest = storage.read_manifest(model.folder)
    files = {name: (model.folder / name).read_bytes() for name in manifest["files"]}
    storage.commit(model.folder, files | {"weights.safetensors": storage.tensor_bytes(tensors)}, manifest["note"])
