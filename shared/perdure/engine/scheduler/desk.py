"""What one workflow id has at hand: its deliveries, and its run while it is in memory."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from perdure.engine.scheduler.context import Context
from perdure.engine.scheduler.live import Item, LiveRun
from perdure.ports.addresses import Address
from perdure.ports.log import Delivery


class Desk:
    """State shared by the steps of a lane; only the lane's own task changes it.

    ``tip`` is the newest record of the id as far as known, ``first`` what the next record has to
    begin with, ``ended`` the run that was seen to end, ``must_load`` says that the log has to be
    read before anything is decided, ``flush`` that what is applied is to be recorded now, ``stopping``
    that the process goes.
    """

    def __init__(self, context: Context, address: Address) -> None:
        self.context = context
        self.address = address
        self.live: LiveRun | None = None
        self.held: dict[int, Delivery] = {}
        self.first: list[Item] = []
        self.tip = 0
        self.ended = ""
        self.blocked = ""
        self.must_load = False
        self.flush = False
        self.stopping = False
        self.mark_at: asyncio.TimerHandle | None = None
        self.blocked_run = ""
        self.left: dict[int, float] = {}
        """Events of a run that this build cannot go on with and another does: since when."""

    def ack(self, items: Iterable[Item]) -> None:
        for item in items:
            self.ack_seq(item.seq)

    def ack_seq(self, seq: int) -> None:
        delivery = self.held.pop(seq, None)
        if delivery is not None:
            delivery.ack()

    def hand_back(self, seq: int, delay: int) -> None:
        """Have it offered again after ``delay``, here or elsewhere."""
        delivery = self.held.pop(seq, None)
        if delivery is not None:
            delivery.nak(delay)

    def drop(self) -> None:
        """Forget the run in memory; the log has it."""
        if self.mark_at is not None:
            self.mark_at.cancel()
            self.mark_at = None
        if self.live is not None:
            self.live.instance.dispose()
            self.live = None
        self.first = []
        self.flush = False

    def drop_and_load(self) -> None:
        """Forget the run, and decide nothing before the log was read."""
        self.drop()
        self.must_load = True
