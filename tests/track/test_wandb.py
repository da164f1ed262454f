"""Weights & Biases keeps a run for each curve, offline without a key; with the real package where it is installed."""

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

from tests.track import stand_ins
from tests.track.conftest import STUDY, event, models
from tutelage.study import Event
from tutelage.track import tracked
from tutelage.track.curves import write_curves
from tutelage.track.wandb import _mode, open_curve

pytestmark = pytest.mark.filterwarnings("ignore")  # of the real one


@pytest.fixture(autouse=True)
def package(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("WANDB_API_KEY", "WANDB_MODE", "WANDB_PROJECT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "no netrc"))
    if importlib.util.find_spec("wandb") is None:
        monkeypatch.setitem(sys.modules, "wandb", stand_ins.wandb())


def stored(runs: Path) -> list[dict[str, Any]]:
    """What lies in the folder, a run each: name, group, config, history, summary."""
    found = []
    for folder in sorted((runs / "wandb").glob("offline-run-*")):
        run, deadline = _stored(folder), time.monotonic() + 20
        while "exit" not in run and time.monotonic() < deadline:  # the real one writes in a process of its own
            time.sleep(0.05)
            run = _stored(folder)
        found.append(run)
    return found


def _stored(folder: Path) -> dict[str, Any]:
    kept = folder / "kept.json"  # the stand-in's
    return json.loads(kept.read_text()) if kept.exists() else read(folder)  # type: ignore[no-any-return]


def read(folder: Path) -> dict[str, Any]:
    """A run as the real package wrote it: records in blocks of 32 KiB, as LevelDB's log has them."""
    from wandb.proto import wandb_internal_pb2

    (path,) = folder.glob("*.wandb")
    data, position = path.read_bytes(), 7
    found: dict[str, Any] = {"history": [], "summary": {}}

    def records() -> Iterator[bytes]:
        nonlocal position
        parts = b""
        while True:
            left = 32768 - position % 32768
            position += left if left < 7 else 0
            if position + 7 > len(data):
                return
            _, size, kind = struct.unpack("<IHB", data[position : position + 7])
            parts += data[position + 7 : position + 7 + size]
            position += 7 + size
            if kind in (1, 4):  # whole, or the last part
                yield parts
                parts = b""

    def plain(items: Any) -> dict[str, Any]:
        return {item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in items}

    for block in records():
        record = wandb_internal_pb2.Record()
        record.ParseFromString(block)
        if record.HasField("run"):
            found |= {"name": record.run.display_name, "group": record.run.run_group, "project": record.run.project}
            found["config"] = plain(record.run.config.update)
        elif record.HasField("history"):
            found["history"].append({**plain(record.history.item), "_step": record.history.step.num})
        elif record.HasField("summary"):
            found["summary"] |= plain(record.summary.update)
        elif record.HasField("exit"):
            found["exit"] = record.exit.exit_code
    return found


def tell(events: Iterable[Event], runs: Path) -> None:
    write_curves(events, STUDY, runs, open_curve)


def test_runs_are_those_of_the_models(trained: tuple[Path, list[Event]], tmp_path: Path) -> None:
    runs, events = trained
    said: list[str] = []
    assert list(tracked(iter(events), STUDY, ["wandb"], tmp_path, said.append)) == events
    assert len(said) == 1
    found = {run["name"]: run for run in stored(tmp_path)}
    assert sorted(found) == [
        "baseline, baseline, seed 0",
        "born_again, born again 1, seed 0",
        "born_again, first, seed 0",
    ]
    run, model = found["born_again, born again 1, seed 0"], models(STUDY, 1, runs)[1]
    assert (run["group"], run["project"], run["exit"]) == (STUDY.name, "tutelage", 0)
    for point, line in zip(run["history"], model.metrics(), strict=True):
        assert point["_step"] == line["epoch"]
        assert {name: point[name] for name in line if name != "epoch"} == pytest.approx(
            {name: value for name, value in line.items() if name != "epoch"}
        )
    assert run["summary"]["final/test/top1"] == model.evaluation()["test"]["top1"]
    assert run["config"]["address"] == model.address
    assert run["config"]["schedule.epochs"] == 3


def test_a_killed_run_continues_its_curve(tmp_path: Path) -> None:
    tell([event(last=2), event(first=3, last=5)], tmp_path)
    (run,) = stored(tmp_path)
    assert run["exit"] == 1
    tell([event(first=1, last=3), event(first=4, last=4), event("finished", first=5, last=7)], tmp_path)
    (run,) = stored(tmp_path)  # the whole curve is in the new one, and the old one is gone
    assert [point["_step"] for point in run["history"]] == [1, 2, 3, 4, 5, 6, 7]
    assert run["exit"] == 0


def test_a_curve_that_is_whole_is_left_alone(tmp_path: Path) -> None:
    tell([event("kept", last=4)], tmp_path)
    tell([event("kept", last=6)], tmp_path)
    (run,) = stored(tmp_path)
    assert len(run["history"]) == 4


@pytest.mark.parametrize(
    ("key", "asked", "mode"),
    [
        (False, None, "offline"),
        (False, "online", "offline"),
        (True, None, None),
        (True, "offline", "offline"),
        (True, "dryrun", "offline"),
    ],
)
def test_nothing_is_sent_without_a_key(
    monkeypatch: pytest.MonkeyPatch, key: bool, asked: str | None, mode: str | None
) -> None:
    def login(*, prompt: bool, verify: bool) -> bool:
        assert not prompt  # nobody is ever asked
        assert not verify
        return key

    if asked is not None:
        monkeypatch.setenv("WANDB_MODE", asked)
    assert _mode(SimpleNamespace(login=login)) == mode


def test_switched_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "disabled")
    tell([event("kept", last=4)], tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_server_that_has_some_epochs_gets_the_others() -> None:
    from tutelage.track.wandb import _Curve

    logged: list[int] = []
    run = SimpleNamespace(step=4, log=lambda values, step: logged.append(step))
    _Curve(run, Path()).epochs(event(first=1, last=6).lines)
    assert logged == [4, 5, 6]
