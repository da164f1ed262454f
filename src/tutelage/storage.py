"""Every durable write goes through here: whole or not at all, and checked when it is read back.

A file appears under its name only after its bytes are on disk (unique temporary file, flush, fsync, replace,
directory fsync). A folder *exists* as a model or checkpoint only once its ``manifest.json``, written last, lists the
size and SHA-256 of every file in it. Tensors are safetensors, the rest is JSON; nothing is pickled.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import io
import json
import os
import shutil
import signal
import socket
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from tutelage.outside import parse_json, printable

if TYPE_CHECKING:
    from torch import Tensor

FORMAT = 1
MAX_HEADER = 8 * 2**20
"""Bytes of a safetensors header: the names and shapes of some 80,000 tensors."""
MANIFEST = "manifest.json"
_TEMPORARY = ".partial-"


class Damaged(ValueError):
    """A stored folder that is not what its manifest says; the message names the file and the difference."""


class NewerFormat(Damaged):
    """A stored folder that a newer tutelage wrote: of no use here, and never replaced or passed over."""


class InUse(RuntimeError):
    """A folder that another living process holds; the message names that process."""


class NoSpace(OSError):
    """A disk, quota or limit that is full; the message says where, what was needed and what is free."""


class _Operations:
    """Counts durable operations, and dies at the one that ``TUTELAGE_FAULT=kill@N`` names (for the fault tests).

    ``stop@N`` freezes the process there (SIGSTOP) instead.
    """

    count = 0

    @classmethod
    def step(cls) -> None:
        cls.count += 1
        fault, _, at = os.environ.get("TUTELAGE_FAULT", "").partition("@")
        if at == f"{cls.count}":
            os.kill(os.getpid(), {"kill": signal.SIGKILL, "stop": signal.SIGSTOP}[fault])


@contextlib.contextmanager
def told_of(path: Path, needed: int) -> Iterator[None]:
    """Make an ``OSError`` of writing ``needed`` bytes name that file, not a temporary one.

    Errors: :class:`NoSpace` in the place of what a full disk, a quota or a limit on sizes of files raises.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            if _TEMPORARY in str(error.filename):
                error.filename, error.filename2 = str(path), None
            raise
        free = shutil.disk_usage(next(folder for folder in path.parents if folder.exists())).free
        why = "" if error.errno == errno.ENOSPC else f" ({os.strerror(error.errno).lower()})"
        needs = f"needs {needed:,} bytes" if needed else "cannot be written"
        raise NoSpace(f"no space{why}: {path} {needs}, {free:,} bytes are free there") from None


def make_folder(folder: Path) -> None:
    """Make a folder and those above it, where they are missing; each has its name on disk before the next is made.

    Errors: ``NotADirectoryError`` that names what stands in the way; :class:`NoSpace`; ``OSError``.
    """
    try:
        with told_of(folder, 0):
            _make_folder(folder)
    except (FileExistsError, NotADirectoryError):
        way = next(path for path in (folder, *folder.parents) if os.path.lexists(path))
        raise NotADirectoryError(f"{way} is not a folder") from None


def _make_folder(folder: Path) -> None:
    if folder.is_dir():
        with contextlib.suppress(OSError):  # of a folder that is not ours
            _sync_folder(folder.parent)  # whoever made it may have been killed before this
        return
    _make_folder(folder.parent)
    _Operations.step()
    folder.mkdir(exist_ok=True)
    _sync_folder(folder.parent)


_writing: set[Path] = set()


def abandon() -> None:
    """Delete the temporary files of this process, which is about to end with writes under way."""
    for temporary in tuple(_writing):
        temporary.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    _Operations.step()
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_bytes(path: Path, data: bytes | Iterable[bytes]) -> tuple[int, str]:
    """Write a file whole or not at all; returns its size and SHA-256. Makes the folders above it.

    Errors: :class:`NoSpace`; ``OSError`` from the disk. What stood under the name before is then still there, and
    nothing of the temporary file.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "deep" / "note.txt"
    >>> write_bytes(path, b"kept")[0], path.read_bytes()
    (4, b'kept')
    """
    temporary = path.with_name(f"{_TEMPORARY}{os.getpid()}-{time.monotonic_ns()}-{path.name}"[:200])
    digest, size = hashlib.sha256(), 0
    if not path.parent.is_dir():
        make_folder(path.parent)
    with told_of(path, len(data) if isinstance(data, bytes) else 0):
        _writing.add(temporary)
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
        finally:
            _writing.discard(temporary)
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
    """Read a safetensors file into memory, however it came to be.

    Errors: :class:`Damaged` when the bytes are not safetensors; of a header that is too long, only that is read.
    """
    with path.open("rb") as file:
        start = file.read(8)
        if (length := int.from_bytes(start, "little")) > MAX_HEADER:
            raise Damaged(f"{path} is not a readable safetensors file: its header would have {length} bytes")
        return tensors_in(start + file.read(), str(path))


