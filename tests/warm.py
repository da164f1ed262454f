"""Commands without the wait for imports: a server that has imported the dependencies forks for each command.

A fork is a process like any other: it imports tutelage, reads its environment and dies of SIGKILL as `tutelage` does.
Only the import of torch and other libraries is not repeated, which takes most of the time of a short run.
"""

from __future__ import annotations

import importlib
import json
import os
import resource
import signal
import subprocess
import sys
import threading
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path

HERE = Path(__file__).parents[1]
PREPARE = "TESTS_PREPARE"
"""The variable that names a module whose ``prepare()`` changes something for a command before it begins."""


class Warm:
    """The client: starts commands and waits for them; what they print is in ``output(pid)``."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        one_thread = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        self.server = subprocess.Popen(
            [sys.executable, "-m", "tests.warm", str(folder)],
            cwd=HERE,
            env={**os.environ, **one_thread},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def _ask(self, **fields: object) -> int:
        assert self.server.stdin is not None
        assert self.server.stdout is not None
        self.server.stdin.write(json.dumps(fields) + "\n")
        self.server.stdin.flush()
        return int(self.server.stdout.readline())

    def start(self, words: tuple[str, ...], runs: Path, **environment: str) -> int:
        """Start a command; returns the id of its process."""
        return self._ask(words=words, environment={"TUTELAGE_RUNS": str(runs), **environment})

    def complete(
        self,
        words: Sequence[str],
        environment: Mapping[str, str],
        folder: Path,
        closed: Sequence[int] = (),
        memory: float | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """Run a command in ``folder`` with this environment and no other; what it prints is apart, by stream.

        The standard streams that are ``closed`` are so from the start. ``memory`` limits the address space, in MiB
        beside what the fork has.
        """
        surroundings = {"folder": str(folder), "closed": list(closed), "memory": memory}
        pid = self._ask(words=words, environment=dict(environment), **surroundings)
        code = self.wait(pid)
        errors = (self.folder / f"{pid}.errors.txt").read_text()
        return subprocess.CompletedProcess(list(words), code, self.output(pid), errors)

    def ended(self, pid: int) -> int | None:
        """The exit code of a process, minus the signal that ended it; None while it lives."""
        code = self._ask(ended=pid)
        return None if code == 1000 else code

    def wait(self, pid: int) -> int:
        """Wait for a process; returns its exit code, or minus the signal that ended it."""
        return self._ask(wait=pid)

    def spent(self, pid: int) -> float:
        """CPU seconds of an ended process, with its children."""
        return self._ask(spent=pid) / 1000

    def run(self, words: tuple[str, ...], runs: Path, **environment: str) -> int:
        """Start a command and wait for it."""
        return self.wait(self.start(words, runs, **environment))

    def output(self, pid: int) -> str:
        return (self.folder / f"{pid}.txt").read_text()

    def close(self) -> None:
        assert self.server.stdin is not None
        assert self.server.stdout is not None
        self.server.stdin.close()
        self.server.wait()
        self.server.stdout.close()


def serve(folder: Path) -> None:
    """Answer each line of JSON with one number, until the input ends."""
    codes: dict[int, int] = {}
    spent: dict[int, int] = {}  # milliseconds of CPU time
    for line in sys.stdin:
        message = json.loads(line)
        if "words" in message:
            answer = os.fork()
            if answer == 0:
                closed, memory = message.get("closed", []), message.get("memory")
                run(message["words"], message["environment"], folder, message.get("folder"), closed, memory)
            codes.pop(answer, None)  # of an earlier process with this id
        elif "spent" in message:
            answer = spent[message["spent"]]
        else:
            pid = message.get("wait", message.get("ended"))
            if pid not in codes:
                ended_pid, status, usage = os.wait4(pid, 0 if "wait" in message else os.WNOHANG)
                if ended_pid:
                    codes[pid] = os.waitstatus_to_exitcode(status)
                    spent[pid] = round(1000 * (usage.ru_utime + usage.ru_stime))
            answer = codes.get(pid, 1000)
        print(answer, flush=True)


def run(
    words: list[str],
    environment: Mapping[str, str],
    outputs: Path,
    folder: str | None,
    closed: Sequence[int],
    memory: float | None,
) -> None:
    """The body of a fork: the command, with its output in a file, or in two where it has a folder; never returns."""
    code = 1
    try:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        if folder is None:
            os.environ.update({"TUTELAGE_DATA": str(outputs / "data"), "COLUMNS": "160"})
        else:
            os.chdir(folder)
            os.environ.clear()
        os.environ.update(environment)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        names = (f"{os.getpid()}.txt", f"{os.getpid()}.errors.txt")
        out, errors = (os.open(outputs / name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC) for name in names)
        os.dup2(out, 1)
        os.dup2(out if folder is None else errors, 2)
        if PREPARE in os.environ:
            importlib.import_module(os.environ[PREPARE]).prepare()
        for number in closed:  # Python starts with None for what is closed
            os.close(number)
            setattr(sys, ("stdin", "stdout", "stderr")[number], None)
        if memory is not None:
            (pages, *_) = Path("/proc/self/statm").read_text().split()
            limit = int(pages) * resource.getpagesize() + int(memory * 2**20)
            resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
        from tutelage.cli import main

        main(words)
    except SystemExit as end:
        code = int(end.code or 0)
    except BaseException:
        traceback.print_exc()
    finally:
        for stream in (sys.stdout, sys.stderr):
            if stream is not None:
                stream.flush()
        os._exit(code)


if __name__ == "__main__":
    for module in (
        "cyclopts",
        "rich.live",
        "rich.progress",
        "rich.table",
        "safetensors.torch",
        "scipy.stats",
        "torch._dynamo",
    ):
        importlib.import_module(module)
    for module in ("datasets", "linear_model", "neighbors", "pipeline"):
        importlib.import_module(f"sklearn.{module}")
    importlib.import_module("torch").set_num_threads(1)
    assert not any(name.split(".")[0] == "tutelage" for name in sys.modules)
    assert threading.active_count() == 1
    serve(Path(sys.argv[1]))
