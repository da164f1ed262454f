"""Memory runs out: one line that says so and what to lower, exit code 1, and no blame on the network or a file."""

from __future__ import annotations

import errno
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from tests.cli.conftest import Command, InProcess
from tutelage import api, cli, storage
from tutelage.engine import Engine
from tutelage.errors import memory_advice, memory_fault
from tutelage.models.build import check
from tutelage.recipes import call
from tutelage.study import Execution, Failed, Study, run

WORDS = ("run", "baseline", "--epochs", "1", "--train-size", "20", "--threads", "1", "--track", "none")
TOO_MANY = 2**60
CUDA = (
    "CUDA out of memory. Tried to allocate 20.00 GiB. GPU 0 has a total capacity of 79.11 GiB, 1 GiB is free. "
    "See documentation for Memory Management (https://pytorch.org/docs/)"
)


class Greedy(nn.Module):
    """A network that asks for more memory than there is: always, or only as it trains."""

    always = True

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Linear(64, 10)

    def forward(self, images: Tensor) -> Tensor:
        if self.always or self.training:
            torch.empty(TOO_MANY)
        return self.body(images.flatten(1))


class GreedyInTraining(Greedy):
    """The same, which passes the dry run."""

    always = False


@pytest.mark.fault(43)
def test_in_the_dry_run(in_process: InProcess, tmp_path: Path) -> None:
    code, out, error = in_process(*WORDS, "--model", "tests.cli.test_out_of_memory:Greedy")
    assert (code, out) == (1, "")
    (line,) = error.splitlines()
    assert line.startswith("tutelage: memory ran out (can't allocate memory: you tried to allocate ")
    assert line.endswith("lower the batch size, or the number of processes or threads")
    assert "does not take images" not in line
    assert not (tmp_path / "runs").exists()


@pytest.mark.fault(43)
def test_in_training(tmp_path: Path) -> None:
    lineage = call("baseline", model="tests.cli.test_out_of_memory:GreedyInTraining", epochs=1, train_size=20)
    one = Execution(device="cpu", precision="fp32", threads=1)
    events = list(run(Study(lineages=(lineage,)), runs=tmp_path, execution=one))
    (failed,) = [event for event in events if isinstance(event, Failed)]
    assert failed.message.startswith("memory ran out (can't allocate memory: you tried to allocate ")
    assert failed.message.endswith(": lower the batch size, or the number of processes or threads")


ERRORS: dict[str, Callable[[], BaseException]] = {
    "a GPU": lambda: torch.OutOfMemoryError(CUDA),
    "a library for GPUs": lambda: RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate`"),
    "C++": lambda: RuntimeError("std::bad_alloc"),
    "NumPy": lambda: MemoryError("Unable to allocate 8.00 EiB for an array with shape (1,) and data type float64"),
    "Python": MemoryError,
    "the import of a library": lambda: ImportError("libtorch.so: failed to map segment from shared object"),
    "the loader": lambda: OSError("libgomp.so.1: cannot allocate memory in static TLS block"),
    "the system": lambda: OSError(errno.ENOMEM, "Cannot allocate memory"),
    "zlib": lambda: zlib.error("Error -4 while decompressing data"),
    "Python without memory for an error": lambda: SystemError("error return without exception set"),
    "a thread": lambda: RuntimeError("can't start new thread"),
}


@pytest.mark.fault(43)
@pytest.mark.parametrize("name", ERRORS)
def test_every_source_is_one_line(name: str, in_process: InProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where another error was raised from it."""

    def fail(*words: object, **options: object) -> str:
        raise ERRORS[name]()

    def fail_in_turn(*words: object, **options: object) -> str:
        try:
            fail()
        except Exception as error:
            raise ValueError("the package cannot be imported") from error
        raise AssertionError

    lines = set()
    for function in (fail, fail_in_turn):
        monkeypatch.setattr(api, "explain", function)
        code, out, error = in_process("explain", "baseline")
        assert (code, out) == (1, "")
        (line,) = error.splitlines()
        assert line.startswith("tutelage: memory ran out")
        assert len(line) < 300
        lines.add(line)
    assert len(lines) == 1


@pytest.mark.parametrize(
    "error", [ValueError("out of memory"), RuntimeError("mat1 and mat2 shapes"), OSError(2, "no")]
)
def test_other_errors_are_not_taken_for_it(error: Exception) -> None:
    assert memory_fault(error) is None


def test_what_was_handled_is_not_reported() -> None:
    """A file that asks for absurd amounts of memory is refused by its name, as before."""

    def read() -> None:
        try:
            raise MemoryError
        except MemoryError:
            raise ValueError("huge.png holds no image") from None

    with pytest.raises(ValueError, match="huge") as refused:
        read()
    assert memory_fault(refused.value) is None


def test_the_words_of_a_gpu_are_cut_short() -> None:
    advice = memory_advice(torch.OutOfMemoryError(CUDA))
    assert advice == "memory ran out (out of memory): lower the batch size, or the number of processes or threads"


@pytest.mark.fault(43)
def test_neither_a_network_nor_a_device_nor_a_file_is_blamed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="can't allocate memory"):
        check(Greedy(), "greedy", 10, (1, 8, 8))

    def fail(*words: object, **options: object) -> Tensor:
        raise RuntimeError(
            "[enforce fail] . DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"
        )

    data = storage.tensor_bytes({"x": torch.zeros(1)})
    with monkeypatch.context() as patch:
        patch.setattr("safetensors.torch.load", fail)
        with pytest.raises(RuntimeError, match="can't allocate memory"):
            storage.tensors_in(data, "teacher.safetensors")
    with monkeypatch.context() as patch:
        patch.setattr(torch, "empty", fail)
        with pytest.raises(RuntimeError, match="can't allocate memory"):
            Engine.choose("cpu", "fp32")


@pytest.mark.fault(43)
@pytest.mark.parametrize("megabytes", [2, 5, 7, 8, 11, 17, 24])
def test_imports_under_a_limit(megabytes: int, tutelage: Command) -> None:
    """What a command imports or reads as it needs it does not fit: one line, no traceback."""
    for limit in (megabytes, megabytes + 0.1, megabytes + 0.2):
        done = tutelage(*WORDS, memory=limit)
        assert done.returncode == 1, done.stderr
        # Python's parser, out of memory, now and then blames the text that it parses: then nobody can know.
        if done.stderr.splitlines()[-1:] != ["SyntaxError: expected ':'"]:
            break
    assert done.stderr.startswith("tutelage: memory ran out")
    assert len(done.stderr.splitlines()) == 1, done.stderr


@pytest.mark.fault(43)
@pytest.mark.parametrize("last", [MemoryError(), SystemError("error return without exception set")])
def test_not_even_the_report_fits(
    last: Exception, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Python itself raises either where it has nothing left to make an error from."""

    def fail(*words: object) -> int:
        raise last

    monkeypatch.setattr(cli, "command", fail)
    monkeypatch.setattr(cli, "exit_on_signal", lambda *words: None)  # this process is that of other tests too
    with pytest.raises(SystemExit) as end:
        cli.main(["explain", "baseline"])
    assert end.value.code == 1
    out, error = capfd.readouterr()
    assert out == ""
    (line,) = error.splitlines()
    assert line.startswith("tutelage: memory ran out: lower ")
