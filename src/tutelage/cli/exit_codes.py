"""The exit codes of the command."""

DONE, FAILED, MISTAKE, STOPPED = 0, 1, 2, 75
