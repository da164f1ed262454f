"""All that is wrong with the files of a set, in one error."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

_LISTED = 20


class BrokenFiles(ValueError):
    """Files of the set at ``path`` that cannot be used; ``faults`` says of each what is wrong.

    ``may_skip`` says whether the set can be used without them.
    """

    def __init__(self, faults: Sequence[str], path: Path, may_skip: bool = True) -> None:
        shown = "; ".join(faults[:_LISTED])
        more = f"; and {len(faults) - _LISTED} more" if len(faults) > _LISTED else ""
        count = f"{len(faults)} files cannot be used: " if len(faults) > 1 else ""
        skip = f"--skip-broken goes on without {'them' if len(faults) > 1 else 'it'}, and " if may_skip else ""
        check = f"`tutelage data check {shlex.quote(str(path))}` lists all that is wrong"
        super().__init__(f"{count}{shown}{more}: {skip}{check}")
        self.faults = tuple(faults)
