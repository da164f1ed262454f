"""The command. It names no method and no network: a recipe's options come from its signature."""

from __future__ import annotations

import contextlib
import errno
import os
import sys
from collections.abc import Sequence

from tutelage.cli.exit_codes import DONE, FAILED, MISTAKE, STOPPED
from tutelage.cli.signals import exit_on_signal


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command and exit with its code.

    0 on success, 2 for a mistake in the request, 75 when stopped and resumable, 1 for anything else. SIGTERM and
    Ctrl-C end any command with 75: training saves itself first, which a second signal does not wait for (143, 130). A
    signal in the first moments, before Python reaches this line, ends it with these two as well.
    """
    exit_on_signal(STOPPED, "tutelage: stopped; the same command continues from there\n")
    code = command(list(sys.argv[1:] if argv is None else argv))
    exit_on_signal(code)
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
        return _print_error(str(error), MISTAKE)
    except (ValueError, FileNotFoundError, NotADirectoryError, IsADirectoryError) as error:
        if os.environ.get("TUTELAGE_TRACEBACK"):
            raise
        return _print_error(str(error), MISTAKE)
    except BrokenPipeError:
        _discard_output()
        return DONE
    except MemoryError as error:
        return _print_error(f"out of memory: {error}" if str(error) else "out of memory", FAILED)
    except (OSError, RuntimeError, ArithmeticError) as error:
        if os.environ.get("TUTELAGE_TRACEBACK"):
            raise
        if isinstance(error, OSError) and error.errno == errno.ENAMETOOLONG:
            return _print_error(f"{str(error.filename)[:80]}... is too long for a path", MISTAKE)
        of_output = isinstance(error, OSError) and error.errno == errno.ENOSPC and error.filename is None
        return _print_error("no space left where the output goes" if of_output else str(error), FAILED)


def _print_error(text: str, code: int) -> int:
    """Print an error as one line; returns the exit code."""
    from tutelage.errors import printable

    line = printable(" ".join(text.split())) or "unknown error"
    with contextlib.suppress(OSError):
        print(f"tutelage: {line}", file=sys.stderr, flush=True)
    try:
        sys.stdout.flush()
    except OSError:
        _discard_output()
    return code


def _discard_output() -> None:
    """Drop output that cannot be printed: Python would try again as it exits, and report that."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
