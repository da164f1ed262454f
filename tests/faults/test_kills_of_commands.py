"""Kill every command that writes: what it wrote is whole or absent, and the same command then ends as undisturbed.

Training by itself is in test_kills.py. ``KILLS`` is the number of kills at random moments of each command in ``make
torture``; beside them each command is killed at each of its durable operations.
"""

from __future__ import annotations

import hashlib
import math
import os
import random
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from PIL import Image

from tests.conftest import ARCHIVE, Many, Tried
from tests.data.conftest import members, small_layouts, tar_gz
from tests.faults.commands import hashes, leftovers
from tests.faults.test_downloads import Server
from tests.warm import PREPARE, Warm

__all__ = ["members", "small_layouts"]  # fixtures
Words = tuple[str, ...]
KILLS = 100
SMALL = ("--epochs", "2", "--train-size", "40", "--test-size", "40", "--threads", "1", "--track", "none")
STORED = ("--only", "targets", "--csv", "OUT/table.csv", "--markdown", "OUT/table.md")
PROBE = ("--train-size", "40", "--test-size", "40", "--csv", "OUT/table.csv", "--markdown", "OUT/table.md")


@dataclass(frozen=True)
class Command:
    """A command: its words, in which RUN, OUT and others stand for what a test has, and what it starts from."""

    words: Words
    trains: bool = False
    """Whether it begins with nothing and trains; the others begin with a finished run."""
    operations: range = range(1, 400)
    """The durable operations at which it is killed in ``make torture``."""


COMMANDS = {
    "run": Command(("run", "baseline", *SMALL), trains=True, operations=range(1, 400, 5)),  # all: test_kills.py
    "study": Command(
        ("study", "--arm", "baseline", "--arm", "label_smoothing", *SMALL, "--seeds", "0", "1", "--processes", "1"),
        trains=True,
    ),
    "report": Command(("report",)),
    "diagnose": Command(("diagnose", "RUN", *STORED)),
    "transfer": Command(("transfer", "RUN", "--data", "digits", "--probe", "knn", *PROBE)),
    "import": Command(("data", "import", "cifar100", "ARCHIVE")),
    "get": Command(("data", "get", "cifar100")),
    "export": Command(("export", "RUN", "--to", "OUT/student", "--format", "safetensors")),
    "predict": Command(("predict", "RUN", "IMAGE")),
}
QUICK = ("diagnose", "get", "export")
"""Those that ``make test`` has time for."""
LONG = {
    "import of the real archive": Command(("data", "import", "cifar100", str(ARCHIVE)), operations=range(1, 400, 3)),
    "export of all formats": Command(("export", "RUN", "--to", "OUT/student"), operations=range(1, 400)),
}
"""Only in ``make torture``."""


