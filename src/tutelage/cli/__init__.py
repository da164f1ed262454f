"""The command. It names no method and no network; a recipe's options come from its signature."""

from __future__ import annotations

import contextlib
import errno
import os
import sys
from collections.abc import Sequence

from tutelage.cli.signals import leave_when_asked

DONE, FAILED, MISTAKE, STOPPED = 0, 1, 2, 75


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command and leave with its exit code.

    0 done, 2 a mistake in the request, 75 stopped and resumable, 1 anything else. SIGTERM and Ctrl-C end any command
    with 75: a training saves itself first, a second signal does not wait for that (143, 130). So does a signal in the
    first moments, before Python has come to this line.
    """
    leave_when_asked(STOPPED, "tutelage: stopped; the same command continues from there\n")
    code = command(list(sys.argv[1:] if argv is None else argv))
    leave_when_asked(code)
    sys.exit(code)


def command(argv: list[str]) -> int:
    """Run the command; returns its exit code."""
    from tutelage.cli.gc_pause import gc_paused

    with gc_paused():
        from cyclopts import CycloptsError

        from tutelage.cli.app import dispatch

    try:
        code = dispatch(argv)
        sys.stdout.flush()
        return code
    except CycloptsError as error:
        return _complain(str(error), MISTAKE)
    except (ValueError, FileNotFoundError, NotADirectoryError, IsADirectoryError) as error:
        if os.environ.get("TUTELAGE_TRACEBACK"):
            raise
        return _complain(str(error), MISTAKE)
    except BrokenPipeError:
        _let_go()
        return DONE
    except MemoryError as error:
        return _complain(f"out of memory: {error}" if str(error) else "out of memory", FAILED)
    except (OSError, RuntimeError, ArithmeticError) as error:
        if os.environ.get("TUTELAGE_TRACEBACK"):
            raise
        if isinstance(error, OSError) and error.errno == errno.ENAMETOOLONG:
            return _complain(f"{str(error.filename)[:80]}... is too long for a path", MISTAKE)
        nameless = isinstance(error, OSError) and error.errno == errno.ENOSPC and error.filename is None
        return _complain("no space left where the output goes" if nameless else str(error), FAILED)


def _complain(text: str, code: int) -> int:
    from tutelage.errors import printable

    line = printable(" ".join(text.split())) or "unknown error"
    with contextlib.suppress(OSError):
        print(f"tutelage: {line}", file=sys.stderr, flush=True)
    try:
        sys.stdout.flush()
    except OSError:
        _let_go()
    return code


def _let_go() -> None:
    """Leave what cannot be printed: Python would try again at its end, and say so."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
