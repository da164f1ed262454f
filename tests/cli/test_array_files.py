"""Commands on array files: what a reader decided is said once, and a validation set is measured after each epoch."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.cli.conftest import InProcess
from tests.data.test_idx import make_idx
from tests.data.test_validation_sets import SIZES, arrays, save
from tutelage import api
from tutelage.lineage import Stopped
from tutelage.study import Event, Study

QUICK = ("--model", "resnet8", "--epochs", "2", "--batch-size", "8", "--threads", "1", "--track", "none")
NOTE = "med.npz: there is no test_images: val_images is used as the test set"


def test_a_validation_set_is_measured_after_each_epoch(in_process: InProcess, tmp_path: Path) -> None:
    save(tmp_path / "med.npz", arrays(*SIZES))
    code, out, error = in_process("run", "baseline", "--data", "med.npz", "--train-size", "16", *QUICK)
    assert code == 0, error
    assert "holdout top-1" in out
    assert NOTE not in error
    (metrics,) = tmp_path.rglob("metrics.jsonl")
    epochs = [json.loads(line) for line in metrics.read_text().splitlines()]
    assert [0 <= epoch["holdout/top1"] <= 1 for epoch in epochs] == [True, True]
    evaluation = json.loads((metrics.parent / "evaluation.json").read_text())
    assert evaluation["holdout"]["top1"] == epochs[-1]["holdout/top1"]


def test_a_note_is_printed_before_training(in_process: InProcess, tmp_path: Path) -> None:
    save(tmp_path / "med.npz", arrays("train", "val"))
    code, out, error = in_process("run", "baseline", "--data", "med.npz", *QUICK)
    assert code == 0, error
    assert "holdout top-1" not in out
    assert error.count(NOTE) == 1
    assert error.index(NOTE) < error.index("baseline: trained in")


@pytest.mark.parametrize(
    "words",
    [
        ("run", "baseline"),
        ("run", "tolerant", "--generations", "2", "--seeds", "0", "1", "2"),
        ("study", "--arm", "baseline", "--arm", "label_smoothing", "--arm", "tolerant --train-size 20"),
    ],
)
def test_a_note_is_printed_once(
    in_process: InProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]
) -> None:
    def stops_at_once(study: Study, *, on_start: Callable[[], None], **_: object) -> Iterator[Event]:
        on_start()
        raise Stopped("stopped")
        yield

    save(tmp_path / "med.npz", arrays("train", "val"))
    monkeypatch.setattr(api, "execute", stops_at_once)
    code, _, error = in_process(*words, "--data", "med.npz")
    assert code == 75, error
    assert error.count(NOTE) == error.count("val_images") == 1


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        ((), "18 views of each training image: shifted by up to 1 pixel, mirrored\n"),
        (("--no-flip",), "9 views of each training image: shifted by up to 1 pixel\n"),
        (("--flip",), "18 views of each training image: shifted by up to 1 pixel, mirrored\n"),
        (("--no-flip", "--crop-padding", "0"), "1 view of each training image: as they are\n"),
    ],
)
def test_mirroring_is_turned_on_and_off(
    words: tuple[str, ...], shown: str, in_process: InProcess, tmp_path: Path
) -> None:
    save(tmp_path / "med.npz", arrays(*SIZES))
    code, out, error = in_process("explain", "baseline", "--data", "med.npz", "--model", "resnet8", *words)
    assert (code, error) == (0, "")
    assert shown in out


def test_an_explanation_counts_validation_images(in_process: InProcess, tmp_path: Path) -> None:
    save(tmp_path / "med.npz", arrays(*SIZES))
    _, out, _ = in_process("explain", "baseline", "--data", "med.npz")
    assert "24 training images of 3x8x8 in 3 classes, 6 test images, 9 validation images; " in out
    save(tmp_path / "med.npz", arrays("train", "val"))
    _, out, _ = in_process("explain", "baseline", "--data", "med.npz")
    assert "24 training images of 3x8x8 in 3 classes, 9 test images; " in out
    assert "\nthere is no test_images: val_images is used as the test set\n" in out


@pytest.mark.parametrize("command", ["run", "explain"])
def test_a_holdout_beside_a_validation_set(command: str, in_process: InProcess, tmp_path: Path) -> None:
    save(tmp_path / "med.npz", arrays(*SIZES))
    code, _, error = in_process(command, "baseline", "--data", "med.npz", "--holdout", "5")
    assert code == 2
    (line,) = error.splitlines()
    assert line.endswith(
        "holdout is 5, but the dataset has a validation set of 9 images of its own: leave --holdout out"
    )
    assert not (tmp_path / "runs").exists()


def test_idx_files_are_trained_on(in_process: InProcess, tmp_path: Path) -> None:
    make_idx(tmp_path / "mnist" / "MNIST" / "raw", lambda name: f"{name}.gz")
    code, out, error = in_process("run", "baseline", "--data", "mnist", *QUICK)
    assert code == 0, error
    assert "baseline" in out
    (config,) = tmp_path.rglob("config.json")
    assert json.loads(config.read_text())["input"] == [1, 28, 28]


def test_idx_files_that_do_not_fit(in_process: InProcess, tmp_path: Path) -> None:
    make_idx(tmp_path / "mnist", train_labels=np.zeros((30, 2), np.uint8))
    code, _, error = in_process("run", "baseline", "--data", "mnist", *QUICK)
    assert code == 2
    (line,) = error.splitlines()
    assert "mnist/train-labels-idx1-ubyte' cannot be used: it begins with 00000802, not with 00000801" in line
