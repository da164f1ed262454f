"""``python -m tests.faults.fuzz``: fuzz readers by coverage, each in a fork of this process.

The package is imported and instrumented once, which takes as long as a short fuzzing. Each line of standard input is
the JSON of a :class:`Request`; each is answered by one line with the exit code of the fork.

Any exception other than ``ValueError``, an input that takes more than 10 CPU seconds (or hangs for the seconds of
``patience``), and more than 1 GiB of additional memory end the fork with an error; the input is then stored in
``folder``.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypedDict

import atheris
import torch

Read = Callable[[bytes], object]
LONGEST = 10.0
"""Seconds of the processor's time that an input may take."""
MORE_MEMORY = 2**30
"""Bytes of address space that a reader may allocate."""


class Request(TypedDict):
    """What to fuzz, for how many seconds, from which seed; ``log`` is the file for all that the fork prints."""

    target: str
    seconds: int
    seed: int
    folder: str
    patience: int
    log: str


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


def fuzz(targets: Mapping[str, Callable[[Path], object]], request: Request) -> None:
    failures = Path(request["folder"])
    folder = Path(tempfile.mkdtemp(dir=failures))
    corpus = folder / "corpus"
    corpus.mkdir()
    target = targets[request["target"]](folder)
    for number, content in enumerate(target.seeds):
        (corpus / str(number)).write_bytes(content)
    assert sum(read(target.read, content) for content in target.seeds) > 0, "no seed is a valid file"
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + MORE_MEMORY, used + MORE_MEMORY))
    options = [
        f"-max_total_time={request['seconds']}",
        f"-seed={request['seed']}",
        f"-artifact_prefix={failures}/",
        f"-timeout={request['patience']}",
        *("-max_len=16384", "-keep_seed=1", "-reduce_inputs=0", "-rss_limit_mb=0", "-print_final_stats=1"),
    ]
    atheris.Setup(["fuzz", *options, str(corpus)], lambda data: bool(read(target.read, data)))
    atheris.Fuzz()


def main() -> None:
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    with atheris.instrument_imports(include=["tutelage"]):
        from tests.faults.fuzz import records, targets
    for line in sys.stdin:
        request: Request = json.loads(line)
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
                log = os.open(request["log"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
                os.dup2(log, 1)
                os.dup2(log, 2)
                fuzz(targets.TARGETS | records.TARGETS, request)
                code = 0
            except SystemExit as end:
                code = int(end.code or 0)
            except BaseException:
                traceback.print_exc()
            finally:
                sys.stderr.flush()
                os._exit(code)
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)


if __name__ == "__main__":
    main()
