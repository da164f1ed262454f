"""Prepares a command (``TESTS_PREPARE``): CIFAR-100 has 200 + 100 images, and another official archive.

``SMALL_ARCHIVE`` is the address of that one and its MD5.
"""

from __future__ import annotations

import os
from dataclasses import replace


def prepare() -> None:
    """Replace the layout of CIFAR-100, for the rest of this process."""
    from tutelage.data import layouts

    url, md5 = os.environ["SMALL_ARCHIVE"].split()
    layout = layouts.LAYOUTS["cifar100"]
    info = replace(layout.info, train_size=200, test_size=100)
    layouts.LAYOUTS["cifar100"] = replace(layout, info=info, url=url, md5=md5)
