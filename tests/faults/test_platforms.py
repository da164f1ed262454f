"""Other systems than Linux, played here as far as that goes: docs/platforms.md says what is promised where."""

from __future__ import annotations

import errno
import fcntl
import os
import signal
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from tests.faults.commands import LINE, Hashes, hashes
from tests.warm import PREPARE, Warm
from tutelage import interrupts, storage
from tutelage.artifacts import environment
from tutelage.engine import Engine
from tutelage.storage import system
from tutelage.study import processes

WITHOUT = {PREPARE: "tests.without_posix"}


def test_everything_is_imported_and_digits_are_trained_without_posix(
    warm: Warm, undisturbed: Hashes, tmp_path: Path
) -> None:
    """No fcntl, resource, /proc or descriptors of folders, on the way to the same bits."""
    pid = warm.start(LINE, tmp_path, **WITHOUT)
    assert warm.wait(pid) == 0, warm.output(pid)
    assert hashes(tmp_path) == undisturbed
    manifests = tmp_path.glob("models/*/manifest.json")
    assert all("peak_memory_mib" not in path.read_text() for path in manifests)


def test_the_lock_of_another_process_is_respected_without_posix(warm: Warm, finished: Path, tmp_path: Path) -> None:
    (name, *_) = (path.name for path in (finished / "models").iterdir())
    lock = tmp_path / "models" / name / ".lock"
    lock.parent.mkdir(parents=True)
    handle = os.open(lock, os.O_RDWR | os.O_CREAT)
    os.write(handle, b"process 1 on elsewhere")
    os.lseek(handle, system.LOCKED_BYTE, os.SEEK_SET)
    os.lockf(handle, os.F_LOCK, 1)
    try:
        pid = warm.start(LINE, tmp_path, **WITHOUT)
        assert warm.wait(pid) == 1, warm.output(pid)
    finally:
        os.close(handle)
    assert f"{lock.parent} is in use by process 1 on elsewhere" in warm.output(pid)


@pytest.mark.parametrize("msvcrt", [None, "busy"])
def test_locks_where_there_is_no_fcntl(msvcrt: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def locking(handle: int, mode: int, count: int) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(system, "fcntl", None)
    monkeypatch.setattr(system, "msvcrt", msvcrt and SimpleNamespace(LK_NBLCK=2, locking=locking))
    if msvcrt is None:
        with storage.lock(tmp_path) as check:
            check()
            assert (tmp_path / ".lock").read_text().startswith(f"process {os.getpid()} on ")
    else:
        (tmp_path / ".lock").write_text("process 1 on elsewhere")
        with pytest.raises(storage.InUse, match="is in use by process 1 on elsewhere"), storage.lock(tmp_path, 0.0):
            pass


class MacOS(SimpleNamespace):
    """A fcntl with the one operation that flushes the cache of a drive too."""

    F_FULLFSYNC = 51
    LOCK_EX, LOCK_NB, flock = fcntl.LOCK_EX, fcntl.LOCK_NB, staticmethod(fcntl.flock)

    def fcntl(self, handle: int, operation: int) -> None:
        assert operation == self.F_FULLFSYNC
        self.calls.append(Path(f"/proc/self/fd/{handle}").readlink().name)
        if self.error:
            raise OSError(self.error, os.strerror(self.error))


@pytest.mark.parametrize("error", [0, errno.ENOTSUP, errno.EINVAL, errno.EIO])
def test_macos_flushes_the_cache_of_the_drive(error: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of files and folders; with ``fsync`` where a file system cannot, and with an error where a disk fails."""
    macos, synced = MacOS(calls=[], error=error), list[int]()
    monkeypatch.setattr(system, "fcntl", macos)
    monkeypatch.setattr("os.fsync", synced.append)
    if error == errno.EIO:
        with pytest.raises(OSError, match=os.strerror(error)):
            storage.write_bytes(tmp_path / "file", b"1")
        assert list(tmp_path.iterdir()) == []
    else:
        storage.write_bytes(tmp_path / "file", b"1")
        assert len(synced) == (2 if error else 0)
        assert macos.calls[0].endswith("file")
        assert macos.calls[1] == tmp_path.name


def test_peak_memory_is_left_out_where_nobody_knows_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(environment, "resource", None)
    monkeypatch.setattr(environment, "Path", lambda _: tmp_path / "none")
    assert environment.peak_memory() is None
    assert environment.memory(Engine(torch.device("cpu"), "fp32", 1)) == {}


@pytest.mark.parametrize("lives", [True, False])
def test_an_orphan_notices_where_its_parent_is_never_replaced(lives: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "fork")
    parent = SimpleNamespace(is_alive=lambda: lives)
    monkeypatch.setattr(processes.multiprocessing, "parent_process", lambda: parent)
    assert processes._is_orphan(os.getppid()) is not lives


def test_ctrl_c_is_left_alone_where_no_signal_can_be_blocked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(interrupts, "CAN_BLOCK_SIGNALS", False)
    monkeypatch.delattr(signal, "pthread_sigmask")
    with interrupts.signals_blocked(signal.SIGINT):
        pass


def test_mps_runs_in_fp32_and_records_no_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a Mac there is no more to see: that it is asked for by name, and what it then does without."""
    with pytest.raises(ValueError, match="device 'mps' is not available"):
        Engine.choose("mps")
    monkeypatch.setattr(torch, "empty", lambda *_, **__: None)
    engine = Engine.choose("mps", threads=1)
    assert str(engine) == "mps, fp32, channels-last"
    assert not engine.can_record_steps
    with engine.autocast(), engine.forbid_host_sync():
        assert not torch.is_autocast_enabled("cpu")
    with pytest.raises(ValueError, match="precision bf16 is for cpu and cuda: on mps use fp32"):
        Engine.choose("mps", "bf16", 1)
    assert environment.environment(engine)["device"].endswith(" mps")
    assert "instructions" not in environment.environment(engine)
