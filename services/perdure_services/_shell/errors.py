"""What ends a service before it works, with its exit code."""

from enum import IntEnum


class ExitCode(IntEnum):
    """What a process of perdure says when it ends."""

    OK = 0
    WORKFLOW_FAILED = 1
    REFUSED = 2
    UNAVAILABLE = 3


class Refused(Exception):
    """No retry helps: the text says what to change."""
