"""The experiments of the papers, by name: PAPER/TABLE/CASE, such as ``tolerant/table-1/densenet-100``.

Each experiment is a study on the paper's own schedule, and says which of its results stand beside which printed
numbers. There is one file per paper in ``papers``; none is imported before an experiment is asked for.
"""

from tutelage.experiments.catalog import experiments, find_experiment, unavailable_experiments

__all__ = ["experiments", "find_experiment", "unavailable_experiments"]
