"""Explain what a recipe would train, and look closer at what was trained: diagnostics, and transfer of features."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from tutelage.analysis import Results, load_results
from tutelage.lineage import Lineage
from tutelage.paths import data_folder, runs_folder
from tutelage.recipes import call
from tutelage.report.table import Table

if TYPE_CHECKING:
    from tutelage.analysis.transfer import Probe
    from tutelage.lineage import Pace


class Progress(NamedTuple):
    """How far a measurement is: ``done`` of ``total``, and what was measured last."""

    done: int
    total: int
    last: str


OnProgress = Callable[[Progress], None]

_SHARES = (
    "gradient shares: of the norms of the terms' gradients at the first step; untrained teachers teach as they are"
)


def explain(
    recipe: str | Callable[..., Lineage],
    *,
    shares: bool = False,
    time: bool = False,
    seed: int = 0,
    runs: str | Path | None = None,
    **arguments: Any,
) -> str:
    """Describe what a recipe would train, and train nothing: ``tutelage explain``.

    For each generation: its teachers, its objective as a formula with numbers, the expected score of the labelled
    class, and its cost. With ``shares`` the data are loaded, and each term's share of the gradient on the first batch
    of this ``seed`` is measured; teachers that the folder of ``runs`` does not hold yet teach untrained. With
    ``time`` a few steps of each generation are made, and tell how long training would take on this machine.

    Errors: ``ValueError`` for a recipe, argument or value that does not exist, with the nearest names.

    >>> "eta = 0.571429, k = 5" in explain("tolerant", primary=0.6)
    True
    >>> "gradient on the first batch: labels" in explain("tolerant", generations=1, shares=True)
    True
    """
    from tutelage.analysis import explanation
    from tutelage.data.load import dataset_info
    from tutelage.report.explain import explanation_text

    lineage = call(recipe, **arguments)
    measured: tuple[list[dict[str, float]], list[Pace]] = ([], [])
    if shares or time:
        measured = _measured(lineage, shares, time, seed, runs_folder() if runs is None else Path(runs))
    text = explanation_text(explanation.explain(lineage, dataset_info(lineage.data, data_folder()), *measured))
    return f"{text}\n{_SHARES}" if shares else text


def _measured(
    lineage: Lineage, shares: bool, time: bool, seed: int, runs: Path
) -> tuple[list[dict[str, float]], list[Pace]]:
    """Each term's share of the gradient on the first batch of each generation, and each generation's pace."""
    from tutelage.data.load import load
    from tutelage.engine import Engine
    from tutelage.lineage import first_gradient_shares, measured_paces, networks_of

    splits = load(lineage.data, data_folder())
    networks = networks_of(lineage, seed, splits, runs, Engine.choose())
    places = range(len(lineage.generations)) if shares else ()
    return [first_gradient_shares(networks, place) for place in places], measured_paces(networks) if time else []


def diagnose(
    run: Results | str,
    *,
    only: Sequence[str] = (),
    seed: int | None = None,
    ensembles: Sequence[str] = (),
    runs: str | Path | None = None,
    on_progress: OnProgress = lambda progress: None,
) -> tuple[Table, ...]:
    """The diagnostics that the papers use, as tables with the numbers behind them: ``tutelage diagnose``.

    ``run`` is what :func:`run` returned, or the name of a run in the folder of ``runs``. ``only`` names diagnostics,
    all by default. Some of them need every model to be run over its training images once; the results are stored.
    ``ensembles`` are put together from these members, such as ``0,2,5``, see
    :func:`tutelage.analysis.ensembles.parse_ensembles`.

    Errors: ``ValueError`` for a diagnostic, seed or member that does not exist, and for images that are not there.

    >>> import tempfile, tutelage
    >>> results = tutelage.run("baseline", epochs=1, train_size=20, runs=tempfile.mkdtemp())
    >>> tables = diagnose(results, only=["energy", "second"])
    >>> [table.name for table in tables], len(tables[0].records)
    (['energy', 'second'], 1)
    """
    from tutelage.analysis.diagnostics import catalog
    from tutelage.analysis.training_sets import measure_training_sets
    from tutelage.report.diagnostics import diagnostics_tables

    results = _results(run, runs)
    names = tuple(only) or catalog.DIAGNOSTICS
    catalog.check_request(results, only=names, seed=seed, ensemble=ensembles)
    if catalog.NEED_LABELS & set(names):
        try:
            for measured in measure_training_sets(results, seed, logits=bool(catalog.NEED_LOGITS & set(names))):
                model = f"{measured.generation.arm}, {measured.generation.name}, seed {measured.seed}"
                on_progress(Progress(measured.number, measured.of, model))
        except ValueError as error:
            rest = [name for name in catalog.DIAGNOSTICS if name not in catalog.NEED_LABELS]
            raise ValueError(f"{error}; without images there is --only {' '.join(rest)}") from None
    return diagnostics_tables(catalog.diagnose(results, only=names, seed=seed, ensemble=ensembles))


def transfer(
    run: Results | str,
    *,
    data: str,
    train_size: int | None = None,
    test_size: int | None = None,
    probes: Sequence[Probe] = ("linear", "knn"),
    layers: Sequence[str] = (),
    seeds: Sequence[int] = (),
    reference: str | None = None,
    floor: bool = True,
    runs: str | Path | None = None,
    on_progress: OnProgress = lambda progress: None,
) -> tuple[Table, ...]:
    """Probe the frozen features of every generation on another dataset: ``tutelage transfer``.

    ``run`` is what :func:`run` returned, or the name of a run in the folder of ``runs``. ``data`` is the other
    dataset, with ``train_size`` and ``test_size`` of its images. ``layers`` name the modules whose features are taken
    (of several the first that a network has; ``NAME:input`` for what a module takes in), by default the input of the
    last linear layer. Only these ``seeds`` are probed, by default all; with ``floor`` the pixels are too.
    ``reference`` is ``ARM`` or ``ARM/GENERATION``. Results are stored, so that nothing is probed twice.

    Errors: ``ValueError`` for a dataset, layer, seed or reference that does not exist, and for images that cannot be
    converted or are too few.

    >>> import tempfile, tutelage
    >>> results = tutelage.run("baseline", epochs=1, train_size=20, runs=tempfile.mkdtemp())
    >>> (table,) = transfer(results, data="digits", train_size=100, test_size=50, probes=["knn"])
    >>> table.title
    'Transfer to digits (100 training and 50 test images, 10 classes): 20 nearest neighbours'
    >>> [record["arm"] for record in table.records]
    ['baseline', 'pixels of 1 x 8 x 8']
    """
    from tutelage.analysis.transfer import (
        Destination,
        find_reference,
        finished_models,
        measure_transfer,
        transfer_records,
    )
    from tutelage.data import DataConfig
    from tutelage.data.load import load
    from tutelage.report.transfer import transfer_tables

    results = _results(run, runs)
    find_reference(results, reference)  # mistakes in the request are reported before any data are read
    finished_models(results, seeds)
    splits = load(DataConfig(name=data, train_size=train_size, test_size=test_size), data_folder())
    destination = Destination(splits, Path(data).name, tuple(layers))
    for probed in measure_transfer(results, destination, tuple(probes), seeds, floor=floor):
        generation = probed.generation
        subject = "pixels" if generation is None else f"{generation.arm}, {generation.name}, seed {probed.seed}"
        on_progress(Progress(probed.number, probed.of, subject))
    records = transfer_records(
        results,
        fingerprint=splits.fingerprint,
        layers=tuple(layers),
        probes=tuple(probes),
        seeds=seeds,
        reference=reference,
    )
    return transfer_tables(records)


def _results(run: Results | str, runs: str | Path | None) -> Results:
    if isinstance(run, Results):
        return run
    return load_results(run, runs_folder() if runs is None else Path(runs))
