"""Transfer of features: probe the frozen features of a study's models on another dataset, and compare the results."""

from tutelage.analysis.transfer.comparison import TransferRecord, find_reference, transfer_records
from tutelage.analysis.transfer.measure import ProbeProgress, finished_models, measure_transfer
from tutelage.analysis.transfer.probes import MAX_SIDE, check_transfer
from tutelage.analysis.transfer.results import PROBES, Destination, Probe, ProbeResult
from tutelage.evaluation.probe import L2, NEIGHBOURS, ONE_IN

__all__ = [
    "L2",
    "MAX_SIDE",
    "NEIGHBOURS",
    "ONE_IN",
    "PROBES",
    "Destination",
    "Probe",
    "ProbeProgress",
    "ProbeResult",
    "TransferRecord",
    "check_transfer",
    "find_reference",
    "finished_models",
    "measure_transfer",
    "transfer_records",
]
