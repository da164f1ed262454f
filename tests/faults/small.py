"""Lineages that train in a blink, and what lies on disk of them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.conftest import make_splits
from tutelage import storage
from tutelage.artifacts.model import Model
from tutelage.data import CropFlip, DataConfig, DatasetInfo, Splits
from tutelage.data.splits import finished
from tutelage.engine import Engine
from tutelage.lineage import Generation, Lineage, Stopped, models_of, train
from tutelage.methods.hinton import distillation, labels_only
from tutelage.objective import Objective
from tutelage.training import Schedule

SCHEDULE = Schedule(epochs=2, batch_size=8, lr=0.05)
NET = "tests.faults.small:Small"


class Small(nn.Module):
    """A network with all that could go wrong on the way: a convolution, batch statistics, dropout."""

    def __init__(self, num_classes: int, in_channels: int, width: int = 4) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(in_channels, width, 3), nn.BatchNorm2d(width), nn.ReLU(), nn.Flatten())
        self.drop = nn.Dropout(0.2)
        self.head = nn.Linear(width * 36, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.drop(self.body(x)))


class Wider(Small):
    def __init__(self, num_classes: int, in_channels: int) -> None:
        super().__init__(num_classes, in_channels, width=6)


def splits(size: int = 26, change: Callable[[Splits], object] = lambda _: None) -> Splits:
    """Images of four classes, with a fingerprint of their own."""
    made = make_splits(size=size)
    change(made)
    return finished(made.facts, made.train, made.test)


def renamed(names: tuple[str, ...], size: int = 26) -> Splits:
    """The same images and labels under other names."""
    made = make_splits(size=size)
    facts: DatasetInfo = replace(made.facts, class_names=names)
    return finished(facts, made.train, made.test)


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


def taught(epochs: int = 2, objective: Objective | None = None) -> Lineage:
    """A teacher and its pupil."""
    schedule = replace(SCHEDULE, epochs=epochs)
    return line(
        generation("teacher", schedule=schedule),
        generation("pupil", objective, teachers=(0,), schedule=schedule),
    )


def models(lineage: Lineage, data: Splits, runs: Path, seed: int = 0, precision: str = "fp32") -> tuple[Model, ...]:
    return models_of(lineage, seed, data.fingerprint, precision, runs)


def run(
    lineage: Lineage, data: Splits, runs: Path, seed: int = 0, stop_in: int | None = None, **options: Any
) -> list[str]:
    """Train a lineage, up to the next end of an epoch of generation ``stop_in`` if one is named; the phases in order.

    ``precision`` and ``threads`` are those of the engine, the others go to ``train``.
    """
    engine = Engine.choose("cpu", options.pop("precision", "fp32"), options.pop("threads", 1))
    options = {"warn": lambda _: None, **options}
    phases: list[str] = []
    asked = False
    try:
        told = train(lineage, seed, data, runs=runs, engine=engine, should_stop=lambda: asked, **options)
        for progress in told:
            at_an_end = progress.record is not None and progress.record.metrics is not None
            asked = progress.phase == "training" and progress.place == stop_in and at_an_end
            if phases[-1:] != [progress.phase]:
                phases.append(progress.phase)
    finally:
        torch.set_num_threads(1)
    return phases


@dataclass(frozen=True)
class Request:
    """What is asked for: all that decides about the models."""

    lineage: Lineage
    data: Splits
    seed: int = 0
    precision: str = "fp32"

    def train(self, runs: Path, **options: Any) -> list[str]:
        """As :func:`run`."""
        return run(self.lineage, self.data, runs, self.seed, precision=self.precision, **options)

    def models(self, runs: Path) -> tuple[Model, ...]:
        return models(self.lineage, self.data, runs, self.seed, self.precision)


def asked() -> Request:
    """A teacher and its pupil."""
    return Request(taught(), splits())


def first(**fields: Any) -> Request:
    """The same with another teacher."""
    teacher, pupil = taught().generations
    return replace(asked(), lineage=line(replace(teacher, **fields), pupil))


def interrupt(lineage: Lineage, data: Splits, runs: Path, place: int = 0, **options: Any) -> None:
    """Train a generation for one more epoch, and stop there."""
    with pytest.raises(Stopped):
        run(lineage, data, runs, stop_in=place, **options)


def state(folder: Path) -> dict[str, tuple[str, int]]:
    """All that lies in a folder: the SHA-256 of each file, and when it was last written."""
    return {
        str(path.relative_to(folder)): (hashlib.sha256(path.read_bytes()).hexdigest(), path.stat().st_mtime_ns)
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != ".lock"
    }


def change_weights(model: Model, change: Callable[[dict[str, Tensor]], object]) -> None:
    """Put other weights in a finished model, with a manifest that fits them."""
    tensors = storage.read_tensors(model.folder / "weights.safetensors")
    change(tensors)
    manifest = storage.read_manifest(model.folder)
    files = {name: (model.folder / name).read_bytes() for name in manifest["files"]}
    storage.commit(model.folder, files | {"weights.safetensors": storage.tensor_bytes(tensors)}, manifest["note"])
