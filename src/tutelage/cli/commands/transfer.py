"""What a run's features are worth elsewhere: ``tutelage transfer``."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from tutelage.cli.tables import must_be_files, show_sheets, tell
from tutelage.paths import runs_folder

if TYPE_CHECKING:
    from tutelage.analysis.transfer.measure import ProbeProgress
    from tutelage.analysis.transfer.probes import Probe

Several = Parameter(consume_multiple=True, negative=(), show_default=False)


def transfer(
    run: str,
    /,
    *,
    data: str,
    train_size: int | None = None,
    test_size: int | None = None,
    probe: Literal["linear", "knn", "both"] = "both",
    layer: Annotated[tuple[str, ...], Several] = (),
    seed: Annotated[tuple[int, ...], Several] = (),
    reference: str | None = None,
    floor: bool = True,
    markdown: Path | None = None,
    csv: Path | None = None,
    runs: Path | None = None,
) -> int:
    """Probe the frozen features of every generation of a run on another dataset.

    What a probe gives is kept in the runs folder, so that nothing is probed twice.

    Args:
        run: A name from `tutelage list runs`.
        data: The other dataset: digits, cifar10, cifar100, an .npz file or a folder of images.
        train_size: Keep that many of its training images.
        test_size: Keep that many of its test images.
        probe: linear (logistic regression on standardised features), knn (20 nearest neighbours by cosine) or both.
        layer: Take the features of this module: NAME is what it puts out, NAME:input what it takes in. Of several
            the first that a network has; by default the input of its last linear layer.
        seed: Of these seeds; all by default.
        reference: ARM or ARM/GENERATION to compare with: by default the reference arm's last generation, or the
            first generation of a run of one arm.
        floor: Probe the pixels too.
        markdown: Write the tables here.
        csv: Write the numbers behind the tables here, with all digits.
        runs: The folder of models and runs; TUTELAGE_RUNS or ./runs by default.
    """
    from tutelage.analysis import load_results
    from tutelage.analysis.transfer.measure import finished_models, measure_transfer
    from tutelage.analysis.transfer.probes import PROBES, Destination
    from tutelage.data import DataConfig
    from tutelage.data.load import load
    from tutelage.engine import keep_freed_memory
    from tutelage.paths import data_folder
    from tutelage.report.transfer import find_reference, transfer_sheets

    must_be_files(markdown, csv)
    probes: tuple[Probe, ...] = PROBES if probe == "both" else (probe,)
    results = load_results(run, runs or runs_folder())
    find_reference(results, reference)  # what was asked for in vain is said before any data is read
    finished_models(results, seed)
    keep_freed_memory()
    splits = load(DataConfig(name=data, train_size=train_size, test_size=test_size), data_folder())
    to = Destination(splits, Path(data).name, layer)
    tell("probed", measure_transfer(results, to, probes, seed, floor=floor), _what)
    sheets = transfer_sheets(
        results, fingerprint=splits.fingerprint, layers=layer, probes=probes, seeds=seed, reference=reference
    )
    words = ["tutelage", "transfer", run, "--data", data]
    asked: dict[str, tuple[object, ...]] = {
        "--train-size": (train_size,),
        "--test-size": (test_size,),
        "--probe": (None if probe == "both" else probe,),
        "--layer": layer,
        "--seed": seed,
        "--reference": (reference,),
    }
    for option, values in asked.items():
        if given := [str(value) for value in values if value is not None]:
            words += [option, *given]
    command = shlex.join([*words, *([] if floor else ["--no-floor"])])
    show_sheets(f"Transfer of features: {run}", sheets, command, markdown, csv)
    return 0


def _what(done: ProbeProgress) -> str:
    return "(pixels)" if done.row is None else f"({done.row.lineage}, {done.row.generation}, seed {done.seed})"
