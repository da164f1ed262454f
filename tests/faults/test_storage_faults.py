"""Damaged, newer, older and stale files on disk: distinguished from complete ones, and never used."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from tests.conftest import Many, Tried, make_splits
from tests.faults.commands import finish, hashes, leftovers
from tests.faults.disk import LINUX, Disk, Killed
from tests.warm import Warm
from tutelage import serialization, storage
from tutelage.artifacts.config import address_of
from tutelage.artifacts.model import Model
from tutelage.data import CropFlip, DataConfig, Splits
from tutelage.engine import Engine
from tutelage.evaluation import predict
from tutelage.lineage import Generation, Lineage, TrainingProgress, TrainOptions, models_of, train
from tutelage.methods.hinton import labels_only
from tutelage.models.build import build
from tutelage.recipes import find_recipe
from tutelage.storage import Checkpoint, Damaged, NewerFormat, folders
from tutelage.study import Study, StudyRecord, load_study
from tutelage.study.files import write_study
from tutelage.training import Schedule


def network(num_classes: int, in_channels: int) -> nn.Module:
    """The network of the stored model in the folder format-1."""
    last = nn.Linear(16 * in_channels, num_classes)
    return nn.Sequential(nn.AvgPool2d(2), nn.Flatten(), last, nn.BatchNorm1d(num_classes))


def lineage(model: str = "resnet8") -> Lineage:
    schedule = Schedule(epochs=3, batch_size=8)
    only = Generation(name="only", model=model, objective=labels_only(), schedule=schedule)
    return Lineage(name="line", data=DataConfig(name="made"), views=CropFlip(padding=1), generations=(only,))


def train_until(line: Lineage, splits: Splits, runs: Path, until: int = 3) -> Model:
    """The model of a lineage, trained for ``until`` epochs, with a checkpoint after each."""
    engine = Engine.choose("cpu", "fp32", 1)
    options = TrainOptions(checkpoint_seconds=0.0)
    for event in train(line, 0, splits, runs=runs, engine=engine, options=options):
        if isinstance(event, TrainingProgress) and event.step * 3 // event.steps > until:
            break
    return models_of(line, 0, splits.fingerprint, "fp32", runs)[0]


@pytest.fixture(scope="module")
def two_checkpoints(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Checkpoint, Checkpoint]:
    """A real model's folder with two checkpoints, the newest first."""
    torch.set_num_threads(1)
    model = train_until(lineage(), make_splits(), tmp_path_factory.mktemp("stopped"), until=2)
    newest, before = storage.checkpoints(model.folder)
    return model.folder, newest, before


@pytest.fixture(scope="module")
def complete(tmp_path_factory: pytest.TempPathFactory) -> Model:
    torch.set_num_threads(1)
    return train_until(lineage(), make_splits(), tmp_path_factory.mktemp("whole"))


@contextmanager
def replaced(path: Path, content: bytes | None) -> Iterator[None]:
    """Replace or delete (``None``) a file temporarily."""
    original = path.read_bytes()
    if content is None:
        path.unlink()
    else:
        path.write_bytes(content)
    yield
    path.write_bytes(original)


def flipped(content: bytes, draw: random.Random) -> bytes:
    bit = draw.randrange(8 * len(content))
    return content[: bit // 8] + bytes([content[bit // 8] ^ 1 << bit % 8]) + content[bit // 8 + 1 :]


def files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.name != ".lock")


