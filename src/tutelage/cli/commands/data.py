"""``tutelage data``: datasets on disk."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from tutelage.cli.console import say

data_app = App(name="data", help="Datasets on disk.")

Archive = Annotated[Path, Parameter(help="The official archive, or the folder it unpacks to.")]


@data_app.command(name="import")
def data_import(name: str, archive: Archive, /) -> int:
    """Check a dataset file in the official layout and store it.

    Args:
        name: cifar10 or cifar100.
    """
    from tutelage.data.cifar import import_archive
    from tutelage.paths import data_folder

    say(f"{name} is stored in {import_archive(name, archive, data_folder())}")
    return 0


@data_app.command(name="get")
def data_get(name: str, /) -> int:
    """Download a dataset from its official site, check its checksum and store it.

    Args:
        name: cifar10 or cifar100.
    """
    from tutelage.data.cifar import download
    from tutelage.paths import data_folder

    say(f"{name} is stored in {download(name, data_folder())}")
    return 0


@data_app.command(name="check")
def data_check(name: str, /) -> int:
    """Hash a stored dataset again.

    Args:
        name: cifar10 or cifar100.
    """
    from tutelage.data.cifar import check
    from tutelage.paths import data_folder

    say(check(name, data_folder()))
    return 0
