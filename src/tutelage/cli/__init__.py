"""The command. It names no method and no network: a recipe's options come from its signature."""

from __future__ import annotations

import contextlib
import errno
import mmap
import os
import sys
from collections.abc import Sequence

from tutelage.cli.exit_codes import DONE, FAILED, MISTAKE, STOPPED
from tutelage.cli.signals import exit_on_signal
from tutelage.cli.streams import discard_output, open_missing_streams, print_what_encodings_lack, reader_has_left
from tutelage.errors import ADVICE, memory_advice, memory_fault, printable

OUT_OF_MEMORY = f"tutelage: memory ran out: {ADVICE}\n".encode()
"""Made before it is needed, as nothing can be made then."""
RESERVE = 2**22
"""Bytes of address space, never touched, that are free again to report that memory ran out."""


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command and exit with its code.

    0 on success, 2 for a mistake in the request, 75 when stopped and resumable, 1 for anything else, such as memory
    that ran out. SIGTERM and Ctrl-C end any command with 75: training saves itself first, which a second signal does
    not wait for (143, 130). A signal in the first moments, before Python reaches this line, ends it with these two as
    well. Output that nobody reads (``>&-``, ``| head``) changes no code; output that cannot be written (a full disk)
    is 1.
    """
    open_missing_streams()
    exit_on_signal(STOPPED, "tutelage: stopped; the same command continues from there\n")
    try:
        code = command(list(sys.argv[1:] if argv is None else argv))
    except Exception as error:
        if os.environ.get("TUTELAGE_TRACEBACK") or memory_fault(error) is None:
            raise
        with contextlib.suppress(OSError):  # there was no memory left even to report that
            os.write(2, OUT_OF_MEMORY)
        code = FAILED
    exit_on_signal(code)
    sys.exit(code)


def command(argv: list[str]) -> int:
    """Run the command; returns its exit code."""
    print_what_encodings_lack()
    code, reserve = DONE, mmap.mmap(-1, RESERVE)
    try:
        code = _dispatch(argv)
        sys.stdout.flush()
        return code
    except (Exception, SystemExit) as error:
        reserve.close()
        if reader_has_left(error):
            discard_output()
            return code
        if isinstance(error, SystemExit):
            raise
        return _report(error)


def _dispatch(argv: list[str]) -> int:
    from tutelage.cli.gc_pause import gc_paused

    with gc_paused():
        from cyclopts import CycloptsError

        from tutelage.cli.app import dispatch

    try:
        return dispatch(argv)
    except CycloptsError as error:
        return _print_error(str(error), MISTAKE)


def _report(error: Exception) -> int:
    """Print an error of the request or of its surroundings as one line; returns the exit code.

    Errors: the error itself where nobody foresaw it.
    """
    if os.environ.get("TUTELAGE_TRACEBACK"):
        raise error
    if (fault := memory_fault(error)) is not None:
        return _print_error(memory_advice(fault), FAILED)
    if isinstance(error, ValueError | FileNotFoundError | NotADirectoryError | IsADirectoryError):
        return _print_error(str(error), MISTAKE)
    if not isinstance(error, OSError | RuntimeError | ArithmeticError):
        raise error
    if isinstance(error, OSError) and error.errno == errno.ENAMETOOLONG:
        return _print_error(f"{str(error.filename)[:80]}... is too long for a path", MISTAKE)
    if isinstance(error, OSError) and error.filename is None:
        if error.errno == errno.ENOSPC:
            return _print_error("no space left where the output goes", FAILED)
        if error.errno in (errno.EBADF, errno.EIO, errno.EFBIG, errno.EDQUOT):
            return _print_error(f"the output cannot be written: {os.strerror(error.errno).lower()}", FAILED)
    return _print_error(str(error), FAILED)


def _print_error(text: str, code: int) -> int:
    """Print an error as one line; returns the exit code."""
    line = printable(" ".join(text.split())) or "unknown error"
    try:
        print(f"tutelage: {line}", file=sys.stderr, flush=True)
    except OSError as error:
        if memory_fault(error) is not None:
            raise
    try:
        sys.stdout.flush()
    except OSError:
        discard_output()
    return code
