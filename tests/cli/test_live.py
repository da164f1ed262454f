"""The live view: what it shows of given events, and how it behaves in a real terminal."""

from __future__ import annotations

import fcntl
import io
import os
import re
import select
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterable
from dataclasses import replace

import pytest
from rich.cells import cell_len
from rich.console import Console

from tests.cli.conftest import COMMAND
from tests.conftest import limit
from tutelage.cli.eta import WorkEstimate
from tutelage.cli.live_view import LiveView
from tutelage.lineage import Finished, Measuring, ModelEvent, ModelRef, TrainingProgress
from tutelage.recipes import call
from tutelage.study import Event, Failed, SeedStopped, Study

SETTING = {"epochs": 10, "train_size": 64, "batch_size": 32}
STUDY = Study(
    lineages=(call("baseline", **SETTING), call("tolerant", generations=2, **SETTING)), seeds=(0, 1, 2, 3, 7)
)
STEPS = 20


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def at(
    seed: int, arm: str, place: int = 0, phase: str = "training", step: int = 0, generations: int = 0
) -> ModelEvent:
    model = ModelRef(
        arm=arm,
        seed=seed,
        place=place,
        generations=generations or (3 if arm == "tolerant" else 1),
        generation=f"generation {place}",
        address=f"{arm} {place} {seed}",
    )
    match phase:
        case "finished" | "stored":
            seconds = 1.0 if phase == "finished" else None
            return Finished(model=model, measures={"test/top1": 0.5}, at_chance=False, seconds=seconds)
        case "measuring":
            return Measuring(model=model)
    return TrainingProgress(model=model, step=step, steps=STEPS, images=32 * step, epoch_ended=False)


EVENTS = [
    (0.0, at(3, "baseline", phase="stored")),
    (0.0, at(0, "baseline", step=0)),
    (0.0, at(1, "baseline", step=0)),
    (1.0, at(0, "baseline", step=10)),
    (2.0, at(0, "baseline", phase="finished")),
    (2.0, at(0, "tolerant", step=0)),
    (2.0, at(1, "baseline", step=5)),
    (3.0, at(0, "tolerant", phase="finished")),
    (3.0, Failed(seed=2, arm="tolerant", message="the loss is nan")),
    (3.0, at(0, "tolerant", place=1, step=0)),
    (5.0, at(0, "tolerant", place=1, step=10)),
]


def screen(study: Study, events: Iterable[tuple[float, Event]], *, width: int = 80, height: int = 24) -> list[str]:
    """What a terminal shows, a second after the last of the events."""
    clock = Clock()
    view = LiveView(study, 2, clock)
    for seconds, event in events:
        clock.now = 100.0 + seconds
        view.update(event)
    clock.now += 1.0
    console = Console(file=io.StringIO(), width=width, height=height)
    console.print(view)
    assert isinstance(console.file, io.StringIO)
    return [line.rstrip() for line in console.file.getvalue().splitlines()]


def test_arms_with_their_seeds() -> None:
    # A model is 640 images at 160 a second, so 4 s; done are 3 and 3/4 of the 17 that do not belong to a failed arm.
    # Left are 1.5, 3.75, 1, 3 and 4 models of the seeds, two side by side: 6 and 15 s, then 4 and 12 s behind the
    # first and 16 s behind the second of these.
    bar, *lines = screen(STUDY, EVENTS)
    assert re.fullmatch("━+ 22 %", bar)
    assert lines == [
        "3 of 20 models, 240 images/s",
        "elapsed 0:00:06, about 0:00:31 left",
        "baseline  seeds 0, 3 done; 1 training (25 %); 2, 7 waiting",
        "tolerant  seed 0 generation 2 of 3 (50 %); 1, 3, 7 waiting; 2 failed",
    ]


def test_less_room() -> None:
    assert screen(STUDY, EVENTS, width=60)[3:] == [
        "baseline  seeds 0, 3 done; 1 training (25 %); 2, 7 waiting",
        "tolerant  0 at 2/3; 1, 3, 7 waiting; 2 failed",
    ]
    assert screen(STUDY, EVENTS, width=43)[3:] == [
        "baseline  2 done; 1 training; 2 waiting",
        "tolerant  1 training; 3 waiting; 1 failed",
    ]
    for width in (1, 5, 20, 33):
        assert all(cell_len(line) <= width for line in screen(STUDY, EVENTS, width=width))


def test_what_is_going_on_stays_on_a_low_screen() -> None:
    names = ("short", "a name much too long for a narrow screen", "寬的名字", "last")
    study = Study(
        lineages=tuple(replace(call("baseline", lr=0.1 * n, **SETTING), name=names[n - 1]) for n in range(1, 5))
    )
    events = [(0.0, at(0, "short", phase="finished")), (0.0, at(0, "last", step=5))]
    assert screen(study, events, width=40)[3:] == [
        "short          done",
        "a name much …  waiting",
        "寬的名字       waiting",
        "last           training (25 %)",
    ]
    assert screen(study, events, width=40, height=6)[3:] == ["last           training (25 %)", "and 3 more"]


