"""Every durable write goes through here: whole or not at all, and checked when it is read back.

A file appears under its name only after its bytes are on disk (unique temporary file, flush, fsync, replace,
directory fsync). A folder *exists* as a model or checkpoint only once its ``manifest.json``, written last, lists the
size and SHA-256 of every file in it. Tensors are safetensors, the rest is JSON; nothing is pickled.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import signal
import socket
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from torch import Tensor

FORMAT = 1
MANIFEST = "manifest.json"
_TEMPORARY = ".partial-"


class Damaged(ValueError):
    """A stored folder that is not what its manifest says; the message names the file and the difference."""


class InUse(RuntimeError):
    """A folder that another living process holds; the message names that process."""


class _Operations:
    """Counts durable operations, and dies at the one that ``TUTELAGE_FAULT=kill@N`` names (for the fault tests)."""

    count = 0

    @classmethod
    def step(cls) -> None:
        cls.count += 1
        fault = os.environ.get("TUTELAGE_FAULT", "")
        if fault == f"kill@{cls.count}":
            os.kill(os.getpid(), signal.SIGKILL)


def _sync_folder(folder: Path) -> None:
    _Operations.step()
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_bytes(path: Path, data: bytes | Iterable[bytes]) -> tuple[int, str]:
    """Write a file whole or not at all; returns its size and SHA-256. Makes the folders above it.

    Errors: ``OSError`` from the disk; nothing is then left under the final name, nor of the temporary file.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "deep" / "note.txt"
    >>> write_bytes(path, b"kept")[0], path.read_bytes()
    (4, b'kept')
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{_TEMPORARY}{os.getpid()}-{time.monotonic_ns()}-{path.name}"[:200])
    digest, size = hashlib.sha256(), 0
    try:
        with temporary.open("xb") as file:
            _Operations.step()
            for block in (data,) if isinstance(data, bytes) else data:
                file.write(block)
                digest.update(block)
                size += len(block)
            file.flush()
            _Operations.step()
            os.fsync(file.fileno())
        _Operations.step()
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)
    return size, digest.hexdigest()


def json_bytes(value: Any) -> bytes:
    """JSON as it stands on disk: sorted keys, two spaces, finite numbers only."""
    return (json.dumps(value, indent=2, sort_keys=True, allow_nan=False) + "\n").encode()


def tensor_bytes(tensors: Mapping[str, Tensor]) -> bytes:
    """Tensors as the bytes of a safetensors file; any device and memory layout.

    >>> import torch
    >>> from safetensors.torch import load
    >>> load(tensor_bytes({"x": torch.eye(2)}))["x"].tolist()
    [[1.0, 0.0], [0.0, 1.0]]
    """
    import torch
    from safetensors.torch import save

    # Copies, since safetensors refuses tensors that share memory (tied weights).
    copies = {
        name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format) for name, tensor in tensors.items()
    }
    return bytes(save(copies))


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Read a safetensors file into memory.

    Errors: :class:`Damaged` when the bytes are not safetensors.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load

    try:
        return dict(load(path.read_bytes()))
    except SafetensorError as error:
        raise Damaged(f"{path} is not a readable safetensors file: {error}") from None


def commit(folder: Path, files: Mapping[str, bytes], note: Mapping[str, Any] | None = None) -> None:
    """Write the files of a folder, then the manifest that makes them one thing; ``note`` is kept in the manifest.

    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp()) / "model"
    >>> commit(folder, {"weights.bin": b"123"}, note={"seed": 0})
    >>> verify(folder)["note"]
    {'seed': 0}
    """
    listed = {}
    for name, data in files.items():
        size, sha256 = write_bytes(folder / name, data)
        listed[name] = {"size": size, "sha256": sha256}
    manifest = {"format": FORMAT, "files": listed, "note": dict(note or {})}
    write_bytes(folder / MANIFEST, json_bytes(manifest))


def read_manifest(folder: Path) -> dict[str, Any]:
    """Read a folder's manifest without hashing its files.

    Errors: :class:`Damaged` when there is none, it cannot be read, or a newer tutelage wrote it.
    """
    path = folder / MANIFEST
    try:
        manifest = json.loads(path.read_bytes())
        files, version = manifest["files"], manifest["format"]
        sizes = {name: (int(entry["size"]), str(entry["sha256"])) for name, entry in files.items()}
    except FileNotFoundError:
        raise Damaged(f"{folder} has no {MANIFEST}: it was never finished") from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise Damaged(f"{path} cannot be read: {type(error).__name__} {error}") from None
    if version != FORMAT:
        raise Damaged(f"{path} has format {version}; this version of tutelage reads format {FORMAT}")
    if any("/" in name or name.startswith(".") for name in sizes):
        raise Damaged(f"{path} lists a file outside its folder")
    return dict(manifest)


