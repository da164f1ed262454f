"""Power loss at every moment of a model's life: whatever was acknowledged is still there, and nothing is half."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from tests.conftest import Many, Tried
from tests.faults.disk import LINUX, Disk, Image, Killed, write_image
from tests.teachers.test_logit_store import assert_holds, open_store, rows_of
from tutelage import storage

pytestmark = [
    pytest.mark.fault(3),
    pytest.mark.skipif(not LINUX, reason="needs /proc to look up the names of open files"),
    pytest.mark.timeout(1800),
]

STEPS = (10, 20, 30, 40)
FINAL = {"weights": b"w" * 40, "evaluation": b"{}"}
Check = Callable[[Path, list[int]], None]


def files(step: int) -> dict[str, bytes]:
    return {"state": b"%d" % step * 20, "history": b"[%d]" % step}


def train(root: Path, acknowledged: list[int]) -> None:
    """The operations of a training run on its model's folder.

    ``acknowledged`` grows by each step whose save has returned, or from which the run was resumed.
    """
    folder = root / "runs" / "models" / "a"
    with storage.lock(folder):
        if not storage.is_finished(folder):
            newest = storage.newest_checkpoint(folder, pytest.fail)
            acknowledged += [newest.step] if newest else []
            for step in STEPS:
                if newest is None or step > newest.step:
                    storage.save_checkpoint(folder, step, files(step))
                    acknowledged.append(step)
            storage.commit(folder, FINAL)
            acknowledged.append(1000)
        storage.remove(folder / "checkpoints")


def check(root: Path, acknowledged: list[int]) -> None:
    """Assert that everything acknowledged survived the crash, and is complete."""
    folder = root / "runs" / "models" / "a"
    if storage.is_finished(folder) or 1000 in acknowledged:
        assert holds(folder, FINAL)
        return
    newest = storage.newest_checkpoint(folder, pytest.fail)
    assert acknowledged == [] or (newest is not None and newest.step >= max(acknowledged))
    for checkpoint in storage.checkpoints(folder):  # also those that are to be removed
        assert not storage.is_finished(checkpoint.folder) or holds(checkpoint.folder, files(checkpoint.step))


def holds(folder: Path, content: dict[str, bytes]) -> bool:
    listed = storage.verify(folder)["files"]
    return {name: (folder / name).read_bytes() for name in listed} == content


class Crashes:
    """Collects what crashes may leave before each operation, and checks each such image once."""

    def __init__(self, tmp_path: Path, check: Check, go_on: Check, most: int, share: float) -> None:
        self.check, self.go_on, self.most, self.share = check, go_on, most, share
        self.place, self.draw, self.acknowledged = tmp_path / "image", random.Random(3), list[int]()
        self.seen: set[tuple[frozenset[tuple[str, bytes | None]], int]] = set()
        self.continued, self.disk = 0, None  # type: Disk | None

    def here(self) -> None:
        assert self.disk is not None
        for image in self.disk.images(self.most, self.draw):
            key = (frozenset(image.items()), len(self.acknowledged))
            if key not in self.seen:
                self.seen.add(key)
                self._judge(image)

    def _judge(self, image: Image) -> None:
        assert self.disk is not None
        self.disk.watching = False
        write_image(image, self.place)
        self.check(self.place, self.acknowledged)
        if self.draw.random() < self.share:
            self.go_on(self.place, list(self.acknowledged))
            self.check(self.place, [1000])
            self.continued += 1
        shutil.rmtree(self.place)
        self.disk.watching = True


def test_power_loss_at_every_operation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, many: Many, tried: Tried
) -> None:
    crashes = Crashes(tmp_path, check, train, many(30, 3000), many(5, 100) / 100)
    (tmp_path / "disk").mkdir()
    disk = crashes.disk = Disk(tmp_path / "disk", monkeypatch, crashes.here)
    train(disk.root, crashes.acknowledged)
    crashes.here()
    assert crashes.acknowledged == [*STEPS, 1000]
    assert disk.count > 60
    tried(disk.count, "operations, power lost before each")
    tried(len(crashes.seen), "different folders that this can leave, each with all that was acknowledged")
    tried(crashes.continued, "of them trained on from, to the end")


def write(root: Path, acknowledged: list[int]) -> None:
    """Write a folder and a file in turn, three versions each; ``acknowledged`` grows by one entry per write."""
    for number in range(len(acknowledged), 6):
        version, text = number // 2, b"%d" % (number // 2) * 30
        if number % 2:
            storage.write_bytes(root / "failures.json", text)
        else:
            storage.commit(root / "study", {"study.json": text, "b": b"b"}, {"version": version})
        acknowledged.append(number)


def check_written(root: Path, acknowledged: list[int]) -> None:
    """The file is the acknowledged version or the next; so is the folder, unless it is marked as incomplete."""
    path, newest = root / "failures.json", len(acknowledged) // 2 - 1
    assert newest < 0 or path.exists()
    if path.exists():
        assert path.read_bytes() in [b"%d" % version * 30 for version in (newest, newest + 1)]
    folder, newest = root / "study", (len(acknowledged) + 1) // 2 - 1
    assert newest < 0 or folder.exists()
    try:
        version = storage.verify(folder)["note"]["version"]
    except storage.Damaged:
        assert newest < 0 or len(acknowledged) % 2 == 0  # the next version is being written
        return
    assert version in (newest, newest + 1)
    assert (folder / "study.json").read_bytes() == b"%d" % version * 30


def test_power_loss_while_something_is_written_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, many: Many, tried: Tried
) -> None:
    crashes = Crashes(tmp_path, check_written, write, many(30, 3000), 0.0)
    (tmp_path / "disk").mkdir()
    disk = crashes.disk = Disk(tmp_path / "disk", monkeypatch, crashes.here)
    write(disk.root, crashes.acknowledged)
    crashes.here()
    assert holds(disk.root / "study", {"study.json": b"2" * 30, "b": b"b"})
    tried(len(crashes.seen), "different folders that power loss can leave of files written again")


@pytest.mark.parametrize(("life", "judge"), [(train, check), (write, check_written)], ids=["training", "writing"])
def test_power_loss_after_a_kill(
    life: Check, judge: Check, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, many: Many, tried: Tried
) -> None:
    """The successor of a killed process must sync what that process had not, because it builds on it."""
    crashes, points = Crashes(tmp_path, judge, life, many(1, 60), 0.0), 0
    for dies_at in range(1, 1000):
        root = tmp_path / f"disk-{dies_at}"
        root.mkdir()
        crashes.acknowledged = []
        disk = crashes.disk = Disk(root, monkeypatch)
        disk.restart(dies_at)
        try:
            life(root, crashes.acknowledged)
        except Killed:
            points += 1
        else:
            break
        disk.restart()
        disk.before = crashes.here
        life(root, crashes.acknowledged)
        crashes.here()
        monkeypatch.undo()
        shutil.rmtree(root)
    assert points > 30
    tried(points, "operations at which a first process was killed before power was lost in a second one")
    tried(len(crashes.seen), "different folders that this can leave, each with all that was acknowledged")


def test_power_loss_while_a_teachers_logits_are_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, many: Many, tried: Tried
) -> None:
    """Their file grows in place: what was flushed is there, and nothing else counts as a row."""

    def fill(root: Path, acknowledged: list[int]) -> None:
        store = open_store(root)
        for start in range(0, 40, 10):
            keys = torch.arange(start, start + 10)
            store.write(keys, rows_of(keys))
            store.flush()
            acknowledged.append(start + 10)

    def judge(root: Path, acknowledged: list[int]) -> None:
        store = open_store(root)
        assert len(store.keys) >= max(acknowledged, default=0)
        assert_holds(store, store.keys)

    crashes = Crashes(tmp_path, judge, fill, many(8, 1000), 0.0)
    (tmp_path / "disk").mkdir()
    disk = crashes.disk = Disk(tmp_path / "disk", monkeypatch, crashes.here)
    fill(disk.root, crashes.acknowledged)
    crashes.here()
    tried(len(crashes.seen), "different folders that power loss can leave of a teacher's logits")
