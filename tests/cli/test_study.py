"""``tutelage study`` as a user meets it: its grammar, what it refuses, and that a killed one continues."""

from __future__ import annotations

import csv
import re
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.conftest import COMMAND, Command
from tests.faults.commands import children, has_ended, until
from tutelage.analysis import load_results
from tutelage.study import load_study, studies

QUICK = ("--epochs", "2", "--threads", "1", "--train-size", "40")
ARMS = (
    *("--arm", "baseline", "--arm", "'much smoothed'=label_smoothing --smoothing 0.3"),
    *("--arm", "born_again --generations 1 --epochs 3"),
)


def test_study_show_and_study_again(tutelage: Command, in_process: Command, tmp_path: Path) -> None:
    words = ("study", *ARMS, "--seeds", "0", "1", "--smoothing=0.2", *QUICK, "--name", "My study!", "--csv", "a.csv")
    first = tutelage(*words, "--markdown", "deep/a.md")
    assert first.returncode == 0, first.stderr
    assert first.stderr.count("trained in") == 8
    assert "compared to baseline" in first.stdout
    (name,) = studies(tmp_path / "runs")
    assert re.fullmatch(r"My-study-[0-9a-f]{8}", name)

    lineages = {lineage.name: lineage for lineage in load_study(name, tmp_path / "runs").study.lineages}
    assert list(lineages) == ["baseline", "much smoothed", "born_again"]
    assert "smoothed by 0.3" in str(
        lineages["much smoothed"].generations[0].objective
    )  # its own word, not the shared
    assert [lineage.generations[0].schedule.epochs for lineage in lineages.values()] == [2, 2, 3]

    page = (tmp_path / "deep" / "a.md").read_text()
    assert "tutelage study --arm baseline --arm" in page
    lines = list(csv.DictReader((tmp_path / "a.csv").read_text().splitlines()))
    assert [line["arm"] for line in lines] == ["baseline", "much smoothed", "born_again", "born_again"]
    assert [line["ensemble"] for line in lines] == ["0", "0", "0", "1"]
    measured = [measures.top1 for measures in load_results(name, tmp_path / "runs").generations[1].test().values()]
    assert float(lines[1]["top1"]) == pytest.approx(sum(measured) / 2)

    again = in_process(*words)
    assert again.returncode == 0
    assert "trained in" not in again.stderr
    shown = in_process("show", name, "--test", "permutation", "--markdown", "b.md")
    assert "compared to baseline" in shown.stdout
    assert "permutation test" in shown.stdout
    assert "permutation test" in (tmp_path / "b.md").read_text()
    otherwise = in_process("show", name, "--reference", "much smoothed", "--markdown", "c.md")
    assert "compared to much smoothed" in otherwise.stdout
    assert (tmp_path / "c.md").read_text().startswith(f"# {name}\n")
    slip = in_process("show", name, "--reference", "smothed")
    assert (slip.returncode, slip.stdout) == (2, "")
    assert "unknown reference 'smothed': did you mean much smoothed" in slip.stderr


