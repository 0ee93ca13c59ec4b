"""What a broken promise is, and what the judges know of a run."""

from __future__ import annotations

from dataclasses import dataclass

from perdure.core.commands import Close
from perdure.core.events import WorkflowStarted
from perdure.core.state import Status
from perdure.engine.history import RunHistory


class Broken(AssertionError):
    """A promise was broken, for ``workflow_id`` as far as known."""

    def __init__(self, what: str, workflow_id: str = "") -> None:
        super().__init__(f"{workflow_id}: {what}" if workflow_id else what)
        self.workflow_id = workflow_id


def promise(holds: object, what: str, workflow_id: str = "") -> None:
    if not holds:
        raise Broken(what, workflow_id)


@dataclass(frozen=True)
class Judged:
    """A closed run whose history was found in order."""

    workflow_id: str
    queue: str
    run: str
    kind: str
    started: WorkflowStarted
    history: RunHistory
    close: Close
    status: Status
    closed_seq: int
    eids: frozenset[str]
    """Identities of the outsiders' events that it applied."""


type Histories = dict[tuple[str, str], Judged]

__all__ = ["Broken", "Histories", "Judged", "promise"]
