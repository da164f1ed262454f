"""For all tests of faults: one server that forks commands, and the results of an undisturbed run."""

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
    """The runs folder of an undisturbed run of the command LINE; copy it, do not change it."""
    runs = warm.folder / "finished"
    pid = warm.start(LINE, runs)
    assert warm.wait(pid) == 0, warm.output(pid)
    return runs


@pytest.fixture(scope="session")
def undisturbed(finished: Path) -> Hashes:
    digests = hashes(finished)
    assert len(digests) == 2
    return digests
