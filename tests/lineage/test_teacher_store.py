"""A teacher store changes what is computed, never what is learned."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tutelage.artifacts.model import Model
from tutelage.data import CropFlip, DataConfig, Splits
from tutelage.engine import Engine
from tutelage.lineage import Generation, Lineage, TeacherStore, train
from tutelage.methods.fitnets import fitnets
from tutelage.methods.hinton import distillation, labels_only
from tutelage.objective import Objective
from tutelage.training import Schedule


def lineage(epochs: int = 2, objective: Objective | None = None) -> Lineage:
    schedule = Schedule(epochs=epochs, batch_size=13)
    line = (("one", (0,)), ("two", (0,)), ("of both", (0, 1)))
    pupils = [
        Generation(
            name=name, model="resnet8", objective=objective or distillation(), schedule=schedule, teachers=seats
        )
        for name, seats in (line if objective is None else line[:2])
    ]
    first = Generation(name="teacher", model="resnet8", objective=labels_only(), schedule=schedule)
    views = CropFlip(padding=1)
    return Lineage(name="line", data=DataConfig(name="noise"), views=views, generations=(first, *pupils))


def only_of_chance(warning: str) -> None:
    """After an epoch or two these teachers know nothing yet, and that is said."""
    assert " is at chance (" in warning


def trained(line: Lineage, splits: Splits, runs: Path, store: TeacherStore, precision: str = "fp32") -> list[Model]:
    engine = Engine.choose("cpu", precision, 1)
    told = train(line, 0, splits, runs=runs, engine=engine, warn=only_of_chance, teacher_store=store)
    return [progress.model for progress in told if progress.phase == "finished"]


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_the_same_models_with_and_without(splits: Splits, tmp_path: Path, precision: str) -> None:
    without = trained(lineage(), splits, tmp_path / "off", "off", precision)
    stored = trained(lineage(), splits, tmp_path / "on", "on", precision)
    assert not (tmp_path / "off" / "teachers").exists()
    assert len(list((tmp_path / "on" / "teachers").iterdir())) == 2  # the first model, and the committee
    for one, other in zip(without, stored, strict=True):
        assert one.address == other.address
        there = other.weights()
        assert all(torch.equal(value, there[name]) for name, value in one.weights().items())


def test_auto_keeps_what_pupils_will_see_again(splits: Splits, tmp_path: Path) -> None:
    trained(lineage(epochs=2), splits, tmp_path / "short", "auto")  # two pupils, 4 passes of 18 views
    assert not (tmp_path / "short" / "teachers").exists()
    trained(lineage(epochs=3), splits, tmp_path / "long", "auto")  # 6 passes; the committee has 3
    assert len(list((tmp_path / "long" / "teachers").iterdir())) == 1


def test_features_are_not_stored(splits: Splits, tmp_path: Path) -> None:
    trained(lineage(objective=fitnets()), splits, tmp_path, "on")
    assert not (tmp_path / "teachers").exists()


def test_a_folder_that_cannot_be_made(splits: Splits, tmp_path: Path) -> None:
    (tmp_path / "teachers").write_text("in the way")
    warnings: list[str] = []
    engine = Engine.choose("cpu", "fp32", 1)
    for _ in train(lineage(), 0, splits, runs=tmp_path, engine=engine, warn=warnings.append, teacher_store="on"):
        pass
    kept = [warning for warning in warnings if not warning.endswith("its training came to nothing")]
    assert len(kept) == 3
    assert all(warning.startswith("the teacher's logits are not kept: ") for warning in kept)
