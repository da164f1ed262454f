"""The generations to diagnose, and what is stored of their models."""

from __future__ import annotations

from dataclasses import replace

from torch import Tensor

from tutelage.analysis.diagnostics.records import Missing, Reason
from tutelage.analysis.results import GenerationResult, Results
from tutelage.analysis.training_logits import TrainingLabels, training_labels, training_logits
from tutelage.artifacts.model import Model
from tutelage.errors import listing


def select_generations(results: Results, seed: int | None = None) -> tuple[GenerationResult, ...]:
    """The generations with at least one finished model, restricted to one seed if it is set.

    Errors: ``ValueError`` for a seed that is not in the study, or where nothing is finished.
    """
    seeds = results.study.seeds
    if seed is not None and seed not in seeds:
        raise ValueError(f"the run has no seed {seed}: choose from {listing(map(str, seeds))}")
    selected = results.generations if seed is None else tuple(_at(one, seed) for one in results.generations)
    finished = tuple(generation for generation in selected if generation.seeds)
    if not finished:
        at_seed = "" if seed is None else f" with seed {seed}"
        raise ValueError(f"no model of the run is finished yet{at_seed}: run its command again to continue it")
    return finished


def finished_models(generation: GenerationResult) -> dict[int, Model]:
    """The finished models of a generation by seed."""
    return {seed: result.model for seed, result in generation.seeds.items()}


def stored_labels(generation: GenerationResult) -> TrainingLabels | None:
    """The labels of the training images, None where they are not stored."""
    return training_labels(next(iter(generation.seeds.values())).model)


def stored_logits(generation: GenerationResult) -> dict[int, Tensor]:
    """The logits on the training images by seed, of those models whose logits are stored."""
    logits = {seed: training_logits(model) for seed, model in finished_models(generation).items()}
    return {seed: stored for seed, stored in logits.items() if stored is not None}


def class_names(generation: GenerationResult) -> tuple[str, ...]:
    """The names of the classes."""
    return tuple(next(iter(generation.seeds.values())).model.config()["class_names"])


def missing(generation: GenerationResult, reason: Reason, seed: int | None = None) -> Missing:
    """The record of a generation that lacks something."""
    return Missing(arm=generation.arm, generation=generation.name, place=generation.place, reason=reason, seed=seed)


def _at(generation: GenerationResult, seed: int) -> GenerationResult:
    return replace(
        generation,
        models={seed: generation.models[seed]},
        seeds={number: result for number, result in generation.seeds.items() if number == seed},
    )
