"""Trackers: consumers of a study's events, one file each, each in a thread of its own."""

from tutelage.track.choose import TRACKERS, chosen
from tutelage.track.curves import Curve, Title
from tutelage.track.listen import tracked

__all__ = ["TRACKERS", "Curve", "Title", "chosen", "tracked"]
