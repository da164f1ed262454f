"""The scripts that draw the charts: Vega-Lite, Vega and its interpreter, which needs no eval, as one text."""

from __future__ import annotations

import contextlib
import hashlib
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from tutelage.paths import cache_folder


def vega() -> str:
    """The bundle that vl-convert makes; made once for each of its versions, then read from the user's cache.

    Errors: ``ValueError`` that names the extra where the package is missing.
    """
    try:
        folder = cache_folder() / "page" / f"vl-convert-{version('vl-convert-python')}"
    except PackageNotFoundError:
        raise missing_package("vl-convert-python") from None
    if (cached := _read(folder)) is not None:
        return cached
    import vl_convert

    script: str = vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;")
    _write(folder, script.encode())
    return script


def missing_package(package: str) -> ValueError:
    """The error for a page that cannot be made without a package.

    >>> print(missing_package("jinja2"))
    the page needs the package jinja2: pip install 'tutelage[report]'
    """
    return ValueError(f"the page needs the package {package}: pip install 'tutelage[report]'")


# A file of the cache is named by the SHA-256 of its content: one that was cut short or spoilt is not that of its
# name, and is written again. So nothing has to be synced to the disk, and the cache is not part of the store.


def _read(folder: Path) -> str | None:
    with contextlib.suppress(OSError):
        for file in folder.glob("vega-*.js"):
            content = file.read_bytes()
            if file.name == _file_name(content):
                return content.decode()
    return None


def _write(folder: Path, content: bytes) -> None:
    with contextlib.suppress(OSError):  # without a cache, the next page takes a second longer
        folder.mkdir(parents=True, exist_ok=True)
        (folder / _file_name(content)).write_bytes(content)


def _file_name(content: bytes) -> str:
    return f"vega-{hashlib.sha256(content).hexdigest()}.js"
