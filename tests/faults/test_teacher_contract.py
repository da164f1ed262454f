"""What a teacher must share with its pupil, what it keeps of its own, and that teaching leaves it as it is."""

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
from tutelage.data.splits import finished
from tutelage.engine import Engine
from tutelage.export import export_model
from tutelage.export.find import Source
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
    """A model that knows the four classes."""
    torch.set_num_threads(1)
    runs = tmp_path_factory.mktemp("trained")
    line = small.line(small.generation(schedule=LEARNS))
    small.run(line, small.splits(), runs)
    (model,) = small.models(line, small.splits(), runs)
    assert model.evaluation()["train"]["top1"] > 0.9
    return model


def one_class() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 1))


def seven_classes() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 7))


def pupil_of(weights: Path, model: str = small.NET) -> Lineage:
    """A line whose teacher is given."""
    return small.line(
        small.generation("teacher", model=model, weights=str(weights)),
        small.generation("pupil", model=model, teachers=(0,)),
    )


def loose(model: Model, folder: Path, **changes: Tensor) -> Path:
    """Its weights alone, in a file."""
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
            r"^teacher: .*shape \[2, 1\] .*; the data has 4 classes: expected \[2, 4\]; pupil: 4 classes$",
        ),
        (0, "seven_classes", r"^teacher: .*shape \[2, 7\] .*; the data has 4 classes: .*; pupil: 4 classes$"),
        (1, "seven_classes", r"^pupil: .*shape \[2, 7\] .*; the data has 4 classes: .*; teacher: 4 classes$"),
        (1, "one_class", r"^pupil: .*shape \[2, 1\] .*; the data has 4 classes: .*; teacher: 4 classes$"),
    ],
)
def test_three_numbers_of_classes(place: int, model: str, message: str, tmp_path: Path) -> None:
    generations = list(small.taught().generations)
    generations[place] = replace(generations[place], model=f"tests.faults.test_teacher_contract:{model}")
    with pytest.raises(ValueError, match=message):
        small.run(small.line(*generations), small.splits(), tmp_path / "runs")
    assert not (tmp_path / "runs").exists()


@pytest.mark.fault(32)
@pytest.mark.parametrize("classes", [1, 3, 5])
def test_given_weights_of_other_classes(classes: int, tmp_path: Path) -> None:
    path = tmp_path / "teacher.safetensors"
    storage.write_bytes(path, storage.tensor_bytes(build(small.NET, classes, 1, seed=0).state_dict()))
    message = rf"^teacher: {path} knows {classes} classes, the network 4: .*; pupil: 4 classes$"
    with pytest.raises(ValueError, match=message):
        small.run(pupil_of(path), small.splits(), tmp_path / "runs")
    assert not (tmp_path / "runs").exists()


@pytest.mark.fault(32)
@pytest.mark.parametrize("name", sorted(name for name, objective in OF_LOGITS.items() if objective.needs_teacher))
def test_a_teacher_of_one_class_never_broadcasts(name: str) -> None:
    student, teacher = torch.randn(8, 100), torch.randn(8, 1)
    plain = nn.functional.kl_div(student.log_softmax(1), teacher.softmax(1), reduction="batchmean")
    assert plain.isfinite()  # what torch makes of it, without a word
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
IN_ORDER = small.splits().facts.class_names


@pytest.mark.fault(33)
@pytest.mark.parametrize("form", ["folder", "exported"])
@pytest.mark.parametrize("order", ORDERS)
def test_the_same_classes_in_another_order(order: str, form: str, trained: Model, tmp_path: Path) -> None:
    given = trained.folder
    if form == "exported":
        export_model(Source(model=trained, own=True), tmp_path / "exported", ["safetensors"])
        given = tmp_path / "exported" / "weights.safetensors"
    small.run(pupil_of(given), small.splits(), tmp_path / "right")
    (teacher, _) = small.models(pupil_of(given), small.splits(), tmp_path / "right")
    assert teacher.evaluation() == trained.evaluation()
    assert teacher.made()["classes"] == "named"

    message = rf"the 4 classes of {given} are the same in another order \(0: 'class 0', not 'class 1'"
    with pytest.raises(ValueError, match=message):
        small.run(pupil_of(given), small.renamed(ORDERS[order]), tmp_path / "wrong")
    assert not (tmp_path / "wrong").exists()


