"""A teacher store changes what is computed, never what is learned."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tutelage.artifacts.model import Model
from tutelage.data import CropFlip, DataConfig, Splits
from tutelage.engine import Engine
from tutelage.lineage import Finished, Generation, Lineage, TeacherStore, TrainOptions, train
from tutelage.methods.fitnets import fitnets
from tutelage.methods.hinton import distillation, labels_only
from tutelage.objective import Objective
from tutelage.training import Schedule


def lineage(epochs: int = 2, objective: Objective | None = None, model: str = "tests.exact:Exact") -> Lineage:
    schedule = Schedule(epochs=epochs, batch_size=13)
    specs = (("one", (0,)), ("two", (0,)), ("of both", (0, 1)))
    students = [
        Generation(name=name, model=model, objective=objective or distillation(), schedule=schedule, teachers=seats)
        for name, seats in (specs if objective is None else specs[:2])
    ]
    first = Generation(name="teacher", model=model, objective=labels_only(), schedule=schedule)
    views = CropFlip(padding=1)
    return Lineage(name="line", data=DataConfig(name="noise"), views=views, generations=(first, *students))


def expect_only_chance_warnings(warning: str) -> None:
    """Accept only warnings about teachers at chance: after an epoch or two these teachers still are."""
    assert " is at chance (" in warning


def finish(line: Lineage, splits: Splits, runs: Path, store: TeacherStore, precision: str = "fp32") -> list[Model]:
    engine = Engine.choose("cpu", precision, 1)
    options = TrainOptions(teacher_store=store)
    events = train(line, 0, splits, runs=runs, engine=engine, warn=expect_only_chance_warnings, options=options)
    finished = [event.model.address for event in events if isinstance(event, Finished)]
    return [Model(address=address, folder=runs / "models" / address) for address in finished]


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_the_same_models_with_and_without(splits: Splits, tmp_path: Path, precision: str) -> None:
    computed = finish(lineage(), splits, tmp_path / "off", "off", precision)
    from_store = finish(lineage(), splits, tmp_path / "on", "on", precision)
    assert not (tmp_path / "off" / "teachers").exists()
    assert len(list((tmp_path / "on" / "teachers").iterdir())) == 2  # the first model, and the ensemble
    for expected, actual in zip(computed, from_store, strict=True):
        assert expected.address == actual.address
        actual_weights = actual.weights()
        assert all(torch.equal(value, actual_weights[name]) for name, value in expected.weights().items())


def test_auto_stores_what_students_will_see_again(splits: Splits, tmp_path: Path) -> None:
    finish(lineage(epochs=2), splits, tmp_path / "short", "auto")  # two students, 4 passes over 18 views
    assert not (tmp_path / "short" / "teachers").exists()
    finish(lineage(epochs=3), splits, tmp_path / "long", "auto")  # 6 passes; the ensemble has 3
    assert len(list((tmp_path / "long" / "teachers").iterdir())) == 1


def test_features_are_not_stored(splits: Splits, tmp_path: Path) -> None:
    finish(lineage(objective=fitnets(), model="resnet8"), splits, tmp_path, "on")
    assert not (tmp_path / "teachers").exists()


def test_a_folder_that_cannot_be_created(splits: Splits, tmp_path: Path) -> None:
    (tmp_path / "teachers").write_text("in the way")
    warnings: list[str] = []
    engine = Engine.choose("cpu", "fp32", 1)
    options = TrainOptions(teacher_store="on")
    for _ in train(lineage(), 0, splits, runs=tmp_path, engine=engine, options=options, warn=warnings.append):
        pass
    store_warnings = [warning for warning in warnings if not warning.endswith("it may have learned nothing")]
    assert len(store_warnings) == 3
    assert all(warning.startswith("the teacher's logits are not stored: ") for warning in store_warnings)
