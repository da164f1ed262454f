"""Measured ratios: both sides run interleaved in one process, so that what disturbs one disturbs the other."""
