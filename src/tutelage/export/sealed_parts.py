"""The parts of an exported file that its seal covers: everything but the metadata, in which the seal stands."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator
from typing import Any

from tutelage.artifacts.metadata import KEY

PT2_METADATA = f"extra/{KEY}.json"
"""The name of the metadata in a ``.pt2``, below the folder that holds everything in it."""


def graph_parts(model: Any) -> Iterator[tuple[str, bytes]]:
    """The whole of an ONNX model without the metadata of tutelage."""
    bare = type(model)()
    bare.CopyFrom(model)
    for entry in [entry for entry in bare.metadata_props if entry.key == KEY]:
        bare.metadata_props.remove(entry)
    yield "model", bare.SerializeToString(deterministic=True)


def archive_parts(data: bytes) -> Iterator[tuple[str, bytes]]:
    """The entries of a ``.pt2`` by name, without the metadata of tutelage.

    Errors: ``ValueError`` and ``zipfile.BadZipFile`` for an archive that ``torch.export.save`` does not write: with
    entries that are compressed, share bytes or have the same name.
    """
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        entries = sorted(archive.infolist(), key=lambda entry: entry.filename)
        if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
            raise ValueError("it holds compressed entries")
        if sum(entry.file_size for entry in entries) > len(data):
            raise ValueError("its entries are larger than the file")
        if len({entry.filename for entry in entries}) < len(entries):
            raise ValueError("it holds two entries of one name")
        for entry in entries:
            if not entry.filename.endswith(f"/{PT2_METADATA}"):
                yield entry.filename, archive.read(entry)
