"""The experiments of the papers, by name: PAPER/TABLE/CASE, such as ``tolerant/table-1/densenet-100``.

One file a paper. Each experiment is a study with the paper's own schedule, and says which of its results belongs
beside which printed number. Nothing is built before it is asked for.
"""

from tutelage.experiments.catalog import experiments, find, left_out

__all__ = ["experiments", "find", "left_out"]
