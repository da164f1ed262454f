"""Errors of stored folders and of the disk."""

from __future__ import annotations


class Damaged(ValueError):
    """A stored folder does not match its manifest; the message names the file and the difference."""


class NewerFormat(Damaged):
    """A stored folder was written by a newer version: it cannot be read, and is never replaced or ignored."""


class InUse(RuntimeError):
    """A folder is locked by another running process; the message names that process."""


class NoSpace(OSError):
    """A disk is full, or a quota or limit is reached; the message says where, what was needed and what is free."""
