"""Prepares a command (``TESTS_PREPARE``): takes away what Windows lacks, then imports every module.

This is not Windows: POSIX locks stand in for its locks, and nothing for its file names and consoles.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import os
import pkgutil
import shutil
import signal
import stat
import sys
import types
from typing import Any

ABSENT = {
    os: (
        "O_DIRECTORY",
        "O_NONBLOCK",
        "fork",
        "lockf",
        "pread",
        "pwrite",
        "sched_getaffinity",
        "setsid",
        "sysconf",
        "uname",
    ),
    signal: ("SIGKILL", "SIGSTOP", "SIGCONT", "SIGHUP", "pthread_sigmask", "sigwait"),
}
BLOCKED = ("fcntl", "resource", "pwd", "grp", "termios")

real_listdir, real_readlink = os.listdir, os.readlink

msvcrt: Any = types.ModuleType("msvcrt")
msvcrt.LK_NBLCK = 2
lockf, lock_at_once = os.lockf, os.F_TLOCK
real_open, real_stat, real_io_open = os.open, os.stat, io.open


def locking(handle: int, mode: int, count: int) -> None:
    assert mode == msvcrt.LK_NBLCK
    try:
        lockf(handle, lock_at_once, count)
    except BlockingIOError:
        raise PermissionError(13, "Permission denied") from None


def open_file(path: Any, *arguments: Any, **options: Any) -> int:
    with contextlib.suppress(FileNotFoundError):
        if stat.S_ISDIR(real_stat(path).st_mode):
            raise PermissionError(13, "Permission denied", path)
    return real_open(path, *arguments, **options)


def closed_only(real: Any) -> Any:
    """A rename or removal that fails while this process has a file of that name open."""

    def call(*paths: Any, **options: Any) -> Any:
        files = {os.path.realpath(path) for path in paths}
        for number in real_listdir("/proc/self/fd"):
            with contextlib.suppress(FileNotFoundError):
                if real_readlink(f"/proc/self/fd/{number}") in files:
                    raise PermissionError(13, "The process cannot access the file", paths[0])
        return real(*paths, **options)

    return call


def outside_proc(real: Any) -> Any:
    def call(path: Any, *arguments: Any, **options: Any) -> Any:
        if str(path).startswith("/proc"):
            raise FileNotFoundError(2, "No such file or directory", path)
        return real(path, *arguments, **options)

    return call


def prepare() -> None:
    """Take them away, for the rest of this process."""
    msvcrt.locking = locking
    sys.modules["msvcrt"] = msvcrt
    for name in BLOCKED:
        sys.modules[name] = None  # type: ignore[assignment]
    for module, names in ABSENT.items():
        for name in names:
            delattr(module, name)
    os.open, os.stat, io.open = open_file, outside_proc(os.stat), outside_proc(io.open)
    os.replace, os.rename = closed_only(os.replace), closed_only(os.rename)
    os.unlink, os.remove = closed_only(os.unlink), closed_only(os.remove)
    shutil._use_fd_functions = False  # type: ignore[attr-defined]  # decided when shutil was imported

    import tutelage

    for info in pkgutil.walk_packages(tutelage.__path__, "tutelage."):
        try:
            importlib.import_module(info.name)
        except ModuleNotFoundError as error:  # an extra that is not installed here
            if error.name in BLOCKED or str(error.name).startswith("tutelage"):
                raise
