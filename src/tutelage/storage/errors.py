"""What can be wrong with a stored folder, or with where it should be stored."""

from __future__ import annotations


class Damaged(ValueError):
    """A stored folder that is not what its manifest says; the message names the file and the difference."""


class NewerFormat(Damaged):
    """A stored folder that a newer tutelage wrote: of no use here, and never replaced or passed over."""


class InUse(RuntimeError):
    """A folder that another living process holds; the message names that process."""


class NoSpace(OSError):
    """A disk, quota or limit that is full; the message says where, what was needed and what is free."""
