"""Small files that claim to be large, or expand to be: refused early, in little memory."""

from __future__ import annotations

import gzip
import io
import json
import shutil
import struct
import subprocess
import sys
import time
import tracemalloc
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.conftest import Tried
from tests.data.test_folder import png
from tests.data.test_idx import make_idx, shaped
from tests.data.test_npz import npy
from tests.models.test_weights import ONE, header
from tutelage import storage
from tutelage.export import load_model
from tutelage.models.weights import read_weights
from tutelage.teachers.blocks import seal
from tutelage.teachers.logit_store import LogitStore

HEADROOM = 512 * 2**20
"""Bytes of address space that a process may allocate after all imports."""

PROGRAM = """
import json, resource, sys, time
from pathlib import Path
import torch
torch.set_num_threads(1)
from PIL import Image
from tutelage import storage
from tutelage.data import DataConfig
from tutelage.data.cifar import import_archive
from tutelage.data.decode import read_image
from tutelage.data.preparation import Preparation
square = Preparation(channels=3, size=8, side=8)
from tutelage.data.load import load
from tutelage.export import load_model
from tutelage.models.weights import read_weights
from tutelage.validation import parse_json
from tutelage.recipes.study_spec import read_study
folder = Path(sys.argv[1])
Image.init()
readers = {
    "set.tar.gz": lambda path: import_archive("cifar10", path, folder / "data"),
    ".npz": lambda path: load(DataConfig(name=str(path)), folder),
    ".png": lambda path: read_image(path, square),
    ".tif": lambda path: read_image(path, square),
    ".idx": lambda path: load(DataConfig(name=str(path)), folder),
    ".pt": read_weights,
    ".safetensors": read_weights,
    ".json": lambda path: parse_json(path.read_bytes(), "a"),
    ".toml": read_study,
    ".pt2": lambda path: load_model(str(path), folder),
}
pages = int(Path("/proc/self/statm").read_text().split()[0])
most = pages * resource.getpagesize() + int(sys.argv[2])
resource.setrlimit(resource.RLIMIT_AS, (most, most))
for path in sorted(folder.iterdir()):
    read = next((read for end, read in readers.items() if path.name.endswith(end)), None)
    if read is None:
        continue
    start = time.process_time()
    try:
        read(path)
        outcome = "read"
    except ValueError as error:
        outcome = str(error)
    print(json.dumps([path.name, outcome, time.process_time() - start]), flush=True)
"""


def zipped(path: Path, members: dict[str, bytes], kind: int = zipfile.ZIP_DEFLATED) -> None:
    with zipfile.ZipFile(path, "w", kind, compresslevel=9) as file:
        for name, content in members.items():
            file.writestr(name, content)


def arrays(**changes: bytes) -> dict[str, bytes]:
    labels = io.BytesIO()
    np.save(labels, np.array([0, 1, 0, 1]))
    good = npy((4, 5, 5), bytes(100))
    members = {"train_images": good, "train_labels": labels.getvalue()}
    members |= {"test_images": good, "test_labels": labels.getvalue()}
    return {f"{name}.npy": content for name, content in (members | changes).items()}


def declared(path: Path, size: int) -> None:
    """An ``.npz`` whose first array claims ``size`` bytes in the zip directory and in its own header."""
    short, side = npy((4, 5, 5), bytes(100)), size // 25
    long = npy((side, 5, 5), b"")
    zipped(path, arrays(train_images=long + bytes(100)), zipfile.ZIP_STORED)
    actual, claimed = len(long) + 100, len(long) + 25 * side
    content = path.read_bytes()
    assert len(short) < actual
    forged = content.replace(struct.pack("<II", actual, actual), struct.pack("<II", actual, claimed))
    assert forged != content
    path.write_bytes(forged)


def deflated_zeros(size: int) -> bytes:
    """``size`` MiB of zeros, compressed quickly: blocks of deflate may be repeated."""
    packer = zlib.compressobj(9, wbits=-15)
    block = packer.compress(bytes(2**20)) + packer.flush(zlib.Z_FULL_FLUSH)
    compressed = b"\x78\xda" + block * size + b"\x03\x00" + struct.pack(">HH", (size << 20) % 65521, 1)
    assert size > 9 or zlib.decompress(compressed) == bytes(size << 20)
    return compressed


