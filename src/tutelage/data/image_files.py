"""Open image files so that a decoder written in Python cannot be kept busy for long by a small hostile one."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, cast

from tutelage.storage import open_regular

MAX_READS = 300_000
"""How often a decoder may read: Pillow reads comments of a PPM byte by byte, a PNG in chunks of often 8 KiB."""
MAX_TIMES = 8
"""How often a decoder may read each byte on average: the tags of a TIFF may all refer to the same bytes."""
MAX_CHUNKS = 10_000
"""Chunks of a PNG that are looked at; of 8 KiB, as is usual, those of an image of 80 MB."""
_PNG = b"\x89PNG\r\n\x1a\n"
MAX_PLAIN = 16 * 2**20
"""The most bytes of a PPM whose pixels are text; Pillow needs up to a second for each 2 MiB of them."""


class _BoundedReader(io.BufferedReader):
    """A file that may be read only so often."""

    def __init__(self, raw: io.RawIOBase, size: int) -> None:
        super().__init__(raw)
        self._reads_left, self._bytes_left = MAX_READS, MAX_TIMES * size + 2**20

    def read(self, size: int | None = -1, /) -> bytes:
        data = super().read(size)
        self._reads_left -= 1
        self._bytes_left -= len(data)
        if self._reads_left < 0 or self._bytes_left < 0:
            raise ValueError("decoding it takes more reading than any image needs")
        return data


@contextmanager
def open_bounded(path: Path) -> Iterator[IO[bytes]]:
    """Open an image file for a decoder.

    Errors: ``ValueError`` for a pipe, a device or a folder; those of :func:`bounded`; ``OSError``.
    """
    with open_regular(path) as file, bounded(file) as reader:
        yield reader


@contextmanager
def bounded(file: IO[bytes]) -> Iterator[IO[bytes]]:
    """Read a file from its start for a decoder, so that it ends: only so often, and so many bytes.

    Errors: ``ValueError`` for a large PPM whose pixels are text and, as it is read, for a file that is read too
    often.
    """
    size = file.seek(0, io.SEEK_END)
    file.seek(0)
    plain = file.read(2) in (b"P1", b"P2", b"P3")
    file.seek(0)
    if plain:
        yield io.BytesIO(_plain(file))
        return
    reader = _BoundedReader(cast(io.RawIOBase, file), size)
    try:
        yield reader
    finally:
        reader.detach()  # whoever opened the file closes it


def metadata_behind_pixels(file: IO[bytes]) -> bool:
    """Whether a PNG may have metadata behind its pixels; also where it is damaged, or has very many chunks."""
    position = file.tell()
    try:
        file.seek(len(_PNG))
        pixels = False
        for _ in range(MAX_CHUNKS):
            head = file.read(8)
            if len(head) < 8 or head[4:] == b"IEND":
                return len(head) < 8
            pixels |= head[4:] == b"IDAT"
            if pixels and head[4:] in (b"eXIf", b"iTXt", b"tEXt", b"zTXt"):
                return True
            file.seek(int.from_bytes(head[:4], "big") + 4, io.SEEK_CUR)
        return True
    finally:
        file.seek(position)


def _plain(file: IO[bytes]) -> bytes:
    """A PPM whose pixels are text, without its comments: Pillow cuts them out in quadratic time."""
    data = file.read(MAX_PLAIN + 1)
    if len(data) > MAX_PLAIN:
        raise ValueError(f"its pixels are text of more than {MAX_PLAIN} bytes; save it as a binary PPM, or as PNG")
    return re.sub(rb"#[^\r\n]*", b"", data)
