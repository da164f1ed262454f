"""The diagnostics of a small study, each number against the models it comes from."""

from __future__ import annotations

import csv
import io
import json
import math
import re
import statistics
from collections.abc import Iterator
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.coarse_set import ESCAPED, SUPERCLASSES, TEST, TRAIN, make_coarse_set
from tutelage import storage
from tutelage.analysis import Results, load_results
from tutelage.analysis.diagnostics.catalog import DIAGNOSTICS, Diagnostics, check_request, diagnose
from tutelage.analysis.diagnostics.records import Diagnosis
from tutelage.analysis.training_logits import training_labels, training_logits
from tutelage.analysis.training_sets import measure_training_sets
from tutelage.artifacts.model import Model
from tutelage.evaluation import accuracy, ece, ensemble, nll
from tutelage.evaluation.agreement import divergence
from tutelage.evaluation.semantics import centre_distances
from tutelage.recipes import call
from tutelage.report import markdown, terminal
from tutelage.report.csv import tables_csv
from tutelage.report.diagnostics import TABLES, diagnostics_tables
from tutelage.report.table import Table
from tutelage.study import Execution, Study, load_study, run
from tutelage.study.files import write_study

EXECUTION = Execution(device="cpu", precision="fp32", threads=1)
QUICK = {"data": "cifar100", "model": "resnet8", "epochs": 2, "batch_size": 16}
LABELS = torch.arange(TEST) % 6


def finish(study: Study, runs: Path) -> Results:
    list(run(study, runs=runs, execution=EXECUTION))
    return load_results(study.name, runs)


def tables_of(results: Results, **arguments: Any) -> dict[str, Table]:
    return {table.name: table for table in diagnostics_tables(diagnose(results, **arguments))}