def text_chunk(kind: bytes) -> bytes:
    """A PNG with a compressed text or color profile of 2 GiB."""
    image = png(8, 8)
    content = b"a\0\0" + deflated_zeros(2048)
    chunk = struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
    place = image.index(b"IDAT") - 4
    return image[:place] + chunk + image[place:]


def bombs(folder: Path) -> dict[str, str]:
    """Write files that are bombs; returns the expected message for each."""
    zeros = gzip.compress(bytes(2**26), mtime=0)  # a gzip file may have several members
    (folder / "10 GiB, set.tar.gz").write_bytes(zeros * 160)
    header_of_tar = b"set/train" + bytes(115) + b"777777777777" + bytes(12) + b"        0" + bytes(355)
    (folder / "8 GiB in a header, set.tar.gz").write_bytes(gzip.compress(header_of_tar) + zeros * 8)
    declared(folder / "4 GB.npz", 4_000_000_000)
    zipped(folder / "50 MB for 100 bytes.npz", arrays(train_images=npy((4, 5, 5), bytes(5 * 10**7))))
    for name, start in (
        ("4 GB in a header.idx", shaped(4_000_000, 32, 32)),
        ("1 GiB for 100 bytes.idx", shaped(4, 5, 5)),
    ):
        path = make_idx(folder / name, lambda name: f"{name}.gz") / "train-images-idx3-ubyte.gz"
        path.write_bytes(gzip.compress(start) + (zeros * 16 if "100" in name else b""))
    (folder / "50,000 x 50,000.png").write_bytes(png(50_000, 50_000))
    (folder / "2^31 wide.png").write_bytes(png(2**31 - 1, 1))
    for kind in (b"zTXt", b"iCCP"):
        (folder / f"2 GiB of {kind.decode()}.png").write_bytes(text_chunk(kind))
    torch.save({"a": torch.zeros(2)}, folder / "plain.weights")
    with zipfile.ZipFile(folder / "plain.weights") as file:
        parts = {name: file.read(name) for name in file.namelist()}
    data = next(name for name in parts if name.endswith("/data/0"))
    zipped(folder / "50 MB of data.pt", parts | {data: bytes(5 * 10**7)})
    (folder / "2^63 bytes of header.safetensors").write_bytes(header(b"{}", length=2**63))
    torch.save({"odd": torch.zeros(1).expand(10**14)}, folder / "10^14 numbers.pt")
    (folder / "a million deep.json").write_bytes(b"[" * 10**6)
    (folder / "20,000 deep.toml").write_bytes(b"a=" + b"[" * 20_000)
    (folder / "a long key.toml").write_bytes(b"a" + b".a" * 32_000 + b"=1")
    zipped(folder / "a contract of 70 MB.pt2", {"m/extra/tutelage.json": bytes(7 * 10**7)})
    return {
        "10 GiB, set.tar.gz": "it decompresses to more bytes than such a dataset has",
        "8 GiB in a header, set.tar.gz": "is refused",
        "4 GB.npz": "than a file of",
        "50 MB for 100 bytes.npz": "which does not match its size",
        "4 GB in a header.idx": "declares the shape [4000000, 32, 32], more than a file of",
        "1 GiB for 100 bytes.idx": "it has more bytes than its header declares",
        "50,000 x 50,000.png": "has too many pixels",
        "2^31 wide.png": "has too many pixels",
        "2 GiB of zTXt.png": "cannot be read",
        "2 GiB of iCCP.png": "read",
        "50 MB of data.pt": "compressed, and torch.save compresses nothing",
        "2^63 bytes of header.safetensors": "its header would have 9223372036854775808 bytes",
        "10^14 numbers.pt": "larger than its data in the file",
        "a million deep.json": "nested deeper than 100",
        "20,000 deep.toml": "its arrays are nested too deep",
        "a long key.toml": "a key has more than 50 parts",
        "a contract of 70 MB.pt2": "holds no metadata",
    }


