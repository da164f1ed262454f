"""Recorded steps compute the same as plain ones. Without a GPU a recording is the function itself, called again."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from tests.conftest import make_splits
from tests.training.test_fit import WithDropout, same
from torch import nn

from tutelage.data import BatchLoader, CropFlip, Normalization
from tutelage.engine import Engine
from tutelage.methods.decoupled import decoupled
from tutelage.methods.hinton import distillation, labels_only
from tutelage.models.build import build
from tutelage.objective import Match, Objective, Ramp, Signals, TeacherProbs
from tutelage.teachers import NetworkTeacher
from tutelage.teachers.cached import CachedTeacher
from tutelage.teachers.logit_store import LogitStore
from tutelage.training import DistillationForward, OneCycle, Schedule, State, Teacher, fit
from tutelage.training.sgd import Sgd
from tutelage.training.step import Step, steps_of

SIZE, VIEWS = 70, CropFlip(padding=1)  # in batches of 8: eight full ones and one of 6
SCHEDULE = Schedule(epochs=5, batch_size=8, lr=0.05, decay=OneCycle())
NORMALIZATION = Normalization((0.4,), (0.3,))
Moments = list[tuple[State, dict[str, float] | None]]


class Recording(Engine):
    """An engine that records a step by storing the function, and replays it by calling that."""

    recorded = 0
    aside_of = 0
    forbids_host_sync = False

    @property
    def can_record_steps(self) -> bool:
        return True

    def on_side_stream(self, work: Callable[[], None]) -> None:
        Recording.aside_of += 1
        work()

    def record(self, work: Callable[[], None]) -> Callable[[], None]:
        Recording.recorded += 1
        return work

    @contextlib.contextmanager
    def forbid_host_sync(self) -> Iterator[None]:
        Recording.forbids_host_sync = True
        try:
            yield
        finally:
            Recording.forbids_host_sync = False


PLAIN = Engine(torch.device("cpu"), "fp32", 1)


@pytest.fixture
def recording(monkeypatch: pytest.MonkeyPatch) -> Engine:
    monkeypatch.setattr(Recording, "recorded", 0)
    monkeypatch.setattr(Recording, "aside_of", 0)
    return Recording(torch.device("cpu"), "fp32", 1)


def data() -> BatchLoader:
    return BatchLoader(make_splits(size=SIZE).train, VIEWS, SCHEDULE.batch_size, torch.device("cpu"))


def teacher() -> Teacher:
    return NetworkTeacher(build("tests.exact:Exact", 4, 1, seed=1), NORMALIZATION, PLAIN)


def network() -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(3)
        return WithDropout()


def run(engine: Engine, objective: Objective, frozen: Teacher | None, **options: object) -> Moments:
    records = fit(
        network(),
        data(),
        objective,
        SCHEDULE,
        normalization=NORMALIZATION,
        seed=5,
        engine=engine,
        teacher=frozen,
        pulse=0.0,
        **options,
    )
    return [(record.state(), record.metrics) for record in records]


def assert_equal(one: Moments, other: Moments) -> None:
    assert len(one) == len(other) > 0
    for (first, metrics), (second, other_metrics) in zip(one, other, strict=True):
        assert first.step == second.step
        assert same(first.tensors, second.tensors)
        assert metrics == other_metrics


@pytest.mark.parametrize("meter", [False, True])
@pytest.mark.parametrize("objective", [labels_only(), distillation(), decoupled(warm_up=0.5)], ids=str)
def test_they_end_in_the_same_bits(recording: Engine, objective: Objective, meter: bool) -> None:
    frozen = teacher() if objective.needs_teacher else None
    assert_equal(run(recording, objective, frozen, meter=meter), run(PLAIN, objective, frozen, meter=meter))
    steady = "progress" not in str(objective)  # with its warm-up no two steps are alike
    assert Recording.recorded == (2 if steady else 0)


def test_continuing_within_an_epoch_ends_in_the_same_bits(recording: Engine) -> None:
    whole = run(PLAIN, distillation(), teacher())
    for step in (1, 8, 9, 13):
        state = whole[step - 1][0]
        assert_equal(run(recording, distillation(), teacher(), state=state), whole[step:])


def test_the_first_steps_of_each_batch_size_run_before_the_recording(recording: Engine) -> None:
    run(recording, distillation(), teacher())
    assert Recording.aside_of == 3 + 3
    assert Recording.recorded == 2  # one for each batch size


def test_an_objective_that_changes_over_training_is_not_recorded(recording: Engine) -> None:
    rising = Objective(terms=(*labels_only().terms, Match(name="soft", target=TeacherProbs(), weight=Ramp(0.0, 0.5))))
    assert_equal(run(recording, rising, teacher()), run(PLAIN, rising, teacher()))
    assert Recording.recorded == 0


def test_a_cached_teacher_reads_an_epoch_ahead(recording: Engine, tmp_path: Path) -> None:
    expected = run(PLAIN, distillation(), teacher())
    for is_first_run in (True, False):
        with LogitStore(tmp_path, {"t": 0}, size=SIZE * VIEWS.count, num_classes=4, dtype=torch.float32) as store:
            network_teacher = teacher() if is_first_run else (lambda batch: pytest.fail("run again"))
            cached = CachedTeacher(network_teacher, data(), store, spot_checks=0, prefetch=True)
            assert_equal(run(recording, distillation(), cached), expected)


def test_checking_whether_it_can_be_recorded_changes_nothing(recording: Engine) -> None:
    student, frozen = network(), teacher()
    before = {name: value.clone() for name, value in student.state_dict().items()}
    with DistillationForward(student, distillation(), NORMALIZATION, recording, frozen) as forward:
        bound = forward.bind(data(), 0)
        optimizer = Sgd(student.parameters(), momentum=0.9, nesterov=True, weight_decay=0.0)
        steps_of(Step(forward, bound, optimizer), data(), 0)
    assert same(before, dict(student.state_dict()))


class ReadsTheDevice:
    """A weight that needs a number from the device within a step."""

    needs_teacher = False

    def __call__(self, signals: Signals) -> float:
        if Recording.forbids_host_sync:
            raise RuntimeError("called a synchronizing CUDA operation")
        return signals.student_logits.amax().item()

    def formula(self) -> str:
        return "max"


def test_an_objective_that_reads_the_device_within_a_step_is_not_recorded(recording: Engine) -> None:
    objective = Objective(
        terms=(*labels_only().terms, Match(name="soft", target=TeacherProbs(), weight=ReadsTheDevice()))
    )
    assert_equal(run(recording, objective, teacher()), run(PLAIN, objective, teacher()))
    assert Recording.recorded == 0
