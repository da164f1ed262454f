"""The experiments of the papers: schedules, links to printed numbers, what is left out, and how they shrink."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from tests.functional.inputs import repeatable
from tests.recipes.test_addresses import addresses
from tutelage import serialization
from tutelage.data.load import names as data_names
from tutelage.experiments import born_again as ban
from tutelage.experiments import experiments, find, left_out
from tutelage.experiments.catalog import _all
from tutelage.experiments.scale import changes, differences, reduced
from tutelage.experiments.spec import Experiment, LeftOut
from tutelage.lineage import Lineage
from tutelage.models.build import build
from tutelage.models.build import names as model_names
from tutelage.models.feature_hooks import resolve
from tutelage.objective import Signals
from tutelage.published import cells
from tutelage.training import Milestones, Schedule, WarmUp

EXPERIMENTS = experiments()
every_experiment = pytest.mark.parametrize("name", EXPERIMENTS)


@pytest.fixture(autouse=True)
def no_data_on_disk(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TUTELAGE_DATA", str(tmp_path / "nothing here"))


def arms(name: str) -> dict[str, Lineage]:
    return {lineage.name: lineage for lineage in find(name).study.lineages}


def last(name: str, arm: str) -> Schedule:
    return arms(name)[arm].generations[-1].schedule


@every_experiment
def test_a_name_leads_to_it_and_its_study_goes_to_json_and_back(name: str) -> None:
    experiment = find(name)
    assert re.fullmatch(r"[a-z0-9-]+/[a-z0-9-]+/[a-z0-9_-]+", name)
    assert experiment.name == name
    assert experiment.study.reference in {None, *arms(name)}
    assert experiment.study.name.startswith(re.sub(r"[^A-Za-z0-9_]+", "-", name)[:40])
    assert (
        serialization.from_json(json.loads(json.dumps(serialization.to_json(experiment.study)))) == experiment.study
    )


@every_experiment
def test_links_lead_from_generations_to_printed_numbers_each_once(name: str) -> None:
    experiment = find(name)
    printed = set(cells())
    assert all(link.cell in printed for link in experiment.links)
    assert len({link.cell for link in experiment.links}) == len(experiment.links)
    assert len({(link.arm, link.place, link.ensemble) for link in experiment.links}) == len(experiment.links)
    for link in experiment.links:
        assert 0 <= link.place < len(arms(name)[link.arm].generations)
        assert link.place > 0 or not link.ensemble
    if not experiment.links:
        assert name.startswith(("tolerant/figure-2/", "preparing-lessons/"))


LINKED = {
    "tolerant/table-1/": ("1805.05551", "1", set()),
    "tf-kd/table-1/": ("1909.11723", "1", set()),
    "tf-kd/table-2/": ("1909.11723", "2", {"ResNet18, plain CNN", "MobileNetV2, plain CNN"}),
    "tf-kd/table-4/": ("1909.11723", "4", set()),
    "tf-kd/table-5/": ("1909.11723", "5", set()),
    "tf-kd/table-9/": ("1909.11723", "9", set()),
    "crd/same-type/": ("1910.10699", "same type", {"FT", "CRD"}),
    "crd/different-type/": ("1910.10699", "different type", {"FT", "CRD"}),
    "logits/same-type/": ("2403.01427", "same type", {"CTKD", "CTKD + LS(td)", "MLKD + LS(td)", "KD + DOT"}),
    "logits/different-type/": ("2403.01427", "different type", {"CTKD", "CTKD + LS(td)", "MLKD + LS(td)"}),
}


@pytest.mark.parametrize("start", LINKED)
def test_every_printed_number_of_a_table_has_its_arm(start: str) -> None:
    paper, table, not_here = LINKED[start]
    linked = {link.cell for name in EXPERIMENTS if name.startswith(start) for link in find(name).links}
    missing = {one for one in cells(paper, table) if one not in linked and one.row not in not_here}
    gains = {one for one in missing if one.metric.endswith("gain, points")}
    assert {(one.row, one.column) for one in missing - gains} <= {("AB", "resnet32x4 to ShuffleNetV2")}


def test_dkd_and_dist_stand_beside_logit_standardization() -> None:
    linked = {link.cell for name in EXPERIMENTS if name.startswith("logits/") for link in find(name).links}
    for paper in ("2203.08679", "2205.10536"):
        assert {one for one in cells(paper) if one.table != "ImageNet"} <= linked


def test_the_schedule_of_the_tolerant_teachers() -> None:
    wanted = Schedule(epochs=300, batch_size=64, lr=0.1, decay=Milestones(at=(0.5, 0.75)), weight_decay=1e-4)
    for network, model in (("densenet-100", "densenet_bc_100_12"), ("densenet-190", "densenet_bc_190_40")):
        found = arms(f"tolerant/table-1/{network}")
        assert list(found) == ["baseline", "D(0.6, 0.6)", "D(0.6, 0.7)"]
        assert {(one.schedule, one.model) for line in found.values() for one in line.generations} == {(wanted, model)}
        assert wanted.nesterov
        objectives = [str(one.objective) for one in found["D(0.6, 0.7)"].generations]
        assert objectives[0] == "0.428571 H(labels, student) + 0.571429 D_5(student)"
        assert set(objectives[1:]) == {"0.3 H(labels, student) + 0.7 KL(teacher ‖ student)"}
        assert len(objectives) == 6
    resnet = arms("tolerant/figure-2/resnet-56")
    assert {one.schedule for line in resnet.values() for one in line.generations} == {Schedule()}
    assert str(resnet["D(1.0, 0.5)"].generations[5].objective) == "0.5 H(labels, student) + 0.5 KL(teacher ‖ student)"


def test_the_patriarch_is_trained_once_for_both_weights() -> None:
    found = arms("tolerant/table-1/densenet-100")
    first, second = addresses(found["D(0.6, 0.6)"]), addresses(found["D(0.6, 0.7)"])
    assert first[0] == second[0] != addresses(found["baseline"])[0]
    assert not set(first[1:]) & set(second[1:])


@pytest.mark.parametrize(
    ("experiment", "arm", "place", "batch"),
    [
        ("tf-kd/table-1/resnet50_mobilenetv2", "teacher", 0, 64),
        ("tf-kd/table-1/resnet50_mobilenetv2", "Re-KD", 1, 128),
        ("tf-kd/table-1/resnet50_mobilenetv2", "student", 0, 128),
        ("tf-kd/table-1/resnext29_resnet18", "Re-KD", 1, 64),
        ("tf-kd/table-5/densenet121", "baseline", 0, 128),
        ("tf-kd/table-5/densenet121", "Tf-KD_self", 1, 100),
        ("tf-kd/table-9/googlenet", "Tf-KD_reg", 0, 64),
    ],
)
def test_the_schedule_of_the_teacher_free_framework(experiment: str, arm: str, place: int, batch: int) -> None:
    assert arms(experiment)[arm].generations[place].schedule == Schedule(
        epochs=200,
        batch_size=batch,
        lr=0.1 * batch / 128,
        decay=WarmUp(then=Milestones(at=(0.3, 0.6, 0.8), factor=0.2), over=0.005),
        momentum=0.9,
        nesterov=False,
        weight_decay=5e-4,
    )


def test_the_losses_of_the_teacher_free_framework() -> None:
    both = arms("tf-kd/table-1/resnet18_mobilenetv2")
    assert [str(both[arm].generations[1].objective) for arm in ("normal KD", "Re-KD")] == [
        "0.05 H(labels, student) + 0.95 20^2 1/K KL(teacher@20 ‖ student@20)",
        "0.4 H(labels, student) + 0.6 20^2 1/K KL(teacher@20 ‖ student@20)",
    ]
    assert [one.model for one in both["Re-KD"].generations] == ["mobilenet_v2", "resnet18"]
    alone = arms("tf-kd/table-5/resnet18")["Tf-KD_self"].generations
    assert str(alone[1].objective) == "0.05 H(labels, student) + 47.5 6^2 1/K KL(teacher@6 ‖ student@6)"
    virtual = arms("tf-kd/table-9/resnet18")
    assert "10 1/K KL(softmax(virtual(0.99)/20) ‖ student)" in str(virtual["Tf-KD_reg"].generations[0].objective)
    assert virtual["normal KD"].generations[0].model == "resnet50"
    assert find("tf-kd/table-1/resnet18_mobilenetv2").study.seeds == (0, 1, 2)


def test_a_poor_teacher_is_cut_off_and_its_pupil_is_not() -> None:
    for teacher, epochs in (("resnet18", 1), ("resnet50", 50), ("resnext29", 50)):
        poor, student = arms(f"tf-kd/table-4/{teacher}_mobilenetv2")["De-KD"].generations
        assert (poor.schedule.epochs, student.schedule.epochs) == (epochs, 200)
        assert poor.schedule.decay.share(0.999) == pytest.approx(1.0 if epochs > 1 else 0.999)
        assert poor.schedule.decay.share(0.5 / epochs) == pytest.approx(0.5)


def test_what_is_trained_twice_in_a_pair_is_one_model() -> None:
    found = arms("tf-kd/table-1/resnet18_mobilenetv2")
    assert addresses(found["normal KD"])[0] == addresses(found["teacher"])[0]
    assert addresses(found["Re-KD"])[0] == addresses(found["student"])[0]
    pair = arms("crd/same-type/resnet56_resnet20")
    first = {addresses(line)[0] for name, line in pair.items() if name != "student"}
    assert first == {addresses(pair["teacher"])[0]}


def test_the_schedule_of_the_benchmark() -> None:
    steps = Milestones(at=(0.625, 0.75, 0.875), factor=0.1)
    wanted = Schedule(epochs=240, batch_size=64, lr=0.05, decay=steps, nesterov=False, weight_decay=5e-4)
    assert last("crd/same-type/resnet56_resnet20", "AT") == wanted
    for student in ("vgg13_mobilenetv2", "resnet32x4_shufflenetv1", "resnet32x4_shufflenetv2"):
        pair = arms(f"crd/different-type/{student}")
        assert pair["KD"].generations[0].schedule == wanted
        assert (
            pair["KD"].generations[1].schedule == replace(wanted, lr=0.01) == pair["student"].generations[0].schedule
        )
    two_stages = last("crd/same-type/resnet56_resnet20", "FSP")
    assert [two_stages.decay.share(epoch / 270) for epoch in (179, 180, 210, 240)] == pytest.approx(
        [1, 0.1, 0.01, 0.001]
    )
    assert replace(two_stages, epochs=240, decay=steps) == wanted
    assert last("logits/same-type/vgg13_vgg8", "DKD") == wanted
    mlkd = last("logits/different-type/resnet32x4_shufflenetv2", "MLKD")
    assert (mlkd.epochs, mlkd.lr) == (960, 0.01)
    assert [mlkd.decay.share(epoch / 960) for epoch in (149, 150, 180, 210)] == pytest.approx([1, 0.1, 0.01, 0.001])
    assert (last("logits/same-type/vgg13_vgg8", "MLKD").epochs, last("logits/same-type/vgg13_vgg8", "MLKD").lr) == (
        480,
        0.025,
    )


def test_two_stage_methods_learn_without_labels_for_30_epochs_then_with_them_alone() -> None:
    pair = arms("crd/same-type/resnet56_resnet20")
    for arm, term in (("AB", "boundary"), ("FSP", "flow")):
        (first, labels) = pair[arm].generations[1].objective.terms
        assert (first.name, labels.name) == (f"first/{term}", "then/labels")
        weights = [
            [term.by(Signals(student_logits=torch.zeros(1, 2), labels=torch.zeros(1).long(), progress=epoch / 270))]
            for epoch in (29.999, 30.0)
            for term in (first, labels)
        ]
        assert weights == [[1.0], [0.0], [0.0], [1.0]]
    assert pair["AT"].generations[1].schedule.epochs == 240
    assert pair["AB"].generations[0].schedule.epochs == 240


def test_the_values_chosen_for_each_pair() -> None:
    found = arms("logits/same-type/resnet110_resnet20")
    assert "standardized(12 4^2 KL(teacher@4 ‖ student@4))" in str(found["KD + LS(td)"].generations[1].objective)
    assert "2^2 (TCKD + 2 NCKD)" in str(found["DKD + LS(td)"].generations[1].objective)
    dkd = arms("logits/same-type/vgg13_vgg8")["DKD"].generations[1]
    assert "4^2 (TCKD + 6 NCKD)" in str(dkd.objective)
    borrowed = {one.arms for one in find("logits/same-type/resnet110_resnet20").unknown if "DKD's weight" in one.text}
    assert borrowed == {("DKD",)}


def _networks() -> Iterator[tuple[str, str]]:
    for name, experiment in EXPERIMENTS.items():
        for line in experiment.study.lineages:
            for generation in line.generations:
                if generation.objective.teacher_layers:
                    teacher = line.generations[generation.teachers[0]].model
                    yield from ((generation.model, layer) for layer in generation.objective.student_layers)
                    yield from ((teacher, layer) for layer in generation.objective.teacher_layers)
                assert generation.model in model_names(), name


def test_every_layer_exists() -> None:
    asked: dict[str, set[str]] = {}
    for network, layer in _networks():
        asked.setdefault(network, set()).add(layer)
    assert len(asked) >= 14
    for network, layers in asked.items():
        with torch.device("meta"):
            made = build(network, 100, 3)
        for layer in layers:
            assert isinstance(resolve(made, layer), nn.Module)


def test_what_is_left_out_is_not_there() -> None:
    for name, reason in left_out().items():
        assert name not in EXPERIMENTS
        network = re.search(r"the network (.+), which tutelage does not have", reason)
        images = re.search(r"the images of (\S+);", reason)
        if network:
            assert network[1] not in model_names()
        elif images:
            assert images[1].lower().replace("-", "") not in data_names()
        else:
            assert reason.startswith(("it needs the optimizer Adam", "it needs a language model"))
        with pytest.raises(ValueError, match=re.escape(f"experiment '{name}' cannot be run: {reason}")):
            find(name)
    assert {"tolerant/table-2/resnet18", "tf-kd/table-3/resnet50_resnet18", "born-again/table-6/lstm"} <= set(
        left_out()
    )


def test_born_again_wide_resnets() -> None:
    found = {one.name: one for one in ban.made() if isinstance(one, Experiment)}
    assert len(found) == 8
    for table, data, student in (("1", "cifar10", False), ("3", "cifar100", True)):
        one = found[f"born-again/table-{table}/wrn-28-2"]
        (line,) = one.study.lineages
        assert line.data.name == data
        assert [str(generation.objective) for generation in line.generations] == [
            "H(labels, student)",
            "KL(teacher ‖ student)",
        ]
        assert {generation.schedule.epochs for generation in line.generations} == {200}
        assert [(link.place, link.cell.column) for link in one.links] == [(0, "teacher"), (1, "BAN")]
        assert bool(one.left_out) is student


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "tolerant/table-1/densenet-10",
            "did you mean tolerant/table-1/densenet-190 or tolerant/table-1/densenet-100",
        ),
        ("tolerent/table-1/densenet-100", "did you mean tolerant/table-1/densenet-100"),
        ("crd/same-type/resnet56-resnet20", "did you mean crd/same-type/resnet56_resnet20"),
        (
            "tolerant/table-1",
            "tolerant/table-1 is no whole name: tolerant/table-1/densenet-100, tolerant/table-1/densenet",
        ),
        ("tolerant/", "tolerant is no whole name: tolerant/table-1/..., tolerant/figure-2/..., tolerant/table-2/..."),
        ("zzz", "choose from born-again/..., crd/..., logits/..., preparing-lessons/..., tf-kd/..., tolerant/..."),
    ],
)
def test_a_name_that_does_not_exist(name: str, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        find(name)


def test_a_name_is_taken_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ban, "made", lambda: iter([LeftOut(name="tolerant/table-2/resnet18", reason="twice")]))
    _all.cache_clear()
    with pytest.raises(AssertionError, match="two experiments are named tolerant/table-2/resnet18"):
        _all()
    _all.cache_clear()


# How an experiment shrinks

SOME = ("tolerant/table-1/densenet-100", "tf-kd/table-4/resnet18_mobilenetv2", "logits/same-type/vgg13_vgg8")


@repeatable
@given(st.sampled_from(SOME), st.floats(1e-6, 1.0))
def test_what_a_scale_does(name: str, scale: float) -> None:
    experiment = find(name)
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
    assert [line.name for line in study.lineages] == [line.name for line in experiment.study.lineages]


def test_at_full_scale_nothing_changes() -> None:
    for name in SOME:
        assert reduced(find(name)) == find(name).study
        assert changes(find(name).study, find(name).study) == []


def test_arms_and_generations_are_chosen_without_touching_what_stays() -> None:
    whole = find("tolerant/table-1/densenet-100")
    part = reduced(whole, until=2, arms=("D(0.6, 0.7)", "D(0.6, 0.7)"))
    (line,) = part.lineages
    assert part.reference is None
    assert line.generations == arms(whole.name)["D(0.6, 0.7)"].generations[:3]
    assert addresses(line) == addresses(arms(whole.name)["D(0.6, 0.7)"])[:3]
    assert changes(whole.study, part) == ["1 arm instead of 3", "3 generations instead of 6"]
    assert reduced(whole, until=99) == whole.study
    assert reduced(whole, arms=("baseline",)).reference == "baseline"


def test_what_was_changed_is_said_exactly() -> None:
    poor = find("tf-kd/table-4/resnet18_mobilenetv2")
    assert changes(poor.study, reduced(poor, scale=0.01)) == [
        "500 training images instead of 50,000",
        "100 test images instead of 10,000",
        "student: 4 epochs instead of 200",
        "De-KD: 4 epochs instead of 200 (student)",
    ]
    whole = find("logits/same-type/vgg13_vgg8")
    said = changes(whole.study, reduced(whole, scale=0.001, until=0))
    assert said[0] == "KD; KD + LS(td); DKD; MLKD; DKD + LS(td): 1 generation instead of 2"
    assert said[1:] == [
        "100 training images instead of 50,000",
        "100 test images instead of 10,000",
        "8 epochs instead of 240",
    ]


def test_differences_of_every_kind() -> None:
    (line,) = reduced(find("tolerant/table-1/densenet-100"), arms=("baseline",)).lineages
    (only,) = line.generations
    other = replace(
        only, model="resnet20", schedule=replace(only.schedule, lr=0.2, nesterov=False, decay=Milestones(at=(0.3,)))
    )
    assert differences(line, replace(line, generations=(other,))) == (
        "lr 0.2 instead of 0.1",
        "decay Milestones(at=(0.3,), factor=0.1) instead of Milestones(at=(0.5, 0.75), factor=0.1)",
        "nesterov False instead of True",
        "model resnet20 instead of densenet_bc_100_12",
    )
    assert differences(line, replace(line, data=replace(line.data, name="cifar10"))) == (
        "cifar10 instead of cifar100",
    )
    moved = replace(line, views=replace(line.views, padding=2))
    assert differences(line, moved) == (f"{moved.views} instead of {line.views}",)
    assert differences(line, line) == ()


@pytest.mark.parametrize(
    ("given_", "message"),
    [
        ({"scale": 0.0}, "scale is a share in (0, 1], not 0"),
        ({"scale": 1.5}, "scale is a share in (0, 1], not 1.5"),
        ({"until": -1}, "until is the number of a generation, from 0 on, not -1"),
        ({"arms": ("basline",)}, "unknown arm of crd/same-type/resnet56_resnet20 'basline': choose from AB"),
        (
            {"arms": ("FT",)},
            "crd/same-type/resnet56_resnet20 has no arm 'FT': factor transfer is no method of tutelage",
        ),
    ],
)
def test_a_part_that_does_not_exist(given_: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        reduced(find("crd/same-type/resnet56_resnet20"), **given_)


def test_an_experiment_checks_itself() -> None:
    whole = find("tolerant/table-1/densenet-100")
    with pytest.raises(AssertionError):
        replace(whole, links=(replace(whole.links[0], place=1),))
