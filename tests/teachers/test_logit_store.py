"""The store of logits: what is read is what was written, whole or not at all, of this teacher and no other."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.conftest import limit
from torch import Tensor

from tutelage import storage
from tutelage.storage.files import Operations
from tutelage.teachers import logit_store as module
from tutelage.teachers.logit_store import LogitStore

SIZE, CLASSES = 400, 5


def open_store(root: Path, dtype: torch.dtype = torch.float32, warnings: list[str] | None = None) -> LogitStore:
    warn = pytest.fail if warnings is None else warnings.append
    return LogitStore(root, {"teacher": "a"}, size=SIZE, num_classes=CLASSES, dtype=dtype, warn=warn)


def rows_of(keys: Tensor) -> Tensor:
    """A row of its own for each key, which bfloat16 holds."""
    digits = torch.stack([keys // 64**place % 64 for place in range(CLASSES)], 1)
    return digits + 0.5


def fill(root: Path, keys: Tensor, **options: object) -> Path:
    with open_store(root, **options) as store:
        store.write(keys, rows_of(keys))
    return store.folder


def assert_holds(store: LogitStore, keys: Tensor) -> None:
    requested = torch.randperm(SIZE, generator=torch.Generator().manual_seed(0))
    values, is_stored = store.read(requested)
    assert torch.equal(is_stored, torch.isin(requested, keys))
    assert torch.equal(values[is_stored], rows_of(requested[is_stored]))
    assert torch.equal(store.keys, keys.unique())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
@settings(max_examples=30)
@given(parts=st.lists(st.tuples(st.sets(st.integers(0, SIZE - 1), min_size=1), st.booleans()), max_size=5))
def test_what_is_read_is_what_was_written(
    dtype: torch.dtype, parts: list[tuple[set[int], bool]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    root = tmp_path_factory.mktemp("stores")
    written: set[int] = set()
    with open_store(root, dtype) as store:
        for keys, flushed in parts:
            numbers = torch.tensor(list(keys))
            store.write(numbers, rows_of(numbers))
            if flushed:
                store.flush()
            written |= keys
            assert_holds(store, torch.tensor(sorted(written)))
    assert_holds(open_store(root, dtype), torch.tensor(sorted(written), dtype=torch.int64))


def test_far_apart_keys(tmp_path: Path) -> None:
    keys = torch.tensor([3, 2**16 + 1, 2**24 - 1])
    options = {"size": 2**24, "num_classes": CLASSES, "dtype": torch.float32, "warn": pytest.fail}
    with LogitStore(tmp_path, {}, **options) as store:
        store.write(keys, rows_of(keys))
        store.flush()
        assert torch.equal(store.keys, keys)
        assert torch.equal(store.read(keys)[0], rows_of(keys))


@settings(max_examples=40)
@given(values=st.lists(st.floats(-60_000, 60_000, width=32), min_size=CLASSES, max_size=CLASSES))
def test_float16_rounds_within_its_bound_and_says_so_at_once(
    values: list[float], tmp_path_factory: pytest.TempPathFactory
) -> None:
    logits = torch.tensor([values])
    root, key = tmp_path_factory.mktemp("stores"), torch.tensor([9])
    with open_store(root, torch.float16) as store:
        rounded = store.write(key, logits)
    read, _ = open_store(root, torch.float16).read(key)
    assert torch.equal(rounded, read)
    assert ((read - logits).abs().double() <= logits.abs().double() * 2**-11 + 2**-25).all()


def test_the_bound_of_float16_bounds_divergence_and_gradient() -> None:
    """With delta = 2^-11 max|z|: KL <= (delta / T)^2 / 2, and the gradient of T^2 KL moves by delta (1-norm)."""
    generator = torch.Generator().manual_seed(1)
    for temperature in (1.0, 4.0):
        for scale in (1.0, 10.0, 40.0):
            logits = torch.randn(200, 100, dtype=torch.float64, generator=generator) * scale
            stored = logits.half().double()
            delta = logits.abs().amax(1) * 2**-11 + 2**-25
            exact, rounded = (logits / temperature).log_softmax(1), (stored / temperature).log_softmax(1)
            divergence = (exact.exp() * (exact - rounded)).sum(1)
            assert (divergence <= (delta / temperature) ** 2 / 2).all()
            moved = temperature * (exact.exp() - rounded.exp()).abs().sum(1)
            assert (moved <= delta).all()
            assert float(moved.max()) > 0


def test_rows_that_do_not_fit_are_not_kept(tmp_path: Path) -> None:
    keys = torch.tensor([1, 2, 3])
    rows = torch.ones(3, CLASSES)
    rows[0, 0], rows[1, 1] = 1e6, torch.nan
    with open_store(tmp_path, torch.float16) as store:
        returned = store.write(keys, rows)
        assert torch.equal(returned.nan_to_num(7.0), rows.nan_to_num(7.0))
        assert store.keys.tolist() == [3]


def test_bfloat16_does_not_round(tmp_path: Path) -> None:
    store = open_store(tmp_path, torch.bfloat16)
    with pytest.raises(ValueError, match="more precise than bfloat16: store them as float32 or float16"):
        store.write(torch.tensor([0]), torch.full((1, CLASSES), 0.1))
    with pytest.raises(ValueError, match=r"float16, bfloat16 or float32, not torch.float64"):
        open_store(tmp_path, torch.float64)


@pytest.mark.fault(35)
@pytest.mark.parametrize(
    ("made_of", "shape"),
    [
        ({"teacher": "b", "data": 1}, {}),
        ({"teacher": "a", "data": 2}, {}),
        ({"teacher": "a"}, {}),
        ({"teacher": "a", "data": 1}, {"num_classes": 4}),
        ({"teacher": "a", "data": 1}, {"size": 8}),
        ({"teacher": "a", "data": 1}, {"dtype": torch.float32}),
    ],
)
def test_any_difference_is_another_store(
    tmp_path: Path, made_of: dict[str, object], shape: dict[str, object]
) -> None:
    plain = {"size": 9, "num_classes": 5}
    with LogitStore(tmp_path, {"teacher": "a", "data": 1}, **plain) as first:
        first.write(torch.tensor([1]), torch.ones(1, 5))
    again = LogitStore(tmp_path, {"data": 1, "teacher": "a"}, **plain)
    other = LogitStore(tmp_path, made_of, **plain | shape)
    assert again.folder == first.folder
    assert again.keys.tolist() == [1]
    assert other.folder != first.folder
    assert other.keys.tolist() == []


@pytest.mark.fault(35)
@pytest.mark.parametrize("content", [b'{"made_of": {"teacher": "b"}}', b"{", b""])
def test_a_folder_made_of_something_else_is_refused(tmp_path: Path, content: bytes) -> None:
    folder = fill(tmp_path, torch.arange(4))
    (folder / "store.json").write_bytes(content)
    with pytest.raises(storage.Damaged, match="describes another store than the name of its folder"):
        open_store(tmp_path)


def two_blocks(root: Path) -> Path:
    fill(root, torch.arange(0, 20))
    return fill(root, torch.arange(20, 60))


@pytest.mark.fault(35)
@pytest.mark.parametrize("where", ["rows", "seal", "keys", "start", "cut short", "gone"])
def test_a_damaged_block_is_found_dropped_and_filled_again(tmp_path: Path, where: str) -> None:
    folder = two_blocks(tmp_path)
    rows, block = folder / "rows", folder / "000000000000-20.block"
    match where:
        case "rows":
            flip(rows, 7 * CLASSES * 4 + 2)
        case "seal":
            flip(block, 3)
        case "keys":
            flip(block, 40)
        case "start":
            block = block.rename(folder / "000000000001-20.block")
        case "cut short":
            block.write_bytes(block.read_bytes()[:20])
        case "gone":
            rows.write_bytes(rows.read_bytes()[: 30 * CLASSES * 4])  # the end of the second block
    lost, intact = torch.arange(0, 20), torch.arange(20, 60)
    if where == "gone":
        lost, intact = intact, lost
    warnings: list[str] = []
    with open_store(tmp_path, warnings=warnings) as store:
        assert len(warnings) == 1
        assert "is damaged" in warnings[0]
        assert_holds(store, intact)
        store.write(lost, rows_of(lost))
    assert_holds(open_store(tmp_path), torch.arange(60))
    assert (
        sorted(path.name for path in folder.glob("*-damaged")) == [f"{block.stem}.block-damaged"] or where == "gone"
    )


def flip(path: Path, place: int) -> None:
    content = bytearray(path.read_bytes())
    content[place] ^= 16
    path.write_bytes(content)


def test_rows_without_their_block_are_written_over(tmp_path: Path) -> None:
    folder = fill(tmp_path, torch.arange(10))
    with (folder / "rows").open("ab") as file:
        file.write(b"cut short" * 30)
    (folder / ".partial-1-000000000010-9.block").write_bytes(b"half a block")
    fill(tmp_path, torch.arange(10, 30))
    assert_holds(open_store(tmp_path), torch.arange(30))
    assert (folder / "rows").stat().st_size == max(30 * CLASSES * 4, 10 * CLASSES * 4 + 270)


def test_two_open_stores_see_what_the_other_has_written(tmp_path: Path) -> None:
    one, two = open_store(tmp_path), open_store(tmp_path)
    one.write(torch.arange(0, 10), rows_of(torch.arange(0, 10)))
    two.write(torch.arange(5, 20), rows_of(torch.arange(5, 20)))
    one.flush()
    two.flush()
    assert_holds(two, torch.arange(20))
    assert (two.folder / "rows").stat().st_size == 20 * CLASSES * 4  # the shared rows once
    one.flush()
    assert_holds(one, torch.arange(20))


def test_a_store_deleted_in_use_is_made_anew_and_never_mixed_up(tmp_path: Path) -> None:
    first = open_store(tmp_path)
    first.write(torch.arange(0, 10), rows_of(torch.arange(0, 10)))
    first.flush()
    shutil.rmtree(first.folder)
    fill(tmp_path, torch.arange(20, 30))  # a block of the same name
    assert_holds(first, torch.arange(10))
    first.write(torch.arange(40, 45), rows_of(torch.arange(40, 45)))
    first.flush()
    expected = torch.tensor([*range(20, 30), *range(40, 45)])
    assert_holds(first, expected)
    assert_holds(open_store(tmp_path), expected)


def test_while_another_writes_rows_wait_and_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MIN_BLOCK_ROWS", 1)
    monkeypatch.setattr(module, "MAX_BLOCK_BYTES", 16 * CLASSES * 4)
    store = open_store(tmp_path)
    with storage.lock(store.folder):
        for start in range(0, 60, 10):
            keys = torch.arange(start, start + 10)
            assert torch.equal(store.write(keys, rows_of(keys)), rows_of(keys))
        assert_holds(store, torch.arange(10))  # there is room for 16 rows
    store.close()
    assert_holds(open_store(tmp_path), torch.arange(10))


@pytest.mark.fault(10)
def test_a_full_disk_ends_the_filling_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    warnings: list[str] = []
    fill(tmp_path, torch.arange(10))
    store = open_store(tmp_path, warnings=warnings)
    store.write(torch.arange(10, 20), rows_of(torch.arange(10, 20)))

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(storage, "write_bytes", full)
    store.flush()
    assert warnings == ["the teacher's logits are no longer stored: [Errno 28] No space left on device"]
    keys = torch.arange(20, 30)
    assert torch.equal(store.write(keys, rows_of(keys)), rows_of(keys))
    assert_holds(store, torch.arange(20))
    store.close()
    monkeypatch.undo()
    assert_holds(open_store(tmp_path), torch.arange(10))


def test_rows_are_written_after_a_while(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FLUSH_SECONDS", float("inf"))
    store = open_store(tmp_path)
    store.write(torch.arange(4), rows_of(torch.arange(4)))
    assert_holds(open_store(tmp_path), torch.arange(0))
    monkeypatch.setattr(module, "FLUSH_SECONDS", -1.0)
    store.write(torch.arange(4, 6), rows_of(torch.arange(4, 6)))
    assert_holds(open_store(tmp_path), torch.arange(4))


FILLER = """
import sys, time, torch
from pathlib import Path
sys.path.insert(0, sys.argv[4])
from tests.teachers.test_logit_store import open_store, rows_of, SIZE
torch.set_num_threads(1)
store = open_store(Path(sys.argv[1]))
for start in range(int(sys.argv[2]), SIZE, 20):
    keys = torch.arange(start, min(start + 50, SIZE))
    store.write(keys, rows_of(keys))
    store.flush(wait=float(sys.argv[5]))
    time.sleep(float(sys.argv[3]))