def tensors_in(data: bytes, where: str) -> dict[str, Tensor]:
    """The tensors in the bytes of a safetensors file; ``where`` names it.

    Errors: :class:`Damaged` for anything else, also for a name that stands in the header twice.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load

    try:
        length = int.from_bytes(data[:8], "little")
        if length > MAX_HEADER:
            raise ValueError(f"its header would have {length} bytes, the limit is {MAX_HEADER}")
        parse_json(data[8 : 8 + length], "its header")  # safetensors takes the last of two tensors of one name
        return dict(load(data))
    except (
        SafetensorError,
        ValueError,
        KeyError,
        TypeError,
        RuntimeError,
    ) as error:  # KeyError: no such type in torch
        reason = f"no type {error}" if isinstance(error, KeyError) else str(error)
        raise Damaged(f"{where} is not a readable safetensors file: {printable(reason)[:300]}") from None


def commit(folder: Path, files: Mapping[str, bytes], note: Mapping[str, Any] | None = None) -> None:
    """Write the files of a folder, then the manifest that makes them one thing; ``note`` is kept in the manifest.

    Errors: those of :func:`write_bytes`; :class:`NewerFormat` where it would replace what a newer tutelage wrote.

    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp()) / "model"
    >>> commit(folder, {"weights.bin": b"123"}, note={"seed": 0})
    >>> verify(folder)["note"]
    {'seed': 0}
    """
    _is_readable(folder, read_manifest)
    make_folder(folder)
    listed = {}
    for name, data in files.items():
        size, sha256 = write_bytes(folder / name, data)
        listed[name] = {"size": size, "sha256": sha256}
    manifest = {"format": FORMAT, "files": listed, "note": dict(note or {})}
    write_bytes(folder / MANIFEST, json_bytes({**manifest, "sha256": _seal(manifest)}))


def _seal(manifest: Mapping[str, Any]) -> str:
    """The SHA-256 of all else in a manifest; as ``format``, it has this meaning in every format to come."""
    return hashlib.sha256(json_bytes(manifest)).hexdigest()


def read_manifest(folder: Path) -> dict[str, Any]:
    """Read a folder's manifest without hashing its files.

    Errors: :class:`Damaged` when there is none or it cannot be read, :class:`NewerFormat` for another tutelage's.
    """
    path = folder / MANIFEST
    try:
        manifest = parse_json(path.read_bytes(), str(path))
        seal, version = manifest.pop("sha256", None), manifest["format"]  # the first versions wrote none
        if seal not in (None, _seal(manifest)):
            raise ValueError(f"{path} is not what its own SHA-256 says")
        if type(version) is int and version > FORMAT:
            raise NewerFormat(
                f"{path} has format {version}; this version of tutelage reads format {FORMAT}: a newer one wrote it, "
                "and it is left as it is"
            )
        if version != FORMAT or not manifest.keys() <= {"format", "files", "note"}:
            raise ValueError(
                f"{path} has format {str(version)[:20]} and holds {printable(', '.join(manifest))[:100]}"
            )
        if not isinstance(manifest.setdefault("note", {}), dict):
            raise TypeError("its note is not a mapping")
        sizes = {name: (int(entry["size"]), str(entry["sha256"])) for name, entry in manifest["files"].items()}
    except (FileNotFoundError, NotADirectoryError):
        raise Damaged(f"{folder} has no {MANIFEST}: it was never finished") from None
    except NewerFormat:
        raise
    except ValueError as error:
        text = str(error)
        raise Damaged(text if text.startswith(str(path)) else f"{path} cannot be read: {text}") from None
    except (KeyError, TypeError, AttributeError) as error:
        raise Damaged(f"{path} cannot be read: {type(error).__name__} {error}") from None
    if any("/" in name or name.startswith(".") or not name for name in sizes):
        raise Damaged(f"{path} lists a file outside its folder")
    return dict(manifest)


def verify(folder: Path) -> dict[str, Any]:
    """Check every file that the manifest lists against its size and SHA-256; returns the manifest.

    Errors: :class:`Damaged`, naming the file, what was expected and what is there.
    """
    manifest = read_manifest(folder)
    for name, entry in manifest["files"].items():
        with _listed(folder / name, entry) as file:
            _check(folder / name, entry, hashlib.file_digest(file, "sha256").hexdigest())
    return manifest


def read_listed(folder: Path, name: str) -> bytes:
    """Read one file of a finished folder, checked against the size and SHA-256 that the manifest says.

    Errors: :class:`Damaged`, as :func:`verify`.
    """
    entry = read_manifest(folder)["files"].get(name)
    if entry is None:
        raise Damaged(f"{folder / MANIFEST} lists no {name}")
    with _listed(folder / name, entry) as file:
        data = file.read()
    _check(folder / name, entry, hashlib.sha256(data).hexdigest())
    return data


def _listed(path: Path, entry: Mapping[str, Any]) -> io.BufferedReader:
    """Open a file that has the size its manifest says."""
    if path.exists() and not path.is_file():  # a pipe would be waited for
        raise Damaged(f"{path} is not a file, its manifest lists one")
    try:
        size = path.stat().st_size
        if size != entry["size"]:
            raise Damaged(f"{path} has {size} bytes, its manifest says {entry['size']}")
        return path.open("rb")
    except FileNotFoundError:
        raise Damaged(f"{path} is missing, its manifest lists it") from None


def _check(path: Path, entry: Mapping[str, Any], found: str) -> None:
    if found != entry["sha256"]:
        raise Damaged(f"{path} has SHA-256 {found[:12]}..., its manifest says {str(entry['sha256'])[:12]}...")


def _is_readable(folder: Path, reader: Callable[[Path], object]) -> bool:
    """Whether there is a whole folder, as far as ``reader`` looks; what is newer is not for us to pass over."""
    try:
        reader(folder)
    except NewerFormat:
        raise
    except Damaged:
        return False
    return True


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
    hide the loss. :class:`NewerFormat` for one that is newer than this tutelage.
    """
    faults = []
    for checkpoint in checkpoints(folder):
        if not is_finished(checkpoint.folder):
            continue  # a save that was cut short; it never existed
        try:
            verify(checkpoint.folder)
            _sync_folder(checkpoint.folder)  # who saved it may have been killed before this
            return checkpoint
        except NewerFormat:
            raise
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
    """Commit a checkpoint, read it back, then drop all before it but the newest whole ones: ``keep`` with this one.

    Errors: :class:`NoSpace`, ``OSError``; nothing of it is then left to take up space.
    """
    target = folder / "checkpoints" / f"{step:09d}"
    remove(target)
    try:
        commit(target, files)
    except OSError:
        remove(target)
        raise
    verify(target)
    kept = 1
    for old in checkpoints(folder):
        if old.step < step:
            if kept < keep and _is_readable(old.folder, verify):
                kept += 1
            else:
                remove(old.folder)