@pytest.mark.fault(27)
def test_bombs_are_refused_in_little_memory_and_time(tmp_path: Path, tried: Tried) -> None:
    """In a separate process that may allocate another 512 MiB; a file of 10 MB would decompress to 10 GiB."""
    expected = bombs(tmp_path)
    sizes = {path.name: path.stat().st_size for path in tmp_path.iterdir()}
    assert 9 * 10**6 < sizes["10 GiB, set.tar.gz"] < 11 * 10**6
    command = [sys.executable, "-c", PROGRAM, str(tmp_path), str(HEADROOM)]
    completed = subprocess.run(command, capture_output=True, text=True, check=False)
    outcomes = {name: (outcome, seconds) for name, outcome, seconds in map(json.loads, completed.stdout.splitlines())}
    assert completed.returncode == 0, (outcomes, completed.stderr[-2000:])
    assert outcomes.keys() == expected.keys()
    for name, message in expected.items():
        outcome, seconds = outcomes[name]
        assert message in outcome, (name, outcome)
        assert seconds < 10, name
    tried(len(outcomes), "bombs refused in 512 MiB")


def refusal(read: Callable[[], object]) -> tuple[str, float, int]:
    """The message, the CPU seconds, and the peak of Python's memory in a second attempt."""
    start = time.process_time()
    with pytest.raises(ValueError, match=r"\S") as error:
        read()
    seconds = time.process_time() - start
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match=r"\S"):
            read()
        return str(error.value), seconds, tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def entry(**changes: Any) -> dict[str, Any]:
    return ONE | changes


HEADERS: dict[str, bytes | Callable[[], bytes]] = {
    "2^63": header(b"{}", length=2**63),
    "2^64 - 1": header(b"{}", length=2**64 - 1),
    "longer than the file": header(b"{}", length=2**22),
    "none": b"",
    "cut short": header({"a": ONE}, bytes(4))[:20],
    "9 MiB of header: a million tensors have 60": lambda: header(b"{" + b" " * 9 * 2**20 + b"}"),
    "20,000 tensors, the first too short": lambda: header(
        {f"t{k}": entry(shape=[int(k > 0)], data_offsets=[4 * k, 4 * k + 4]) for k in range(20_000)}, bytes(80_000)
    ),
    "overlap": header({"a": ONE, "b": ONE}, bytes(4)),
    "a hole": header({"a": ONE, "b": entry(data_offsets=[8, 12])}, bytes(12)),
    "negative shape": header({"a": entry(shape=[-1])}, bytes(4)),
    "negative offset": header({"a": entry(data_offsets=[-4, 0])}, bytes(4)),
    "backwards": header({"a": entry(data_offsets=[4, 0])}, bytes(4)),
    "shape that overflows": header({"a": entry(shape=[2**40, 2**40])}, bytes(4)),
    "huge shape": header({"a": entry(shape=[10**30])}, bytes(4)),
    "shape of text": header({"a": entry(shape=["1"])}, bytes(4)),
    "fraction": header({"a": entry(shape=[1.5])}, bytes(4)),
    "no shape": header({"a": {"dtype": "F32", "data_offsets": [0, 4]}}, bytes(4)),
    "no such type": header({"a": entry(dtype="F128")}, bytes(4)),
    "type that torch lacks": header({"a": entry(dtype="F4", shape=[8])}, bytes(4)),
    "type of none": header({"a": entry(dtype=None)}, bytes(4)),
    "more data": header({"a": ONE}, bytes(8)),
    "less data": header({"a": ONE}, bytes(2)),
    "name twice": header(b'{"a":' + json.dumps(ONE).encode() + b',"a":' + json.dumps(ONE).encode() + b"}", bytes(4)),
    "deep": lambda: header(b'{"a":' + b"[" * 10**6 + b"]" * 10**6 + b"}"),
    "list": header([]),
    "text": header(b'"a"'),
    "not a number": header(b'{"a": {"dtype": "F32", "shape": [NaN], "data_offsets": [0, 4]}}', bytes(4)),
    "no UTF-8": header(b'{"\xff": 1}'),
    "pickle": b"\x80\x04\x95" + bytes(100),
}


