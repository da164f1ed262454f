"""One server that forks commands, and what a command gives that nothing disturbs, for all tests of faults."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.commands import LINE, Hashes, hashes
from tests.faults.warm import Warm


@pytest.fixture(scope="session")
def warm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Warm]:
    with contextlib.closing(Warm(tmp_path_factory.mktemp("commands"))) as server:
        yield server


@pytest.fixture(scope="session")
def finished(warm: Warm) -> Path:
    """The folder of runs of the command LINE, which nothing disturbed; to be copied, not to be changed."""
    runs = warm.folder / "finished"
    pid = warm.start(LINE, runs)
    assert warm.wait(pid) == 0, warm.said(pid)
    return runs


@pytest.fixture(scope="session")
def undisturbed(finished: Path) -> Hashes:
    found = hashes(finished)
    assert len(found) == 2
    return found
