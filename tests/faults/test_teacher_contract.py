"""What a teacher must share with its student, what it keeps for itself, and that teaching does not change it."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.conftest import make_splits
from tests.faults import small
from tests.faults.test_labels import OF_LOGITS
from tutelage import storage
from tutelage.artifacts.model import Model
from tutelage.data import BatchLoader, CropFlip, Dataset, Normalization, Splits
from tutelage.data.splits import make_splits as assemble
from tutelage.engine import Engine
from tutelage.export import FinishedModel, export_model
from tutelage.lineage import Lineage, LineageNetworks
from tutelage.methods.hinton import distillation
from tutelage.models.build import build
from tutelage.models.external import Expectation
from tutelage.objective import Prediction, Signals
from tutelage.teachers import NetworkTeacher
from tutelage.training import OneCycle, Record, Schedule, Teacher, fit

LEARNS = Schedule(epochs=12, batch_size=8, lr=0.1, decay=OneCycle())
ENGINE = Engine.choose("cpu", "fp32", 1)


@pytest.fixture(autouse=True)
def _unsynced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.fsync", lambda handle: None)  # nothing here is about the power


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Model:
    """A model that has learned the four classes."""
    torch.set_num_threads(1)
    runs = tmp_path_factory.mktemp("trained")
    line = small.line(small.generation(schedule=LEARNS))
    small.run(line, small.splits(), runs)
    (model,) = small.models(line, small.splits(), runs)
    assert model.evaluation()["train"].top1 > 0.9
    return model


def one_class() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 1))


def seven_classes() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 7))


def lineage_taught_by(weights: Path, model: str = small.NET) -> Lineage:
    """A lineage whose teacher has pretrained weights."""
    return small.line(
        small.generation("teacher", model=model, weights=str(weights)),
        small.generation("student", model=model, teachers=(0,)),
    )


def weights_file(model: Model, folder: Path, **changes: Tensor) -> Path:
    """The weights alone, in a file."""
    path = folder / "teacher.safetensors"
    storage.write_bytes(path, storage.tensor_bytes(model.weights() | changes))
    return path


@pytest.mark.fault(32)
@pytest.mark.parametrize(
    ("place", "model", "message"),
    [
        (
            0,
            "one_class",
            r"^teacher: .*shape \[2, 1\] .*; the data has 4 classes: expected \[2, 4\]; student: 4 classes$",
        ),
        (0, "seven_classes", r"^teacher: .*shape \[2, 7\] .*; the data has 4 classes: .*; student: 4 classes$"),
        (1, "seven_classes", r"^student: .*shape \[2, 7\] .*; the data has 4 classes: .*; teacher: 4 classes$"),
        (1, "one_class", r"^student: .*shape \[2, 1\] .*; the data has 4 classes: .*; teacher: 4 classes$"),
    ],
)
def test_three_numbers_of_classes(place: int, model: str, message: str, tmp_path: Path) -> None:
    generations = list(small.teacher_and_student().generations)
    generations[place] = replace(generations[place], model=f"tests.faults.test_teacher_contract:{model}")
    with pytest.raises(ValueError, match=message):
        small.run(small.line(*generations), small.splits(), tmp_path / "runs")
    assert not (tmp_path / "runs").exists()


@pytest.mark.fault(32)
@pytest.mark.parametrize("classes", [1, 3, 5])
def test_pretrained_weights_with_other_classes(classes: int, tmp_path: Path) -> None:
    path = tmp_path / "teacher.safetensors"
    storage.write_bytes(path, storage.tensor_bytes(build(small.NET, classes, 1, seed=0).state_dict()))
    message = rf"^teacher: {path} knows {classes} classes, the network 4: .*; student: 4 classes$"
    with pytest.raises(ValueError, match=message):
        small.run(lineage_taught_by(path), small.splits(), tmp_path / "runs")
    assert not (tmp_path / "runs").exists()


@pytest.mark.fault(32)
@pytest.mark.parametrize("name", sorted(name for name, objective in OF_LOGITS.items() if objective.needs_teacher))
def test_a_teacher_of_one_class_never_broadcasts(name: str) -> None:
    student, teacher = torch.randn(8, 100), torch.randn(8, 1)
    plain = nn.functional.kl_div(student.log_softmax(1), teacher.softmax(1), reduction="batchmean")
    assert plain.isfinite()  # torch broadcasts without a warning
    signals = Signals(
        student_logits=student,
        teacher_logits=teacher,
        labels=torch.arange(8),
        keys=torch.arange(8),
        progress=0.5,
    )
    with pytest.raises(ValueError, match=r"teacher logits have shape \[8, 1\], student logits \[8, 100\]"):
        OF_LOGITS[name](signals)


ORDERS = {
    "two of them swapped": ("class 1", "class 0", "class 2", "class 3"),
    "all of them turned": ("class 1", "class 2", "class 3", "class 0"),
}
IN_ORDER = small.splits().info.class_names


@pytest.mark.fault(33)
@pytest.mark.parametrize("form", ["folder", "exported"])
@pytest.mark.parametrize("order", ORDERS)
def test_the_same_classes_in_another_order(order: str, form: str, trained: Model, tmp_path: Path) -> None:
    source = trained.folder
    if form == "exported":
        export_model(FinishedModel(model=trained, trusted=True), tmp_path / "exported", ["safetensors"])
        source = tmp_path / "exported" / "weights.safetensors"
    small.run(lineage_taught_by(source), small.splits(), tmp_path / "right")
    (teacher, _) = small.models(lineage_taught_by(source), small.splits(), tmp_path / "right")
    assert teacher.evaluation() == trained.evaluation()
    assert teacher.provenance()["classes"] == "named"

    message = rf"the 4 classes of {source} are the data's in another order \(0: 'class 0', not 'class 1'"
    with pytest.raises(ValueError, match=message):
        small.run(lineage_taught_by(source), small.with_class_names(ORDERS[order]), tmp_path / "wrong")
    assert not (tmp_path / "wrong").exists()


@pytest.mark.fault(33)
def test_a_network_of_another_package_that_names_its_classes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As ``hf:`` networks do; here another network takes its place."""
    expected_input = Expectation(size=None, mean=(0.4,), std=(0.3,), class_names=ORDERS["all of them turned"])
    monkeypatch.setattr(
        sys.modules["tutelage.lineage.networks"], "expectation", lambda name, channels: expected_input
    )
    with pytest.raises(ValueError, match=r"the 4 classes of .*Small are the data's in another order"):
        small.run(small.teacher_and_student(), small.splits(), tmp_path / "runs")


