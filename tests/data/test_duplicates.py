"""Equal images are counted: within a set, across sets (a leak), and under several labels."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from tutelage.data import duplicates
from tutelage.data.duplicates import array_copies, copies, summary
from tutelage.data.folder import examine_folder
from tutelage.data.npz import from_arrays


@pytest.fixture
def photographs(tmp_path: Path) -> Path:
    """Eight images of noise in each class of each set."""
    generator = np.random.default_rng(3)
    for part in ("train", "val", "test"):
        for name in "ab":
            (tmp_path / "set" / part / name).mkdir(parents=True)
            for row in range(8):
                pixels = generator.integers(0, 256, (9, 9, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(tmp_path / "set" / part / name / f"{row}.png")
    return tmp_path / "set"


def plant(root: Path, source: str, *targets: str) -> None:
    for target in targets:
        shutil.copy(root / source, root / target)


def last_note(root: Path) -> str:
    return examine_folder(root, None).notes[-1]


def test_nothing_is_said_where_all_differ(photographs: Path) -> None:
    assert examine_folder(photographs, None).notes == ("val is the validation set",)


def test_five_planted_copies_are_found(photographs: Path) -> None:
    plant(photographs, "train/a/0.png", "train/a/copy.png")  # within the training set
    plant(photographs, "train/a/1.png", "test/a/copy.png")  # a leak
    plant(photographs, "train/b/2.png", "train/a/other.png")  # with another label
    plant(photographs, "train/b/3.png", "val/b/copy.png")
    plant(photographs, "val/a/4.png", "test/a/held.png")
    examined = examine_folder(photographs, None)
    names = examined.source.names
    groups = [{names[int(examined.rows[role][row])] for role, row, _ in group.places} for group in examined.copies()]
    assert len(groups) == 5
    assert {"train/a/1.png", "test/a/copy.png"} in groups
    assert {"train/b/2.png", "train/a/other.png"} in groups
    assert examined.notes[-1] == (
        "equal files: 1 of the test set in the training set too (a leak); 1 of the validation set in the training "
        "set too (a leak); 1 of the validation set in the test set too; 2 repeated within a set; 1 under several "
        "labels"
    )


@pytest.mark.parametrize("count", [1, 2, 4])
def test_each_copy_counts(count: int, photographs: Path) -> None:
    plant(photographs, "train/a/0.png", *(f"test/a/copy{number}.png" for number in range(count)))
    repeated = f"; {count - 1} repeated within a set" if count > 1 else ""
    assert (
        last_note(photographs) == f"equal files: {count} of the test set in the training set too (a leak){repeated}"
    )


@pytest.mark.parametrize(("name", "row"), [("a", 0), ("a", 7), ("b", 3)])
def test_equal_pixels_in_other_bytes_are_other_files(name: str, row: int, photographs: Path) -> None:
    path = photographs / "train" / name / f"{row}.png"
    with Image.open(path) as image:
        image.save(photographs / "test" / name / "same.bmp")
    assert last_note(photographs) == "val is the validation set"


def test_a_test_set_that_is_divided_off_leaks_too(photographs: Path) -> None:
    root = photographs / "train"
    for row in range(8):
        plant(root, f"a/{row}.png", f"a/{row}-again.png", f"a/{row}-more.png")
    assert "of the test set in the training set too (a leak)" in last_note(root)


def arrays(shape: tuple[int, ...] = (8, 8, 3), sets: tuple[str, ...] = ("train", "val", "test")) -> dict[str, Any]:
    generator, values = np.random.default_rng(4), dict[str, Any]()
    for split in sets:
        values[f"{split}_images"] = generator.integers(0, 256, (30, *shape), dtype=np.uint8)
        values[f"{split}_labels"] = np.arange(30) % 3
    return values


@pytest.mark.parametrize("shape", [(8, 8, 3), (7, 7), (28, 28), (5, 4, 1), (2, 2)])
def test_arrays(shape: tuple[int, ...]) -> None:
    values = arrays(shape)
    if shape == (2, 2):  # shorter than a word
        for number, split in enumerate(("train", "val", "test")):
            values[f"{split}_images"][:] = 50 * number + np.arange(30)[:, None, None]
    assert from_arrays(**values).info.notes == ()
    values["train_images"][7] = values["train_images"][4]
    values["test_images"][3] = values["train_images"][12]
    values["val_images"][[5, 8]] = values["val_images"][2]
    values["train_images"][9] = values["train_images"][10]
    (note,) = from_arrays(**values).info.notes
    assert note == (
        "equal images: 1 of the test set in the training set too (a leak); 4 repeated within a set; 1 under several "
        "labels"
    )


@pytest.mark.parametrize("change", [0, 5, 47])
def test_equal_sums_alone_do_not_make_images_equal(change: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever knows the weights can make images of one sum."""
    monkeypatch.setattr(duplicates, "_sums", lambda rows: np.zeros(len(rows), np.uint64))
    images = torch.zeros(3, 3, 4, 4, dtype=torch.uint8)
    images[1].view(-1)[change] = 1
    (group,) = array_copies({"train": images}, {"train": torch.zeros(3, dtype=torch.int64)})
    assert group.places == (("train", 0, 0), ("train", 2, 0))


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_groups_are_those_of_a_plain_comparison(seed: int) -> None:
    generator = np.random.default_rng(seed)
    digests = {role: generator.integers(0, 2, (40, 32), dtype=np.uint8) for role in ("train", "test")}
    for role in digests:
        digests[role][:, 6:] = 0  # 64 values, the same first word for many
        digests[role][:, 31] = digests[role][:, 0]
    labels = {role: torch.from_numpy(generator.integers(0, 3, 40)) for role in digests}
    expected: dict[bytes, list[tuple[str, int, int]]] = {}
    for role, values in digests.items():
        for row, value in enumerate(values):
            expected.setdefault(value.tobytes(), []).append((role, row, int(labels[role][row])))
    groups = copies(digests, labels)
    assert sorted(group.places for group in groups) == sorted(tuple(g) for g in expected.values() if len(g) > 1)
    assert summary(groups).startswith("equal files: ")
