"""Checkpoints that a manifest vouches for, and that do not continue the training run at hand."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.conftest import Tried
from tests.faults import small
from tutelage import storage

LINEAGE, DATA = small.line(), small.splits()
NAN = float("nan")


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The runs folder of a training run that stopped after its first epoch; copy it, do not change it."""
    runs = tmp_path_factory.mktemp("stopped")
    torch.set_num_threads(1)
    small.interrupt(LINEAGE, DATA, runs)
    return runs


def forged(stopped: Path, runs: Path, **changes: bytes) -> Path:
    """A copy of the run with other files in its checkpoint; returns the checkpoint."""
    shutil.copytree(stopped, runs, dirs_exist_ok=True)
    (model,) = small.models(LINEAGE, DATA, runs)
    (checkpoint,) = storage.checkpoints(model.folder)
    files = {path.name: path.read_bytes() for path in checkpoint.folder.iterdir() if path.name != storage.MANIFEST}
    note = storage.read_manifest(checkpoint.folder)["note"]
    changed = {name: changes.get(name.partition(".")[0], files[name]) for name in files}
    storage.commit(checkpoint.folder, changed, note)
    return checkpoint.folder


def put(name: str, change: Callable[[Tensor], Tensor]) -> Callable[[dict[str, Tensor]], object]:
    return lambda tensors: tensors.update({name: change(tensors[name])})


STATES: dict[str, tuple[Callable[[dict[str, Tensor]], object], str]] = {
    "nothing": (dict.clear, "it has no network/"),
    "no sums": (lambda tensors: tensors.pop("sums"), "it has no sums"),
    "no weight": (lambda tensors: tensors.pop("network/head.weight"), "it has no network/head.weight"),
    "another shape": (
        put("network/head.weight", lambda value: value[:2]),
        r"head.weight is torch.float32 \[2, 144\]",
    ),
    "another type": (put("network/head.bias", Tensor.double), r"head.bias is torch.float64 \[4\], not torch.float32"),
    "sums of another shape": (put("sums", lambda value: value[:1]), r"sums is torch.float64 \[1\]"),
    "a scalar momentum": (
        put("momentum/network/head.bias", lambda value: value[0]),
        r"head.bias is torch.float32 \[\]",
    ),
    "a foreign tensor": (lambda tensors: tensors.update(more=torch.zeros(1)), "it holds 'more'"),
    "a foreign module": (lambda tensors: tensors.update({"learned/x": torch.zeros(1)}), "it holds 'learned/x'"),
    "NaN": (put("network/head.bias", lambda value: value * NAN), "in network/head.bias that are not finite"),
    "infinite momentum": (put("momentum/network/head.bias", lambda value: value / 0), "that are not finite"),
    "infinite sums": (put("sums", lambda value: value + float("inf")), "in sums that are not finite"),
}


@pytest.mark.fault(29)
@pytest.mark.parametrize("name", STATES)
def test_a_state(name: str, stopped: Path, tmp_path: Path, tried: Tried) -> None:
    (checkpoint,) = stopped.glob("models/*/checkpoints/*")
    change, message = STATES[name]
    tensors = storage.read_tensors(checkpoint / "state.safetensors")
    change(tensors)
    forged(stopped, tmp_path, state=storage.tensor_bytes(tensors))
    with pytest.raises(ValueError, match=rf"state\.safetensors .*{message}"):
        small.run(LINEAGE, DATA, tmp_path)
    assert not small.models(LINEAGE, DATA, tmp_path)[0].finished
    tried(1, "foreign states refused, by the file's name")


@pytest.mark.fault(30)
@pytest.mark.parametrize(
    ("file", "value"),
    [
        ("history", {}),
        ("history", 3),
        ("history", ["x"]),
        ("history", [{}]),
        ("history", [{"epoch": 4}]),
        ("history", [{"epoch": 1, "accuracy": 1e308}]),
        ("history", [{"epoch": 1, "loss": None}]),
        ("environment", []),
        ("environment", None),
        ("environment", {"continued": 1}),
        ("environment", {"continued": [1]}),
    ],
)
def test_what_lies_beside_a_state(file: str, value: Any, stopped: Path, tmp_path: Path) -> None:
    folder = forged(stopped, tmp_path, **{file: json.dumps(value).encode()})
    with pytest.raises(storage.Damaged, match=f"{folder} is not a checkpoint"):
        small.run(LINEAGE, DATA, tmp_path)


@pytest.mark.fault(29)
def test_a_checkpoint_beyond_the_end(stopped: Path, tmp_path: Path) -> None:
    folder = forged(stopped, tmp_path)
    folder.rename(folder.with_name("999999999"))
    with pytest.raises(ValueError, match="stands at step 999999999, beyond the 8 of this training run"):
        small.run(LINEAGE, DATA, tmp_path)


def test_what_is_right_goes_on(stopped: Path, tmp_path: Path) -> None:
    forged(stopped, tmp_path)
    assert small.run(LINEAGE, DATA, tmp_path)[-1] == "finished"


@pytest.mark.fault(29)
def test_the_weights_of_a_teacher(tmp_path: Path) -> None:
    """A finished teacher with the weights of another network: one line that names its folder."""
    lineage = small.teacher_and_student()
    small.interrupt(lineage, DATA, tmp_path, place=1)
    teacher = small.models(lineage, DATA, tmp_path)[0]
    small.change_weights(teacher, lambda tensors: tensors.update({"head.weight": torch.zeros(2, 2)}))
    with pytest.raises(ValueError, match=f"the weights of {teacher.folder} do not fit the network: 1 have another"):
        small.run(lineage, DATA, tmp_path)
