"""The storage module: whole or not at all, checked when read, held by one process."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tutelage import storage

FILES = {"state.safetensors": bytes(range(256)) * 4, "history.json": b"[]"}


def test_a_file_is_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "a"
    storage.write_bytes(path, b"one")

    def broken() -> object:
        yield b"tw"
        raise OSError("no space left")

    with pytest.raises(OSError, match="no space left"):
        storage.write_bytes(path, broken())
    assert path.read_bytes() == b"one"
    assert [entry.name for entry in tmp_path.iterdir()] == ["a"]


@given(content=st.dictionaries(st.sampled_from(["a", "b.json", "c.bin"]), st.binary(max_size=200), min_size=1))
def test_what_is_committed_verifies(tmp_path_factory: pytest.TempPathFactory, content: dict[str, bytes]) -> None:
    folder = tmp_path_factory.mktemp("folder")
    storage.commit(folder, content, note={"n": 1})
    manifest = storage.verify(folder)
    found = {name: entry["size"] for name, entry in manifest["files"].items()}
    assert found == {name: len(data) for name, data in content.items()}


@pytest.mark.fault(6)
def test_every_flipped_bit_is_found(tmp_path: Path) -> None:
    storage.commit(tmp_path, FILES)
    whole = FILES["state.safetensors"]
    draw = random.Random(0)
    for _ in range(100):
        content = bytearray(whole)
        content[draw.randrange(len(content))] ^= 1 << draw.randrange(8)
        (tmp_path / "state.safetensors").write_bytes(content)
        with pytest.raises(storage.Damaged, match=r"state.safetensors has SHA-256 .* its manifest says"):
            storage.verify(tmp_path)


@pytest.mark.fault(5)
def test_every_truncation_is_found(tmp_path: Path) -> None:
    storage.commit(tmp_path, FILES)
    whole = FILES["state.safetensors"]
    for percent in range(100):
        size = len(whole) * percent // 100
        (tmp_path / "state.safetensors").write_bytes(whole[:size])
        with pytest.raises(storage.Damaged, match=f"has {size} bytes, its manifest says {len(whole)}"):
            storage.verify(tmp_path)


def test_a_missing_file_and_a_missing_manifest(tmp_path: Path) -> None:
    storage.commit(tmp_path, FILES)
    (tmp_path / "history.json").unlink()
    with pytest.raises(storage.Damaged, match=r"history.json is missing"):
        storage.verify(tmp_path)
    (tmp_path / "manifest.json").unlink()
    assert not storage.is_finished(tmp_path)
    with pytest.raises(storage.Damaged, match="never finished"):
        storage.verify(tmp_path)


@pytest.mark.parametrize(
    ("manifest", "message"),
    [
        ("{", "cannot be read"),
        ("[]", "cannot be read"),
        ('{"format": 1}', "cannot be read"),
        ('{"format": 1, "files": {"a": {}}}', "cannot be read"),
        ('{"format": 2, "files": {}}', "has format 2; this version of tutelage reads format 1"),
        ('{"format": 1, "files": {"../a": {"size": 1, "sha256": ""}}}', "outside its folder"),
    ],
)
def test_manifests_that_are_not_ours(tmp_path: Path, manifest: str, message: str) -> None:
    (tmp_path / "manifest.json").write_text(manifest)
    with pytest.raises(storage.Damaged, match=message):
        storage.verify(tmp_path)


def test_checkpoints_are_ordered_by_step_not_by_clock(tmp_path: Path) -> None:
    for step in (9, 10, 11):
        storage.save_checkpoint(tmp_path, step, FILES)
    for age, checkpoint in enumerate(storage.checkpoints(tmp_path)):  # the clock ran backwards
        os.utime(checkpoint.folder / "manifest.json", (10**9 + age, 10**9 + age))
    newest = storage.newest_checkpoint(tmp_path)
    assert newest is not None
    assert newest.step == 11
    assert [checkpoint.step for checkpoint in storage.checkpoints(tmp_path)] == [11, 10]


def test_an_unfinished_save_never_existed(tmp_path: Path) -> None:
    storage.save_checkpoint(tmp_path, 1, FILES)
    (tmp_path / "checkpoints" / "000000002").mkdir()
    (tmp_path / "checkpoints" / "000000002" / "state.safetensors").write_bytes(b"half")
    newest = storage.newest_checkpoint(tmp_path)
    assert newest is not None
    assert newest.step == 1


def test_stale_temporary_files_do_not_matter(tmp_path: Path) -> None:
    for number in range(127):
        (tmp_path / f".partial-{number}").write_bytes(b"x")
    with storage.lock(tmp_path):
        storage.commit(tmp_path, FILES)
    assert {path.name for path in tmp_path.iterdir()} == {*FILES, "manifest.json", ".lock"}


def test_tensors_come_back_as_they_were(tmp_path: Path) -> None:
    shared = torch.randn(3, 4)
    tensors = {"a": shared, "b": shared, "c": shared.t(), "d": torch.arange(3), "e": shared.double()}
    path = tmp_path / "t.safetensors"
    storage.write_bytes(path, storage.tensor_bytes(tensors))
    back = storage.read_tensors(path)
    for name, tensor in tensors.items():
        assert back[name].dtype == tensor.dtype
        assert torch.equal(back[name], tensor)
    path.write_bytes(b"nonsense")
    with pytest.raises(storage.Damaged, match="not a readable safetensors file"):
        storage.read_tensors(path)


HOLD = "import sys, time\nfrom pathlib import Path\nfrom tutelage import storage\n"


def test_the_lock_of_a_killed_process_is_free(tmp_path: Path) -> None:
    code = f"{HOLD}\nwith storage.lock(Path(sys.argv[1])):\n    print('held', flush=True)\n    time.sleep(60)"
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


def test_a_kill_at_every_durable_operation_leaves_old_or_new(tmp_path: Path) -> None:
    """The storage module kills itself at operation N, for every N that a save of a checkpoint has."""
    code = (
        "import os, sys\nfrom pathlib import Path\nfrom tutelage import storage\n"
        "for step in range(1, 5):\n"
        "    storage.save_checkpoint(Path(sys.argv[1]), step, {'a': b'%d' % step * 50, 'b': b'b'})\n"
        "print(storage._Operations.count)"
    )

    def attempt(folder: Path, fault: str) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "TUTELAGE_FAULT": fault}
        return subprocess.run(
            [sys.executable, "-c", code, folder], env=environment, capture_output=True, text=True, check=False
        )

    count = int(attempt(tmp_path / "whole", "").stdout)
    assert count > 40
    for n in range(1, count + 1):
        folder = tmp_path / str(n)
        assert attempt(folder, f"kill@{n}").returncode == -signal.SIGKILL
        newest = storage.newest_checkpoint(folder)
        per_save = count / 4
        if newest is None:
            assert n <= per_save
        else:
            assert newest.step >= int((n - 1) / per_save)
            assert (newest.folder / "a").read_bytes() == b"%d" % newest.step * 50


def test_the_manifest_is_plain_json(tmp_path: Path) -> None:
    storage.commit(tmp_path, FILES, note={"b": 1, "a": 2})
    text = (tmp_path / "manifest.json").read_text()
    assert json.loads(text)["note"] == {"a": 2, "b": 1}
    assert text.endswith("\n")
