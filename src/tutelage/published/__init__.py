"""What papers printed, as data: one file a paper, each number with its table, its metric and how certain it is."""

from tutelage.published.cells import Cell, Table, cell, cells, tables

__all__ = ["Cell", "Table", "cell", "cells", "tables"]