def test_one_arm_has_a_line_a_seed() -> None:
    study = Study(lineages=STUDY.lineages[1:], seeds=(0, 1, 2, 3))
    events = [
        (0.0, at(0, "tolerant", step=0)),
        (0.5, replace(at(0, "tolerant", step=5), epochs=({"epoch": 1, "share/labels": 0.4, "share/teacher": 0.6},))),
        (1.0, at(0, "tolerant", step=15)),
        (1.0, at(1, "tolerant", phase="measuring")),
        (1.0, at(3, "tolerant", phase="stored")),
    ]
    shown = screen(study, events, width=90)
    assert shown[1] == "1 of 12 models, 480 images/s"
    assert shown[3:] == [
        "seed 0  1 of 3, generation 0 (75 %), gradient: labels 40 %, teacher 60 %",
        "seed 1  1 of 3, generation 0 (measuring)",
        "seed 2  waiting",
        "seed 3  2 of 3",
    ]


def test_before_anything_is_measured_nothing_is_foretold() -> None:
    assert screen(STUDY, [(0.0, at(0, "baseline", step=0))])[1:3] == ["0 of 20 models", "elapsed 0:00:01"]


def test_a_process_that_died_and_a_stop() -> None:
    gone = Failed(seed=0, message="its process ended with signal 9")
    stopped = SeedStopped(seed=1, message="stopped")
    study = Study(lineages=STUDY.lineages, seeds=(0, 1))
    events = [
        (0.0, at(1, "baseline", phase="finished")),
        (0.0, at(0, "baseline", step=5)),
        (0.0, gone),
        (0.0, stopped),
    ]
    assert screen(study, events)[3:] == ["baseline  seed 0 failed; 1 done", "tolerant  seed 0 failed; 1 stopped"]


def test_shared_generations_are_work_once() -> None:
    arms = (call("baseline", **SETTING), call("born_again", generations=1, **SETTING))
    study = Study(lineages=arms, seeds=(0,))
    work = WorkEstimate(study, 1)
    assert work.count() == (0, 2)
    work.update(at(0, "baseline", step=0), 0.0)
    work.update(at(0, "baseline", step=10), 3.0)
    assert work.share_done() == 0.25
    assert work.seconds_remaining() == pytest.approx(
        9.0
    )  # the born-again one is taken to be as fast until it has been measured
    work.update(at(0, "baseline", phase="finished"), 6.0)
    work.update(at(0, "born_again", phase="stored", generations=2), 6.0)
    work.update(at(0, "born_again", place=1, step=0, generations=2), 6.0)
    work.update(at(0, "born_again", place=1, step=10, generations=2), 18.0)
    assert work.count() == (1, 2)
    assert work.seconds_remaining() == pytest.approx(12.0)
    assert work.share_done() == pytest.approx((6.0 + 12.0) / (6.0 + 24.0))


# --- in a terminal


class Terminal:
    """A command in a pseudo-terminal of its own, which it controls as a shell's would."""

    def __init__(self, words: Iterable[str], environment: dict[str, str], columns: int) -> None:
        self.ours, theirs = os.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        login = "import os, sys; os.login_tty(0); os.execv(sys.argv[1], sys.argv[1:])"
        environment = {name: value for name, value in environment.items() if name != "COLUMNS"}
        self.process = subprocess.Popen(
            [sys.executable, "-c", login, *COMMAND, *words],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            env=environment,
            start_new_session=True,
        )
        os.close(theirs)
        self.output = ""

    def until(self, pattern: str | None, seconds: float = 90) -> None:
        """Read until a pattern has come, or to the end."""
        deadline = time.monotonic() + limit(seconds)
        while pattern is None or not re.search(pattern, self.output):
            assert time.monotonic() < deadline, self.output
            if select.select([self.ours], [], [], 0.5)[0]:
                try:
                    data = os.read(self.ours, 65536)
                except OSError:  # the other side is closed
                    data = b""
                if not data:
                    break
                self.output += data.decode(errors="replace")

    def end(self) -> int:
        self.until(None)
        os.close(self.ours)
        return self.process.wait(limit(30))

    def type(self, text: str) -> None:
        os.write(self.ours, text.encode())


def test_control_c_in_a_narrow_terminal(environment: dict[str, str]) -> None:
    words = ("study", "--arm", "baseline", "--arm", "label_smoothing", "--epochs", "100000", "--seeds", "0", "1")
    terminal = Terminal(
        [*words, "--threads", "1", "--processes", "2"], environment | {"TERM": "xterm-256color"}, columns=60
    )
    terminal.until(r"\d images/s[^\0]*\d left[^\0]*waiting")
    assert "\x1b[?25l" in terminal.output  # the cursor is hidden
    terminal.type("\x03")
    assert terminal.end() == 75, terminal.output
    assert "the same command continues" in terminal.output
    assert terminal.output.rindex("\x1b[?25h") > terminal.output.rindex("\x1b[?25l")
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", terminal.output)
    rows = [
        row for row in re.split(r"[\r\n]+", plain) if re.match(r"━|\d+ of|elapsed|baseline |label_smoothing ", row)
    ]
    assert any("training" in row for row in rows)
    assert max(map(cell_len, rows)) <= 60


def test_a_terminal_without_a_cursor_gets_lines(environment: dict[str, str]) -> None:
    words = ("run", "baseline", "--epochs", "1", "--train-size", "20", "--threads", "1", "--track", "none")
    terminal = Terminal(words, environment | {"TERM": "dumb"}, columns=80)
    assert terminal.end() == 0, terminal.output
    assert "seed 0, baseline: trained in" in terminal.output
    assert "\x1b" not in terminal.output
