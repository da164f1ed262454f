"""A number that is not finite stops training before the step, is named, and is stored nowhere."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import pytest
import torch
from torch import Tensor, nn

from tests.conftest import Many, Tried
from tests.faults import small
from tests.warm import Warm
from tutelage import storage
from tutelage.artifacts.pretrained import read_metadata
from tutelage.data import Batch, BatchLoader, CropFlip, Normalization
from tutelage.engine import Engine
from tutelage.methods.hinton import distillation, labels_only
from tutelage.models.build import build
from tutelage.objective import LogitTerm, Objective, Prediction, Signals
from tutelage.training import NotFinite, Record, Schedule, fit
from tutelage.training.sgd import Sgd

SCHEDULE = Schedule(epochs=3, batch_size=8, lr=0.05)


def loop(network: nn.Module, objective: Objective | None = None, **options: object) -> Iterator[Record]:
    data = small.splits()
    return fit(
        network,
        BatchLoader(data.train, CropFlip(padding=1), SCHEDULE.batch_size, torch.device("cpu")),
        objective or labels_only(),
        SCHEDULE,
        normalization=Normalization.of(data.train.images),
        seed=11,
        engine=Engine.choose("cpu", "fp32", 1),
        **options,
    )


def network() -> nn.Module:
    return build(small.NET, 4, 1, seed=0)


@dataclass(frozen=True)
class Rooted(LogitTerm):
    """A term whose value is 0 and whose gradient is not a number."""

    name: str = "rooted"
    needs_teacher: ClassVar[bool] = False

    def __call__(self, signals: Signals) -> Tensor:
        difference = signals.student_logits - signals.student_logits.detach()
        return difference.square().sum(1).sqrt()

    def formula(self) -> str:
        return "|z - z|"


@pytest.mark.fault(21)
def test_a_gradient_that_is_not_finite_beside_a_finite_loss(tried: Tried) -> None:
    model = network()
    before = {name: value.detach().clone() for name, value in model.named_parameters()}
    with pytest.raises(NotFinite) as error:
        list(loop(model, Objective((*labels_only().terms, Rooted()))))
    match = re.fullmatch(
        r"the gradient is not finite at step 1 of 12, though the loss is [\d.]+ \(learning rate 0\.05, samples "
        r"(\d+, ){4}\d+ and 3 more; terms rooted; first in body\.0\.weight\): this step was not taken",
        str(error.value),
    )
    assert match, error.value
    assert all(torch.equal(value, before[name]) for name, value in model.named_parameters())
    tried(1, "gradient that is not a number, of one of two terms")


@pytest.mark.fault(21)
@pytest.mark.parametrize("poison", [torch.nan, torch.inf, -torch.inf])
def test_one_such_number_in_any_gradient_moves_no_weight_in_this_step_or_later(
    poison: float, many: Many, tried: Tried
) -> None:
    generator = torch.Generator().manual_seed(1)
    count = many(20, 1000)
    for _ in range(count):
        model = network()
        weights = list(model.parameters())
        optimizer = Sgd(weights, momentum=0.9, nesterov=True, weight_decay=1e-4)
        for weight in weights:
            weight.grad = torch.randn(weight.shape, generator=generator)
        optimizer.step(0.1)
        before = [weight.detach().clone() for weight in weights]
        flat = weights[int(torch.randint(len(weights), (), generator=generator))].grad.view(-1)
        place = int(torch.randint(len(flat), (), generator=generator))
        healthy, flat[place] = flat[place].clone(), poison
        optimizer.step(0.1)
        flat[place] = healthy
        optimizer.step(0.1)
        assert bool(optimizer.broken)
        assert all(torch.equal(weight, old) for weight, old in zip(weights, before, strict=True))
    tried(count, f"a gradient with {poison} in it at a random place: nothing moved")


@pytest.mark.fault(21)
@pytest.mark.parametrize("poison", [torch.nan, torch.inf])
def test_the_samples_that_a_teacher_fails_on_are_named(poison: float) -> None:
    def teacher(batch: Batch) -> Prediction:
        logits = torch.zeros(len(batch.labels), 4)
        logits[(batch.ids == 3) | (batch.ids == 17), 2] = poison
        return Prediction(logits, {})

    with pytest.raises(NotFinite, match=r"samples (3|17|3, 17|17, 3); terms teacher\): the teacher's logits are not"):
        list(loop(network(), distillation(), teacher=teacher))


def poison(name: str, value: float) -> Callable[[dict[str, Tensor]], None]:
    def change(tensors: dict[str, Tensor]) -> None:
        tensors[name].view(-1)[0] = value

    return change


@pytest.mark.fault(21)
@pytest.mark.parametrize("store", ["off", "on"])
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("head.weight", torch.nan),
        ("head.weight", torch.inf),
        ("body.1.running_mean", torch.nan),
        ("head.bias", torch.inf),
    ],
)
def test_a_teacher_with_one_such_number_stops_its_student_before_the_first_step(
    name: str, value: float, store: str, tmp_path: Path
) -> None:
    """No training leads to such a teacher: its file and manifest are changed together."""
    data, lineage = small.splits(), small.teacher_and_student()
    small.run(small.line(lineage.generations[0]), data, tmp_path)
    teacher, student = small.models(lineage, data, tmp_path)
    small.change_weights(teacher, poison(name, value))
    before = small.state(teacher.folder)
    with pytest.raises(ValueError, match=rf"{teacher.address} has weights that are not finite: 1 in {name}$"):
        small.run(lineage, data, tmp_path, teacher_store=store)
    assert small.state(teacher.folder) == before
    assert not student.finished
    assert not storage.checkpoints(student.folder)
    assert small.state(student.folder) == {}
    stored = [path for path in (tmp_path / "teachers").glob("*/*") if path.suffix == ".block"]
    assert not stored


class Bomb(small.Small):
    """A network whose logits, or only whose statistics, are not finite after some steps."""

    AFTER, IN = 6, "logits"

    def __init__(self, num_classes: int, in_channels: int) -> None:
        super().__init__(num_classes, in_channels)
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))
        self.register_buffer("statistic", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            self.steps += 1
        due = bool(self.steps > self.AFTER)
        if due and self.IN == "statistic":
            self.statistic.fill_(torch.inf)
        return super().forward(x) / (0.0 if due and self.IN == "logits" else 1.0)


@pytest.mark.fault(21)
@pytest.mark.parametrize(
    ("where", "message"),
    [
        ("logits", r"the loss is nan at step 7 of 12 \(learning rate 0\.005, .*the student's logits are not finite"),
        ("statistic", r"after step 8, network/statistic holds values that are not finite numbers; nothing was saved"),
    ],
)
def test_stored_checkpoints_are_finite_and_the_same_command_stops_there_again(
    where: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, whole_epochs: None
) -> None:
    monkeypatch.setattr(Bomb, "IN", where)
    data = small.splits()
    line = small.line(small.generation(model="tests.faults.test_not_finite:Bomb", schedule=SCHEDULE))
    (model,) = small.models(line, data, tmp_path)
    for _ in range(2):
        with pytest.raises(NotFinite, match=message):
            small.run(line, data, tmp_path, checkpoint_seconds=0.0)
        assert not model.finished
        (checkpoint,) = storage.checkpoints(model.folder)
        assert checkpoint.step == 4
        storage.verify(checkpoint.folder)
        tensors = storage.read_tensors(checkpoint.folder / "state.safetensors")
        assert all(tensor.isfinite().all() for tensor in tensors.values())


@pytest.mark.fault(21)
def test_pretrained_weights_that_are_not_finite_end_the_command_before_training(warm: Warm, tmp_path: Path) -> None:
    weights = build("resnet8", 10, 1, seed=0).state_dict()
    weights["stage1.0.sum.body.norm1.running_var"][3] = torch.nan
    storage.write_bytes(tmp_path / "teacher.safetensors", storage.tensor_bytes(weights))
    words = ("run", "distill", "--teacher", "resnet8", "--teacher-weights", str(tmp_path / "teacher.safetensors"))
    pid = warm.start((*words, "--epochs", "1", "--train-size", "20"), tmp_path / "runs")
    assert warm.wait(pid) == 2
    assert "has weights that are not finite: 1 in stage1.0.sum.body.norm1.running_var" in warm.output(pid)
    assert not (tmp_path / "runs").exists()


@pytest.mark.fault(21)
@pytest.mark.parametrize("std", ["0.0", "-1.0", "NaN", "Infinity"])
def test_a_normalization_that_would_make_such_pixels(std: str, tmp_path: Path) -> None:
    data = small.splits()
    small.run(small.line(), data, tmp_path)
    (model,) = small.models(small.line(), data, tmp_path)
    files = {name: (model.folder / name).read_bytes() for name in storage.read_manifest(model.folder)["files"]}
    files["config.json"], count = re.subn(rb'("std": \[\s*)[\d.]+', rb"\g<1>" + std.encode(), files["config.json"])
    assert count == 1
    storage.commit(model.folder, files)
    refused = "does not describe a model: .*positive numbers|cannot be read as JSON: .*not a finite number"
    with pytest.raises(ValueError, match=rf"config\.json ({refused})"):
        read_metadata(str(model.folder))


CURVES = {
    "begins with none": (torch.nan, 0.5, 0.9),
    "loses it": (0.5, torch.nan, 0.9),
    "falls": (0.9, torch.nan, 0.1),
}


@pytest.mark.fault(23)
@pytest.mark.parametrize("name", CURVES)
def test_no_epoch_is_selected_by_the_holdout(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The last epoch is the model. (The accuracies are patched: a real accuracy is always a number.)"""
    base = small.splits()
    data = replace(base, holdout=base.test, fingerprint="with holdout")
    line = small.line(small.generation(schedule=SCHEDULE))
    small.run(line, data, tmp_path / "as it is")
    accuracies = iter(CURVES[name])
    monkeypatch.setattr(sys.modules["tutelage.lineage.generation_trainer"], "accuracy", lambda *_: next(accuracies))
    small.run(line, data, tmp_path / "fed")
    (plain,), (fed,) = (small.models(line, data, tmp_path / runs) for runs in ("as it is", "fed"))
    lines = map(json.loads, (fed.folder / "metrics.jsonl").read_text().splitlines())
    assert [record["holdout/top1"] for record in lines] == pytest.approx(CURVES[name], nan_ok=True)
    assert plain.weights_digest() == fed.weights_digest()
    assert plain.evaluation() == fed.evaluation()
