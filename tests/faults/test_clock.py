"""A wall clock that jumps by years while the command works, and files that say they are from the future."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest

from tests.conftest import Many, Tried
from tests.faults.commands import EACH, LINE, Hashes, durations, finish, hashes, notes
from tests.faults.warm import Warm

YEAR = 31_536_000


@pytest.fixture(scope="module")
def astray(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Warm]:
    """Commands whose clock jumps by CLOCK_JUMP seconds, to and fro, each time that they look at it."""
    folder = tmp_path_factory.mktemp("clock")
    compiler, source = shutil.which("cc"), Path(__file__).with_name("jumping_clock.c")
    if compiler is None or sys.platform != "linux":
        pytest.skip("the clock of a process is exchanged by a library that a C compiler makes, on Linux")
    library = folder / "jumping_clock.so"
    subprocess.run([compiler, "-shared", "-fPIC", "-o", library, source, "-ldl"], check=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LD_PRELOAD", str(library))
        server = Warm(folder)
    with contextlib.closing(server):
        yield server


@pytest.mark.fault(17)
@pytest.mark.timeout(1200)
def test_no_order_and_no_duration_depends_on_the_clock(
    astray: Warm, undisturbed: Hashes, tmp_path: Path, many: Many, tried: Tried
) -> None:
    draw, resumed = random.Random(17), 0
    for number in range(many(1, 30)):
        runs, jump = tmp_path / f"{number}", {"CLOCK_JUMP": str(draw.choice((YEAR, -3600, 1)))}
        pid = astray.start(LINE, runs, TUTELAGE_FAULT=f"kill@{draw.randrange(60, 160)}", **jump, **EACH)
        assert astray.wait(pid) in (-9, 0)
        resumed += bool(list(runs.glob("models/*/checkpoints/*/manifest.json")))
        now = time.time()
        for path in runs.rglob(
            "*"
        ):  # the newest checkpoint is the oldest, or all are of one moment, or of another year
            moment = now + draw.choice((-YEAR, 0, YEAR))
            os.utime(path, (moment, moment))
        said = finish(astray, LINE, runs, **jump, **EACH)
        assert hashes(runs) == undisturbed
        assert min(durations(said)) >= 0
        assert max(durations(said)) < 600
        for note in notes(runs):
            assert 0 < note["images_per_second"] < 1e6
            told = datetime.fromisoformat(note["finished"]).timestamp()
            assert abs(abs(told - now) - abs(int(jump["CLOCK_JUMP"]))) < 600  # it did jump
    assert resumed
    tried(resumed, "trainings continued behind jumps of a year, an hour or a second at each look at the clock")


@pytest.mark.fault(17)
def test_the_newest_run_is_the_one_that_was_begun_last(warm: Warm, tmp_path: Path) -> None:
    """Whatever the files say of when that was."""
    tiny = ("run", "baseline", "--train-size", "20", "--test-size", "20", "--threads", "1", "--track", "none")
    names = []
    for epochs in ("1", "2", "3"):
        finish(warm, (*tiny, "--epochs", epochs), tmp_path)
        (name,) = {path.name for path in (tmp_path / "studies").iterdir()} - set(names)
        names.append(name)
    for name, ahead in zip(names, (YEAR, 0, -YEAR), strict=True):
        os.utime(tmp_path / "studies" / name / "study.json", (time.time() + ahead,) * 2)
    listed = finish(warm, ("list", "runs"), tmp_path).split()
    assert listed == ["runs:", *reversed(names)]
    assert f"{names[-1]}.html" in finish(warm, ("report",), tmp_path)