@pytest.mark.fault(29)
@pytest.mark.parametrize("name", HEADERS)
def test_absurd_headers_of_safetensors_are_refused_at_once(name: str, tmp_path: Path, tried: Tried) -> None:
    path, content = tmp_path / "weights.safetensors", HEADERS[name]
    content = content() if callable(content) else content
    path.write_bytes(content)
    readers = (storage.read_tensors, read_weights, lambda path: load_model(str(path), tmp_path))
    for read in readers:
        message, seconds, memory = refusal(lambda read=read: read(path))  # type: ignore[misc]
        assert str(path) in message
        assert len(message) < 600
        assert seconds < 1
        assert memory < len(content) + 2**27
    tried(len(readers), "readers refused a header within one CPU second")


def absurd_blocks() -> dict[str, bytes]:
    return {
        "999999999999-1.block": b"x" * 40,
        "000000000000-9999999999.block": b"x" * 40,
        "000000000000-99999999999999999999.block": b"x" * 40,
        "000000000000-0.block": b"x" * 40,
        "1x-2y.block": b"x" * 40,
        "00-3.block": b"x" * 40,
        "000000000001-3.block": b"x" * 32 + zlib.compress(bytes(2**26)),
        "000000000000-2.block": b"x" * 31,
        "000000000000--1.block": b"x" * 40,
    }


def forged_contents() -> dict[str, bytes]:
    return {
        "a bomb": zlib.compress(bytes(2**26), 9),
        "no zlib": b"no zlib",
        "too few keys": zlib.compress(bytes(8)),
        "beyond the store": zlib.compress(struct.pack("<6H", 40, 1, 1, 0, 0, 0)),
        "far beyond the store": zlib.compress(struct.pack("<6H", *[65535] * 6)),
        "nothing": b"",
    }


def store(root: Path, warnings: list[str] | None = None) -> LogitStore:
    messages = [] if warnings is None else warnings
    return LogitStore(root, {"teacher": "a"}, size=40, num_classes=3, warn=messages.append)


def open_measured(root: Path, warnings: list[str]) -> tuple[list[int], float, int]:
    """The keys of a store, the CPU seconds to open it, and the peak of Python's memory."""
    tracemalloc.start()
    start = time.process_time()
    try:
        keys = store(root, warnings).keys.tolist()
        return keys, time.process_time() - start, tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.fault(29)
def test_absurd_blocks_of_a_store_are_set_aside_at_once(tmp_path: Path, tried: Tried) -> None:
    """Whoever forges a block forges its checksum too; the valid blocks of the store remain."""
    with store(tmp_path / "good") as first:
        first.write(torch.tensor([3, 7, 39]), torch.arange(9.0).reshape(3, 3))
    rows = (first.folder / "rows").read_bytes()
    forged = {f"{3 * k + 3:012d}-3.block": packed for k, packed in enumerate(forged_contents().values())}
    (first.folder / "rows").write_bytes(rows * (len(forged) + 1))
    sealed = {name: seal(name, packed, rows) + packed for name, packed in forged.items()}
    blocks = absurd_blocks()
    for number, (name, content) in enumerate((blocks | sealed).items()):
        root, warnings = tmp_path / f"{number}", list[str]()
        shutil.copytree(tmp_path / "good", root)
        (root / first.folder.name / name).write_bytes(content)
        keys, seconds, memory = open_measured(root, warnings)
        assert seconds < 1
        assert memory < 2**22, name
        assert len(warnings) == 1, (name, warnings)
        assert name in warnings[0]
        assert keys == [3, 7, 39], name
        with store(root) as opened:
            opened.write(torch.tensor([0]), torch.ones(1, 3))
        assert store(root, warnings).keys.tolist() == [0, 3, 7, 39], name
        assert len(warnings) == 1
    tried(len(blocks) + len(sealed), "absurd blocks set aside, within a second and 4 MiB")


@pytest.mark.fault(29)
def test_a_store_that_does_not_match_its_name(tmp_path: Path) -> None:
    folder = store(tmp_path).folder
    for content in (b"", b"{}", b"[" * 10**6, b'{"size": NaN}', b"\x80\x04", b'{"format": 2}', b"null"):
        (folder / "store.json").write_bytes(content)
        with pytest.raises(storage.Damaged, match=r"store\.json describes another store than the name of its folder"):
            store(tmp_path)
