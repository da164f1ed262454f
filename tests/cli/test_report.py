"""``tutelage report`` as a user meets it: which runs, which files, and what it says when it cannot."""

from __future__ import annotations

import csv
import os
import time
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import pytest

from tests.cli.conftest import Command, InProcess
from tests.report import made
from tutelage.report.page import render, vega
from tutelage.study import Study


def write(runs: Path, title: str, **options: object) -> str:
    study = Study(lineages=(made.arm("plain"), made.arm("other", **options)), seeds=(0, 1), title=title)
    name = made.write(study, runs, lambda arm, place, seed: 0.8 + 0.01 * seed + 0.05 * (arm == "other") * (1 + seed))
    past = time.time() - 60
    os.utime(runs / "studies" / name / "study.json", (past, past))
    return name


@pytest.fixture(autouse=True)
def _no_bundle(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(render, "vega", lambda: "window.vegaEmbed = null;")


def test_the_command_makes_three_files(tutelage: Command, tmp_path: Path) -> None:
    words = ("--epochs", "2", "--train-size", "40", "--threads", "1", "--name", "mine")
    trained = tutelage("study", "--arm", "baseline", "--arm", "label_smoothing", *words)
    assert trained.returncode == 0, trained.stderr
    done = tutelage("report", "--out", "pages", XDG_CACHE_HOME=str(tmp_path / "cache"))
    assert done.returncode == 0, done.stderr
    files = sorted(path.name for path in (tmp_path / "pages").iterdir())
    assert [Path(name).suffix for name in files] == [".csv", ".html", ".md"]
    assert done.stdout.splitlines() == [f"written: pages/{files[place]}" for place in (2, 0, 1)]
    page = (tmp_path / "pages" / files[1]).read_text(encoding="utf-8")
    assert page.startswith("<!doctype html>")
    assert "tutelage study --arm baseline --arm label_smoothing" in page
    assert len(page.encode()) < 1_000_000


def test_the_newest_run_by_default(in_process: InProcess, tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    old, new = write(runs, "old"), write(runs, "new", lr=0.2)
    os.utime(runs / "studies" / new / "study.json")
    code, out, error = in_process("report")
    assert code == 0, error
    assert [line.split("/")[-1] for line in out.splitlines()] == [f"{new}.md", f"{new}.csv", f"{new}.html"]
    assert f"# {new}" in (runs / "reports" / f"{new}.md").read_text()
    assert old not in (runs / "reports" / f"{new}.html").read_text()


def test_several_runs_make_one_page(in_process: InProcess, tmp_path: Path) -> None:
    first, second = write(tmp_path / "runs", "first"), write(tmp_path / "runs", "second", lr=0.2)
    code, _, error = in_process("report", first, second, first, "--out", "deep/pages", "--confidence", "0.9")
    assert code == 0, error
    made_files = {path.name for path in (tmp_path / "deep" / "pages").iterdir()}
    assert made_files == {f"{name}.{kind}" for name in (first, second) for kind in ("md", "csv")} | {
        f"{first}-and-1-more.html"
    }
    page = (tmp_path / "deep" / "pages" / f"{first}-and-1-more.html").read_text()
    assert f"run {first}" in page
    assert f"run {second}" in page
    assert "90 % t interval" in page
    (line, _) = csv.DictReader((tmp_path / "deep" / "pages" / f"{second}.csv").read_text().splitlines())
    assert line["confidence"] == "0.9"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("nothing",), "unknown run 'nothing': choose from what-helps-on-digits-"),
        (("what-helps-on-digit",), "unknown run 'what-helps-on-digit': did you mean what-helps-on-digits-"),
        (("../studies",), "unknown run '../studies'"),
        (("--confidence", "95"), "confidence is in (0, 1), not 95"),
        (("--test", "z"), "--test"),
        (("--out", "a-file"), "a-file is a file: expected a folder to write"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(
    in_process: InProcess, tmp_path: Path, words: tuple[str, ...], message: str
) -> None:
    write(tmp_path / "runs", "what helps on digits")
    (tmp_path / "a-file").write_text("")
    code, out, error = in_process("report", *words)
    assert code == 2
    assert message in error
    assert len(error.splitlines()) == 1
    assert out == ""
    assert not list(tmp_path.rglob("*.html"))


def test_no_run_at_all(in_process: InProcess, tmp_path: Path) -> None:
    code, _, error = in_process("report")
    assert (code, error) == (2, f"tutelage: there is no run to report on: {tmp_path / 'runs'} holds none yet\n")


def test_without_the_extra_markdown_and_csv_are_there(
    in_process: InProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(package: str) -> str:
        raise PackageNotFoundError(package)

    monkeypatch.setattr(vega, "version", missing)
    monkeypatch.setattr(render, "vega", vega.vega)
    name = write(tmp_path / "runs", "mine")
    code, out, error = in_process("report", name)
    assert code == 2
    assert error == "tutelage: the page needs the package vl-convert-python: pip install 'tutelage[report]'\n"
    assert [line.rsplit(".", 1)[-1] for line in out.splitlines()] == ["md", "csv"]
    assert {path.suffix for path in (tmp_path / "runs" / "reports").iterdir()} == {".md", ".csv"}


def test_a_command_that_is_no_utf_8(in_process: InProcess, tmp_path: Path) -> None:
    study = Study(lineages=(made.arm("plain"),), seeds=(0,))
    name = made.write(study, tmp_path / "runs", lambda arm, place, seed: 0.8, command="tutelage run \udcff")
    code, _, error = in_process("report", name)
    assert code == 0, error
    for kind in ("html", "md"):
        assert "tutelage run \\udcff" in (tmp_path / "runs" / "reports" / f"{name}.{kind}").read_text()
