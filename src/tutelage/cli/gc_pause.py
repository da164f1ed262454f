"""Import without the garbage collector, which takes a tenth of the command's start."""

from __future__ import annotations

import contextlib
import gc
import sys
from collections.abc import Iterator


@contextlib.contextmanager
def gc_paused() -> Iterator[None]:
    """Pause the garbage collector during imports: modules are not garbage, and searching them takes time.

    The objects that torch brings, most of 270,000, are not searched afterwards either.
    """
    was_enabled, had_torch = gc.isenabled(), "torch" in sys.modules
    gc.disable()
    try:
        yield
    finally:
        if "torch" in sys.modules and not had_torch:
            gc.freeze()
        if was_enabled:
            gc.enable()
