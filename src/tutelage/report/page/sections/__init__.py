"""The sections of a page: functions from a comparison to a section, which is left out where it has no blocks."""
