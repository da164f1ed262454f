"""For all tests of faults: the results of an undisturbed run."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.commands import LINE, Hashes, hashes
from tests.warm import Warm


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
