"""``tutelage data``: datasets on disk."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from tutelage.cli.console import print_lines
from tutelage.cli.exit_codes import DONE

data_app = App(name="data", help="Download, import and check datasets.")

Name = Annotated[str, Parameter(help="cifar10 or cifar100.")]
Origin = Annotated[
    Path,
    Parameter(
        help="The official archive, the folder it unpacks to, or a folder that holds them, such as torchvision's."
    ),
]


@data_app.command(name="import")
def data_import(name: Name, path: Origin, /) -> int:
    """Check a dataset in the official layout and store it."""
    from tutelage.data.cifar import import_source
    from tutelage.data.locate import locate
    from tutelage.paths import data_folder

    source = locate(name, path)
    folder = import_source(name, source, data_folder())
    remark = f" ({source.remark})" if source.remark else ""
    print_lines(f"{name} is stored in {folder}, read from {source.path}{remark}")
    return DONE


@data_app.command(name="get")
def data_get(name: Name, /) -> int:
    """Download a dataset from its official site, check its checksum and store it."""
    from tutelage.data.cifar import download
    from tutelage.paths import data_folder

    print_lines(f"{name} is stored in {download(name, data_folder())}")
    return DONE


@data_app.command(name="check")
def data_check(name: Name, /) -> int:
    """Check a stored dataset against its checksums."""
    from tutelage.data.cifar import check
    from tutelage.paths import data_folder

    print_lines(check(name, data_folder()))
    return DONE