@pytest.mark.fault(33)
def test_a_network_of_another_package_that_names_its_classes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As ``hf:`` networks do; here one of ours stands in for it."""
    told = Expectation(size=None, mean=(0.4,), std=(0.3,), class_names=ORDERS["all of them turned"])
    monkeypatch.setattr(sys.modules["tutelage.lineage.networks"], "expectation", lambda name, channels: told)
    with pytest.raises(ValueError, match=r"the 4 classes of .*Small are the same in another order"):
        small.run(small.taught(), small.splits(), tmp_path / "runs")


@pytest.mark.fault(33)
def test_weights_that_do_not_name_their_classes_are_taken_and_that_is_recorded(
    trained: Model, tmp_path: Path
) -> None:
    said: list[str] = []
    line = pupil_of(loose(trained, tmp_path))
    small.run(line, small.splits(), tmp_path, warn=said.append)
    (teacher, _) = small.models(line, small.splits(), tmp_path)
    assert teacher.made()["classes"] == "not named: taken to be the data's, in its order"
    assert said == []


@pytest.mark.fault(33, 34)
def test_a_given_teacher_that_is_at_chance_is_warned_of(trained: Model, tmp_path: Path) -> None:
    """Its classes turned by one, which nothing in the file tells."""
    turned = {
        f"head.{name}": trained.weights()[f"head.{name}"].roll(1, 0).contiguous() for name in ("weight", "bias")
    }
    path = loose(trained, tmp_path, **turned)
    said: list[str] = []
    small.run(pupil_of(path), small.splits(), tmp_path, warn=said.append)
    (warning,) = said
    found = re.fullmatch(
        rf"teacher teaches pupil, and is at chance \((\d) of 26 training images right\): {path} may know other "
        "classes, another order of them, or images prepared otherwise",
        warning,
    )
    assert found, warning


@pytest.mark.fault(22, 34)
@pytest.mark.parametrize(("epochs", "warned"), [(2, True), (3, False)])
def test_a_teacher_that_came_to_nothing_is_warned_of_unless_it_was_cut_off(
    epochs: int, warned: bool, tmp_path: Path
) -> None:
    """A defective teacher has fewer epochs than its pupil: whoever asks for that knows."""
    teacher, pupil = small.taught().generations
    broken = replace(teacher, schedule=replace(small.SCHEDULE, lr=0.0))
    line = small.line(broken, replace(pupil, schedule=replace(small.SCHEDULE, epochs=epochs)))
    said: list[str] = []
    small.run(line, small.splits(), tmp_path, warn=said.append)
    assert len(said) == warned
    assert all(
        re.search(r"teacher teaches pupil, and is at chance .*its training came to nothing", one) for one in said
    )
    assert all(model.finished for model in small.models(line, small.splits(), tmp_path))


def resized(height: int, width: int, channels: int = 1) -> Splits:
    made = make_splits()

    def scaled(part: Dataset) -> Dataset:
        images = nn.functional.interpolate(part.images.float(), (height, width)).to(torch.uint8)
        return replace(part, images=images.expand(-1, channels, -1, -1).contiguous())

    facts = replace(made.facts, height=height, width=width, channels=channels)
    return finished(facts, scaled(made.train), scaled(made.test))


class Pooled(nn.Module):
    """Takes images of any size, and would answer them all."""

    def __init__(self, num_classes: int, in_channels: int) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(in_channels, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(4), nn.Flatten())
        self.head = nn.Linear(128, num_classes)
        self.sizes: list[tuple[int, ...]] = []

    def forward(self, x: Tensor) -> Tensor:
        self.sizes.append(tuple(x.shape[1:]))
        return self.head(self.body(x))


@pytest.mark.fault(34)
def test_images_of_another_size_come_to_a_teacher_in_its_own(tmp_path: Path) -> None:
    pooled = "tests.faults.test_teacher_contract:Pooled"
    line = small.line(small.generation(model=pooled, schedule=LEARNS))
    small.run(line, small.splits(), tmp_path)
    (taken,) = small.models(line, small.splits(), tmp_path)
    pupil = pupil_of(taken.folder, pooled)
    larger = resized(16, 16)
    small.run(pupil, larger, tmp_path)
    (teacher, learned) = small.models(pupil, larger, tmp_path)
    sizes = [
        json.loads((one.folder / "config.json").read_bytes())["normalization"]["size"] for one in (teacher, learned)
    ]
    assert sizes == [8, None]

    room = LineageNetworks(pupil, small.models(pupil, larger, tmp_path), 0, larger, ENGINE)
    told = room.teacher(1)
    assert isinstance(told, NetworkTeacher)
    told(next(BatchLoader(larger.train, CropFlip(padding=1), 8, torch.device("cpu")).batches(0, 0)))
    assert told.network.sizes == [(1, 8, 8)]


@pytest.mark.fault(34)
def test_images_that_a_teacher_cannot_be_given_as_it_knows_them(trained: Model, tmp_path: Path) -> None:
    message = rf"the network of {trained.folder} was trained on images of 1 channels, the data has 3"
    with pytest.raises(ValueError, match=message):
        small.run(pupil_of(trained.folder), resized(8, 8, channels=3), tmp_path / "runs")

    pooled, oblong = "tests.faults.test_teacher_contract:Pooled", resized(8, 12)
    line = small.line(small.generation(model=pooled))
    small.run(line, oblong, tmp_path)
    (taken,) = small.models(line, oblong, tmp_path)
    pupil = pupil_of(taken.folder, pooled)
    small.run(pupil, oblong, tmp_path)
    with pytest.raises(ValueError, match=r"trained on images of 8 x 12, the data's are 8 x 8, and only square ones"):
        small.run(pupil, small.splits(), tmp_path / "runs")
    assert not (tmp_path / "runs").exists()


@pytest.mark.fault(34)
def test_the_same_weights_for_images_prepared_otherwise_are_another_teacher(trained: Model, tmp_path: Path) -> None:
    """Alone in a file they see the data's normalization, in their folder the one they were trained with."""
    other = small.splits(change=lambda made: made.train.images.clamp_(max=100))
    lines = [pupil_of(trained.folder), pupil_of(loose(trained, tmp_path))]
    rooms = [LineageNetworks(line, small.models(line, other, tmp_path), 0, other, ENGINE) for line in lines]
    one, two = (room.normalization(0) for room in rooms)
    assert one == Normalization.of(small.splits().train.images)
    assert two == Normalization.of(other.train.images) != one
    for line in lines:
        small.run(line, other, tmp_path)
    folders, files = (small.models(line, other, tmp_path) for line in lines)
    assert all(a.address != b.address for a, b in zip(folders, files, strict=True))
    assert folders[0].evaluation() != files[0].evaluation()


