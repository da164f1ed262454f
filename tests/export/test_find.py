"""Which model a name refers to."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.export.conftest import SCHEDULE, pair, train
from tutelage import storage
from tutelage.analysis import load_results
from tutelage.export import find_model
from tutelage.lineage import Generation, Lineage
from tutelage.methods.hinton import labels_only
from tutelage.study import Study


def test_every_form_of_a_name(runs: Path, name: str) -> None:
    big, small = load_results(name, runs).generations
    models = {
        name: small.models[0],
        f"{name}:small one": small.models[0],
        f"{name}:small one:7": small.models[7],
        f"{name}:0": big.models[0],
        f"{name}:big one:7": big.models[7],
        big.models[7].address: big.models[7],
        big.models[7].address[:12]: big.models[7],
        str(big.models[7].folder): big.models[7],
    }
    for words, model in models.items():
        assert find_model(words, runs).model.address == model.address, words
    assert [sibling.address for sibling in find_model(name, runs).siblings] == [
        m.address for m in small.models.values()
    ]
    assert find_model(big.models[0].address, runs).siblings == ()


def test_only_models_in_the_runs_folder_are_trusted(runs: Path, name: str, tmp_path: Path) -> None:
    model = find_model(name, runs).model
    assert find_model(str(model.folder), runs).trusted
    elsewhere = shutil.copytree(model.folder, tmp_path / model.address)
    assert not find_model(str(elsewhere), runs).trusted


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("{name}x", "unknown run or model '{name}x': did you mean {name}?"),
        ("ffffffffffff", "unknown run or model 'ffffffffffff'"),
        ("{name}:big two", "unknown generation of {name} 'big two': did you mean big one?"),
        ("{name}:2", "unknown generation of {name} '2': choose from big one, small one"),
        ("{name}:small one:1", "{name} has no seed '1': choose from 0, 7"),
        ("{name}:small one:0:0", "expected RUN:generation:seed"),
        ("{runs}", "is not the folder of a model"),
        ("{runs}/models", "is not the folder of a model"),
        ("{runs}/studies/{name}", "is not the folder of a model: it has no config.json"),
    ],
)
def test_words_that_name_nothing(runs: Path, name: str, words: str, message: str) -> None:
    with pytest.raises(ValueError, match=r".") as caught:
        find_model(words.format(name=name, runs=runs), runs)
    assert message.format(name=name, runs=runs) in str(caught.value)


def test_the_beginning_of_several_addresses(tmp_path: Path) -> None:
    for address in ("abcd01", "abcd02"):
        (tmp_path / "models" / address).mkdir(parents=True)
    with pytest.raises(ValueError, match="2 models have addresses that begin with 'abcd': abcd01, abcd02"):
        find_model("abcd", tmp_path)


def test_no_runs_at_all(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"no model 'mine': it is not a folder, and .*empty holds no runs"):
        find_model("mine", tmp_path / "empty")


def test_a_model_that_is_not_finished(runs: Path, name: str, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(runs, tmp_path / "runs"))
    second = load_results(name, copy).generations[1].models[7]
    storage.remove(second.folder)
    with pytest.raises(ValueError, match="has not finished training with seed 7; finished seeds: 0"):
        find_model(f"{name}:small one:7", copy)
    assert len(find_model(name, copy).siblings) == 1
    with storage.lock(second.folder), pytest.raises(ValueError, match="has not finished training"):
        find_model(second.address, copy)


def test_a_model_that_was_damaged(runs: Path, name: str, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(runs, tmp_path / "runs"))
    weights = find_model(name, copy).model.folder / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])
    with pytest.raises(storage.Damaged, match=r"weights\.safetensors has \d+ bytes, its manifest says"):
        find_model(name, copy)


def test_a_study_of_several_lineages(runs: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(runs, tmp_path / "runs"))
    alone = Lineage(
        name="alone",
        data=pair().data,
        views=pair().views,
        generations=(Generation(name="big one", model="resnet14", objective=labels_only(), schedule=SCHEDULE),),
    )
    study = Study(lineages=(pair(), alone), seeds=(0,))
    train(study, copy)
    small = find_model(f"{study.name}:small one", copy)
    assert small.model.config()["place"] == 1
    assert find_model(f"{study.name}:pair/small one", copy) == small
    for words in (study.name, f"{study.name}:big one"):
        with pytest.raises(ValueError, match=rf"has several lineages, choose from .*{study.name}:alone/big one"):
            find_model(words, copy)
