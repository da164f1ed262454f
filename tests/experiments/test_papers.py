"""What the papers' experiments train: schedules, losses, values by pair, and which models they share."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from tests.recipes.test_addresses import addresses
from tutelage.experiments import find_experiment
from tutelage.experiments.papers import born_again as born_again_paper
from tutelage.experiments.spec import Experiment
from tutelage.lineage import Lineage
from tutelage.objective import Signals
from tutelage.training import Milestones, Schedule, WarmUp


def arms(name: str) -> dict[str, Lineage]:
    return {lineage.name: lineage for lineage in find_experiment(name).study.lineages}


def last_schedule(name: str, arm: str) -> Schedule:
    return arms(name)[arm].generations[-1].schedule


def test_the_schedule_of_the_tolerant_teachers() -> None:
    expected = Schedule(epochs=300, batch_size=64, lr=0.1, decay=Milestones(at=(0.5, 0.75)), weight_decay=1e-4)
    for network, model in (("densenet-100", "densenet_bc_100_12"), ("densenet-190", "densenet_bc_190_40")):
        densenet = arms(f"tolerant/table-1/{network}")
        assert list(densenet) == ["baseline", "D(0.6, 0.6)", "D(0.6, 0.7)"]
        generations = [generation for lineage in densenet.values() for generation in lineage.generations]
        assert {(one.schedule, one.model) for one in generations} == {(expected, model)}
        assert expected.nesterov
        objectives = [str(one.objective) for one in densenet["D(0.6, 0.7)"].generations]
        assert objectives[0] == "0.428571 H(labels, student) + 0.571429 D_5(student)"
        assert set(objectives[1:]) == {"0.3 H(labels, student) + 0.7 KL(teacher ‖ student)"}
        assert len(objectives) == 6
    resnet = arms("tolerant/figure-2/resnet-56")
    assert {one.schedule for lineage in resnet.values() for one in lineage.generations} == {Schedule()}
    assert str(resnet["D(1.0, 0.5)"].generations[5].objective) == "0.5 H(labels, student) + 0.5 KL(teacher ‖ student)"


def test_the_patriarch_is_trained_once_for_both_weights() -> None:
    densenet = arms("tolerant/table-1/densenet-100")
    first = addresses(densenet["D(0.6, 0.6)"])
    second = addresses(densenet["D(0.6, 0.7)"])
    assert first[0] == second[0] != addresses(densenet["baseline"])[0]
    assert not set(first[1:]) & set(second[1:])


@pytest.mark.parametrize(
    ("experiment", "arm", "place", "batch_size"),
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
def test_the_schedule_of_the_teacher_free_framework(experiment: str, arm: str, place: int, batch_size: int) -> None:
    assert arms(experiment)[arm].generations[place].schedule == Schedule(
        epochs=200,
        batch_size=batch_size,
        lr=0.1 * batch_size / 128,
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
    assert find_experiment("tf-kd/table-1/resnet18_mobilenetv2").study.seeds == (0, 1, 2)


def test_a_poor_teacher_is_cut_off_and_its_student_is_not() -> None:
    for teacher, epochs in (("resnet18", 1), ("resnet50", 50), ("resnext29", 50)):
        poor, student = arms(f"tf-kd/table-4/{teacher}_mobilenetv2")["De-KD"].generations
        assert (poor.schedule.epochs, student.schedule.epochs) == (epochs, 200)
        assert poor.schedule.decay.share(0.999) == pytest.approx(1.0 if epochs > 1 else 0.999)
        assert poor.schedule.decay.share(0.5 / epochs) == pytest.approx(0.5)


def test_arms_of_a_pair_share_models() -> None:
    both = arms("tf-kd/table-1/resnet18_mobilenetv2")
    assert addresses(both["normal KD"])[0] == addresses(both["teacher"])[0]
    assert addresses(both["Re-KD"])[0] == addresses(both["student"])[0]
    pair = arms("crd/same-type/resnet56_resnet20")
    first = {addresses(lineage)[0] for name, lineage in pair.items() if name != "student"}
    assert first == {addresses(pair["teacher"])[0]}


def test_the_schedule_of_the_benchmark() -> None:
    steps = Milestones(at=(0.625, 0.75, 0.875), factor=0.1)
    expected = Schedule(epochs=240, batch_size=64, lr=0.05, decay=steps, nesterov=False, weight_decay=5e-4)
    assert last_schedule("crd/same-type/resnet56_resnet20", "AT") == expected
    for student in ("vgg13_mobilenetv2", "resnet32x4_shufflenetv1", "resnet32x4_shufflenetv2"):
        pair = arms(f"crd/different-type/{student}")
        assert pair["KD"].generations[0].schedule == expected
        assert (
            pair["KD"].generations[1].schedule
            == replace(expected, lr=0.01)
            == pair["student"].generations[0].schedule
        )
    two_stages = last_schedule("crd/same-type/resnet56_resnet20", "FSP")
    assert [two_stages.decay.share(epoch / 270) for epoch in (179, 180, 210, 240)] == pytest.approx(
        [1, 0.1, 0.01, 0.001]
    )
    assert replace(two_stages, epochs=240, decay=steps) == expected
    assert last_schedule("logits/same-type/vgg13_vgg8", "DKD") == expected
    mlkd = last_schedule("logits/different-type/resnet32x4_shufflenetv2", "MLKD")
    assert (mlkd.epochs, mlkd.lr) == (960, 0.01)
    assert [mlkd.decay.share(epoch / 960) for epoch in (149, 150, 180, 210)] == pytest.approx([1, 0.1, 0.01, 0.001])
    mlkd = last_schedule("logits/same-type/vgg13_vgg8", "MLKD")
    assert (mlkd.epochs, mlkd.lr) == (480, 0.025)


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
    name = "logits/same-type/resnet110_resnet20"
    pair = arms(name)
    assert "standardized(12 4^2 KL(teacher@4 ‖ student@4))" in str(pair["KD + LS(td)"].generations[1].objective)
    assert "2^2 (TCKD + 2 NCKD)" in str(pair["DKD + LS(td)"].generations[1].objective)
    dkd = arms("logits/same-type/vgg13_vgg8")["DKD"].generations[1]
    assert "4^2 (TCKD + 6 NCKD)" in str(dkd.objective)
    borrowed = {remark.arms for remark in find_experiment(name).unknowns if "DKD's weight" in remark.text}
    assert borrowed == {("DKD",)}


def test_born_again_wide_resnets() -> None:
    entries = {entry.name: entry for entry in born_again_paper.experiments() if isinstance(entry, Experiment)}
    assert len(entries) == 8
    for table, data, densenet_student in (("1", "cifar10", False), ("3", "cifar100", True)):
        experiment = entries[f"born-again/table-{table}/wrn-28-2"]
        (lineage,) = experiment.study.lineages
        assert lineage.data.name == data
        assert [str(generation.objective) for generation in lineage.generations] == [
            "H(labels, student)",
            "KL(teacher ‖ student)",
        ]
        assert {generation.schedule.epochs for generation in lineage.generations} == {200}
        assert [(link.place, link.cell.column) for link in experiment.links] == [(0, "teacher"), (1, "BAN")]
        assert bool(experiment.unavailable_arms) is densenet_student


def test_what_is_known_of_a_paper_is_not_called_unknown() -> None:
    for network in ("densenet-100", "densenet-190"):
        experiment = find_experiment(f"tolerant/table-1/{network}")
        assert not [remark.text for remark in experiment.unknowns if "decay" in remark.text]
        schedules = {one.schedule for lineage in experiment.study.lineages for one in lineage.generations}
        assert {(one.momentum, one.nesterov, one.weight_decay) for one in schedules} == {(0.9, True, 1e-4)}
    sweep = " ".join(remark.text for remark in find_experiment("tolerant/figure-2/resnet-20").unknowns)
    assert "the text says 0.5" in sweep
    assert "as the text says" not in sweep
    for name in ("crd/different-type/vgg13_mobilenetv2", "crd/same-type/resnet56_resnet20"):
        benchmark = find_experiment(name)  # its code stores the best epoch and reports the last
        texts = [remark.text for remark in (*benchmark.differences, *benchmark.unknowns)]
        assert not [text for text in texts if "epoch is measured" in text or "learning rate of" in text]
    assert any("keeps the best epoch" in one.text for one in find_experiment("tf-kd/table-9/resnet18").differences)
