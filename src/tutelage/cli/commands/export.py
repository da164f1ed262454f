"""Take a model away, and use it: ``tutelage export`` and ``tutelage predict``."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from tutelage.cli.console import say
from tutelage.paths import runs_folder

Formats = Annotated[
    tuple[Literal["safetensors", "torch", "onnx"], ...],
    Parameter(name="--format", consume_multiple=True, negative=(), show_default=lambda formats: " ".join(formats)),
]


def export(
    model: str,
    /,
    *,
    to: Path | None = None,
    formats: Formats = ("safetensors", "torch", "onnx"),
    license: str = "unknown",
    push_to: str | None = None,
    trust: Annotated[bool, Parameter(negative=())] = False,
    runs: Path | None = None,
) -> int:
    """Write a trained model to a folder in the formats people deploy, checked against the checkpoint.

    Args:
        model: RUN, RUN:generation or RUN:generation:seed with a name from `tutelage list runs`; a model's address or
            the beginning of one; or its folder.
        to: The folder to write; exported/<network>-<address> by default.
        formats: safetensors, torch (a torch.export program) or onnx; all by default.
        license: The licence, for the model card: an identifier such as apache-2.0.
        push_to: Push the folder to this repository, OWNER/NAME, of a model hub; HF_TOKEN and HF_ENDPOINT are heeded.
        trust: Import the network's code even if the model lies outside the runs folder.
        runs: The folder of models and runs; TUTELAGE_RUNS or ./runs by default.
    """
    from tutelage.export import export_model, find_model, push_to_hub
    from tutelage.export.hub import check_hub

    if push_to is not None:
        check_hub(push_to)
    source = find_model(model, runs or runs_folder())
    if to is None:
        network = re.sub(r"[^A-Za-z0-9_]+", "-", source.network().rpartition("/")[2])
        to = Path("exported") / f"{network}-{source.model.address[:8]}"
    done = export_model(source, to, formats, license=license, trust=trust)
    for name in done.files:
        differs = done.differences.get(name)
        checked = "" if differs is None else f"   differs from the checkpoint by {differs:.1e} at most"
        say(f"{done.folder / name}  {(done.folder / name).stat().st_size:,} bytes{checked}")
    say(f"compared on {done.images}")
    if push_to is not None:
        say(f"pushed to {push_to_hub(to, push_to)}")
    return 0


def predict(
    model: str,
    /,
    *images: Path,
    top: int = 5,
    trust: Annotated[bool, Parameter(negative=())] = False,
    runs: Path | None = None,
) -> int:
    """Say what is on images: the best classes with their scores in percent.

    Args:
        model: An exported folder or one of its files, or what `tutelage export` takes.
        images: Image files.
        top: The number of classes to name.
        trust: Open files that can run code of whoever made them: a .pt2, or a network from outside tutelage.
        runs: The folder of models and runs; TUTELAGE_RUNS or ./runs by default.
    """
    from tutelage.export import classify, open_model

    if not images:
        raise ValueError("tutelage predict needs images: tutelage predict MODEL IMAGES...")
    opened = open_model(model, runs or runs_folder(), trust=trust)
    for path, best in classify(opened, images, top):
        say(str(path))
        for name, score in best:
            say(f"  {100 * score:6.2f}  {name}")
    return 0
