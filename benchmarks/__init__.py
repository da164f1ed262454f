"""Ratios of times: both sides run interleaved in one process, so that a disturbance affects both alike."""
