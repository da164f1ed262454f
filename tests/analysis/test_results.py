"""Results of a study: gathered from stored measures, by seed."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from tests.report import made
from tutelage import storage
from tutelage.analysis import compare, load_results
from tutelage.artifacts import model
from tutelage.evaluation import ensemble, measure
from tutelage.recipes.tolerant import tolerant
from tutelage.report.generations import generations_table
from tutelage.study import Study

SEEDS = tuple(range(16))


@pytest.fixture(autouse=True)
def _unsynced(monkeypatch: pytest.MonkeyPatch) -> None:
    """These folders need not outlive a power cut."""
    monkeypatch.setattr("os.fsync", lambda handle: None)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("results")
    made.write(study(), folder, lambda arm, place, seed: 0.7 + 0.01 * place + 0.001 * seed)
    with pytest.MonkeyPatch.context() as unsynced:
        unsynced.setattr("os.fsync", lambda handle: None)
        load_results(study().name, folder)  # as the run itself does at its end
    return folder


def study() -> Study:
    return Study(lineages=(made.arm("chain", tolerant, generations=5),), seeds=SEEDS)


def test_a_table_reads_no_logits(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files: Counter[str] = Counter()
    original = storage.read_listed

    def read_listed(folder: Path, name: str, limit: int | None = None) -> bytes:
        files[name] += 1
        return original(folder, name, limit)

    monkeypatch.setattr(storage, "read_listed", read_listed)
    results = load_results(study().name, runs)
    table = generations_table(results)
    assert [cell.text.count("±") for cell in table.column("ensemble top-1")] == [0, 1, 1, 1, 1, 1]
    assert len(compare(results).arms) == 2
    assert files["evaluation.json"] == 16 * 6
    assert files["measures.json"] == 16 * 5
    assert not {name for name in files if name.endswith(".safetensors")}


def test_an_ensemble_is_measured_again_where_its_measures_are_damaged(runs: Path) -> None:
    first = load_results(study().name, runs)
    last = first.generations[-1].seeds[3]
    models = [generation.models[3] for generation in first.generations]
    predictions = [each.predictions() for each in models]
    expected = measure(ensemble([each["test"] for each in predictions]), predictions[0]["test_labels"])
    assert last.ensemble == expected
    for path in (runs / "ensembles").glob("*/measures.json"):
        path.write_bytes(path.read_bytes().replace(b"0.", b"1.", 1))
    assert load_results(study().name, runs) == first


def test_an_ensemble_of_models_with_other_weights_is_another(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folders = set((runs / "ensembles").iterdir())
    monkeypatch.setattr(model, "weights_digest", lambda folder: f"other {folder.name}")
    load_results(study().name, runs)
    assert len(set((runs / "ensembles").iterdir()) - folders) == 16 * 5


def test_where_nothing_can_be_stored_results_are_still_there(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(storage, "commit", full)
    monkeypatch.setattr(model, "weights_digest", lambda folder: f"third {folder.name}")
    generation = load_results(study().name, runs).generations[-1]
    assert len(generation.ensemble()) == 16
