"""TensorBoard shows each value of metrics.jsonl once, also after interruptions."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import pytest

from tests.track.conftest import STUDY, event, models, other_model
from tutelage.study import Event, Study
from tutelage.track import dispatch_events
from tutelage.track.curves import write_curves

pytest.importorskip("tensorboard")

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from tutelage.track.tensorboard import open_run

Curves = dict[str, list[tuple[int, float]]]


def shown(folder: Path) -> Curves:
    """Every scalar of a folder as TensorBoard shows it."""
    reader = EventAccumulator(str(folder), size_guidance={"scalars": 0}).Reload()
    return {tag: [(point.step, point.value) for point in reader.Scalars(tag)] for tag in reader.Tags()["scalars"]}


def write(events: Iterable[Event], runs: Path, study: Study = STUDY) -> None:
    write_curves(events, study, runs, open_run)


def folder(runs: Path, arm: str = "baseline", curve: str = "0-baseline") -> Path:
    return runs / "tensorboard" / STUDY.name / arm / "seed-0" / curve


def test_curves_are_those_of_the_models(trained: tuple[Path, list[Event]], tmp_path: Path) -> None:
    runs, events = trained
    log: list[str] = []
    assert list(dispatch_events(iter(events), STUDY, ["tensorboard"], tmp_path, log.append)) == events
    assert log == [f"curves: tensorboard --logdir {tmp_path / 'tensorboard' / STUDY.name}"]
    (alone,), (first, second) = models(STUDY, 0, runs), models(STUDY, 1, runs)
    assert first == alone  # trained once, and shown in both arms
    places = [
        (folder(tmp_path), alone),
        (folder(tmp_path, "born_again", "0-first"), first),
        (folder(tmp_path, "born_again", "1-born again 1"), second),
    ]
    assert sorted(path.parent for path in (tmp_path / "tensorboard").rglob("events*")) == [path for path, _ in places]
    for path, model in places:
        curves = shown(path)
        metrics = model.metrics()
        assert [line["epoch"] for line in metrics] == [1, 2, 3]
        final = {f"final/{part}/top1" for part in ("train", "holdout", "test")}
        assert {name for name in curves if not name.startswith("final/")} == set(metrics[0]) - {"epoch"}
        assert final | {"final/test/nll", "final/test/ece"} <= set(curves)
        term = "labels" if model == alone else "teacher"
        expected = {"loss", "lr", "accuracy", f"loss/{term}", f"share/{term}", "holdout/top1", "test/top1"}
        assert expected <= set(curves)
        for name in set(metrics[0]) - {"epoch"}:
            assert curves[name] == [(line["epoch"], pytest.approx(line[name], rel=1e-6)) for line in metrics]
        assert curves["final/test/top1"] == [(3, pytest.approx(model.evaluation()["test"].top1))]


def test_the_curve_of_a_killed_run_continues(tmp_path: Path) -> None:
    def killed() -> Iterable[Event]:
        yield event(first=1, last=2)
        yield event(first=3, last=5)
        raise KeyboardInterrupt  # no event follows

    with pytest.raises(KeyboardInterrupt):
        write(killed(), tmp_path)
    watcher = EventAccumulator(str(folder(tmp_path)), size_guidance={"scalars": 0}).Reload()
    assert [point.step for point in watcher.Scalars("loss")] == [1, 2, 3, 4, 5]

    # The last checkpoint was saved after epoch 3, so 4 and 5 are trained again.
    write([event(first=1, last=3), event(first=4, last=4), event("finished", first=5, last=7)], tmp_path)
    curves = shown(folder(tmp_path))
    assert curves["loss"] == [(epoch, pytest.approx(10 / epoch)) for epoch in range(1, 8)]
    assert curves["final/test/top1"] == [(7, 0.5)]
    # A TensorBoard that was open all the time drops what it had read.
    assert [point.step for point in watcher.Reload().Scalars("loss")] == list(range(1, 8))


def test_a_complete_curve_stays_unchanged(tmp_path: Path) -> None:
    write([event("stored", last=4)], tmp_path)
    (file,) = folder(tmp_path).glob("events*")
    before = file.stat()
    write([event("stored", last=4)], tmp_path)
    assert [path.stat() for path in folder(tmp_path).glob("events*")] == [before]
    write([other_model(event("stored", last=6))], tmp_path)
    assert [step for step, _ in shown(folder(tmp_path))["loss"]] == [1, 2, 3, 4, 5, 6]


@pytest.mark.fault(17)
@pytest.mark.parametrize("ahead", [0, 400 * 86400])
def test_a_new_file_is_the_last_that_tensorboard_reads(tmp_path: Path, ahead: int) -> None:
    """Whatever process and number the last file of this second had, and also if the clock was ahead."""
    write([event(last=3)], tmp_path)
    (file,) = folder(tmp_path).glob("events*")
    now = time.time() if time.time() % 1 < 0.5 else time.time() + 1
    _, _, _, _, host, *_ = (words := file.name.split("."))
    assert words[:3] == ["events", "out", "tfevents"]
    file.rename(file.with_name(f"events.out.tfevents.{int(now) + ahead:010d}.{host}.9999999.9"))
    write([event("finished", last=5)], tmp_path)
    assert [step for step, _ in shown(folder(tmp_path))["loss"]] == [1, 2, 3, 4, 5]


def test_names_stay_names(tmp_path: Path) -> None:
    names = ("../../../escaped", "..", "a/b", "a-b", "x" * 300)
    study = replace(STUDY, lineages=tuple(replace(STUDY.lineages[0], name=name) for name in names))
    write([event("stored", last=1, arm=name) for name in names], tmp_path, study)
    assert [path.name for path in tmp_path.iterdir()] == ["tensorboard"]
    (home,) = (tmp_path / "tensorboard").iterdir()
    assert len(list(home.iterdir())) == len(names)
    assert len(list(tmp_path.rglob("events*"))) == len(names)


@pytest.mark.fault(10)
def test_a_full_disk_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def full(self: object, data: bytes) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("tensorboard.summary.writer.event_file_writer.RecordWriter.write", full)
    log: list[str] = []
    events = [event(last=1), event("finished", first=2, last=40)]
    assert list(dispatch_events(iter(events), STUDY, ["tensorboard"], tmp_path, log.append)) == events
    assert log[1:] == [
        "warning: tensorboard failed and receives no more events: OSError: [Errno 28] No space left on device"
    ]
    assert capfd.readouterr().err == ""


def test_a_failed_arm_keeps_its_curve(tmp_path: Path) -> None:
    failed = event("failed")
    write([event(last=2), event(last=2, arm="born_again"), failed], tmp_path)
    assert [step for step, _ in shown(folder(tmp_path))["loss"]] == [1, 2]
    assert not list(tmp_path.rglob("whole.txt"))
