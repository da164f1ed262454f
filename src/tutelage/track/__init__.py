"""Trackers: consumers of a study's events, one file each, each in a thread of its own."""

from tutelage.track.curves import RunInfo, TrackerRun
from tutelage.track.dispatch import tracked
from tutelage.track.selection import TRACKERS, chosen

__all__ = ["TRACKERS", "RunInfo", "TrackerRun", "chosen", "tracked"]
