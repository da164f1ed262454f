"""Error messages: unknown names with the nearest known ones, memory that ran out, text made safe to print."""

from __future__ import annotations

import errno
import re
import zlib
from collections.abc import Iterable
from difflib import get_close_matches

MAX_LISTED = 400
"""The most characters that the names to choose from take up in a message."""

_EXHAUSTED = re.compile(
    # torch on a CPU and on a GPU, C++, the dynamic loader, threads, and the system's own words
    r"can't allocate memory|out of memory|std::bad_alloc|ALLOC_FAILED|failed to map segment|can't start new thread"
    r"|cannot allocate memory|unable to allocate|insufficient memory"
    # zlib; Python where it could not even make the error
    r"|Error -4 while|error return without exception set",
    re.IGNORECASE,
)
_TELLING = (RuntimeError, ImportError, OSError, SystemError, zlib.error)
ADVICE = "lower the batch size, or the number of processes or threads"


def printable(text: str) -> str:
    r"""Make untrusted text safe to print: characters that could control a terminal become escape sequences.

    >>> print(printable("cat\x1b[2J"), printable("caf\u00e9\udcff"))
    cat\x1b[2J café\udcff
    """
    if text.isprintable():  # as nearly always, and also where no memory is left for more
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def listing(names: Iterable[str], limit: int = MAX_LISTED) -> str:
    """Names one after the other; of very many the first, and how many more there are.

    >>> listing(["a", "b"]), listing(["layer1", "layer2", "layer3"], limit=15)
    ('a, b', 'layer1, layer2 and 1 more')
    """
    shown: list[str] = []
    rest = list(names)
    while rest and (not shown or len(", ".join([*shown, rest[0]])) <= limit):
        shown.append(rest.pop(0))
    return f"{', '.join(shown)}{f' and {len(rest)} more' if rest else ''}"


def unknown(kind: str, name: str, choices: Iterable[str], hint: str = "") -> ValueError:
    """Build the error for a name that does not exist, with the nearest names that do.

    >>> print(unknown("model", "resnet21", ["resnet20", "resnet32", "densenet_bc_100_12"]))
    unknown model 'resnet21': did you mean resnet32 or resnet20?
    >>> print(unknown("recipe", "zzz", ["tolerant", "baseline"]))
    unknown recipe 'zzz': choose from baseline, tolerant
    """
    names = sorted(choices)
    nearest = get_close_matches(name, names, n=3, cutoff=0.5)
    outermost_first = sorted(names, key=lambda name: name.count("."))
    advice = f"did you mean {' or '.join(nearest)}?" if nearest else f"choose from {listing(outermost_first)}"
    return ValueError(f"unknown {kind} {name!r}: {advice}{'; ' + hint if hint else ''}")


def memory_fault(error: BaseException) -> BaseException | None:
    """The error that says that memory ran out: this one, or one that it was raised from; None for any other error.

    torch reports that as a ``RuntimeError``, the import of a library as an ``ImportError`` or ``OSError``.

    >>> memory_fault(RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried")) is not None
    True
    >>> memory_fault(ValueError("out of memory")), memory_fault(RuntimeError("shapes do not match"))
    (None, None)
    """
    fault: BaseException | None = error
    while fault is not None:
        if isinstance(fault, MemoryError) or (isinstance(fault, OSError) and fault.errno == errno.ENOMEM):
            return fault
        if isinstance(fault, _TELLING) and _EXHAUSTED.search(str(fault)):
            return fault
        fault = fault.__cause__ or (None if fault.__suppress_context__ else fault.__context__)
    return None


def memory_advice(fault: BaseException) -> str:
    """One line about an error of :func:`memory_fault`: what could not be allocated, where that is known, and advice.

    >>> print(memory_advice(RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you ...")))
    memory ran out (can't allocate memory: you): lower the batch size, or the number of processes or threads
    """
    text = " ".join(str(fault).split())
    match = _EXHAUSTED.search(text)
    if text.startswith("memory ran out"):
        return text
    # Behind what is missing, torch prints an error code, a stack trace or advice of its own.
    reason = re.split(r"\.(?: |$)|Error code|Exception raised", text[match.start() :])[0] if match else text
    if isinstance(fault, SystemError):  # what Python says of itself helps nobody
        reason = ""
    reason = printable(reason.strip(" .:"))[:160]
    return f"memory ran out{f' ({reason})' if reason else ''}: {ADVICE}"
