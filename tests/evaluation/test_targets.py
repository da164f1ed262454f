"""How objectives change a teacher's targets: the worked example of "Preparing Lessons", and properties."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tests.functional.inputs import LABELS, STUDENT, TEACHER

from tutelage.evaluation.targets import class_means, mass_moved, term_targets, wrong_targets
from tutelage.methods.born_again import permuted_dark_knowledge
from tutelage.methods.decoupled import decoupled
from tutelage.methods.hinton import distillation, labels_only
from tutelage.methods.preparing_lessons import adjusted_dynamic_temperature, dynamic_temperature, knowledge_adjustment
from tutelage.objective import Objective, crossfade


def drawn(seed: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    student, teacher = 2.0 * torch.randn(2, 40, 5, generator=generator, dtype=torch.float64)
    return student, teacher, torch.randint(0, 5, (40,), generator=generator)


def moved(objective: Objective) -> list[float]:
    (targets,) = term_targets(objective, STUDENT, TEACHER, LABELS, batch_size=3)
    return list(targets.moved.tolist())


def test_knowledge_adjustment_by_hand() -> None:
    assert wrong_targets(TEACHER, LABELS).tolist() == [False, False, True]
    # of the third target 0.243065, 0.296880, 0.184626, 0.275429 the last two maxima swap
    assert moved(knowledge_adjustment()) == pytest.approx([0.0, 0.0, 0.296880 - 0.275429], abs=1e-6)
    # or 0.025, 0.025, 0.025, 0.925 replaces it
    assert moved(knowledge_adjustment(adjustment="smooth")) == pytest.approx([0.0, 0.0, 0.925 - 0.275429], abs=1e-6)
    assert moved(distillation()) == [0.0, 0.0, 0.0]


def test_temperatures_by_hand() -> None:
    for objective, expected in (
        (dynamic_temperature(), [4.176151, 4.451202, 3.372647]),
        (dynamic_temperature(temperature_rule="cwsm", bias=1.0), [4.001890, 3.755527, 4.242583]),
        (adjusted_dynamic_temperature(), [4.176151, 4.451202, 3.372647]),
    ):
        (targets,) = term_targets(objective, STUDENT, TEACHER, LABELS, batch_size=3, seed=4, epoch=2)
        assert targets.temperature is not None
        assert targets.temperature.tolist() == pytest.approx(expected, abs=5e-7)
        assert targets.floor == 1.0
    (targets,) = term_targets(distillation(), STUDENT, TEACHER, LABELS, batch_size=3)
    assert targets.temperature is None


def test_a_temperature_is_relative_to_its_batch() -> None:
    (alone,) = term_targets(dynamic_temperature(), STUDENT, TEACHER, LABELS, batch_size=1)
    assert alone.temperature is not None
    assert alone.temperature.tolist() == pytest.approx([4.0] * 3)


def test_which_terms_have_targets() -> None:
    def names(objective: Objective) -> list[str]:
        return [targets.term for targets in term_targets(objective, STUDENT, TEACHER, LABELS, batch_size=2)]

    assert names(labels_only()) == []
    assert names(decoupled()) == []
    assert names(distillation()) == ["teacher"]
    assert names(crossfade(distillation(), labels_only())) == ["first/teacher"]
    assert max(moved(permuted_dark_knowledge())) > 0.0


@given(seed=st.integers(0, 10**6), batch_size=st.integers(1, 50))
def test_adjustment_changes_the_wrong_targets_and_only_those(seed: int, batch_size: int) -> None:
    student, teacher, labels = drawn(seed)
    wrong = wrong_targets(teacher, labels)
    assert wrong.double().mean() == 1.0 - (teacher.argmax(1) == labels).double().mean()
    for adjustment in ("shift", "smooth"):
        objective = knowledge_adjustment(adjustment=adjustment)
        (targets,) = term_targets(objective, student, teacher, labels, batch_size=batch_size, seed=seed)
        assert torch.equal(targets.moved > 1e-9, wrong)
        assert targets.moved.max() <= 1.0


@given(seed=st.integers(0, 10**6))
def test_mass_moved_is_a_distance(seed: int) -> None:
    one, other, _ = drawn(seed)
    p, q = one.softmax(1), other.softmax(1)
    assert mass_moved(p, p).max() == 0.0
    torch.testing.assert_close(mass_moved(p, q), mass_moved(q, p))
    assert mass_moved(p, q).min() > 0.0
    assert mass_moved(p, q).max() <= 1.0


def test_classes_without_samples_have_no_mean() -> None:
    means = class_means(torch.tensor([1.0, 3.0]), torch.tensor([2, 2]), 3)
    assert means[2] == 2.0
    assert means[:2].isnan().all()
