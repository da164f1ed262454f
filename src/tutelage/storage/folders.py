"""Folders written as one unit: a folder exists once its manifest, written last, lists its files and their hashes."""

from __future__ import annotations

import hashlib
import io
import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tutelage.errors import printable
from tutelage.storage.errors import Damaged, NewerFormat
from tutelage.storage.files import Operations, json_bytes, make_folder, sync_folder, write_bytes
from tutelage.storage.regular import open_regular, read_regular
from tutelage.validation import parse_json

FORMAT = 1
MANIFEST = "manifest.json"


def commit(folder: Path, files: Mapping[str, bytes], note: Mapping[str, Any] | None = None) -> None:
    """Write the files of a folder, then the manifest that completes it; the manifest includes ``note``.

    Errors: those of :func:`write_bytes`; :class:`NewerFormat` rather than replace what a newer version wrote.

    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp()) / "model"
    >>> commit(folder, {"weights.bin": b"123"}, note={"seed": 0})
    >>> verify(folder)["note"]
    {'seed': 0}
    """
    is_readable(folder, read_manifest)
    make_folder(folder)
    entries = {}
    for name, data in files.items():
        size, sha256 = write_bytes(folder / name, data)
        entries[name] = {"size": size, "sha256": sha256}
    manifest = {"format": FORMAT, "files": entries, "note": dict(note or {})}
    write_bytes(folder / MANIFEST, json_bytes({**manifest, "sha256": _seal(manifest)}))


def _seal(manifest: Mapping[str, Any]) -> str:
    """The SHA-256 of the rest of a manifest; like ``format``, it keeps this meaning in all future formats."""
    return hashlib.sha256(json_bytes(manifest)).hexdigest()


def read_manifest(folder: Path) -> dict[str, Any]:
    """Read a folder's manifest without verifying its files.

    Errors: :class:`Damaged` if it is missing or cannot be read, :class:`NewerFormat` if a newer version wrote it.
    """
    path = folder / MANIFEST
    try:
        manifest = parse_json(read_regular(path), str(path))
        seal, version = manifest.pop("sha256", None), manifest["format"]  # early versions wrote no SHA-256
        if seal not in (None, _seal(manifest)):
            raise ValueError(f"{path} does not match its own SHA-256")
        if type(version) is int and version > FORMAT:
            raise NewerFormat(
                f"{path} has format {version}; this version of tutelage reads format {FORMAT}: it was written by a "
                "newer one, and is left unchanged"
            )
        if version != FORMAT or not manifest.keys() <= {"format", "files", "note"}:
            raise ValueError(
                f"{path} has format {str(version)[:20]} and contains {printable(', '.join(manifest))[:100]}"
            )
        if not isinstance(manifest.setdefault("note", {}), dict):
            raise TypeError("its note is not a mapping")
        sizes = {name: (int(entry["size"]), str(entry["sha256"])) for name, entry in manifest["files"].items()}
    except (FileNotFoundError, NotADirectoryError):
        if not folder.is_dir():
            raise Damaged(f"there is no folder {str(folder)!r}") from None
        cause = "it was never finished, or tutelage did not write it"
        raise Damaged(f"{folder} has no {MANIFEST}: {cause}") from None
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
    """Verify the size and SHA-256 of every file that the manifest lists; returns the manifest.

    Errors: :class:`Damaged`, naming the file, the expected value and the actual one.
    """
    manifest = read_manifest(folder)
    for name, entry in manifest["files"].items():
        with _open_listed(folder / name, entry) as file:
            _check(folder / name, entry, hashlib.file_digest(file, "sha256").hexdigest())
    return manifest


def read_listed(folder: Path, name: str, limit: int | None = None) -> bytes:
    """Read one file of a finished folder, after verifying the size and SHA-256 in the manifest.

    Errors: :class:`Damaged`, as :func:`verify`, and for a file of more than ``limit`` bytes.
    """
    entry = read_manifest(folder)["files"].get(name)
    if entry is None:
        raise Damaged(f"{folder / MANIFEST} lists no {name}")
    if limit is not None and int(entry["size"]) > limit:
        raise Damaged(f"{folder / name} has {entry['size']} bytes; at most {limit} are allowed")
    with _open_listed(folder / name, entry) as file:
        data = file.read()
    _check(folder / name, entry, hashlib.sha256(data).hexdigest())
    return data


def _open_listed(path: Path, entry: Mapping[str, Any]) -> io.BufferedReader:
    """Open a file, after checking the size in its manifest."""
    try:
        file = open_regular(path)
    except FileNotFoundError:
        raise Damaged(f"{path} is missing, its manifest lists it") from None
    except ValueError as error:
        raise Damaged(f"{error}; its manifest lists a file") from None
    size = os.fstat(file.fileno()).st_size
    if size != entry["size"]:
        file.close()
        raise Damaged(f"{path} has {size} bytes, its manifest says {entry['size']}")
    return file


def _check(path: Path, entry: Mapping[str, Any], sha256: str) -> None:
    if sha256 != entry["sha256"]:
        raise Damaged(f"{path} has SHA-256 {sha256[:12]}..., its manifest says {str(entry['sha256'])[:12]}...")


def is_readable(folder: Path, reader: Callable[[Path], object]) -> bool:
    """True if ``reader`` accepts the folder. Raises :class:`NewerFormat` for a folder written by a newer version."""
    try:
        reader(folder)
    except NewerFormat:
        raise
    except Damaged:
        return False
    return True


def is_finished(folder: Path) -> bool:
    """Whether the folder has a manifest, and so was complete once; :func:`verify` checks that it still is."""
    return (folder / MANIFEST).is_file()


def remove(folder: Path) -> None:
    """Delete a folder, if it exists: the manifest first, so that a partly deleted folder never counts as complete."""
    if folder.is_dir():
        sync_folder(folder.parent)  # the process that wrote its replacement may have been killed before doing so
        Operations.step()
        (folder / MANIFEST).unlink(missing_ok=True)
        sync_folder(folder)
        Operations.step()
        shutil.rmtree(folder, ignore_errors=True)
