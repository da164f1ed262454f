"""One file per paper, each with a function ``experiments``."""
