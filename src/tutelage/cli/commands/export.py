"""``tutelage export`` and ``tutelage predict``: take a model away, and use it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from tutelage.cli.console import print_lines
from tutelage.cli.exit_codes import DONE
from tutelage.cli.options import SWITCH, Runs

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
    trust: Annotated[bool, SWITCH] = False,
    runs: Runs = None,
) -> int:
    """Write a trained model to a folder in the formats people deploy, checked against the checkpoint.

    Args:
        model: RUN, RUN:generation or RUN:generation:seed with a name from `tutelage list runs`; the address of a
            model or the beginning of one; or its folder.
        to: The folder to write to; by default exported/<network>-<address>.
        formats: safetensors, torch (a torch.export program) and onnx.
        license: The licence for the model card: an identifier such as apache-2.0.
        push_to: Push the folder to this repository, OWNER/NAME, of a model hub. HF_TOKEN and HF_ENDPOINT apply.
        trust: Import the code of the network even if the model lies outside the folder of runs.
    """
    from tutelage import api
    from tutelage.export import push_to_hub
    from tutelage.export.hub import check_hub

    if push_to is not None:
        check_hub(push_to)
    exported = api.export(model, to=to, formats=formats, license=license, trust=trust, runs=runs)
    for name in exported.files:
        path, difference = exported.folder / name, exported.differences.get(name)
        checked = "" if difference is None else f"   differs from the checkpoint by {difference:.1e} at most"
        print_lines(f"{path}  {path.stat().st_size:,} bytes{checked}")
    print_lines(f"compared on {exported.images}")
    if push_to is not None:
        print_lines(f"pushed to {push_to_hub(exported.folder, push_to)}")
    return DONE


def predict(
    model: str,
    /,
    *images: Path,
    top: int = 5,
    trust: Annotated[bool, SWITCH] = False,
    runs: Runs = None,
) -> int:
    """Classify images: print the best classes of each, with their probabilities in percent.

    Args:
        model: An exported folder or one of its files, or what `tutelage export` takes.
        images: Image files.
        top: The number of classes to print.
        trust: Open files that can run code of whoever made them: a .pt2, or a network from outside tutelage.
    """
    from tutelage import api

    if not images:
        raise ValueError("tutelage predict needs images: tutelage predict MODEL IMAGES...")
    for prediction in api.predict(model, *images, top=top, trust=trust, runs=runs):
        print_lines(str(prediction.image))
        for name, probability in prediction.classes:
            print_lines(f"  {100 * probability:6.2f}  {name}")
    return DONE
