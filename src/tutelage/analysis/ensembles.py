"""Ensembles of any models of a study, from stored measures and predictions: no network is run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from tutelage.analysis.results import GenerationResult, SeedResult
from tutelage.errors import listing, unknown
from tutelage.evaluation import Measures, ensemble, measure

EnsembleKind = Literal["generations", "seeds", "requested"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ensemble:
    """Models whose probabilities are averaged: one ensemble for each seed, or a single one, under None, across seeds.

    Its ``kind`` says what its members are: all ``generations`` up to a place, all ``seeds`` of a generation, or those
    ``requested`` by ``request``. ``generation`` and ``place`` are those of the last member; ``arm`` names every arm
    that members come from.
    """

    kind: EnsembleKind
    arm: str
    generation: str
    place: int
    request: str = ""
    members: Mapping[int | None, tuple[SeedResult, ...]]


@dataclass(frozen=True, slots=True, kw_only=True)
class EnsembleRecord:
    """The measures of one ensemble on the test images; ``seed`` is None for one across seeds.

    ``size`` is the number of members, and ``members_top1`` the mean of their own accuracies; for ``kind``, ``arm``,
    ``generation``, ``place`` and ``request`` see :class:`Ensemble`.

    Units: ``top1``, ``members_top1`` and ``ece`` in ``[0, 1]``, ``nll`` in nats.
    """

    kind: EnsembleKind
    arm: str
    generation: str
    place: int
    request: str
    size: int
    seed: int | None
    top1: float
    members_top1: float
    nll: float
    ece: float

    @property
    def gain(self) -> float:
        """The accuracy minus the mean of the members' own."""
        return self.top1 - self.members_top1


@dataclass(frozen=True, slots=True, kw_only=True)
class UnfitEnsemble:
    """A requested ensemble that an arm does not have, and the reason."""

    arm: str
    request: str
    reason: str


def parse_ensembles(
    generations: Sequence[GenerationResult], requests: Sequence[str] = ()
) -> tuple[tuple[Ensemble, ...], tuple[UnfitEnsemble, ...]]:
    """Parse requests for ensembles; without any, all generations of each arm, and all seeds of its last one.

    A request lists members, separated by commas: ``GENERATION`` (its place or name) or ``ARM/GENERATION``. Without an
    arm it is the generation of every arm. The members are combined seed by seed, unless each has a seed of its own:
    ``GENERATION:SEED``, or ``GENERATION:*`` for all seeds.

    Errors: ``ValueError`` for members that do not exist, with the nearest names, and for the same model twice. Where
    a request fits some arms, the others are returned as unfit.
    """
    if not requests:
        return tuple(_usual(generations)), ()
    ensembles: list[Ensemble] = []
    unfit: list[UnfitEnsemble] = []
    for request in dict.fromkeys(requests):
        parsed, refused = _parse(request, generations)
        ensembles += parsed
        unfit += refused
    return tuple(ensembles), tuple(unfit)


def measure_ensembles(ensembles: Sequence[Ensemble]) -> tuple[EnsembleRecord, ...]:
    """Measure ensembles on the test images, by the mean of their members' probabilities.

    Errors: ``ValueError`` for members that were measured on different images; ``storage.Damaged``.
    """
    records = []
    for one in ensembles:
        for seed, members in one.members.items():
            measures = _measures(one, members)
            records.append(
                EnsembleRecord(
                    kind=one.kind,
                    arm=one.arm,
                    generation=one.generation,
                    place=one.place,
                    request=one.request,
                    size=len(members),
                    seed=seed,
                    top1=measures.top1,
                    members_top1=sum(member.test.top1 for member in members) / len(members),
                    nll=measures.nll,
                    ece=measures.ece,
                )
            )
    return tuple(records)


def _measures(one: Ensemble, members: Sequence[SeedResult]) -> Measures:
    """The measures of an ensemble: those of all generations up to one are stored, others come from predictions."""
    stored = members[-1].ensemble
    if one.kind == "generations" and stored is not None:
        return stored
    predictions = [member.model.predictions() for member in members]
    labels = predictions[0]["test_labels"]
    for member, each in zip(members, predictions, strict=True):
        if not labels.equal(each["test_labels"]):
            first, other = members[0].model.address, member.model.address
            raise ValueError(f"models {first} and {other} were measured on different test images")
    return measure(ensemble([each["test"] for each in predictions]), labels)


