"""The peak memory of listing and examining as many image files as ILSVRC2012 has, in a process of its own.

The files are links to one small JPEG for each class: what is measured is what each name and header costs.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.measure import Ratio, foreign_load

CLASSES, EACH, TEST_EACH = 1_000, 1_281, 50
PROGRAM = """
import sys, time
from pathlib import Path
from tutelage.artifacts.environment import peak_memory
from tutelage.data import DataConfig
from tutelage.data.load import load
from tutelage.data.pixel_map import Reading

before, began = peak_memory(), time.perf_counter()
splits = load(DataConfig(name=sys.argv[1], image_size=32), Path(sys.argv[2]), Reading(store="decoded", workers=0))
print(peak_memory(), before, time.perf_counter() - began, len(splits.train), len(splits.test))
"""


def write(folder: Path) -> None:
    """Write the folders ``train`` and ``val`` of class folders, with names as ILSVRC2012 has them."""
    draw = np.random.default_rng(0)
    for number in range(CLASSES):
        synset = f"n{number:08d}"
        for part, count in (("train", EACH), ("val", TEST_EACH)):
            place = folder / part / synset
            place.mkdir(parents=True)
            pixels = draw.integers(0, 256, (32, 32, 3), dtype=np.uint8)
            first = place / f"{synset}_{part}_0.JPEG"
            Image.fromarray(pixels).save(first, "JPEG")
            for other in range(1, count):
                os.link(first, place / f"{synset}_{part}_{other}.JPEG")


def runs() -> Iterator[Ratio]:
    """The peak of resident memory in GiB, torch included, of a first and a second start."""
    with tempfile.TemporaryDirectory() as place, foreign_load() as busy:
        folder, data = Path(place) / "images", Path(place) / "data"
        write(folder)
        command = [sys.executable, "-c", PROGRAM, str(folder), str(data)]
        replies = []
        for _ in range(2):
            process = subprocess.run(command, check=False, capture_output=True, text=True)
            assert process.returncode == 0, process.stderr
            replies.append([float(word) for word in process.stdout.split()])
    files = int(replies[0][3] + replies[0][4])
    for kind, (peak, before, seconds, _, _) in zip(("first", "second"), replies, strict=True):
        yield Ratio(
            name=f"peak resident memory, GiB, listing and examining {files:,} small JPEGs, {kind} start",
            rounds=[peak / 1024],
            goal="<= 2",
            busy=min(busy[0], 0.3),  # memory does not depend on the load
            notes={"before": f"{before / 1024:.2f}", "seconds": f"{seconds:.0f}"},
        )
