"""An export that is killed or stopped at any of its operations: the same command finishes it."""

from __future__ import annotations

import random
import shutil
import signal
from pathlib import Path

import pytest

from tests.conftest import Many, Tried
from tests.faults.commands import end, finish, is_frozen, leftovers, until
from tests.faults.disk import LINUX, Disk, Killed, read_folder
from tests.warm import Warm
from tutelage.artifacts.metadata import ModelMetadata
from tutelage.export import ExportResult, FinishedModel, export_model, find_model, load_folder, load_model, write
from tutelage.export.formats import FILE_NAMES, Format, to_bytes
from tutelage.export.network import NormalizedNetwork

ALL = tuple(FILE_NAMES)


@pytest.fixture(scope="module")
def student(runs: Path, name: str) -> FinishedModel:
    """Another model than the one that is exported for all tests."""
    return find_model(f"{name}:big one", runs)


@pytest.fixture
def quick(source: FinishedModel, exported: ExportResult, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is not about writing is left out, and what was converted before is not converted again."""
    comparison = write._comparison_images(source, load_folder(exported.folder).metadata)._replace(stored_logits=None)

    def converted(
        network: NormalizedNetwork, metadata: ModelMetadata, formats: tuple[Format, ...]
    ) -> dict[Format, bytes]:
        if metadata.about["address"] == source.model.address:
            return {name: (exported.folder / FILE_NAMES[name]).read_bytes() for name in formats}
        return to_bytes(network, metadata, formats)

    monkeypatch.setattr(write, "to_bytes", converted)
    monkeypatch.setattr(write, "_difference_when_read_back", lambda *_: 0.0)
    monkeypatch.setattr(write, "_comparison_images", lambda *_: comparison)


def visible(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if not path.name.startswith(".partial-")}


@pytest.mark.fault(2)
@pytest.mark.skipif(not LINUX, reason="needs /proc to look up the names of open files")
@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("before", ["nothing", "another model"])
def test_killed_at_every_operation(
    student: FinishedModel,
    source: FinishedModel,
    exported: ExportResult,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    tried: Tried,
    before: str,
) -> None:
    """In process. Every third one is killed once more, as it is repeated."""
    model, formats, earlier = source, ALL, exported.folder
    if before == "another model":
        model, formats = student, ALL[:1]
    undisturbed = visible(export_model(model, tmp_path / "undisturbed", formats).folder)
    addresses = {"none", model.model.address} | ({source.model.address} if before != "nothing" else set())
    draw, points = random.Random(7), 0
    for operation in range(1, 200):
        root = tmp_path / f"{operation}"
        root.mkdir()
        if before != "nothing":
            shutil.copytree(earlier, root / "out")
        with monkeypatch.context() as patch:
            disk = Disk(root, patch)
            disk.top = read_folder(root)
            disk.restart(operation)
            try:
                export_model(model, root / "out", formats)
                break
            except Killed:
                points += 1
            assert loaded_address(root / "out") in addresses
            if operation % 3 == 0:
                disk.restart(draw.randrange(1, 15))
                with pytest.raises(Killed):
                    export_model(model, root / "out", formats)
            disk.restart()
            export_model(model, root / "out", formats)
        assert visible(root / "out") == undisturbed, operation
        shutil.rmtree(root)
    assert points > 15
    tried(points, f"operations of an export over {before}, killed at each (in process); all were then finished")


def loaded_address(folder: Path) -> str:
    """The address of the model that a folder holds as an export; "none" where it says that it is not complete."""
    try:
        return str(load_model(str(folder), folder / "runs", trust=True).metadata.about["address"])
    except ValueError as error:
        message = str(error)
    incomplete = f"{folder} is not complete: an export to it was interrupted, repeat it"
    empty = f"no model '{folder}'", f"'{folder}' is not the folder of a model"
    assert message == incomplete or message.startswith(empty), message
    return "none"


@pytest.mark.fault(2, 12)
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_the_command_is_ended_and_repeated(
    number: signal.Signals, warm: Warm, runs: Path, name: str, tmp_path: Path, many: Many, tried: Tried
) -> None:
    operations = range(1, 26) if many(0, 1) else (13,)  # 13: the card is being written
    for operation in operations:
        words = ("export", name, "--to", str(tmp_path / f"{operation}"), "--format", "safetensors")
        pid = warm.start(words, runs, TUTELAGE_FAULT=f"stop@{operation}")
        until(lambda pid=pid: warm.ended(pid) is not None or is_frozen(pid))
        if warm.ended(pid) == 0:
            break
        code, _ = end(warm, pid, number)
        assert code == (75 if number == signal.SIGTERM else -number), warm.output(pid)
        finish(warm, words, runs)
        names = {path.name for path in (tmp_path / f"{operation}").iterdir() if not path.name.startswith(".partial-")}
        assert names == {"weights.safetensors", "README.md", "model.json"}
        if number == signal.SIGTERM:
            assert leftovers(tmp_path) == []
    tried(len(operations), f"exports, each ended by {number.name} at another operation and repeated")


@pytest.mark.fault(2)
@pytest.mark.parametrize("file", ["weights.safetensors", "model.onnx", "README.md", "model.json"])
def test_what_no_export_wrote_is_never_replaced(file: str, source: FinishedModel, tmp_path: Path) -> None:
    """Neither is a file of the user's that has a name of ours."""
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / file).write_bytes(b"{}")
    with pytest.raises(ValueError, match=r"is not an exported model|is not model metadata of tutelage"):
        export_model(source, tmp_path / "out", ALL[:1])
    assert visible(tmp_path / "out") == {file: b"{}"}


@pytest.mark.fault(4)
@pytest.mark.usefixtures("quick")
def test_hidden_files_do_not_make_a_folder_somebodys(source: FinishedModel, tmp_path: Path) -> None:
    """Those of a killed export, and those of a fresh repository."""
    for name in (".partial-1-2-weights.safetensors", ".gitignore"):
        (tmp_path / name).write_text("half")
    (tmp_path / ".git").mkdir()
    export_model(source, tmp_path, ALL[:1])
    assert {"weights.safetensors", "README.md", "model.json"} <= {path.name for path in tmp_path.iterdir()}