@pytest.mark.fault(33)
def test_weights_without_class_names_are_accepted_and_recorded(trained: Model, tmp_path: Path) -> None:
    warnings: list[str] = []
    line = lineage_taught_by(weights_file(trained, tmp_path))
    small.run(line, small.splits(), tmp_path, warn=warnings.append)
    (teacher, _) = small.models(line, small.splits(), tmp_path)
    assert teacher.provenance()["classes"] == "not named: assumed to be the data's, in its order"
    assert warnings == []


@pytest.mark.fault(33, 34)
def test_a_pretrained_teacher_at_chance_causes_a_warning(trained: Model, tmp_path: Path) -> None:
    """Its classes are rotated by one, which the file does not reveal."""
    rotated = {
        f"head.{name}": trained.weights()[f"head.{name}"].roll(1, 0).contiguous() for name in ("weight", "bias")
    }
    path = weights_file(trained, tmp_path, **rotated)
    warnings: list[str] = []
    small.run(lineage_taught_by(path), small.splits(), tmp_path, warn=warnings.append)
    (warning,) = warnings
    match = re.fullmatch(
        rf"teacher teaches student, and is at chance \((\d) of 26 training images right\): {path} may have been "
        "trained on other classes, on another order of them, or on images prepared in another way",
        warning,
    )
    assert match, warning


@pytest.mark.fault(22, 34)
@pytest.mark.parametrize(("epochs", "warned"), [(2, True), (3, False)])
def test_a_teacher_that_learned_nothing_causes_a_warning_unless_it_was_cut_off(
    epochs: int, warned: bool, tmp_path: Path
) -> None:
    """A defective teacher has fewer epochs than its student, which is deliberate."""
    teacher, student = small.teacher_and_student().generations
    untrained = replace(teacher, schedule=replace(small.SCHEDULE, lr=0.0))
    line = small.line(untrained, replace(student, schedule=replace(small.SCHEDULE, epochs=epochs)))
    warnings: list[str] = []
    small.run(line, small.splits(), tmp_path, warn=warnings.append)
    assert len(warnings) == warned
    assert all(
        re.search(r"teacher teaches student, and is at chance .*it may have learned nothing", warning)
        for warning in warnings
    )
    assert all(model.finished for model in small.models(line, small.splits(), tmp_path))


def resized(height: int, width: int, channels: int = 1) -> Splits:
    base = make_splits()

    def scaled(part: Dataset) -> Dataset:
        images = nn.functional.interpolate(part.images.float(), (height, width)).to(torch.uint8)
        return replace(part, images=images.expand(-1, channels, -1, -1).contiguous())

    info = replace(base.info, height=height, width=width, channels=channels)
    return assemble(info, scaled(base.train), scaled(base.test))


class Pooled(nn.Module):
    """A network that accepts images of any size."""

    def __init__(self, num_classes: int, in_channels: int) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(in_channels, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(4), nn.Flatten())
        self.head = nn.Linear(128, num_classes)
        self.sizes: list[tuple[int, ...]] = []

    def forward(self, x: Tensor) -> Tensor:
        self.sizes.append(tuple(x.shape[1:]))
        return self.head(self.body(x))


