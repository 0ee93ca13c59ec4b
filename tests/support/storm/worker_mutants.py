"""Mutants of activity workers and of the front door."""

from __future__ import annotations

from typing import Any

import pytest

from perdure.engine.activities import intake
from perdure.engine.activities.leases import LeaseKeeper
from perdure.engine.activities.outcomes import Outcomes
from perdure.engine.ingress.lanes import Lanes


def worker_acknowledges_first(patch: pytest.MonkeyPatch) -> None:
    """A task leaves the queue before its result is in the log."""
    real = Outcomes._append

    async def append(self: Outcomes, held: Any, *args: Any) -> None:
        held.ack()
        await real(self, held, *args)

    patch.setattr(Outcomes, "_append", append)


def redelivered_task_unverified(patch: pytest.MonkeyPatch) -> None:
    """A task that is offered again is run again, whatever the log says."""
    patch.setattr(intake, "is_doubtful", lambda *_: False)


def leases_not_extended(patch: pytest.MonkeyPatch) -> None:
    """A worker lets the leases of what it holds run out."""
    patch.setattr(LeaseKeeper, "_extend_all", lambda _: None)


def request_settled_first(patch: pytest.MonkeyPatch) -> None:
    """A request at the front door is settled before what it leads to is stored."""
    real = Lanes.offer

    def offer(self: Any, delivery: Any) -> None:
        delivery.ack()
        real(self, delivery)

    patch.setattr(Lanes, "offer", offer)


WORKER_MUTANTS = (
    worker_acknowledges_first,
    redelivered_task_unverified,
    leases_not_extended,
    request_settled_first,
)

__all__ = ["WORKER_MUTANTS"]