def some_files(folder: Path, count: int, draw: random.Random) -> list[Path]:
    """Random files: half of them by size, as bits rot, and half uniformly, since small files matter too."""
    paths = files(folder)
    by_size = draw.choices(paths, [path.stat().st_size for path in paths], k=count - count // 2)
    return by_size + draw.choices(paths, k=count // 2)


def tree(folder: Path) -> dict[str, bytes]:
    """All files of a folder except the lock, which names its last holder, and temporary files."""
    paths = [
        path for path in folder.rglob("*") if path.is_file() and not path.name.startswith((".lock", ".partial-"))
    ]
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


def newest_with_warnings(folder: Path) -> tuple[Checkpoint | None, list[str]]:
    warnings: list[str] = []
    owner = folder.name if folder.parent.name == "models" else ""  # the stored example is no model's
    return storage.newest_checkpoint(folder, warnings.append, owner), warnings


@pytest.mark.fault(6)
def test_a_flipped_bit_of_a_checkpoint(
    two_checkpoints: tuple[Path, Checkpoint, Checkpoint], many: Many, tried: Tried
) -> None:
    folder, newest, before = two_checkpoints
    draw = random.Random(6)
    paths = some_files(newest.folder, many(60, 300), draw)
    for path in paths:
        with replaced(path, flipped(path.read_bytes(), draw)):
            checkpoint, warnings = newest_with_warnings(folder)
        assert checkpoint == before
        assert len(warnings) == 1
        assert f"skipping a damaged checkpoint: {newest.folder}" in warnings[0]
    assert newest_with_warnings(folder) == (newest, [])
    tried(len(paths), "single bits flipped in a real checkpoint, each found and the checkpoint before used")


@pytest.mark.fault(6)
def test_a_flipped_bit_of_a_finished_model(complete: Model, many: Many, tried: Tried) -> None:
    draw = random.Random(7)
    paths = some_files(complete.folder, many(60, 300), draw)
    for path in paths:
        with replaced(path, flipped(path.read_bytes(), draw)), pytest.raises(Damaged, match=path.name) as fault:
            complete.verify()
        assert str(fault.value).endswith(f"Delete {complete.folder} to train this model again")
    complete.verify()
    tried(len(paths), "single bits flipped in a real finished model, each found")


@pytest.mark.fault(6)
def test_every_flipped_bit_of_a_manifest(tmp_path: Path, many: Many, tried: Tried) -> None:
    storage.commit(tmp_path, {"a": b"1"}, note={"seconds": 1.25, "who": "Zo\u00eb"})
    path, manifest = tmp_path / storage.MANIFEST, storage.read_manifest(tmp_path)
    content = path.read_bytes()
    bits = range(0, 8 * len(content), many(13, 1))
    equivalent = []
    for bit in bits:
        path.write_bytes(content[: bit // 8] + bytes([content[bit // 8] ^ 1 << bit % 8]) + content[bit // 8 + 1 :])
        try:
            assert storage.read_manifest(tmp_path) == manifest
            equivalent.append(path.read_bytes())
        except Damaged:
            pass
    assert all(b"\\u00EB" in one or b"\\u00eB" in one or b"\\u00Eb" in one for one in equivalent)
    tried(
        len(bits), f"flipped bits of one manifest, all found except {len(equivalent)} without effect on its meaning"
    )


@pytest.mark.fault(5)
def test_a_truncated_checkpoint(two_checkpoints: tuple[Path, Checkpoint, Checkpoint], tried: Tried) -> None:
    folder, newest, before = two_checkpoints
    count = 0
    for path in files(newest.folder):
        original = path.read_bytes()
        for percent in range(101):
            truncated = original[: len(original) * percent // 100]
            with replaced(path, truncated):
                checkpoint, warnings = newest_with_warnings(folder)
            if truncated == original:
                assert (checkpoint, warnings) == (newest, [])
                continue
            count += 1
            assert checkpoint == before
            (warning,) = warnings
            assert str(path) in warning
            assert (
                path.name == storage.MANIFEST
                or f"has {len(truncated)} bytes, its manifest says {len(original)}" in warning
            )
    assert count == 400
    tried(count, "truncations of the files of a real checkpoint in steps of 1 %, each found and reported")


@pytest.mark.fault(7)
@pytest.mark.parametrize("damage", ["flipped", "empty", "missing"])
def test_no_checkpoint_is_valid(
    two_checkpoints: tuple[Path, Checkpoint, Checkpoint], splits: Splits, damage: str, tmp_path: Path
) -> None:
    folder, *both = two_checkpoints
    model = models_of(lineage(), 0, splits.fingerprint, "fp32", tmp_path)[0]
    for name, content in tree(folder).items():
        storage.write_bytes(model.folder / name, content)
    for checkpoint in both:
        path = model.folder / checkpoint.folder.relative_to(folder) / "state.safetensors"
        content = flipped(path.read_bytes(), random.Random(1))
        path.write_bytes(content if damage == "flipped" else b"")
        if damage == "missing":
            path.unlink()
    files_before = tree(tmp_path)
    with pytest.raises(Damaged, match=r"no checkpoint in .* is valid") as fault:
        train_until(lineage(), splits, tmp_path)
    reason = {"flipped": "has SHA-256", "empty": "has 0 bytes", "missing": "is missing"}[damage]
    for checkpoint in both:
        assert f"{checkpoint.folder.name}/state.safetensors {reason}" in str(fault.value)
    assert tree(tmp_path) == files_before
    assert not model.finished


@pytest.mark.fault(8)
def test_a_listed_file_is_missing(two_checkpoints: tuple[Path, Checkpoint, Checkpoint], complete: Model) -> None:
    folder, newest, before = two_checkpoints
    for path in files(newest.folder):
        with replaced(path, None):
            checkpoint, warnings = newest_with_warnings(folder)
        assert checkpoint == before
        # Without its manifest it is an incomplete save, which does not count as a checkpoint.
        assert path.name == storage.MANIFEST or f"{path} is missing, its manifest lists it" in warnings[0]
    for path in files(complete.folder):
        with replaced(path, None), pytest.raises(Damaged, match=r"is missing|never finished"):
            complete.verify()


@pytest.mark.fault(8)
def test_files_that_no_manifest_lists(two_checkpoints: tuple[Path, Checkpoint, Checkpoint]) -> None:
    folder, newest, _ = two_checkpoints
    others = [
        newest.folder / "note.txt",
        newest.folder / "more" / "state.safetensors",
        folder / "checkpoints" / "old",
    ]
    for path in others:
        storage.write_bytes(path, b"more")
    assert newest_with_warnings(folder) == (newest, [])
    for path in others:
        path.unlink()
    others[1].parent.rmdir()


@pytest.mark.fault(4)
def test_temporary_files_of_127_kills(tmp_path: Path, tried: Tried) -> None:
    """They lie where saves were interrupted; only the holder of the lock removes them."""
    storage.save_checkpoint(tmp_path, 10, {"state": b"10"})
    places = [tmp_path, tmp_path / "checkpoints" / "000000010", tmp_path / "checkpoints" / "000000020"]
    for number in range(127):
        path = places[number % 3] / f".partial-{number}-{number}-state.safetensors"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"half")
    stale = set(tmp_path.rglob(".partial-*"))
    assert len(stale) == 127
    assert newest_with_warnings(tmp_path) == (Checkpoint(places[1], 10), [])
    storage.save_checkpoint(tmp_path, 30, {"state": b"30"})  # without the lock: they are ignored
    remaining = set(tmp_path.rglob(".partial-*"))
    assert remaining == {path for path in stale if path.parent != places[2]}  # the interrupted save is older
    with storage.lock(tmp_path):
        assert list(tmp_path.rglob(".partial-*")) == []
        held_file = tmp_path / ".partial-of-who-holds-it"
        held_file.write_bytes(b"")
        with pytest.raises(storage.InUse), storage.lock(tmp_path, wait=0.0):
            pass
        assert held_file.exists()  # without the lock nothing is removed
        storage.commit(tmp_path, {"weights": b"w"})
    assert [checkpoint.step for checkpoint in storage.checkpoints(tmp_path)] == [30, 10]
    storage.verify(tmp_path)
    tried(127, "temporary files of dead processes, ignored, then removed under the lock")


@pytest.mark.fault(15)
def test_the_lock_of_a_killed_process_is_free(tmp_path: Path) -> None:
    code = (
        "import sys, time\nfrom pathlib import Path\nfrom tutelage import storage\n"
        "with storage.lock(Path(sys.argv[1])):\n    print('held', flush=True)\n    time.sleep(3600)"
    )
    words = [sys.executable, "-c", code, tmp_path]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with (
            pytest.raises(storage.InUse, match=f"in use by process {holder.pid} on "),
            storage.lock(tmp_path, wait=0.1),
        ):
            pass
        holder.send_signal(signal.SIGKILL)
        holder.wait()
        with storage.lock(tmp_path, wait=0.0):
            pass


@pytest.mark.fault(15)
def test_a_lock_that_names_a_living_process_which_is_another(tmp_path: Path) -> None:
    """The id of a dead holder is in use again: the file names it, but the kernel holds no lock."""
    (tmp_path / ".lock").write_text(f"process {os.getppid()} on {os.uname().nodename} since 2020-01-01 00:00:00")
    with storage.lock(tmp_path, wait=0.0):
        assert (tmp_path / ".lock").read_text().startswith(f"process {os.getpid()} on ")


def mark_as_newer(folder: Path) -> None:
    """Change the manifest of a folder to the format of a newer version."""
    manifest = storage.read_manifest(folder) | {"format": storage.FORMAT + 1, "parts": {}}
    seal = folders._seal(manifest)
    storage.write_bytes(folder / storage.MANIFEST, storage.json_bytes({**manifest, "sha256": seal}))


@pytest.mark.fault(20)
def test_a_checkpoint_of_a_newer_format(splits: Splits, tmp_path: Path) -> None:
    model = train_until(lineage(), splits, tmp_path, until=2)
    mark_as_newer(storage.checkpoints(model.folder)[0].folder)
    files_before = tree(model.folder / "checkpoints")
    with pytest.raises(
        NewerFormat, match="has format 2; this version of tutelage reads format 1: it was written by a newer one"
    ):
        train_until(lineage(), splits, tmp_path)
    assert tree(model.folder / "checkpoints") == files_before
    assert not model.finished


@pytest.mark.fault(20)
def test_a_model_of_a_newer_format(splits: Splits, tmp_path: Path) -> None:
    model = train_until(lineage(), splits, tmp_path)
    mark_as_newer(model.folder)
    files_before = tree(tmp_path)
    for use in (model.verify, model.weights, model.provenance, lambda: train_until(lineage(), splits, tmp_path)):
        with pytest.raises(NewerFormat) as error:
            use()
        assert "elete" not in str(error.value)
    with pytest.raises(NewerFormat):
        storage.commit(model.folder, {"weights.safetensors": b""})
    assert tree(tmp_path) == files_before


STORED = Path(__file__).parent


@pytest.mark.fault(20)
def test_each_format_has_a_stored_example() -> None:
    assert sorted(path.name for path in STORED.glob("format-*")) == [f"format-{n + 1}" for n in range(storage.FORMAT)]


@pytest.mark.fault(20)
def test_format_1_is_read(splits: Splits, tried: Tried) -> None:
    """A model and a checkpoint of version 0.1.0.dev0, whose first manifests had no SHA-256 of their own.

    The dependencies in the model's configuration were added later: without them no address can be computed.
    """
    folder = STORED / "format-1" / "model"
    model = Model(address=address_of(folder), folder=folder)
    model.verify()
    assert model.provenance()["tutelage"] == "0.1.0.dev0"
    assert [record["epoch"] for record in model.metrics()] == [1, 2, 3]
    assert model.evaluation()["test"].top1 == 1.0
    config = model.config()
    assert serialization.from_json(config["lineage"]) == lineage(f"{__name__}:network")
    ours = build(model.network_name(), 4, 1)
    ours.load_state_dict(model.weights())
    logits = predict(ours, splits.test.images, model.normalization(), Engine.choose("cpu", "fp32", 1))
    assert torch.allclose(logits, model.predictions()["test"], atol=1e-5)

    newest, warnings = newest_with_warnings(STORED / "format-1" / "training")
    assert newest is not None
    assert (newest.step, warnings) == (8, [])
    assert "sha256" not in json.loads((newest.folder / "manifest.json").read_bytes())
    state = storage.read_tensors(newest.folder / "state.safetensors")
    assert state["network/3.num_batches_tracked"].item() == 8
    tried(2, "stored folders of format 1, read by this version")


@pytest.mark.fault(2)
@pytest.mark.skipif(not LINUX, reason="needs /proc to look up the names of open files")
def test_a_study_rewritten_and_interrupted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tried: Tried) -> None:
    study = Study(lineages=(find_recipe("baseline")(),))
    first = StudyRecord(study=study, precision="fp32", fingerprints=("a",), num_classes=(10,), command="one")
    second = replace(first, command="two")
    points = 0
    for dies_at in range(1, 100):
        root = tmp_path / f"{dies_at}"
        root.mkdir()
        disk = Disk(root, monkeypatch)
        write_study(first, root)
        disk.restart(dies_at)
        try:
            write_study(second, root)
        except Killed:
            points += 1
        else:
            break
        disk.restart()
        write_study(second, root)
        assert load_study(study.name, root) == second
        monkeypatch.undo()
    assert points > 6
    tried(points, "operations of rewriting a study, interrupted at each (in process); the next command writes it")


SHORT = (
    *("run", "tolerant", "--generations", "1", "--epochs", "3", "--train-size", "100", "--test-size", "50"),
    *("--threads", "1", "--track", "none"),
)


@pytest.fixture(scope="session")  # a folder of the server's, which lives as long
def killed(warm: Warm) -> Path:
    """The runs folder of a command that was killed in its third save."""
    runs = warm.folder / "killed"
    code = warm.run(SHORT, runs, TUTELAGE_FAULT="kill@72", TUTELAGE_CHECKPOINT_SECONDS="0")
    assert code == -signal.SIGKILL
    (folder,) = (runs / "models").iterdir()
    assert [storage.is_finished(checkpoint.folder) for checkpoint in storage.checkpoints(folder)] == [
        False,
        True,
        True,
    ]
    return runs


@pytest.mark.fault(4, 6, 8, 15)
def test_the_command_resumes_from_what_is_valid(warm: Warm, killed: Path, tmp_path: Path) -> None:
    """With a flipped bit, an extra file, a stale lock and 127 temporary files in its folder."""
    runs = tmp_path / "runs"
    shutil.copytree(killed, runs)
    (folder,) = (runs / "models").iterdir()
    newest = storage.checkpoints(folder)[1].folder
    path = newest / "state.safetensors"
    path.write_bytes(flipped(path.read_bytes(), random.Random(8)))
    (folder / "checkpoints" / "note.txt").write_text("a file too many")
    (folder / ".lock").write_text(f"process {os.getppid()} on {os.uname().nodename} since 2020-01-01 00:00:00")
    for number in range(127):
        (folder / f".partial-{number}-{number}-state.safetensors").write_bytes(b"half")
    output = finish(warm, SHORT, runs)
    assert output.count("skipping a damaged checkpoint") == 1
    assert f"{newest}/state.safetensors has SHA-256" in output.replace("\n", "")
    finish(warm, SHORT, tmp_path / "undisturbed")
    assert hashes(runs) == hashes(tmp_path / "undisturbed")
    assert not (folder / "checkpoints").exists()
    assert leftovers(folder) == []


@pytest.mark.fault(7, 20)
@pytest.mark.parametrize("damage", ["every checkpoint", "newer checkpoint", "newer model"])
def test_the_command_refuses_what_it_cannot_use(warm: Warm, killed: Path, tmp_path: Path, damage: str) -> None:
    shutil.copytree(killed, tmp_path / "runs")
    (folder,) = (tmp_path / "runs" / "models").iterdir()
    reasons = ["has format 2; this version of tutelage reads format 1"]
    match damage:
        case "every checkpoint":
            both = storage.checkpoints(folder)[1:]
            for checkpoint in both:
                (checkpoint.folder / "history.json").write_bytes(b"[]")
            reasons = [f"{checkpoint.folder}/history.json has 2 bytes" for checkpoint in both]
        case "newer checkpoint":
            mark_as_newer(storage.checkpoints(folder)[1].folder)
        case "newer model":
            finish(warm, SHORT, tmp_path / "runs")
            mark_as_newer(folder)
    files_before = tree(tmp_path / "runs" / "models")
    pid = warm.start(SHORT, tmp_path / "runs")
    assert warm.wait(pid) in (1, 2)
    output = warm.output(pid).replace("\n", "")
    assert all(reason in output for reason in reasons)
    assert "Traceback" not in output
    assert tree(tmp_path / "runs" / "models") == files_before
