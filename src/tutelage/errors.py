"""Error messages: unknown names with the nearest known ones, and untrusted text made safe to print."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


def printable(text: str) -> str:
    r"""Make untrusted text safe to print: characters that could control a terminal become escape sequences.

    >>> print(printable("cat\x1b[2J"), printable("caf\u00e9\udcff"))
    cat\x1b[2J café\udcff
    """
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def unknown(kind: str, name: str, choices: Iterable[str], hint: str = "") -> ValueError:
    """Build the error for a name that does not exist, with the nearest names that do.

    >>> print(unknown("model", "resnet21", ["resnet20", "resnet32", "densenet_bc_100_12"]))
    unknown model 'resnet21': did you mean resnet32 or resnet20?
    >>> print(unknown("recipe", "zzz", ["tolerant", "baseline"]))
    unknown recipe 'zzz': choose from baseline, tolerant
    """
    names = sorted(choices)
    nearest = get_close_matches(name, names, n=3, cutoff=0.5)
    advice = f"did you mean {' or '.join(nearest)}?" if nearest else f"choose from {', '.join(names)}"
    return ValueError(f"unknown {kind} {name!r}: {advice}{'; ' + hint if hint else ''}")
