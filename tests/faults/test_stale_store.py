"""A store of a teacher's logits is used only for that teacher, on the same images in the same views."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from tests.conftest import Many, Tried
from tests.faults import small
from tests.faults.small import Request, default_request, request_with_teacher
from tests.teachers.test_logit_store import CLASSES, SIZE, fill, open_store, rows_of
from tutelage import storage
from tutelage.data import CropFlip, Normalization, Splits
from tutelage.lineage.networks import LineageNetworks
from tutelage.models.build import build
from tutelage.teachers.logit_store import LogitStore


@pytest.fixture(autouse=True)
def _unsynced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.fsync", lambda handle: None)  # nothing here is about the power


def one_pixel(data: Splits) -> None:
    data.train.images[7, 0, 3, 3] ^= 1


CHANGES: dict[str, Callable[[], Request]] = {
    "another teacher": lambda: request_with_teacher(schedule=replace(small.SCHEDULE, lr=0.06)),
    "its seed": lambda: replace(default_request(), seed=1),
    "its architecture": lambda: request_with_teacher(model="tests.faults.small:Wider"),
    "the images": lambda: replace(default_request(), data=small.splits(change=one_pixel)),
    "fewer of them": lambda: replace(default_request(), data=small.splits(size=25)),
    "their views": lambda: replace(
        default_request(), lineage=replace(small.teacher_and_student(), views=CropFlip(padding=1, flip=False))
    ),
    "the order of classes": lambda: replace(
        default_request(), data=small.with_class_names(("class 1", "class 0", "class 2", "class 3"))
    ),
    "the precision": lambda: replace(default_request(), precision="bf16"),
    "a second teacher": lambda: replace(
        default_request(),
        lineage=small.line(
            *(small.generation(name) for name in ("one", "two")), small.generation("student", teachers=(0, 1))
        ),
    ),
}


@pytest.mark.fault(35)
@pytest.mark.parametrize("name", CHANGES)
def test_another_ingredient_is_another_store_and_the_student_is_as_without(
    name: str, tmp_path: Path, tried: Tried
) -> None:
    default_request().train(tmp_path, teacher_store="on")
    before = small.state(tmp_path / "teachers")
    other = CHANGES[name]()
    other.train(tmp_path, teacher_store="on")
    other.train(tmp_path / "without", teacher_store="off")
    after = small.state(tmp_path / "teachers")
    assert {path: after[path] for path in before} == before
    assert len(list((tmp_path / "teachers").iterdir())) == 2
    assert other.models(tmp_path)[-1].weights_digest() == other.models(tmp_path / "without")[-1].weights_digest()
    tried(1, f"another ingredient ({name}): another store")


def change_teacher(runs: Path, change: Callable[[dict[str, Tensor]], object]) -> None:
    """In a finished lineage, change a tensor of the teacher without a change to its address; delete the student."""
    teacher, learner = default_request().models(runs)
    small.change_weights(teacher, change)
    shutil.rmtree(learner.folder)


def last_bit(name: str) -> Callable[[dict[str, Tensor]], None]:
    def change(tensors: dict[str, Tensor]) -> None:
        tensors[name].view(-1).view(torch.int32)[0] ^= 1

    return change


@pytest.mark.fault(35)
@pytest.mark.parametrize("name", ["head.weight", "body.0.weight", "body.1.running_mean", "body.1.running_var"])
def test_a_bit_of_a_weight_or_statistic_is_another_teacher(name: str, tmp_path: Path) -> None:
    """A teacher trained again under its address, with other threads for example, differs in the last bits."""
    default_request().train(tmp_path / "on", teacher_store="on")
    change_teacher(tmp_path / "on", last_bit(name))
    default_request().train(tmp_path / "off", teacher_store="off")
    change_teacher(tmp_path / "off", last_bit(name))
    for store in ("on", "off"):
        default_request().train(tmp_path / store, teacher_store=store)
    stores = sorted((tmp_path / "on" / "teachers").iterdir())
    assert len(stores) == 2
    on, off = (default_request().models(tmp_path / store)[-1].weights_digest() for store in ("on", "off"))
    assert on == off


@pytest.mark.fault(35)
def test_another_normalization_is_another_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The addresses are the same here; normally they include the normalization."""
    default_request().train(tmp_path, teacher_store="on")
    change_teacher(tmp_path, lambda tensors: None)
    monkeypatch.setattr(LineageNetworks, "normalization", lambda self, place: Normalization((0.41,), (0.31,)))
    default_request().train(tmp_path, teacher_store="on")
    assert len(list((tmp_path / "teachers").iterdir())) == 2


