"""Distillation in all its mixtures, down to the objectives and who teaches whom."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tutelage import storage
from tutelage.analysis import load_results
from tutelage.data import DataConfig, Normalization
from tutelage.data.load import load
from tutelage.lineage import Lineage
from tutelage.recipes import call
from tutelage.study import Execution, Study, run

QUICK = {"train_size": 20, "epochs": 1}
PLAIN = "0.1 H(labels, student) + 0.9 4^2 KL(teacher@4 ‖ student@4)"


def lineage(**arguments: object) -> Lineage:
    return call("distill", **arguments)


def objective(**arguments: object) -> str:
    return str(lineage(**arguments).generations[-1].objective)


def test_a_chain_of_assistants() -> None:
    chain = lineage(teacher=("resnet20",), assistants=("resnet14", "resnet8"))
    assert [(g.name, g.model, g.teachers) for g in chain.generations] == [
        ("teacher", "resnet20", ()),
        ("assistant 1", "resnet14", (0,)),
        ("assistant 2", "resnet8", (1,)),
        ("student", "resnet8", (2,)),
    ]


def test_an_ensemble_of_teachers_with_shares() -> None:
    chain = lineage(teacher=("resnet20", "resnet14"), teacher_shares=(3.0, 1.0), assistants=("resnet14",))
    assert [(g.name, g.teachers, g.teacher_shares) for g in chain.generations] == [
        ("teacher 1", (), ()),
        ("teacher 2", (), ()),
        ("assistant 1", (0, 1), (3.0, 1.0)),
        ("student", (2,), ()),
    ]
    with pytest.raises(ValueError, match="2 teachers and 1 shares"):
        lineage(teacher=("resnet20", "resnet14"), teacher_shares=(1.0,))
    with pytest.raises(ValueError, match="must be above 0"):
        lineage(teacher=("resnet20", "resnet14"), teacher_shares=(1.0, -1.0))


@pytest.mark.parametrize(
    ("arguments", "formula"),
    [
        ({}, PLAIN),
        ({"teacher_weight": 0.5}, "0.5 H(labels, student) + 0.5 4^2 KL(teacher@4 ‖ student@4)"),
        ({"temperature": 2.0}, "0.1 H(labels, student) + 0.9 2^2 KL(teacher@2 ‖ student@2)"),
        ({"method": "born_again"}, "KL(teacher ‖ student)"),
        ({"method": "tf_kd:teacher_weight=0.6"}, "0.4 H(labels, student) + 0.6 KL(teacher@20 ‖ student@20)"),
        ({"adjustment": "shift"}, "0.1 H(labels, student) + 0.9 4^2 KL(shifted(teacher@4) ‖ student@4)"),
        ({"adjustment": "smooth"}, "0.1 H(labels, student) + 0.9 4^2 KL(smoothed(teacher@4, 0.1) ‖ student@4)"),
        (
            {"add": ("attention_transfer:weight=1000", "confidence_penalty")},
            f"{PLAIN} + 1000 attention_transfer(stage1, stage2, stage3) - 0.1 H(student)",
        ),
        (
            {"add": ("attention_transfer:layers=stage1+stage2/stage3",)},
            f"{PLAIN} + 1000 attention_transfer(stage1, stage2/stage3)",
        ),
    ],
)
def test_formulas(arguments: dict[str, object], formula: str) -> None:
    assert objective(**arguments) == formula


@pytest.mark.parametrize("rule", ["flsw", "cwsm"])
@pytest.mark.parametrize("method", ["distillation", "decoupled", "logit_standardization"])
def test_a_temperature_rule_applies_to_any_logit_term(method: str, rule: str) -> None:
    found = objective(method=method, temperature_rule=rule, bias=3.0)
    assert "τ = max(1, " in found
    assert "3(mean w - w)" in found


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"method": "destillation"}, "unknown method 'destillation': did you mean distillation"),
        ({"method": "distillation:temprature=3"}, "unknown argument of distillation 'temprature'"),
        ({"method": "distillation:temperature=warm"}, "distillation:temperature must be like 4.0, not 'warm'"),
        ({"add": ("attention",)}, "unknown method 'attention': did you mean attention_transfer"),
        ({"method": "born_again", "adjustment": "shift", "temperature_rule": "flsw"}, None),
        ({"method": "label_smoothing"}, "has a teacher, but"),
        ({"method": "labels_only", "adjustment": "shift"}, "has a target of the teacher's that could be changed"),
        ({"teacher_weights": ("a", "b")}, "1 teachers need 1 files of weights, not 2"),
        ({"teacher": ("resnet21",)}, "unknown model 'resnet21'"),
    ],
)
def test_requests_that_do_not_fit(arguments: dict[str, object], message: str | None) -> None:
    if message is None:
        assert "shifted(teacher@τ)" in objective(**arguments)
        return
    with pytest.raises(ValueError, match=message.replace("(", r"\(")):
        lineage(**arguments)


def test_a_pretrained_teacher_is_measured_and_not_trained(tmp_path: Path) -> None:
    execution = Execution(device="cpu", precision="fp32", threads=1)
    first = Study(lineages=(lineage(teacher=("resnet14",), **QUICK),))
    list(run(first, runs=tmp_path, execution=execution))
    trained = load_results(first.name, tmp_path).generations[0].models[0]
    loose = tmp_path / "teacher.safetensors"
    storage.write_bytes(loose, (trained.folder / "weights.safetensors").read_bytes())
    for weights in (loose, trained.folder):
        study = Study(lineages=(lineage(teacher=("resnet14",), teacher_weights=(str(weights),), **QUICK),))
        list(run(study, runs=tmp_path, execution=execution))
        teacher = load_results(study.name, tmp_path).generations[0].models[0]
        assert teacher.address != trained.address
        assert teacher.metrics() == []
        assert teacher.evaluation() == trained.evaluation()
    wrong = Study(lineages=(lineage(teacher=("resnet8",), teacher_weights=(str(loose),), **QUICK),))
    with pytest.raises(ValueError, match=r"weights of .*teacher.safetensors do not fit the network"):
        list(run(wrong, runs=tmp_path, execution=execution))


@pytest.mark.fault(33, 34)
def test_a_pretrained_teacher_keeps_its_normalization_and_must_know_the_classes(tmp_path: Path) -> None:
    execution = Execution(device="cpu", precision="fp32", threads=1)
    first = Study(lineages=(call("baseline", model="resnet8", **QUICK),))
    list(run(first, runs=tmp_path, execution=execution))
    trained = load_results(first.name, tmp_path).generations[0].models[0]
    config = json.loads((trained.folder / "config.json").read_bytes())
    assert Normalization.of(load(DataConfig(train_size=300), tmp_path).train.images) != Normalization(
        tuple(config["normalization"]["mean"]), tuple(config["normalization"]["std"])
    )
    student = lineage(teacher=("resnet8",), teacher_weights=(str(trained.folder),), train_size=300, epochs=1)
    study = Study(lineages=(student,))
    list(run(study, runs=tmp_path, execution=execution))
    teacher = load_results(study.name, tmp_path).generations[0].models[0]
    assert json.loads((teacher.folder / "config.json").read_bytes())["normalization"] == config["normalization"]

    names = config["class_names"]
    weights = (trained.folder / "weights.safetensors").read_bytes()
    cases = ((names[::-1], "the data's in another order"), ([*names[:-1], "ten"], "not those of the data"))
    for wrong, reason in cases:
        claims = json.dumps({**config, "class_names": wrong}).encode()
        storage.commit(tmp_path / "other", {"weights.safetensors": weights, "config.json": claims})
        other = Study(lineages=(lineage(teacher=("resnet8",), teacher_weights=(str(tmp_path / "other"),), **QUICK),))
        with pytest.raises(ValueError, match=reason):
            list(run(other, runs=tmp_path / "none", execution=execution))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"add": ("attention_transfer:layers=stage9",)}, r"generation 'student' .*unknown module 'stage9'"),
        ({"add": ("fitnets:layers=stage2/stage7",)}, r"unknown module 'stage7'"),
        ({"teacher": ("wrn_16_2",), "add": ("flow",)}, r"generation 'student'"),
    ],
)
def test_what_cannot_work_fails_before_anything_is_trained(
    tmp_path: Path, arguments: dict[str, object], message: str
) -> None:
    study = Study(lineages=(lineage(**arguments, **QUICK),))
    with pytest.raises(ValueError, match=message):
        list(run(study, runs=tmp_path / "runs", execution=Execution(device="cpu", precision="fp32", threads=1)))
    assert not (tmp_path / "runs").exists()


def test_an_ensemble_of_teachers_has_no_features() -> None:
    with pytest.raises(ValueError, match="an ensemble of teachers has none"):
        lineage(teacher=("resnet20", "resnet14"), add=("attention_transfer",))
