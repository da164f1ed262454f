"""The files of studies in a runs folder: replaced as one, listed although some cannot be read, named for a shell."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tests.cli.conftest import InProcess
from tests.report import made
from tutelage import api, storage
from tutelage.report.page import render
from tutelage.storage import files as storage_files
from tutelage.study import Study, load_study, studies
from tutelage.study import files as study_files
from tutelage.study.files import StudyRecord, write_study


def record(title: str | None = "mine", command: str = "first") -> StudyRecord:
    study = Study(lineages=(made.arm("plain"),), title=title)
    return StudyRecord(study=study, precision="fp32", fingerprints=("f" * 64,), num_classes=(10,), command=command)


@pytest.mark.fault(14)
def test_a_reader_never_meets_half_of_a_study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At each durable operation of writing it again: the study as it was, or as it will be."""
    name, commands = record().study.name, []
    write_study(record(), tmp_path)
    real = storage_files.Operations.step

    def read() -> None:
        commands.append(load_study(name, tmp_path).command)
        real()

    monkeypatch.setattr(storage_files.Operations, "step", read)
    for number in range(3):
        write_study(record(command=f"{number}"), tmp_path)
    monkeypatch.undo()
    assert list(dict.fromkeys(commands)) == ["first", "0", "1", "2"]
    assert load_study(name, tmp_path).command == "2"
    folder = tmp_path / "studies" / name
    assert len(list(folder.glob("study*.json"))) == 1  # nothing of the earlier ones is left
    storage.verify(folder)


@pytest.mark.fault(14)
def test_a_study_that_is_replaced_while_it_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between its manifest and its file, which is gone by then, three times over."""
    write_study(record(), tmp_path)
    real, left = storage.read_listed, [3, 2, 1]

    def slow(folder: Path, name: str, limit: int | None = None) -> bytes:
        if left:
            number = left.pop()
            monkeypatch.setattr(storage, "read_listed", real)
            write_study(record(command=f"{number}"), tmp_path)
            monkeypatch.setattr(storage, "read_listed", slow)
        return real(folder, name, limit)

    monkeypatch.setattr(storage, "read_listed", slow)
    assert load_study(record().study.name, tmp_path).command == "3"


@pytest.mark.fault(2)
def test_a_kill_while_a_study_is_written_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Killed(BaseException):
        pass

    real, survived = storage_files.Operations.step, set()
    for at in range(1, 20):
        runs, count = tmp_path / f"{at}", [0]
        write_study(record(), runs)

        def step(count: list[int] = count, at: int = at) -> None:
            count[0] += 1
            if count[0] == at:
                raise Killed
            real()

        with monkeypatch.context() as patch:
            patch.setattr(storage_files.Operations, "step", step)
            try:
                write_study(record(command="second"), runs)
            except Killed:
                pass
            else:
                break
        survived.add(load_study(record().study.name, runs).command)
        write_study(record(command="third"), runs)
        assert load_study(record().study.name, runs).command == "third"
        assert len(list((runs / "studies" / record().study.name).glob("*.json"))) == 2
    assert survived == {"first", "second"}


BROKEN: dict[str, Callable[[Path], object]] = {
    "without its file": lambda folder: (folder / "study.json").unlink(),
    "with a folder as file": lambda folder: ((folder / "study.json").unlink(), (folder / "study.json").mkdir()),
    "with a damaged manifest": lambda folder: (folder / storage.MANIFEST).write_bytes(b"{"),
    "with an empty manifest": lambda folder: (folder / storage.MANIFEST).write_bytes(b""),
}


@pytest.mark.parametrize("how", BROKEN)
def test_one_study_that_cannot_be_read(how: str, in_process: InProcess, tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    broken, sound = record("broken"), record("sound")
    write_study(sound, runs)
    write_study(broken, runs)
    BROKEN[how](runs / "studies" / broken.study.name)
    code, out, error = in_process("list", "runs")
    assert (code, error) == (0, "")
    assert set(out.split()) == {"runs:", sound.study.name, broken.study.name}
    code, _, error = in_process("show", broken.study.name)
    assert code == 2
    assert broken.study.name in error
    assert len(error.splitlines()) == 1
    if how == "with a folder as file":
        path = runs / "studies" / broken.study.name / "study.json"
        with pytest.raises(IsADirectoryError) as refused:
            write_study(broken, runs)
        assert str(refused.value) == f"[Errno 21] Is a directory: '{path}'"  # without the name of a temporary file
    else:
        write_study(broken, runs)
        assert load_study(broken.study.name, runs) == broken


def test_a_folder_without_permission(in_process: InProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The tests run as a user for whom there is no such folder: the error is raised by hand."""
    runs = tmp_path / "runs"
    sound, secret = record("sound"), record("secret")
    for each in (sound, secret):
        write_study(each, runs)
    real = storage.read_manifest

    def refuse(folder: Path) -> dict[str, object]:
        if "secret" in folder.name:
            raise PermissionError(13, "Permission denied", str(folder))
        return real(folder)

    monkeypatch.setattr(storage, "read_manifest", refuse)
    assert in_process("list", "runs")[:2] == (0, f"runs:\n  {sound.study.name}\n  {secret.study.name}\n")
    write_study(record("another"), runs)
    assert studies(runs)[0] == record("another").study.name


