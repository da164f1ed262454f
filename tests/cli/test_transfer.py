"""``tutelage transfer`` as a user meets it: digits onto a set of one's own, killed and continued, and refused."""

from __future__ import annotations

import csv
import signal
from pathlib import Path

import numpy as np
import pytest

from tests.cli.conftest import Command, InProcess
from tutelage import run as train
from tutelage import storage
from tutelage.study import studies


def make_set(path: Path) -> None:
    """Colour images of three classes, each bright in a quarter of its own."""
    draw = np.random.default_rng(4)
    arrays = {}
    for part, count in (("train", 45), ("test", 30)):
        images, labels = draw.integers(0, 120, (count, 12, 10, 3), dtype=np.uint8), np.arange(count) % 3
        for image, label in zip(images, labels, strict=True):
            image[6 * (label // 2) :][:6, 5 * (label % 2) :][:, :5] += 100
        arrays |= {f"{part}_images": images, f"{part}_labels": labels}
    np.savez(path, **arrays)


@pytest.fixture
def name(tmp_path: Path) -> str:
    make_set(tmp_path / "mine.npz")
    runs = tmp_path / "runs"
    train("tolerant", generations=1, epochs=1, train_size=60, seeds=(0, 1), runs=runs, device="cpu", precision="fp32")
    (found,) = studies(runs)
    return found


def finished(runs: Path) -> dict[Path, int]:
    folders = (runs / "transfer").glob("*/*")
    return {
        path: path.stat().st_mtime_ns
        for folder in folders
        if storage.is_finished(folder)
        for path in folder.iterdir()
    }


def test_killed_and_continued_then_nothing_is_left_to_do(
    tutelage: Command, in_process: InProcess, name: str, tmp_path: Path
) -> None:
    runs, words = tmp_path / "runs", ("transfer", name, "--data", "mine.npz")
    killed = tutelage(*words, TUTELAGE_FAULT="kill@28")  # in the third of ten commits
    assert killed.returncode == -signal.SIGKILL
    before = finished(runs)
    assert len(before) == 4  # both probes of one model, each with its manifest

    code, out, err = in_process(*words, "--markdown", "deep/t.md", "--csv", "t.csv")
    assert code == 0, err
    assert "probed: 4 of 4 (pixels)" in err
    after = finished(runs)
    assert {path: after[path] for path in before} == before
    assert len(after) == 20
    for folder in {path.parent for path in after}:
        storage.verify(folder)
        assert sorted(path.name for path in folder.iterdir()) == ["manifest.json", "transfer.json"]

    for text in (
        "Transfer to mine.npz (45 training and 30 test images, 3 classes): linear probe",
        "20 nearest neighbours",
        "pixels of 1 x 8 x 8",
        "patriarch",
        "generation 1",
    ):
        assert text in out
    assert f"tutelage transfer {name} --data mine.npz\n" in (tmp_path / "deep" / "t.md").read_text()
    lines = list(csv.DictReader((tmp_path / "t.csv").read_text().splitlines()))
    assert [(line["probe"], line["generation"], line["seeds"]) for line in lines] == [
        (probe, *rest)
        for probe in ("linear", "knn")
        for rest in (("patriarch", "0 1"), ("generation 1", "0 1"), ("", ""))
    ]
    assert all(line["l2"] for line in lines[:3])
    assert float(lines[2]["accuracy"]) == 1.0  # a linear probe sees brightness in the pixels

    again = in_process(*words, "--markdown", "deep/t.md", "--csv", "t.csv")
    assert again == (0, out, "")
    assert finished(runs) == after

    code, out, err = in_process(*words, "--probe", "knn", "--seed", "1", "--layer", "stage2", "--no-floor")
    assert code == 0, err
    assert "probed: 2 of 2 (tolerant, generation 1, seed 1)" in err
    assert "linear" not in out
    assert "Frozen features (stage2)" in out
    assert "One seed: no spread, no test." in out


def test_what_it_refuses(in_process: InProcess, name: str, tmp_path: Path) -> None:
    for words, message in (
        (("tolerent", "--data", "digits"), "unknown run 'tolerent'"),
        ((name, "--data", "digit"), "unknown dataset 'digit': did you mean digits?"),
        ((name, "--data", "mine.npz", "--seed", "5"), "unknown seed of the run '5': choose from 0, 1"),
        ((name, "--data", "mine.npz", "--reference", "patriarc"), "did you mean patriarch"),
        ((name, "--data", "mine.npz", "--layer", "clasifier:input"), "did you mean classifier?"),
        ((name, "--data", "mine.npz", "--train-size", "3"), "are too few for the linear probe"),
        ((name, "--data", "mine.npz", "--test-size", "99"), "test_size must be from 3"),
        ((name, "--data", "mine.npz", "--csv", "."), "is a folder"),
    ):
        code, out, err = in_process("transfer", *words)
        assert (code, out) == (2, ""), words
        assert err.count("\n") == 1, err
        assert message in err, err
    assert not finished(tmp_path / "runs")
