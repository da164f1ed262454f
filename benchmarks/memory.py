"""Peak memory of training on sets of the size of Tiny ImageNet and CINIC-10, each in a process of its own.

Random images in an ``.npz`` file, as a user would hand them in; ResNet-18 with a CIFAR stem, batches of 128; the peak
after a few steps and after measuring some of the images, as a run does at its end.
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
from tutelage.lineage.train import train
from tutelage.recipes import call
from tutelage.recipes.baselines import baseline

keep_freed_memory()
engine = Engine.choose("cpu")
lineage = call(baseline, data=sys.argv[1], model="resnet18", epochs=1, train_size=None)
splits = load(lineage.data, Path(sys.argv[2]))
told = (each.record for each in train(lineage, 0, splits, runs=Path(sys.argv[2]), engine=engine))
print("loaded", peak_memory(), file=sys.stderr)
next(record for record in told if record is not None and record.step >= 3)
print(peak_memory())
"""


def write(path: Path, images: int, held_out: int, side: int, classes: int) -> None:
    """Random pixels, a little of them at a time, in the layout that the command reads."""
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
        test_images=train[:held_out],
        test_labels=labels[:held_out],
    )
    path.with_suffix(".npy").unlink()


def runs() -> Iterator[Ratio]:
    """GiB of resident memory at the most, torch included."""
    for name, (images, held_out, side, classes) in SETS.items():
        with tempfile.TemporaryDirectory() as folder, foreign_load() as busy:
            path = Path(folder) / "set.npz"
            write(path, images, held_out, side, classes)
            command = [sys.executable, "-c", PROGRAM, str(path), folder]
            said = subprocess.run(command, check=False, capture_output=True, text=True)
            assert said.returncode == 0, said.stderr
        yield Ratio(
            name=f"peak resident memory, GiB, a set of the size of {name}, ResNet-18",
            rounds=[int(said.stdout) / 1024],
            goal="<= 4",
            busy=min(busy[0], 0.3),  # memory does not depend on the load
            notes={"after loading": f"{int(said.stderr.split()[1]) / 1024:.2f}"},
        )
