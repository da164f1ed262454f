"""Read an array of structs out of a MATLAB file (MAT-File format, version 5) of unknown origin.

SciPy's reader believes the sizes that a file declares: one changed byte of 900 costs it 20 seconds and a gigabyte.
Here no more is looked at than there are bytes, and of nested values no more than the requested fields.

Source: MathWorks, MAT-File Format, "Level 5 MAT-Files".
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator, Sequence

import numpy as np

MAX_EXPANDED = 64 * 2**20
"""The most bytes that the values of a file may have, decompressed."""
_MATRIX, _COMPRESSED, _STRUCT, _CHAR = 14, 15, 2, 4
_TEXT = {1: "latin-1", 2: "latin-1", 4: "utf-16", 16: "utf-8", 17: "utf-16"}
_NUMBERS = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
Value = str | float


def read_structs(content: bytes, name: str, fields: Sequence[str]) -> list[tuple[Value, ...]]:
    """The given fields of each struct in the array of this name: texts, and numbers where there is one.

    Errors: ``ValueError`` for a file of another format, a damaged one, and one without such an array.
    """
    if not content.startswith(b"MATLAB 5.0 MAT-file") or content[126:128] not in (b"IM", b"MI"):
        raise ValueError("it is no MATLAB 5.0 MAT-file")
    order, total = "<" if content[126:128] == b"IM" else ">", 0
    try:
        for kind, data in _elements(content[128:], order):
            if kind == _COMPRESSED:
                data = zlib.decompressobj().decompress(data, MAX_EXPANDED - total + 1)
                total += len(data)
                if total > MAX_EXPANDED:
                    raise ValueError(f"it decompresses to more than {MAX_EXPANDED} bytes")
                kind, data = next(_elements(data, order), (0, b""))
            if kind == _MATRIX and (rows := _structs(data, order, name, fields)) is not None:
                return rows
    except (zlib.error, struct.error, UnicodeDecodeError) as error:
        raise ValueError(f"it is damaged ({error})") from None
    raise ValueError(f"it has no array {name}")


def _elements(data: bytes, order: str) -> Iterator[tuple[int, bytes]]:
    """The kind and the content of each element; small ones have both sizes in one word."""
    place = 0
    while place + 8 <= len(data):
        kind, size = struct.unpack_from(f"{order}II", data, place)
        if kind >> 16:
            yield kind & 0xFFFF, data[place + 4 : place + 4 + min(kind >> 16, 4)]
            place += 8
            continue
        if place + 8 + size > len(data):
            raise ValueError("it is damaged (an element is longer than the file)")
        yield kind, data[place + 8 : place + 8 + size]
        place += 8 + size + (-size % 8 if kind != _COMPRESSED else 0)


def _header(elements: Iterator[tuple[int, bytes]], order: str) -> tuple[int, str]:
    """The class and the name of an array; its shape is passed over."""
    contents = [next(elements, (0, b""))[1] for _ in range(3)]
    return struct.unpack_from(f"{order}I", contents[0])[0] & 0xFF, contents[2].decode("latin-1")


def _structs(data: bytes, order: str, name: str, fields: Sequence[str]) -> list[tuple[Value, ...]] | None:
    elements = _elements(data, order)
    if _header(elements, order) != (_STRUCT, name):
        return None
    (length,) = struct.unpack_from(f"{order}i", next(elements, (0, b""))[1])
    joined = next(elements, (0, b""))[1]
    if not 0 < length <= 64:
        raise ValueError("it is damaged (its fields have no names)")
    names = [joined[at : at + length].partition(b"\0")[0].decode("latin-1") for at in range(0, len(joined), length)]
    missing = [field for field in fields if field not in names]
    if missing:
        raise ValueError(f"{name} has no field {missing[0]}")
    places = [names.index(field) for field in fields]
    values = [content for _, content in elements]
    return [
        tuple(_value(values[start + place], order) for place in places)
        for start in range(0, len(values) - len(names) + 1, len(names))
    ]


def _value(data: bytes, order: str) -> Value:
    elements = _elements(data, order)
    kind, _ = _header(elements, order)
    stored, content = next(elements, (0, b""))
    if kind == _CHAR and stored in _TEXT:
        encoding = _TEXT[stored]
        return content.decode(encoding + ("-le" if order == "<" else "-be") if encoding == "utf-16" else encoding)
    if stored in _NUMBERS and kind != _CHAR:
        numbers = np.frombuffer(content, f"{order}{_NUMBERS[stored]}", count=-1 if content else 0)
        if len(numbers) == 1:
            return float(numbers[0])
    raise ValueError("a field has neither a text nor a number")
