"""``tutelage transfer``: how well the features of a run transfer to other data."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Annotated, Literal

from tutelage.cli.console import ProgressLines, check_files, print_tables, write_tables
from tutelage.cli.exit_codes import DONE
from tutelage.cli.options import SEVERAL, Csv, Markdown, Run, Runs

if TYPE_CHECKING:
    from tutelage.analysis.transfer import Probe


def transfer(
    run: Run,
    /,
    *,
    data: str,
    train_size: int | None = None,
    test_size: int | None = None,
    probe: Literal["linear", "knn", "both"] = "both",
    layer: Annotated[tuple[str, ...], SEVERAL] = (),
    seed: Annotated[tuple[int, ...], SEVERAL] = (),
    reference: str | None = None,
    floor: bool = True,
    markdown: Markdown = None,
    csv: Csv = None,
    runs: Runs = None,
) -> int:
    """Probe the frozen features of every generation of a run on another dataset.

    The results are stored in the folder of runs, so that nothing is probed twice.

    Args:
        data: The other dataset: digits, cifar10, cifar100, an .npz file, or a folder, .zip or .tar of images.
        train_size: The number of its training images to use.
        test_size: The number of its test images to use.
        probe: linear (logistic regression on standardised features), knn (20 nearest neighbours by cosine) or both.
        layer: Take the features of this module: NAME for its output, NAME:input for its input. Of several, the first
            that a network has. By default the input of the last linear layer.
        seed: Only these seeds; by default all of them.
        reference: ARM or ARM/GENERATION to compare with; by default the last generation of the reference arm, or the
            first generation of a run of one arm.
        floor: Probe the pixels too.
    """
    from tutelage import api
    from tutelage.engine import keep_freed_memory

    check_files(markdown, csv)
    keep_freed_memory()
    probes: tuple[Probe, ...] = ("linear", "knn") if probe == "both" else (probe,)
    tables = api.transfer(
        run,
        data=data,
        train_size=train_size,
        test_size=test_size,
        probes=probes,
        layers=layer,
        seeds=seed,
        reference=reference,
        floor=floor,
        runs=runs,
        on_progress=ProgressLines("probed"),
    )
    print_tables(*tables, wrap=True)
    words = ["tutelage", "transfer", run, "--data", data]
    options: tuple[tuple[str, tuple[object, ...]], ...] = (
        ("--train-size", (train_size,)),
        ("--test-size", (test_size,)),
        ("--probe", () if probe == "both" else (probe,)),
        ("--layer", layer),
        ("--seed", seed),
        ("--reference", (reference,)),
    )
    for option, values in options:
        if texts := [str(value) for value in values if value is not None]:
            words += [option, *texts]
    words += [] if floor else ["--no-floor"]
    write_tables(f"Transfer of features: {run}", tables, shlex.join(words), markdown, csv)
    return DONE
