"""Where a replay left its history: the recorded and the produced commands held against each other."""

from collections.abc import Sequence

from perdure.core.commands import Command, identity
from perdure.core.errors import NondeterminismError

_NOTHING = "nothing"


def compare(recorded: Sequence[Command], produced: Sequence[Command], *, event: int) -> None:
    """Raises NondeterminismError at the first command that is not the recorded one.

    Identities are compared (kind, number, what it is about), not arguments and timeouts.
    """
    if recorded == produced:
        return
    for position in range(max(len(recorded), len(produced))):
        expected = identity(recorded[position]) if position < len(recorded) else _NOTHING
        actual = identity(produced[position]) if position < len(produced) else _NOTHING
        if expected != actual:
            raise NondeterminismError(
                f"nondeterminism at event {event}: the history has [{expected}], the code decided "
                f"[{actual}]. The workflow's code changed in a way that its history does not fit; "
                "deploy the code that wrote it, or put the change behind workflow.patched(). The run "
                "is blocked, nothing is lost, and it goes on when fitting code comes.",
                event=event,
                expected=expected,
                actual=actual,
            )
