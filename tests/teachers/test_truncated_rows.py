"""A file of rows that is cut off, replaced or deleted while a store reads it: no signal, and no other's logits."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
from tests.conftest import Tried
from torch import Tensor

from tutelage.teachers.logit_store import LogitStore

SIZE, CLASSES = 20_000, 64  # rows of 128 bytes: the file has hundreds of pages


def logits(keys: Tensor) -> Tensor:
    return (keys % 1000)[:, None] + torch.arange(CLASSES) / CLASSES


def opened(root: Path, warnings: list[str] | None = None) -> LogitStore:
    messages: list[str] = [] if warnings is None else warnings
    return LogitStore(root, {"teacher": "a"}, size=SIZE, num_classes=CLASSES, warn=messages.append)


def fill(store: LogitStore, keys: Tensor) -> None:
    store.write(keys, logits(keys))
    store.flush()


def assert_right(store: LogitStore, keys: Tensor) -> Tensor:
    """Assert that every stored row is that of its key; returns which are stored."""
    values, is_stored = store.read(keys)
    assert torch.equal(values[is_stored], logits(keys)[is_stored].half().float())
    return is_stored


ALL, FIRST, SECOND = torch.arange(8000), torch.arange(4000), torch.arange(4000, 8000)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A store of two blocks."""
    with opened(tmp_path) as store:
        fill(store, FIRST)
        fill(store, SECOND)
    return tmp_path


@pytest.mark.fault(16, 29)
@pytest.mark.parametrize("rows", [0, 1, 3999, 4000, 6000, 7999])
def test_rows_that_are_cut_off_under_a_reader(rows: int, root: Path, tried: Tried) -> None:
    """Mapped bytes beyond the end of the file end a process; here they count as missing, and are stored again."""
    warnings: list[str] = []
    store = opened(root, warnings)
    assert assert_right(store, ALL).all()
    os.truncate(store.folder / "rows", rows * 2 * CLASSES)
    whole = 4000 if rows >= 4000 else 0
    assert assert_right(store, ALL.flip(0)).sum() == whole
    assert len(warnings) == (1 if whole else 2)
    missing = ALL[whole:]
    fill(store, missing[torch.randperm(len(missing))])
    assert assert_right(store, ALL).all()
    assert assert_right(opened(root), ALL).all()
    tried(1, "files of rows cut off under a reader: their rows computed again")


@pytest.mark.fault(16)
def test_no_other_rows_in_the_places_of_lost_ones(root: Path) -> None:
    """A reader that notices nothing meanwhile does not take what another process has written there since."""
    store = opened(root)
    os.truncate(store.folder / "rows", 4000 * 2 * CLASSES)
    other = opened(root)
    fill(other, torch.arange(10_000, 16_000))
    assert (store.folder / "rows").stat().st_size == 10_000 * 2 * CLASSES
    assert assert_right(store, ALL).tolist() == [True] * 4000 + [False] * 4000
    assert assert_right(store, torch.arange(10_000, 16_000)).all()
    assert assert_right(opened(root), FIRST).all()


@pytest.mark.fault(16)
def test_rows_that_are_deleted_or_replaced_under_a_reader(root: Path) -> None:
    store = opened(root)
    path = store.folder / "rows"
    content = path.read_bytes()
    path.unlink()
    assert assert_right(store, ALL).all()  # the open file is still there
    path.write_bytes(bytes(len(content)))
    assert assert_right(store, ALL).all()
    with opened(root) as other:
        assert not assert_right(other, ALL).any()
    os.truncate(path, 0)
    store.flush()
    assert not assert_right(store, ALL).any()
