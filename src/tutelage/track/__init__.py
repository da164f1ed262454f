"""Trackers: TensorBoard, MLflow and Weights & Biases, fed by a study's events, each in a thread of its own."""

from tutelage.track.curves import RunInfo, TrackerRun
from tutelage.track.dispatch import dispatch_events
from tutelage.track.selection import TRACKERS, select_trackers

__all__ = ["TRACKERS", "RunInfo", "TrackerRun", "dispatch_events", "select_trackers"]
