"""Power loss at every moment of a model's life: what was acknowledged is still there, and nothing is ever half."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from tests.conftest import Many, Tried
from tests.faults.disk import LINUX, Disk, Image, Killed, write_image
from tests.teachers.test_store import assert_holds, open_store, rows_of
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


def train(root: Path, told: list[int]) -> None:
    """What a training does to its model's folder.

    ``told`` grows with each step whose save was acknowledged, or that was there to be continued from.
    """
    folder = root / "runs" / "models" / "a"
    with storage.lock(folder):
        if not storage.is_finished(folder):
            newest = storage.newest_checkpoint(folder, pytest.fail)
            told += [newest.step] if newest else []
            for step in STEPS:
                if newest is None or step > newest.step:
                    storage.save_checkpoint(folder, step, files(step))
                    told.append(step)
            storage.commit(folder, FINAL)
            told.append(1000)
        storage.remove(folder / "checkpoints")


def check(root: Path, told: list[int]) -> None:
    """What a crash left is at least what was acknowledged, and whole."""
    folder = root / "runs" / "models" / "a"
    if storage.is_finished(folder) or 1000 in told:
        assert holds(folder, FINAL)
        return
    newest = storage.newest_checkpoint(folder, pytest.fail)
    assert told == [] or (newest is not None and newest.step >= max(told))
    for checkpoint in storage.checkpoints(folder):  # those that are removed as well
        assert not storage.is_finished(checkpoint.folder) or holds(checkpoint.folder, files(checkpoint.step))


def holds(folder: Path, content: dict[str, bytes]) -> bool:
    listed = storage.verify(folder)["files"]
    return {name: (folder / name).read_bytes() for name in listed} == content


class Crashes:
    """Takes what crashes may leave before each operation, and judges each such image once."""

    def __init__(self, tmp_path: Path, check: Check, go_on: Check, most: int, share: float) -> None:
        self.check, self.go_on, self.most, self.share = check, go_on, most, share
        self.place, self.draw, self.told = tmp_path / "image", random.Random(3), list[int]()
        self.seen: set[tuple[frozenset[tuple[str, bytes | None]], int]] = set()
        self.continued, self.disk = 0, None  # type: Disk | None

    def here(self) -> None:
        assert self.disk is not None
        for image in self.disk.images(self.most, self.draw):
            key = (frozenset(image.items()), len(self.told))
            if key not in self.seen:
                self.seen.add(key)
                self._judge(image)

    def _judge(self, image: Image) -> None:
        assert self.disk is not None
        self.disk.watching = False
        write_image(image, self.place)
        self.check(self.place, self.told)
        if self.draw.random() < self.share:
            self.go_on(self.place, list(self.told))
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
    train(disk.root, crashes.told)
    crashes.here()
    assert crashes.told == [*STEPS, 1000]
    assert disk.count > 60
    tried(disk.count, "operations, power lost before each")
    tried(len(crashes.seen), "different folders that this can leave, each with all that was acknowledged")
    tried(crashes.continued, "of them trained on from, to the end")


def test_power_loss_after_a_kill(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, many: Many, tried: Tried) -> None:
    """What a killed process had not synced its successor must: that finds it there, and builds on it."""
    crashes = Crashes(tmp_path, check, train, many(4, 60), 0.0)
    points, draw = 0, random.Random(4)
    for dies_at in range(1, 1000):
        if draw.random() > many(15, 100) / 100:
            continue
        root = tmp_path / f"disk-{dies_at}"
        root.mkdir()
        crashes.told = []
        disk = crashes.disk = Disk(root, monkeypatch)
        disk.restart(dies_at)
        try:
            train(root, crashes.told)
        except Killed:
            points += 1
        else:
            break
        disk.restart()
        disk.before = crashes.here
        train(root, crashes.told)
        crashes.here()
        monkeypatch.undo()
        shutil.rmtree(root)
    assert points > many(10, 80)
    tried(points, "operations at which a first process was killed before power was lost in a second one")
    tried(len(crashes.seen), "different folders that this can leave, each with all that was acknowledged")


def test_power_loss_while_something_is_written_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, many: Many, tried: Tried
) -> None:
    """A file is the old or the new one; a folder is so, or it says that it is neither."""

    def write(root: Path, told: list[int]) -> None:
        for version in range(3):
            storage.write_bytes(root / "failures.json", b"%d" % version * 30)
            storage.commit(root / "study", {"study.json": b"%d" % version * 30, "b": b"b"}, {"version": version})
            told.append(version)

    def judge(root: Path, told: list[int]) -> None:
        newest = max(told, default=-1)
        path = root / "failures.json"
        assert told == [] or path.exists()
        if path.exists():
            assert path.read_bytes() in [b"%d" % version * 30 for version in (newest, newest + 1)]
        try:
            found = storage.verify(root / "study")["note"]["version"]
        except storage.Damaged:
            return
        assert found in (newest, newest + 1)
        assert json.loads((root / "study" / "manifest.json").read_bytes())["note"] == {"version": found}
        assert (root / "study" / "study.json").read_bytes() == b"%d" % found * 30

    crashes = Crashes(tmp_path, judge, write, many(30, 3000), 0.0)
    (tmp_path / "disk").mkdir()
    disk = crashes.disk = Disk(tmp_path / "disk", monkeypatch, crashes.here)
    write(disk.root, crashes.told)
    judge(disk.root, crashes.told)
    tried(len(crashes.seen), "different folders that power loss can leave of files written again")


def test_power_loss_while_a_teachers_logits_are_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, many: Many, tried: Tried
) -> None:
    """Their file grows in place: what was flushed is there, and nothing else is taken for a row."""

    def fill(root: Path, told: list[int]) -> None:
        store = open_store(root)
        for start in range(0, 40, 10):
            keys = torch.arange(start, start + 10)
            store.write(keys, rows_of(keys))
            store.flush()
            told.append(start + 10)

    def judge(root: Path, told: list[int]) -> None:
        store = open_store(root)
        assert len(store.keys) >= max(told, default=0)
        assert_holds(store, store.keys)

    crashes = Crashes(tmp_path, judge, fill, many(8, 1000), 0.0)
    (tmp_path / "disk").mkdir()
    disk = crashes.disk = Disk(tmp_path / "disk", monkeypatch, crashes.here)
    fill(disk.root, crashes.told)
    crashes.here()
    tried(len(crashes.seen), "different folders that power loss can leave of a teacher's logits")