@pytest.mark.parametrize("title", ["研究", "---", "🙂", ".", "-x", "--help", " ", "日本 -- 語", "./-"])
def test_every_name_can_be_typed(title: str, in_process: InProcess, tmp_path: Path) -> None:
    study = Study(lineages=(made.arm("plain"),), title=title)
    assert re.fullmatch(r"\w[\w-]*-[0-9a-f]{8}", study.name)
    made.write(study, tmp_path / "runs", lambda arm, place, seed: 0.8)
    code, out, error = in_process("show", study.name)
    assert code == 0, error
    assert study.name in out


def test_arms_without_a_letter(tmp_path: Path) -> None:
    arms = tuple(replace(made.arm("plain"), name=name) for name in ("教師", "生徒"))
    assert re.fullmatch(r"\w[\w-]*-[0-9a-f]{8}", Study(lineages=arms).name)


@pytest.mark.fault(4)
def test_a_report_removes_what_killed_reports_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also that of other runs; what another process writes at this moment stays."""
    monkeypatch.setattr(render, "vega", lambda: "window.vegaEmbed = null;")
    name = made.write(Study(lineages=(made.arm("plain"),)), tmp_path, lambda arm, place, seed: 0.8)
    reports = tmp_path / "reports"
    reports.mkdir()
    for number, of in enumerate((f"{name}.html", "another.md", "x" * 150)):
        (reports / f".partial-{number + 1}-{number}-{of}").write_bytes(b"half")
    (reports / ".partial-7-7-link").symlink_to("nowhere")
    os.mkfifo(reports / ".partial-8-8-fifo")
    (reports / ".partial-download.zip").write_bytes(b"of another program")
    with storage_files._temporary_file(reports / "theirs.md") as (file, temporary):
        api.report(name, runs=tmp_path)
        assert temporary.exists()
        file.close()
        api.report(name, runs=tmp_path)
        assert temporary.exists()
        temporary.replace(reports / "theirs.md")
    left = {path.name for path in reports.iterdir() if path.name.startswith(".partial-")}
    assert left == {".partial-7-7-link", ".partial-download.zip"}


@pytest.mark.fault(4)
def test_who_loses_the_race_for_a_temporary_file_takes_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody else removed it as abandoned in the moment before it was held."""
    answers = iter([False, False, True])
    monkeypatch.setattr(storage_files, "held", lambda handle: contextlib.nullcontext(next(answers)))
    storage.write_bytes(tmp_path / "note.txt", b"text")
    assert (tmp_path / "note.txt").read_bytes() == b"text"
    assert next(answers, None) is None


@pytest.mark.parametrize("error", [OSError(5, "Input/output error"), PermissionError(13, "Permission denied")])
def test_an_error_of_writing_names_the_file_and_nothing_else(
    error: OSError, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(source: Path, target: Path) -> None:
        raise OSError(error.errno, error.strerror, str(source), None, str(target))

    monkeypatch.setattr(Path, "replace", fail)
    path = tmp_path / "note.txt"
    with pytest.raises(type(error)) as refused:
        storage.write_bytes(path, b"text")
    assert str(refused.value) == f"[Errno {error.errno}] {error.strerror}: '{path}'"
    assert list(tmp_path.iterdir()) == []


def test_the_failures_of_a_study_that_is_deleted_meanwhile(tmp_path: Path) -> None:
    write_study(record(), tmp_path)
    shutil.rmtree(tmp_path / "studies" / record().study.name)
    assert study_files.load_failures(record().study.name, tmp_path) == ()