def remove(folder: Path) -> None:
    """Delete a folder, if there is one; its manifest goes first, so that half of it is never taken for a whole."""
    if folder.is_dir():
        _sync_folder(folder.parent)  # what replaces it may be by a process that was killed before this
        _Operations.step()
        (folder / MANIFEST).unlink(missing_ok=True)
        _sync_folder(folder)
        _Operations.step()
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def lock(folder: Path, wait: float = 1.0) -> Iterator[Callable[[], None]]:
    """Hold a folder against other processes while the body runs; the kernel lets go if this process dies.

    Gives a function that makes sure that it is still this folder: one that was deleted, or whose disk was unmounted,
    would silently be made anew by the next write, with nothing to hold it. It raises ``FileNotFoundError``.

    Errors: :class:`InUse` after ``wait`` seconds, naming the holder; ``OSError`` for a folder that cannot be
    written.
    """
    make_folder(folder)
    path = folder / ".lock"
    with told_of(path, 0):
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)

    def check() -> None:
        if not path.exists() or not os.path.samestat(path.stat(), os.fstat(handle)):
            raise FileNotFoundError(f"{folder} is gone or another folder now: nothing is written there any more")

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
        for stale in folder.rglob(f"{_TEMPORARY}*"):
            stale.unlink(missing_ok=True)
        holder = f"process {os.getpid()} on {socket.gethostname()} since {time.strftime('%Y-%m-%d %H:%M:%S')}"
        with told_of(path, len(holder)):
            os.ftruncate(handle, 0)
            os.pwrite(handle, holder.encode(), 0)
        yield check
    finally:
        os.close(handle)