def _usual(generations: Sequence[GenerationResult]) -> list[Ensemble]:
    ensembles = []
    for arm in dict.fromkeys(generation.arm for generation in generations):
        chain = [generation for generation in generations if generation.arm == arm]
        last = chain[-1]
        together: dict[int | None, tuple[SeedResult, ...]] = {}
        for seed in last.ensemble():
            together[seed] = tuple(one.seeds[seed] for one in chain)
        if together:
            ensembles.append(_ensemble("generations", arm, last, together))
        if len(last.seeds) > 1:
            ensembles.append(_ensemble("seeds", arm, last, {None: tuple(last.seeds.values())}))
    return ensembles


def _parse(request: str, generations: Sequence[GenerationResult]) -> tuple[list[Ensemble], list[UnfitEnsemble]]:
    """The ensemble of a request in each arm, and the arms that it does not fit."""
    names = [_split(member.strip()) for member in request.split(",")]
    if len({seed is None for _, seed in names}) > 1:
        raise ValueError(f"ensemble {request!r}: give each of its members a seed (GENERATION:SEED), or none")
    everywhere = {f"{one.arm}/{name}": one for one in generations for name in _names(one)}
    if all(name in everywhere for name, _ in names):
        members = [(everywhere[name], seed) for name, seed in names]
        arms = " and ".join(dict.fromkeys(one.arm for one, _ in members))
        return [_requested(arms, request, members)], []
    ensembles, unfit = [], []
    for arm in dict.fromkeys(one.arm for one in generations):
        own = {name: one for one in generations if one.arm == arm for name in _names(one)}
        try:
            for name, _ in names:
                if name not in own and name not in everywhere:
                    raise unknown(f"generation of {arm}", name, own)
            members = [((own | everywhere)[name], seed) for name, seed in names]
            ensembles.append(_requested(arm, request, members))
        except ValueError as error:
            unfit.append(UnfitEnsemble(arm=arm, request=request, reason=str(error)))
    if not ensembles:
        raise ValueError(f"ensemble {request}: {unfit[0].reason}")
    return ensembles, unfit


def _requested(arm: str, request: str, members: Sequence[tuple[GenerationResult, str | None]]) -> Ensemble:
    by_seed: dict[int | None, tuple[SeedResult, ...]]
    if members[0][1] is None:
        by_seed = _seed_by_seed([generation for generation, _ in members])
        if not by_seed:
            raise ValueError(f"no seed of {arm} has finished all of its members")
    else:
        by_seed = {None: tuple(result for one, seed in members for result in _at_seed(one, str(seed)))}
    for results in by_seed.values():
        if len({result.model.address for result in results}) < len(results):
            raise ValueError(f"two members of it are the same model in {arm}")
    return _ensemble("requested", arm, members[-1][0], by_seed, request)


def _ensemble(
    kind: EnsembleKind,
    arm: str,
    last: GenerationResult,
    members: Mapping[int | None, tuple[SeedResult, ...]],
    request: str = "",
) -> Ensemble:
    return Ensemble(kind=kind, arm=arm, generation=last.name, place=last.place, request=request, members=members)


def _seed_by_seed(generations: Sequence[GenerationResult]) -> dict[int | None, tuple[SeedResult, ...]]:
    """The results at each seed that all of these generations have finished."""
    seeds = [seed for seed in generations[0].seeds if all(seed in one.seeds for one in generations)]
    return {seed: tuple(one.seeds[seed] for one in generations) for seed in seeds}


def _at_seed(generation: GenerationResult, seed: str) -> tuple[SeedResult, ...]:
    if seed == "*":
        return tuple(generation.seeds.values())
    if int(seed) not in generation.seeds:
        choices = listing(map(str, generation.seeds))
        name = f"{generation.arm}/{generation.name}"
        raise ValueError(f"{name} is not finished with seed {seed}: choose from {choices}")
    return (generation.seeds[int(seed)],)


def _split(member: str) -> tuple[str, str | None]:
    """The name of a member, and its seed if it has one.

    >>> _split("tolerant/2:0"), _split("generation 2"), _split("2:*")
    (('tolerant/2', '0'), ('generation 2', None), ('2', '*'))
    """
    name, colon, seed = member.rpartition(":")
    return (name, seed) if colon and (seed == "*" or seed.isdecimal()) else (member, None)


def _names(generation: GenerationResult) -> tuple[str, str]:
    return str(generation.place), generation.name
