"""Files of a study whose manifest is right and whose values cannot be: refused by file and by the path in it."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
from tests.conftest import Tried

from tutelage import serialization, storage
from tutelage.lineage import Lineage
from tutelage.recipes import call
from tutelage.study import Failure, Study, load_study, studies
from tutelage.study.files import StudyRecord, load_failures, write_failures, write_study
from tutelage.study.spec import MAX_MODELS

BASELINE: Lineage = call("baseline", epochs=1)


@pytest.fixture
def name(tmp_path: Path) -> str:
    study = Study(lineages=(BASELINE,))
    write_study(StudyRecord(study=study, precision="fp32", fingerprints=("f",), num_classes=(10,)), tmp_path)
    return study.name


WRONG: dict[str, list[Any]] = {
    "precision": ["fp64", "", 1, None],
    "num_classes": [[0], [-1], [], [10, 10], ["10"], [2**63], 10],
    "fingerprints": [[], ["f", "f"], [1], "f"],
    "study.seeds": [[], [-1], [0, 0], [2**63], ["0"], [0.5], list(range(MAX_MODELS + 1)), "0"],
    "study.lineages": [[], None, "x", [None]],
    "study.lineages.0.data.train_size": [0, -1, "20", 1e308],
    "study.lineages.0.data.test_size": [0, -20],
    "study.lineages.0.data.holdout": [-1, None],
    "study.lineages.0.generations": [[], None, [{}]],
    "study.lineages.0.generations.0.teachers": [[0], [-1], [1]],
    "study.lineages.0.generations.0.schedule.epochs": [0, -1, 1e308],
    "study.lineages.0.generations.0.schedule.batch_size": [0, -8],
    "study.lineages.0.views.padding": [-1, "1"],
    "command": [1, None],
    "watch_test": ["yes", 1],
}


@pytest.mark.fault(30)
@pytest.mark.parametrize("path", WRONG)
def test_a_study(path: str, name: str, tmp_path: Path, tried: Tried) -> None:
    folder = tmp_path / "studies" / name
    whole = json.loads((folder / "study.json").read_bytes())
    for value in WRONG[path]:
        tree = copy.deepcopy(whole)
        inner = tree
        *parents, last = (int(key) if key.isdigit() else key for key in path.split("."))
        for key in parents:
            inner = inner[key]
        inner[last] = value
        storage.commit(folder, {"study.json": json.dumps(tree).encode()})
        with pytest.raises(storage.Damaged, match=r"study\.json") as error:
            load_study(name, tmp_path)
        assert len(str(error.value)) < 500, value
    tried(len(WRONG[path]), "wrong values in a study refused")


@pytest.mark.fault(30)
@pytest.mark.parametrize(
    "content",
    [
        {},
        None,
        [None],
        [{"is": "study:Failure"}],
        [{"is": "study:Failure", "seed": -1, "arm": "a", "message": "m"}],
        [{"is": "study:Failure", "seed": 2**63, "arm": "a", "message": "m"}],
        [{"is": "study:Failure", "seed": 0.5, "arm": "a", "message": "m"}],
        [{"is": "study:Failure", "seed": 1, "arm": None, "message": "m"}],
        [{"is": "study:Failure", "seed": 1, "arm": "a", "message": ["m"]}],
        [{"is": "data:DataConfig"}],
    ],
)
def test_failures(content: Any, name: str, tmp_path: Path) -> None:
    (tmp_path / "studies" / name / "failures.json").write_text(json.dumps(content))
    with pytest.raises(storage.Damaged, match=r"failures\.json"):
        load_failures(name, tmp_path)


def test_what_is_right_is_read(name: str, tmp_path: Path) -> None:
    failures = (Failure(seed=0, arm="baseline", message="no room"),)
    write_failures(name, failures, tmp_path)
    assert load_failures(name, tmp_path) == failures
    assert load_study(name, tmp_path).study == Study(lineages=(BASELINE,))


@pytest.mark.fault(30)
@pytest.mark.parametrize("number", [-1, 2**63, 10**400, True, 0.5, "9", None, [1]])
def test_the_number_of_a_study(number: Any, name: str, tmp_path: Path) -> None:
    """It orders the list of runs; the next study has the next number, and that can be stored."""
    folder = tmp_path / "studies" / name
    content = (folder / "study.json").read_bytes()
    storage.commit(folder, {"study.json": content}, {"number": number})
    record = StudyRecord(
        study=Study(lineages=(call("baseline", epochs=2),)), precision="fp32", fingerprints=("f",), num_classes=(10,)
    )
    write_study(record, tmp_path)
    manifest = storage.read_manifest(tmp_path / "studies" / record.study.name)
    assert manifest["note"] == {"number": 1}
    assert studies(tmp_path) == [record.study.name, name]


def test_how_many_models_a_study_may_have() -> None:
    most = Study(lineages=(BASELINE,), seeds=tuple(range(MAX_MODELS)))
    assert len(most.seeds) == MAX_MODELS
    with pytest.raises(
        ValueError, match=r"2 generations with 10001 seeds are 20002 models: a study has at most 20000"
    ):
        Study(lineages=(call("born_again", generations=1),), seeds=tuple(range(10_001)))
    with pytest.raises(ValueError, match=r"each once, not \[0, 0, 1, .*\.\.\.\]$") as error:
        Study(lineages=(BASELINE,), seeds=(0, *range(5000)))
    assert len(str(error.value)) < 200
    assert serialization.digest(most) != serialization.digest(BASELINE)
