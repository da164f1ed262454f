"""Losses and targets as pure functions: tensors in, one value per example out. Imports torch and nothing else."""

from __future__ import annotations

from tutelage.functional.adjustment import (
    shift_probabilities,
    smooth_wrong,
)
from tutelage.functional.born_again import (
    permute_dark_knowledge,
    teacher_max_weights,
)
from tutelage.functional.distributions import (
    official_virtual_teacher,
    one_hot,
    per_sample,
    smooth_labels,
    smooth_other_labels,
    soften,
    temper,
    tempered_logits,
    virtual_teacher,
)
from tutelage.functional.divergences import (
    confidence_hinge,
    confidence_penalty,
    cross_entropy,
    entropy,
    kl_divergence,
    kl_divergence_element_mean,
)
from tutelage.functional.dynamic_temperature import (
    focal_weights,
    sample_temperature,
    student_max_weights,
)
from tutelage.functional.features import (
    activation_boundary,
    attention_map,
    attention_transfer,
    fitnet_hint,
    flow_matrix,
    flow_of_solution,
    neuron_selectivity_transfer,
    variational_information,
)
from tutelage.functional.logits import (
    batch_correlation,
    class_correlation,
    dkd,
    inter_class_distance,
    intra_class_distance,
    other_class_kl,
    standardize,
    target_class_kl,
)
from tutelage.functional.optima import (
    matched_optimum,
    penalized_optimum,
    tolerant_optimum,
    tolerant_optimum_by_share,
)
from tutelage.functional.random import (
    hash_ints,
    permutation,
    uniform,
)
from tutelage.functional.relations import (
    correlation_congruence,
    official_correlation_congruence,
    probabilistic_transfer,
    relational_angle,
    relational_distance,
    similarity_preserving,
)
from tutelage.functional.tolerance import (
    next_primary,
    penalty_for_primary,
    primary_for_penalty,
    primary_for_tolerance,
    score_difference,
    score_difference_by_share,
    smoothing_for_primary,
    tolerance_for_primary,
)

__all__ = [
    "activation_boundary",
    "attention_map",
    "attention_transfer",
    "batch_correlation",
    "class_correlation",
    "confidence_hinge",
    "confidence_penalty",
    "correlation_congruence",
    "cross_entropy",
    "dkd",
    "entropy",
    "fitnet_hint",
    "flow_matrix",
    "flow_of_solution",
    "focal_weights",
    "hash_ints",
    "inter_class_distance",
    "intra_class_distance",
    "kl_divergence",
    "kl_divergence_element_mean",
    "matched_optimum",
    "neuron_selectivity_transfer",
    "next_primary",
    "official_correlation_congruence",
    "official_virtual_teacher",
    "one_hot",
    "other_class_kl",
    "penalized_optimum",
    "penalty_for_primary",
    "per_sample",
    "permutation",
    "permute_dark_knowledge",
    "primary_for_penalty",
    "primary_for_tolerance",
    "probabilistic_transfer",
    "relational_angle",
    "relational_distance",
    "sample_temperature",
    "score_difference",
    "score_difference_by_share",
    "shift_probabilities",
    "similarity_preserving",
    "smooth_labels",
    "smooth_other_labels",
    "smooth_wrong",
    "smoothing_for_primary",
    "soften",
    "standardize",
    "student_max_weights",
    "target_class_kl",
    "teacher_max_weights",
    "temper",
    "tempered_logits",
    "tolerance_for_primary",
    "tolerant_optimum",
    "tolerant_optimum_by_share",
    "uniform",
    "variational_information",
    "virtual_teacher",
]