"""


def filler(root: Path, first: int, pause: float, fault: str = "") -> subprocess.Popen[bytes]:
    here = str(Path(__file__).parents[2])
    environment = {**os.environ, "TUTELAGE_FAULT": fault}
    return subprocess.Popen(
        [sys.executable, "-c", FILLER, str(root), str(first), str(pause), here, f"{limit(10)}"], env=environment
    )


@pytest.mark.fault(16)
def test_many_processes_fill_one_store_and_one_is_killed(tmp_path: Path) -> None:
    doomed = filler(tmp_path, 0, 0.01, fault="kill@14")
    others = [filler(tmp_path, first, 0.005) for first in (100, 200)]
    assert [process.wait() for process in (doomed, *others)] == [-signal.SIGKILL, 0, 0]
    store = open_store(tmp_path)
    assert set(range(100, SIZE)) <= set(store.keys.tolist())
    assert_holds(store, store.keys)


@pytest.mark.parametrize("operation", range(5, 15))
def test_killed_at_any_durable_operation(tmp_path: Path, operation: int) -> None:
    child = os.fork()
    if child == 0:
        os.environ["TUTELAGE_FAULT"] = f"kill@{Operations.count + operation}"
        store = open_store(tmp_path)
        for start in range(0, 100, 10):
            store.write(torch.arange(start, start + 10), rows_of(torch.arange(start, start + 10)))
            store.flush()
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    store = open_store(tmp_path)
    count = len(store.keys)
    assert count % 10 == 0
    assert_holds(store, torch.arange(count))
    store.write(torch.arange(100), rows_of(torch.arange(100)))
    store.close()
    assert_holds(open_store(tmp_path), torch.arange(100))
