"""The store under random sequences of saves, kills, power loss, rot and locks, compared with a simple model."""

from __future__ import annotations

import hashlib
import json
import random
import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from tests.conftest import Many, Tried
from tests.faults.disk import LINUX, Disk, Killed
from tutelage import storage

DIES_AT = st.one_of(st.just(0), st.integers(1, 28))
"""The operation at which a process is killed; 0 for none."""
FINAL = {"weights": b"w" * 30, "evaluation": b"{}"}


def files(step: int) -> dict[str, bytes]:
    return {"state": b"%d" % step * 10, "history": b"[%d]" % step}


def is_whole(folder: Path, content: dict[str, bytes], note: dict[str, str]) -> bool:
    """The result that ``storage.verify`` should have, computed independently."""
    contents = {path.name: path.read_bytes() for path in folder.glob("[!.]*")}
    try:
        manifest = json.loads(contents.pop("manifest.json", b""))
    except ValueError:
        return False
    entries = {
        name: {"size": len(data), "sha256": hashlib.sha256(data).hexdigest()} for name, data in content.items()
    }
    manifest_fields = {"format": 1, "files": entries, "note": note}
    seal = hashlib.sha256((json.dumps(manifest_fields, indent=2, sort_keys=True) + "\n").encode()).hexdigest()
    return contents == content and manifest == {**manifest_fields, "sha256": seal}


