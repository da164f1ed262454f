"""Which models of which recipes are the same: addresses and seeds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from tutelage.data import CropFlip
from tutelage.lineage import Lineage
from tutelage.lineage.addresses import addresses as addresses_of
from tutelage.lineage.addresses import generation_seed
from tutelage.objective import Constant, Match, Objective
from tutelage.recipes import CommonOptions
from tutelage.recipes.baselines import baseline
from tutelage.recipes.born_again import born_again
from tutelage.recipes.distill import distill
from tutelage.recipes.preparing_lessons import dynamic_temperature, knowledge_adjustment
from tutelage.recipes.teacher_free import tf_kd_self
from tutelage.recipes.tolerant import tolerant
from tutelage.training import Cosine


def addresses(line: Lineage, seed: int = 0, data: str = "fingerprint", precision: str = "fp32") -> tuple[str, ...]:
    return addresses_of(line, seed, data, precision)


def test_equal_generations_of_different_recipes_are_the_same_model() -> None:
    (alone,) = addresses(baseline())
    assert addresses(born_again())[0] == alone
    assert addresses(tf_kd_self())[0] == alone
    assert addresses(born_again(form="labels"))[0] == alone
    assert addresses(distill())[0] == addresses(dynamic_temperature())[0] == addresses(knowledge_adjustment())[0]
    assert addresses(distill())[0] == addresses(baseline(CommonOptions(model="resnet20")))[0]
    assert addresses(tolerant(generations=2)) == addresses(tolerant(generations=5))[:3]
    # D(1.0, 0.5) of the tolerant paper is born-again with labels: a patriarch trained on labels, then equal weights
    student = tolerant(generations=1, teacher_weight=0.5).generations[1]
    line = replace(tolerant(), generations=(*baseline().generations, student))
    assert addresses(born_again(generations=1, form="labels")) == addresses(line)
    assert addresses(tolerant(primary=1.0, generations=1, teacher_weight=0.5)) == addresses(line)


@pytest.mark.parametrize("arguments", [{}, {"k": 3}, {"share": 0.1}, {"generations": 0}, {"tolerance": 0.2}], ids=str)
def test_a_patriarch_without_tolerance_is_the_baseline(arguments: dict[str, Any]) -> None:
    assert addresses(tolerant(primary=1.0, **arguments))[0] == addresses(baseline())[0]


@pytest.mark.fault(18)
def test_names_are_no_part_of_a_model() -> None:
    line = tolerant()
    renamed = [replace(generation, name=f"other {place}") for place, generation in enumerate(line.generations)]
    assert addresses(replace(line, name="other", generations=tuple(renamed))) == addresses(line)


@pytest.mark.fault(18)
def test_every_model_of_a_line_is_another_and_so_is_its_seed() -> None:
    found = [address for seed in range(3) for address in addresses(tolerant(), seed)]
    assert len(set(found)) == len(found) == 18
    seeds = [generation_seed(seed, place) for seed in range(20) for place in range(20)]
    assert len(set(seeds)) == 400
    assert all(0 <= seed < 2**63 for seed in seeds)
    # two generations that are equal but for their place
    first = baseline().generations[0]
    twins = replace(baseline(), generations=(first, replace(first, name="twin")))
    assert len(set(addresses(twins))) == 2


def lighter(objective: Objective) -> Objective:
    first, *rest = objective.terms
    assert isinstance(first, Match)
    return Objective((replace(first, weight=Constant(0.123)), *rest))


CHANGED: dict[str, Callable[[Lineage], Lineage]] = {
    "model": lambda line: change(line, model="resnet14"),
    "objective": lambda line: change(line, objective=lighter(line.generations[0].objective)),
    "epochs": lambda line: change(line, schedule=replace(line.generations[0].schedule, epochs=3)),
    "batch size": lambda line: change(line, schedule=replace(line.generations[0].schedule, batch_size=3)),
    "rate": lambda line: change(line, schedule=replace(line.generations[0].schedule, lr=0.01)),
    "decay": lambda line: change(line, schedule=replace(line.generations[0].schedule, decay=Cosine())),
    "momentum": lambda line: change(line, schedule=replace(line.generations[0].schedule, momentum=0.8)),
    "nesterov": lambda line: change(line, schedule=replace(line.generations[0].schedule, nesterov=False)),
    "weight decay": lambda line: change(line, schedule=replace(line.generations[0].schedule, weight_decay=0.0)),
    "views": lambda line: replace(line, views=CropFlip(padding=1, flip=True)),
}


def change(line: Lineage, **fields: Any) -> Lineage:
    first, *rest = line.generations
    return replace(line, generations=(replace(first, **fields), *rest))


@pytest.mark.fault(18)
@pytest.mark.parametrize("name", CHANGED)
def test_whatever_makes_a_model_is_in_its_address_and_in_those_of_its_students(name: str) -> None:
    line = tolerant(generations=2)
    before, after = addresses(line), addresses(CHANGED[name](line))
    assert all(old != new for old, new in zip(before, after, strict=True))


@pytest.mark.fault(18)
@pytest.mark.parametrize("changed", [{"seed": 1}, {"data": "other"}, {"precision": "bf16"}])
def test_seed_data_and_precision_are_in_every_address(changed: dict[str, Any]) -> None:
    before, after = addresses(tolerant()), addresses(tolerant(), **changed)
    assert all(old != new for old, new in zip(before, after, strict=True))


def test_a_student_changes_nothing_for_its_teacher() -> None:
    weights = ((0.6, 0.6), (0.6, 0.5))
    one, other = (addresses(tolerant(generations=2, teacher_weight=pair)) for pair in weights)
    assert one[:2] == other[:2]
    assert one[2] != other[2]


@pytest.mark.fault(18)
def test_another_teacher_makes_another_student() -> None:
    line = tolerant(generations=2)
    *before, last = line.generations
    moved = replace(line, generations=(*before, replace(last, teachers=(0,))))
    both = replace(line, generations=(*before, replace(last, teachers=(0, 1))))
    assert len({addresses(line)[2], addresses(moved)[2], addresses(both)[2]}) == 3
