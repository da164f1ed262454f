"""The standard streams of the command: closed ones are replaced, and no encoding ends it."""

from __future__ import annotations

import codecs
import io
import os
import sys
from typing import TextIO

ASCII = {
    "±": "+-",
    "−": "-",
    "·": "*",
    "×": "x",
    "‖": "||",
    "τ": "tau",
    "Σ": "sum",
    "…": "...",
    "→": "->",
    "▲": "^",
    "▼": "v",
    "○": "o",
}
"""What is printed for these where a stream's encoding does not have them; all others are escaped."""

_FALLBACK = "tutelage.fallback"


def open_missing_streams() -> None:
    """Connect the standard streams that were closed by whoever started the command to the null device.

    The next file that is opened would otherwise take the place of the closed one, and whatever is printed to that
    would be written into it: a checkpoint, say.
    """
    for number, mode in enumerate((os.O_RDONLY, os.O_WRONLY, os.O_WRONLY)):
        try:
            os.fstat(number)
        except OSError:
            handle = os.open(os.devnull, mode)
            assert handle == number, "the lowest number that is free"
            os.set_inheritable(handle, True)  # to the processes of the seeds
    sys.stdin = sys.stdin or open(0, closefd=False)  # noqa: SIM115
    sys.stdout = sys.stdout or open(1, "w", closefd=False)  # noqa: SIM115
    sys.stderr = sys.stderr or open(2, "w", closefd=False)  # noqa: SIM115


def print_what_encodings_lack() -> None:
    """Print characters that a stream's encoding does not have as ASCII, instead of ending with an error."""
    codecs.register_error(_FALLBACK, _fallback)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=_FALLBACK)


def for_stream(text: str, stream: TextIO) -> str:
    """A text as it will be printed to a stream, for what is laid out before.

    >>> for_stream("37.50 ± 17.68", io.TextIOWrapper(io.BytesIO(), encoding="ascii"))
    '37.50 +- 17.68'
    """
    if text.isascii():
        return text
    codecs.register_error(_FALLBACK, _fallback)
    encoding = stream.encoding or "utf-8"
    return text.encode(encoding, _FALLBACK).decode(encoding)


def _fallback(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeEncodeError)
    missing = error.object[error.start : error.end]
    escaped = (ASCII.get(c) or c.encode("ascii", "backslashreplace").decode() for c in missing)
    return "".join(escaped), error.end


def reader_has_left(error: BaseException) -> bool:
    """Whether an error says that nobody reads the output any more; rich makes an exit with code 1 of that."""
    return isinstance(error, BrokenPipeError) or (
        isinstance(error, SystemExit) and isinstance(error.__context__, BrokenPipeError)
    )


def discard_output() -> None:
    """Drop output that cannot be printed: Python would try again as it exits, and report that."""
    handle = os.open(os.devnull, os.O_WRONLY)
    os.dup2(handle, sys.stdout.fileno())
    os.close(handle)
