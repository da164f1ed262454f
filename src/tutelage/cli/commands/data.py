"""``tutelage data``: datasets on disk."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from tutelage.cli.console import print_lines
from tutelage.cli.exit_codes import DONE, FAILED, MISTAKE
from tutelage.cli.options import SWITCH

data_app = App(name="data", help="Download, import and check datasets; list and remove what was prepared of them.")

Name = Annotated[str, Parameter(help="cifar10, cifar100, ilsvrc2012, tiny-imagenet or cinic10.")]
Target = Annotated[
    str, Parameter(help="A dataset's name, a folder, .tar or .zip of images, an .npz file or a folder of IDX files.")
]
MapName = Annotated[str, Parameter(help="Names from `tutelage data maps`, or the first digits of them.")]
All = Annotated[bool, SWITCH, Parameter(help="All of them, and what is remembered of files that were examined.")]
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
def data_check(target: Target, /) -> int:
    """Check a stored dataset against its checksums, or all files of one that is read where it lies.

    Of these every file is read and decoded. All that is wrong is listed, one fault a line, and what there is:
    counts, sizes, kinds, and images that are there more than once.
    """
    from tutelage.data.cifar import check
    from tutelage.data.load import array_names
    from tutelage.data.official import OFFICIAL
    from tutelage.data.official_store import described, imported
    from tutelage.paths import data_folder

    if target in array_names():
        print_lines(check(target, data_folder()))
        return DONE
    from tutelage.data.check import check_data

    if target in OFFICIAL:
        print_lines(described(imported(target, data_folder())))
    report = check_data(target, data_folder())
    print_lines(*report.faults, *report.facts)
    return MISTAKE if report.faults else DONE


@data_app.command(name="maps")
def data_maps() -> int:
    """List what image files were prepared to for training, and the space that it takes."""
    from tutelage.cli.console import print_tables
    from tutelage.cli.maps import maps_table
    from tutelage.data.load import MAPS
    from tutelage.data.maps import prepared_maps
    from tutelage.paths import data_folder

    maps = prepared_maps(data_folder() / MAPS)
    if maps:
        print_tables(maps_table(maps))
    else:
        print_lines("no images are prepared")
    return DONE


@data_app.command(name="remove")
def data_remove(*maps: MapName, all: All = False) -> int:
    """Remove prepared images; what needs them again prepares them again.

    One that is being prepared by a running command stays.
    """
    from tutelage.cli.maps import megabytes
    from tutelage.data.load import INDEXES, MAPS
    from tutelage.data.maps import chosen, prepared_maps, remove_indexes, remove_maps
    from tutelage.paths import data_folder

    if all == bool(maps):
        raise ValueError("`tutelage data remove` needs names from `tutelage data maps`, or --all")
    present = prepared_maps(data_folder() / MAPS)
    selected = present if all else chosen(present, maps)
    in_use, freed = remove_maps(selected)
    if all:
        remove_indexes(data_folder() / INDEXES)
    print_lines(f"{len(selected) - len(in_use)} removed, {megabytes(freed)} freed", *in_use)
    return FAILED if in_use else DONE
