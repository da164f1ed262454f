"""JPEG files of the size of photographs, and a decoder that does with them only what nobody can leave out."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.loops import Block
from benchmarks.worker_process import WorkerProcess
from tutelage.engine import available_cores

WIDTH, HEIGHT, CLASSES = 400, 300, 10


def write(folder: Path, count: int) -> None:
    """Write ``count`` different JPEG files in class folders: smooth surfaces with some grain, about 25 KB each."""
    draw = np.random.default_rng(0)
    grain = Image.fromarray(draw.integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8))
    for number in range(CLASSES):
        (folder / f"class-{number}").mkdir(parents=True)

    def one(number: int) -> None:
        colors = np.random.default_rng(number).integers(0, 256, (15, 20, 3), dtype=np.uint8)
        surface = Image.fromarray(colors).resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC)
        image = Image.blend(surface, grain, 0.1)
        image.save(folder / f"class-{number % CLASSES}" / f"{number}.jpg", quality=85)

    with ThreadPoolExecutor(available_cores()) as pool:
        list(pool.map(one, range(count)))


def files(folder: Path) -> list[Path]:
    """The files, in a fixed order."""
    return sorted(folder.rglob("*.jpg"))


def decoded(path: Path, size: int, side: int) -> np.ndarray:
    """What Pillow alone does: decode, resize the shorter side to ``side``, cut ``size`` pixels out of the middle."""
    with Image.open(path) as image:
        image.draft("RGB", (side, side))
        width, height = image.size
        shorter = min(width, height)
        small = image.resize((side * width // shorter, side * height // shorter), Image.Resampling.BILINEAR)
        left, top = (small.width - size) // 2, (small.height - size) // 2
        return np.array(small.crop((left, top, left + size, top + size)))


def _decoding(paths: list[Path], size: int, side: int) -> Block:
    def block() -> None:
        for path in paths:
            decoded(path, size, side)

    return block


class Decoders:
    """Pillow alone: a process for each core, each of which decodes its share of the files at every call."""

    def __init__(self, paths: list[Path], size: int, side: int) -> None:
        cores = available_cores()
        self.processes = [
            WorkerProcess(_decoding, paths[number::cores], size, side, threads=1) for number in range(cores)
        ]

    def __call__(self) -> None:
        """Decode each file once."""
        for process in self.processes:
            process.start()
        for process in self.processes:
            process.wait()

    def close(self) -> None:
        """End the processes."""
        for process in self.processes:
            process.close()
