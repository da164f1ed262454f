"""Images from files: the decoded store beside a decoder alone, the map beside memory, the second start, the memory.

The files are made here: 10,000 JPEGs of 400 x 300 pixels, shown at 224, in a folder on the machine's disk. The other
side of the first two rows is Pillow alone, one process for each core, with the same resizing and nothing else.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from benchmarks import photographs
from benchmarks.loops import Block, library, on
from benchmarks.measure import Ratio, foreign_load, interleaved, timed
from benchmarks.worker_process import WorkerProcess
from tutelage.data import BatchLoader, DataConfig, MarginCrop
from tutelage.data.load import load
from tutelage.data.pixel_map import Reading, Store
from tutelage.engine import Engine, available_cores
from tutelage.methods.hinton import labels_only

IMAGES, SIZE, SIDE = 10_000, 224, 256
PART, BATCH = 1_280, 64
SEEDS = 4
START = """
import sys, time
from pathlib import Path
from tutelage.data import DataConfig
from tutelage.data.load import load
from tutelage.data.pixel_map import Reading

began = time.perf_counter()
splits = load(DataConfig(name=sys.argv[1], image_size=int(sys.argv[3])), Path(sys.argv[2]), Reading(store="mapped"))
print(time.perf_counter() - began)
"""
SEED = """
import sys
from pathlib import Path
import numpy as np
from tutelage.data import DataConfig
from tutelage.data.load import load
from tutelage.data.pixel_map import Reading

def memory():  # pages that several processes map count in equal shares
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("Pss:"))

config, reading = DataConfig(name=sys.argv[1], image_size=int(sys.argv[3])), Reading(store="mapped")
sys.stdin.readline()
before = memory()
splits = load(config, Path(sys.argv[2]), reading)
read = sum(int(part.images.pixels[row].sum()) for part in (splits.train, splits.test) for row in part.images.rows)
print("read", flush=True)
sys.stdin.readline()
print(memory() - before, flush=True)
sys.stdin.readline()
"""


def dataset(folder: Path, data: Path, store: Store, workers: int, size: int = SIZE) -> BatchLoader:
    """The training images of a folder from a store, in batches of 64."""
    config = DataConfig(name=str(folder), image_size=size)
    splits = load(config, data, Reading(store=store, workers=workers))
    return BatchLoader(splits.train, MarginCrop(), BATCH, Engine.choose("cpu").device)


def epochs(folder: Path, data: Path) -> Block:
    """A block of one epoch of batches from the decoded store, cut by one worker a core."""
    loader = dataset(folder, data, "decoded", available_cores())
    numbers = iter(range(10_000))

    def block() -> None:
        for _ in loader.batches(0, next(numbers)):
            pass

    return block


def training(folder: Path, data: Path, store: Store) -> Block:
    """A block of five steps of ResNet-20 on images of 64 pixels."""
    return library(Engine.choose("cpu"), dataset(folder, data, store, 0, size=64), labels_only())


def input_path(folder: Path) -> Ratio:
    """An epoch of the decoded store beside Pillow alone in one process a core."""
    small, data = folder / "small", folder / "decoded"
    photographs.write(small, PART)
    shown = photographs.files(small)[: PART * 4 // 5]  # the rest is the test set
    ours = WorkerProcess(epochs, small, data, threads=1)
    alone = photographs.Decoders(shown, SIZE, SIDE)
    with foreign_load() as busy:
        pairs = interleaved(ours, alone, rounds=9)
    ours.close()
    alone.close()
    return Ratio(
        name=f"Pillow alone / batches of the decoded store, {available_cores()} workers, {SIZE} pixels",
        rounds=[other / seconds for seconds, other in pairs],
        goal=">= 0.9",
        busy=busy[0],
        notes={"images/s": f"{len(shown) / sorted(seconds for seconds, _ in pairs)[4]:.0f}"},
    )


def map_beside_memory(folder: Path) -> Ratio:
    """A step of training from the map beside one from memory."""
    small, data = folder / "small", folder / "maps"
    with on(1), foreign_load() as busy:
        mapped, resident = (training(small, data, store) for store in ("mapped", "resident"))
        pairs = interleaved(mapped, resident, rounds=15)
    return Ratio(
        name="a step from the map / from memory, ResNet-20 at 64 pixels, 1 thread",
        rounds=[seconds / other for seconds, other in pairs],
        goal="<= 1.05",
        busy=busy[0],
    )


def start(folder: Path, data: Path, size: int = SIZE) -> float:
    """The seconds in which a new process has the images of a folder at hand."""
    command = [sys.executable, "-c", START, str(folder), str(data), str(size)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def starts(folder: Path, data: Path) -> Iterator[Ratio]:
    """The first start beside one decode of each file, and the second beside the first."""
    paths = photographs.files(folder)
    alone, firsts, seconds, decodes = photographs.Decoders(paths, SIZE, SIDE), [], [], []
    with foreign_load() as busy:
        for number in range(3):
            with tempfile.TemporaryDirectory(dir=data) as root:
                place = Path(root) if number else data  # what is mapped first stays, for the rows that follow
                firsts.append(start(folder, place))
                seconds.append(start(folder, place))
            decodes.append(timed(alone))
    alone.close()
    yield Ratio(
        name=f"first start with a map / one decode of each, {len(paths):,} JPEGs of 400 x 300 at {SIZE}",
        rounds=[first / decode for first, decode in zip(firsts, decodes, strict=True)],
        goal="<= 1.2",
        busy=busy[0],
        notes={"first": f"{sorted(firsts)[1]:.1f} s", "decode": f"{sorted(decodes)[1]:.1f} s"},
    )
    yield Ratio(
        name=f"second start with a map / first, {len(paths):,} JPEGs",
        rounds=[second / first for first, second in zip(firsts, seconds, strict=True)],
        goal="<= 0.1",
        busy=busy[0],
        notes={"second": f"{sorted(seconds)[1]:.2f} s"},
    )


def memory_of_seeds(folder: Path, data: Path) -> Ratio:
    """What the images add to the memory of several processes, all of which have read all of them."""
    size = sum(path.stat().st_size for path in data.rglob("pixels*"))
    command = [sys.executable, "-c", SEED, str(folder), str(data), str(SIZE)]
    processes = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(SEEDS)
    ]

    def answers() -> list[str]:
        lines = []
        for process in processes:
            assert process.stdin is not None
            process.stdin.write("\n")
            process.stdin.flush()
        for process in processes:
            assert process.stdout is not None
            lines.append(process.stdout.readline())
        return lines

    with foreign_load() as busy:
        time.sleep(10)  # until all have imported torch: what they share of it is no image
        assert answers() == ["read\n"] * SEEDS
        added = [int(line) * 1024 for line in answers()]
    for process in processes:
        process.communicate("\n")
    return Ratio(
        name=f"copies of the images in the memory of {SEEDS} processes with one map",
        rounds=[sum(added) / size],
        goal="<= 1.1",
        busy=min(busy[0], 0.3),  # memory does not depend on the load
        notes={"map": f"{size / 2**30:.2f} GiB", "added": f"{sum(added) / 2**30:.2f} GiB"},
    )


def runs() -> Iterator[Ratio]:
    """The rows, in one folder."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        yield input_path(folder)
        yield map_beside_memory(folder)
        data = folder / "data"
        data.mkdir()
        photographs.write(folder / "large", IMAGES)
        yield from starts(folder / "large", data)
        yield memory_of_seeds(folder / "large", data)
