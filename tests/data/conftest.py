"""Small stand-ins for the real image sets, in their official layout, and ways to spoil them."""

from __future__ import annotations

import gzip
import io
import json
import os
import pickle
import subprocess
import sys
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tutelage.data import layouts

CIFAR = Path(__file__).parents[3] / "shared" / "data" / "cifar-100-python.tar.gz"
TRAIN, TEST = 200, 100

Members = dict[str, bytes]


@pytest.fixture
def small_layouts(monkeypatch: pytest.MonkeyPatch) -> dict[str, layouts.Layout]:
    """The layouts of CIFAR with 200 + 100 images, so that tests can make such sets in no time."""
    for name, layout in layouts.LAYOUTS.items():
        info = replace(layout.info, train_size=TRAIN, test_size=TEST)
        monkeypatch.setitem(layouts.LAYOUTS, name, replace(layout, info=info))
    return layouts.LAYOUTS


def batch(layout: layouts.Layout, size: int, seed: int) -> dict[str, object]:
    generator = np.random.default_rng(seed)
    fine = [row % len(layout.info.class_names) for row in range(size)]
    entries: dict[str, object] = {
        "filenames": [f"image_{row}.png" for row in range(size)],
        "batch_label": "a batch",
        layout.labels: fine,
        "data": generator.integers(0, 256, (size, 3072), dtype=np.uint8),
    }
    return entries | ({layout.coarse: [label % 20 for label in fine]} if layout.coarse else {})


@pytest.fixture
def members(small_layouts: dict[str, layouts.Layout]) -> Callable[[str], Members]:
    """The files of a small CIFAR as ``{name in the archive: pickle}``."""

    def make(name: str) -> Members:
        layout = small_layouts[name]
        meta: dict[str, object] = {layout.label_names: list(layout.info.class_names), "num_vis": 3072}
        if layout.coarse_names:
            meta[layout.coarse_names] = list(layout.info.coarse_names)
        files = {layout.meta: meta}
        for number, file in enumerate(layout.train):
            files[file] = batch(layout, TRAIN // len(layout.train), number)
        files[layout.test[0]] = batch(layout, TEST, 9)
        return {f"{layout.folder}/{file}": pickle.dumps(entries, protocol=2) for file, entries in files.items()}

    return make


def entry(
    name: str, content: bytes = b"", kind: bytes = tarfile.REGTYPE, link: str = ""
) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.type, info.size, info.linkname = kind, len(content), link
    return info, content


def tar_gz(files: Members, *extra: tuple[tarfile.TarInfo, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for info, content in [*(entry(name, content) for name, content in files.items()), *extra]:
            tar.addfile(info, io.BytesIO(content))
    return gzip.compress(buffer.getvalue(), compresslevel=1, mtime=0)


@pytest.fixture
def make_tar() -> Callable[..., bytes]:
    return tar_gz


@pytest.fixture
def make_entry() -> Callable[..., tuple[tarfile.TarInfo, bytes]]:
    return entry


@pytest.fixture
def payloads(tmp_path: Path) -> Iterator[dict[str, bytes]]:
    """Pickles that would write a marker file if anything in them were run; none may."""
    marker = tmp_path / "pwned"
    write = f"open({str(marker)!r}, 'w').close()"

    class Call:
        def __init__(self, function: object, *arguments: object) -> None:
            self.call = function, arguments

        def __reduce__(self) -> tuple[object, tuple[object, ...]]:
            return self.call

    import torch

    shell = Call(os.system, f"touch {marker}")
    evil = {
        "os.system": shell,
        "subprocess": Call(subprocess.run, ["touch", str(marker)]),
        "eval": Call(eval, write),
        "exec": Call(exec, write),
        "open": Call(open, str(marker), "w"),
        "nested": Call(torch.storage._load_from_bytes, pickle.dumps(shell)),
        "in a list": {"data": [1, 2, {"deep": [shell]}]},
        "beside good data": {"data": np.zeros(3, np.uint8), "labels": shell},
        "as a key": {("a", shell): 1},
    }
    pickles = {
        f"{name}, protocol {protocol}": pickle.dumps(value, protocol=protocol)
        for name, value in evil.items()
        for protocol in range(6)
    }
    pickles["by hand, INST"] = f"(S'touch {marker}'\nios\nsystem\n.".encode()
    pickles["by hand, OBJ"] = f"(cos\nsystem\nS'touch {marker}'\no.".encode()
    text = b"X" + len(write).to_bytes(4, "little") + write.encode()
    pickles["by hand, through numpy"] = b"cnumpy.testing._private.utils\nrunstring\n(" + text + b"}tR."
    pickles["by hand, extension"] = b"\x80\x02\x82\x01)R."
    yield pickles
    assert not marker.exists()


@pytest.fixture(scope="session")
def cifar(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, float]]:
    """The root below which the real CIFAR-100 was imported by a process of its own, and what that took."""
    if not CIFAR.is_file():
        pytest.skip(f"needs {CIFAR.name} in the folder shared/data beside the checkout")
    root = tmp_path_factory.mktemp("cifar")
    program = """
import json, sys
from pathlib import Path
from tutelage.data.cifar import import_archive
from tutelage.data.dataset import DataConfig
from tutelage.data.load import load
from tutelage.artifacts.environment import peak_memory as peak
before = peak()
import_archive("cifar100", Path(sys.argv[1]), Path(sys.argv[2]))
load(DataConfig(name="cifar100", train_size=40_000, holdout=5_000), Path(sys.argv[2]))
print(json.dumps({"gib": (peak() - before) / 1024}))
"""
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    command = [sys.executable, "-c", program, str(CIFAR), str(root)]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=True)
    return root, json.loads(done.stdout)