def contents(folder: Path) -> dict[str, bytes]:
    """All files by path; temporary files and locks, whose names begin with a dot, are nobody's results."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and not path.name.startswith(".")
    }


def marks(folder: Path) -> set[str]:
    """The hidden files that say something about a folder: neither locks nor temporary files."""
    names = {str(path.relative_to(folder)) for path in folder.rglob(".*") if path.is_file()}
    return {name for name in names if not Path(name).name.startswith((".lock", ".partial-"))}


class World:
    """Where a command is started again and again, each time in a fresh folder."""

    def __init__(self, warm: Warm, finished: Path, folder: Path, command: Command, archive: Path, server: Server):
        self.warm, self.finished, self.folder, self.command = warm, finished, folder, command
        self.archive, self.server = archive, server
        self.seconds = math.inf
        self.undisturbed = self.fresh("undisturbed")
        self.finish(self.undisturbed)
        self.expected = contents(self.undisturbed)

    def fresh(self, name: str) -> Path:
        """A folder of its own: the same runs, no data, no output."""
        base = self.folder / name
        if self.command.trains:
            (base / "runs").mkdir(parents=True)
        else:
            shutil.copytree(self.finished, base / "runs")
        return base

    def start(self, base: Path, **environment: str) -> int:
        (run, *_) = (self.finished / "studies").iterdir()
        values = {"RUN": run.name, "ARCHIVE": str(self.archive), "IMAGE": str(self.folder / "image.png")}
        words = tuple(values.get(word, word.replace("OUT", str(base / "out"))) for word in self.command.words)
        if ARCHIVE not in map(Path, words):
            digest = hashlib.md5(self.archive.read_bytes(), usedforsecurity=False).hexdigest()
            small = {PREPARE: "tests.faults.small_archive", "SMALL_ARCHIVE": f"{self.server.url} {digest}"}
            environment |= small | {"no_proxy": "*"}
        return self.warm.start(words, base / "runs", TUTELAGE_DATA=str(base / "data"), **environment)

    def finish(self, base: Path) -> None:
        start = time.monotonic()
        pid = self.start(base)
        assert self.warm.wait(pid) == 0, self.warm.output(pid)
        # The least: kills are drawn from it, and would come too late once a busy machine has become an idle one.
        self.seconds = min(self.seconds, time.monotonic() - start)

    def killed(self, base: Path, at: int = 0, after: float = 0.0) -> bool:
        """Start the command and kill it at an operation, or after some seconds; whether that was before its end.

        What it leaves then is what it found or what it writes undisturbed, file by file.
        """
        pid = self.start(base, **({"TUTELAGE_FAULT": f"kill@{at}"} if at else {}))
        if not at:
            time.sleep(after)
            if self.warm.ended(pid) is None:
                os.kill(pid, signal.SIGKILL)
        code = self.warm.wait(pid)
        assert code in (0, -signal.SIGKILL), self.warm.output(pid)
        if self.command.trains:
            models = hashes(base / "runs")  # which verifies them
            assert models.items() <= hashes(self.undisturbed / "runs").items()
        else:
            for name, content in contents(base).items():
                assert self.expected.get(name) == content, f"{name} is not what it was before, nor what it will be"
        return code != 0

    def check(self, base: Path) -> None:
        """Finish the command, which then has written what it writes undisturbed, and nothing else."""
        self.finish(base)
        assert contents(base).keys() == self.expected.keys()
        assert marks(base) == marks(self.undisturbed)
        if self.command.trains:
            assert hashes(base / "runs") == hashes(self.undisturbed / "runs")
            studies = {name: content for name, content in self.expected.items() if name.startswith("runs/studies/")}
            assert studies.items() <= contents(base).items()
            assert leftovers(base / "runs" / "models") == []
        else:
            assert contents(base) == self.expected
            assert leftovers(base / "data") == []
        shutil.rmtree(base)


Worlds = Callable[[Command], World]


@pytest.fixture
def worlds(
    warm: Warm,
    finished: Path,
    tmp_path: Path,
    members: Callable[[str], dict[str, bytes]],
) -> Iterator[Worlds]:
    """Makes the world of a command."""
    server, archive = Server(), tmp_path / "small.tar.gz"
    archive.write_bytes(tar_gz(members("cifar100")))
    server.sends(archive.read_bytes())
    Image.new("L", (8, 8), 128).save(tmp_path / "image.png")
    yield lambda command: World(warm, finished, tmp_path, command, archive, server)
    server.close()


def skip_without_archive(command: Command) -> None:
    if str(ARCHIVE) in command.words and not ARCHIVE.exists():
        pytest.skip(f"{ARCHIVE.name} is not beside the checkout")


@pytest.mark.fault(1, 2)
@pytest.mark.parametrize("name", QUICK)
def test_killed_at_some_durable_operation(name: str, worlds: Worlds) -> None:
    """At one operation that is drawn; at every one in ``make torture``, below."""
    world, draw = worlds(COMMANDS[name]), random.Random(name)
    base = world.fresh("killed")
    world.killed(base, at=draw.randrange(2, 12))
    world.check(base)


@pytest.mark.fault(2)
@pytest.mark.torture
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("name", [*COMMANDS, *LONG])
def test_killed_at_every_durable_operation(name: str, worlds: Worlds, tried: Tried) -> None:
    """Until there is no such operation any more. A command without one writes nothing."""
    command = (COMMANDS | LONG)[name]
    skip_without_archive(command)
    world, points = worlds(command), 0
    for operation in command.operations:
        base = world.fresh(f"{operation}")
        if not world.killed(base, at=operation):
            break
        world.check(base)
        points += 1
    assert (points == 0) == (name == "predict")
    tried(points, f"durable operations of {name}, killed there, then finished as undisturbed")


@pytest.mark.fault(1)
@pytest.mark.torture
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("name", [*COMMANDS, *LONG])
def test_killed_at_any_moment(name: str, worlds: Worlds, many: Many, tried: Tried) -> None:
    """Up to ten kills on what the one before left; each second one at a random operation, not a random moment."""
    command, draw = (COMMANDS | LONG)[name], random.Random(name)
    skip_without_archive(command)
    world, killed, rounds = worlds(command), 0, 0
    writes = name != "predict"
    while killed < many(2, KILLS):
        base = world.fresh(f"{rounds}")
        for attempt in range(10):
            at = draw.randrange(1, 20) if writes and attempt % 2 else 0
            if not world.killed(base, at=at, after=draw.uniform(0.0, world.seconds)):
                break
            killed += 1
        world.check(base)
        rounds += 1
    tried(killed, f"kills of {name} at random moments, in {rounds} rounds that all ended as undisturbed")
