"""What lies on disk is spoiled, newer, old or left by the dead: told from what is whole, and never built upon."""

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
from tests.faults.warm import Warm
from tutelage import serialization, storage
from tutelage.artifacts.model import Model
from tutelage.data import CropFlip, DataConfig, Splits
from tutelage.engine import Engine
from tutelage.evaluation import predict
from tutelage.lineage import Generation, Lineage, models_of, train
from tutelage.methods.hinton import labels_only
from tutelage.models.build import build
from tutelage.recipes import find
from tutelage.storage import Checkpoint, Damaged, NewerFormat, folders
from tutelage.study import Study, StudyRecord, load_study
from tutelage.study.spec import write_study
from tutelage.training import Schedule


def network(num_classes: int, in_channels: int) -> nn.Module:
    """The network of the stored model in the folder format-1."""
    last = nn.Linear(16 * in_channels, num_classes)
    return nn.Sequential(nn.AvgPool2d(2), nn.Flatten(), last, nn.BatchNorm1d(num_classes))


def lineage(model: str = "resnet8") -> Lineage:
    schedule = Schedule(epochs=3, batch_size=8)
    only = Generation(name="only", model=model, objective=labels_only(), schedule=schedule)
    return Lineage(name="line", data=DataConfig(name="made"), views=CropFlip(padding=1), generations=(only,))


def trained(line: Lineage, splits: Splits, runs: Path, until: int = 3) -> Model:
    """The model of a lineage, trained for so many epochs; a checkpoint after each one."""
    engine = Engine.choose("cpu", "fp32", 1)
    for progress in train(line, 0, splits, runs=runs, engine=engine, checkpoint_seconds=0.0):
        if progress.record is not None and progress.record.epoch > until:
            break
    return models_of(line, 0, splits.fingerprint, "fp32", runs)[0]


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Checkpoint, Checkpoint]:
    """A real model's folder with two checkpoints, the newest first."""
    torch.set_num_threads(1)
    model = trained(lineage(), make_splits(), tmp_path_factory.mktemp("stopped"), until=2)
    newest, before = storage.checkpoints(model.folder)
    return model.folder, newest, before


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Model:
    torch.set_num_threads(1)
    return trained(lineage(), make_splits(), tmp_path_factory.mktemp("whole"))


@contextmanager
def changed(path: Path, content: bytes | None) -> Iterator[None]:
    """A file holds something else, or is not there, for a while."""
    whole = path.read_bytes()
    if content is None:
        path.unlink()
    else:
        path.write_bytes(content)
    yield
    path.write_bytes(whole)


def flipped(content: bytes, draw: random.Random) -> bytes:
    bit = draw.randrange(8 * len(content))
    return content[: bit // 8] + bytes([content[bit // 8] ^ 1 << bit % 8]) + content[bit // 8 + 1 :]


def files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.name != ".lock")


