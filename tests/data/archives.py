"""Images packed into zips, tars and shards."""

from __future__ import annotations

import io
import tarfile
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import Image

Entry = tuple[str, bytes, bytes]
"""The name, the content and the type of a member of a tar."""


def png(seed: int = 0, side: int = 12) -> bytes:
    buffer = io.BytesIO()
    pixels = np.random.default_rng(seed).integers(0, 256, (side, side + seed % 3, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(buffer, format="PNG")
    return buffer.getvalue()


def class_folders(*sets: str, images: int = 6) -> dict[str, bytes]:
    """Files of three classes by name, below folders of these names."""
    names = [f"{part}{label}/{row}.png" for part in sets or ("",) for label in "abc" for row in range(images)]
    return {name: png(seed) for seed, name in enumerate(names)}


def unpacked(root: Path, files: Mapping[str, bytes]) -> Path:
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
    return root


def tar_of(path: Path, files: Mapping[str, bytes], *others: Entry, format: int = tarfile.PAX_FORMAT) -> Path:
    with tarfile.open(path, "w", format=format) as file:
        for name, content, kind in [*((name, content, tarfile.REGTYPE) for name, content in files.items()), *others]:
            info = tarfile.TarInfo(name)
            info.size, info.type = len(content), kind
            info.linkname = "/etc/passwd" if kind in (tarfile.SYMTYPE, tarfile.LNKTYPE) else ""
            file.addfile(info, io.BytesIO(content))
    return path


def zip_of(path: Path, files: Mapping[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", method) as file:
        for name, content in files.items():
            file.writestr(name, content)
    return path


def samples(count: int, first: int = 0, classes: int = 3) -> dict[str, bytes]:
    """The files of a shard: images and, as ``.cls``, their classes."""
    files: dict[str, bytes] = {}
    for row in range(first, first + count):
        files |= {f"{row:06d}.png": png(row), f"{row:06d}.cls": str(row % classes).encode()}
    return files
