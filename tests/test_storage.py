"""The storage module: whole or not at all, checked when read, held by one process."""

from __future__ import annotations

import json
import os
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
    sizes = {name: entry["size"] for name, entry in manifest["files"].items()}
    assert sizes == {name: len(data) for name, data in content.items()}


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
        ('{"format": 0, "files": {}}', "has format 0"),
        ('{"format": "2", "files": {}}', "has format 2 and contains"),
        ('{"format": 1, "files": {}, "more": 1}', "contains format, files, more"),
        ('{"format": 1, "files": {}, "sha256": "0"}', "does not match its own SHA-256"),
        ('{"format": 1, "files": {"../a": {"size": 1, "sha256": ""}}}', "outside its folder"),
    ],
)
def test_manifests_that_are_not_ours(tmp_path: Path, manifest: str, message: str) -> None:
    (tmp_path / "manifest.json").write_text(manifest)
    with pytest.raises(storage.Damaged, match=message):
        storage.verify(tmp_path)


@pytest.mark.fault(17)
def test_checkpoints_are_ordered_by_step_not_by_clock(tmp_path: Path) -> None:
    for step in (9, 10, 11):
        storage.save_checkpoint(tmp_path, step, FILES)
    for age, checkpoint in enumerate(storage.checkpoints(tmp_path)):  # the clock ran backwards
        os.utime(checkpoint.folder / "manifest.json", (10**9 + age, 10**9 + age))
    newest = storage.newest_checkpoint(tmp_path)
    assert newest is not None
    assert newest.step == 11
    assert [checkpoint.step for checkpoint in storage.checkpoints(tmp_path)] == [11, 10]


def steps(folder: Path) -> list[int]:
    return [checkpoint.step for checkpoint in storage.checkpoints(folder)]


def test_two_whole_checkpoints_are_kept_whatever_else_lies_there(tmp_path: Path) -> None:
    for step in (10, 20, 30):
        storage.save_checkpoint(tmp_path, step, FILES)
    (tmp_path / "checkpoints" / "000000030" / "history.json").write_bytes(b"")  # found on resuming from 20
    (tmp_path / "checkpoints" / "000000023").mkdir()  # cut short
    storage.save_checkpoint(tmp_path, 25, FILES)
    assert steps(tmp_path) == [30, 25, 20]
    storage.save_checkpoint(tmp_path, 30, FILES)
    assert steps(tmp_path) == [30, 25]
    for step in (30, 25):
        storage.verify(tmp_path / "checkpoints" / f"{step:09d}")


def test_what_is_newer_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text('{"format": 2, "files": {}}')
    with pytest.raises(storage.NewerFormat, match="it was written by a newer one, and is left unchanged"):
        storage.commit(tmp_path, FILES)
    assert [path.name for path in tmp_path.iterdir()] == ["manifest.json"]


def test_an_unfinished_save_never_existed(tmp_path: Path) -> None:
    storage.save_checkpoint(tmp_path, 1, FILES)
    (tmp_path / "checkpoints" / "000000002").mkdir()
    (tmp_path / "checkpoints" / "000000002" / "state.safetensors").write_bytes(b"half")
    newest = storage.newest_checkpoint(tmp_path)
    assert newest is not None
    assert newest.step == 1


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


def test_the_manifest_is_plain_json(tmp_path: Path) -> None:
    storage.commit(tmp_path, FILES, note={"b": 1, "a": 2})
    text = (tmp_path / "manifest.json").read_text()
    assert json.loads(text)["note"] == {"a": 2, "b": 1}
    assert text.endswith("\n")
