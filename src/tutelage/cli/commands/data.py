"""``tutelage data``: datasets on disk."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from tutelage.cli.console import print_lines
from tutelage.cli.exit_codes import DONE

data_app = App(name="data", help="Download, import and check datasets.")

Name = Annotated[str, Parameter(help="cifar10 or cifar100.")]
Archive = Annotated[Path, Parameter(help="The official archive, or the folder it unpacks to.")]


@data_app.command(name="import")
def data_import(name: Name, archive: Archive, /) -> int:
    """Check a dataset in the official layout and store it."""
    from tutelage.data.cifar import import_archive
    from tutelage.paths import data_folder

    print_lines(f"{name} is stored in {import_archive(name, archive, data_folder())}")
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
