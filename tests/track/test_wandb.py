"""W&B has one run per curve, offline without a key; tested with the real package where it is installed."""

from __future__ import annotations

import importlib.util
import json
import struct
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.conftest import limit
from tests.track import stand_ins
from tests.track.conftest import STUDY, event, models
from tutelage.study import Event
from tutelage.track import dispatch_events
from tutelage.track.curves import write_curves
from tutelage.track.wandb import _mode, open_run

pytestmark = pytest.mark.filterwarnings("ignore")  # the real package warns


@pytest.fixture(autouse=True)
def package(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("WANDB_API_KEY", "WANDB_MODE", "WANDB_PROJECT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "no netrc"))
    if importlib.util.find_spec("wandb") is None:
        monkeypatch.setitem(sys.modules, "wandb", stand_ins.wandb())


def stored(runs: Path) -> list[dict[str, Any]]:
    """The runs in the folder: name, group, config, history and summary of each."""
    stored_runs = []
    for folder in sorted((runs / "wandb").glob("offline-run-*")):
        run, deadline = _stored(folder), time.monotonic() + limit(20)
        while "exit" not in run and time.monotonic() < deadline:  # the real package writes in another process
            time.sleep(0.05)
            run = _stored(folder)
        stored_runs.append(run)
    return stored_runs


def _stored(folder: Path) -> dict[str, Any]:
    record = folder / "record.json"  # written by the stand-in
    return json.loads(record.read_text()) if record.exists() else read(folder)  # type: ignore[no-any-return]


def read(folder: Path) -> dict[str, Any]:
    """A run that the real package wrote: records in blocks of 32 KiB, the format of LevelDB's log."""
    from wandb.proto import wandb_internal_pb2

    (path,) = folder.glob("*.wandb")
    data, position = path.read_bytes(), 7
    run: dict[str, Any] = {"history": [], "summary": {}}

    def records() -> Iterator[bytes]:
        nonlocal position
        parts = b""
        while True:
            rest_of_block = 32768 - position % 32768
            position += rest_of_block if rest_of_block < 7 else 0
            if position + 7 > len(data):
                return
            _, size, kind = struct.unpack("<IHB", data[position : position + 7])
            parts += data[position + 7 : position + 7 + size]
            position += 7 + size
            if kind in (1, 4):  # a whole record, or the last part of one
                yield parts
                parts = b""

    def values(items: Any) -> dict[str, Any]:
        return {item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in items}

    for block in records():
        record = wandb_internal_pb2.Record()
        record.ParseFromString(block)
        if record.HasField("run"):
            run |= {"name": record.run.display_name, "group": record.run.run_group, "project": record.run.project}
            run["config"] = values(record.run.config.update)
        elif record.HasField("history"):
            run["history"].append({**values(record.history.item), "_step": record.history.step.num})
        elif record.HasField("summary"):
            run["summary"] |= values(record.summary.update)
        elif record.HasField("exit"):
            run["exit"] = record.exit.exit_code
    return run


def write(events: Iterable[Event], runs: Path) -> None:
    write_curves(events, STUDY, runs, open_run)


def test_runs_are_those_of_the_models(trained: tuple[Path, list[Event]], tmp_path: Path) -> None:
    runs, events = trained
    log: list[str] = []
    assert list(dispatch_events(iter(events), STUDY, ["wandb"], tmp_path, log.append)) == events
    assert len(log) == 1
    recorded = {run["name"]: run for run in stored(tmp_path)}
    assert sorted(recorded) == [
        "baseline, baseline, seed 0",
        "born_again, born again 1, seed 0",
        "born_again, first, seed 0",
    ]
    run, model = recorded["born_again, born again 1, seed 0"], models(STUDY, 1, runs)[1]
    assert (run["group"], run["project"], run["exit"]) == (STUDY.name, "tutelage", 0)
    for point, line in zip(run["history"], model.metrics(), strict=True):
        assert point["_step"] == line["epoch"]
        assert {name: point[name] for name in line if name != "epoch"} == pytest.approx(
            {name: value for name, value in line.items() if name != "epoch"}
        )
    assert run["summary"]["final/test/top1"] == model.evaluation()["test"].top1
    assert run["config"]["address"] == model.address
    assert run["config"]["schedule.epochs"] == 3


def test_the_curve_of_a_killed_run_continues(tmp_path: Path) -> None:
    write([event(last=2), event(first=3, last=5)], tmp_path)
    (run,) = stored(tmp_path)
    assert run["exit"] == 1
    write([event(first=1, last=3), event(first=4, last=4), event("finished", first=5, last=7)], tmp_path)
    (run,) = stored(tmp_path)  # the new run has the whole curve, and the old one is gone
    assert [point["_step"] for point in run["history"]] == [1, 2, 3, 4, 5, 6, 7]
    assert run["exit"] == 0


def test_a_complete_curve_stays_unchanged(tmp_path: Path) -> None:
    write([event("stored", last=4)], tmp_path)
    write([event("stored", last=6)], tmp_path)
    (run,) = stored(tmp_path)
    assert len(run["history"]) == 4


@pytest.mark.parametrize(
    ("key", "requested", "mode"),
    [
        (False, None, "offline"),
        (False, "online", "offline"),
        (True, None, None),
        (True, "offline", "offline"),
        (True, "dryrun", "offline"),
    ],
)
def test_nothing_is_sent_without_a_key(
    monkeypatch: pytest.MonkeyPatch, key: bool, requested: str | None, mode: str | None
) -> None:
    def login(*, prompt: bool, verify: bool) -> bool:
        assert not prompt  # nobody is ever asked for a key
        assert not verify
        return key

    if requested is not None:
        monkeypatch.setenv("WANDB_MODE", requested)
    assert _mode(SimpleNamespace(login=login)) == mode


def test_switched_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "disabled")
    write([event("stored", last=4)], tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_server_that_has_some_epochs_gets_the_rest() -> None:
    from tutelage.track.wandb import _Run

    logged: list[int] = []
    run = SimpleNamespace(step=4, log=lambda values, step: logged.append(step))
    _Run(run, Path()).log_epochs(event(first=1, last=6).epochs)
    assert logged == [4, 5, 6]
