"""``tutelage data``: datasets on disk."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from tutelage.cli.console import print_lines
from tutelage.cli.exit_codes import DONE

data_app = App(name="data", help="Download, import and check datasets.")

Name = Annotated[str, Parameter(help="cifar10, cifar100, ilsvrc2012, tiny-imagenet or cinic10.")]
Origin = Annotated[
    Path,
    Parameter(
        help="The official archive of CIFAR, the folder it unpacks to, or a folder that holds them, such as "
        "torchvision's; of the other datasets the folder of their images, which are read where they lie."
    ),
]


@data_app.command(name="import")
def data_import(name: Name, path: Origin, /) -> int:
    """Check a dataset in the official layout and store it, or where its images are."""
    from tutelage.data.cifar import import_source
    from tutelage.data.locate import locate
    from tutelage.data.official import OFFICIAL
    from tutelage.data.official_store import import_place
    from tutelage.paths import data_folder

    if name in OFFICIAL:
        print_lines(import_place(name, path, data_folder()))
        return DONE
    source = locate(name, path)
    folder = import_source(name, source, data_folder())
    remark = f" ({source.remark})" if source.remark else ""
    print_lines(f"{name} is stored in {folder}, read from {source.path}{remark}")
    return DONE


@data_app.command(name="get")
def data_get(name: Name, /) -> int:
    """Download CIFAR from its official site, check its checksum and store it; say where to get other datasets."""
    from tutelage.data.cifar import download
    from tutelage.data.official import OFFICIAL
    from tutelage.data.official_store import advice
    from tutelage.paths import data_folder

    if name in OFFICIAL:
        raise ValueError(advice(name))
    print_lines(f"{name} is stored in {download(name, data_folder())}")
    return DONE


@data_app.command(name="check")
def data_check(name: Name, /) -> int:
    """Check a stored dataset against its checksums, or read all images of one again."""
    from tutelage.data.cifar import check
    from tutelage.data.official import OFFICIAL
    from tutelage.data.official_store import check_images
    from tutelage.paths import data_folder

    print_lines(check_images(name, data_folder()) if name in OFFICIAL else check(name, data_folder()))
    return DONE