def some_files(folder: Path, count: int, draw: random.Random) -> list[Path]:
    """Half of them drawn by size, as bits rot, half of them by name: the small ones matter as well."""
    paths = files(folder)
    by_size = draw.choices(paths, [path.stat().st_size for path in paths], k=count - count // 2)
    return by_size + draw.choices(paths, k=count // 2)


def tree(folder: Path) -> dict[str, bytes]:
    """All that lies in a folder, but for the lock, which says who came last, and temporary files, which go."""
    paths = [
        path for path in folder.rglob("*") if path.is_file() and not path.name.startswith((".lock", ".partial-"))
    ]
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


def newest_of(folder: Path) -> tuple[Checkpoint | None, list[str]]:
    said: list[str] = []
    return storage.newest_checkpoint(folder, said.append), said


@pytest.mark.fault(6)
def test_a_flipped_bit_of_a_checkpoint(
    stopped: tuple[Path, Checkpoint, Checkpoint], many: Many, tried: Tried
) -> None:
    folder, newest, before = stopped
    draw = random.Random(6)
    paths = some_files(newest.folder, many(60, 300), draw)
    for path in paths:
        with changed(path, flipped(path.read_bytes(), draw)):
            found, said = newest_of(folder)
        assert found == before
        assert len(said) == 1
        assert f"skipping a damaged checkpoint: {newest.folder}" in said[0]
    assert newest_of(folder) == (newest, [])
    tried(len(paths), "single bits flipped in a real checkpoint, each found and the checkpoint before used")


@pytest.mark.fault(6)
def test_a_flipped_bit_of_a_finished_model(whole: Model, many: Many, tried: Tried) -> None:
    draw = random.Random(7)
    paths = some_files(whole.folder, many(60, 300), draw)
    for path in paths:
        with changed(path, flipped(path.read_bytes(), draw)), pytest.raises(Damaged, match=path.name) as fault:
            whole.verify()
        assert str(fault.value).endswith(f"Delete {whole.folder} to train this model again")
    whole.verify()
    tried(len(paths), "single bits flipped in a real finished model, each found")


@pytest.mark.fault(6)
def test_every_flipped_bit_of_a_manifest(tmp_path: Path, many: Many, tried: Tried) -> None:
    storage.commit(tmp_path, {"a": b"1"}, note={"seconds": 1.25, "who": "Zo\u00eb"})
    path, said = tmp_path / storage.MANIFEST, storage.read_manifest(tmp_path)
    content = path.read_bytes()
    bits = range(0, 8 * len(content), many(13, 1))
    same = []
    for bit in bits:
        path.write_bytes(content[: bit // 8] + bytes([content[bit // 8] ^ 1 << bit % 8]) + content[bit // 8 + 1 :])
        try:
            assert storage.read_manifest(tmp_path) == said
            same.append(path.read_bytes())
        except Damaged:
            pass
    assert all(b"\\u00EB" in one or b"\\u00eB" in one or b"\\u00Eb" in one for one in same)
    tried(len(bits), f"flipped bits of one manifest, all found but {len(same)} that say the same as before")


@pytest.mark.fault(5)
def test_a_truncated_checkpoint(stopped: tuple[Path, Checkpoint, Checkpoint], tried: Tried) -> None:
    folder, newest, before = stopped
    count = 0
    for path in files(newest.folder):
        whole = path.read_bytes()
        for percent in range(101):
            left = whole[: len(whole) * percent // 100]
            with changed(path, left):
                found, said = newest_of(folder)
            if left == whole:
                assert (found, said) == (newest, [])
                continue
            count += 1
            assert found == before
            (line,) = said
            assert str(path) in line
            assert path.name == storage.MANIFEST or f"has {len(left)} bytes, its manifest says {len(whole)}" in line
    assert count == 400
    tried(count, "truncations of the files of a real checkpoint in steps of 1 %, each found and told")


@pytest.mark.fault(7)
@pytest.mark.parametrize("spoiled", ["flipped", "empty", "missing"])
def test_no_checkpoint_is_valid(
    stopped: tuple[Path, Checkpoint, Checkpoint], splits: Splits, spoiled: str, tmp_path: Path
) -> None:
    folder, *both = stopped
    model = models_of(lineage(), 0, splits.fingerprint, "fp32", tmp_path)[0]
    for name, content in tree(folder).items():
        storage.write_bytes(model.folder / name, content)
    for checkpoint in both:
        path = model.folder / checkpoint.folder.relative_to(folder) / "state.safetensors"
        content = flipped(path.read_bytes(), random.Random(1))
        path.write_bytes(content if spoiled == "flipped" else b"")
        if spoiled == "missing":
            path.unlink()
    left = tree(tmp_path)
    with pytest.raises(Damaged, match=r"no checkpoint in .* is valid") as fault:
        trained(lineage(), splits, tmp_path)
    reason = {"flipped": "has SHA-256", "empty": "has 0 bytes", "missing": "is missing"}[spoiled]
    for checkpoint in both:
        assert f"{checkpoint.folder.name}/state.safetensors {reason}" in str(fault.value)
    assert tree(tmp_path) == left
    assert not model.finished


@pytest.mark.fault(8)
def test_a_listed_file_is_missing(stopped: tuple[Path, Checkpoint, Checkpoint], whole: Model) -> None:
    folder, newest, before = stopped
    for path in files(newest.folder):
        with changed(path, None):
            found, said = newest_of(folder)
        assert found == before
        # Without its manifest it is a save that was cut short: it never existed.
        assert path.name == storage.MANIFEST or f"{path} is missing, its manifest lists it" in said[0]
    for path in files(whole.folder):
        with changed(path, None), pytest.raises(Damaged, match=r"is missing|never finished"):
            whole.verify()


@pytest.mark.fault(8)
def test_files_that_no_manifest_lists(stopped: tuple[Path, Checkpoint, Checkpoint]) -> None:
    folder, newest, _ = stopped
    others = [
        newest.folder / "note.txt",
        newest.folder / "more" / "state.safetensors",
        folder / "checkpoints" / "old",
    ]
    for path in others:
        storage.write_bytes(path, b"more")
    assert newest_of(folder) == (newest, [])
    for path in others:
        path.unlink()
    others[1].parent.rmdir()


@pytest.mark.fault(4)
def test_temporary_files_of_127_kills(tmp_path: Path, tried: Tried) -> None:
    """They lie where a save is cut short; only who holds the lock removes them."""
    storage.save_checkpoint(tmp_path, 10, {"state": b"10"})
    places = [tmp_path, tmp_path / "checkpoints" / "000000010", tmp_path / "checkpoints" / "000000020"]
    for number in range(127):
        path = places[number % 3] / f".partial-{number}-{number}-state.safetensors"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"half")
    stale = set(tmp_path.rglob(".partial-*"))
    assert len(stale) == 127
    assert newest_of(tmp_path) == (Checkpoint(places[1], 10), [])
    storage.save_checkpoint(tmp_path, 30, {"state": b"30"})  # not held: they are in nobody's way
    left = set(tmp_path.rglob(".partial-*"))
    assert left == {path for path in stale if path.parent != places[2]}  # a save that was cut short is overtaken
    with storage.lock(tmp_path):
        assert list(tmp_path.rglob(".partial-*")) == []
        living = tmp_path / ".partial-of-who-holds-it"
        living.write_bytes(b"")
        with pytest.raises(storage.InUse), storage.lock(tmp_path, wait=0.0):
            pass
        assert living.exists()  # who does not get the lock removes nothing
        storage.commit(tmp_path, {"weights": b"w"})
    assert [checkpoint.step for checkpoint in storage.checkpoints(tmp_path)] == [30, 10]
    storage.verify(tmp_path)
    tried(127, "temporary files of dead processes, ignored, then removed under the lock")


@pytest.mark.fault(15)
def test_the_lock_of_a_killed_process_is_free(tmp_path: Path) -> None:
    code = (
        "import sys, time\nfrom pathlib import Path\nfrom tutelage import storage\n"
        "with storage.lock(Path(sys.argv[1])):\n    print('held', flush=True)\n    time.sleep(60)"
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
    """The number of a dead holder is in use again: the file says so, the kernel holds no lock."""
    (tmp_path / ".lock").write_text(f"process {os.getppid()} on {os.uname().nodename} since 2020-01-01 00:00:00")
    with storage.lock(tmp_path, wait=0.0):
        assert (tmp_path / ".lock").read_text().startswith(f"process {os.getpid()} on ")


def as_newer(folder: Path) -> None:
    """Make a folder one that a newer tutelage wrote."""
    manifest = storage.read_manifest(folder) | {"format": storage.FORMAT + 1, "parts": {}}
    seal = folders._seal(manifest)
    storage.write_bytes(folder / storage.MANIFEST, storage.json_bytes({**manifest, "sha256": seal}))


@pytest.mark.fault(20)
def test_a_checkpoint_of_a_newer_format(splits: Splits, tmp_path: Path) -> None:
    model = trained(lineage(), splits, tmp_path, until=2)
    as_newer(storage.checkpoints(model.folder)[0].folder)
    left = tree(model.folder / "checkpoints")
    with pytest.raises(
        NewerFormat, match="has format 2; this version of tutelage reads format 1: a newer one wrote it"
    ):
        trained(lineage(), splits, tmp_path)
    assert tree(model.folder / "checkpoints") == left
    assert not model.finished


@pytest.mark.fault(20)
def test_a_model_of_a_newer_format(splits: Splits, tmp_path: Path) -> None:
    model = trained(lineage(), splits, tmp_path)
    as_newer(model.folder)
    left = tree(tmp_path)
    for use in (model.verify, model.weights, model.made, lambda: trained(lineage(), splits, tmp_path)):
        with pytest.raises(NewerFormat) as refused:
            use()
        assert "elete" not in str(refused.value)
    with pytest.raises(NewerFormat):
        storage.commit(model.folder, {"weights.safetensors": b""})
    assert tree(tmp_path) == left


STORED = Path(__file__).parent


@pytest.mark.fault(20)
def test_each_format_is_kept_in_a_fixture() -> None:
    assert sorted(path.name for path in STORED.glob("format-*")) == [f"format-{n + 1}" for n in range(storage.FORMAT)]


@pytest.mark.fault(20)
def test_format_1_is_read(splits: Splits, tried: Tried) -> None:
    """A model and a checkpoint of version 0.1.0.dev0; it wrote manifests without a SHA-256 of their own at first."""
    model = Model(address="stored", folder=STORED / "format-1" / "model")
    model.verify()
    assert model.made()["tutelage"] == "0.1.0.dev0"
    assert [line["epoch"] for line in model.metrics()] == [1, 2, 3]
    assert model.evaluation()["test"]["top1"] == 1.0
    found = model.made_of()
    assert serialization.from_json(found["lineage"]) == lineage(f"{__name__}:network")
    ours = build(model.network(), 4, 1)
    ours.load_state_dict(model.weights())
    logits = predict(ours, splits.test.images, model.normalization(), Engine.choose("cpu", "fp32", 1))
    assert torch.allclose(logits, model.predictions()["test"], atol=1e-5)

    newest, said = newest_of(STORED / "format-1" / "training")
    assert newest is not None
    assert (newest.step, said) == (8, [])
    assert "sha256" not in json.loads((newest.folder / "manifest.json").read_bytes())
    state = storage.read_tensors(newest.folder / "state.safetensors")
    assert state["network/3.num_batches_tracked"].item() == 8
    tried(2, "stored folders of format 1, read by this version")


@pytest.mark.fault(2)
@pytest.mark.skipif(not LINUX, reason="needs /proc to look up the names of open files")
def test_a_study_written_again_and_cut_short(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tried: Tried) -> None:
    study = Study(lineages=(find("baseline")(),))
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
    tried(points, "operations of writing a study again, cut short at each (in process); the next command writes it")


SHORT = (
    *("run", "tolerant", "--generations", "1", "--epochs", "3", "--train-size", "100", "--test-size", "50"),
    *("--threads", "1", "--track", "none"),
)


@pytest.fixture(scope="module")
def killed(warm: Warm) -> Path:
    """The folder of runs of a command that was killed in its third save."""
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
def test_the_command_goes_on_from_what_is_whole(warm: Warm, killed: Path, tmp_path: Path) -> None:
    """Left to it: a flipped bit, a file too many, a lock of who is gone and 127 temporary files."""
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
    said = finish(warm, SHORT, runs)
    assert said.count("skipping a damaged checkpoint") == 1
    assert f"{newest}/state.safetensors has SHA-256" in said.replace("\n", "")
    finish(warm, SHORT, tmp_path / "undisturbed")
    assert hashes(runs) == hashes(tmp_path / "undisturbed")
    assert not (folder / "checkpoints").exists()
    assert leftovers(folder) == []


@pytest.mark.fault(7, 20)
@pytest.mark.parametrize("spoiled", ["every checkpoint", "newer checkpoint", "newer model"])
def test_the_command_refuses_what_it_cannot_build_on(warm: Warm, killed: Path, tmp_path: Path, spoiled: str) -> None:
    shutil.copytree(killed, tmp_path / "runs")
    (folder,) = (tmp_path / "runs" / "models").iterdir()
    reasons = ["has format 2; this version of tutelage reads format 1"]
    match spoiled:
        case "every checkpoint":
            both = storage.checkpoints(folder)[1:]
            for checkpoint in both:
                (checkpoint.folder / "history.json").write_bytes(b"[]")
            reasons = [f"{checkpoint.folder}/history.json has 2 bytes" for checkpoint in both]
        case "newer checkpoint":
            as_newer(storage.checkpoints(folder)[1].folder)
        case "newer model":
            finish(warm, SHORT, tmp_path / "runs")
            as_newer(folder)
    left = tree(tmp_path / "runs" / "models")
    pid = warm.start(SHORT, tmp_path / "runs")
    assert warm.wait(pid) in (1, 2)
    said = warm.said(pid).replace("\n", "")
    assert all(reason in said for reason in reasons)
    assert "Traceback" not in said
    assert tree(tmp_path / "runs" / "models") == left
