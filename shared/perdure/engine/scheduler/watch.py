"""Where a run's code begins and ends to run: a seam for a watchdog outside, free when unused.

The engine starts no processes and stops none. It only tells whose code runs, so that whoever watches
this process knows whom it has to do without.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

from perdure.core.commands import Command
from perdure.core.events import Event
from perdure.core.machine import Instance
from perdure.core.payloads import Payload


class TurnWatch(Protocol):
    """Called around every activation, many thousand times a second. One at a time: what begins ends
    before the next begins."""

    def begun(self, workflow_id: str, run: str) -> None:
        """Code of this run is about to run."""
        ...

    def ended(self) -> None:
        """It came back."""
        ...


class WatchedInstance(Instance):
    """A run whose code says when it begins and ends: event by event, so that a long history is no
    long turn."""

    watch: TurnWatch
    workflow_id: str

    def apply(self, event: Event, *, timestamp: int) -> list[Command]:
        self.watch.begun(self.workflow_id, self.run)
        try:
            return super().apply(event, timestamp=timestamp)
        finally:
            self.watch.ended()

    def apply_together(self, events: Iterable[tuple[Event, int]]) -> list[Command]:
        self.watch.begun(self.workflow_id, self.run)
        try:
            return super().apply_together(events)
        finally:
            self.watch.ended()

    def query(self, name: str, args: Sequence[Payload]) -> Payload:
        self.watch.begun(self.workflow_id, self.run)
        try:
            return super().query(name, args)
        finally:
            self.watch.ended()

    def dispose(self) -> None:
        self.watch.begun(self.workflow_id, self.run)
        try:
            super().dispose()
        finally:
            self.watch.ended()
