"""All that is wrong with the files of a set, in one error."""

from __future__ import annotations

from collections.abc import Sequence

_LISTED = 20


class BrokenFiles(ValueError):
    """Files of a set that cannot be used; ``faults`` says of each what is wrong."""

    def __init__(self, faults: Sequence[str]) -> None:
        shown = "; ".join(faults[:_LISTED])
        more = f"; and {len(faults) - _LISTED} more" if len(faults) > _LISTED else ""
        count = f"{len(faults)} files cannot be used: " if len(faults) > 1 else ""
        super().__init__(f"{count}{shown}{more}")
        self.faults = tuple(faults)