@pytest.mark.fault(34)
def test_images_are_resized_for_a_teacher(tmp_path: Path) -> None:
    pooled = "tests.faults.test_teacher_contract:Pooled"
    line = small.line(small.generation(model=pooled, schedule=LEARNS))
    small.run(line, small.splits(), tmp_path)
    (source,) = small.models(line, small.splits(), tmp_path)
    lineage = lineage_taught_by(source.folder, pooled)
    larger = resized(16, 16)
    small.run(lineage, larger, tmp_path)
    (teacher, student) = small.models(lineage, larger, tmp_path)
    sizes = [
        json.loads((model.folder / "config.json").read_bytes())["normalization"]["size"]
        for model in (teacher, student)
    ]
    assert sizes == [8, None]

    lineage_networks = LineageNetworks(lineage, small.models(lineage, larger, tmp_path), 0, larger, ENGINE)
    network_teacher = lineage_networks.teacher(1)
    assert isinstance(network_teacher, NetworkTeacher)
    network_teacher(next(BatchLoader(larger.train, CropFlip(padding=1), 8, torch.device("cpu")).batches(0, 0)))
    assert network_teacher.network.sizes == [(1, 8, 8)]


@pytest.mark.fault(34)
def test_images_that_cannot_be_converted_for_a_teacher(trained: Model, tmp_path: Path) -> None:
    message = rf"the network of {trained.folder} was trained on images of 1 channels, the data has 3"
    with pytest.raises(ValueError, match=message):
        small.run(lineage_taught_by(trained.folder), resized(8, 8, channels=3), tmp_path / "runs")

    pooled, oblong = "tests.faults.test_teacher_contract:Pooled", resized(8, 12)
    line = small.line(small.generation(model=pooled))
    small.run(line, oblong, tmp_path)
    (source,) = small.models(line, oblong, tmp_path)
    lineage = lineage_taught_by(source.folder, pooled)
    small.run(lineage, oblong, tmp_path)
    with pytest.raises(ValueError, match=r"trained on images of 8 x 12, the data's are 8 x 8, and images can only"):
        small.run(lineage, small.splits(), tmp_path / "runs")
    assert not (tmp_path / "runs").exists()


@pytest.mark.fault(34)
def test_the_same_weights_for_images_prepared_otherwise_are_another_teacher(trained: Model, tmp_path: Path) -> None:
    """In a file alone they use the normalization of the data, in their folder the one they were trained with."""
    other = small.splits(change=lambda data: data.train.images.clamp_(max=100))
    lines = [lineage_taught_by(trained.folder), lineage_taught_by(weights_file(trained, tmp_path))]
    networks = [LineageNetworks(line, small.models(line, other, tmp_path), 0, other, ENGINE) for line in lines]
    of_folder, of_file = (each.normalization(0) for each in networks)
    assert of_folder == Normalization.of(small.splits().train.images)
    assert of_file == Normalization.of(other.train.images) != of_folder
    for line in lines:
        small.run(line, other, tmp_path)
    folders, files = (small.models(line, other, tmp_path) for line in lines)
    assert all(a.address != b.address for a, b in zip(folders, files, strict=True))
    assert folders[0].evaluation() != files[0].evaluation()


def train_student(teacher: Teacher, disturb: nn.Module | None = None) -> tuple[list[Tensor], list[dict[str, float]]]:
    data, student = small.splits(), build(small.NET, 4, 1, seed=9)
    records: Iterator[Record] = fit(
        student,
        BatchLoader(data.train, CropFlip(padding=1), 8, torch.device("cpu")),
        distillation(),
        Schedule(epochs=3, batch_size=8),
        normalization=Normalization.of(data.train.images),
        seed=5,
        engine=ENGINE,
        teacher=teacher,
        pulse=0.0,
    )
    lines = []
    for record in records:
        if disturb is not None:
            disturb.train()
        lines += [record.metrics] if record.metrics else []
    return [value.clone() for value in student.state_dict().values()], lines


@pytest.mark.fault(34)
def test_a_teacher_is_in_evaluation_mode_and_does_not_change() -> None:
    network = build(small.NET, 4, 1, seed=1)
    teacher = NetworkTeacher(network.train(), Normalization((0.3,), (0.2,)), ENGINE)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    undisturbed, lines = train_student(teacher)
    disturbed, disturbed_lines = train_student(teacher, disturb=network)  # .train() is called on it after every step
    assert lines == disturbed_lines
    assert all(torch.equal(expected, actual) for expected, actual in zip(undisturbed, disturbed, strict=True))
    after = network.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(value, after[name]) for name, value in before.items())
    assert all(parameter.grad is None for parameter in network.parameters())


@pytest.mark.fault(34)
def test_the_files_of_a_teacher_do_not_change(trained: Model, tmp_path: Path) -> None:
    before = small.state(trained.folder)
    line = small.teacher_and_student()
    small.run(small.line(line.generations[0]), small.splits(), tmp_path)
    teacher, _ = small.models(line, small.splits(), tmp_path)
    first = small.state(teacher.folder)
    small.run(line, small.splits(), tmp_path)
    small.run(lineage_taught_by(trained.folder), small.splits(), tmp_path)
    assert small.state(teacher.folder) == first
    assert small.state(trained.folder) == before


def test_a_teacher_is_any_function(trained: Model) -> None:
    """A teacher does not have to be a network."""

    def teacher(batch: Any) -> Prediction:
        return Prediction(torch.zeros(len(batch.labels), 4), {})

    assert len(train_student(teacher)[1]) == 3
