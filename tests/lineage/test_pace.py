"""How long training would take here: a few steps of each kind of generation, and nothing is written."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.lineage.test_train import chain
from tutelage import api, storage
from tutelage.analysis.explanation import explain
from tutelage.data import Splits
from tutelage.data.load import dataset_info
from tutelage.engine import Engine
from tutelage.lineage import Lineage, Pace, measured_paces, networks_of, pace
from tutelage.recipes import call
from tutelage.report.explain import explanation_text


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """A clock that goes on by the last of these numbers whenever somebody looks."""
    seconds = [0.0, 2.0]

    def monotonic() -> float:
        seconds[0] += seconds[-1]
        return seconds[0]

    monkeypatch.setattr("time.monotonic", monotonic)
    return seconds


def paces_of(lineage: Lineage, splits: Splits, runs: Path) -> list[Pace]:
    return measured_paces(networks_of(lineage, 0, splits, runs, Engine.choose("cpu", "fp32", 1)))


@pytest.mark.parametrize(("generations", "kinds"), [(1, 1), (2, 2), (5, 2)])
def test_generations_of_one_kind_are_measured_once(
    generations: int, kinds: int, splits: Splits, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    places: list[int] = []
    measure = pace._pace

    def counted(networks: object, place: int) -> Pace:
        places.append(place)
        return measure(networks, place)  # type: ignore[arg-type]

    monkeypatch.setattr(pace, "_pace", counted)
    paces = paces_of(chain(generations), splits, tmp_path)
    assert len(paces) == generations
    assert places == list(range(kinds))
    assert paces[1:] == paces[1:2] * (generations - 1)
    assert all(each.step > 0 and each.image > 0 for each in paces)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("tick", "steps"), [(0.01, 6), (3.0, 2), (100.0, 2)])
def test_it_ends_soon_also_where_steps_take_long(
    tick: float, steps: int, splits: Splits, tmp_path: Path, clock: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock[-1] = tick
    trained: list[int] = []
    fit = pace.fit

    def counted(*arguments: object, **options: object) -> object:
        for record in fit(*arguments, **options):  # type: ignore[arg-type]
            trained.append(record.step)
            yield record

    monkeypatch.setattr(pace, "fit", counted)
    paces_of(chain(1), splits, tmp_path)
    assert trained == list(range(1, steps + 1))


@pytest.mark.parametrize(("holdout", "first"), [(0, "15.4 min"), (40, "16.4 min")])
def test_the_time_is_that_of_all_steps_and_evaluations(holdout: int, first: str) -> None:
    lineage = call("born_again", train_size=200, holdout=holdout, epochs=3, batch_size=50, generations=1)
    info = dataset_info(lineage.data, Path("unused"))
    paces = [Pace(step=2.0, image=0.5), Pace(step=3.0, image=0.25)]
    explanation = explain(lineage, info, paces=paces)
    steps, evaluated = 12, 200 - holdout + 1597 + holdout * 4
    assert explanation.generations[0].seconds == steps * 2.0 + evaluated * 0.5
    assert explanation.generations[1].seconds == steps * 3.0 + evaluated * 0.25
    assert f" PFLOP, about {first}: 2 s a step\n" in explanation_text(explanation)
    assert explain(lineage, info).seconds is None


def test_from_python(tmp_path: Path) -> None:
    text = api.explain("tolerant", generations=2, epochs=1, time=True, shares=True, runs=tmp_path)
    assert text.count(" a step\n") == 3
    assert " at the pace of a few steps on this machine\n" in text
    assert text.count("gradient on the first batch: ") == 3
    assert " a step" not in api.explain("tolerant", generations=2, epochs=1)
    assert list(tmp_path.iterdir()) == []


def test_a_network_that_is_not_trained_makes_no_step(splits: Splits, tmp_path: Path) -> None:
    lineage = chain(2)
    weights = tmp_path / "weights.safetensors"
    network = networks_of(lineage, 0, splits, tmp_path, Engine.choose("cpu", "fp32", 1)).build(0)
    weights.write_bytes(storage.tensor_bytes(network.state_dict()))
    teacher, student = lineage.generations
    paces = paces_of(
        replace(lineage, generations=(replace(teacher, weights=str(weights)), student)), splits, tmp_path / "runs"
    )
    assert paces[0].step == 0
    assert paces[0].image > 0
    assert paces[1].step > 0
