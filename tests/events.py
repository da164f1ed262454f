"""Events of training by the name of their kind, to be compared in one line."""

from __future__ import annotations

from tutelage.lineage import Finished, Measuring, TrainingProgress
from tutelage.study import Event, Failed, SeedStopped, Warned


def kind(event: Event) -> str:
    """What an event is about; ``stored`` for a model that an earlier run finished."""
    match event:
        case TrainingProgress():
            return "training"
        case Measuring():
            return "measuring"
        case Finished(seconds=None):
            return "stored"
        case Finished():
            return "finished"
        case Warned():
            return "warning"
        case Failed():
            return "failed"
        case SeedStopped():
            return "stopped"
