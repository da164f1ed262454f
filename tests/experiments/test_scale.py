"""How an experiment is made smaller, and how the differences are described."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.functional.inputs import repeatable
from tests.recipes.test_addresses import addresses
from tutelage.experiments import find_experiment
from tutelage.experiments.scale import changes, differences, reduced
from tutelage.training import Milestones

EXPERIMENTS = ("tolerant/table-1/densenet-100", "tf-kd/table-4/resnet18_mobilenetv2", "logits/same-type/vgg13_vgg8")


@repeatable
@given(st.sampled_from(EXPERIMENTS), st.floats(1e-6, 1.0))
def test_a_scale_multiplies_epochs_and_images_and_nothing_else(name: str, scale: float) -> None:
    experiment = find_experiment(name)
    study = reduced(experiment, scale=scale)
    for whole, part in zip(experiment.study.lineages, study.lineages, strict=True):
        train, test = part.data.train_size or 50_000, part.data.test_size or 10_000
        assert 100 <= train <= 50_000
        assert 100 <= test <= 10_000
        assert train == 100 or abs(train - 50_000 * scale) <= 1.5 + 1e-6
        for before, after in zip(whole.generations, part.generations, strict=True):
            steps = -(-train // after.schedule.batch_size)
            assert after.schedule.epochs >= min(1, round(before.schedule.epochs * scale))
            assert after.schedule.epochs * steps >= 16 or after.schedule.epochs == before.schedule.epochs
            longer = after.schedule.epochs > max(1, round(before.schedule.epochs * scale))
            assert not longer or (after.schedule.epochs - 1) * steps < 16
            assert replace(after, schedule=before.schedule) == before
            assert replace(after.schedule, epochs=before.schedule.epochs) == before.schedule
            assert train % after.schedule.batch_size != 1
    assert [lineage.name for lineage in study.lineages] == [lineage.name for lineage in experiment.study.lineages]


def test_at_full_scale_nothing_changes() -> None:
    for name in EXPERIMENTS:
        assert reduced(find_experiment(name)) == find_experiment(name).study
        assert changes(find_experiment(name).study, find_experiment(name).study) == []


def test_arms_and_generations_are_selected_without_changing_those_that_remain() -> None:
    whole = find_experiment("tolerant/table-1/densenet-100")
    (full,) = (lineage for lineage in whole.study.lineages if lineage.name == "D(0.6, 0.7)")
    part = reduced(whole, until=2, arms=("D(0.6, 0.7)", "D(0.6, 0.7)"))
    (lineage,) = part.lineages
    assert part.reference is None
    assert lineage.generations == full.generations[:3]
    assert addresses(lineage) == addresses(full)[:3]
    assert changes(whole.study, part) == ["1 arm instead of 3", "3 generations instead of 6"]
    assert reduced(whole, until=99) == whole.study
    assert reduced(whole, arms=("baseline",)).reference == "baseline"


def test_changes_are_listed_exactly() -> None:
    poor = find_experiment("tf-kd/table-4/resnet18_mobilenetv2")
    assert changes(poor.study, reduced(poor, scale=0.01)) == [
        "500 training images instead of 50,000",
        "100 test images instead of 10,000",
        "student: 4 epochs instead of 200",
        "De-KD: 4 epochs instead of 200 (student)",
    ]
    whole = find_experiment("logits/same-type/vgg13_vgg8")
    listed = changes(whole.study, reduced(whole, scale=0.001, until=0))
    assert listed[0] == "KD; KD + LS(td); DKD; MLKD; DKD + LS(td): 1 generation instead of 2"
    assert listed[1:] == [
        "100 training images instead of 50,000",
        "100 test images instead of 10,000",
        "8 epochs instead of 240",
    ]


def test_differences_of_every_kind() -> None:
    (lineage,) = reduced(find_experiment("tolerant/table-1/densenet-100"), arms=("baseline",)).lineages
    (only,) = lineage.generations
    other = replace(
        only, model="resnet20", schedule=replace(only.schedule, lr=0.2, nesterov=False, decay=Milestones(at=(0.3,)))
    )
    assert differences(lineage, replace(lineage, generations=(other,))) == (
        "lr 0.2 instead of 0.1",
        "decay Milestones(at=(0.3,), factor=0.1) instead of Milestones(at=(0.5, 0.75), factor=0.1)",
        "nesterov False instead of True",
        "model resnet20 instead of densenet_bc_100_12",
    )
    assert differences(lineage, replace(lineage, data=replace(lineage.data, name="cifar10"))) == (
        "cifar10 instead of cifar100",
    )
    padded = replace(lineage, views=replace(lineage.views, padding=2))
    assert differences(lineage, padded) == (f"{padded.views} instead of {lineage.views}",)
    assert differences(lineage, lineage) == ()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"scale": 0.0}, "scale must be in (0, 1], not 0"),
        ({"scale": 1.5}, "scale must be in (0, 1], not 1.5"),
        ({"until": -1}, "until must be the number of a generation, counted from 0, not -1"),
        ({"arms": ("basline",)}, "unknown arm of crd/same-type/resnet56_resnet20 'basline': choose from AB"),
        (
            {"arms": ("FT",)},
            "crd/same-type/resnet56_resnet20 has no arm 'FT': tutelage has no factor transfer",
        ),
    ],
)
def test_a_part_that_does_not_exist(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        reduced(find_experiment("crd/same-type/resnet56_resnet20"), **arguments)