def test_a_file_and_an_arm_that_fails(tutelage: Command, tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text(
        'epochs = 2\ntrain_size = 40\nreference = "sound"\nseeds = [5]\n'
        'arms = [{recipe = "baseline", name = "wild", lr = 1e20}, {recipe = "baseline", name = "sound"}]\n'
    )
    done = tutelage("study", "mine.toml", "--seeds", "1", "--threads", "1", "--markdown", "a.md")
    assert done.returncode == 1
    assert "seed 1, wild failed: the loss is" in done.stderr
    assert "seed 1, sound, baseline: trained in" in done.stderr
    assert "failed: wild, seed 1: the loss is" in done.stdout
    page = (tmp_path / "a.md").read_text()
    assert "| wild | baseline | 0 of 1 |" in page
    assert "- wild, seed 1: the loss is" in page


@pytest.mark.fault(30)
@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "needs arms: --arm baseline"),
        (("--arm", "baselin"), "unknown recipe 'baselin': did you mean baseline?"),
        (("--arm", ""), "expected a recipe"),
        (("--arm", "baseline 'x"), "no closing quotation"),
        (("--arm", "baseline", "--arm", "baseline"), "two arms of a study are named 'baseline'"),
        (("--arm", "baseline --epoch 3"), "arm baseline: Unknown option: --epoch. Did you mean --epochs?"),
        (("--arm", "baseline --epochs many"), 'arm baseline: Invalid value for --epochs: unable to convert "many"'),
        (("--arm", "baseline --help"), "tutelage run baseline --help"),
        (("--arm", "baseline", "--smoothing", "0.1"), "unknown option '--smoothing'"),
        (("--arm", "baseline", "--sedes", "0"), "unknown option '--sedes': did you mean --seeds"),
        (("--arm", "baseline", "--reference", "tolerant"), "unknown reference 'tolerant': choose from baseline"),
        (("--arm", "baseline", "--seeds", "0", "0"), "seeds, each once"),
        (("--arm", "baseline", "--test", "z"), "--test"),
        (("--arm", "baseline", "--confidence", "95"), "confidence is in (0, 1), not 95"),
        (("--arm", "baseline", "--csv", "."), "is a folder"),
        (("nowhere.toml",), "nowhere.toml"),
        (("mine.toml", "--arm", "baseline"), "--arm cannot stand beside mine.toml"),
        (("mine.toml", "--markdwon", "x.md"), "unknown option '--markdwon': did you mean --markdown"),
        (("kd/none", "--sedes", "2"), "unknown option '--sedes': did you mean --seeds"),
        (("mine.toml", "--epochs", "3"), "--epochs cannot stand beside mine.toml"),
        (("mine.toml",), "mine.toml: arms[1].smoothing: expected a number, not 'high'"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(
    in_process: Command, tmp_path: Path, words: tuple[str, ...], message: str
) -> None:
    (tmp_path / "mine.toml").write_text('arms = ["baseline", {recipe = "label_smoothing", smoothing = "high"}]')
    done = in_process("study", *words)
    assert done.returncode == 2, done.stderr
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert done.stdout == ""
    assert not (tmp_path / "runs").exists()


@pytest.fixture
def in_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Command]:
    """The command without a process of its own: for what never trains, in a tenth of the time."""
    from tutelage.cli import command

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TUTELAGE_RUNS", str(tmp_path / "runs"))

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        code = command(list(words))
        said = capsys.readouterr()
        return subprocess.CompletedProcess(words, code, said.out, said.err)

    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield run
    for number, handler in before.items():
        signal.signal(number, handler)


def test_help_says_how_arms_are_written(in_process: Command) -> None:
    said = in_process("study", "--help").stdout
    assert all(word in said for word in ("--arm", "--seeds", "--reference", "--markdown", "NAME=RECIPE", "FILE"))
    assert "study" in in_process("--help").stdout


def test_a_killed_study_continues(tutelage: Command, environment: dict[str, str], tmp_path: Path) -> None:
    arms = ("--arm", "baseline", "--arm", "label_smoothing", "--arm", "born_again --generations 1")
    words = ("study", *arms, "--epochs", "8", "--seeds", "0", "1", "--threads", "1", "--processes", "2")
    runs, late = tmp_path / "runs", {"TUTELAGE_FAULT": "stop@45"}  # each seed waits for the test in its second model
    with subprocess.Popen([*COMMAND, *words], env=environment | late, stderr=subprocess.DEVNULL) as process:
        until(lambda: list(runs.glob("models/*/manifest.json")))
        seeds = children(process.pid)
        process.kill()
    until(lambda: all(map(has_ended, seeds)))  # they die with it
    kept = {path: path.stat().st_mtime_ns for path in runs.glob("models/*/manifest.json")}
    assert 1 <= len(kept) < 6
    (name,) = studies(runs)
    assert any(len(generation.seeds) < 2 for generation in load_results(name, runs).generations)
    done = tutelage(*words)
    assert done.returncode == 0, done.stderr
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    assert len(list(runs.glob("models/*/manifest.json"))) == 6  # the chain's first generation is the baseline
    assert [list(generation.seeds) for generation in load_results(name, runs).generations] == [[0, 1]] * 4
    assert " of 2" not in done.stdout
