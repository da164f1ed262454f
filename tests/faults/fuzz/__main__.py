"""``python -m tests.faults.fuzz TARGET SECONDS SEED FOLDER PATIENCE``: fuzz one reader in this process, by coverage.

Any exception other than ``ValueError``, an input that takes more than 10 CPU seconds (or hangs for PATIENCE seconds),
and more than 1 GiB of additional memory end the process with an error; the input is then stored in FOLDER.
"""

from __future__ import annotations

import resource
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import atheris
import torch

Read = Callable[[bytes], object]
LONGEST = 10.0
"""Seconds of the processor's time that an input may take."""
MORE_MEMORY = 2**30
"""Bytes of address space that a reader may allocate."""


def read(reader: Read, data: bytes) -> bool:
    """Whether these bytes are read; they may be refused only with a ``ValueError``."""
    start = time.process_time()
    try:
        reader(data)
    except ValueError:
        return False
    finally:
        assert time.process_time() - start < LONGEST
    return True


def main(name: str, seconds: int, seed: int, failures: Path, patience: int) -> None:
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    with atheris.instrument_imports(include=["tutelage"]):
        from tests.faults.fuzz import records, targets
    folder = Path(tempfile.mkdtemp(dir=failures))
    corpus = folder / "corpus"
    corpus.mkdir()
    target = (targets.TARGETS | records.TARGETS)[name](folder)
    for number, content in enumerate(target.seeds):
        (corpus / str(number)).write_bytes(content)
    assert sum(read(target.read, content) for content in target.seeds) > 0, "no seed is a valid file"
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + MORE_MEMORY, used + MORE_MEMORY))
    options = [
        *(f"-max_total_time={seconds}", f"-seed={seed}", f"-artifact_prefix={failures}/", f"-timeout={patience}"),
        *("-max_len=16384", "-keep_seed=1", "-reduce_inputs=0", "-rss_limit_mb=0", "-print_final_stats=1"),
    ]
    atheris.Setup(["fuzz", *options, str(corpus)], lambda data: bool(read(target.read, data)))
    atheris.Fuzz()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4]), int(sys.argv[5]))
