"""The peak memory of training on datasets of the size of Tiny ImageNet and CINIC-10, each in a process of its own.

The images are random, in an ``.npz`` file as a user would provide it; ResNet-18 with a CIFAR stem, batches of 128.
The peak is read after the dry run and a few steps.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from benchmarks.measure import Ratio, foreign_load

SETS = {"Tiny ImageNet": (100_000, 10_000, 64, 200), "CINIC-10": (180_000, 90_000, 32, 10)}
PROGRAM = """
import sys
from pathlib import Path
from tutelage.data.load import load
from tutelage.engine import Engine, keep_freed_memory
from tutelage.artifacts.environment import peak_memory
from tutelage.lineage import TrainingProgress, train
from tutelage.recipes import call
from tutelage.recipes.baselines import baseline

keep_freed_memory()
engine = Engine.choose("cpu")
lineage = call(baseline, data=sys.argv[1], model="resnet18", epochs=1, train_size=None)
splits = load(lineage.data, Path(sys.argv[2]))
events = train(lineage, 0, splits, runs=Path(sys.argv[2]), engine=engine)
print("loaded", peak_memory(), file=sys.stderr)
next(event for event in events if isinstance(event, TrainingProgress) and event.step >= 3)
print(peak_memory())
"""


def write(path: Path, images: int, test_images: int, side: int, classes: int) -> None:
    """Write random pixels in the layout that the command reads, a block at a time."""
    draw = np.random.default_rng(0)
    block = draw.integers(0, 256, (1000, side, side, 3), dtype=np.uint8)
    train = np.lib.format.open_memmap(path.with_suffix(".npy"), "w+", np.uint8, (images, side, side, 3))
    for start in range(0, images, len(block)):
        train[start : start + len(block)] = block
    labels = np.arange(images) % classes
    np.savez(
        path,
        train_images=train,
        train_labels=labels,
        test_images=train[:test_images],
        test_labels=labels[:test_images],
    )
    path.with_suffix(".npy").unlink()


def runs() -> Iterator[Ratio]:
    """The peak of resident memory in GiB, torch included."""
    for name, (images, test_images, side, classes) in SETS.items():
        with tempfile.TemporaryDirectory() as folder, foreign_load() as busy:
            path = Path(folder) / "set.npz"
            write(path, images, test_images, side, classes)
            command = [sys.executable, "-c", PROGRAM, str(path), folder]
            process = subprocess.run(command, check=False, capture_output=True, text=True)
            assert process.returncode == 0, process.stderr
        yield Ratio(
            name=f"peak resident memory, GiB, a dataset of the size of {name}, ResNet-18",
            rounds=[int(process.stdout) / 1024],
            goal="<= 4",
            busy=min(busy[0], 0.3),  # memory does not depend on the load
            notes={"after loading": f"{int(process.stderr.split()[1]) / 1024:.2f}"},
        )
