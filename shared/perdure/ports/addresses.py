"""Where things lie: values that every port understands. Adapters turn them into subjects and keys."""

from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property

import msgspec

from perdure.core.ids import slot_of


@dataclass(frozen=True)
class Address:
    """The log of a workflow id on a task queue."""

    queue: str
    workflow_id: str

    @cached_property
    def slot(self) -> int:
        return slot_of(self.workflow_id)


class Lane(StrEnum):
    """The literal subjects of one workflow. Outsiders' events and the engine's own come on two, so
    that nobody who may signal can forge a result."""

    EXTERNAL = "in.ext"
    ENGINE = "in.eng"
    HISTORY = "hist"


class Stored(msgspec.Struct, frozen=True):
    """One message of the log: its stream sequence, its stream time and its bytes."""

    seq: int
    timestamp: int
    data: bytes


class TaskKey(msgspec.Struct, frozen=True):
    """One activity of one run; at most one task of a key is queued or held at a time."""

    queue: str
    workflow_id: str
    run: str
    n: int


class TimerKey(msgspec.Struct, frozen=True):
    """One timer of one run, and the inbox it fires into."""

    address: Address
    run: str
    n: int
