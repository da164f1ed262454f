"""Standard streams as a command may meet them: closed, without a reader, full, or in an encoding that lacks signs."""

from __future__ import annotations

import io
import os
import sys
from pathlib import Path

import pytest

from tests.cli.conftest import Command, InProcess
from tests.report import made
from tutelage import storage
from tutelage.cli import command
from tutelage.cli.streams import ASCII, for_stream
from tutelage.study import Study

QUICK = ("run", "baseline", "--epochs", "1", "--train-size", "20", "--threads", "1", "--track", "none")


@pytest.mark.fault(44)
@pytest.mark.parametrize("closed", [(2,), (1,), (0, 1, 2)])
def test_closed_streams_end_no_training(closed: tuple[int, ...], tutelage: Command, tmp_path: Path) -> None:
    done = tutelage(*QUICK, closed=closed)
    assert done.returncode == 0, done.stderr
    (model,) = (tmp_path / "runs" / "models").iterdir()
    storage.verify(model)  # nothing was printed into a file that took the place of a stream
    assert ("test top-1" in done.stdout) == (1 not in closed)
    assert ("trained in" in done.stderr) == (2 not in closed)
    assert "Traceback" not in done.stderr


def test_an_error_with_closed_streams_keeps_its_code(tutelage: Command) -> None:
    assert tutelage("run", "nothing", closed=(1, 2)).returncode == 2
    done = tutelage("run", "nothing", closed=(0, 1))
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)


@pytest.fixture
def two_seeds(tmp_path: Path) -> str:
    """A study of two arms and two seeds, one arm of which has a name of signs."""
    study = Study(lineages=(made.arm("plain"), made.arm("η ≥ ½ 研究", lr=0.2)), seeds=(0, 1))
    return made.write(study, tmp_path / "runs", lambda arm, place, seed: 0.8 + 0.05 * seed)


def printed_in(encoding: str, monkeypatch: pytest.MonkeyPatch, *words: str) -> tuple[int, str]:
    """The code and the output of a command whose standard output has this encoding."""
    output = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    monkeypatch.setattr(sys, "stdout", output)
    code = command(list(words))
    return code, output.buffer.getvalue().decode(encoding)  # type: ignore[attr-defined]


@pytest.mark.fault(44)
@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp437", "koi8-r", "utf-8"])
def test_every_encoding_shows_a_study(
    encoding: str, two_seeds: str, in_process: InProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    code, output = printed_in(encoding, monkeypatch, "show", two_seeds)
    assert code == 0
    assert (" ± " in output) == (for_stream("±", io.TextIOWrapper(io.BytesIO(), encoding=encoding)) == "±")
    assert (" ± " in output) != (" +- " in output)
    rows = [line for line in output.splitlines() if line.startswith(("|", "│")) and "plain" in line]
    edges = {tuple(place for place, sign in enumerate(row) if sign in "|│") for row in rows}
    assert len(edges) <= 2  # of two tables, whose columns stand in line
    if encoding == "ascii":
        assert "\\u7814\\u7a76" in output


def test_formulas_in_ascii(in_process: InProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    code, output = printed_in("ascii", monkeypatch, "explain", "distill", "--temperature-rule", "flsw")
    assert code == 0
    assert "tau^2 KL(teacher@tau || student@tau) with tau = " in output
    code, output = printed_in("ascii", monkeypatch, "list", "recipes")
    assert (code, output.isascii()) == (0, True)


def test_every_fallback_is_ascii() -> None:
    assert all(not sign.isascii() and text.isascii() and text for sign, text in ASCII.items())


@pytest.mark.fault(44)
def test_files_are_written_although_the_reader_has_left(
    two_seeds: str, in_process: InProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as output, monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", output)
        assert command(["show", two_seeds, "--csv", "a.csv", "--markdown", "a.md"]) == 0
    assert "plain" in (tmp_path / "a.csv").read_text()
    assert (tmp_path / "a.md").read_text().startswith("# ")


@pytest.mark.fault(44)
def test_a_failed_training_is_1_although_the_reader_has_left(
    in_process: InProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as output, monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", output)
        assert command([*QUICK, "--lr", "1e20"]) == 1


@pytest.mark.fault(44)
@pytest.mark.parametrize("words", [("--help",), ("list", "models"), ("run", "--help"), ("explain", "tolerant")])
def test_a_reader_who_leaves_is_no_fault(
    words: tuple[str, ...], in_process: InProcess, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as output, monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", output)
        assert command(list(words)) == 0
    assert capsys.readouterr().err == ""
    assert in_process(*words)[1]  # the next call in this process is not silent


@pytest.mark.fault(44)
@pytest.mark.parametrize(
    ("path", "mode", "message"),
    [
        ("/dev/full", "w", "no space left where the output goes"),
        (os.devnull, "r", "the output cannot be written: bad file descriptor"),
    ],
)
def test_output_that_cannot_be_written(
    path: str, mode: str, message: str, two_seeds: str, in_process: InProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    handle = os.open(path, os.O_WRONLY if mode == "w" else os.O_RDONLY)
    errors = io.StringIO()
    with os.fdopen(handle, "w") as output, monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", output)
        patch.setattr(sys, "stderr", errors)
        assert command(["show", two_seeds]) == 1
    assert errors.getvalue() == f"tutelage: {message}\n"
