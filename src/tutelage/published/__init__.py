"""What papers printed, as data: one file per paper; each number has its table, its metric and how certain it is."""

from tutelage.published.cells import PublishedCell, PublishedTable, cell, cells, tables

__all__ = ["PublishedCell", "PublishedTable", "cell", "cells", "tables"]
