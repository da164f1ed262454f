"""One small study and one export of it, created once for all tests that only read them."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch

from tutelage.data import CropFlip, DataConfig, Dataset
from tutelage.data.load import load
from tutelage.export import ExportResult, FinishedModel, export_model, find_model
from tutelage.lineage import Generation, Lineage
from tutelage.methods.hinton import distillation, labels_only
from tutelage.study import Execution, Failed, Study, Warned, run
from tutelage.training import Schedule

DIGITS = DataConfig(name="digits", train_size=300)
SCHEDULE = Schedule(epochs=3, batch_size=50)


def pair() -> Lineage:
    return Lineage(
        name="pair",
        data=DIGITS,
        views=CropFlip(padding=1, flip=False),
        generations=(
            Generation(name="big one", model="resnet14", objective=labels_only(), schedule=SCHEDULE),
            Generation(name="small one", model="resnet8", objective=distillation(), schedule=SCHEDULE, teachers=(0,)),
        ),
    )


def train(study: Study, runs: Path) -> None:
    for event in run(study, runs=runs, execution=Execution(device="cpu", precision="fp32", threads=1)):
        assert not isinstance(event, Failed | Warned), event


@pytest.fixture(scope="session")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A runs folder with one finished study of two seeds."""
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("export") / "runs"
    train(Study(lineages=(pair(),), seeds=(0, 7)), folder)
    return folder


@pytest.fixture(scope="session")
def name(runs: Path) -> str:
    (study,) = (runs / "studies").iterdir()
    return study.name


@pytest.fixture(scope="session")
def source(runs: Path, name: str) -> FinishedModel:
    return find_model(name, runs)


@pytest.fixture(scope="session")
def exported(source: FinishedModel, tmp_path_factory: pytest.TempPathFactory) -> ExportResult:
    return export_model(source, tmp_path_factory.mktemp("export") / "all")


@pytest.fixture
def folder(exported: ExportResult, tmp_path: Path) -> Path:
    """A copy of the export that a test may change."""
    return Path(shutil.copytree(exported.folder, tmp_path / "copy"))


@pytest.fixture(scope="session")
def digits() -> Dataset:
    return load(DIGITS, Path("unused")).test
