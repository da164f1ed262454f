"""Invalid labels: refused on loading, with their number and the first of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from tests.warm import Warm
from tutelage.data.labels import checked_labels
from tutelage.data.npz import from_arrays, read_npz
from tutelage.methods import factories
from tutelage.objective import Signals

N = 40
LABELS = np.arange(N) % 10
IMAGES = np.zeros((N, 8, 8), np.uint8)
NAMES = [f"class {k}" for k in range(10)]

BAD: dict[str, tuple[list[tuple[int, Any]], Any, str]] = {
    "too large": ([(7, 100)], np.int64, r"1 of 40 labels are not from 0 to 9: 100 at row 7"),
    "by one": ([(39, 10)], np.int64, r"1 of 40 labels are not from 0 to 9: 10 at row 39"),
    "negative": ([(0, -1)], np.int64, r"1 of 40 labels are not from 0 to 9: -1 at row 0"),
    "what torch skips": ([(5, -100)], np.int64, r"1 of 40 labels are not from 0 to 9: -100 at row 5"),
    "nothing but that": (
        [(row, -100) for row in range(N)],
        np.int64,
        r"40 of 40 labels .*: -100 at row 0, -100 at row 1",
    ),
    "several": (
        [(3, -1), (4, 10), (30, -100), (31, 99)],
        np.int64,
        r"4 of 40 .*: -1 at row 3, 10 at row 4, -100 at row 30$",
    ),
    "halves": ([(2, 0.5)], np.float64, r"must be integers, not float64: 0\.0 at row 0, 1\.0 at row 1, 0\.5 at row 2"),
    "whole floats": ([], np.float32, r"must be integers, not float32"),
    "not a number": ([(0, np.nan)], np.float64, r"must be integers, not float64: nan at row 0"),
    "truths": ([], np.bool_, r"must be integers, not bool"),
    "texts": ([], np.str_, r"must be integers, not <U"),
    "beyond 63 bits": ([(1, 2**63)], np.uint64, r"1 of 40 labels .*: 9223372036854775808 at row 1"),
    "wrapped": ([(8, 255)], np.uint8, r"1 of 40 labels .*: 255 at row 8"),
}


def arrays(split: str, name: str) -> dict[str, Any]:
    changes, dtype, _ = BAD[name]
    wrong = LABELS.astype(dtype)
    for row, value in changes:
        wrong[row] = value
    valid_split = "test" if split == "train" else "train"
    images = {"train_images": IMAGES, "test_images": IMAGES}
    return {**images, f"{split}_labels": wrong, f"{valid_split}_labels": LABELS, "class_names": NAMES}


@pytest.mark.fault(31)
@pytest.mark.parametrize("split", ["train", "test"])
@pytest.mark.parametrize("name", BAD)
def test_arrays_and_files_of_them(split: str, name: str, tmp_path: Path) -> None:
    invalid = arrays(split, name)
    message = f"{split}_labels: .*{BAD[name][2]}"
    with pytest.raises(ValueError, match=message.rstrip("$")):
        from_arrays(**invalid)
    np.savez(tmp_path / "mine.npz", **invalid)
    with pytest.raises(ValueError, match=rf"mine\.npz' cannot be used: {message}"):
        read_npz(tmp_path / "mine.npz")


@pytest.mark.fault(31)
@given(
    labels=st.lists(st.integers(-(2**40), 2**40), min_size=1, max_size=30),
    classes=st.integers(2, 50),
    form=st.sampled_from([list, np.asarray, torch.tensor]),
)
def test_every_label_is_valid_or_counted(
    labels: list[int], classes: int, form: Callable[[list[int]], Tensor | np.ndarray | list[int]]
) -> None:
    wrong = [row for row, label in enumerate(labels) if not 0 <= label < classes]
    if not wrong:
        assert checked_labels(form(labels), "labels", classes).tolist() == labels
        return
    with pytest.raises(ValueError, match=rf"{len(wrong)} of {len(labels)} .*: {labels[wrong[0]]} at row {wrong[0]}"):
        checked_labels(form(labels), "labels", classes)


WITHOUT_LABELS = {"born_again", "permuted_dark_knowledge"}
OF_LOGITS = {name: term for name, factory in factories().items() if not (term := factory()).student_layers}


@pytest.mark.fault(31)
@pytest.mark.parametrize("name", sorted(OF_LOGITS.keys() - WITHOUT_LABELS))
def test_losses_raise_for_invalid_labels(name: str) -> None:
    """For users who call the losses directly: an invalid label is neither replaced nor left out of the mean."""
    logits = torch.randn(3, 4, generator=torch.Generator().manual_seed(0))
    for label in (-100, -1, 4):
        for labels in ([0, label, 2], [label] * 3):
            signals = Signals(
                student_logits=logits,
                teacher_logits=logits.roll(1, 1),
                labels=torch.tensor(labels),
                keys=torch.arange(3),
                progress=0.5,
            )
            with pytest.raises(
                (RuntimeError, IndexError), match=r"out of bounds|out of range|smaller than num_classes"
            ):
                OF_LOGITS[name](signals)


@pytest.mark.fault(31)
@pytest.mark.parametrize(
    "labels", [[0, 1, 0, 1, 0, 100], [0, 1, 0, 1, 0, -1], [0, 1, 0, 1, 0, -100], [0, 1, 0, 1, 0, 0.5]]
)
def test_the_command(labels: list[float], warm: Warm, tmp_path: Path) -> None:
    images = IMAGES[:6]
    np.savez(
        tmp_path / "mine.npz",
        train_images=images,
        train_labels=np.array(labels),
        test_images=images,
        test_labels=LABELS[:6] % 2,
        class_names=["a", "b"],
    )
    words = ("run", "baseline", "--data", str(tmp_path / "mine.npz"), "--model", "resnet8", "--epochs", "1")
    pid = warm.start(words, tmp_path / "runs")
    assert warm.wait(pid) == 2
    bad = {0.5: "must be integers, not float64"}.get(
        labels[-1], f"1 of 6 labels are not from 0 to 1: {labels[-1]} at row 5"
    )
    assert f"train_labels: {'labels ' if labels[-1] == 0.5 else ''}{bad}" in warm.output(pid)
    assert not (tmp_path / "runs").exists()
