"""The diagnostics of a small study, each number against the models it comes from."""

from __future__ import annotations

import csv
import io
import json
import math
import re
import statistics
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tests.coarse_set import SHOWN, SUPERCLASSES, TEST, TRAIN, make_coarse_set
from tutelage import storage
from tutelage.analysis import Results, load_results
from tutelage.analysis.diagnostics.catalog import PARTS, diagnostics
from tutelage.analysis.sheets import Sheet
from tutelage.analysis.training_logits import training_labels, training_logits
from tutelage.analysis.training_sets import measure_training_sets
from tutelage.artifacts.model import Model
from tutelage.evaluation import accuracy, ece, ensemble, nll
from tutelage.evaluation.agreement import divergence
from tutelage.evaluation.semantics import centre_distances
from tutelage.recipes import call
from tutelage.report.table import sheet_table, sheets_csv, sheets_markdown
from tutelage.study import Execution, Study, load_study, run
from tutelage.study.spec import write_study

MACHINE = Execution(device="cpu", precision="fp32", threads=1)
QUICK = {"data": "cifar100", "model": "resnet8", "epochs": 2, "batch_size": 16}
LABELS = torch.arange(TEST) % 6


def finish(study: Study, runs: Path) -> Results:
    list(run(study, runs=runs, machine=MACHINE))
    return load_results(study.name, runs)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with a study of three arms on a set with superclasses, for two of its three seeds."""
    folder = tmp_path_factory.mktemp("diagnostics")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TUTELAGE_DATA", str(folder / "data"))
        make_coarse_set(folder / "data", patch)
        torch.set_num_threads(1)
        yield folder


@pytest.fixture(scope="module")
def results(place: Path) -> Results:
    lineages = (
        call("baseline", **QUICK),
        call("tolerant", generations=1, k=3, **QUICK),
        call("dynamic_temperature", teacher="resnet8", adjustment="shift", **QUICK),
    )
    study = Study(lineages=lineages, seeds=(0, 1))
    finish(study, place / "runs")
    asked = Study(lineages=lineages, seeds=(0, 1, 2))
    write_study(replace(load_study(study.name, place / "runs"), study=asked), place / "runs")
    return load_results(asked.name, place / "runs")


@pytest.fixture(scope="module")
def sheets(results: Results) -> dict[str, Sheet]:
    before = {sheet.name: sheet for sheet in diagnostics(results)}
    for name in ("scores", "second", "targets", "temperatures", "coarse"):
        assert before[name].rows == before[name].series == ()
        assert "tutelage diagnose" in before[name].notes[-1]
    assert before["calibration"].rows
    done = list(measure_training_sets(results))
    assert [each.number for each in done] == list(range(1, done[0].of + 1))
    assert len({each.row.models[each.seed].address for each in done}) == len(done)  # shared models once
    assert list(measure_training_sets(results)) == []
    return {sheet.name: sheet for sheet in diagnostics(results)}


def models(results: Results, arm: str, place: int) -> dict[int, Model]:
    (row,) = (row for row in results.rows if (row.lineage, row.place) == (arm, place))
    return {seed: row.models[seed] for seed in (0, 1)}


def records(sheet: Sheet, arm: str, place: int) -> list[dict[str, object]]:
    return [dict(found) for found in sheet.series if (found["arm"], found.get("place")) == (arm, place)]


def by_seed(sheet: Sheet, arm: str, place: int, name: str) -> dict[object, object]:
    return {found["seed"]: found[name] for found in records(sheet, arm, place)}


def test_sheets_are_plain(sheets: dict[str, Sheet]) -> None:
    assert tuple(sheets) == PARTS
    for sheet in sheets.values():
        assert sheet.rows
        assert all(len(row) == len(sheet.headings) for row in sheet.rows)
        assert all(isinstance(cell, str) for row in sheet.rows for cell in row)
        assert len({tuple(record) for record in sheet.series}) == 1
        json.dumps(sheet.series, allow_nan=False)
        if sheet.name != "ensembles":
            assert {row[2] for row in sheet.rows} == {"2 of 3"}


def test_accuracy_by_generation(results: Results, sheets: dict[str, Sheet]) -> None:
    baseline = {seed: model.evaluation()["test"]["top1"] for seed, model in models(results, "baseline", 0).items()}
    for place in (0, 1):
        own = {s: m.evaluation()["test"]["top1"] for s, m in models(results, "tolerant", place).items()}
        assert by_seed(sheets["generations"], "tolerant", place, "top1") == own
        assert by_seed(sheets["generations"], "tolerant", place, "baseline") == baseline
    row = sheets["generations"].rows[2]
    apart = [100 * (own[seed] - baseline[seed]) for seed in own]
    assert row[4] == f"{statistics.fmean(apart):+.2f} ± {statistics.stdev(apart):.2f}"
    assert sheets["generations"].rows[0][4] == ""


def test_energy_and_scores(results: Results, sheets: dict[str, Sheet]) -> None:
    for place, expected in ((0, 0.6), (1, 0.76)):
        train = [model.evaluation()["train"] for model in models(results, "tolerant", place).values()]
        found = records(sheets["energy"], "tolerant", place)
        assert [one["predicted"] for one in found] == pytest.approx([expected] * 2)
        assert [one["label"] for one in found] == [one["primary"] for one in train]
        assert [one["others"] for one in found] == pytest.approx([1 - sum(one["energy"][:5]) for one in train])
        means = [one["mean"] for one in records(sheets["scores"], "tolerant", place)]
        energy = [statistics.fmean(values) for values in zip(*(one["energy"] for one in train), strict=True)]
        assert means == pytest.approx(energy, abs=1e-7)
    for one in sheets["scores"].series:
        low, median, high = (one[name] for name in ("low", "median", "high"))
        assert isinstance(low, float)
        assert isinstance(median, float)
        assert isinstance(high, float)
        assert 0.0 <= low <= median <= high <= 1.0
    assert [row[3] for row in sheets["energy"].rows if row[0] == "dynamic_temperature"] == [
        "1.0000",
        "no closed form",
    ]


def test_second_choices(results: Results, sheets: dict[str, Sheet]) -> None:
    found = records(sheets["second"], "baseline", 0)
    assert sum(one["images"] for one in found) == 2 * TRAIN  # type: ignore[misc]  # these are numbers
    own = models(results, "baseline", 0)
    seconds: dict[tuple[str, str], int] = {}
    for model in own.values():
        logits = training_logits(model)
        assert logits is not None
        for row, label in zip(logits.argsort(1, descending=True).tolist(), range(TRAIN), strict=True):
            pair = (SHOWN[label % 6], SHOWN[row[1]])
            seconds[pair] = seconds.get(pair, 0) + 1
    assert {(one["true"], one["second"]): one["images"] for one in found} == seconds
    within = sum(n for (c, j), n in seconds.items() if c != j and kin(c, j))
    away = sum(n for (c, j), n in seconds.items() if c != j)
    assert sheets["second"].rows[0][5:7] == (f"{100 * within / away:.2f}", "20.00")


def kin(one: str, other: str) -> bool:
    return SUPERCLASSES[SHOWN.index(one)] == SUPERCLASSES[SHOWN.index(other)]


def test_superclasses(results: Results, sheets: dict[str, Sheet]) -> None:
    for seed, model in models(results, "tolerant", 1).items():
        logits = model.predictions()["test"]
        (found,) = (one for one in records(sheets["coarse"], "tolerant", 1) if one["seed"] == seed)
        families = torch.tensor(SUPERCLASSES)
        near, far = centre_distances(logits.double().softmax(1), LABELS, families)
        assert (found["dist_c"], found["dist_s"]) == (near, far)
        right = (families[logits.argmax(1)] == families[LABELS]).double().mean().item()
        assert found["coarse_top1"] == pytest.approx(right)
    assert "ours" in " ".join(sheets["coarse"].headings)
    assert "this one is ours" in sheets["coarse"].notes[0]


def test_targets_and_temperatures(results: Results, sheets: dict[str, Sheet]) -> None:
    arm = "dynamic_temperature"
    wrong = [1 - model.evaluation()["train"]["top1"] for model in models(results, arm, 0).values()]
    assert statistics.fmean(wrong) > 0.1  # after two epochs
    found = records(sheets["targets"], arm, 1)
    assert [one["class"] for one in found] == list(SHOWN)
    assert statistics.fmean(one["wrong"] for one in found) == pytest.approx(statistics.fmean(wrong))  # type: ignore[type-var]
    assert [one["changed"] for one in found] == [one["wrong"] for one in found]
    for one in records(sheets["targets"], "tolerant", 1):
        assert (one["changed"], one["moved"]) == (0.0, 0.0)
    curve = [one["temperature"] for one in records(sheets["temperatures"], arm, 1)]
    assert curve == sorted(curve)  # type: ignore[type-var]
    assert 1.0 <= curve[0] < 4.0 < curve[-1]  # type: ignore[operator]
    assert sheets["temperatures"].rows[0][3] == "4.000"  # none at the floor, so the mean is the base
    assert len(sheets["temperatures"].rows) == 1
    assert any(
        note == "One temperature for all images, or none: tolerant/generation 1."
        for note in sheets["temperatures"].notes
    )


def test_agreement(results: Results, sheets: dict[str, Sheet]) -> None:
    own, theirs = models(results, "tolerant", 1), models(results, "tolerant", 0)
    for seed in own:
        one, other = (each[seed].predictions()["test"] for each in (theirs, own))
        assert by_seed(sheets["agreement"], "tolerant", 1, "kl")[seed] == divergence(one, other)
        same = (one.argmax(1) == other.argmax(1)).double().mean().item()
        assert by_seed(sheets["agreement"], "tolerant", 1, "same")[seed] == same
    assert records(sheets["agreement"], "tolerant", 0) == []
    assert sheets["agreement"].notes[-1] == "No teacher: baseline, tolerant/patriarch, dynamic_temperature/teacher."


def test_calibration_without_a_holdout(results: Results, sheets: dict[str, Sheet]) -> None:
    for seed, model in models(results, "baseline", 0).items():
        (found,) = (one for one in records(sheets["calibration"], "baseline", 0) if one["seed"] == seed)
        logits = model.predictions()["test"]
        assert (found["nll"], found["ece"]) == (nll(logits, LABELS), ece(logits, LABELS))
        assert found["fitted_on"] in ("test, 5 folds", None)
    bins = [one for one in records(sheets["reliability"], "baseline", 0) if one["scaled"] is False]
    assert sum(one["images"] for one in bins) == 2 * TEST  # type: ignore[misc]
    confidence = sum(one["images"] * one["confidence"] for one in bins) / (2 * TEST)  # type: ignore[operator]
    by_hand = [
        m.predictions()["test"].double().softmax(1).max(1).values.mean().item()
        for m in models(results, "baseline", 0).values()
    ]
    assert confidence == pytest.approx(statistics.fmean(by_hand))


def test_usual_ensembles(results: Results, sheets: dict[str, Sheet]) -> None:
    (row,) = (row for row in results.rows if row.generation == "generation 1")
    found = [one for one in sheets["ensembles"].series if one["members"] == "generations 0 to 1"]
    assert [one["top1"] for one in found if one["arm"] == "tolerant"] == [one["top1"] for one in row.ensemble]
    both = ensemble([model.predictions()["test"] for model in models(results, "baseline", 0).values()])
    (all_seeds,) = (one for one in sheets["ensembles"].series if one["members"] == "baseline, all seeds")
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
def test_ensembles_as_asked(results: Results, words: str, members: list[tuple[str, int, int]]) -> None:
    (sheet,) = diagnostics(results, only=["ensembles"], ensemble=[words])
    found = next(one for one in sheet.series if "tolerant" in str(one["arm"]))
    logits = [models(results, arm, place)[seed].predictions()["test"] for arm, place, seed in members]
    assert found["size"] == len(members)
    assert found["nll"] == pytest.approx(nll(ensemble(logits), LABELS), abs=1e-12)
    assert found["top1"] == accuracy(ensemble(logits), LABELS)
    alone = statistics.fmean(accuracy(each, LABELS) for each in logits)
    assert found["gain"] == pytest.approx(found["top1"] - alone)


def test_arms_that_an_ensemble_does_not_fit(results: Results) -> None:
    (sheet,) = diagnostics(results, only=["ensembles"], ensemble=["0,1"])
    assert [row[0] for row in sheet.rows] == ["tolerant", "dynamic_temperature"]
    assert "0,1: unknown generation of baseline '1': choose from 0, baseline." in sheet.notes


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
        diagnostics(results, only=["ensembles"], ensemble=[words])


def test_one_seed(results: Results, sheets: dict[str, Sheet]) -> None:
    found = {sheet.name: sheet for sheet in diagnostics(results, seed=1)}
    assert {one["seed"] for one in found["calibration"].series} == {1}
    assert "±" not in "".join(cell for sheet in found.values() for row in sheet.rows for cell in row)
    assert {row[2] for row in found["energy"].rows} == {"1"}
    assert found["temperatures"].series != sheets["temperatures"].series


def test_what_does_not_exist(results: Results) -> None:
    with pytest.raises(ValueError, match="no seed 7: choose from 0, 1, 2"):
        diagnostics(results, seed=7)
    with pytest.raises(ValueError, match="no model of the run is finished yet with seed 2"):
        diagnostics(results, seed=2)
    with pytest.raises(ValueError, match="unknown diagnostic 'energi': did you mean energy"):
        diagnostics(results, only=["energi"])


def test_names_from_outside_stay_text(sheets: dict[str, Sheet]) -> None:
    page = sheets_markdown("a | b", list(sheets.values()), "tutelage diagnose x")
    assert page.replace("\n", "").isprintable()
    assert "# a \\| b" in page
    widths = [line.count("|") - line.count("\\|") for line in page.splitlines() if line.startswith("| ")]
    assert set(widths) <= {len(sheet.headings) + 1 for sheet in sheets.values()}
    lines = list(csv.DictReader(io.StringIO(sheets_csv(list(sheets.values())))))
    assert len(lines) == sum(len(sheet.series) for sheet in sheets.values())
    assert {line["true"] for line in lines if line["diagnostic"] == "second"} == {*SHOWN[:5], "'" + SHOWN[5]}
    first = sheets["calibration"].series[0]
    (line,) = (
        line
        for line in lines
        if line["diagnostic"] == "calibration"
        and (line["arm"], line["place"], line["seed"]) == ("baseline", "0", "0")
    )
    assert isinstance(first["nll"], float)
    assert math.isclose(float(line["nll"]), first["nll"], rel_tol=1e-15)
    for sheet in sheets.values():
        assert str(sheet_table(sheet))


def test_a_holdout_is_what_temperatures_are_fitted_on(tmp_path: Path) -> None:
    results = finish(Study(lineages=(call("baseline", train_size=80, holdout=40, epochs=3),)), tmp_path)
    calibration, reliability = diagnostics(results, only=["calibration", "reliability"])
    assert calibration.rows[0][-1] == "holdout, 40"
    found = calibration.series[0]
    predictions = results.rows[0].models[0].predictions()
    assert isinstance(found["temperature"], float)
    scaled = predictions["test"].double() / found["temperature"]
    assert found["nll_scaled"] == pytest.approx(nll(scaled, predictions["test_labels"]))
    held = predictions["holdout"].double()
    at = [nll(held / (factor * found["temperature"]), predictions["holdout_labels"]) for factor in (0.9, 1.0, 1.1)]
    assert min(at) == at[1]
    assert {one["scaled"] for one in reliability.series} == {False, True}


def test_what_is_not_finished_is_named(results: Results) -> None:
    *rows, last = results.rows
    nowhere = tuple(replace(model, folder=model.folder.with_name("nowhere")) for model in last.models)
    part = replace(results, rows=(*rows, replace(last, models=nowhere)))
    for sheet in diagnostics(part, only=["generations", "energy"]):
        assert [row[1] for row in sheet.rows] == ["baseline", "patriarch", "generation 1", "teacher"]
        assert sheet.notes[-1] == "Not finished yet: dynamic_temperature/student."


def test_several_teachers_and_one_that_is_gone(tmp_path: Path) -> None:
    quick = {"train_size": 20, "epochs": 1}
    two = call("distill", teacher=("resnet8", "resnet8"), teacher_shares=(1.0, 3.0), method="decoupled", **quick)
    results = finish(Study(lineages=(two,)), tmp_path)
    list(measure_training_sets(results))
    first, second, student = (row.models[0] for row in results.rows)
    agreeing, targets = (diagnostics(results, only=[name])[0] for name in ("agreement", "targets"))
    together = ensemble([each.predictions()["test"] for each in (first, second)], (1.0, 3.0))
    assert agreeing.series[0]["kl"] == divergence(together, student.predictions()["test"])
    assert agreeing.rows[0][3] == "teacher 1 and teacher 2"
    said = [training_logits(each) for each in (first, second)]
    wrong = ensemble([logits for logits in said if logits is not None], (1.0, 3.0)).argmax(1)
    labels = training_labels(student)
    assert labels is not None
    assert targets.rows[0][4] == f"{100 * (wrong != labels.labels).double().mean().item():.2f}"
    assert "not looked into" in targets.rows[0]
    assert {(one["changed"], one["moved"]) for one in targets.series} == {(None, None)}
    assert len(targets.series) == 10

    storage.remove(first.folder)
    agreeing, targets = (diagnostics(results, only=[name])[0] for name in ("agreement", "targets"))
    assert agreeing.rows == targets.rows == ()
    assert "The teacher's model is not there: distill/student." in agreeing.notes


def test_data_without_superclasses(tmp_path: Path) -> None:
    results = finish(Study(lineages=(call("baseline", train_size=40, epochs=1),)), tmp_path)
    list(measure_training_sets(results, logits=False))
    (coarse,) = diagnostics(results, only=["coarse"])
    assert (coarse.rows, coarse.notes) == ((), ("No superclasses (coarse labels) in the data: all.",))
    assert "No superclasses" in str(sheet_table(coarse))


def test_the_page_names_them_all() -> None:
    page = (Path(__file__).parents[2] / "docs" / "diagnostics.md").read_text(encoding="utf-8")
    assert re.findall(r"^\| \[`(\w+)`\]\(#[\w-]+\) \|", page, re.MULTILINE) == list(PARTS)
    anchors = {heading.lower().replace(" ", "-") for heading in re.findall(r"^## (.*)$", page, re.MULTILINE)}
    assert set(re.findall(r"\]\(#([\w-]+)\)", page)) <= anchors
    links = re.findall(r"\]\(([^)#]+)\)", page)
    assert links
    assert all((Path(__file__).parents[2] / "docs" / link).exists() for link in links)
