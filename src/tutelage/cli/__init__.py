"""The command. It names no method and no network; a recipe's options come from its signature."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

DONE, FAILED, MISTAKE, STOPPED = 0, 1, 2, 75


def main(argv: Sequence[str] | None = None) -> None:
    """Run the command and leave with its exit code.

    0 done, 2 a mistake in the request, 75 stopped and resumable, 1 anything else.
    """
    sys.exit(command(list(sys.argv[1:] if argv is None else argv)))


def command(argv: list[str]) -> int:
    """Run the command; returns its exit code."""
    from cyclopts import CycloptsError

    from tutelage.cli.app import dispatch

    try:
        return dispatch(argv)
    except CycloptsError as error:
        return _complain(str(error), MISTAKE)
    except (ValueError, FileNotFoundError, NotADirectoryError, IsADirectoryError) as error:
        if os.environ.get("TUTELAGE_TRACEBACK"):
            raise
        return _complain(str(error), MISTAKE)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return DONE
    except (OSError, RuntimeError, ArithmeticError) as error:
        if os.environ.get("TUTELAGE_TRACEBACK"):
            raise
        return _complain(str(error), FAILED)


def _complain(text: str, code: int) -> int:
    line = " ".join(text.split()) or "unknown error"
    print(f"tutelage: {line}", file=sys.stderr)
    return code