def learned(teacher: Teacher, disturb: nn.Module | None = None) -> tuple[list[Tensor], list[dict[str, float]]]:
    data, pupil = small.splits(), build(small.NET, 4, 1, seed=9)
    records: Iterator[Record] = fit(
        pupil,
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
    return [value.clone() for value in pupil.state_dict().values()], lines


@pytest.mark.fault(34)
def test_a_teacher_with_dropout_and_batch_statistics_answers_as_it_is_measured_and_stays_as_it_is() -> None:
    network = build(small.NET, 4, 1, seed=1)
    teacher = NetworkTeacher(network.train(), Normalization((0.3,), (0.2,)), ENGINE)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    calm, lines = learned(teacher)
    shaken, again = learned(teacher, disturb=network)  # somebody calls .train() on it after every step
    assert lines == again
    assert all(torch.equal(one, other) for one, other in zip(calm, shaken, strict=True))
    after = network.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(value, after[name]) for name, value in before.items())
    assert all(parameter.grad is None for parameter in network.parameters())


@pytest.mark.fault(34)
def test_what_lies_of_a_teacher_on_disk_is_the_same_after_it_has_taught(trained: Model, tmp_path: Path) -> None:
    before = small.state(trained.folder)
    line = small.taught()
    small.run(small.line(line.generations[0]), small.splits(), tmp_path)
    teacher, _ = small.models(line, small.splits(), tmp_path)
    first = small.state(teacher.folder)
    small.run(line, small.splits(), tmp_path)
    small.run(pupil_of(trained.folder), small.splits(), tmp_path)
    assert small.state(teacher.folder) == first
    assert small.state(trained.folder) == before


def test_a_teacher_is_only_asked(trained: Model) -> None:
    """What stands in for a teacher needs no network."""

    def teacher(batch: Any) -> Prediction:
        return Prediction(torch.zeros(len(batch.labels), 4), {})

    assert len(learned(teacher)[1]) == 3
