"""The catalog of experiments: their names, their links to printed numbers, and what is unavailable."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch
from torch import nn

from tutelage import serialization
from tutelage.data.load import array_names
from tutelage.experiments import experiments, find_experiment, unavailable_experiments
from tutelage.experiments.catalog import _entries
from tutelage.experiments.papers import born_again as born_again_paper
from tutelage.experiments.spec import Unavailable
from tutelage.models.build import build
from tutelage.models.build import names as model_names
from tutelage.models.feature_hooks import resolve
from tutelage.published import cells

EXPERIMENTS = experiments()
every_experiment = pytest.mark.parametrize("name", EXPERIMENTS)


def test_how_many_experiments_each_paper_has() -> None:
    assert Counter(name.partition("/")[0] for name in EXPERIMENTS) == {
        "born-again": 8,
        "crd": 13,
        "logits": 16,
        "preparing-lessons": 1,
        "tf-kd": 28,
        "tolerant": 7,
    }
    assert len(unavailable_experiments()) == 56


@every_experiment
def test_an_experiment_is_found_by_name_and_its_study_goes_to_json_and_back(name: str) -> None:
    experiment = find_experiment(name)
    arms = [lineage.name for lineage in experiment.study.lineages]
    assert re.fullmatch(r"[a-z0-9-]+/[a-z0-9-]+/[a-z0-9_-]+", name)
    assert experiment.name == name
    assert experiment.study.reference in {None, *arms}
    assert experiment.study.name.startswith(re.sub(r"[^A-Za-z0-9_]+", "-", name)[:40])
    assert (
        serialization.from_json(json.loads(json.dumps(serialization.to_json(experiment.study)))) == experiment.study
    )


@every_experiment
def test_each_link_joins_another_generation_to_another_printed_number(name: str) -> None:
    experiment = find_experiment(name)
    generations = {lineage.name: len(lineage.generations) for lineage in experiment.study.lineages}
    printed = set(cells())
    assert all(link.cell in printed for link in experiment.links)
    assert len({link.cell for link in experiment.links}) == len(experiment.links)
    assert len({(link.arm, link.place, link.ensemble) for link in experiment.links}) == len(experiment.links)
    for link in experiment.links:
        assert 0 <= link.place < generations[link.arm]
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
    paper, table, unavailable = LINKED[start]
    linked = {link.cell for name in EXPERIMENTS if name.startswith(start) for link in find_experiment(name).links}
    missing = {one for one in cells(paper, table) if one not in linked and one.row not in unavailable}
    gains = {one for one in missing if one.metric.endswith("gain, points")}
    assert {(one.row, one.column) for one in missing - gains} <= {("AB", "resnet32x4 to ShuffleNetV2")}


def test_dkd_and_dist_stand_beside_logit_standardization() -> None:
    linked = {link.cell for name in EXPERIMENTS if name.startswith("logits/") for link in find_experiment(name).links}
    for paper in ("2203.08679", "2205.10536"):
        assert {one for one in cells(paper) if one.table != "ImageNet"} <= linked


def _networks_and_layers() -> Iterator[tuple[str, str]]:
    for name, experiment in EXPERIMENTS.items():
        for lineage in experiment.study.lineages:
            for generation in lineage.generations:
                if generation.objective.teacher_layers:
                    teacher = lineage.generations[generation.teachers[0]].model
                    yield from ((generation.model, layer) for layer in generation.objective.student_layers)
                    yield from ((teacher, layer) for layer in generation.objective.teacher_layers)
                assert generation.model in model_names(), name


def test_every_layer_exists() -> None:
    layers_by_model: dict[str, set[str]] = {}
    for model, layer in _networks_and_layers():
        layers_by_model.setdefault(model, set()).add(layer)
    assert len(layers_by_model) >= 14
    for model, layers in layers_by_model.items():
        with torch.device("meta"):
            network = build(model, 100, 3)
        for layer in layers:
            assert isinstance(resolve(network, layer), nn.Module)


def test_unavailable_experiments_need_what_is_missing() -> None:
    for name, reason in unavailable_experiments().items():
        assert name not in EXPERIMENTS
        network = re.search(r"the network (.+), which tutelage does not have", reason)
        images = re.search(r"the images of (\S+);", reason)
        if network:
            assert network[1] not in model_names()
        elif images:
            assert images[1].lower().replace("-", "") not in array_names()
        else:
            assert reason.startswith(("it needs the optimizer Adam", "it needs a language model"))
        with pytest.raises(ValueError, match=re.escape(f"experiment '{name}' cannot be run: {reason}")):
            find_experiment(name)
    assert {"tolerant/table-2/resnet18", "tf-kd/table-3/resnet50_resnet18", "born-again/table-6/lstm"} <= set(
        unavailable_experiments()
    )


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
            "experiment 'tolerant/table-1' is incomplete: choose from tolerant/table-1/densenet-100, tolerant/",
        ),
        ("tolerant/", "'tolerant' is incomplete: choose from tolerant/table-1/..., tolerant/figure-2/..., tolerant/"),
        ("zzz", "choose from born-again/..., crd/..., logits/..., preparing-lessons/..., tf-kd/..., tolerant/..."),
    ],
)
def test_a_name_that_does_not_exist(name: str, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        find_experiment(name)


def test_two_experiments_of_one_name_are_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    twice = Unavailable(name="tolerant/table-2/resnet18", reason="twice")
    monkeypatch.setattr(born_again_paper, "experiments", lambda: iter([twice]))
    _entries.cache_clear()
    with pytest.raises(AssertionError, match="two experiments are named tolerant/table-2/resnet18"):
        _entries()
    _entries.cache_clear()


def test_an_experiment_checks_itself() -> None:
    whole = find_experiment("tolerant/table-1/densenet-100")
    with pytest.raises(AssertionError):
        replace(whole, links=(replace(whole.links[0], place=1),))