def verify(folder: Path) -> dict[str, Any]:
    """Check every file that the manifest lists against its size and SHA-256; returns the manifest.

    Errors: :class:`Damaged`, naming the file, what was expected and what is there.
    """
    manifest = read_manifest(folder)
    for name, entry in manifest["files"].items():
        path = folder / name
        try:
            with path.open("rb") as file:
                size = os.fstat(file.fileno()).st_size
                if size != entry["size"]:
                    raise Damaged(f"{path} has {size} bytes, its manifest says {entry['size']}")
                found = hashlib.file_digest(file, "sha256").hexdigest()
        except FileNotFoundError:
            raise Damaged(f"{path} is missing, its manifest lists it") from None
        if found != entry["sha256"]:
            raise Damaged(f"{path} has SHA-256 {found[:12]}..., its manifest says {entry['sha256'][:12]}...")
    return manifest


def is_finished(folder: Path) -> bool:
    """Whether the folder holds a manifest, and so once was whole; :func:`verify` says whether it still is."""
    return (folder / MANIFEST).is_file()


class Checkpoint(NamedTuple):
    """A saved moment of training: its folder and number of steps."""

    folder: Path
    step: int


def checkpoints(folder: Path) -> list[Checkpoint]:
    """List what stands below ``folder/checkpoints``, newest first, valid or not; the order is by step, not time."""
    found = [Checkpoint(path, int(path.name)) for path in (folder / "checkpoints").glob("*") if path.name.isdigit()]
    return sorted(found, key=lambda checkpoint: -checkpoint.step)


def newest_checkpoint(folder: Path, warn: Any = print) -> Checkpoint | None:
    """Find the newest checkpoint that verifies, calling ``warn`` for each newer one that does not.

    Errors: :class:`Damaged` when finished checkpoints exist but none is valid: starting again from nothing would
    hide the loss.
    """
    faults = []
    for checkpoint in checkpoints(folder):
        if not is_finished(checkpoint.folder):
            continue  # a save that was cut short; it never existed
        try:
            verify(checkpoint.folder)
            return checkpoint
        except Damaged as fault:
            warn(f"skipping a damaged checkpoint: {fault}")
            faults.append(str(fault))
    if faults:
        raise Damaged(
            f"no checkpoint in {folder / 'checkpoints'} is valid ({'; '.join(faults)}): "
            "remove that folder to train this model again from the start"
        )
    return None


def save_checkpoint(folder: Path, step: int, files: Mapping[str, bytes], keep: int = 2) -> None:
    """Commit a checkpoint, read it back, then drop all but the newest ``keep``."""
    target = folder / "checkpoints" / f"{step:09d}"
    if target.exists():
        remove(target)
    commit(target, files)
    verify(target)
    for old in checkpoints(folder)[keep:]:
        remove(old.folder)


def remove(folder: Path) -> None:
    """Delete a folder; its manifest goes first, so that half a folder is never taken for a whole one."""
    _Operations.step()
    (folder / MANIFEST).unlink(missing_ok=True)
    _Operations.step()
    shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def lock(folder: Path, wait: float = 1.0) -> Iterator[None]:
    """Hold a folder against other processes while the body runs; the kernel lets go if this process dies.

    Errors: :class:`InUse` after ``wait`` seconds, naming the holder; ``OSError`` for a folder that cannot be
    written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    handle = os.open(folder / ".lock", os.O_RDWR | os.O_CREAT, 0o644)
    try:
        deadline = time.monotonic() + wait
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    holder = os.pread(handle, 200, 0).decode(errors="replace") or "another process"
                    raise InUse(f"{folder} is in use by {holder}") from None
                time.sleep(0.05)
        os.ftruncate(handle, 0)
        started = time.strftime("%Y-%m-%d %H:%M:%S")
        os.pwrite(handle, f"process {os.getpid()} on {socket.gethostname()} since {started}".encode(), 0)
        for stale in folder.rglob(f"{_TEMPORARY}*"):
            stale.unlink(missing_ok=True)
        yield
    finally:
        os.close(handle)
