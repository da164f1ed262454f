"""The generations of a study with what is stored of their models: what diagnostics are taken from."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor

from tutelage.analysis import Results, Row
from tutelage.analysis.sheets import Plain, Record
from tutelage.analysis.training_logits import TrainingLabels, training_labels, training_logits
from tutelage.artifacts.model import Model
from tutelage.evaluation import ensemble
from tutelage.lineage import Generation, Lineage

HEAD = ("arm", "generation", "seeds")
UNMEASURED = "Not run over the training images yet (`tutelage diagnose` does it)"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Line:
    """One generation of one arm: its finished models by seed, of ``asked`` seeds."""

    row: Row
    lineage: Lineage
    models: dict[int, Model]
    asked: int

    @property
    def generation(self) -> Generation:
        """What it was trained with."""
        return self.lineage.generations[self.row.place]

    @property
    def teachers(self) -> str:
        """The names of those who taught it; empty for one without a teacher."""
        return " and ".join(self.lineage.generations[place].name for place in self.generation.teachers)

    @property
    def arm(self) -> str:
        """The arm it stands in."""
        return self.row.lineage

    def head(self, seeds: int | None = None) -> tuple[str, str, str]:
        """The first cells of its row: arm, generation, and of how many seeds its numbers are."""
        known = len(self.models) if seeds is None else seeds
        return self.arm, self.row.generation, f"{known}" if known == self.asked else f"{known} of {self.asked}"

    def record(self, values: Mapping[str, Plain]) -> Record:
        """Numbers with what they are filed under: arm, generation, place."""
        return {"arm": self.arm, "generation": self.row.generation, "place": self.row.place, **values}

    def classes(self) -> tuple[str, ...]:
        """The names of its classes, as they can be printed."""
        from tutelage.errors import printable

        model = next(iter(self.models.values()))
        return tuple(map(printable, model.made_of()["class_names"]))

    def labels(self) -> TrainingLabels | None:
        """The labels of its training images, where they are kept."""
        return training_labels(next(iter(self.models.values())))

    def on_training_images(self) -> dict[int, Tensor]:
        """The logits of its models on their training images by seed, as far as they were measured."""
        found = {seed: training_logits(model) for seed, model in self.models.items()}
        return {seed: logits for seed, logits in found.items() if logits is not None}


def lines(results: Results, seed: int | None = None) -> list[Line]:
    """The generations of which any model is finished, of one seed where given.

    Errors: ``ValueError`` for a seed that the study has not, or where nothing is finished.
    """
    seeds = results.study.seeds
    if seed is not None and seed not in seeds:
        raise ValueError(f"the run has no seed {seed}: choose from {', '.join(map(str, seeds))}")
    lineages = {lineage.name: lineage for lineage in results.study.lineages}
    found = []
    for row in results.rows:
        models = {
            number: model
            for number, model in zip(seeds, row.models, strict=True)
            if model.finished and seed in (None, number)
        }
        if models:
            asked = len(seeds) if seed is None else 1
            found.append(Line(row=row, lineage=lineages[row.lineage], models=models, asked=asked))
    if not found:
        of = "" if seed is None else f" with seed {seed}"
        raise ValueError(f"no model of the run is finished yet{of}: the command that began it continues it")
    return found


def taught_by(line: Line, among: Sequence[Line], seed: int, read: Callable[[Model], Tensor | None]) -> Tensor | None:
    """What a generation's teachers say together, by what ``read`` gives of a model; None where any is missing."""
    places = {other.row.place: other.models for other in among if other.arm == line.arm}
    models = [places.get(place, {}).get(seed) for place in line.generation.teachers]
    said = [None if model is None else read(model) for model in models]
    known = [logits for logits in said if logits is not None]
    if not known or len(known) < len(said):
        return None
    return known[0] if len(known) == 1 else ensemble(known, line.generation.teacher_shares)


def lacking(what: str, missing: Sequence[Line], among: Sequence[Line]) -> tuple[str, ...]:
    """A note on the generations that lack something, arms that lack it altogether by their name; none where none."""
    if not missing:
        return ()
    if len(missing) == len(among):
        return (f"{what}: all.",)
    names = []
    for arm in dict.fromkeys(line.arm for line in missing):
        own = [line for line in missing if line.arm == arm]
        whole = len(own) == sum(line.arm == arm for line in among)
        names += [arm] if whole else [f"{arm}/{line.row.generation}" for line in own]
    return (f"{what}: {', '.join(names)}.",)