@pytest.mark.fault(35)
def test_other_views_for_the_same_teacher(tmp_path: Path) -> None:
    """The views are not part of pretrained weights, but they determine which rows there are."""
    weights = tmp_path / "teacher.safetensors"
    storage.write_bytes(weights, storage.tensor_bytes(build(small.NET, 4, 1, seed=0).state_dict()))
    line = small.line(small.generation("teacher", weights=str(weights)), small.generation("student", teachers=(0,)))
    unflipped = replace(line, views=CropFlip(padding=1, flip=False))
    requests = [replace(default_request(), lineage=each) for each in (line, unflipped)]
    for request in requests:
        request.train(tmp_path, teacher_store="on")
    assert requests[0].models(tmp_path)[0] == requests[1].models(tmp_path)[0]
    assert len(list((tmp_path / "teachers").iterdir())) == 2


@pytest.mark.fault(35)
def test_the_same_ingredients_are_the_same_store(tmp_path: Path) -> None:
    default_request().train(tmp_path, teacher_store="on")
    (folder,) = (tmp_path / "teachers").iterdir()
    rows = (folder / "rows").read_bytes()
    change_teacher(tmp_path, lambda tensors: None)
    default_request().train(tmp_path, teacher_store="on")
    assert list((tmp_path / "teachers").iterdir()) == [folder]
    assert (folder / "rows").read_bytes() == rows  # they are read, not computed again


@pytest.mark.fault(35)
def test_at_every_start_some_rows_are_compared_with_the_teacher(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A store of another teacher under this teacher's name, with valid checksums."""
    default_request().train(tmp_path, teacher_store="on")
    other = request_with_teacher(schedule=replace(small.SCHEDULE, lr=0.06))
    other.train(tmp_path, teacher_store="on")
    ours, theirs = sorted((tmp_path / "teachers").iterdir(), key=lambda path: path.stat().st_mtime_ns)
    for path in ours.iterdir():
        if path.name not in ("store.json", ".lock"):
            path.unlink()
    for path in theirs.iterdir():
        if path.name not in ("store.json", ".lock"):
            shutil.copy(path, ours)
    change_teacher(tmp_path, lambda tensors: None)
    before = small.state(ours)
    for _ in range(2):
        with pytest.raises(
            ValueError, match=r"are not this teacher's: for image \d+ in view \d+ .* delete that folder"
        ):
            default_request().train(tmp_path, teacher_store="on")
        assert not default_request().models(tmp_path)[-1].finished
    assert small.state(ours) == before
    shutil.rmtree(ours)
    default_request().train(tmp_path, teacher_store="on")
    default_request().train(tmp_path / "without", teacher_store="off")
    one, two = (default_request().models(runs)[-1].weights_digest() for runs in (tmp_path, tmp_path / "without"))
    assert one == two


@pytest.mark.fault(35)
def test_one_flipped_bit_anywhere_in_a_store(tmp_path: Path, many: Many, tried: Tried) -> None:
    """The damage is detected when the store is opened; whatever is read is what was written."""
    keys = torch.arange(0, SIZE, 3)
    folder = fill(tmp_path / "whole", keys)
    files = sorted(path.name for path in folder.iterdir() if path.name == "rows" or path.suffix == ".block")
    assert len(files) == 2
    generator = torch.Generator().manual_seed(4)
    count = many(100, 3000)
    for number in range(count):
        name = files[number % 2]
        content = bytearray((folder / name).read_bytes())
        bit = int(torch.randint(8 * len(content), (), generator=generator))
        original = bytes(content)
        content[bit // 8] ^= 1 << bit % 8
        (folder / name).write_bytes(content)
        warnings: list[str] = []
        store: LogitStore = open_store(tmp_path / "whole", warnings=warnings)
        assert len(warnings) == 1, f"bit {bit} of {name}"
        assert "is damaged" in warnings[0]
        assert len(store.keys) == 0
        (folder / name).write_bytes(original)
        for aside in folder.glob("*-damaged"):
            aside.unlink() if name != "rows" else aside.rename(aside.with_suffix(".block"))
    values, present = open_store(tmp_path / "whole").read(keys)
    assert present.all()
    assert torch.equal(values, rows_of(keys))
    assert values.shape == (len(keys), CLASSES)
    tried(count, "flipped bits in rows and blocks, each found and none read")
