"""A wall clock that jumps by years while the command runs, and files with times in the future."""

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
from tests.warm import Warm

YEAR = 31_536_000


@pytest.fixture(scope="module")
def jumping(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Warm]:
    """Commands whose clock jumps by CLOCK_JUMP seconds, back and forth, each time they read it."""
    folder = tmp_path_factory.mktemp("clock")
    compiler, source = shutil.which("cc"), Path(__file__).with_name("jumping_clock.c")
    if compiler is None or sys.platform != "linux":
        pytest.skip("the clock of a process is replaced by a compiled C library, on Linux")
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
    jumping: Warm, undisturbed: Hashes, tmp_path: Path, many: Many, tried: Tried
) -> None:
    draw, resumed = random.Random(17), 0
    for number in range(many(1, 30)):
        runs, jump = tmp_path / f"{number}", {"CLOCK_JUMP": str(draw.choice((YEAR, -3600, 1)))}
        pid = jumping.start(LINE, runs, TUTELAGE_FAULT=f"kill@{draw.randrange(60, 160)}", **jump, **EACH)
        assert jumping.wait(pid) in (-9, 0)
        resumed += bool(list(runs.glob("models/*/checkpoints/*/manifest.json")))
        now, start = time.time(), time.monotonic()
        for path in runs.rglob(
            "*"
        ):  # the newest checkpoint is the oldest, or all are of one moment, or of another year
            moment = now + draw.choice((-YEAR, 0, YEAR))
            os.utime(path, (moment, moment))
        output = finish(jumping, LINE, runs, **jump, **EACH)
        lasted = time.monotonic() - start + 1  # times have whole seconds
        assert hashes(runs) == undisturbed
        assert min(durations(output)) >= 0
        assert max(durations(output)) <= lasted
        for note in notes(runs):
            assert 0 < note["images_per_second"] < 1e6
            finish_time = datetime.fromisoformat(note["finished"]).timestamp()
            assert abs(abs(finish_time - now) - abs(int(jump["CLOCK_JUMP"]))) <= lasted  # it did jump
    assert resumed
    tried(resumed, "trainings continued behind jumps of a year, an hour or a second at each look at the clock")


@pytest.mark.fault(17)
def test_the_newest_run_is_the_one_started_last(warm: Warm, tmp_path: Path) -> None:
    """Whatever the modification times of the files."""
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
