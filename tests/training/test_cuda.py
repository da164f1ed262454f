"""On a GPU: recorded steps compute the same as plain ones, and no step makes the host wait for the device."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tests.conftest import make_splits
from tests.training.test_fit import same

from tutelage.data import BatchLoader, CropFlip, Normalization
from tutelage.engine import Engine
from tutelage.methods.tolerant import tolerant_student
from tutelage.models.build import build
from tutelage.teachers import NetworkTeacher
from tutelage.teachers.cached import CachedTeacher
from tutelage.teachers.logit_store import LogitStore
from tutelage.training import OneCycle, Schedule, State, Teacher, fit

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU that CUDA can use")

SIZE, VIEWS = 70, CropFlip(padding=1)
SCHEDULE = Schedule(epochs=5, batch_size=8, lr=0.05, decay=OneCycle())
NORMALIZATION = Normalization((0.4,), (0.3,))


@pytest.fixture(params=["fp32", "bf16"])
def engine(request: pytest.FixtureRequest) -> Engine:
    return Engine.choose("cuda", request.param)


def data(engine: Engine) -> BatchLoader:
    return BatchLoader(make_splits(size=SIZE).train, VIEWS, SCHEDULE.batch_size, engine.device)


def teacher(engine: Engine) -> Teacher:
    return NetworkTeacher(build("resnet8", 4, 1, seed=1), NORMALIZATION, engine)


def run(engine: Engine, frozen: Teacher, pulse: float = 0.0, **options: object) -> list[State]:
    records = fit(
        build("resnet8", 4, 1, seed=2),
        data(engine),
        tolerant_student(),
        SCHEDULE,
        normalization=NORMALIZATION,
        seed=5,
        engine=engine,
        teacher=frozen,
        pulse=pulse,
        **options,
    )
    return [record.state() for record in records]


def test_recorded_steps_are_the_same_steps(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    recorded = run(engine, teacher(engine))
    monkeypatch.setenv("TUTELAGE_GRAPHS", "off")
    for one, other in zip(recorded, run(engine, teacher(engine)), strict=True):
        for name, value in one.tensors.items():
            torch.testing.assert_close(value, other.tensors[name], rtol=1e-4, atol=1e-5)


def test_the_same_twice_and_after_a_stop(engine: Engine) -> None:
    states = run(engine, teacher(engine))
    assert same(run(engine, teacher(engine))[-1].tensors, states[-1].tensors)
    for step in (1, 5, 9, 20):
        rest = run(engine, teacher(engine), state=states[step - 1])
        assert same(rest[-1].tensors, states[-1].tensors)


def test_no_step_makes_the_host_wait(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    from tutelage.training import step

    run_step = step.RecordedSteps.run_step

    def without_synchronizing(self: step.RecordedSteps, *args: object, **kwargs: object) -> None:
        with self.engine.forbid_host_sync():
            run_step(self, *args, **kwargs)

    monkeypatch.setattr(step.RecordedSteps, "run_step", without_synchronizing)
    assert len(run(engine, teacher(engine), pulse=1e9)) == SCHEDULE.epochs


def test_a_cached_teacher_gives_the_same(engine: Engine, tmp_path: Path) -> None:
    expected = run(engine, teacher(engine))[-1]
    with LogitStore(tmp_path, {"t": 0}, size=SIZE * VIEWS.count, num_classes=4, dtype=torch.float32) as store:
        cached = CachedTeacher(teacher(engine), data(engine), store)
        result = run(engine, cached)[-1]
    for name, value in result.tensors.items():
        torch.testing.assert_close(value, expected.tensors[name], rtol=1e-3, atol=1e-4)
