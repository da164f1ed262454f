"""The scripts that draw charts in a page: Vega-Lite, Vega and its interpreter, which needs no eval, as one text."""

from __future__ import annotations

import contextlib
import os
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from tutelage import storage

_NAME = "vega.js"


def vega() -> str:
    """The bundle that vl-convert puts together; made once for each of its versions, then kept in the user's cache.

    Errors: ``ValueError`` that names the extra where the package is missing.
    """
    try:
        folder = _cache() / f"vl-convert-{version('vl-convert-python')}"
        storage.verify(folder)
        return (folder / _NAME).read_text(encoding="utf-8")
    except PackageNotFoundError:
        raise needs("vl-convert-python") from None
    except (storage.Damaged, OSError):
        pass  # not made yet, or spoilt
    import vl_convert

    script = vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;")
    with contextlib.suppress(OSError, storage.NewerFormat):  # a cache is a convenience
        storage.commit(folder, {_NAME: script.encode()})
    return script


def needs(package: str) -> ValueError:
    """The error for a page that cannot be made here.

    >>> print(needs("jinja2"))
    the page needs the package jinja2: pip install 'tutelage[report]'
    """
    return ValueError(f"the page needs the package {package}: pip install 'tutelage[report]'")


def _cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "tutelage" / "page"
