from __future__ import annotations

import io
import random
import struct
from typing import Any

import numpy as np
import pytest
from scipy.io import loadmat, savemat

from tutelage.data.mat_structs import read_structs

FIELDS = ("number", "name")
KIND = [("number", object), ("name", object), ("children", object)]
ROWS: list[tuple[Any, str, Any]] = [
    (1, "n01440764", [2, 3]),
    (70_000, "tench", np.zeros((2, 2))),
    (np.int64(2**40), "é", [[1.5]]),
    (2.5, "abc", "text"),
]


def saved(rows: list[tuple[Any, str, Any]], compressed: bool, **before: object) -> bytes:
    buffer = io.BytesIO()
    structs = np.empty((len(rows), 1), KIND)
    for place, row in enumerate(rows):
        structs[place, 0] = row
    savemat(buffer, {**before, "table": structs}, do_compression=compressed)
    return buffer.getvalue()


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("count", range(1, 5))
def test_what_scipy_writes(count: int, compressed: bool) -> None:
    content = saved(ROWS[:count], compressed, first=np.arange(9.0), other={"number": 1})
    expected = loadmat(io.BytesIO(content), squeeze_me=True)["table"]
    rows = read_structs(content, "table", FIELDS)
    assert rows == [(float(row[0]), str(row[1])) for row in np.atleast_1d(expected)]
    assert rows == [(float(number), name) for number, name, _ in ROWS[:count]]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "it is no MATLAB 5.0 MAT-file"),
        (b"MATLAB 7.3 MAT-file" + bytes(200), "it is no MATLAB 5.0 MAT-file"),
        (saved(ROWS, True)[:-20], "it is damaged"),
        (saved(ROWS, False)[:-20], "it is damaged"),
        (saved([(ROWS[0][2], "a", 0)], False), "a field has neither a text nor a number"),
        (saved(ROWS, False).replace(b"table", b"chair"), "it has no array table"),
        (saved(ROWS, False).replace(b"number", b"amount"), "table has no field number"),
    ],
)
def test_other_files(content: bytes, expected: str) -> None:
    with pytest.raises(ValueError, match=expected):
        read_structs(content, "table", FIELDS)


def test_damaged_files_are_refused_or_read() -> None:
    """Whatever sizes they declare: SciPy believes some of these, and takes seconds and gigabytes."""
    draw, whole, refused = random.Random(0), saved(ROWS, False), 0
    for _ in range(2000):
        content = bytearray(whole)
        for _ in range(draw.randint(1, 4)):
            place = draw.randrange(100, len(content) - 4) & ~3
            word = draw.choice([0, 1, 14, 15, 2**16, 2**28, 2**31 - 1, 2**32 - 1, draw.randrange(2**32)])
            struct.pack_into("<I", content, place, word)
        try:
            assert len(read_structs(bytes(content), "table", FIELDS)) <= len(content) // 8
        except ValueError:
            refused += 1
    assert 100 < refused < 2000