class Store(RuleBasedStateMachine):
    """One model after another; ``sure`` are the acknowledged steps except the ``spoiled`` ones."""

    saves = deaths = outages = spoils = 0

    def __init__(self) -> None:
        super().__init__()
        self.patch, self.place = pytest.MonkeyPatch(), Path(tempfile.mkdtemp())
        (self.place / "disk").mkdir()
        self.disk = Disk(self.place / "disk", self.patch)
        self.number = 0
        self.sure: list[int] = []
        self.spoiled: set[int] = set()
        self.finished: list[Path] = []

    def teardown(self) -> None:
        self.patch.undo()
        shutil.rmtree(self.place)

    @property
    def folder(self) -> Path:
        return self.disk.root / "models" / f"{self.number}"

    def whole(self) -> list[int]:
        """The steps of all complete checkpoints, the newest first."""
        saved = storage.checkpoints(self.folder)
        return [each.step for each in saved if is_whole(each.folder, files(each.step), {"owner": ""})]

    def stuck(self) -> bool:
        return not self.whole() and any(
            storage.is_finished(saved.folder) for saved in storage.checkpoints(self.folder)
        )

    def rotting(self) -> list[Path]:
        return sorted(path for path in (self.folder / "checkpoints").glob("*/[!.]*") if path.stat().st_size)

    @rule(ahead=st.integers(1, 3), dies_at=DIES_AT)
    @precondition(lambda self: not self.stuck())
    def save(self, ahead: int, dies_at: int) -> None:
        """A process resumes from the newest checkpoint, and saves."""
        before = self.whole()
        step = max(before, default=0) + ahead
        self.disk.restart(dies_at)
        try:
            with storage.lock(self.folder):
                if newest := storage.newest_checkpoint(self.folder, lambda _: None):
                    self.sure = sorted({*self.sure, newest.step}, reverse=True)
                storage.save_checkpoint(self.folder, step, files(step))
        except Killed:
            type(self).deaths += 1
            self.spoiled -= set(self.whole())
            surviving = [saved for saved in self.sure if saved in self.whole()]
            if surviving != self.sure:  # it was removing the old ones, so the new one must be durable
                assert step in self.whole()
                surviving.insert(0, step)
            self.sure = surviving
        else:
            type(self).saves += 1
            self.spoiled.discard(step)
            assert self.whole() == [step, *before[:1]]
            self.sure = [step, *before[:1]]
        self.disk.restart()

    @rule(dies_at=DIES_AT)
    @precondition(lambda self: self.whole())
    def finish(self, dies_at: int) -> None:
        """Training finishes; or it is killed before that, and the next process finishes it."""
        self.disk.restart(dies_at)
        try:
            with storage.lock(self.folder):
                storage.commit(self.folder, FINAL)
                storage.remove(self.folder / "checkpoints")
        except Killed:
            type(self).deaths += 1
        self.disk.restart()
        with storage.lock(self.folder):
            if not storage.is_finished(self.folder):
                storage.commit(self.folder, FINAL)
                storage.remove(self.folder / "checkpoints")
        self.finished += [self.folder] if dies_at == 0 else []  # otherwise it may not be durable yet
        self.number += 1
        self.sure, self.spoiled = [], set()

    @rule(seed=st.integers(0, 2**32))
    @precondition(lambda self: self.folder.exists())
    def lose_power(self, seed: int) -> None:
        type(self).outages += 1
        self.disk.look()
        self.disk.lose_power(self.disk.image(random.Random(seed).randrange))

    @rule(
        which=st.integers(0, 99),
        kind=st.sampled_from(["flip", "truncate", "delete"]),
        where=st.floats(0, 1, exclude_max=True),
    )
    @precondition(lambda self: self.rotting())
    def spoil(self, which: int, kind: str, where: float) -> None:
        """A file of a checkpoint is damaged."""
        paths = self.rotting()
        type(self).spoils += 1
        path = paths[which % len(paths)]
        data = path.read_bytes()
        bit = int(where * 8 * len(data))
        flipped = data[: bit // 8] + bytes([data[bit // 8] ^ 1 << bit % 8]) + data[bit // 8 + 1 :]
        self.disk.spoil(path, {"flip": flipped, "truncate": data[: bit // 8], "delete": None}[kind])
        step = int(path.parent.name)
        self.sure, self.spoiled = [saved for saved in self.sure if saved != step], self.spoiled | {step}

    @rule()
    @precondition(lambda self: self.stuck())
    def give_up(self) -> None:
        """The user follows the advice of the error; power loss may restore some of the deleted files."""
        self.spoiled |= {saved.step for saved in storage.checkpoints(self.folder)}
        shutil.rmtree(self.folder / "checkpoints")
        self.sure = []

    @rule(count=st.integers(1, 3))
    @precondition(lambda self: self.folder.exists())
    def leave_temporary_files(self, count: int) -> None:
        for number in range(count):
            (self.folder / f".partial-{number}").write_bytes(b"half")
        with storage.lock(self.folder):
            assert list(self.folder.rglob(".partial-*")) == []

    @rule()
    def two_at_once(self) -> None:
        with storage.lock(self.folder), pytest.raises(storage.InUse), storage.lock(self.folder, wait=0.0):
            pass
        with storage.lock(self.folder, wait=0.0):
            pass

    @invariant()
    def what_is_sure_is_there(self) -> None:
        assert set(self.sure) <= set(self.whole())
        for folder in self.finished:
            assert is_whole_model(folder)

    @invariant()
    def nothing_that_was_not_spoiled_is_half(self) -> None:
        for saved in storage.checkpoints(self.folder):
            assert saved.step in self.spoiled or saved.step in self.whole() or not storage.is_finished(saved.folder)

    @invariant()
    def the_newest_whole_one_is_found(self) -> None:
        self.disk.look()
        self.disk.watching = False  # reading changes nothing on disk
        if self.stuck():
            with pytest.raises(storage.Damaged, match="is valid"):
                storage.newest_checkpoint(self.folder, lambda _: None)
        else:
            newest = storage.newest_checkpoint(self.folder, lambda _: None)
            assert (newest.step if newest else None) == max(self.whole(), default=None)
        self.disk.watching = True


def is_whole_model(folder: Path) -> bool:
    return storage.verify(folder)["files"].keys() == FINAL.keys() and all(
        (folder / name).read_bytes() == data for name, data in FINAL.items()
    )


@pytest.mark.fault(2, 3, 5, 6, 7, 8)
@pytest.mark.skipif(not LINUX, reason="needs /proc to look up the names of open files")
@pytest.mark.timeout(1800)
def test_the_store_against_a_simple_model(many: Many, tried: Tried) -> None:
    Store.saves = Store.deaths = Store.outages = Store.spoils = 0
    run_state_machine_as_test(Store, settings=settings(max_examples=many(40, 1000), stateful_step_count=many(15, 30)))
    assert min(Store.saves, Store.deaths, Store.outages, Store.spoils) > 10
    tried(Store.saves, "saves in random sequences on the store, in process")
    tried(Store.deaths, "kills in them")
    tried(Store.outages, "losses of power in them")
    tried(Store.spoils, "files spoiled in them")
