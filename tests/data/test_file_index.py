"""What is found in image files does not depend on how many of them the threads are handed at once."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tutelage.data import file_index
from tutelage.data.file_index import examine
from tutelage.data.sources import FolderSource


@pytest.mark.parametrize("tasks", [1, 3, 10, 11])
def test_files_are_examined_in_parts(tasks: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = [f"{row}.png" for row in range(10)]
    for row, name in enumerate(names):
        Image.new("RGB", (row + 1, 5), (row, 0, 0)).save(tmp_path / name)
    for name in names[2:9:3]:
        (tmp_path / name).write_bytes(b"no image")
    source = FolderSource(tmp_path, names)
    expected = examine(source, None)
    monkeypatch.setattr(file_index, "_TASKS", tasks)
    calls: list[tuple[int, int]] = []
    files = examine(source, None, progress=lambda done, total: calls.append((done, total)))
    assert calls == [(done, 10) for done in range(1, 11)]
    assert files.faults == expected.faults
    assert list(files.faults) == [2, 5, 8]
    assert all(np.array_equal(one, other) for one, other in zip(files.columns(), expected.columns(), strict=True))
    assert files.sizes[:2].tolist() == [[1, 5], [2, 5]]
