"""Recorded steps are the same steps. Without a GPU the recording is one that is called again."""

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

SIZE, VIEWS = 70, CropFlip(padding=1)  # at 8 a batch: eight whole ones and one of 6
SCHEDULE = Schedule(epochs=5, batch_size=8, lr=0.05, decay=OneCycle())
NORMALIZATION = Normalization((0.4,), (0.3,))
Told = list[tuple[State, dict[str, float] | None]]


class Recording(Engine):
    """An engine that records by keeping what there is to do, and replays by doing it."""

    recorded = 0
    aside_of = 0
    is_unasked = False

    @property
    def records(self) -> bool:
        return True

    def aside(self, work: Callable[[], None]) -> None:
        Recording.aside_of += 1
        work()

    def record(self, work: Callable[[], None]) -> Callable[[], None]:
        Recording.recorded += 1
        return work

    @contextlib.contextmanager
    def unasked(self) -> Iterator[None]:
        Recording.is_unasked = True
        try:
            yield
        finally:
            Recording.is_unasked = False


PLAIN = Engine(torch.device("cpu"), "fp32", 1)


@pytest.fixture
def recording(monkeypatch: pytest.MonkeyPatch) -> Engine:
    monkeypatch.setattr(Recording, "recorded", 0)
    monkeypatch.setattr(Recording, "aside_of", 0)
    return Recording(torch.device("cpu"), "fp32", 1)


def data() -> BatchLoader:
    return BatchLoader(make_splits(size=SIZE).train, VIEWS, SCHEDULE.batch_size, torch.device("cpu"))


def teacher() -> Teacher:
    return NetworkTeacher(build("resnet8", 4, 1, seed=1), NORMALIZATION, PLAIN)


def network() -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(3)
        return WithDropout()


def run(engine: Engine, objective: Objective, taught: Teacher | None, **options: object) -> Told:
    records = fit(
        network(),
        data(),
        objective,
        SCHEDULE,
        normalization=NORMALIZATION,
        seed=5,
        engine=engine,
        teacher=taught,
        pulse=0.0,
        **options,
    )
    return [(record.state(), record.metrics) for record in records]


def assert_equal(one: Told, other: Told) -> None:
    assert len(one) == len(other) > 0
    for (first, told), (second, also_told) in zip(one, other, strict=True):
        assert first.step == second.step
        assert same(first.tensors, second.tensors)
        assert told == also_told


@pytest.mark.parametrize("meter", [False, True])
@pytest.mark.parametrize("objective", [labels_only(), distillation(), decoupled(warm_up=0.5)], ids=str)
def test_they_end_in_the_same_bits(recording: Engine, objective: Objective, meter: bool) -> None:
    taught = teacher() if objective.needs_teacher else None
    assert_equal(run(recording, objective, taught, meter=meter), run(PLAIN, objective, taught, meter=meter))
    steady = "progress" not in str(objective)  # its warm-up makes every step another
    assert Recording.recorded == (2 if steady else 0)


def test_continuing_within_an_epoch_ends_in_the_same_bits(recording: Engine) -> None:
    whole = run(PLAIN, distillation(), teacher())
    for step in (1, 8, 9, 13):
        state = whole[step - 1][0]
        assert_equal(run(recording, distillation(), teacher(), state=state), whole[step:])


def test_what_is_made_on_first_use_is_made_before_the_recording(recording: Engine) -> None:
    run(recording, distillation(), teacher())
    assert Recording.aside_of == 3 + 3
    assert Recording.recorded == 2  # one for each size of batch


def test_what_follows_the_course_of_training_is_not_recorded(recording: Engine) -> None:
    rising = Objective(terms=(*labels_only().terms, Match(name="soft", target=TeacherProbs(), weight=Ramp(0.0, 0.5))))
    assert_equal(run(recording, rising, teacher()), run(PLAIN, rising, teacher()))
    assert Recording.recorded == 0


def test_a_stored_teacher_answers_an_epoch_ahead(recording: Engine, tmp_path: Path) -> None:
    expected = run(PLAIN, distillation(), teacher())
    for asked in (True, False):
        with LogitStore(tmp_path, {"t": 0}, size=SIZE * VIEWS.count, num_classes=4, dtype=torch.float32) as store:
            living = teacher() if asked else (lambda batch: pytest.fail("asked again"))
            stored = CachedTeacher(living, data(), store, spot_checks=0, ahead=True)
            assert_equal(run(recording, distillation(), stored), expected)


def test_finding_out_whether_it_can_be_recorded_moves_nothing(recording: Engine) -> None:
    student, taught = network(), teacher()
    before = {name: value.clone() for name, value in student.state_dict().items()}
    with DistillationForward(student, distillation(), NORMALIZATION, recording, taught) as lesson:
        bound = lesson.bind(data(), 0)
        optimizer = Sgd(student.parameters(), momentum=0.9, nesterov=True, weight_decay=0.0)
        steps_of(Step(lesson, bound, optimizer), data(), 0)
    assert same(before, dict(student.state_dict()))


class AsksTheHost:
    """A weight that must know a number in the middle of a step."""

    needs_teacher = False

    def __call__(self, signals: Signals) -> float:
        if Recording.is_unasked:
            raise RuntimeError("called a synchronizing CUDA operation")
        return signals.student_logits.amax().item()

    def formula(self) -> str:
        return "max"


def test_an_objective_that_asks_the_host_is_not_recorded(recording: Engine) -> None:
    asks = Objective(terms=(*labels_only().terms, Match(name="soft", target=TeacherProbs(), weight=AsksTheHost())))
    assert_equal(run(recording, asks, teacher()), run(PLAIN, asks, teacher()))
    assert Recording.recorded == 0
