"""What a run computes only once: normalization, the dry run, each network."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from torch import Tensor, nn

from tests.lineage.test_train import chain, finish
from tutelage.data import Normalization, Splits
from tutelage.engine import Engine
from tutelage.lineage import dry_run, networks, networks_of
from tutelage.recipes import call
from tutelage.study import Execution, Study, run


@pytest.fixture
def builds(monkeypatch: pytest.MonkeyPatch) -> Counter[int]:
    """How often each network was built, by the seed of its weights."""
    counter: Counter[int] = Counter()
    original = networks.build

    def build(name: str, num_classes: int, in_channels: int, *, seed: int) -> nn.Module:
        counter[seed] += 1
        return original(name, num_classes, in_channels, seed=seed)

    monkeypatch.setattr(networks, "build", build)
    return counter


@pytest.fixture
def measured_sizes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The sizes of the sets whose normalization was measured."""
    sizes: list[int] = []
    original = Normalization.of.__func__  # type: ignore[attr-defined]

    def of(cls: type[Normalization], images: Tensor) -> Normalization:
        sizes.append(len(images))
        return original(cls, images)  # type: ignore[no-any-return]

    monkeypatch.setattr(Normalization, "of", classmethod(of))
    return sizes


def test_a_lineage_of_five_generations(
    splits: Splits, tmp_path: Path, builds: Counter[int], measured_sizes: list[int]
) -> None:
    finish(chain(5), splits, tmp_path)
    assert len(builds) == 5
    assert set(builds.values()) == {2}  # for the dry run and for training; the trained network itself then teaches
    assert measured_sizes == [len(splits.train)]


def test_a_network_is_released_after_its_last_student(splits: Splits, tmp_path: Path) -> None:
    engine = Engine.choose("cpu", "fp32", 1)
    lineage_networks = networks_of(chain(3), 0, splits, tmp_path, engine)
    for place in range(3):
        lineage_networks.keep(place, nn.Linear(1, 1))
    assert lineage_networks._networks == {}


def test_the_dry_run_happens_once_per_study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []

    def counting_dry_run(networks_of_lineage: Any, *rest: Any) -> None:
        calls.append(networks_of_lineage.lineage.name)
        dry_run(networks_of_lineage, *rest)

    for module in ("tutelage.study.run", "tutelage.lineage.train"):  # their packages export such functions
        monkeypatch.setattr(sys.modules[module], "dry_run", counting_dry_run)
    quick = {"epochs": 1, "train_size": 20, "test_size": 100}
    study = Study(lineages=(call("baseline", **quick), call("label_smoothing", **quick)), seeds=(0, 1, 2))
    execution = Execution(device="cpu", precision="fp32", threads=1)
    assert list(run(study, runs=tmp_path, execution=execution))
    assert calls == ["baseline", "label_smoothing"]
    calls.clear()
    assert list(run(study, runs=tmp_path, execution=execution))
    assert calls == []
