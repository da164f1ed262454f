"""How the command imports what it needs."""

from __future__ import annotations

import contextlib
import gc
import sys
from collections.abc import Iterator


@contextlib.contextmanager
def gc_paused() -> Iterator[None]:
    """Import inside it: nothing of a module is garbage, and looking for some takes a tenth of the start.

    What came with torch, most of 270,000 objects, is not looked through afterwards either.
    """
    before, was_there = gc.isenabled(), "torch" in sys.modules
    gc.disable()
    try:
        yield
    finally:
        if "torch" in sys.modules and not was_there:
            gc.freeze()
        if before:
            gc.enable()
