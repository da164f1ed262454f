"""A tracker may fail, hang or not even import: training goes on, and one line says what happened."""

from __future__ import annotations

import sys
import threading
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import limit
from tests.track.conftest import STUDY, event
from tutelage.study import Event
from tutelage.track import dispatch, dispatch_events

EVENTS = [event(last=1), event(first=2, last=2), event(), event("finished", first=3, last=3)]


@pytest.fixture
def tracker(monkeypatch: pytest.MonkeyPatch) -> Callable[[Any], None]:
    """Install a tracker named "mine" with a function that opens its runs."""

    def install(open_run: Any) -> None:
        module = types.ModuleType("tutelage.track.mine")
        module.open_run = open_run  # type: ignore[attr-defined]
        module.instructions = lambda study, runs: "mine: here"  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "tutelage.track.mine", module)

    return install


class RecordingRun:
    """A tracker run that records its calls."""

    def __init__(self) -> None:
        self.calls: list[object] = []

    def log_epochs(self, epochs: Any) -> None:
        self.calls += [metrics["epoch"] for metrics in epochs]

    def finish(self, epoch: int, measures: Any) -> None:
        self.calls.append(("finished", epoch, dict(measures)))

    def close_incomplete(self) -> None:
        self.calls.append("incomplete")


def test_every_event_arrives_in_order(tracker: Any, tmp_path: Path) -> None:
    run = RecordingRun()
    log: list[str] = []
    tracker(lambda info, runs: run)
    assert list(dispatch_events(iter(EVENTS), STUDY, ["mine"], tmp_path, log.append)) == EVENTS
    assert run.calls == [1, 2, 3, ("finished", 3, {"test/top1": 0.5})]
    assert log == ["mine: here"]


def test_a_study_that_stops_closes_its_runs_as_incomplete(tracker: Any, tmp_path: Path) -> None:
    class Stop(Exception):
        pass

    def stopping() -> Iterator[Event]:
        yield EVENTS[0]
        raise Stop

    run = RecordingRun()
    tracker(lambda info, runs: run)
    with pytest.raises(Stop):
        list(dispatch_events(stopping(), STUDY, ["mine"], tmp_path, lambda text: None))
    assert run.calls == [1, "incomplete"]


def raising(error: BaseException) -> Callable[..., RecordingRun]:
    def open_run(info: object, runs: Path) -> RecordingRun:
        raise error

    return open_run


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (ImportError("no module\nnamed mine"), "ImportError: no module named mine"),
        (OSError(28, "No space left on device"), "OSError: [Errno 28] No space left on device"),
        (ConnectionError(), "ConnectionError"),
        (SystemExit(1), "SystemExit: 1"),
    ],
)
def test_a_failure_is_logged_once(tracker: Any, tmp_path: Path, error: BaseException, text: str) -> None:
    tracker(raising(error))
    log: list[str] = []
    assert list(dispatch_events(iter(EVENTS), STUDY, ["mine"], tmp_path, log.append)) == EVENTS
    assert log == ["mine: here", f"warning: mine failed and receives no more events: {text}"]


def test_a_tracker_that_hangs_delays_nothing(tracker: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dispatch, "FINISH_SECONDS", 0.05)
    answer = threading.Event()

    def hang(info: object, runs: Path) -> None:
        answer.wait(limit(60))

    tracker(hang)
    log: list[str] = []
    events = dispatch_events(iter(EVENTS), STUDY, ["mine"], tmp_path, log.append)
    assert [next(events) for _ in EVENTS] == EVENTS  # while the tracker still waits for its server
    assert list(events) == []
    assert log[1:] == ["warning: mine did not finish writing in 0 s: the next run of this study continues it"]
    answer.set()


def test_a_request_that_fails_starts_no_tracker(tracker: Any, tmp_path: Path) -> None:
    def refused() -> Iterator[Event]:
        raise ValueError("epochs must be at least 1")
        yield

    opened: list[object] = []
    tracker(lambda info, runs: opened.append(info))
    log: list[str] = []
    with pytest.raises(ValueError, match="epochs"):
        list(dispatch_events(refused(), STUDY, ["mine"], tmp_path, log.append))
    assert (opened, log) == ([], [])


def test_the_info_of_a_run_holds_all_settings_of_the_model(tracker: Any, tmp_path: Path) -> None:
    infos: list[Any] = []

    def open_run(info: Any, runs: Path) -> RecordingRun:
        infos.append(info)
        return RecordingRun()

    tracker(open_run)
    events = [event("stored", last=1), event("stored", last=1, arm="born_again"), event("stored", last=1, seed=1)]
    list(dispatch_events(iter(events), STUDY, ["mine"], tmp_path, lambda text: None))
    assert [info.arm for info in infos] == ["baseline", "born_again", "baseline"]
    assert len({info.id for info in infos}) == 3
    settings = infos[0].settings
    assert settings["minimises"] == "H(labels, student)"
    assert (settings["data.name"], settings["model"], settings["schedule.epochs"]) == ("digits", "resnet8", 3)
    assert infos[0].address == "address of baseline 0"
