"""A tracker may fail, hang or never import: training goes on, and one line says what happened."""

from __future__ import annotations

import sys
import threading
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.track.conftest import STUDY, event
from tutelage.study import Event
from tutelage.track import dispatch, tracked

EVENTS = [event(last=1), event(first=2, last=2), event(), event("finished", first=3, last=3)]


@pytest.fixture
def tracker(monkeypatch: pytest.MonkeyPatch) -> Callable[[Any], None]:
    """A tracker named "mine" whose curves a function opens."""

    def install(open_curve: Any) -> None:
        module = types.ModuleType("tutelage.track.mine")
        module.open_curve = open_curve  # type: ignore[attr-defined]
        module.look = lambda study, runs: "mine: here"  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "tutelage.track.mine", module)

    return install


class Kept:
    """A curve that remembers what it was told."""

    def __init__(self) -> None:
        self.told: list[object] = []

    def epochs(self, lines: Any) -> None:
        self.told += [line["epoch"] for line in lines]

    def finish(self, epoch: int, measures: Any) -> None:
        self.told.append(("finished", epoch, dict(measures)))

    def leave(self) -> None:
        self.told.append("left")


def test_all_is_told_in_order(tracker: Any, tmp_path: Path) -> None:
    curve = Kept()
    said: list[str] = []
    tracker(lambda title, runs: curve)
    assert list(tracked(iter(EVENTS), STUDY, ["mine"], tmp_path, said.append)) == EVENTS
    assert curve.told == [1, 2, 3, ("finished", 3, {"test/top1": 0.5})]
    assert said == ["mine: here"]


def test_a_study_that_stops_leaves_its_curves(tracker: Any, tmp_path: Path) -> None:
    class Stop(Exception):
        pass

    def stopping() -> Iterator[Event]:
        yield EVENTS[0]
        raise Stop

    curve = Kept()
    tracker(lambda title, runs: curve)
    with pytest.raises(Stop):
        list(tracked(stopping(), STUDY, ["mine"], tmp_path, lambda text: None))
    assert curve.told == [1, "left"]


def raising(error: BaseException) -> Callable[..., Kept]:
    def open_curve(title: object, runs: Path) -> Kept:
        raise error

    return open_curve


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (ImportError("no module\nnamed mine"), "ImportError: no module named mine"),
        (OSError(28, "No space left on device"), "OSError: [Errno 28] No space left on device"),
        (ConnectionError(), "ConnectionError"),
        (SystemExit(1), "SystemExit: 1"),
    ],
)
def test_a_fault_is_said_once(tracker: Any, tmp_path: Path, error: BaseException, text: str) -> None:
    tracker(raising(error))
    said: list[str] = []
    assert list(tracked(iter(EVENTS), STUDY, ["mine"], tmp_path, said.append)) == EVENTS
    assert said == ["mine: here", f"warning: mine is told no more: {text}"]


def test_one_that_hangs_holds_nobody_up(tracker: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dispatch, "PATIENCE", 0.05)
    answer = threading.Event()

    def hang(title: object, runs: Path) -> None:
        answer.wait(60)

    tracker(hang)
    said: list[str] = []
    events = tracked(iter(EVENTS), STUDY, ["mine"], tmp_path, said.append)
    assert [next(events) for _ in EVENTS] == EVENTS  # while the tracker still waits for its server
    assert list(events) == []
    assert said[1:] == ["warning: mine did not take all it was told in 0 s: the rest is left"]
    answer.set()


def test_a_request_that_fails_starts_no_tracker(tracker: Any, tmp_path: Path) -> None:
    def refused() -> Iterator[Event]:
        raise ValueError("epochs must be at least 1")
        yield

    opened: list[object] = []
    tracker(lambda title, runs: opened.append(title))
    said: list[str] = []
    with pytest.raises(ValueError, match="epochs"):
        list(tracked(refused(), STUDY, ["mine"], tmp_path, said.append))
    assert (opened, said) == ([], [])


def test_the_title_holds_all_that_made_the_model(tracker: Any, tmp_path: Path) -> None:
    titles: list[Any] = []

    def open_curve(title: Any, runs: Path) -> Kept:
        titles.append(title)
        return Kept()

    tracker(open_curve)
    events = [event("kept", last=1), event("kept", last=1, arm="born_again"), event("kept", last=1, seed=1)]
    list(tracked(iter(events), STUDY, ["mine"], tmp_path, lambda text: None))
    assert [title.arm for title in titles] == ["baseline", "born_again", "baseline"]
    assert len({title.id for title in titles}) == 3
    settings = titles[0].settings
    assert settings["minimises"] == "H(labels, student)"
    assert (settings["data.name"], settings["model"], settings["schedule.epochs"]) == ("digits", "resnet8", 3)
    assert titles[0].address == "address of baseline 0"