def cells(table: Table) -> list[tuple[str, ...]]:
    return [tuple(cell.text for cell in row) for row in table.rows]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with a study of three arms on a set with superclasses, for two of its three seeds."""
    folder = tmp_path_factory.mktemp("diagnostics")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TUTELAGE_DATA", str(folder / "data"))
        make_coarse_set(folder / "data", patch)
        torch.set_num_threads(1)
        yield folder


@pytest.fixture(scope="module")
def results(root: Path) -> Results:
    lineages = (
        call("baseline", **QUICK),
        call("tolerant", generations=1, k=3, **QUICK),
        call("dynamic_temperature", teacher="resnet8", adjustment="shift", **QUICK),
    )
    study = Study(lineages=lineages, seeds=(0, 1))
    finish(study, root / "runs")
    requested = Study(lineages=lineages, seeds=(0, 1, 2))
    write_study(replace(load_study(study.name, root / "runs"), study=requested), root / "runs")
    return load_results(requested.name, root / "runs")


@pytest.fixture(scope="module")
def tables(results: Results) -> dict[str, Table]:
    before = tables_of(results)
    for name in ("scores", "second", "targets", "temperatures", "coarse"):
        assert before[name].rows == before[name].records == ()
        assert "tutelage diagnose" in before[name].notes[-1]
    assert before["calibration"].rows
    steps = list(measure_training_sets(results))
    assert [step.number for step in steps] == list(range(1, steps[0].of + 1))
    assert len({step.generation.models[step.seed].address for step in steps}) == len(steps)  # shared models once
    assert list(measure_training_sets(results)) == []
    return tables_of(results)


def models(results: Results, arm: str, place: int) -> dict[int, Model]:
    (generation,) = (one for one in results.generations if (one.arm, one.place) == (arm, place))
    return {seed: generation.models[seed] for seed in (0, 1)}


def records(table: Table, arm: str, place: int) -> list[dict[str, object]]:
    return [dict(record) for record in table.records if (record["arm"], record.get("place")) == (arm, place)]


def by_seed(table: Table, arm: str, place: int, name: str) -> dict[object, object]:
    return {record["seed"]: record[name] for record in records(table, arm, place)}


def test_tables_are_plain(tables: dict[str, Table]) -> None:
    assert tuple(tables) == tuple(TABLES) == DIAGNOSTICS
    for table in tables.values():
        assert table.rows
        assert all(len(row) == len(table.columns) for row in table.rows)
        assert all(isinstance(cell.text, str) for row in table.rows for cell in row)
        assert len({tuple(record) for record in table.records}) == 1
        json.dumps(table.records, allow_nan=False)
        if table.name != "ensembles":
            assert {row[2].text for row in table.rows} == {"2 of 3"}


def test_unrequested_diagnostics_are_empty(results: Results, tables: dict[str, Table]) -> None:
    names = {field.name for field in fields(Diagnostics)}
    assert set(DIAGNOSTICS) < names
    diagnostics = diagnose(results, only=["targets", "energy"], ensemble=["0,1"])
    assert diagnostics.names == ("energy", "targets", "ensembles")
    assert diagnostics.targets.records
    assert diagnostics.temperatures == diagnostics.calibration == diagnostics.reliability == Diagnosis()
    assert diagnostics.seeds == (0, 1, 2)


def test_missing_generations_are_typed(results: Results, tables: dict[str, Table]) -> None:
    missing = diagnose(results, only=["temperatures"]).temperatures.missing
    assert [(one.arm, one.place, one.reason) for one in missing] == [
        ("tolerant", 1, "one temperature"),
        ("baseline", 0, "no teacher"),
        ("tolerant", 0, "no teacher"),
        ("dynamic_temperature", 0, "no teacher"),
    ]


def test_ensembles_of_all_generations_read_no_predictions(
    results: Results, tables: dict[str, Table], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Model, "predictions", None)
    records = diagnose(results, only=["ensembles"], seed=0).ensembles
    assert [(one.arm, one.kind, one.size) for one in records] == [
        ("tolerant", "generations", 2),
        ("dynamic_temperature", "generations", 2),
    ]


def test_accuracy_by_generation(results: Results, tables: dict[str, Table]) -> None:
    baseline = {seed: model.evaluation()["test"].top1 for seed, model in models(results, "baseline", 0).items()}
    for place in (0, 1):
        own = {s: m.evaluation()["test"].top1 for s, m in models(results, "tolerant", place).items()}
        assert by_seed(tables["generations"], "tolerant", place, "top1") == own
        assert by_seed(tables["generations"], "tolerant", place, "baseline") == baseline
    row = cells(tables["generations"])[2]
    differences = [100 * (own[seed] - baseline[seed]) for seed in own]
    assert row[4] == f"{statistics.fmean(differences):+.2f} ± {statistics.stdev(differences):.2f}"
    assert cells(tables["generations"])[0][4] == ""


def test_energy_and_scores(results: Results, tables: dict[str, Table]) -> None:
    for place, expected in ((0, 0.6), (1, 0.76)):
        train = [model.evaluation()["train"] for model in models(results, "tolerant", place).values()]
        measured = records(tables["energy"], "tolerant", place)
        assert [one["predicted"] for one in measured] == pytest.approx([expected] * 2)
        assert [one["label"] for one in measured] == [one.primary for one in train]
        assert [one["others"] for one in measured] == pytest.approx([1 - sum(one.energy[:5]) for one in train])
        means = [one["mean"] for one in records(tables["scores"], "tolerant", place)]
        energy = [statistics.fmean(values) for values in zip(*(one.energy for one in train), strict=True)]
        assert means == pytest.approx(energy, abs=1e-7)
    for one in tables["scores"].records:
        low, median, high = (one[name] for name in ("low", "median", "high"))
        assert isinstance(low, float)
        assert isinstance(median, float)
        assert isinstance(high, float)
        assert 0.0 <= low <= median <= high <= 1.0
    assert [row[3] for row in cells(tables["energy"]) if row[0] == "dynamic_temperature"] == [
        "1.0000",
        "no closed form",
    ]


def test_second_choices(results: Results, tables: dict[str, Table]) -> None:
    counts = records(tables["second"], "baseline", 0)
    assert sum(one["images"] for one in counts) == 2 * TRAIN  # type: ignore[misc]  # these are numbers
    own = models(results, "baseline", 0)
    seconds: dict[tuple[str, str], int] = {}
    for model in own.values():
        logits = training_logits(model)
        assert logits is not None
        for row, label in zip(logits.argsort(1, descending=True).tolist(), range(TRAIN), strict=True):
            pair = (ESCAPED[label % 6], ESCAPED[row[1]])
            seconds[pair] = seconds.get(pair, 0) + 1
    assert {(one["true"], one["second"]): one["images"] for one in counts} == seconds
    within = sum(n for (c, j), n in seconds.items() if c != j and same_superclass(c, j))
    away = sum(n for (c, j), n in seconds.items() if c != j)
    assert cells(tables["second"])[0][5:7] == (f"{100 * within / away:.2f}", "20.00")


def same_superclass(one: str, other: str) -> bool:
    return SUPERCLASSES[ESCAPED.index(one)] == SUPERCLASSES[ESCAPED.index(other)]


def test_superclasses(results: Results, tables: dict[str, Table]) -> None:
    for seed, model in models(results, "tolerant", 1).items():
        logits = model.predictions()["test"]
        (record,) = (one for one in records(tables["coarse"], "tolerant", 1) if one["seed"] == seed)
        superclasses = torch.tensor(SUPERCLASSES)
        within, between = centre_distances(logits.double().softmax(1), LABELS, superclasses)
        assert (record["dist_c"], record["dist_s"]) == (within, between)
        right = (superclasses[logits.argmax(1)] == superclasses[LABELS]).double().mean().item()
        assert record["coarse_top1"] == pytest.approx(right)
    assert "ours" in " ".join(column.name for column in tables["coarse"].columns)
    assert "this one is ours" in tables["coarse"].notes[0]


def test_targets_and_temperatures(results: Results, tables: dict[str, Table]) -> None:
    arm = "dynamic_temperature"
    wrong = [1 - model.evaluation()["train"].top1 for model in models(results, arm, 0).values()]
    assert statistics.fmean(wrong) > 0.1  # after two epochs
    by_class = records(tables["targets"], arm, 1)
    assert [one["class"] for one in by_class] == list(ESCAPED)
    assert statistics.fmean(one["wrong"] for one in by_class) == pytest.approx(statistics.fmean(wrong))  # type: ignore[type-var]
    assert [one["changed"] for one in by_class] == [one["wrong"] for one in by_class]
    for one in records(tables["targets"], "tolerant", 1):
        assert (one["changed"], one["moved"]) == (0.0, 0.0)
    curve = [one["temperature"] for one in records(tables["temperatures"], arm, 1)]
    assert curve == sorted(curve)  # type: ignore[type-var]
    assert 1.0 <= curve[0] < 4.0 < curve[-1]  # type: ignore[operator]
    assert cells(tables["temperatures"])[0][3] == "4.000"  # none at the floor, so the mean is the base
    assert len(tables["temperatures"].rows) == 1
    assert any(
        note == "One temperature for all images, or none: tolerant/generation 1."
        for note in tables["temperatures"].notes
    )


def test_agreement(results: Results, tables: dict[str, Table]) -> None:
    own, theirs = models(results, "tolerant", 1), models(results, "tolerant", 0)
    for seed in own:
        one, other = (each[seed].predictions()["test"] for each in (theirs, own))
        assert by_seed(tables["agreement"], "tolerant", 1, "kl")[seed] == divergence(one, other)
        same = (one.argmax(1) == other.argmax(1)).double().mean().item()
        assert by_seed(tables["agreement"], "tolerant", 1, "same")[seed] == same
    assert records(tables["agreement"], "tolerant", 0) == []
    assert tables["agreement"].notes[-1] == "No teacher: baseline, tolerant/patriarch, dynamic_temperature/teacher."


def test_calibration_without_a_holdout(results: Results, tables: dict[str, Table]) -> None:
    for seed, model in models(results, "baseline", 0).items():
        (record,) = (one for one in records(tables["calibration"], "baseline", 0) if one["seed"] == seed)
        logits = model.predictions()["test"]
        assert (record["nll"], record["ece"]) == (nll(logits, LABELS), ece(logits, LABELS))
        assert record["fitted_on"] in ("test, 5 folds", None)
    bins = [one for one in records(tables["reliability"], "baseline", 0) if one["scaled"] is False]
    assert sum(one["images"] for one in bins) == 2 * TEST  # type: ignore[misc]
    confidence = sum(one["images"] * one["confidence"] for one in bins) / (2 * TEST)  # type: ignore[operator]
    by_hand = [
        m.predictions()["test"].double().softmax(1).max(1).values.mean().item()
        for m in models(results, "baseline", 0).values()
    ]
    assert confidence == pytest.approx(statistics.fmean(by_hand))


def test_usual_ensembles(results: Results, tables: dict[str, Table]) -> None:
    (generation,) = (one for one in results.generations if one.name == "generation 1")
    chains = [one for one in tables["ensembles"].records if one["members"] == "generations 0 to 1"]
    tolerant = [one["top1"] for one in chains if one["arm"] == "tolerant"]
    assert tolerant == [measures.top1 for measures in generation.ensemble().values()]
    assert len(tolerant) == 2
    both = ensemble([model.predictions()["test"] for model in models(results, "baseline", 0).values()])
    (all_seeds,) = (one for one in tables["ensembles"].records if one["members"] == "baseline, all seeds")
    assert all_seeds["seed"] is None
    assert all_seeds["top1"] == accuracy(both, LABELS)


@pytest.mark.parametrize(
    ("words", "members"),
    [
        ("1", [("tolerant", 1, 0)]),
        ("generation 1", [("tolerant", 1, 0)]),
        ("0,1", [("tolerant", 0, 0), ("tolerant", 1, 0)]),
        ("baseline/0, 1", [("baseline", 0, 0), ("tolerant", 1, 0)]),
        ("tolerant/1,dynamic_temperature/student", [("tolerant", 1, 0), ("dynamic_temperature", 1, 0)]),
        ("1:*", [("tolerant", 1, 0), ("tolerant", 1, 1)]),
        ("0:1,1:0", [("tolerant", 0, 1), ("tolerant", 1, 0)]),
    ],
)
def test_requested_ensembles(results: Results, words: str, members: list[tuple[str, int, int]]) -> None:
    table = tables_of(results, only=["ensembles"], ensemble=[words])["ensembles"]
    record = next(one for one in table.records if "tolerant" in str(one["arm"]))
    logits = [models(results, arm, place)[seed].predictions()["test"] for arm, place, seed in members]
    assert record["size"] == len(members)
    assert record["nll"] == pytest.approx(nll(ensemble(logits), LABELS), abs=1e-12)
    assert record["top1"] == accuracy(ensemble(logits), LABELS)
    alone = statistics.fmean(accuracy(each, LABELS) for each in logits)
    assert record["gain"] == pytest.approx(record["top1"] - alone)


def test_arms_that_an_ensemble_does_not_fit(results: Results) -> None:
    table = tables_of(results, only=["ensembles"], ensemble=["0,1"])["ensembles"]
    assert list(dict.fromkeys(row[0] for row in cells(table))) == ["tolerant", "dynamic_temperature"]
    assert "0,1: unknown generation of baseline '1': choose from 0, baseline." in table.notes


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("0,9", "ensemble 0,9: unknown generation of baseline '9': choose from 0, baseline"),
        ("tolerant/7", "unknown generation of baseline 'tolerant/7'"),
        ("0:0,1", r"give each of its members a seed \(GENERATION:SEED\), or none"),
        ("0:5", "baseline/baseline is not finished with seed 5: choose from 0, 1"),
        ("0,0", "two members of it are the same model in baseline"),
        ("baseline/0,dynamic_temperature/0", "the same model in baseline and dynamic_temperature"),
        ("", "unknown generation of baseline ''"),
    ],
)
def test_ensembles_that_cannot_be(results: Results, words: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        check_request(results, ensemble=[words])
    with pytest.raises(ValueError, match=message):
        diagnose(results, only=["ensembles"], ensemble=[words])


def test_one_seed(results: Results, tables: dict[str, Table]) -> None:
    at_seed = tables_of(results, seed=1)
    assert {one["seed"] for one in at_seed["calibration"].records} == {1}
    assert "±" not in "".join(cell for table in at_seed.values() for row in cells(table) for cell in row)
    assert {row[2] for row in cells(at_seed["energy"])} == {"1"}
    assert at_seed["temperatures"].records != tables["temperatures"].records


def test_what_does_not_exist(results: Results) -> None:
    for request in (check_request, diagnose):
        with pytest.raises(ValueError, match="no seed 7: choose from 0, 1, 2"):
            request(results, seed=7)
        with pytest.raises(ValueError, match="no model of the run is finished yet with seed 2"):
            request(results, seed=2)
        with pytest.raises(ValueError, match="unknown diagnostic 'energi': did you mean energy"):
            request(results, only=["energi"])


def test_names_from_outside_stay_text(tables: dict[str, Table]) -> None:
    page = markdown.document("a | b", list(tables.values()), "tutelage diagnose x")
    assert page.replace("\n", "").isprintable()
    assert "# a \\| b" in page
    widths = [line.count("|") - line.count("\\|") for line in page.splitlines() if line.startswith("| ")]
    assert set(widths) <= {len(table.columns) + 1 for table in tables.values()}
    lines = list(csv.DictReader(io.StringIO(tables_csv(list(tables.values())))))
    assert len(lines) == sum(len(table.records) for table in tables.values())
    assert {line["true"] for line in lines if line["diagnostic"] == "second"} == {*ESCAPED[:5], "'" + ESCAPED[5]}
    first = tables["calibration"].records[0]
    (line,) = (
        line
        for line in lines
        if line["diagnostic"] == "calibration"
        and (line["arm"], line["place"], line["seed"]) == ("baseline", "0", "0")
    )
    assert isinstance(first["nll"], float)
    assert math.isclose(float(line["nll"]), first["nll"], rel_tol=1e-15)
    for table in tables.values():
        assert str(terminal.render(table))


def test_a_holdout_is_what_temperatures_are_fitted_on(tmp_path: Path) -> None:
    results = finish(Study(lineages=(call("baseline", train_size=80, holdout=40, epochs=3),)), tmp_path)
    tables = tables_of(results, only=["calibration", "reliability"])
    assert cells(tables["calibration"])[0][-1] == "holdout, 40"
    record = tables["calibration"].records[0]
    predictions = results.generations[0].models[0].predictions()
    assert isinstance(record["temperature"], float)
    scaled = predictions["test"].double() / record["temperature"]
    assert record["nll_scaled"] == pytest.approx(nll(scaled, predictions["test_labels"]))
    holdout, temperature = predictions["holdout"].double(), record["temperature"]
    at = [nll(holdout / (factor * temperature), predictions["holdout_labels"]) for factor in (0.9, 1.0, 1.1)]
    assert min(at) == at[1]
    assert {one["scaled"] for one in tables["reliability"].records} == {False, True}


def test_what_is_not_finished_is_named(results: Results) -> None:
    *finished, last = results.generations
    part = replace(results, generations=(*finished, replace(last, seeds={})))
    for table in tables_of(part, only=["generations", "energy"]).values():
        assert [row[1] for row in cells(table)] == ["baseline", "patriarch", "generation 1", "teacher"]
        assert table.notes[-1] == "Not finished yet: dynamic_temperature/student."


def test_several_teachers_and_one_that_is_gone(tmp_path: Path) -> None:
    quick = {"train_size": 20, "epochs": 1}
    two = call("distill", teacher=("resnet8", "resnet8"), teacher_shares=(1.0, 3.0), method="decoupled", **quick)
    results = finish(Study(lineages=(two,)), tmp_path)
    list(measure_training_sets(results))
    first, second, student = [generation.models[0] for generation in results.generations]
    tables = tables_of(results, only=["agreement", "targets"])
    together = ensemble([each.predictions()["test"] for each in (first, second)], (1.0, 3.0))
    assert tables["agreement"].records[0]["kl"] == divergence(together, student.predictions()["test"])
    assert cells(tables["agreement"])[0][3] == "teacher 1 and teacher 2"
    members = [training_logits(each) for each in (first, second)]
    wrong = ensemble([logits for logits in members if logits is not None], (1.0, 3.0)).argmax(1)
    labels = training_labels(student)
    assert labels is not None
    assert cells(tables["targets"])[0][4] == f"{100 * (wrong != labels.labels).double().mean().item():.2f}"
    assert "not analysed" in cells(tables["targets"])[0]
    assert {(one["changed"], one["moved"]) for one in tables["targets"].records} == {(None, None)}
    assert len(tables["targets"].records) == 10

    storage.remove(first.folder)
    tables = tables_of(load_results(results.name, tmp_path), only=["agreement", "targets"])
    assert tables["agreement"].rows == tables["targets"].rows == ()
    assert "The teacher's model is missing: distill/student." in tables["agreement"].notes


def test_data_without_superclasses(tmp_path: Path) -> None:
    results = finish(Study(lineages=(call("baseline", train_size=40, epochs=1),)), tmp_path)
    list(measure_training_sets(results, logits=False))
    coarse = tables_of(results, only=["coarse"])["coarse"]
    assert (coarse.rows, coarse.notes) == ((), ("No superclasses (coarse labels) in the data: all.",))
    assert "No superclasses" in str(terminal.render(coarse))


def test_the_page_names_them_all() -> None:
    page = (Path(__file__).parents[2] / "docs" / "diagnostics.md").read_text(encoding="utf-8")
    assert re.findall(r"^\| \[`(\w+)`\]\(#[\w-]+\) \|", page, re.MULTILINE) == list(DIAGNOSTICS)
    anchors = {heading.lower().replace(" ", "-") for heading in re.findall(r"^## (.*)$", page, re.MULTILINE)}
    assert set(re.findall(r"\]\(#([\w-]+)\)", page)) <= anchors
    links = re.findall(r"\]\(([^)#]+)\)", page)
    assert links
    assert all((Path(__file__).parents[2] / "docs" / link).exists() for link in links)
